// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// What is read of sysfs and procfs, attribute by attribute, with what is missing or wrong there.
@Suite("reading the machine")
struct ObserverRuleTests {
    private let sysfs: FakeSysfs
    private let observer: SysfsObserver
    private let endpoint = FunctionAddress(bus: BusNumber(1), devfn: 0)
    private let port = FunctionAddress(bus: BusNumber(0), devfn: 0x10)
    private let nobody = FunctionAddress(bus: BusNumber(9), devfn: 0)

    init() throws {
        sysfs = try FakeSysfs()
        observer = SysfsObserver(root: sysfs.root, proc: sysfs.root + "/proc", uses: { [:] })
    }

    private func config(_ change: (inout [UInt8]) -> Void) throws {
        var bytes = FakeSysfs.endpointConfig
        change(&bytes)
        try Data(bytes).write(to: URL(fileURLWithPath: "\(sysfs.root)/\(sysfs.endpoint)/config"))
    }

    @Test("bus numbers: the bus that the kernel has behind a bridge, up to the subordinate one where it is told")
    func buses() throws {
        func range() throws -> BusRange? { try observer.tree().functions.first { $0.address == port }?.busRange }
        #expect(try range() == BusRange(first: BusNumber(1), last: BusNumber(31)))
        try sysfs.file(sysfs.port + "/subordinate_bus_number", "1\n")
        #expect(try range() == BusRange(BusNumber(1)))
        // What is no number, or none from the first on, counts as the first alone.
        for text in ["x\n", "0\n", "256\n"] {
            try sysfs.file(sysfs.port + "/subordinate_bus_number", text)
            #expect(try range() == BusRange(BusNumber(1)), "\(text)")
        }
        try FileManager.default.removeItem(atPath: "\(sysfs.root)/\(sysfs.port)/pci_bus/0000:01")
        #expect(try range() == nil)
        try sysfs.directory(sysfs.port + "/pci_bus/0000:1f")
        try sysfs.file(sysfs.port + "/subordinate_bus_number", "32\n")
        #expect(try range() == BusRange(first: BusNumber(0x1f), last: BusNumber(0x20)))
    }

    @Test("ids from both halves; lines that are none, and numbers that are none, are told by their place")
    func attributes() throws {
        try sysfs.file(sysfs.endpoint + "/vendor", "0xfedc\n")
        try sysfs.file(sysfs.endpoint + "/device", "0x1\n")
        #expect(try observer.tree().functions.last?.ids == 0xfedc_0001)
        try sysfs.file(sysfs.endpoint + "/vendor", "8086\n")
        var error = #expect(throws: ObservationError.self) { try observer.tree() }
        #expect(error?.description == "expected a hexadecimal number in vendor, found another text")
        try sysfs.file(sysfs.endpoint + "/vendor", "0x8086\n")
        try sysfs.file(sysfs.endpoint + "/resource", "0x0 0x0\n")
        error = #expect(throws: ObservationError.self) { try observer.tree() }
        #expect(error?.description == "0000:01:00.0: expected start, end and flags, found another line in resource")
        // One that goes away while it is read is not there.
        try FileManager.default.removeItem(atPath: "\(sysfs.root)/\(sysfs.endpoint)/resource")
        #expect(try observer.tree().functions.map(\.address) == [port])
        // A name that is not an address as the kernel writes it is passed over.
        try sysfs.link("bus/pci/devices/01:00.0", "../../../" + sysfs.endpoint)
        try sysfs.link("bus/pci/devices/none", "../../../" + sysfs.endpoint)
        #expect(try observer.tree().functions.map(\.address) == [port])
    }

    @Test("drivers and choices of drivers: by the link's last part, and a name that could be a driver's")
    func drivers() throws {
        func sign() throws -> FunctionHealth { try #require(try observer.health(of: [endpoint]).first) }
        #expect(try sign().driver == "edu" && sign().driverOverride == nil)
        for (text, name) in [("vfio-pci\n", "vfio-pci"), ("(null)\n", nil), ("\n", nil), ("a b\n", nil)]
            as [(String, String?)]
        {
            try sysfs.file(sysfs.endpoint + "/driver_override", text)
            #expect(try sign().driverOverride == name, "\(text)")
        }
        try sysfs.link(sysfs.endpoint + "/driver", "../../..")
        #expect(try sign().driver == nil)
        unlink("\(sysfs.root)/\(sysfs.endpoint)/driver")
        #expect(try sign().driver == nil)
        #expect(try observer.health(of: [nobody, port, endpoint]).map(\.address) == [port, endpoint])
        #expect(try sign().config.bytes.count == 256, "the header and what is before the extended space")
    }

    @Test("a serial number is two registers of its capability, the upper one first")
    func serial() throws {
        #expect(try observer.serialNumber(of: endpoint) == nil)
        try config { bytes in
            bytes[0x100...0x103] = [0x15, 0, 1, 0x20]
            bytes[0x200...0x203] = [0x03, 0, 1, 0]
            bytes[0x204...0x20b] = [1, 2, 3, 4, 5, 6, 7, 8]
        }
        #expect(try observer.serialNumber(of: endpoint) == 0x0807_0605_0403_0201)
        #expect(throws: ObservationError.self) { try observer.serialNumber(of: nobody) }
    }

    @Test("a register of each width, little end first; beyond what can be read it is told what was")
    func registers() throws {
        try config { $0[0x50...0x53] = [0x11, 0x22, 0x33, 0x44] }
        #expect(try observer.register(endpoint, offset: 0x50, width: 1) == 0x11)
        #expect(try observer.register(endpoint, offset: 0x51, width: 2) == 0x3322)
        #expect(try observer.register(endpoint, offset: 0x50, width: 4) == 0x4433_2211)
        let error = #expect(throws: ObservationError.self) { try observer.register(port, offset: 254, width: 4) }
        #expect(error?.description == "0000:00:02.0: expected 4 bytes at 0xfe, found 2")
        let absent = #expect(throws: ObservationError.self) { try observer.register(nobody, offset: 0, width: 2) }
        #expect(absent?.description.hasSuffix(": no such file or directory") == true)
    }

    @Test("IOMMU groups by their number; without one, none")
    func groups() throws {
        #expect(try observer.iommuGroups() == [:])
        try sysfs.link(sysfs.endpoint + "/iommu_group", "../../../kernel/iommu_groups/17")
        try sysfs.link(sysfs.port + "/iommu_group", "../../kernel/iommu_groups/x")
        #expect(try observer.iommuGroups() == [endpoint: 17])
    }

    @Test("what a write replaces, by kind; a slot's name that leads elsewhere is not looked for")
    func saved() throws {
        try sysfs.file(sysfs.endpoint + "/sriov_numvfs", "12\n")
        #expect(try observer.savedValue(before: .sriovNumVFs(endpoint, count: 0)) == .number(12))
        try sysfs.file("bus/pci/resource_alignment", "\n")
        #expect(try observer.savedValue(before: .resourceAlignment("x")) == .text(""))
        #expect(try observer.savedValue(before: .resizeBAR(endpoint, bar: 1, exponent: 0)) == nil)
        try config { $0[0x109] = 0x0d }
        #expect(try observer.savedValue(before: .resizeBAR(endpoint, bar: 0, exponent: 0)) == .number(13))
        try sysfs.file("bus/pci/slots/1/power", "0\n")
        #expect(try observer.savedValue(before: .slotPower(slot: "1", on: true)) == .number(0))
        #expect(try observer.savedValue(before: .slotPower(slot: "../1", on: true)) == nil)
        #expect(throws: ObservationError.self) { try observer.savedValue(before: .slotPower(slot: "2", on: true)) }
        for write: SystemWrite in [
            .remove(endpoint), .rescanAll, .rescanDevice(port), .rescanBus(segment: 0, bus: BusNumber(1)),
            .unbindDriver(endpoint),
            .probeDriver(endpoint), .driverOverride(endpoint, driver: "x"),
        ] { #expect(try observer.savedValue(before: write) == nil) }
    }

    @Test("the kernel's release, the boot, and the count of events; the first two must be there")
    func kernel() throws {
        var error = #expect(throws: ObservationError.self) { try observer.kernelRelease() }
        #expect(
            error?.description.hasPrefix("expected the kernel release in \(sysfs.root)/proc/sys/kernel/osrelease")
                == true
        )
        error = #expect(throws: ObservationError.self) { try observer.bootID() }
        #expect(error?.description.hasPrefix("expected a boot id in ") == true)
        #expect(observer.eventCount() == 0)
        try sysfs.directory("proc/sys/kernel/random")
        try sysfs.directory("kernel")
        try sysfs.file("proc/sys/kernel/osrelease", "6.12.1-amd64\n")
        try sysfs.file("proc/sys/kernel/random/boot_id", "abc-1\n")
        try sysfs.file("kernel/uevent_seqnum", "4711\n")
        #expect(try observer.kernelRelease() == "6.12.1-amd64" && observer.bootID() == "abc-1")
        #expect(observer.eventCount() == 4711)
        // A directory that is not the real one has no privileges to miss.
        #expect(try observer.obstacles(writesConfig: true) == [])
    }

    @Test("uses are read anew when a second has passed, and what was handed over counts meanwhile")
    func uses() throws {
        let use = UseEvidence(code: "m", detail: "mounted", isProtected: true, weight: 0)
        var readings = 0
        let asked = SysfsObserver(root: sysfs.root) {
            readings += 1
            return [:]
        }
        asked.remember([endpoint: [use]])
        #expect(try asked.protectedUse(of: endpoint) == [use] && asked.protectedUse(of: port) == [] && readings == 0)
        usleep(1_050_000)
        #expect(try asked.protectedUse(of: endpoint) == [] && readings == 1)
    }

    // MARK: Groups under way

    private static func address(_ n: UInt8) -> FunctionAddress { FunctionAddress(bus: BusNumber(1), devfn: n) }

    @Test("functions that share a group against the plan: those that it keeps apart, named by the first of the group")
    func isolation() {
        let (a, b, c) = (Self.address(0), Self.address(1), Self.address(2))
        func differences(
            _ before: [[FunctionAddress]],
            _ after: [[FunctionAddress]],
            _ observed: [FunctionAddress: Int],
            untold: [FunctionAddress] = [],
            contradicted: [FunctionAddress] = [],
            hasGroups: Bool = true
        ) -> [String] {
            IsolationChange(
                groupsBefore: before,
                groupsAfter: after,
                hasGroups: hasGroups,
                untold: untold,
                contradicted: contradicted,
                regroupings: [],
                reroutings: [],
                settings: []
            ).differences(from: observed)
        }
        let apart = [[a], [b], [c]]
        #expect(differences(apart, apart, [a: 1, b: 2, c: 3]) == [])
        #expect(
            differences(apart, apart, [a: 1, b: 1, c: 1]) == [
                "\(b) expected apart from \(a), found in IOMMU group 1 with it",
                "\(c) expected apart from \(a), found in IOMMU group 1 with it",
            ]
        )
        #expect(
            differences(apart, apart, [a: 7, b: 3, c: 3]) == [
                "\(c) expected apart from \(b), found in IOMMU group 3 with it"
            ]
        )
        // Together before or after is together under way.
        #expect(
            differences([[a, b]], [[a], [b]], [a: 1, b: 1]) == []
                && differences([[a], [b]], [[a, b]], [a: 1, b: 1]) == []
        )
        #expect(differences(apart, apart, [a: 1, b: 1], untold: [b]) == [])
        #expect(differences(apart, apart, [a: 1, b: 1], contradicted: [a]) == [])
        #expect(differences(apart, apart, [a: 1, b: 1], hasGroups: false) == [])
        #expect(differences([[a]], [[a]], [a: 1, b: 1]) == [], "nothing is foretold of the other")
    }

    @Test("who was agreed to be stopped: those that the plan names or removes, what appeared, and by the new address")
    func agreement() throws {
        let state = Fake.machine()
        let plan = Fake.grow(state)
        let known = StoppingAgreement(plan, plan.after)
        for function in plan.before.functions {
            let isBelow = try #require(plan.before.functions.first { $0.address == Fake.at(Fake.upstream, state) }).path
                .isAncestorOrSelf(of: function.path)
            let now = try #require(known.renamed[function.address])
            #expect(known.covers(now) == isBelow, "\(function.address)")
        }
        #expect(known.covers(FunctionAddress(bus: BusNumber(0x70), devfn: 0)), "what nobody knew before")
        var named = plan
        let other = Fake.at(Fake.otherEndpoint, state)
        named.disturbed = [Disturbance(address: other, newAddress: other, effect: .stopped, what: "x", weight: 1)]
        #expect(StoppingAgreement(named, plan.after).covers(other))
    }

    @Test("a report that follows another has the writes, times and remarks of both, and the tree before of the first")
    func following() {
        func report(_ writes: Int, _ remark: String) -> ApplyReport {
            var report = ApplyReport(
                .done,
                reason: remark,
                sentence: "",
                exitStatus: 0,
                remarks: [remark],
                writes: writes
            )
            report.timeInKernel = .milliseconds(writes)
            report.timeSettling = .seconds(writes)
            return report
        }
        var first = report(3, "a")
        first.before = TreeState([])
        let both = report(4, "b").following(first, "between")
        #expect(both.remarks == ["a", "between", "b"] && both.writes == 7 && both.reason == "b")
        #expect(
            both.timeInKernel == .milliseconds(7) && both.timeSettling == .seconds(7) && both.before == TreeState([])
        )
    }
}
