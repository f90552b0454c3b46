// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import PlanExecutor
import RebalancePlanner
import Testing

@Suite struct LiveSystemWriterTests {
    private let sysfs: FakeSysfs
    private let writer: LiveSystemWriter
    private let endpoint = FunctionAddress(bus: BusNumber(1), devfn: 0)
    private let limit = Duration.seconds(5)

    init() throws {
        sysfs = try FakeSysfs()
        writer = LiveSystemWriter(root: sysfs.root)
    }

    @Test func everyWriteGoesToItsAttribute() throws {
        let port = FunctionAddress(bus: BusNumber(0), devfn: 0x10)
        let cases: [(SystemWrite, String, String)] = [
            (.remove(endpoint), sysfs.endpoint + "/remove", "1\n"),
            (.rescanBus(segment: 0, bus: BusNumber(1)), sysfs.port + "/pci_bus/0000:01/rescan", "1\n"),
            (.rescanDevice(port), sysfs.port + "/rescan", "1\n"),
            (.rescanAll, "bus/pci/rescan", "1\n"),
            (.resizeBAR(endpoint, bar: 0, exponent: 13), sysfs.endpoint + "/resource0_resize", "13\n"),
            (.resourceAlignment("28@0000:01:00.0"), "bus/pci/resource_alignment", "28@0000:01:00.0\n"),
            (.sriovNumVFs(endpoint, count: 7), sysfs.endpoint + "/sriov_numvfs", "7\n"),
            (.unbindDriver(endpoint), "bus/pci/drivers/edu/unbind", "0000:01:00.0\n"),
            (.probeDriver(endpoint), "bus/pci/drivers_probe", "0000:01:00.0\n"),
            (.slotPower(slot: "1", on: false), "bus/pci/slots/1/power", "0\n"),
        ]
        for (write, path, expected) in cases {
            try sysfs.file(path, "")
            try writer.perform(write, within: limit)
            #expect(try sysfs.text(path) == expected, "\(write)")
        }
    }

    @Test func aConfigWriteKeepsTheBitsOutsideTheMask() throws {
        try writer.perform(.config(endpoint, offset: 4, width: 2, mask: 0x0007, value: 0x0002), within: limit)
        var expected = FakeSysfs.endpointConfig
        expected[4] = 0x02
        #expect(try sysfs.bytes(sysfs.endpoint + "/config") == expected)
    }

    @Test func extendedSpaceIsClosedButForResizableBARs() throws {
        // Memory decoding is on: the size must not change under it.
        let write = SystemWrite.config(endpoint, offset: 0x108, width: 4, mask: 0x3f00, value: 0x0700)
        var error = #expect(throws: WriteError.self) { try writer.perform(write, within: limit) }
        #expect(error?.code == .refused)
        try writer.perform(.config(endpoint, offset: 4, width: 2, mask: 0x0007, value: 0), within: limit)
        try writer.perform(write, within: limit)
        #expect(try sysfs.bytes(sysfs.endpoint + "/config")[0x108...0x10b] == [0x20, 0x07, 0, 0])
        error = #expect(throws: WriteError.self) {
            try writer.perform(
                .config(endpoint, offset: 0x10c, width: 4, mask: 0x3f00, value: 0x0700),
                within: limit
            )
        }
        #expect(error?.code == .forbidden)
        error = #expect(throws: WriteError.self) {
            try writer.perform(.config(endpoint, offset: 0x108, width: 4, mask: 0x1, value: 1), within: limit)
        }
        #expect(error?.code == .forbidden)
    }

    @Test func whatIsNotThereIsAbsent() {
        let stranger = FunctionAddress(bus: BusNumber(9), devfn: 0)
        for write in [
            SystemWrite.remove(stranger), .rescanBus(segment: 1, bus: BusNumber(1)),
            .resizeBAR(endpoint, bar: 3, exponent: 1), .slotPower(slot: "7", on: true),
            .unbindDriver(stranger),
        ] {
            let error = #expect(throws: WriteError.self) { try writer.perform(write, within: limit) }
            #expect(error?.code == .absent, "\(write)")
        }
    }

    @Test func whereNoDriverIsBoundThereIsNothingToUnbind() throws {
        try writer.perform(.unbindDriver(FunctionAddress(bus: BusNumber(0), devfn: 0x10)), within: limit)
    }

    @Test func linksThatLeadElsewhereAreNotFollowed() throws {
        let outside = sysfs.root + "-outside"
        try FileManager.default.createDirectory(atPath: outside, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: outside) }
        try "".write(toFile: outside + "/remove", atomically: false, encoding: .utf8)
        let name = "bus/pci/devices/0000:01:00.0"
        for target in [
            outside, "../../../../" + outside, "../../../devices/../../" + outside, "../../../devices/0000:01:00.0/..",
            "../../../class/0000:01:00.0", "../../../devices//0000:01:00.0", "../../../devices/pci0000:00",
        ] {
            try sysfs.link(name, target)
            let error = #expect(throws: WriteError.self) { try writer.perform(.remove(endpoint), within: limit) }
            #expect(error?.code == .misplaced, "\(target)")
        }
        // A link in place of a directory or an attribute.
        try sysfs.link(name, "../../../" + sysfs.endpoint)
        try sysfs.link(sysfs.endpoint + "/remove", outside + "/remove")
        #expect(
            #expect(throws: WriteError.self) { try writer.perform(.remove(endpoint), within: limit) }?.code
                == .misplaced
        )
        try FileManager.default.removeItem(atPath: sysfs.root + "/bus/pci/slots/1")
        try sysfs.link("bus/pci/slots/1", outside)
        #expect(
            #expect(throws: WriteError.self) {
                try writer.perform(.slotPower(slot: "1", on: true), within: limit)
            }?.code == .misplaced
        )
        #expect(try String(contentsOfFile: outside + "/remove", encoding: .utf8).isEmpty)
    }

    @Test func namesThatLeadElsewhereAreForbidden() {
        for slot in ["..", ".", "", "a/b", "../../../etc", "x\n", String(repeating: "x", count: 65)] {
            let error = #expect(throws: WriteError.self) {
                try writer.perform(.slotPower(slot: slot, on: true), within: limit)
            }
            #expect(error?.code == .forbidden)
        }
        let error = #expect(throws: WriteError.self) {
            try writer.perform(.resourceAlignment("20@0000:01:00.0\nx"), within: limit)
        }
        #expect(error?.code == .forbidden)
    }

    @Test func aWriteThatHangsDoesNotHangTheTool() throws {
        // A pipe that is full blocks its writer as a driver that does not let go would.
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        let block = [UInt8](repeating: 0, count: 65_536)
        while block.withUnsafeBytes({ Glibc.write(ends[1], $0.baseAddress, $0.count) }) > 0 {}
        _ = fcntl(ends[1], F_SETFL, 0)

        let start = ContinuousClock.now
        let result = HangingWrite.start(ends[1], milliseconds: 200)
        #expect(result.timedOut)
        #expect(ContinuousClock.now - start < .seconds(3))
        #expect(!result.hasEnded(within: 50))
        var room = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = room.withUnsafeMutableBytes { Glibc.read(ends[0], $0.baseAddress, $0.count) }
            if count < room.count { break }
        }
        #expect(result.hasEnded(within: 3000))
    }
}

@Suite struct SysfsObserverTests {
    private let sysfs: FakeSysfs
    private let observer: SysfsObserver
    private let endpoint = FunctionAddress(bus: BusNumber(1), devfn: 0)

    init() throws {
        sysfs = try FakeSysfs()
        observer = SysfsObserver(root: sysfs.root, uses: { [:] })
    }

    @Test func theTreeIsRead() throws {
        let tree = try observer.tree()
        #expect(tree.functions.map(\.address.description) == ["0000:00:02.0", "0000:01:00.0"])
        #expect(tree.functions.map(\.path.description) == ["0000:00:02.0", "0000:00:02.0/00.0"])
        #expect(tree.functions.map(\.ids) == [0x1b36_000c, 0x1234_11e8])
        #expect(tree.functions.map(\.busRange) == [BusRange(first: BusNumber(1), last: BusNumber(31)), nil])
        #expect(tree.functions.map(\.lines.count) == [17, 13])
        #expect(
            tree.functions[1].lines[0]
                == ResourceLine(start: 0xfe80_0000, end: 0xfe8f_ffff, flags: ResourceFlags(rawValue: 0x40200))
        )
    }

    @Test func signsAndRegistersAreRead() throws {
        let health = try observer.health(of: [endpoint, FunctionAddress(bus: BusNumber(7), devfn: 0)])
        #expect(health.map(\.address) == [endpoint])
        #expect(health.first?.driver == "edu")
        #expect(health.first?.decode == [.ioSpace, .memorySpace])
        #expect(health.first?.maxPayloadSize == 128)
        #expect(try observer.register(endpoint, offset: 4, width: 2) == 0x0407)
        #expect(try observer.register(endpoint, offset: 0x108, width: 4) == 0x0000_0420)
        #expect(throws: ObservationError.self) {
            try observer.register(FunctionAddress(bus: BusNumber(7), devfn: 0), offset: 4, width: 2)
        }
    }

    @Test func whatAWriteReplacesIsRead() throws {
        #expect(try observer.savedValue(before: .resourceAlignment("")) == .text("20@0000:01:00.0"))
        #expect(try observer.savedValue(before: .sriovNumVFs(endpoint, count: 1)) == .number(0))
        #expect(try observer.savedValue(before: .resizeBAR(endpoint, bar: 0, exponent: 1)) == .number(4))
        #expect(try observer.savedValue(before: .slotPower(slot: "1", on: false)) == .number(1))
        #expect(
            try observer.savedValue(before: .config(endpoint, offset: 4, width: 2, mask: 7, value: 0))
                == .number(0x0407)
        )
        #expect(try observer.savedValue(before: .remove(endpoint)) == nil)
    }

    @Test func usesAreReadOnceForManyQuestions() throws {
        var readings = 0
        let use = UseEvidence(code: "mounted", detail: "/dev/sda1 is mounted on /", isProtected: true, weight: 0)
        let asked = SysfsObserver(
            root: sysfs.root,
            uses: {
                readings += 1
                return [endpoint: [use]]
            }
        )
        for _ in 0..<100 { #expect(try asked.protectedUse(of: endpoint) == [use]) }
        #expect(try asked.protectedUse(of: FunctionAddress(bus: BusNumber(7), devfn: 0)).isEmpty)
        #expect(readings <= 3)
    }

    @Test func busesAreFound() throws {
        #expect(try observer.busExists(segment: 0, bus: BusNumber(1)))
        #expect(try !observer.busExists(segment: 0, bus: BusNumber(2)))
    }

    @Test func thisMachineIsReadWithoutAnError() throws {
        guard FileManager.default.fileExists(atPath: "/sys/bus/pci/devices") else { return }
        let live = SysfsObserver(uses: { [:] })
        let tree = try live.tree()
        let names = try FileManager.default.contentsOfDirectory(atPath: "/sys/bus/pci/devices")
        #expect(tree.functions.count == names.count)
        #expect(try live.health(of: tree.functions.map(\.address)).count == names.count)
        #expect(try !live.bootID().isEmpty)
        #expect(try !live.kernelRelease().isEmpty)
    }
}
