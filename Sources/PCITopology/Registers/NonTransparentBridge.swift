// SPDX-License-Identifier: GPL-2.0-or-later

/// One side of a non-transparent bridge, as far as its ids and its configuration space tell: what its windows are, what they
/// want of addresses, whether the other host can reach this one just now.
///
/// The rules are those of Linux's drivers (`mw_get_align` and `link_is_up` of drivers/ntb/hw); what these read from registers in
/// a BAR is not told here.
public struct NonTransparentBridge: Hashable, Sendable {
    /// Which hardware it is, by the driver that Linux has for it.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// Xeon E5 and E7 up to v4 (ntb_hw_gen1.c).
        case intel1 = "Intel, first generation"
        /// Skylake's Xeon (ntb_hw_gen3.c).
        case intel3 = "Intel, third generation"
        /// Ice Lake's Xeon and later (ntb_hw_gen4.c).
        case intel4 = "Intel, fourth generation"
        /// AMD's and Hygon's.
        case amd = "AMD"
        /// Microchip's Switchtec.
        case switchtec = "Switchtec"
        /// IDT's 89HPES switches.
        case idt = "IDT"
        /// A device that is programmed as one (pci-epf-ntb).
        case endpointFunction = "endpoint function"
        /// PLX's switches, for which Linux has no driver.
        case plx = "PLX"
        /// Known by its driver only.
        case other = "of an unknown kind"
    }

    /// Whether the link to the other host is up.
    public enum Link: String, Hashable, Sendable {
        case up
        case down
        /// The register lies in a BAR, or was not read: it counts as up.
        case untold = "not told"
    }

    /// A BAR whose addresses lead to the other host's memory.
    public struct Window: Hashable, Sendable {
        /// The BAR, 0 to 5.
        public var bar: Int
        /// How much of the other host's memory it can show; nil where the BAR's size is not known.
        public var size: ByteCount?
        /// What the addresses that it is translated to must be a multiple of; nil where the size decides and is not known.
        public var translationAlignment: ByteCount?
    }

    /// Which hardware it is.
    public var kind: Kind
    /// Whether the link is up.
    public var link: Link
    /// The windows; nil where registers in a BAR decide which BARs are windows.
    public var windows: [Window]?
}

extension NonTransparentBridge {
    /// Link status: data link layer active (PCIe 6.0 §7.5.3.8, bit 13).
    private static let isActive: UInt16 = 0x2000

    init?(_ function: Function) {
        guard let kind = function.identity.nonTransparentKind(driver: function.use.driver) else { return nil }
        self.kind = kind
        link = Self.link(function, kind)
        windows = Self.bars(function, kind).map { bars in
            bars.compactMap { bar in
                guard let index = ResourceIndex.bar(bar), let resource = function.resource(index) else { return nil }
                return Window(
                    bar: bar,
                    size: resource.size,
                    translationAlignment: Self.wantsOwnSize(function, kind) ? resource.size : ByteCount(4096)
                )
            }
        }
    }

    /// The BARs that are windows (`ndev_mw_to_bar`): of the first Intel generation three where the registers split BAR 4
    /// (PPD, bit 6), of AMD's by the device.
    private static func bars(_ function: Function, _ kind: Kind) -> [Int]? {
        switch kind {
        case .intel1:
            guard function.knowledge.registers == .seen, let ppd = function.config.byte(0xd4) else { return nil }
            return ppd & 0x40 != 0 ? [2, 4, 5] : [2, 4]
        case .intel3, .intel4: return [2, 4]
        case .amd: return function.identity.device == 0x145b ? [1, 2, 4] : [2, 4]
        case .switchtec, .idt, .endpointFunction, .plx, .other: return nil
        }
    }

    /// Whether what a window is translated to must be aligned to the window's size (`NTB_HWERR_BAR_ALIGN` of the fourth Intel
    /// generation: revisions 2 to 15); others take any page.
    private static func wantsOwnSize(_ function: Function, _ kind: Kind) -> Bool {
        switch kind {
        case .intel1, .intel3: true
        case .intel4: (0x2...0xf).contains(function.identity.revision)
        default: false
        }
    }

    private static func link(_ function: Function, _ kind: Kind) -> Link {
        // What a driver says of the link was noted with the use.
        let codes = function.use.evidence.map(\.code)
        if codes.contains("ntb-down") { return .down }
        // What is seen from its secondary side is seen across the link.
        if kind == .intel1, function.identity.isSecondarySide { return .up }
        guard kind == .intel1 || kind == .intel3, function.knowledge.registers == .seen, !function.config.isSilent,
            let status = function.config.word(0x1a2)
        else { return .untold }
        return status & isActive != 0 ? .up : .down
    }
}

extension Function {
    /// What is known of it as one side of a non-transparent bridge; nil for any other function.
    public var nonTransparentBridge: NonTransparentBridge? { NonTransparentBridge(self) }

    /// Whether the function is one side of a non-transparent bridge: two hosts talk through its BARs, and the other side
    /// holds addresses that it was told. Known by the bound driver, else by the ids that Linux has drivers for.
    public var isNonTransparentBridge: Bool { identity.isNonTransparentBridge(driver: use.driver) }

    /// Why another host may be reaching this one through the function just now, a sentence; nil where it is no bridge to one,
    /// and where its link is known to be down.
    public var heldByOtherHost: String? {
        guard let bridge = nonTransparentBridge else { return nil }
        let driver = use.driver.map { " (\($0))" } ?? ""
        switch bridge.link {
        case .down: return nil
        case .up: return "another host reaches this one through it\(driver): its link is up"
        case .untold:
            return "another host may reach this one through it\(driver): whether its link is up is not told"
        }
    }
}

extension Function.Identity {
    /// Whether a function of this identity and bound `driver` is one side of a non-transparent bridge.
    public func isNonTransparentBridge(driver: String?) -> Bool { nonTransparentKind(driver: driver) != nil }

    /// Which hardware a function of this identity is, where it is one side of a non-transparent bridge; nil where it is none.
    func nonTransparentKind(driver: String?) -> NonTransparentBridge.Kind? {
        switch (vendor, device) {
        case (0x8086, 0x3725...0x3727), (0x8086, 0x3c0d...0x3c0f), (0x8086, 0x0e0d...0x0e0f), (0x8086, 0x2f0d...0x2f0f),
            (0x8086, 0x6f0d...0x6f0f):
            return .intel1
        case (0x8086, 0x201c): return .intel3
        case (0x8086, 0x347e): return .intel4
        case (0x1022, 0x145b), (0x1022, 0x148b), (0x1022, 0x14c0), (0x1022, 0x14c3), (0x1d94, 0x145b): return .amd
        case (0x10b5, 0x87b0...0x87b1): return .plx
        // Boards that are programmed as one say that they are memory.
        case (0x104c, 0xb00d) where classWord == 0x0500, (0x1957, 0x0809) where classWord == 0x0500:
            return .endpointFunction
        default: break
        }
        if vendor == 0x11f8, classWord == 0x0680 { return .switchtec }
        switch driver {
        case "ntb_hw_idt": return .idt
        case "ntb_hw_epf": return .endpointFunction
        case "ntb_hw_intel", "ntb_hw_amd": return .other
        case "switchtec": return classWord == 0x0680 ? .switchtec : nil
        default: return nil
        }
    }

    /// Whether it is the secondary side of the first Intel generation (`NTB_TOPO_SEC`).
    fileprivate var isSecondarySide: Bool { [0x3727, 0x3c0f, 0x0e0f, 0x2f0f, 0x6f0f].contains(device) }
}
