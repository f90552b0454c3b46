// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import LibPCIBridge
import PCITopology
import Testing

@testable import Reproduction

@Suite("Reproduction")
struct ReproductionTests {
    static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures").path

    static func reproduce(_ files: String...) throws -> Reproduction {
        try reproduce(RecordedInput(paths: files.map { "\(fixtures)/\($0)" }).record)
    }

    private static func reproduce(_ record: MachineRecord) throws -> Reproduction {
        let topology = try TopologyAssembler(record).topology()
        let assessment = Assessment(record, topology)
        return Reproduction(
            topology,
            findings: assessment.findings,
            unknowns: assessment.unknowns,
            refusals: assessment.refusals,
            log: record.kernelLog ?? [],
            behaviour: KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        )
    }

    @Test("a recording of an emulated machine is rebuilt whole", arguments: ["6.1", "6.12", "7"])
    func whole(kernel: String) throws {
        let result = try Self.reproduce("first-light-\(kernel)/failed-hot-add.snapshot.json")
        #expect(result.verdict == .whole, "\(result.reason) \(result.remarks) \(result.leftOut)")
        #expect(result.alsoFails.isEmpty)
        let keys = result.lines.map(\.key)
        #expect(keys.contains("0000:04:00.0 BAR 2 [mem size 0x40000000 64bit pref]"), "\(keys)")
        #expect(keys == result.lines.map(\.reportKey))
        // What was there before is there from the start; what failed is plugged in.
        let machine = try #require(result.machine)
        #expect(machine.arguments.contains { $0.hasPrefix("pci-testdev") && $0.contains("membar=16777216") })
        #expect(result.commands.filter { $0.hasPrefix("device_add") }.count == 1)
    }

    @Test("a bridge without bus numbers is rebuilt as one", arguments: ["6.1", "6.12", "7"])
    func buses(kernel: String) throws {
        let result = try Self.reproduce("three-root-ports-\(kernel)/failed-hot-add.snapshot.json")
        #expect(result.verdict == .whole)
        #expect(result.lines.map(\.key) == ["0000:01:00.0 bus"])
    }

    @Test("a card from the field fails with the same sizes, and what was replaced is named")
    func field() throws {
        let result = try Self.reproduce("C07/dmesg.txt", "C07/lspci.txt")
        #expect(result.isPredicted)
        #expect(result.verdict == .part)
        #expect(result.reason == "replaced")
        #expect(
            result.lines.map(\.guestText).sorted()
                == ["[mem size 0x02000000 64bit pref]", "[mem size 0x10000000 64bit pref]"]
        )
        #expect(!result.remarks.isEmpty)
    }

    /// A function on a root bus with one BAR of 4 KiB that has no address, with a log and a command line.
    static func lone(log: [String], commandLine: String? = nil) throws -> Reproduction {
        let index = try #require(ResourceIndex.bar(0))
        let function = Function(
            address: try #require(FunctionAddress(parsing: "0000:00:05.0")),
            identity: Function.Identity(vendor: 0x1234, device: 1),
            resources: [
                Resource(
                    index: index,
                    flags: .memory,
                    size: ByteCount(4096),
                    alignment: ByteCount(4096),
                    assignment: .wiped
                )
            ]
        )
        let host = HostBridge(segment: 0, busRange: BusRange(BusNumber(0)), apertures: [], source: .unknown)
        let topology = try Topology(
            kernel: KernelIdentity(release: "6.12.1", commandLine: commandLine, architecture: "x86_64"),
            hostBridges: [host],
            functions: [function]
        )
        let finding = Finding(.barWiped, .problem, at: function.address, resource: index, "BAR 0 has no address")
        return Reproduction(topology, findings: [finding], unknowns: [], log: log, behaviour: .linux6_12)
    }

    static let start = "[    0.1] pci_bus 0000:00: root bus resource [mem 0x40000000-0xbfffffff window]"
    static let failure = "[    0.2] pci 0000:00:05.0: BAR 0 [mem size 0x00001000]: failed to assign"
    static let running = "[    1.0] Freeing unused kernel image (initmem) memory: 4180K"
    static let plugged = "[    9.0] pcieport 0000:00:1c.0: pciehp: Slot(1): Card present"

    @Test(
        "what failed before the first program ran fails at boot, after a card was found when plugged in, else by rescan"
    )
    func events() throws {
        let boot = try Self.lone(log: [Self.start, Self.failure, Self.running])
        #expect(boot.machine?.event == .boot)
        #expect(boot.isPredicted)
        #expect(!boot.remarks.contains { $0.contains("stands for the boot") }, "\(boot.remarks)")
        // Firmware waits for a key, then the card comes and the slot's events are cleared.
        let machine = try #require(boot.machine)
        #expect(machine.arguments.contains("menu=on,splash-time=60000"))
        let first = try #require(boot.commands.firstIndex { $0.hasPrefix("device_add") })
        let clearing = try #require(boot.commands.firstIndex(of: "o /w 0xcf8 0x8000106c"))
        #expect(first < clearing)
        let bits = boot.commands[(clearing + 1)...].prefix(3)
        #expect(Array(bits) == ["o /h 0xcfe 0x1", "o /h 0xcfe 0x8", "o /h 0xcfe 0x100"])
        let plug = try Self.lone(log: [Self.start, Self.running, Self.plugged, Self.failure])
        #expect(plug.machine?.event == .plug)
        #expect(!plug.remarks.contains { $0.contains("tells of no card") }, "\(plug.remarks)")
        let untold = try Self.lone(log: [Self.failure])
        #expect(untold.machine?.event == .plug)
        #expect(untold.remarks.contains { $0.contains("tells of no card") }, "\(untold.remarks)")
        // A failure long after the start, with no card found by a slot's driver: somebody asked for a rescan.
        let late = try Self.lone(log: [Self.start, Self.running, Self.failure])
        #expect(late.machine?.event == .rescan)
        #expect(late.isPredicted)
        #expect(late.parameters.first == "pcie_ports=compat")
        #expect(late.commands.allSatisfy { !$0.hasPrefix("o ") }, "\(late.commands)")
        let byClock = try Self.lone(log: [Self.start, Self.failure.replacing("[    0.2]", with: "[  953.2]")])
        #expect(byClock.machine?.event == .rescan)
    }

    @Test("words about sizes go with it, words about the report's own addresses are named")
    func words() throws {
        let line = "root=/dev/sda pci=realloc,hpmmiosize=4M,nocrs,resource_alignment=20@0000:00:1c.0 quiet"
        let result = try Self.lone(log: [Self.start, Self.failure], commandLine: line)
        #expect(result.parameters.contains("pci=realloc,hpmmiosize=4M"), "\(result.parameters)")
        #expect(!result.parameters.joined().contains("nocrs"))
        #expect(result.remarks.contains("the word pci=nocrs is left out"))
        #expect(result.remarks.contains("the word pci=resource_alignment is left out"))
        // A value that is no number does not reach the script.
        let hostile = try Self.lone(log: [], commandLine: "pci=hpmmiosize=4M'$(id),hpbussize=\u{1b}[2J,hpiosize=1K;id")
        #expect(hostile.parameters.allSatisfy { !$0.hasPrefix("pci=") }, "\(hostile.parameters)")
        #expect(hostile.remarks.contains("the word pci=hpmmiosize is left out"), "\(hostile.remarks)")
    }

    @Test("every kernel of the laboratory is asked, and that of the report answers as the search does")
    func kernels() throws {
        let result = try Self.reproduce("first-light-6.12/failed-hot-add.snapshot.json")
        let series = KernelBehaviour.everyPreset.map { String($0.name.dropFirst("linux-".count)) }
        #expect(result.kernels.map(\.series) == series)
        #expect(result.kernels.first { $0.series == "6.12" }?.failing == result.lines.count)
    }

    /// What a text gives.
    static func text(_ text: String) throws -> Reproduction {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("report-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return try reproduce(RecordedInput(paths: [path]).record)
    }

    static let root = """
        [    0.1] pci_bus 0000:00: root bus resource [mem 0xc0000000-0xfebfffff window]
        [    0.1] pci_bus 0000:00: root bus resource [io  0x0000-0xffff window]
        [    0.1] pci_bus 0000:00: root bus resource [bus 00-7f]
        [    0.2] pci 0000:00:1c.0: [8086:a110] type 01 class 0x060400
        [    0.2] pci 0000:00:1c.0: PCI bridge to [bus 04]
        [    0.2] pci 0000:00:1c.0:   bridge window [mem 0xfe000000-0xfe1fffff]

        """

    @Test("VFs are built as VFs where the emulated ones have such BARs, else as a BAR of the block's size")
    func virtualFunctions() throws {
        func report(_ one: String, _ block: String, _ size: String, _ suffix: String) -> String {
            Self.root + """
                [    0.3] pci 0000:04:00.0: [8086:1521] type 00 class 0x020000
                [    0.3] pci 0000:04:00.0: reg 0x10: [mem 0xfe000000-0xfe0fffff]
                [    0.3] pci 0000:04:00.0: reg 0x184: [mem 0x00000000-\(one) \(suffix)]
                [    0.3] pci 0000:04:00.0: VF(n) BAR0 space: [mem 0x00000000-\(block) \(suffix)] (contains BAR0 for 8 VFs)
                [    0.4] pci 0000:04:00.0: BAR 7: no space for [mem size \(size) \(suffix)]
                [    0.4] pci 0000:04:00.0: BAR 7: failed to assign [mem size \(size) \(suffix)]
                [    1.0] Freeing unused kernel image (initmem) memory: 3040K
                [   60.5] igb 0000:04:00.0: not enough MMIO resources for SR-IOV

                """
        }
        let same = try Self.text(report("0x00003fff", "0x0001ffff", "0x00020000", "64bit"))
        #expect(same.isPredicted)
        let line = try #require(same.lines.first)
        #expect(same.lines.count == 1)
        #expect(line.reportKey == "0000:04:00.0 VF BAR 0 [mem size 0x00020000 64bit]")
        #expect(line.key.hasSuffix(" VF BAR 0 [mem size 0x00020000 64bit]"), "\(line.key)")
        #expect(line.difference == nil)
        #expect(same.remarks.contains { $0.contains("the VFs are not switched on") }, "\(same.remarks)")
        #expect(same.remarks.contains("what fails in the report keeps no device from working"))
        let machine = try #require(same.machine)
        let subsystem = try #require(machine.arguments.first { $0.hasPrefix("nvme-subsys,id=") }?.dropFirst(15))
        let physical = try #require((machine.arguments + same.commands).first { $0.contains("sriov_max_vfs=8,") })
        #expect(physical.contains("subsys=\(subsystem)"))
        // With its ARI capability the physical function would hide what comes after it.
        #expect(!physical.contains("addr=0.0"), "\(physical)")
        let large = try Self.text(report("0x003fffff", "0x01ffffff", "0x02000000", "64bit pref"))
        #expect(large.isPredicted)
        #expect(large.lines.first?.guestText == "[mem size 0x02000000 64bit pref]")
        #expect(large.lines.first?.difference?.contains("stands for the block of the VFs") == true)
    }

    @Test("ports fail where the kernel is told to leave the rest of them alone")
    func ports() throws {
        let result = try Self.text(
            Self.root + """
                [    0.3] pci 0000:04:00.0: [1c00:5834] type 00 class 0x100000
                [    0.3] pci 0000:04:00.0: reg 0x10: [io  0x0000-0x00ff]
                [    0.3] pci 0000:04:00.0: reg 0x18: [io  0x0000-0x001f]
                [    0.4] pci 0000:04:00.0: BAR 0: no space for [io  size 0x0100]
                [    0.4] pci 0000:04:00.0: BAR 0: failed to assign [io  size 0x0100]
                [    0.4] pci 0000:04:00.0: BAR 2: no space for [io  size 0x0020]
                [    0.4] pci 0000:04:00.0: BAR 2: failed to assign [io  size 0x0020]
                [    1.0] Freeing unused kernel image (initmem) memory: 3040K

                """
        )
        #expect(result.isPredicted)
        #expect(result.lines.map(\.guestText) == ["[io  size 0x0100]", "[io  size 0x0020]"])
        let reserve = try #require(result.parameters.first { $0.hasPrefix("reserve=") })
        #expect(reserve.contains(",0x1000,0xb"), "\(reserve)")
    }

    @Test("a bridge's own BAR is that of a card")
    func ownBAR() throws {
        let result = try Self.text(
            """
            [    0.1] pci_bus 0000:00: root bus resource [mem 0x60000000-0x6fffffff]
            [    0.1] pci_bus 0000:00: root bus resource [bus 00-ff]
            [    0.2] pci 0000:00:00.0: [0e8d:0801] type 01 class 0x060400
            [    0.2] pci 0000:00:00.0: reg 0x10: [mem 0x00000000-0x1fffffff]
            [    0.3] pci 0000:00:00.0: BAR 0: no space for [mem size 0x20000000]
            [    0.3] pci 0000:00:00.0: BAR 0: failed to assign [mem size 0x20000000]
            [    0.4] pci 0000:00:00.0: PCI bridge to [bus 01]

            """
        )
        #expect(result.isPredicted)
        #expect(result.lines.map(\.guestText) == ["[mem size 0x20000000]"])
        #expect(result.remarks.contains("0000:00:00.0: the bridge's own BARs are those of a card in a slot"))
    }

    @Test("each host bridge with something that fails is one, behind the bus numbers of those before")
    func hostBridges() throws {
        let result = try Self.text(
            Self.root + """
                [    0.3] pci 0000:04:00.0: [10de:1c03] type 00 class 0x030000
                [    0.3] pci 0000:04:00.0: reg 0x10: [mem 0x00000000-0x00ffffff]
                [    0.4] pci_bus 0000:80: root bus resource [mem 0xab000000-0xbfffffff window]
                [    0.4] pci_bus 0000:80: root bus resource [bus 80-ff]
                [    0.5] pci 0000:80:02.0: [8086:2f04] type 01 class 0x060400
                [    0.5] pci 0000:80:02.0: PCI bridge to [bus 81]
                [    0.5] pci 0000:80:02.0:   bridge window [mem 0xab000000-0xab3fffff]
                [    0.6] pci 0000:81:00.0: [10ee:7011] type 00 class 0x118000
                [    0.6] pci 0000:81:00.0: reg 0x10: [mem 0x00000000-0x01ffffff]
                [    0.7] pci 0000:04:00.0: BAR 0: failed to assign [mem size 0x01000000]
                [    0.7] pci 0000:81:00.0: BAR 0: failed to assign [mem size 0x02000000]
                [    1.0] Freeing unused kernel image (initmem) memory: 3040K

                """
        )
        #expect(result.isPredicted)
        let machine = try #require(result.machine)
        let bridge = try #require(machine.arguments.first { $0.hasPrefix("pxb-pcie,") })
        let bus = try #require(bridge.split(separator: "=").last.flatMap { UInt8($0) })
        #expect(machine.arguments.contains { $0.hasPrefix("pcie-root-port,") && $0.contains(",bus=h1,") })
        #expect(result.lines.map(\.guest.bus.rawValue) == [1, bus + 1])
        #expect(result.lines.map(\.report.bus.rawValue) == [4, 0x81])
        // The event of the slot is cleared where the slot is.
        #expect(result.commands.contains { $0.hasPrefix("o /w 0xcf8 0x800\(bus)") }, "\(result.commands)")
    }

    @Test("of a large machine what the failure does not need is left out")
    func reduction() throws {
        var text = """
            [    0.1] pci_bus 0000:00: root bus resource [mem 0xc0000000-0xfebfffff window]
            [    0.1] pci_bus 0000:00: root bus resource [bus 00-ff]
            [    0.2] pci 0000:00:1c.0: [8086:a110] type 01 class 0x060400 PCIe Root Port
            [    0.2] pci 0000:00:1c.0: PCI bridge to [bus 01-20]
            [    0.2] pci 0000:00:1c.0:   bridge window [mem 0xd0000000-0xd1cfffff]
            [    0.3] pci 0000:01:00.0: [104c:8232] type 01 class 0x060400 PCIe Switch Upstream Port
            [    0.3] pci 0000:01:00.0: PCI bridge to [bus 02-20]
            [    0.3] pci 0000:01:00.0:   bridge window [mem 0xd0000000-0xd1cfffff]

            """
        for port in 0..<30 {
            let (device, bus) = (hexText(port), hexText(port + 3))
            text += "[    0.4] pci 0000:02:\(device).0: [104c:8233] type 01 class 0x060400 "
            text += "PCIe Switch Downstream Port\n"
            text += "[    0.4] pci 0000:02:\(device).0: PCI bridge to [bus \(bus)]\n"
            text += "[    0.5] pci 0000:\(bus):00.0: [1234:11e8] type 00 class 0x00ff00 PCIe Endpoint\n"
            if port < 29 {
                let range = "0xd\(hexText(port))00000-0xd\(hexText(port))fffff"
                text += "[    0.4] pci 0000:02:\(device).0:   bridge window [mem \(range)]\n"
                text += "[    0.5] pci 0000:\(bus):00.0: BAR 0 [mem \(range)]\n"
            } else {
                text += "[    0.5] pci 0000:\(bus):00.0: BAR 0 [mem 0x00000000-0x000fffff]\n"
                text += "[    0.6] pci 0000:\(bus):00.0: BAR 0 [mem size 0x00100000]: failed to assign\n"
            }
        }
        let result = try Self.text(text + "[    1.0] Freeing unused kernel image (initmem) memory: 3040K\n")
        #expect(result.isPredicted, "\(result.reason) \(result.leftOut)")
        let devices = try #require(result.machine).ports.flatMap(\.all).count
        #expect(devices < ReproductionSearch.largest, "\(devices) \(result.remarks)")
    }

    private func hexText(_ value: Int) -> String { (value < 16 ? "0" : "") + String(value, radix: 16) }

    @Test(
        "a size that was refused is that of a card for which the room is too small",
        arguments: [
            "amdgpu 0000:03:00.0: BAR 0: releasing [mem 0x90000000-0x9fffffff 64bit pref]\n"
                + "amdgpu 0000:03:00.0: BAR 0: no space for [mem size 0x400000000 64bit pref]\n"
                + "amdgpu 0000:03:00.0: BAR 0: failed to assign [mem size 0x400000000 64bit pref]\n"
                + "amdgpu 0000:03:00.0: BAR 0: assigned [mem 0x90000000-0x9fffffff 64bit pref]",
            "xe 0000:03:00.0: BAR 0 [mem 0x90000000-0x9fffffff 64bit pref]: releasing\n"
                + "xe 0000:03:00.0: BAR 0 [mem size 0x400000000 64bit pref]: can't assign; no space\n"
                + "xe 0000:03:00.0: BAR 0 [mem size 0x400000000 64bit pref]: failed to assign\n"
                + "xe 0000:03:00.0: BAR 0 [mem 0x90000000-0x9fffffff 64bit pref]: assigned",
        ]
    )
    func refusedResize(text: String) throws {
        let lines = text.split(separator: "\n").enumerated().map { "[   12.00000\($0.offset)] \($0.element)" }
        let result = try Self.reproduce(TextEvidence(lines.joined(separator: "\n")).record)
        #expect(result.lines.map(\.reportKey) == ["0000:03:00.0 BAR 0 [mem size 0x400000000 64bit pref]"])
        #expect(result.lines.map(\.guestText) == ["[mem size 0x400000000 64bit pref]"])
        #expect(result.isPredicted, "\(result.reason)")
        #expect(result.remarks.contains { $0.contains("the size that was asked for") }, "\(result.remarks)")
        #expect(result.machine?.event == .plug)
    }

    @Test("where a log ends before anything was assigned nothing has failed yet")
    func endsEarly() throws {
        let text = """
            [    0.1] pci_bus 0000:00: root bus resource [mem 0x40000000-0x7fffffff]
            [    0.2] pci 0000:00:00.0: [14e4:2711] type 01 class 0x060400
            [    0.3] pci 0000:01:00.0: [1c00:3853] type 00 class 0x070002
            [    0.4] pci 0000:01:00.0: reg 0x10: [io  0x0000-0x00ff]
            [    0.5] pci 0000:01:00.0: reg 0x14: [mem 0x00000000-0x00007fff]
            """
        let result = try Self.reproduce(TextEvidence(text).record)
        #expect(result.verdict == .cannotTell, "\(result.reason)")
        #expect(result.machine == nil)
    }

    @Test("a BAR that was to be resized is built with the size that it had in the end, and that is said")
    func resizing() throws {
        let words = "no emulated device has a resizable BAR"
        let line = "[   20.0] xe 0000:00:05.0: [drm] Failed to resize BAR2 to 16384M (-ENOSPC)."
        let result = try Self.lone(log: [Self.start, Self.failure, Self.running, line])
        #expect(result.remarks.contains { $0.hasPrefix(words) }, "\(result.remarks)")
        let other = try Self.lone(log: [Self.start, Self.failure, Self.running])
        #expect(!other.remarks.contains { $0.hasPrefix(words) }, "\(other.remarks)")
    }

    @Test("where nothing fails there is nothing to rebuild")
    func healthy() throws {
        let result = try Self.reproduce("first-light-7/boot.snapshot.json")
        #expect(result.verdict == .nothing)
        #expect(result.machine == nil)
        #expect(result.lines.isEmpty)
    }

    @Test("a machine without BAR sizes cannot be told")
    func unsized() throws {
        let function = Function(
            address: try #require(FunctionAddress(parsing: "0000:00:02.0")),
            identity: Function.Identity(vendor: 0x1234, device: 1),
            resources: [
                Resource(
                    index: try #require(.bar(0)),
                    flags: .memory,
                    size: nil,
                    alignment: nil,
                    assignment: .wiped,
                    sizeSource: .unknown
                )
            ]
        )
        let host = HostBridge(
            segment: 0,
            busRange: BusRange(BusNumber(0)),
            apertures: [],
            source: .unknown
        )
        let topology = try Topology(kernel: KernelIdentity(), hostBridges: [host], functions: [function])
        let finding = Finding(.barWiped, .problem, at: function.address, resource: .bar(0), "BAR 0 has no address")
        let result = Reproduction(topology, findings: [finding], unknowns: [], log: [], behaviour: .linux6_12)
        #expect(result.verdict == .cannotTell)
        #expect(result.reason == "sizes-not-told")
        #expect(result.machine == nil)
    }

    @Test("no word of the script is open to the shell")
    func quoting() {
        #expect(shellWord("a'b$(c)") == #"'a'\''b$(c)'"#)
        let script = EmulatedMachine([EmulatedNode(.rootPort(PortReserve(buses: 3)))])
            .script(commands: [], parameters: ["reserve=0x1,0x2"], expected: [], besides: [])
        #expect(script.contains("'pcie-root-port,id=d0,bus=pcie.0,addr=2.0,chassis=1,slot=1,bus-reserve=3'"))
        #expect(script.contains("reserve=0x1,0x2'"))
    }

    @Test("sizes of every kind get a device, or more than one, that ask for no less", arguments: 4...36)
    func sizes(exponent: Int) throws {
        let size = UInt64(1) << UInt64(exponent)
        for (flags, limit): (ResourceFlags, UInt64) in [
            (.memory, 1 << 30), ([.memory, .memory64], 1 << 30), ([.memory, .prefetchable], 1 << 28),
            ([.memory, .memory64, .prefetchable], .max),
        ] {
            let index = try #require(ResourceIndex.bar(0))
            let resource = Resource(
                index: index,
                flags: flags,
                size: ByteCount(size),
                alignment: ByteCount(size),
                assignment: .wiped
            )
            let function = Function(
                address: try #require(FunctionAddress(parsing: "0000:00:02.0")),
                identity: Function.Identity(vendor: 0x1234, device: 1),
                resources: [resource]
            )
            let host = HostBridge(segment: 0, busRange: BusRange(BusNumber(0)), apertures: [], source: .unknown)
            let topology = try Topology(kernel: KernelIdentity(), hostBridges: [host], functions: [function])
            var builder = CardBuilder(topology, failing: [ResourceKey(function.address, index)])
            let nodes = builder.endpoint([0], device: 0)
            let built = nodes.flatMap { node in
                node.standIns.compactMap { standIn in node.device.bars.first { $0.index == standIn.bar } }
            }
            #expect(!built.isEmpty, "\(size) \(flags)")
            #expect(built.reduce(0) { $0 + $1.size } >= min(size, limit), "\(size) \(flags)")
            #expect(built.allSatisfy { $0.isPrefetchable == flags.contains(.prefetchable) }, "\(size) \(flags)")
            // What differs is said.
            let isSame = built.count == 1 && built[0].size == size && built[0].is64Bit == flags.contains(.memory64)
            #expect(isSame == builder.notes.isEmpty, "\(size) \(flags) \(builder.notes)")
        }
    }
}
