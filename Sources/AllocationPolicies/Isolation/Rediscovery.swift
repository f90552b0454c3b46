// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// A setting that the kernel makes anew when it finds a function again, and that was otherwise before.
public struct SettingChange: Hashable, Sendable {
    /// Which setting.
    public enum Kind: String, Hashable, Sendable {
        /// The controls of Access Control Services.
        case accessControl = "access-control"
        /// Max_Payload_Size.
        case maxPayloadSize = "max-payload-size"
        /// Tags of eight bits.
        case extendedTags = "extended-tags"
    }

    /// The function, at its address before.
    public var address: FunctionAddress
    /// Which setting.
    public var kind: Kind
    /// What it was, as a person writes it.
    public var before: String
    /// What it will be; nil when what was told does not say.
    public var after: String?

    /// Creates a record.
    public init(address: FunctionAddress, kind: Kind, before: String, after: String?) {
        self.address = address
        self.kind = kind
        self.before = before
        self.after = after
    }
}

extension Topology {
    /// The settings of functions as they are after the kernel has found these anew.
    ///
    /// Removing a function changes no register of it. Finding it does: `pci_enable_acs` switches on Source Validation and the
    /// redirections where the kernel runs an IOMMU and then follows the words `pci=disable_acs_redir=` and `pci=config_acs=`
    /// by the address of that moment; `pci_configure_mps` makes the payload size that of the port above;
    /// `pci_configure_extended_tags` switches on tags of eight bits. Max_Read_Request_Size, relaxed ordering and no snoop stay as
    /// they are until a driver sets them.
    ///
    /// - Parameters:
    ///   - found: the indices of the functions that are found anew.
    ///   - runsIOMMU: whether the kernel runs an IOMMU.
    /// - Returns: the tree with the settings of then, and what changes; the addresses are those of this tree.
    public func rediscovered(_ found: [Int], runsIOMMU: Bool) -> (topology: Topology, changes: [SettingChange]) {
        var result = self
        var changes: [SettingChange] = []
        let words = AccessControlWords(kernel)
        // Bridges first: the payload size goes down from them.
        for i in found.sorted(by: { ancestors(of: $0).count < ancestors(of: $1).count }) {
            result.setAccessControl(i, words, runsIOMMU, &changes)
            result.setPayload(i, &changes)
            result.setExtendedTags(i, &changes)
        }
        return (result, changes.sorted { ($0.address, $0.kind.rawValue) < ($1.address, $1.kind.rawValue) })
    }

    private mutating func setAccessControl(
        _ i: Int,
        _ words: AccessControlWords,
        _ runsIOMMU: Bool,
        _ changes: inout [SettingChange]
    ) {
        let function = functions[i]
        guard case .present(let acs) = function.accessControl else { return }
        var control = acs.control
        if runsIOMMU {
            var wanted = AccessControls.isolating
            if IsolationQuirks.lacksSourceValidation(function) { wanted.remove(.sourceValidation) }
            control.formUnion(wanted.intersection(acs.capabilities))
        }
        let isKnown = words.apply(to: &control, of: function.address, from: acs.control)
        guard control != acs.control || !isKnown else { return }
        changes.append(
            SettingChange(
                address: function.address,
                kind: .accessControl,
                before: acs.control.signs,
                after: isKnown ? control.signs : nil
            )
        )
        update(function.address) {
            guard isKnown else {
                $0.knowledge.settings = .unseen
                return
            }
            $0.config.write(UInt32(control.rawValue), at: Int(acs.offset) + 6, width: 2)
            $0.capabilities.accessControl?.control = control
        }
    }

    private mutating func setPayload(_ i: Int, _ changes: inout [SettingChange]) {
        let function = functions[i]
        guard let p = parent(of: i), !function.isVirtual, function.areSettingsTold, functions[p].areSettingsTold,
            let express = function.capabilities.express, express.deviceControl != nil,
            let above = functions[p].capabilities.express, above.deviceControl != nil,
            !kernel.pciWords.contains(where: { $0.hasPrefix("pcie_bus_") })
        else { return }
        let size = above.maxPayloadSize
        guard express.maxPayloadSize != size, express.maxPayloadSupported >= size else { return }
        changes.append(
            SettingChange(
                address: function.address,
                kind: .maxPayloadSize,
                before: "\(express.maxPayloadSize)",
                after: "\(size)"
            )
        )
        set(i, mask: 0xe0, to: UInt16(size.trailingZeroBitCount - 7) << 5)
    }

    private mutating func setExtendedTags(_ i: Int, _ changes: inout [SettingChange]) {
        let function = functions[i]
        guard !function.isVirtual, function.areSettingsTold, let express = function.capabilities.express,
            express.isExtendedTagOn == false, let capabilities = function.config.long(Int(express.offset) + 4),
            function.knowledge.registers == .seen, capabilities & 0x20 != 0
        else { return }
        changes.append(
            SettingChange(address: function.address, kind: .extendedTags, before: "off", after: "on")
        )
        set(i, mask: 0x100, to: 0x100)
    }

    private mutating func set(_ i: Int, mask: UInt16, to value: UInt16) {
        update(functions[i].address) {
            guard let express = $0.capabilities.express, let old = express.deviceControl else { return }
            $0.config.write(UInt32(old & ~mask | value), at: Int(express.offset) + 8, width: 2)
            $0.capabilities = Capabilities($0.config)
        }
    }
}

extension KernelIdentity {
    /// The options of `pci=`, in the order of the command line; empty when it is unknown.
    var pciWords: [Substring] {
        (commandLine ?? "").split { $0 == " " || $0 == "\t" || $0 == "\n" }.filter { $0.hasPrefix("pci=") }
            .flatMap { $0.dropFirst(4).split(separator: ",") }
    }
}

/// What the words `pci=disable_acs_redir=` and `pci=config_acs=` do to a function that is found.
private struct AccessControlWords {
    /// The addresses that lose the redirections.
    private let withoutRedirection: Set<FunctionAddress>
    /// The addresses that are given controls by `config_acs`, which not every release knows.
    private let configured: Set<FunctionAddress>
    /// Whether a word names functions by ids or by their place, or whether no command line was read: what is off may be meant
    /// to be.
    private let mayReachAnyone: Bool

    init(_ kernel: KernelIdentity) {
        let words = kernel.addressWords
        withoutRedirection = Set(words.filter { $0.word == "pci=disable_acs_redir=" }.map(\.address))
        configured = Set(words.filter { $0.word == "pci=config_acs=" }.map(\.address))
        mayReachAnyone =
            kernel.commandLine == nil
            || kernel.pciWords.contains {
                ($0.hasPrefix("disable_acs_redir=") || $0.hasPrefix("config_acs="))
                    && ($0.contains("pci:") || $0.contains("/"))
            }
    }

    /// Changes `control` as the words ask.
    /// - Returns: false when what was told does not say what becomes of it.
    func apply(to control: inout AccessControls, of address: FunctionAddress, from old: AccessControls) -> Bool {
        if configured.contains(address) { return false }
        guard withoutRedirection.contains(address) else { return !mayReachAnyone || control == old }
        control.subtract([.requestRedirect, .completionRedirect, .egressControl])
        return true
    }
}
