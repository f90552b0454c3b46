// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import TestSupport
import Testing

@testable import LibPCIBridge

/// A record put together by hand: where apertures, bus ranges and blockers come from, and what is said to be missing.
@Suite("from a record to a tree")
struct AssemblyRuleTests {
    /// A function with the header of its class, on the root bus or below a bridge.
    private func function(
        _ address: String,
        below bridge: String? = nil,
        classCode: UInt32 = 0xff_0000,
        buses: (UInt8, UInt8)? = nil,
        bar: ClosedRange<UInt64>? = nil
    ) -> FunctionRecord {
        var f = FunctionRecord(address: at(address))
        f.placement = bridge.map { .below(at($0)) } ?? .rootBus
        var bytes = SmallMachine.config(buses == nil ? classCode : 0x06_0400, layout: buses == nil ? 0 : 1)
        if let buses {
            bytes[0x18] = at(address).bus.rawValue
            bytes[0x19] = buses.0
            bytes[0x1a] = buses.1
        }
        f.config = ConfigSpace(bytes)
        var lines = Array(repeating: ResourceLine.zero, count: buses == nil ? 13 : 17)
        if let bar {
            lines[0] = ResourceLine(start: bar.lowerBound, end: bar.upperBound, flags: ResourceFlags(rawValue: 0x40200))
        }
        f.resource = lines
        return f
    }

    private func record(_ functions: [FunctionRecord], log: [String]? = nil, iomem: String? = nil) -> MachineRecord {
        var record = MachineRecord(origin: .live, kernel: KernelIdentity(release: "6.12.1", architecture: "x86_64"))
        record.functions = functions
        record.buses = [BusRecord(segment: 0, bus: BusNumber(0), isRoot: true)]
        for f in functions where f.config.headerLayout == 1 {
            if let bus = f.config.byte(0x19), bus != 0 {
                record.buses.append(BusRecord(segment: 0, bus: BusNumber(bus), bridge: f.address))
            }
        }
        record.kernelLog = log
        record.iomem = iomem
        return record
    }

    private func topology(_ record: MachineRecord) throws -> Topology { try TopologyAssembler(record).topology() }

    private static let log = [
        "PCI host bridge to bus 0000:00", "pci_bus 0000:00: root bus resource [io  0x0000-0x0cf7 window]",
        "pci_bus 0000:00: root bus resource [mem 0x80000000-0x8fffffff window]",
        "pci_bus 0000:00: root bus resource [mem 0x400000000-0x4ffffffff window] (bus address [0x100000000-0x1ffffffff])",
        "pci_bus 0000:00: root bus resource [bus 00-3f]",
    ]

    @Test("apertures by the log: in its order, with what lies between CPU and bus addresses, each once")
    func fromLog() throws {
        let tree = try topology(record([function("00:01.0")], log: Self.log + [Self.log[2]]))
        let host = try #require(tree.hostBridges.first)
        #expect(tree.hostBridges.count == 1 && host.source == .kernelLog && host.isTold && host.isBusRangeTold)
        #expect(host.apertures.map(\.range.first) == [0, 0x8000_0000, 0x4_0000_0000])
        #expect(
            host.apertures.map(\.offset) == [0, 0, 0x3_0000_0000] && host.apertures.map(\.isIO) == [true, false, false]
        )
        #expect(host.busRange == BusRange(first: BusNumber(0), last: BusNumber(0x3f)))
        #expect(tree.gaps.map(\.code) == ["no-iomem"])
        // A later boot's lines replace those of an earlier one.
        let again = try topology(
            record(
                [function("00:01.0")],
                log: Self.log + [Self.log[0], "pci_bus 0000:00: root bus resource [mem 0x90000000-0x9fffffff window]"]
            )
        )
        #expect(again.hostBridges[0].apertures.map(\.range.first) == [0x9000_0000])
    }

    private static let iomem = """
        00001000-0009ffff : System RAM
        80000000-8fffffff : PCI Bus 0000:00
          80000000-800fffff : 0000:00:01.0
          88000000-88000fff : dnd
        e0000000-efffffff : PCI ECAM 0000 [bus 00-1f]

        """

    @Test("without a log: the nodes of /proc/iomem, and the buses of the mapped configuration space")
    func fromIomem() throws {
        let tree = try topology(record([function("00:01.0", bar: 0x8000_0000...0x800f_ffff)], iomem: Self.iomem))
        let host = tree.hostBridges[0]
        #expect(host.source == .iomem && host.apertures.map(\.range.first) == [0x8000_0000])
        #expect(host.busRange.last == BusNumber(0x1f) && host.isBusRangeTold)
        #expect(tree.gaps.map(\.code) == ["apertures-from-iomem", "root-bus-range-inferred", "no-kernel-log"])
        // What lies inside and is no function's is in the way; what is a function's is not.
        #expect(tree.blockers.map(\.name) == ["dnd"] && tree.blockers[0].range.first == 0x8800_0000)
        let unnamed = Self.iomem.replacing("PCI Bus 0000:00", with: "GPU window")
        #expect(
            try topology(record([function("00:01.0")], iomem: unnamed)).hostBridges[0].apertures.map(\.range.last) == [
                0x8fff_ffff
            ]
        )
    }

    @Test("without either: nothing is known, and said to be")
    func unknown() throws {
        let tree = try topology(record([function("00:01.0")]))
        #expect(tree.hostBridges[0].source == .unknown && tree.hostBridges[0].apertures.isEmpty)
        #expect(tree.gaps.map(\.code) == ["no-iomem", "no-apertures", "root-bus-range", "no-kernel-log"])
        #expect(tree.gaps[1].detail == "nothing tells the apertures of root bus 0000:00")
        let zeros = try topology(
            record([function("00:01.0")], iomem: "00000000-00000000 : a\n  00000000-00000000 : b\n")
        )
        #expect(zeros.gaps.first?.code == "iomem-zeroed")
    }

    @Test("with pci=nocrs the whole of both spaces, to the highest address that is told, on x86 alone")
    func whole() throws {
        func apertures(_ words: String, _ architecture: String = "x86_64") throws -> [UInt64] {
            var record = record(
                [function("00:01.0")],
                iomem: "00001000-0009ffff : System RAM\n100000000-2ffffffff : System RAM\n"
            )
            record.kernel.commandLine = words
            record.kernel.architecture = architecture
            let host = try topology(record).hostBridges[0]
            // How far memory goes is a guess.
            #expect(host.source == .unknown)
            return host.apertures.map(\.range.last)
        }
        #expect(
            try apertures("quiet pci=noaer,nocrs") == [0xffff, 0x3_ffff_ffff]
                && apertures("acpi=off") == [0xffff, 0x3_ffff_ffff]
        )
        for words in ["", "pci=nocrsx", "nocrs", "acpi=offx"] { #expect(try apertures(words) == [], "\(words)") }
        #expect(try apertures("pci=nocrs", "aarch64") == [])
    }

    @Test("a root bus that the kernel made up: no numbers of firmware's, inside the range of another of its segment")
    func madeUp() throws {
        func apertures(_ bus: String, lacking: String) throws -> [[UInt64]] {
            var record = record(
                [function("00:01.0"), function("\(bus):00.0")],
                log: Self.log + [
                    "PCI host bridge to bus \(bus)", "pci_bus \(bus): root bus resource [io  0x0000-0xffff]",
                    "pci_bus \(bus): root bus resource [mem 0x00000000-0xffffffffff]",
                    "pci_bus \(lacking): No busn resource found for root bus, will use [bus 0a-ff]",
                ]
            )
            record.buses.append(BusRecord(segment: bus.hasPrefix("0001") ? 1 : 0, bus: BusNumber(0x0a), isRoot: true))
            return try topology(record).hostBridges.map { $0.apertures.map(\.range.last) }
        }
        let first: [UInt64] = [0xcf7, 0x8fff_ffff, 0x4_ffff_ffff]
        let whole: [UInt64] = [0xffff, 0xff_ffff_ffff]
        #expect(try apertures("0000:0a", lacking: "0000:0a") == [first, []])
        #expect(try apertures("0000:0a", lacking: "0000:00") == [first, whole])
        #expect(try apertures("0000:0a", lacking: "0001:0a") == [first, whole])
        #expect(try apertures("0001:0a", lacking: "0001:0a") == [first, whole])
        #expect(try apertures("0001:0a", lacking: "0000:0a") == [first, whole])
    }

    @Test("bus ranges: what is in use, what is told, and no further than the next root bus")
    func busRanges() throws {
        func last(_ log: [String], roots: [UInt8] = [0], _ functions: [FunctionRecord]) throws -> [UInt8] {
            var record = record(functions, log: log)
            record.buses =
                roots.map { BusRecord(segment: 0, bus: BusNumber($0), isRoot: true) }
                + record.buses.filter { !$0.isRoot }
            return try topology(record).hostBridges.map(\.busRange.last.rawValue)
        }
        let tree = [function("00:01.0", buses: (1, 5)), function("01:00.0", below: "00:01.0")]
        #expect(try last([], tree) == [5])
        #expect(try last(Array(Self.log), tree) == [0x3f])
        #expect(
            try last(["PCI host bridge to bus 0000:00", "pci_bus 0000:00: root bus resource [bus 00-03]"], tree) == [5]
        )
        let other = function("08:00.0")
        #expect(try last(Array(Self.log), roots: [0, 8], tree + [other]) == [7, 8])
    }

    @Test("a bridge's buses: from its registers, from the bus that the kernel has behind it, or none")
    func bridges() throws {
        func range(_ registers: (UInt8, UInt8), kernel: UInt8?) throws -> BusRange? {
            var record = record([function("00:01.0", buses: registers)], log: Self.log)
            record.buses = [BusRecord(segment: 0, bus: BusNumber(0), isRoot: true)]
            if let kernel { record.buses.append(BusRecord(segment: 0, bus: BusNumber(kernel), bridge: at("00:01.0"))) }
            return try topology(record)[at("00:01.0")]?.bridge?.busRange
        }
        #expect(try range((1, 5), kernel: 1) == BusRange(first: BusNumber(1), last: BusNumber(5)))
        #expect(try range((1, 0), kernel: 1) == BusRange(BusNumber(1)))
        #expect(try range((0, 0), kernel: nil) == nil)
        // Registers that were written after the kernel had read them: the kernel's bus counts.
        #expect(try range((9, 12), kernel: 3) == BusRange(BusNumber(3)))
    }

    @Test("what is below something that is no bridge is left out, with all that is below it, and said to be")
    func orphans() throws {
        let functions = [
            function("00:01.0"), function("01:00.0", below: "00:01.0", buses: (2, 2)),
            function("02:00.0", below: "01:00.0"),
            function("00:02.0"),
        ]
        let tree = try topology(record(functions, log: Self.log))
        #expect(tree.functions.map(\.address.description) == ["0000:00:01.0", "0000:00:02.0"])
        #expect(tree.gaps.filter { $0.code == "orphan" }.count == 2)
        #expect(
            tree.gaps.first { $0.code == "orphan" }?.detail
                == "0000:01:00.0 sits below 0000:00:01.0, which could not be read as a bridge; it is not in the tree"
        )
    }

    @Test("E820: entries within apertures are in the way, unless the kernel says that it ignores them")
    func firmwareMap() throws {
        let map = [
            "BIOS-e820: [mem 0x0000000088000000-0x0000000088ffffff] reserved",
            "BIOS-e820: [mem 0x0000000000000000-0x000000000009ffff] usable",
            "BIOS-e820: [mem 0x000000008fffffff-0x00000000900fffff] ACPI NVS",
        ]
        func tree(_ extra: [String]) throws -> Topology {
            try topology(record([function("00:01.0")], log: Self.log + map + extra))
        }
        let unsaid = try tree([])
        #expect(
            unsaid.blockers.map(\.name) == ["reserved", "ACPI NVS"] && unsaid.gaps.map(\.code).contains("e820-mode")
        )
        let used = try tree(["PCI: Using E820 reservations for host bridge windows"])
        #expect(used.blockers.count == 2 && !used.gaps.map(\.code).contains("e820-mode"))
        let ignored = try tree(["PCI: Ignoring E820 reservations for host bridge windows"])
        #expect(ignored.blockers.isEmpty && !ignored.gaps.map(\.code).contains("e820-mode"))
    }

    @Test("a window for CXL memory that reaches into an aperture is in the way")
    func expressLink() throws {
        let text =
            "80000000-8fffffff : PCI Bus 0000:00\n8c000000-9bffffff : CXL Window 0\nb0000000-bfffffff : CXL Window 1\n"
        let tree = try topology(record([function("00:01.0")], log: Self.log, iomem: text))
        #expect(tree.blockers.map(\.name) == ["CXL Window 0"])
    }

    @Test("the order in which the kernel found functions counts where all are in it; slots are told by their device")
    func orders() throws {
        var record = record([function("00:01.0"), function("00:02.0"), function("00:02.1")], log: Self.log)
        record.deviceOrder = [at("00:02.0"), at("00:01.0"), at("00:02.1")]
        record.slots = [SlotRecord(name: "7", address: "0000:00:02")]
        let tree = try topology(record)
        #expect(tree.functions.map(\.discoveryOrder) == [1, 0, 2])
        #expect(tree.functions.map(\.use.slot) == [nil, "7", "7"])
        record.deviceOrder.removeLast()
        #expect(try topology(record).functions.map(\.discoveryOrder) == [nil, nil, nil])
    }

    @Test("names in /proc/iomem that are functions: as long as an address with its segment, and no longer")
    func names() {
        #expect(functionName("0000:00:01.0") == at("00:01.0") && functionName("ffffffff:00:01.0")?.segment == .max)
        for name in ["00:01.0", "0000:00:01", "0000:00:01.0 x", "PCI Bus 0000:00", ""] {
            #expect(functionName(name) == nil, "\(name)")
        }
    }

    @Test("who owns addresses: buses with what is free in them, functions with what else lies in them")
    func owners() {
        let owners = AddressOwners(
            iomem:
                "80000000-8fffffff : PCI Bus 0000:00\n  80000000-800fffff : 0000:00:01.0\n    80000000-80000fff : efifb\n"
                + "  81000000-81ffffff : PCI Bus 0000:01\n90000000-9fffffff : other\n",
            ioports: "0000-0cf7 : PCI Bus 0000:00\n  0060-0060 : keyboard\n"
        )
        #expect(!owners.isZeroed)
        #expect(owners.entries.map(\.owner) == ["bus 0000:00", "0000:00:01.0", "bus 0000:01", "bus 0000:00"])
        #expect(owners.entries.map(\.depth) == [0, 1, 1, 0])
        #expect(
            owners.entries[0].range == "[mem 0x80000000-0x8fffffff]" && owners.entries[3].range == "[io  0x0000-0x0cf7]"
        )
        // 256 MiB less 1 MiB and 16 MiB; the upper half is the largest aligned block.
        #expect(
            owners.entries[0].free == "239M free, largest block 128M"
                && owners.entries[2].free == "16M free, largest block 16M"
        )
        #expect(owners.entries[1].free == nil && owners.entries[1].users == ["efifb"] && owners.entries[1].size == "1M")
        let zeros = AddressOwners(
            iomem: "00000000-00000000 : PCI Bus 0000:00\n00000000-00000000 : 0000:00:01.0\n",
            ioports: nil
        )
        #expect(zeros.isZeroed && zeros.entries.allSatisfy { $0.free == nil })
    }
}
