// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import LibPCIBridge
import PCITopology
import RebalancePlanner
import Testing

@testable import AllocationPolicies

@Suite("Layouts compared by figures")
struct ComparisonTests {
    private func recording(_ name: String) throws -> FirmwareRecording {
        try #require(try FirmwareRecording.all("seabios").first { $0.name == name })
    }

    @Test("an outcome applied to its tree reads back as itself")
    func roundTrip() throws {
        for recording in try FirmwareRecording.all("seabios") {
            let demand = ResourceDemand(recording.topology)
            for policy in PolicySoundnessTests.policies {
                let outcome = policy.allocate(demand)
                guard outcome.halt == nil else { continue }
                let applied = try outcome.applied(to: recording.topology)
                let read = PolicyOutcome(asIn: applied, policy: policy.name, sizes: demand)
                let differences = PolicyDifference.all(outcome, read)
                #expect(differences.isEmpty, "\(policy.name) \(recording.name): \(differences.map(\.description))")
                // The registers say the same as the model.
                for function in applied.functions {
                    guard let registers = function.bridge?.registers, let buses = function.bridge?.busRange else {
                        continue
                    }
                    #expect(registers.secondary == buses.first)
                    #expect(registers.memory.range == function.resource(.memoryWindow)?.range)
                }
            }
        }
    }

    @Test("the registers that SeaBIOS left and the policy's outcome count alike")
    func metrics() throws {
        let recording = try recording("seabios-01.txt")
        let demand = ResourceDemand(recording.topology)
        let outcome = SeaBIOSPolicy(release: .v1_16_2).allocate(demand)
        let metrics = PolicyMetrics(outcome, demand)
        #expect(metrics.requiredFailed == 0)
        #expect(metrics.requiredPlaced == recording.bars.values.reduce(0) { $0 + $1.count })
        // Read off the recording: windows of 32, 2, 4 and 2 MiB and BARs at 0xfea00000-0xfea22fff.
        #expect(metrics.memoryTaken == 0x280_0000 + 0x2_3000)
        #expect(metrics.busesUsed == 4)
        #expect(metrics.busesReserved == 1)
        #expect(metrics.violations.isEmpty)
        #expect(metrics.ports.count == 3)
    }

    @Test("headroom counts cards by what is free in a port's windows")
    func headroom() throws {
        let recording = try recording("seabios-01.txt")
        let demand = ResourceDemand(recording.topology)
        let metrics = PolicyMetrics(SeaBIOSPolicy(release: .v1_16_2).allocate(demand), demand)
        let port = try #require(metrics.ports.first { $0.today.description == "0000:00:02.0" })
        // Memory window 2 MiB with a 16 KiB disk at its start, empty prefetchable window of 2 MiB, no I/O window.
        #expect(port.largestBlocks == [0, 1 << 20, 2 << 20])
        func count(_ name: String) -> Int? { port.cards.first { $0.profile == name }?.count }
        #expect(count("nvme") == 16)
        #expect(count("nic-25g") == 0)
        #expect(count("sata") == 0)
        #expect(count("gpu-16g") == 0)
        #expect(port.freeBuses == 1)
    }

    @Test("the table has one cell per policy and survives CSV quoting")
    func table() throws {
        let recording = try recording("seabios-01.txt")
        let demand = ResourceDemand(recording.topology)
        let metrics = PolicySoundnessTests.policies.map { PolicyMetrics($0.allocate(demand), demand) }
        let table = ComparisonTable(metrics)
        #expect(table.rows.allSatisfy { $0.cells.count == metrics.count })
        #expect(table.text().split(separator: "\n").count >= table.rows.count)
        let lines = table.csv().split(separator: "\r\n")
        #expect(lines.count == table.rows.count + 1)
        #expect(
            lines.allSatisfy { $0.split(separator: ",", omittingEmptySubsequences: false).count == metrics.count + 1 }
        )
        #expect(!table.differing.isEmpty)
        #expect(table.differing.count < table.rows.count)
    }

    @Test("a policy that gave up has no figures beside its failures, in no form of the table")
    func halted() throws {
        let tree = SmallTree(memory: [0xc000_0000...0xc0ff_ffff]) { tree in
            tree.port("00:02.0", isHotPlug: true)
            tree.endpoint("00:03.0", bars: [.mem32(32 << 20)])
        }
        let demand = ResourceDemand(try tree.topology())
        let today = PresentPolicy(try tree.topology()).allocate(demand)
        let outcomes = [SeaBIOSPolicy().allocate(demand), CorebootPolicy().allocate(demand)]
        #expect(outcomes.map(\.haltReason) == ["out of 32-bit address space", nil])
        let table = ComparisonTable(outcomes.map { PolicyMetrics($0, demand, today: today) })
        #expect(table.hasHalts)
        let first = try #require(table.rows.first)
        #expect(first.key == "halts")
        #expect(first.cells.map(\.value) == [1, 0])
        #expect(first.cells.map(\.text) == ["halts", "no"])
        for row in table.rows {
            let isEmpty = row.group != "resources" || row.key == "violations"
            #expect((row.cells[0].value == nil) == isEmpty, "\(row.key)")
            #expect((row.cells[0].text == "-") == isEmpty, "\(row.key)")
            #expect(row.cells[1].value != nil, "\(row.key)")
        }
        #expect(table.csv().contains("\r\nwaste,,"))
        #expect(table.rows.contains { $0.key.hasPrefix("port ") })
    }

    @Test("the first difference of SeaBIOS and OVMF is a window, of SeaBIOS and coreboot a bus range")
    func differences() throws {
        let demand = ResourceDemand(try recording("seabios-01.txt").topology)
        let seabios = SeaBIOSPolicy(release: .v1_16_2).allocate(demand)
        #expect(PolicyDifference.all(seabios, seabios).isEmpty)
        #expect(PolicyDifference.all(seabios, EDK2Policy().allocate(demand)).first?.decision == .windowSize)
        #expect(PolicyDifference.all(seabios, CorebootPolicy().allocate(demand)).first?.decision == .busRange)
    }

    /// Trees with an empty hot-plug port, with the port's place.
    private func emptyPorts() throws -> [(FirmwareRecording, TopologyPath)] {
        try FirmwareRecording.all("seabios").compactMap { recording in
            let demand = ResourceDemand(recording.topology)
            let port = demand.functions.first {
                $0.bridge?.isHotPlugCapable == true && $0.children.isEmpty && $0.bridge?.ioBits != 0
            }
            return port.map { (recording, $0.path) }
        }
    }

    // The kernel sizes an empty port's windows anew, within what the bridges above hold: behind a root port the aperture
    // counts, behind a switch SeaBIOS's tight windows do, and a failure may cost a neighbour its I/O BAR.
    @Test("a 16 GiB display card fits at every empty root port that SeaBIOS left and at no empty switch port")
    func forecast() throws {
        let ports = try emptyPorts()
        #expect(ports.count >= 5)
        for (recording, port) in ports {
            // Who drives the slots is not recorded; the native driver sizes windows anew, the ACPI driver does not.
            var topology = recording.topology
            for address in recording.topology.functions.filter(\.isHotPlugBridge).map(\.address) {
                #expect(topology.update(address) { $0.use.slotDriver = .pciehp })
            }
            let outcome = SeaBIOSPolicy(release: .v1_16_2).allocate(ResourceDemand(topology))
            var rehearsal = try HotAddRehearsal(
                after: outcome,
                of: topology,
                behaviour: .linux6_1,
                platform: Platform()
            )
            func forecast(_ card: CardProfile) throws -> HotAddForecast {
                try rehearsal.forecast(port: port, card: card)
            }
            let disk = try forecast(.nvme)
            #expect(disk.works, "\(recording.name) \(port): \(disk)")
            #expect(disk.placed == 1)
            let display = try forecast(.gpu16G)
            #expect(display.works == (port.hops.count == 1), "\(recording.name) \(display)")
            if port.hops.count == 1 { #expect(display.lost.isEmpty) }
            let huge = try forecast(.endpoint(name: "huge", memory: 4096, prefetchable: 1 << 40))
            #expect(!huge.works)
            #expect(huge.placed + huge.failed.count == 2)
        }
    }

    @Test("a forecast counts every BAR of a card, also those behind buses without a number")
    func forecastBehindBridges() throws {
        var isUnreachable = false
        for (recording, port) in try emptyPorts() {
            var rehearsal = try HotAddRehearsal(
                after: SeaBIOSPolicy(release: .v1_16_2).allocate(ResourceDemand(recording.topology)),
                of: recording.topology,
                behaviour: .linux6_12,
                platform: Platform()
            )
            let forecast = try rehearsal.forecast(port: port, card: .usb4Dock)
            // One of the USB controller, two of the network controller.
            #expect(forecast.placed + forecast.failed.count + forecast.unreachable == 3, "\(recording.name)")
            #expect(forecast.harm == 3 - forecast.placed + forecast.lost.count)
            #expect(forecast.works == (forecast.placed == 3 && forecast.lost.isEmpty))
            if forecast.unreachable == 3 {
                isUnreachable = true
                #expect(forecast.text.hasPrefix("0 of 3 BARs"))
                #expect(forecast.failed.isEmpty)
            }
        }
        #expect(isUnreachable)
    }

    @Test("sizes are decided from the leaves up, places from the root down, and a rule stands behind every decision")
    func decisions() throws {
        let recording = try recording("seabios-12.txt")
        let demand = ResourceDemand(recording.topology)
        let policies: [any AllocationPolicy] = [SeaBIOSPolicy(release: .v1_16_2), EDK2Policy()]
        let outcomes = policies.map { $0.allocate(demand) }
        let all = PolicyDifference.all(outcomes[0], outcomes[1])
        let order = LayoutDecision.allCases
        let ranks = all.map { $0.decision == .omission ? 3 : order.firstIndex(of: $0.decision) ?? 9 }
        #expect(ranks == ranks.sorted())
        let depths = all.filter { $0.decision == .windowSize }.map(\.path.hops.count)
        #expect(depths == depths.sorted(by: >))
        #expect(Set(depths).count > 1)
        let parting = try #require(PolicyParting((policies[0], outcomes[0]), (policies[1], outcomes[1]), demand))
        #expect(parting.difference == all[0])
        #expect(parting.firstRule != parting.secondRule)
        #expect(parting.counts.reduce(0) { $0 + $1.count } == all.count)
        #expect(PolicyParting((policies[0], outcomes[0]), (policies[0], outcomes[0]), demand) == nil)
        for policy in policies {
            for decision in LayoutDecision.allCases { #expect(policy.rule(for: decision).count > 10) }
        }
    }

    @Test("two kernels whose rules read the same part by the switches in which they differ")
    func switches() throws {
        let words = Mirror(reflecting: KernelBehaviour.linux6_1).children.compactMap(\.label).filter { $0 != "name" }
        #expect(KernelBehaviour.switchNames.sorted() == words.sorted())
        #expect(KernelBehaviour.linux6_1.switches(differingFrom: .linux6_1).isEmpty)
        let tree = SmallTree(memory: [0xc000_0000...0xdfff_ffff]) {
            let port = $0.port("00:02.0", isHotPlug: true)
            $0.endpoint("01:00.0", below: port, bars: [.mem32(32 << 20), .mem32(4096), .io(256)])
            $0.port("00:03.0", isHotPlug: true)
        }
        let topology = try tree.topology()
        let demand = ResourceDemand(topology)
        func run(_ word: String) throws -> (policy: any AllocationPolicy, outcome: PolicyOutcome) {
            let policy = try #require(PolicyCatalog.policy(word, for: topology))
            return (policy, policy.allocate(demand))
        }
        let (old, new) = (try run("linux-6.1@arm64-dt"), try run("linux-6.12@arm64-dt"))
        let coreboot = try run("coreboot")
        let parting = try #require(PolicyParting(old, (new.policy, coreboot.outcome), demand))
        #expect(parting.firstRule == parting.secondRule)
        #expect(parting.switches == KernelBehaviour.linux6_1.switches(differingFrom: .linux6_12))
        #expect(parting.switches.contains("hostProbeAssignsOnce"))
        let other = try #require(PolicyParting(old, coreboot, demand))
        #expect(other.switches.isEmpty)
    }

    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    @Test("the words that the pages' table names are words of --policies, and all of them are there")
    func documentedWords() throws {
        let page = Self.root.appendingPathComponent("Docs/policies/README.md")
        let text = try String(contentsOf: page, encoding: .utf8)
        let topology = try recording("seabios-01.txt").topology
        var words: Set<String> = []
        for line in text.split(separator: "\n") where line.hasPrefix("| [") {
            let cell = line.split(separator: "|")[1]
            for (i, part) in cell.split(separator: "`", omittingEmptySubsequences: false).enumerated() where i % 2 == 1
            {
                words.insert(String(part))
                #expect(PolicySurvey.policy(String(part), topology) != nil, "\(part)")
            }
        }
        let known = PolicyCatalog.entries.map(\.word) + IdealPolicy.Kind.allCases.map(\.rawValue)
        #expect(words == Set(known).subtracting(["today"]))
    }

    @Test(
        "SeaBIOS 1.16.2 puts what QEMU's firmware put where it is",
        arguments: ["first-light-6.1", "first-light-6.12", "first-light-7"]
    )
    func seabiosToday(_ machine: String) throws {
        let file = Self.root.appendingPathComponent("Fixtures/\(machine)/boot.snapshot.json").path
        let topology = try TopologyAssembler(SnapshotFile(path: file).read()).topology()
        let demand = ResourceDemand(topology)
        let outcome = SeaBIOSPolicy(release: .v1_16_2).allocate(demand)
        #expect(outcome.halt == nil)
        let today = PresentPolicy(topology).allocate(demand)
        let differences = PolicyDifference.all(outcome, today).filter { !$0.what.hasPrefix("ROM") }
        #expect(differences.isEmpty, "\(differences.map(\.description).joined(separator: "\n"))")
    }

    @Test("every word of the catalogue names a policy, with a name and a summary of its own")
    func catalog() throws {
        let topology = try recording("seabios-01.txt").topology
        var names: Set<String> = []
        for entry in PolicyCatalog.entries {
            let policy = try #require(PolicyCatalog.policy(entry.word, for: topology), "\(entry.word)")
            #expect(!policy.summary.isEmpty)
            names.insert(policy.name)
        }
        #expect(names.count == PolicyCatalog.entries.count)
        #expect(PolicyCatalog.policy("award", for: topology) == nil)
        #expect(PolicyCatalog.policy("linux-2.4", for: topology) == nil)
    }

    @Test("a kernel without a platform in its word says which one it runs as, and nocrs is a word of x86")
    func platforms() throws {
        var topology = try recording("seabios-01.txt").topology
        func preset(_ architecture: String?, _ description: HardwareDescription?) throws -> String? {
            topology.kernel.architecture = architecture
            topology.kernel.hardwareDescription = description
            let policy = try #require(PolicyCatalog.policy("linux-7.2", for: topology))
            #expect(
                (PolicyCatalog.policy("linux-7.2+nocrs", for: topology) != nil) == policy.name.hasSuffix("x86-acpi")
            )
            return (policy as? LinuxBootPolicy)?.notes.first
        }
        #expect(try preset(nil, nil) == "runs as x86-acpi")
        #expect(try preset("aarch64", .deviceTree) == "runs as arm64-dt")
        #expect(try preset("ppc64le", nil) == "runs as pseries")
        #expect(try preset("ppc64le", .opal) == "runs as powernv")
        let named = try #require(PolicyCatalog.policy("linux-7.2@powernv", for: topology))
        #expect((named as? LinuxBootPolicy)?.notes.isEmpty == true)
        for platform in Platform.Preset.allCases {
            let isKnown = PolicyCatalog.policy("linux-6.12@\(platform.rawValue)+nocrs", for: topology) != nil
            #expect(isKnown == (platform == .x86), "\(platform)")
            #expect(Platform(platform, commandLine: "pci=nocrs").ignoresApertures == (platform == .x86))
            for word in ["realloc", "hpmmiosize=16M", "hpbussize=2", "noari"] {
                #expect(PolicyCatalog.policy("linux-6.12@\(platform.rawValue)+\(word)", for: topology) != nil)
            }
        }
    }

    @Test("what a kernel with nocrs places outside the apertures is no fault")
    func wholeSpace() throws {
        let tree = SmallTree(memory: [0xc000_0000...0xc0ff_ffff]) {
            $0.endpoint("00:02.0", bars: [.mem32(32 << 20)])
        }
        let topology = try tree.topology()
        let demand = ResourceDemand(topology)
        let policy = try #require(PolicyCatalog.policy("linux-6.12+nocrs", for: topology))
        var outcome = policy.allocate(demand)
        let range = try #require(outcome.functions[0].resources[0].range)
        #expect(!(try #require(demand.hosts[0].apertures.last)).range.contains(range))
        #expect(LayoutAudit(outcome, demand).violations.isEmpty)
        outcome.ignoresApertures = false
        #expect(LayoutAudit(outcome, demand).violations.contains { $0.contains("outside the apertures") })
    }

    @Test("Linux keeps what SeaBIOS left, and an arm64 kernel lays it out anew")
    func kernels() throws {
        let recording = try recording("seabios-01.txt")
        let demand = ResourceDemand(recording.topology)
        let seabios = SeaBIOSPolicy(release: .v1_16_2).allocate(demand)
        let programmed = try seabios.applied(to: recording.topology)
        func bars(_ word: String) throws -> [PolicyDifference] {
            let policy = try #require(PolicyCatalog.policy(word, for: programmed))
            let outcome = policy.allocate(ResourceDemand(programmed))
            #expect(outcome.halt == nil)
            return PolicyDifference.all(seabios, outcome).filter { $0.what.hasPrefix("BAR") }
        }
        for kernel in ["linux-6.1", "linux-6.12", "linux-7.2"] {
            // The SMBus ports at 0x700 lie outside the apertures that the recording states.
            #expect(try bars(kernel).allSatisfy { $0.today.description == "0000:00:1f.3" })
            #expect(try bars(kernel + "@arm64-acpi").count > 5)
        }
    }
}
