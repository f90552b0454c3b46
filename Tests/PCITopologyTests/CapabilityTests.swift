// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

/// Capability lists and registers, each field from its own bytes, each list to its end and no further.
@Suite("capabilities")
struct CapabilityTests {
    /// A type 0 function with PCIe at 0x40 and what `extended` places from 0x100 on.
    private static func config(count: Int = 4096, layout: UInt32 = 0, _ fill: (inout ConfigSpace) -> Void = { _ in })
        -> ConfigSpace
    {
        var config = ConfigSpace(Array(repeating: 0, count: count))
        config.write(0x1572_8086, at: 0, width: 4)
        config.write(0x10, at: 6, width: 2)
        config.write(layout, at: 0x0e, width: 1)
        config.write(0x40, at: layout == 2 ? 0x14 : 0x34, width: 1)
        config.write(0x0002_0010, at: 0x40, width: 4)
        fill(&config)
        return config
    }

    @Test("the standard list: followed by its links, with the low bits ignored, to 0, all ones, or where it is damaged")
    func standardList() {
        func ids(_ fill: (inout ConfigSpace) -> Void) -> ([UInt16], Bool) {
            let found = Capabilities(Self.config(fill))
            return (found.standard.map(\.id), found.isComplete)
        }
        #expect(ids { _ in } == ([0x10], true))
        #expect(ids { $0.write(0, at: 6, width: 2) } == ([], true), "no capability list by STATUS")
        #expect(
            ids {
                $0.write(0x53, at: 0x41, width: 1); $0.write(0x05, at: 0x50, width: 1)
            } == ([0x10, 5], true)
        )
        #expect(
            ids {
                $0.write(0xfc, at: 0x41, width: 1); $0.write(0x11, at: 0xfc, width: 1)
            } == ([0x10, 0x11], true)
        )
        #expect(
            ids {
                $0.write(0x50, at: 0x41, width: 1); $0.write(0xff, at: 0x50, width: 1)
            } == ([0x10], true)
        )
        #expect(ids { $0.write(0x3c, at: 0x41, width: 1) } == ([0x10], false), "below the capabilities")
        let circle = ids { $0.write(0x40, at: 0x41, width: 1) }
        #expect(circle.0.count == 48 && !circle.1)
        // CardBus bridges keep the pointer elsewhere.
        let cardBus = Capabilities(Self.config(layout: 2))
        #expect(cardBus.standard.map(\.offset) == [0x40])
    }

    @Test("what was not read is not complete: no header, and a PCIe function of 256 bytes")
    func completeness() {
        #expect(!Capabilities(ConfigSpace(Array(repeating: 0, count: 63))).isComplete)
        #expect(Capabilities(ConfigSpace(Array(repeating: 0, count: 64))).isComplete)
        #expect(!Capabilities(Self.config(count: 256)).isComplete)
        #expect(Capabilities(Self.config(count: 260)).isComplete)
        #expect(Capabilities(Self.config(count: 256) { $0.write(0x05, at: 0x40, width: 1) }).isComplete)
        #expect(!Capabilities(Self.config(count: 64)).isComplete)
    }

    @Test("the extended list, and what stands in it")
    func extendedList() {
        func found(_ fill: (inout ConfigSpace) -> Void) -> Capabilities { Capabilities(Self.config(fill)) }
        let both = found {
            $0.write(0x1501_000d, at: 0x100, width: 4)
            $0.write(0x0001_000e, at: 0x150, width: 4)
        }
        #expect(both.hasACS && both.hasARI && both.isComplete)
        #expect(both.extended == [.init(id: 0xd, offset: 0x100), .init(id: 0xe, offset: 0x150)])
        let one = found { $0.write(0x0001_000e, at: 0x100, width: 4) }
        #expect(!one.hasACS && one.hasARI)
        #expect(found { $0.write(.max, at: 0x100, width: 4) }.extended.isEmpty)
        // The link's low bits are reserved; one into the header space is damage; a circle ends.
        #expect(
            found {
                $0.write(0x1531_0001, at: 0x100, width: 4); $0.write(0x0001_000e, at: 0x150, width: 4)
            }.hasARI
        )
        #expect(!found { $0.write(0x0fc1_0001, at: 0x100, width: 4) }.isComplete)
        let circle = found { $0.write(0x1001_0001, at: 0x100, width: 4) }
        #expect(circle.extended.count == 960 && !circle.isComplete)
        #expect(
            !found {
                $0.write(0xffc1_0001, at: 0x100, width: 4); $0.bytes.removeLast(4)
            }.isComplete
        )
    }

    @Test("ACS, ATS, PRI, PASID, DPC and CXL: each from its own bits; what ends before its registers is not read")
    func services() throws {
        let config = Self.config { config in
            var next: UInt32 = 0x100
            func place(_ id: UInt32, _ words: [UInt32], last: Bool = false) {
                let at = Int(next)
                next += 0x40
                config.write(id | 1 << 16 | (last ? 0 : next << 20), at: at, width: 4)
                for (i, word) in words.enumerated() { config.write(word, at: at + 4 + 4 * i, width: 4) }
            }
            place(0x0d, [0x0015_005f])
            place(0x0f, [0x8000_0020])
            place(0x13, [0x0000_0001])
            place(0x1b, [0x0001_1406])
            place(0x1d, [0x0001_0000])
            place(0x01, [])
            place(0x2e, [])
            place(0x23, [0x0381_1234, 0x001e_0000])
            place(0x23, [0x0381_1e98, 0x001e_0000, 0x0004_0000, 0, 0, 0x2, 0x4000_0003, 0x1, 0x9000_0000])
            place(0x23, [0x0241_1e98, 0x0000_0008], last: true)
        }
        let found = Capabilities(config)
        #expect(found.isComplete)
        let acs = try #require(found.accessControl)
        #expect(acs.offset == 0x100 && acs.capabilities.rawValue == 0x5f && acs.control.rawValue == 0x15)
        #expect(acs.off(.isolating) == .completionRedirect)
        #expect(acs.control.signs == "SrcValid+ TransBlk- ReqRedir+ CmpltRedir- UpstreamFwd+ EgressCtrl- DirectTrans-")
        #expect(AccessControls(name: "EgressCtrl") == .egressControl && AccessControls(name: "Other") == nil)
        #expect(found.addressTranslation?.isEnabled == true && found.pageRequests?.isEnabled == true)
        #expect(found.processAddressSpaces?.isEnabled == true && found.processAddressSpaces?.width == 0x14)
        #expect(found.portContainment?.isEnabled == true)
        #expect(found.hasExtended(0x01) && found.hasExtended(0x2e) && !found.hasExtended(0x12))
        let link = try #require(found.computeExpressLink)
        #expect(link.identifiers == [0, 8] && link.hasMemory && !link.isMemoryEnabled)
        #expect(link.ranges == [AddressRange(first: 0x1_9000_0000, size: 0x2_4000_0000)].compactMap(\.self))
        #expect(Capabilities(Self.config()).computeExpressLink == nil)
        // The last capability ends before its registers.
        var cut = Self.config { $0.write(0x0001_000d, at: 0x100, width: 4) }
        cut.bytes.removeLast(4096 - 0x104)
        let short = Capabilities(cut)
        #expect(short.hasACS && short.accessControl == nil)
    }

    @Test("there, absent or not read: a function of 256 bytes, a silent one, and one that a text tells of")
    func told() {
        func function(_ config: ConfigSpace) -> Function {
            Function(
                address: FunctionAddress(bus: BusNumber(0), devfn: 8),
                identity: .init(vendor: 1, device: 1),
                config: config
            )
        }
        let acs = Self.config { $0.write(0x0001_000d, at: 0x100, width: 4) }
        #expect(function(acs).accessControl.value?.capabilities == [])
        #expect(function(Self.config()).accessControl == .absent)
        #expect(function(Self.config(count: 256)).accessControl == .unread)
        #expect(function(ConfigSpace()).accessControl == .unread)
        #expect(function(ConfigSpace(Array(repeating: 0xff, count: 4096))).accessControl == .unread)
        var text = function(acs)
        text.knowledge.settings = .unseen
        #expect(text.accessControl == .unread)
        text = function(Self.config { $0.write(0x0001_0001, at: 0x100, width: 4) })
        text.knowledge.settings = .unseen
        text.knowledge.registers = .unseen
        #expect(text.accessControl == .absent, "a list that was told to its end and does not name it")
        text = function(Self.config())
        text.knowledge.registers = .unseen
        #expect(text.accessControl == .unread, "a text may leave the extended ones out")
    }

    @Test("Device Control: payload, read requests, tags, ordering, snoop")
    func deviceControl() throws {
        let config = Self.config {
            $0.write(0x0002, at: 0x44, width: 4)
            $0.write(0x5930, at: 0x48, width: 2)
        }
        let express = try #require(Capabilities(config).express)
        #expect(express.maxPayloadSize == 256 && express.maxPayloadSupported == 512)
        #expect(express.maxReadRequestSize == 4096 && express.isExtendedTagOn == true)
        #expect(express.isRelaxedOrderingOn == true && express.isNoSnoopOn == true)
        let short = Capabilities(ConfigSpace(Array(config.bytes[..<0x48]))).express
        #expect(short?.maxReadRequestSize == nil && short?.isNoSnoopOn == nil)
    }

    @Test("PCI Express: kind of port, slot, payload, ARI, by version")
    func express() throws {
        func express(_ fill: (inout ConfigSpace) -> Void) throws -> ExpressCapability {
            try #require(Capabilities(Self.config(fill)).express)
        }
        for (raw, type) in [
            (0, ExpressPortType.endpoint), (1, .legacyEndpoint), (4, .rootPort), (5, .upstreamPort),
            (6, .downstreamPort), (7, .bridgeToPCI), (8, .bridgeToExpress), (9, .integratedEndpoint),
            (10, .eventCollector), (2, nil), (15, nil),
        ] as [(UInt32, ExpressPortType?)] {
            let port = try express {
                $0.write(0x0142 & ~0xf0 | raw << 4, at: 0x42, width: 2)
                $0.write(0xabcd_0040, at: 0x54, width: 4)
                $0.write(0x0048, at: 0x5a, width: 2)
                $0.write(0x1011, at: 0x52, width: 2)
            }
            #expect(port.portType == type && port.isSlotImplemented && port.offset == 0x40)
            let hasSlot = raw == 4 || raw == 6
            #expect(port.slotCapabilities?.rawValue == (hasSlot ? 0xabcd_0040 : nil))
            #expect(port.slotStatus == (hasSlot ? 0x48 : nil))
            #expect(port.linkStatus == 0x1011)
            #expect(port.slotCapabilities?.physicalSlotNumber == (hasSlot ? 0xabcd_0040 >> 19 : nil))
        }
        #expect(try express { $0.write(0x0042, at: 0x42, width: 2) }.isSlotImplemented == false)
        for code in 0...7 as ClosedRange<UInt32> {
            #expect(try express { $0.write(code << 5 | 0xff1f, at: 0x48, width: 2) }.maxPayloadSize == 128 << Int(code))
        }
        for (version, hasControl2) in [(1, false), (2, true), (3, true)] as [(UInt32, Bool)] {
            let enabled = try express {
                $0.write(version, at: 0x42, width: 2)
                $0.write(0x20, at: 0x68, width: 2)
            }
            #expect(enabled.isARIForwardingEnabled == hasControl2 && !enabled.supportsARIForwarding)
            let able = try express {
                $0.write(version, at: 0x42, width: 2)
                $0.write(0x20, at: 0x64, width: 4)
            }
            #expect(able.supportsARIForwarding == hasControl2 && !able.isARIForwardingEnabled)
        }
        let bits: [(SlotCapabilities, UInt32)] = [
            (.attentionButton, 1), (.powerController, 2), (.hotPlugSurprise, 0x20), (.hotPlugCapable, 0x40),
        ]
        for (flag, value) in bits { #expect(flag.rawValue == value) }
    }

    @Test("Resizable BARs: index, sizes to 8 EiB, the size in force, and at most six entries")
    func resizableBARs() {
        func entries(_ count: UInt32, id: UInt32 = 0x15, _ fill: (inout ConfigSpace) -> Void = { _ in }) -> Capabilities
        {
            Capabilities(
                Self.config {
                    $0.write(0x0001_0000 | id, at: 0x100, width: 4)
                    for i in 0..<7 as Range<UInt32> {
                        $0.write(0x0000_0070, at: Int(0x104 + 8 * i), width: 4)
                        $0.write(i | count << 5 | (i + 1) << 8, at: Int(0x108 + 8 * i), width: 4)
                    }
                    fill(&$0)
                }
            )
        }
        for count in 0...7 as ClosedRange<UInt32> {
            let found = entries(count).resizableBARs
            #expect(found.map(\.bar) == Array(0..<min(Int(count), 6)))
            #expect(found.map(\.currentExponent) == Array(1..<(min(Int(count), 6) + 1)))
            #expect(found.map(\.controlOffset) == (0..<min(Int(count), 6)).map { UInt16(0x108 + 8 * $0) })
            #expect(found.allSatisfy { $0.exponents == [0, 1, 2] })
        }
        #expect(entries(2, id: 0x24).resizableVFBARs.count == 2 && entries(2, id: 0x24).resizableBARs.isEmpty)
        // Bit 31 of the capability is 128 TiB, bit 16 of the control 256 TiB.
        let large = entries(1) {
            $0.write(0x8000_0010, at: 0x104, width: 4)
            $0.write(0x8001_0000 | 1 << 5, at: 0x108, width: 4)
        }
        #expect(large.resizableBARs.first?.exponents == [0, 27, 28, 43])
        #expect(entries(1) { $0.write(6 | 1 << 5, at: 0x108, width: 4) }.resizableBARs.isEmpty, "BAR 6 is the ROM")
        #expect(ResizableBAR.size(ofExponent: 0) == ByteCount(1 << 20))
        #expect(ResizableBAR.size(ofExponent: 43) == ByteCount(1 << 63))
        #expect(ResizableBAR.size(ofExponent: 44) == nil && ResizableBAR.size(ofExponent: -1) == nil)
    }

    @Test("SR-IOV: every field from its own bytes, and where VFs answer")
    func sriov() throws {
        let config = Self.config {
            $0.write(0x0001_0010, at: 0x100, width: 4)
            for (offset, value) in [
                (0x08, 0x0010), (0x0c, 0x1111), (0x0e, 0x0022), (0x10, 0x0033), (0x14, 0x0080), (0x16, 0x0002),
                (0x1a, 0x154c), (0x20, 0x0004), (0x24, 0xaaaa), (0x38, 0xbbbb),
            ] as [(Int, UInt32)] { $0.write(value, at: 0x100 + offset, width: 2) }
        }
        let found = try #require(Capabilities(config).sriov)
        #expect(!found.isEnabled && found.isARICapableHierarchy)
        #expect(found.initialVFs == 0x1111 && found.totalVFs == 0x22 && found.numVFs == 0x33)
        #expect(found.firstOffset == 0x80 && found.stride == 2 && found.deviceID == 0x154c)
        #expect(found.systemPageSize == 0x4000 && found.offset == 0x100)
        #expect(found.barRegisters == [0xaaaa, 0, 0, 0, 0, 0xbbbb])
        // Bus 3, devfn 1: 0x301 + 0x80, then every second; VF 63 is on bus 3, VF 64 on bus 4.
        func id(_ index: Int) -> Int { found.routingID(ofVF: index, bus: BusNumber(3), devfn: 1) }
        #expect(id(0) == 0x381 && id(1) == 0x383 && id(63) == 0x3ff && id(64) == 0x401)
        #expect(Capabilities(ConfigSpace(Array(config.bytes[..<0x13b]))).sriov == nil)
        var enabled = config
        enabled.write(1, at: 0x108, width: 2)
        #expect(Capabilities(enabled).sriov?.isEnabled == true)
        #expect(Capabilities(enabled).sriov?.isARICapableHierarchy == false)
    }

    @Test("Enhanced Allocation: 32 and 64 bits, the low bits of the length, what is off, and what overflows")
    func enhancedAllocation() {
        func entries(_ words: [UInt32], count: UInt32, layout: UInt32 = 0) -> [EnhancedAllocationEntry] {
            Capabilities(
                Self.config(layout: layout) {
                    $0.write(0x14, at: 0x40, width: 1)
                    $0.write(count, at: 0x42, width: 1)
                    for (i, word) in words.enumerated() {
                        $0.write(word, at: 0x44 + (layout == 1 ? 4 : 0) + 4 * i, width: 4)
                    }
                }
            ).enhancedAllocation
        }
        let narrow: [UInt32] = [0x8000_0112, 0xfe00_0000, 0x000f_fffc]
        let wide: [UInt32] = [0x0000_0224, 0x0000_0002, 0xffff_fffe, 0x10, 0x1]
        for layout in [0, 1] as [UInt32] {
            let found = entries(narrow + wide, count: 2, layout: layout)
            #expect(found.map(\.barEquivalent) == [1, 2] && found.map(\.properties) == [1, 2])
            #expect(found.map(\.isEnabled) == [true, false])
            #expect(
                found.map(\.range) == [
                    AddressRange(first: 0xfe00_0000, last: 0xfe0f_ffff),
                    AddressRange(first: 0x10_0000_0000, last: 0x11_ffff_ffff),
                ]
            )
        }
        #expect(entries(narrow + wide, count: 1).count == 1)
        #expect(entries([0x8000_0003, 0xffff_fffe, 0xffff_fffc, 0xffff_ffff], count: 1).isEmpty, "beyond 64 bits")
        #expect(entries([0x8000_0003, 0xffff_fffe, 0x0000_0000, 0xffff_ffff], count: 1).count == 1)
    }

    @Test("bytes, words and longs: little-endian, whole or not at all; writes likewise")
    func access() {
        var config = ConfigSpace((0..<8).map { UInt8($0 + 1) })
        #expect(config.byte(7) == 8 && config.byte(8) == nil && config.byte(-1) == nil)
        #expect(config.word(6) == 0x0807 && config.word(7) == nil)
        #expect(config.long(4) == 0x0807_0605 && config.long(5) == nil)
        #expect(
            !config.write(0, at: 7, width: 2) && !config.write(0, at: 0, width: 3) && !config.write(0, at: -1, width: 1)
        )
        #expect(config.bytes == (1...8).map { UInt8($0) })
        #expect(config.write(0xddcc_bbaa, at: 4, width: 4) && config.bytes[4...7] == [0xaa, 0xbb, 0xcc, 0xdd])
        #expect(config.write(0xddcc_bbaa, at: 0, width: 2) && config.bytes[0...2] == [0xaa, 0xbb, 3])
        #expect(ConfigSpace(Array(repeating: 0, count: 5000)).count == 4096)
        #expect(
            ConfigSpace(Array(repeating: 0, count: 64)).hasHeader
                && !ConfigSpace(Array(repeating: 0, count: 63)).hasHeader
        )
    }

    @Test("silence: all ones in the whole header, all ones in the ids, and neither")
    func silence() {
        func config(_ ones: Int, of count: Int) -> ConfigSpace {
            ConfigSpace((0..<count).map { $0 < ones ? 0xff : 0 })
        }
        #expect(config(64, of: 64).isSilent && config(64, of: 256).isSilent && !config(63, of: 64).isSilent)
        #expect(config(4, of: 4).isSilent && !config(3, of: 3).isSilent)
        #expect(config(4, of: 64).isAllOnes && !config(3, of: 64).isAllOnes && !config(3, of: 3).isAllOnes)
        var header = ConfigSpace(Array(repeating: 0, count: 64))
        header.write(0x81, at: 0x0e, width: 1)
        #expect(header.headerLayout == 1 && header.isMultiFunction)
        header.write(0x7f, at: 0x0e, width: 1)
        #expect(header.headerLayout == 0x7f && !header.isMultiFunction)
        header.write(0xfff8, at: 4, width: 2)
        #expect(header.command?.isDisjoint(with: [.ioSpace, .memorySpace, .busMaster]) == true)
        header.write(0x5, at: 4, width: 2)
        #expect(header.command == [.ioSpace, .busMaster])
    }

    @Test("rows as lspci prints them, the last as far as it was read")
    func rows() {
        let config = ConfigSpace((0..<18).map { UInt8($0) })
        #expect(
            config.rows() == "00: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f\n10: 10 11\n"
        )
        #expect(config.rows(upTo: 16).split(separator: "\n").count == 1)
        #expect(config.rows(upTo: 17).split(separator: "\n").count == 2)
        #expect(ConfigSpace().rows() == "")
    }
}

/// What lines and registers together say of a function's resources.
@Suite("resources from lines and registers")
struct DerivedResourceTests {
    private func config(_ bars: [UInt32], layout: UInt32 = 0, ids: UInt32 = 0x1572_8086) -> ConfigSpace {
        var config = ConfigSpace(Array(repeating: 0, count: 256))
        config.write(ids, at: 0, width: 4)
        config.write(layout, at: 0x0e, width: 1)
        for (i, bar) in bars.enumerated() { config.write(bar, at: 0x10 + 4 * i, width: 4) }
        return config
    }

    private func resources(
        _ bars: [UInt32],
        _ change: (inout [ResourceLine]) -> Void = { _ in },
        layout: UInt32 = 0,
        ids: UInt32 = 0x1572_8086,
        isVirtual: Bool = false
    ) -> [Resource] {
        var lines = Array(repeating: ResourceLine.zero, count: layout == 1 ? 17 : 13)
        change(&lines)
        let config = config(bars, layout: layout, ids: ids)
        return ResourceDerivation(
            lines: lines,
            config: config,
            capabilities: Capabilities(config),
            isVirtual: isVirtual
        ).resources()
    }

    @Test("a register says what a BAR decodes")
    func flags() {
        for (value, isIO, isPrefetchable, isWide) in [
            (0xe001, true, false, false), (0xe003, true, false, false), (0xfe00_0000, false, false, false),
            (0xfe00_0008, false, true, false), (0xfe00_0004, false, false, true), (0xfe00_000c, false, true, true),
            (0xfe00_0002, false, false, false), (0xfe00_0006, false, false, false), (0xe00d, true, false, false),
        ] as [(UInt32, Bool, Bool, Bool)] {
            let flags = ResourceDerivation.flags(ofRegister: value)
            #expect(flags.contains(.io) == isIO && flags.contains(.memory) == !isIO, "\(value)")
            #expect(flags.contains(.prefetchable) == isPrefetchable && flags.contains(.memory64) == isWide, "\(value)")
            #expect(flags.contains(.sizeAlign))
            // The kernel keeps the low bits of the register in the flags.
            #expect(flags.rawValue & 0xf == UInt64(value & (isIO ? 0x3 : 0xf)))
        }
    }

    @Test("a BAR that the kernel forgot is one where its register holds something; an upper half is none")
    func forgotten() {
        let found = resources([0xfe00_000c, 0x40, 0xe001, 0, 0xfe00_0000, .max])
        #expect(found.map { $0.index.rawValue } == [0, 2, 4])
        #expect(found.allSatisfy { $0.assignment == .wiped && $0.size == nil })
        #expect(found.map { $0.flags.contains(.memory64) } == [true, false, false])
        #expect(resources([0, 0, 0, 0, 0, 0]).isEmpty && resources([.max]).isEmpty)
        // After the upper half the next register counts again.
        #expect(resources([0xfe00_0004, 0x40, 0xfe10_0004, 0x40]).map { $0.index.rawValue } == [0, 2])
        #expect(resources([0xfe00_0000, 0x4000_0000]).map { $0.index.rawValue } == [0, 1])
        // The registers of VFs are not theirs; a bridge has two BARs; the kernel does not believe some registers.
        #expect(resources([0xfe00_0000], isVirtual: true).isEmpty)
        let bridge = resources([0xfe00_0000, 0xfe10_0000, 0x0003_0100, 0x1111], layout: 1).filter(\.index.isBAR)
        #expect(bridge.map { $0.index.rawValue } == [0, 1])
        #expect(
            resources([0xfe00_0000], ids: 0x2fc0_8086).isEmpty && !resources([0xfe00_0000], ids: 0x2fc0_8087).isEmpty
        )
        #expect(resources([0x0000_0004], ids: 0x2fc0_8086).count == 1)
    }

    @Test("a line with flags counts before the register, takes the next one with it when it is 64 bits wide")
    func lines() throws {
        let wide: ResourceFlags = [.memory, .memory64, .sizeAlign]
        let found = resources([0xfe00_0004, 0x40, 0xfe20_0000]) {
            $0[0] = ResourceLine(start: 0x40_0000_0000, end: 0x40_000f_ffff, flags: wide)
        }
        #expect(found.map { $0.index.rawValue } == [0, 2])
        #expect(found[0].size == ByteCount(1 << 20) && found[0].alignment == ByteCount(1 << 20))
        #expect(found[0].range == AddressRange(first: 0x40_0000_0000, last: 0x40_000f_ffff))
        // A 32-bit line does not.
        let narrow = resources([0xfe00_0000, 0xfe10_0000]) {
            $0[0] = ResourceLine(start: 0xfe00_0000, end: 0xfe0f_ffff, flags: [.memory, .sizeAlign])
        }
        #expect(narrow.map { $0.index.rawValue } == [0, 1])
        // A single byte is a size, an end below the start is none.
        let byte = resources([]) { $0[0] = ResourceLine(start: 8, end: 8, flags: [.memory, .sizeAlign]) }
        #expect(byte.first?.size == ByteCount(1))
        let none = resources([]) { $0[0] = ResourceLine(start: 8, end: 7, flags: [.memory, .sizeAlign]) }
        #expect(none.first?.size == nil)
        #expect(ResourceDerivation(lines: [], config: config([1]), capabilities: Capabilities()).resources().isEmpty)
    }
}
