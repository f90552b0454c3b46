// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// Functions that the kernel knows by their ids: the ends of every range, and one beyond (`pci_dev_acs_enabled`,
/// drivers/pci/quirks.c).
@Suite("Functions whose isolation the kernel knows by their ids")
struct IsolationQuirkTests {
    private func function(_ vendor: UInt16, _ device: UInt16, _ type: ExpressPortType?, classCode: UInt32 = 0)
        -> Function
    {
        var config = ConfigSpace(Array(repeating: 0, count: 256))
        if let type {
            config.write(0x10, at: 6, width: 2)
            config.write(0x40, at: 0x34, width: 1)
            config.write(0x10 | 2 << 16 | UInt32(type.rawValue) << 20, at: 0x40, width: 4)
        }
        return Function(
            address: FunctionAddress(bus: BusNumber(0), devfn: 0x0a),
            identity: Function.Identity(vendor: vendor, device: device, classCode: classCode),
            config: config
        )
    }

    private func answer(_ vendor: UInt16, _ device: UInt16, _ type: ExpressPortType? = .endpoint) -> IsolationQuirks
        .Answer?
    {
        IsolationQuirks.answer(function(vendor, device, type), isMultiFunction: false, isOnRootBus: false)
    }

    @Test("ranges of ids hold at both ends and not beyond")
    func ranges() {
        for (vendor, first, last, type) in [
            (0x8086, 0x3b42, 0x3b51, .rootPort), (0x8086, 0x1c10, 0x1c1f, .rootPort),
            (0x8086, 0x1e10, 0x1e1f, .rootPort),
            (0x8086, 0x8c10, 0x8c1f, .rootPort), (0x8086, 0x9c10, 0x9c1b, .rootPort),
            (0x8086, 0x9c90, 0x9c9b, .rootPort),
            (0x8086, 0x8d10, 0x8d1e, .rootPort), (0x8086, 0x1d10, 0x1d10, .rootPort),
            (0x8086, 0x8c9e, 0x8c9e, .rootPort),
            (0x1924, 0x0903, 0x0903, .endpoint), (0x177d, 0xa000, 0xa7ff, .rootPort),
            (0x1def, 0xe005, 0xe00c, .endpoint),
            (0x14e4, 0x1750, 0x1752, .endpoint), (0x14e4, 0x1760, 0x1763, .endpoint),
            (0x14e4, 0x16d7, 0x16d7, .endpoint),
            (0x8086, 0x10c6, 0x10c6, .endpoint), (0x8086, 0x1521, 0x1524, .endpoint),
            (0x8086, 0x15b7, 0x15b8, .endpoint),
            (0x1957, 0x8d80, 0x8d83, .rootPort), (0x19a2, 0x0710, 0x0710, .endpoint),
        ] as [(UInt16, UInt16, UInt16, ExpressPortType)] {
            #expect(answer(vendor, first, type) == .isolated && answer(vendor, last, type) == .isolated, "\(first)")
            #expect(answer(vendor, first - 1, type) == nil && answer(vendor, last + 1, type) == nil, "\(first)")
        }
        #expect(answer(0x8086, 0x1c10, .endpoint) == nil, "the chipset's ids are those of root ports")
        #expect(answer(0x8086, 0x9999, .integratedEndpoint) == .isolated)
        #expect(answer(0x1c36, 0x0031, .rootPort) == .isolated && answer(0x1c36, 0x0031, .endpoint) == nil)
    }

    @Test("vendors of which everything else is not trusted")
    func open() {
        #expect(answer(0x1d17, 0x0710, .rootPort) == .isolated && answer(0x1d17, 0x071e, .downstreamPort) == .isolated)
        #expect(answer(0x1d17, 0x070f, .rootPort) == .open && answer(0x1d17, 0x071f, .rootPort) == .open)
        #expect(answer(0x1d17, 0x0721, .rootPort) == .isolated && answer(0x1d17, 0x0722, .rootPort) == .open)
        #expect(answer(0x1d17, 0x0752, .rootPort) == .isolated && answer(0x1d17, 0x0753, .rootPort) == .open)
        #expect(answer(0x1d17, 0x0710, .endpoint) == nil && answer(0x1d17, 0x3038, .endpoint) == .isolated)
        #expect(answer(0x8088, 0x0100) == .isolated && answer(0x8088, 0x010f) == .isolated)
        #expect(
            answer(0x8088, 0x00ff) == .open && answer(0x8088, 0x0110) == .open && answer(0x8088, 0x5025) == .isolated
        )
        #expect(answer(0x0014, 0x7a09) == .isolated && answer(0x0014, 0x7a69) == .isolated)
        #expect(answer(0x0014, 0x7a79) == nil && answer(0x0014, 0x7a0a) == nil && answer(0x0014, 0x3c19) == .isolated)
        #expect(answer(1, 1) == nil)
    }

    @Test("AMD's chipset counts on a root bus, as one of several functions, under its IOMMU")
    func chipset() {
        let bridge = function(0x1002, 0x4385, nil)
        func told(_ several: Bool, _ root: Bool) -> IsolationQuirks.Answer? {
            IsolationQuirks.answer(bridge, isMultiFunction: several, isOnRootBus: root)
        }
        #expect(told(true, true) == .isolatedUnderAMDMMU && told(true, false) == nil && told(false, true) == nil)
        #expect(IsolationQuirks.lacksSourceValidation(function(0x111d, 0x80b5, .downstreamPort)))
        #expect(!IsolationQuirks.lacksSourceValidation(function(0x111d, 0x80b6, .downstreamPort)))
    }

    @Test("requests under another number: function 0 or 1 of the same device, fixed ones, all of them, or not known")
    func aliases() {
        func numbers(_ vendor: UInt16, _ device: UInt16, classCode: UInt32 = 0) -> Set<UInt8>? {
            RequesterAliases.numbers(function(vendor, device, .endpoint, classCode: classCode))
        }
        // The function is 01.2.
        #expect(
            numbers(0x1180, 0xe832) == [0x08] && numbers(0x1b4b, 0x9123) == [0x09] && numbers(0x1103, 0x0642) == [0x09]
        )
        #expect(numbers(0x1b4b, 0x9124) == [] && numbers(0x8086, 0x2260) == [0x80, 0x88, 0x93])
        #expect(
            numbers(0x8086, 0x2954)?.count == 160 && numbers(0x8086, 0x2957) == []
                && numbers(0x8086, 0x295a)?.count == 160
        )
        #expect(numbers(0x8086, 0x295b) == [] && numbers(0x8086, 0x2953) == [])
        #expect(numbers(0x10b5, 0x87b0)?.count == 256 && numbers(0x10b5, 0x87b2) == [])
        #expect(
            numbers(0xffff, 1) == nil && numbers(0x11f8, 1, classCode: 0x06_8000) == nil && numbers(0x11f8, 1) == []
        )
    }
}
