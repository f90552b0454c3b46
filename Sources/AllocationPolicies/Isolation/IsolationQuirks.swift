// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Devices that Linux treats as isolating, or as not, whatever their ACS capability says: `pci_dev_acs_enabled` in
/// drivers/pci/quirks.c, of one content in 6.1, 6.12 and 7.2.
enum IsolationQuirks {
    /// What the table says of a function.
    enum Answer {
        /// Its vendor vouches for it.
        case isolated
        /// The kernel counts it as one that does not isolate, and does not look at its capability.
        case open
        /// Its ACS control register stands four bytes after the capability register, where no other has it.
        case controlAtEight
        /// It isolates if the machine's IOMMU is AMD's.
        case isolatedUnderAMDMMU
    }

    /// What the kernel's table says of `function`, or nil where it says nothing.
    static func answer(_ function: Function, isMultiFunction: Bool, isOnRootBus: Bool) -> Answer? {
        let device = function.identity.device
        let type = function.capabilities.express?.portType
        let isRootPort = type == .rootPort
        switch function.identity.vendor {
        case 0x8086:
            if endpoints8086.contains(device) || type == .integratedEndpoint { return .isolated }
            guard isRootPort else { return nil }
            if chipsetPorts.contains(where: { $0.contains(device) }) { return .isolated }
            let isWide = wideRegisterPorts.contains { $0.contains(device) }
            return isWide && function.capabilities.hasACS ? .controlAtEight : nil
        case 0x1002 where [0x4385, 0x439c, 0x4383, 0x439d, 0x4384, 0x4399].contains(device),
            0x1022 where [0x780f, 0x7809].contains(device):
            return isMultiFunction && isOnRootBus ? .isolatedUnderAMDMMU : nil
        case 0x1924: return [0x0903, 0x0923, 0x0a03].contains(device) ? .isolated : nil
        case 0x17cb: return [0x0400, 0x0401, 0x0115, 0x0111, 0x0120].contains(device) ? .isolated : nil
        case 0x1dbf: return device == 0x0401 ? .isolated : nil
        case 0x19a2: return device == 0x0710 ? .isolated : nil
        case 0x10df: return device == 0x0720 ? .isolated : nil
        case 0x177d:
            let isPort = (0xa000...0xa7ff).contains(device) || device == 0xaf84 || device == 0xb884
            if isRootPort && isPort { return .isolated }
            return [0xa026, 0xa059, 0xa060].contains(device) ? .isolated : nil
        case 0x10e8: return device == 0xe004 ? .isolated : nil
        case 0x1def: return (0xe005...0xe00c).contains(device) ? .isolated : nil
        case 0x14e4:
            return device == 0x16d7 || (0x1750...0x1752).contains(device) || (0x1760...0x1763).contains(device)
                || device == 0xd714 ? .isolated : nil
        case 0x0014:
            return [0x3c09, 0x3c19, 0x3c29].contains(device)
                || device & 0xff0f == 0x7a09 && (0x7a09...0x7a69).contains(device) ? .isolated : nil
        case 0x1c36: return device == 0x0031 && isRootPort ? .isolated : nil
        case 0x1d17:
            if [0x3038, 0x3104, 0x9083].contains(device) { return .isolated }
            guard isRootPort || type == .downstreamPort else { return nil }
            let vouched = (0x0710...0x071e).contains(device) || device == 0x0721 || (0x0723...0x0752).contains(device)
            return vouched ? .isolated : .open
        case 0x1957: return nxpPorts.contains(device) ? .isolated : nil
        case 0x8088:
            let single: Set<UInt16> = [0x1001, 0x2001, 0x5010, 0x5025, 0x5040, 0x5110, 0x5125, 0x5140]
            return (0x0100...0x010f).contains(device) || single.contains(device) ? .isolated : .open
        default: return nil
        }
    }

    /// Whether the kernel leaves the device's ACS Source Validation out of account (`pci_disable_broken_acs_cap`, 7.2; older
    /// releases work around at each access).
    static func lacksSourceValidation(_ function: Function) -> Bool {
        function.identity.vendor == 0x111d && [0x80b5, 0x8090].contains(function.identity.device)
    }

    private static let endpoints8086: Set<UInt16> = [
        0x10c6, 0x10db, 0x10dd, 0x10e1, 0x10f1, 0x10f7, 0x10f8, 0x10f9, 0x10fa, 0x10fb, 0x10fc, 0x1507, 0x1514, 0x151c,
        0x1529, 0x152a, 0x154d, 0x154f, 0x1551, 0x1558, 0x1509, 0x150e, 0x150f, 0x1510, 0x1511, 0x1516, 0x1527, 0x10c9,
        0x10e6, 0x10e7, 0x10e8, 0x150a, 0x150d, 0x1518, 0x1526, 0x10a7, 0x10a9, 0x10d6, 0x1521, 0x1522, 0x1523, 0x1524,
        0x105e, 0x105f, 0x1060, 0x10d9, 0x15b7, 0x15b8,
    ]

    private static let chipsetPorts: [ClosedRange<UInt16>] = [
        0x3b42...0x3b51, 0x1c10...0x1c1f, 0x1e10...0x1e1f, 0x8c10...0x8c1f, 0x9c10...0x9c1b, 0x9c90...0x9c9b,
        0x1d10...0x1d10, 0x1d12...0x1d12, 0x1d14...0x1d14, 0x1d16...0x1d16, 0x1d18...0x1d18, 0x1d1a...0x1d1a,
        0x1d1c...0x1d1c, 0x1d1e...0x1d1e, 0x8d10...0x8d1e, 0x8c90...0x8c90, 0x8c92...0x8c92, 0x8c94...0x8c94,
        0x8c96...0x8c96, 0x8c98...0x8c98, 0x8c9a...0x8c9a, 0x8c9c...0x8c9c, 0x8c9e...0x8c9e,
    ]

    private static let wideRegisterPorts: [ClosedRange<UInt16>] = [
        0xa110...0xa11f, 0xa167...0xa16a, 0xa290...0xa29f, 0xa2e7...0xa2ee, 0x9d10...0x9d1b,
    ]

    private static let nxpPorts: Set<UInt16> = [
        0x8d80, 0x8d81, 0x8d82, 0x8d83, 0x8d88, 0x8d89, 0x8d8a, 0x8d8b, 0x8d90, 0x8d91, 0x8d92, 0x8d93, 0x8d98, 0x8d99,
        0x8d9a, 0x8d9b, 0x8da0, 0x8da1, 0x8da8, 0x8da9, 0x8db0, 0x8db1, 0x8db8, 0x8db9,
    ]
}

/// Requester numbers of DMA that are not those of the function itself, as Linux knows them (drivers/pci/quirks.c,
/// `pci_add_dma_alias`; of one content in 6.1, 6.12 and 7.2).
enum RequesterAliases {
    /// The device and function numbers on its own bus under which `function` may appear beside its own; nil where a device
    /// holds the list itself, and where its ids were not told.
    static func numbers(_ function: Function) -> Set<UInt8>? {
        let id = function.identity
        let devfn = function.address.devfn
        switch (id.vendor, id.device) {
        case (0x1180, 0xe832), (0x1180, 0xe476), (0x6766, 0x3d40), (0x6766, 0x3d41): return other(devfn, function: 0)
        case (0x1b4b, let device) where marvell.contains(device): return other(devfn, function: 1)
        case (0x1103, 0x0642), (0x1103, 0x0645), (0x197b, 0x2392), (0x1c28, 0x0122): return other(devfn, function: 1)
        case (0x9005, 0x0285):
            return id.subsystemVendor == 0x9005 && [0x02bb, 0x02bc].contains(id.subsystemDevice) ? [0x08] : []
        case (0x8086, 0x2260), (0x8086, 0x2264): return [0x80, 0x88, 0x93]
        case (0x8086, 0x2954...0x2956), (0x8086, 0x2958...0x295a):
            return Set((0..<32).flatMap { slot in (0..<5).map { UInt8(slot << 3 | $0) } })
        case (0x10b5, 0x87b0...0x87b1): return Set(0...255)
        case (0xffff, _): return nil
        default: return id.vendor == 0x11f8 && id.classWord == 0x0680 ? nil : []
        }
    }

    private static func other(_ devfn: UInt8, function: UInt8) -> Set<UInt8> {
        devfn & 7 == function ? [] : [devfn & 0xf8 | function]
    }

    private static let marvell: Set<UInt16> = [
        0x9120, 0x9123, 0x9125, 0x9128, 0x9130, 0x9170, 0x9172, 0x917a, 0x9182, 0x9183, 0x91a0, 0x9215, 0x9220, 0x9230,
        0x9235,
    ]
}
