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
        /// Relaxed ordering.
        case relaxedOrdering = "relaxed-ordering"
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
    /// `pci_configure_extended_tags` switches on tags of eight bits; `pci_configure_relaxed_ordering` switches off relaxed
    /// ordering below root ports that cannot do it. Max_Read_Request_Size and no snoop stay as they are until a driver sets
    /// them.
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
            result.setRelaxedOrdering(i, &changes)
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
        let isKnown = words.apply(to: &control, of: function.address, acs)
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

    /// Root ports whose completions go wrong with it (`quirk_relaxedordering_disable`): Haswell's, Broadwell's, AMD's first
    /// for Arm.
    private mutating func setRelaxedOrdering(_ i: Int, _ changes: inout [SettingChange]) {
        let function = functions[i]
        guard !function.isVirtual, function.areSettingsTold,
            function.capabilities.express?.isRelaxedOrderingOn == true, let root = ancestors(of: i).last,
            functions[root].capabilities.express?.portType == .rootPort
        else { return }
        switch (functions[root].identity.vendor, functions[root].identity.device) {
        case (0x8086, 0x6f01...0x6f0e), (0x8086, 0x2f01...0x2f0e), (0x1022, 0x1a00...0x1a02):
            changes.append(
                SettingChange(address: function.address, kind: .relaxedOrdering, before: "on", after: "off")
            )
            set(i, mask: 0x10, to: 0)
        default: return
        }
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

/// What the words `pci=disable_acs_redir=` and `pci=config_acs=` do to a function that is found (`pci_enable_acs`).
///
/// Up to 6.10 the first takes the redirections away from what the kernel has set, and the second is no word. From 6.15 on, and
/// in the stable 6.12.23, a function that either names has what it had when it was found, but for the controls that the word
/// sets ("PCI/ACS: Fix pci=config_acs= parameter"). What the releases between make of the words is not told.
private struct AccessControlWords {
    /// How a kernel follows the words.
    private enum Rule {
        case clears
        case fromFirmware
        case untold
    }

    /// One `FLAGS@ADDRESS` of `config_acs`.
    private struct Setting {
        var address: FunctionAddress
        var mask: AccessControls
        var flags: AccessControls
    }

    private let rule: Rule
    /// The addresses that lose the redirections.
    private let withoutRedirection: Set<FunctionAddress>
    /// What `config_acs` asks for; nil where it is not written as it has to be.
    private let settings: [Setting]?
    /// Whether a word names functions by ids or by their place, or whether no command line was read: what is off may be meant
    /// to be.
    private let mayReachAnyone: Bool

    init(_ kernel: KernelIdentity) {
        withoutRedirection = Set(
            kernel.addressWords.filter { $0.word == "pci=disable_acs_redir=" }.map(\.address)
        )
        rule = Self.rule(kernel.release)
        let configurations = kernel.pciWords.filter { $0.hasPrefix("config_acs=") }
        mayReachAnyone =
            kernel.commandLine == nil
            || (kernel.pciWords.filter { $0.hasPrefix("disable_acs_redir=") } + configurations).contains {
                $0.contains("pci:") || $0.contains("/")
            }
        // The last one counts.
        settings = configurations.last.map { Self.settings($0.dropFirst(11)) } ?? []
    }

    private static func rule(_ release: String?) -> Rule {
        guard let release, let known = KernelRelease(release) else { return .untold }
        if known.series < KernelRelease.Series(6, 11) { return .clears }
        if known.series >= KernelRelease.Series(6, 15) { return .fromFirmware }
        return known.series == KernelRelease.Series(6, 12) && known.points.lowerBound >= 23 ? .fromFirmware : .untold
    }

    /// `1xx0@0000:01:00.0;…`: the last digit before the sign is bit 0.
    private static func settings(_ text: Substring) -> [Setting]? {
        var result: [Setting] = []
        for part in text.split(separator: ";", omittingEmptySubsequences: false) {
            let halves = part.split(separator: "@", omittingEmptySubsequences: false)
            guard halves.count == 2, (1...7).contains(halves[0].utf8.count),
                let address = FunctionAddress(parsing: halves[1])
            else { return nil }
            var setting = Setting(address: address, mask: [], flags: [])
            for (bit, digit) in halves[0].utf8.reversed().enumerated() {
                let control = AccessControls(rawValue: 1 << UInt16(bit))
                switch digit {
                case UInt8(ascii: "0"): setting.mask.insert(control)
                case UInt8(ascii: "1"):
                    setting.mask.insert(control)
                    setting.flags.insert(control)
                case UInt8(ascii: "x"), UInt8(ascii: "X"): continue
                default: return nil
                }
            }
            result.append(setting)
        }
        return result
    }

    /// Changes `control` as the words ask.
    ///
    /// - Parameters:
    ///   - control: what the kernel sets by itself; afterwards, what it sets.
    ///   - address: the address at which the function is found.
    ///   - acs: the function's capability, as it was when the function was found.
    /// - Returns: false when what was told does not say what becomes of it.
    func apply(to control: inout AccessControls, of address: FunctionAddress, _ acs: AccessControl) -> Bool {
        let redirections: AccessControls = [.requestRedirect, .completionRedirect, .egressControl]
        let isBare = withoutRedirection.contains(address)
        guard let settings else { return false }
        // The first that names the function ends the search.
        let setting = settings.first { $0.address == address }
        guard isBare || setting != nil && rule != .clears else { return !mayReachAnyone || control == acs.control }
        switch rule {
        case .untold: return false
        case .clears: control.subtract(redirections)
        case .fromFirmware:
            if isBare { control = acs.control.subtracting(redirections) }
            if let setting {
                // What the function has no switch for stays as it reads.
                control = acs.control.subtracting(setting.mask).union(setting.flags.intersection(acs.capabilities))
            }
        }
        return true
    }
}
