// SPDX-License-Identifier: GPL-2.0-or-later

/// The controls of Access Control Services: the low bits of its capability and control registers (PCIe 6.0 §7.7.11).
public struct AccessControls: OptionSet, Hashable, Sendable {
    /// The register value.
    public let rawValue: UInt16
    /// Creates a register value.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// ACS Source Validation. The corresponding C constant is `PCI_ACS_SV`.
    public static let sourceValidation = AccessControls(rawValue: 0x01)
    /// ACS Translation Blocking. The corresponding C constant is `PCI_ACS_TB`.
    public static let translationBlocking = AccessControls(rawValue: 0x02)
    /// ACS P2P Request Redirect. The corresponding C constant is `PCI_ACS_RR`.
    public static let requestRedirect = AccessControls(rawValue: 0x04)
    /// ACS P2P Completion Redirect. The corresponding C constant is `PCI_ACS_CR`.
    public static let completionRedirect = AccessControls(rawValue: 0x08)
    /// ACS Upstream Forwarding. The corresponding C constant is `PCI_ACS_UF`.
    public static let upstreamForwarding = AccessControls(rawValue: 0x10)
    /// ACS P2P Egress Control. The corresponding C constant is `PCI_ACS_EC`.
    public static let egressControl = AccessControls(rawValue: 0x20)
    /// ACS Direct Translated P2P. The corresponding C constant is `PCI_ACS_DT`.
    public static let directTranslated = AccessControls(rawValue: 0x40)

    /// What keeps a function from reaching others past the root complex, and what a kernel with an IOMMU switches on.
    public static let isolating: AccessControls = [
        .sourceValidation, .requestRedirect, .completionRedirect, .upstreamForwarding,
    ]

    private static let names: [(AccessControls, String)] = [
        (.sourceValidation, "SrcValid"), (.translationBlocking, "TransBlk"), (.requestRedirect, "ReqRedir"),
        (.completionRedirect, "CmpltRedir"), (.upstreamForwarding, "UpstreamFwd"), (.egressControl, "EgressCtrl"),
        (.directTranslated, "DirectTrans"),
    ]

    /// The names of the controls that are set, as lspci writes them, in the order of the bits.
    public var names: [String] { Self.names.filter { contains($0.0) }.map(\.1) }

    /// Each of the names with `+` or `-`, as lspci writes the register: `SrcValid+ TransBlk- …`.
    public var signs: String { Self.names.map { $0.1 + (contains($0.0) ? "+" : "-") }.joined(separator: " ") }

    /// The control that lspci calls `name`, or nil.
    public init?(name: String) {
        guard let found = Self.names.first(where: { $0.1 == name }) else { return nil }
        self = found.0
    }
}

/// The Access Control Services capability (PCIe 6.0 §7.7.11): whether requests may go from one function to another without
/// passing the root complex, where an IOMMU is.
public struct AccessControl: Hashable, Sendable {
    /// The offset of the capability in configuration space.
    public var offset: UInt16
    /// What the function has a switch for. A control without one is hard-wired on, or not needed there.
    public var capabilities: AccessControls
    /// What is switched on.
    public var control: AccessControls

    /// Creates a record.
    public init(offset: UInt16, capabilities: AccessControls, control: AccessControls) {
        self.offset = offset
        self.capabilities = capabilities
        self.control = control
    }

    /// Decodes the capability at `offset`, or nil when its registers were not readable.
    public init?(_ config: ConfigSpace, at offset: Int) {
        guard let capabilities = config.word(offset + 4), let control = config.word(offset + 6) else { return nil }
        self.offset = UInt16(truncatingIfNeeded: offset)
        self.capabilities = AccessControls(rawValue: capabilities & 0x7f)
        self.control = AccessControls(rawValue: control & 0x7f)
    }

    /// Which of `wanted` the function has a switch for that is off.
    public func off(_ wanted: AccessControls) -> AccessControls {
        wanted.intersection(capabilities).subtracting(control)
    }
}
