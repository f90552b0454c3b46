// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import Testing

@Suite("Recorded machines")
struct RecordedMachineTests {
    @Test(
        "after the failed hot-add the forgotten BARs are in the model with size and kind",
        arguments: ["6.1", "6.12", "7"]
    )
    func failedHotAdd(kernel: String) throws {
        let t = try Fixtures.topology("first-light-\(kernel)/failed-hot-add")
        let added = try #require(t[at("04:00.0")])
        let bar2 = try #require(added.resources.first { $0.index == .bar(2) })
        #expect(bar2.assignment == .wiped)
        #expect(bar2.size == ByteCount(1 << 30))
        #expect(bar2.kind == .prefetchable)
        #expect(bar2.is64Bit)
        #expect(bar2.sizeSource == .kernelLog)
        let bar1 = try #require(added.resources.first { $0.index == .bar(1) })
        #expect(bar1.assignment == .wiped)
        #expect(bar1.size == ByteCount(0x100))
        #expect(bar1.kind == .io)
        #expect(added.resources.first?.assignment == .assigned(range(0xfe60_0000, 0xfe60_0fff)))
        #expect(added.resources.count == 3)
    }

    @Test(
        "the sibling's I/O BAR that the failure released is unassigned, its memory is not",
        arguments: ["6.1", "6.12", "7"]
    )
    func siblingDamage(kernel: String) throws {
        let t = try Fixtures.topology("first-light-\(kernel)/failed-hot-add")
        let sibling = try #require(t[at("03:00.0")])
        #expect(
            sibling.resources.map(\.assignment) == [
                .assigned(range(0xfe80_0000, 0xfe80_0fff)), .unassigned, .assigned(range(0xfc00_0000, 0xfcff_ffff)),
            ]
        )
        #expect(sibling.resources[1].size == ByteCount(0x100))
    }

    @Test("windows: open, released, closed", arguments: ["6.1", "6.12", "7"])
    func windows(kernel: String) throws {
        let t = try Fixtures.topology("first-light-\(kernel)/failed-hot-add")
        let port = try #require(t[at("02:01.0")])
        #expect(port.resource(.memoryWindow)?.assignment == .assigned(range(0xfe60_0000, 0xfe7f_ffff)))
        #expect(port.resource(.prefetchableWindow)?.assignment == .closed)
        #expect(port.resource(.ioWindow)?.assignment == .closed)
        #expect(port.resource(.prefetchableWindow)?.is64Bit == true)
        let up = try #require(t[at("01:00.0")])
        // 7.x prints a released window as zeros, older kernels with its size at address 0.
        #expect(up.resource(.ioWindow)?.assignment == (kernel == "7" ? .closed : .unassigned))
        #expect(port.isHotPlugBridge)
        #expect(!up.isHotPlugBridge)
        #expect(up.bridge?.busRange?.description == "[bus 02-04]")
    }

    @Test("apertures come from the kernel log in list order, quirk ranges are blockers")
    func aperturesAndBlockers() throws {
        let t = try Fixtures.topology("first-light-6.12/boot")
        let host = try #require(t.hostBridges.first)
        #expect(t.hostBridges.count == 1)
        #expect(host.source == .kernelLog)
        #expect(host.busRange.description == "[bus 00-ff]")
        #expect(
            host.apertures.map(\.kernelText) == [
                "[io  0x0000-0x0cf7 window]", "[io  0x0d00-0xffff window]", "[mem 0x000a0000-0x000bffff window]",
                "[mem 0x20000000-0xafffffff window]", "[mem 0xc0000000-0xfebfffff window]",
                "[mem 0x100000000-0x8ffffffff window]",
            ]
        )
        #expect(
            t.blockers.contains(Blocker(range: range(0x600, 0x67f), isIO: true, name: "0000:00:1f.0", source: .iomem))
        )
        // A BAR of the tree is no blocker.
        #expect(!t.blockers.contains { $0.range == range(0x700, 0x73f) })
        #expect(t.gaps.isEmpty)
        #expect(t.kernel.release == "6.12.107+deb13-amd64")
        #expect(t.kernel.architecture == "x86_64")
    }

    @Test("a bridge that found no bus number has none", arguments: ["6.1", "6.12", "7"])
    func noBus(kernel: String) throws {
        let t = try Fixtures.topology("three-root-ports-\(kernel)/failed-hot-add")
        let bridge = try #require(t[at("01:00.0")])
        #expect(bridge.isBridge)
        #expect(bridge.bridge?.busRange == nil)
        #expect(bridge.lines.count == 13)
        let port = try #require(t[at("00:02.0")])
        #expect(port.bridge?.busRange?.description == "[bus 01]")
        #expect(bridge.parent == at("00:02.0"))
    }

    @Test("a healthy tree has every resource assigned or closed", arguments: ["6.1", "6.12", "7"])
    func healthy(kernel: String) throws {
        let t = try Fixtures.topology("three-root-ports-\(kernel)/boot")
        for f in t.functions {
            for r in f.resources where !r.index.isWindow { #expect(r.range != nil, "\(f.address) \(r.index)") }
        }
        #expect(t.functions.count == 7)
        #expect(t.functions.map(\.discoveryOrder) == (0..<7).map { $0 })
    }

    @Test("without the kernel log the model says what it cannot know and guesses nothing")
    func withoutLog() throws {
        var record = try Fixtures.record("first-light-6.12/failed-hot-add")
        record.kernelLog = nil
        let t = try TopologyAssembler(record).topology()
        let host = try #require(t.hostBridges.first)
        #expect(host.source == .iomem)
        #expect(host.apertures.count == 6)
        #expect(t.gaps.map(\.code) == ["apertures-from-iomem", "root-bus-range-inferred", "no-kernel-log"])
        let added = try #require(t[at("04:00.0")])
        // The registers still say which kind they are; nobody says how large.
        #expect(added.resources.map(\.index.description) == ["BAR 0", "BAR 1", "BAR 2"])
        #expect(added.resources[2].assignment == .wiped)
        #expect(added.resources[2].size == nil)
        #expect(added.resources[2].kind == .prefetchable)
        record.iomem = nil
        record.ioports = nil
        let blind = try TopologyAssembler(record).topology()
        #expect(blind.hostBridges.first?.source == .unknown)
        #expect(blind.hostBridges.first?.apertures == [])
        #expect(blind.gaps.map(\.code) == ["no-iomem", "no-apertures", "root-bus-range", "no-kernel-log"])
        #expect(blind.blockers.isEmpty)
    }

    @Test("a zeroed iomem is said, and nothing is concluded from it")
    func zeroed() throws {
        var record = try Fixtures.record("first-light-6.12/boot")
        record.iomem = "00000000-00000000 : Reserved\n00000000-00000000 : PCI Bus 0000:00\n"
        record.ioports = "0000-0000 : PCI Bus 0000:00\n  0000-0000 : dma1\n"
        let t = try TopologyAssembler(record).topology()
        #expect(t.gaps.map(\.code) == ["iomem-zeroed"])
        let sibling = try #require(t[at("03:00.0")])
        #expect(sibling.resources.allSatisfy { $0.range != nil })
    }

    @Test("an address that stands in no iomem is unclaimed")
    func unclaimed() throws {
        var record = try Fixtures.record("first-light-6.12/boot")
        record.iomem = record.iomem?.replacing("fe800000-fe800fff : 0000:03:00.0", with: "fe800000-fe800fff : other")
        let t = try TopologyAssembler(record).topology()
        #expect(t[at("03:00.0")]?.resources.first?.assignment == .unclaimed(range(0xfe80_0000, 0xfe80_0fff)))
    }

    @Test("a function below a bridge that is missing is left out and said")
    func orphan() throws {
        var record = try Fixtures.record("first-light-6.12/boot")
        record.functions.removeAll { $0.address == at("01:00.0") }
        let t = try TopologyAssembler(record).topology()
        #expect(t[at("03:00.0")] == nil)
        #expect(t.gaps.filter { $0.code == "orphan" }.count == 3)
        #expect(t.functions.count == 5)
    }

    @Test(
        "parents by bus number equal parents by path",
        arguments: ["first-light-6.1/boot", "three-root-ports-7/boot"]
    )
    func parentsByNumber(name: String) throws {
        var record = try Fixtures.record(name)
        let byPath = try TopologyAssembler(record).topology()
        for i in record.functions.indices { record.functions[i].placement = .unknown }
        record.buses = []
        let byNumber = try TopologyAssembler(record).topology()
        #expect(byNumber.functions.map(\.parent) == byPath.functions.map(\.parent))
        #expect(byNumber.functions.map(\.bridge) == byPath.functions.map(\.bridge))
        #expect(TreeState(byNumber).fingerprint == TreeState(byPath).fingerprint)
    }

    @Test("two host bridges share the apertures' names and the segment")
    func twoHostBridges() throws {
        var record = try Fixtures.record("two-host-bridges-6.12/boot")
        let t = try TopologyAssembler(record).topology()
        #expect(t.hostBridges.map(\.busRange.description) == ["[bus 00-3f]", "[bus 40-41]"])
        #expect(t.hostBridges.map(\.apertures.count) == [10, 4])
        #expect(t.roots(of: 1).map { t.functions[$0].address } == [at("40:00.0")])
        #expect(t.gaps.isEmpty)
        record.kernelLog = nil
        let blind = try TopologyAssembler(record).topology()
        #expect(blind.hostBridges.map(\.apertures.count) == [10, 4])
        #expect(Set(blind.hostBridges[1].apertures.map(\.range)) == Set(t.hostBridges[1].apertures.map(\.range)))
        // One mapping of configuration space serves both, so it tells neither range: nothing is promised.
        #expect(blind.hostBridges.map(\.busRange.description) == ["[bus 00-01]", "[bus 40-41]"])
        #expect(blind.gaps.map(\.code).contains("root-bus-range"))
    }

    @Test("VFs: the block of VF BARs, each VF's share, the physical function")
    func virtualFunctions() throws {
        let t = try Fixtures.topology("virtual-functions-7/enabled")
        let physical = try #require(t[at("01:00.0")])
        let block = try #require(physical.resources.first { $0.index.isVFBAR })
        #expect(block.range == range(0xfe20_4000, 0xfe21_3fff))
        #expect(block.alignment == ByteCount(0x4000))
        #expect(physical.use.enabledVFs == 2)
        #expect(physical.use.evidence.map(\.code) == ["driver-bound", "vfs-enabled"])
        let virtual = try #require(t[at("01:00.2")])
        #expect(virtual.physicalFunction == at("01:00.0"))
        #expect(virtual.resources.map(\.range) == [range(0xfe20_8000, 0xfe20_bfff)])
        #expect(virtual.parent == at("00:02.0"))
        // A VF's addresses lie in its physical function's block and are not in the way of anything.
        #expect(!t.blockers.contains { $0.name.contains("01:00") })
    }

    @Test("a device tree names apertures as it likes: they are what holds BARs and windows")
    func deviceTreeApertures() throws {
        var record = try Fixtures.record("first-light-6.12/boot")
        record.kernelLog = nil
        record.iomem = record.iomem?.replacing("PCI Bus 0000:00", with: "pcie@20000000")
        record.ioports = record.ioports?.replacing("PCI Bus 0000:00", with: "pcie@20000000")
        let t = try TopologyAssembler(record).topology()
        let host = try #require(t.hostBridges.first)
        #expect(host.source == .iomem)
        // Empty apertures cannot be told from other nodes.
        #expect(
            host.apertures.map(\.range) == [
                range(0, 0xcf7), range(0xd00, 0xffff), range(0xc000_0000, 0xfebf_ffff),
            ]
        )
        #expect(t.blockers.contains { $0.name == "dma1" })
        #expect(t[at("03:00.0")]?.resources.first?.range == range(0xfe80_0000, 0xfe80_0fff))
    }

    @Test("a card that shows nothing behind a hot-plug port is not called healthy")
    func hidden() throws {
        var record = try Fixtures.record("first-light-6.12/failed-hot-add")
        let i = try #require(record.functions.firstIndex { $0.address == at("04:00.0") })
        record.functions[i].resource = Array(repeating: .zero, count: 13)
        for offset in [0x10, 0x14, 0x18] { record.functions[i].config.write(0, at: offset, width: 4) }
        #expect(try TopologyAssembler(record).topology()[at("04:00.0")]?.resources.count == 3)
        record.kernelLog = []
        let t = try TopologyAssembler(record).topology()
        #expect(t[at("04:00.0")]?.resources.isEmpty == true)
        #expect(t.gaps.contains { $0.code == "maybe-forgotten" && $0.detail.hasPrefix("0000:04:00.0: ") })
    }

    @Test("bus registers that were written behind the kernel's back do not change the kernel's ranges")
    func writtenRegisters() throws {
        var record = try Fixtures.record("first-light-6.12/boot")
        let before = try TopologyAssembler(record).topology()
        for i in record.functions.indices where record.functions[i].address == at("00:02.0") {
            record.functions[i].config.write(0x0020_1000, at: 0x18, width: 4)
        }
        let t = try TopologyAssembler(record).topology()
        #expect(t[at("00:02.0")]?.bridge?.busRange?.description == "[bus 01-04]")
        #expect(t[at("00:02.0")]?.bridge?.registers?.secondary == BusNumber(0x10))
        #expect(TreeState(t).fingerprint == TreeState(before).fingerprint)
    }
}
