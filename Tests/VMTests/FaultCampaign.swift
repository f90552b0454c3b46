// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import LibPCIBridge
internal import PCITopology
internal import VMLaboratory

@testable internal import PlanExecutor
@testable internal import RebalancePlanner

/// Why a campaign cannot go on.
struct CampaignError: Error, CustomStringConvertible {
    var description: String
}

/// One guest in which applies are disturbed one after another, and what they left is compared with what was there.
final class FaultCampaign {
    /// What happens to an apply.
    enum Fault: Hashable, CustomStringConvertible {
        case none
        /// SIGKILL at a moment: around every write to the journal, around every deed.
        case kill(moment: Int)
        /// SIGKILL at a moment, and then the power is cut before anybody can recover.
        case powerCut(moment: Int)
        /// SIGKILL at a moment of the apply, then at a moment of the recovery.
        case killTwice(moment: Int, second: Int)
        /// The kernel refuses a write.
        case refuse(deed: Int)
        /// A write takes longer than the tool waits, and ends later.
        case hang(deed: Int)
        /// The plan predicts something else than the kernel does.
        case wrongPrediction(step: Int)
        /// Two applies at once.
        case two
        /// No room for the journal.
        case fullDisk

        var description: String {
            switch self {
            case .none: "no fault"
            case .kill(let moment): "killed at moment \(moment)"
            case .powerCut(let moment): "killed at moment \(moment), power cut"
            case .killTwice(let moment, let second): "killed at moment \(moment), recovery killed at \(second)"
            case .refuse(let deed): "write \(deed) refused"
            case .hang(let deed): "write \(deed) late"
            case .wrongPrediction(let step): "wrong prediction after step \(step)"
            case .two: "two at once"
            case .fullDisk: "disk full"
            }
        }
    }

    /// A way to make a plan for whatever state the machine is in.
    struct Scenario: Sendable {
        var name: String
        var stages: @Sendable (Topology, Int) -> [(writes: [SystemWrite], wayBack: [SystemWrite])]
    }

    /// The machine at one moment.
    struct Moment {
        var topology: Topology
        var tree: TreeState
        var signs: [SignRecord]
        /// What the memory of each probed device answers, by place; all ones when it does not.
        var answers: [TopologyPath: String]
    }

    let guest: VirtualMachine
    private let behaviour: KernelBehaviour
    private let probed: [TopologyPath]
    private(set) var last: Moment
    private(set) var applies = 0
    private static let preload = "LD_PRELOAD=/usr/bin/guest-faults.so"

    /// Boots a guest; `probed` are devices without driver whose memory is read after every apply.
    init(_ topology: MachineTopology, kernel: Kernel, probed: [String]) throws {
        let environment = ProcessInfo.processInfo.environment
        let tool = environment["PCI_REBALANCE_TOOL"].map { [$0] } ?? Initramfs.builtTool
        guest = try VirtualMachine(topology, kernel: kernel, options: .init(files: tool + [Self.faultLibrary()]))
        let release = try guest.output("uname -r").trimmingCharacters(in: .whitespacesAndNewlines)
        behaviour = KernelBehaviour.preset(forRelease: release).behaviour
        self.probed = probed.compactMap { TopologyPath(parsing: $0) }
        last = Moment(topology: try Self.snapshot(guest), tree: TreeState([]), signs: [], answers: [:])
        last = try moment()
    }

    /// Compiles the library that disturbs the tool, once.
    private static func faultLibrary() throws -> String {
        let source = #filePath.replacing("/VMTests/FaultCampaign.swift", with: "/VMLaboratory/Scripts/guest-faults.c")
        let directory = NSTemporaryDirectory() + "pci-rebalance-faults-\(getuid())"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let library = directory + "/guest-faults.so"
        let unfinished = library + ".\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["cc", "-shared", "-fPIC", "-O1", "-o", unfinished, source]
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0, rename(unfinished, library) == 0 else {
            throw CampaignError(description: "expected cc to compile \(source), it failed")
        }
        return library
    }

    // MARK: Reading

    private static func snapshot(_ guest: VirtualMachine) throws -> Topology {
        let packed = try guest.run("pci-rebalance snapshot -q | gzip", timeout: .seconds(120)).checked().standardOutput
        return try TopologyAssembler(SnapshotFile.decode(gzip(packed, ["-d"]))).topology()
    }

    /// Packs or unpacks: the guest's serial line is slow.
    private static func gzip(_ bytes: [UInt8], _ arguments: [String]) throws -> [UInt8] {
        let path = NSTemporaryDirectory() + "pci-rebalance-\(UUID().uuidString)"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        defer { unlink(path) }
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["gzip"] + arguments
        process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        process.standardOutput = output
        try process.run()
        let result = Array(try output.fileHandleForReading.readToEnd() ?? Data())
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw CampaignError(description: "gzip failed") }
        return result
    }

    private func moment() throws -> Moment {
        let topology = try Self.snapshot(guest)
        let signs = topology.functions.map {
            SignRecord(FunctionSigns(address: $0.address, driver: $0.use.driver, config: $0.config))
        }
        var answers: [TopologyPath: String] = [:]
        for i in topology.functions.indices where probed.contains(topology.path(of: i)) {
            let bars = topology.functions[i].resources.filter { $0.index.isBAR && $0.kind != .io }
            guard let range = bars.first?.range else {
                answers[topology.path(of: i)] = "no address"
                continue
            }
            let answer = try guest.run("devmem \(hex(range.first)) 8")
            answers[topology.path(of: i)] = answer.output.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        return Moment(topology: topology, tree: TreeState(topology), signs: signs, answers: answers)
    }

    // MARK: One apply

    /// The plan of a scenario for the machine as it is; nil when the twin says that it does not go.
    func plan(_ scenario: Scenario, round: Int) throws -> Plan? {
        var simulation = try TwinSimulation(last.topology, behaviour: behaviour)
        var steps: [PlanStep] = []
        for stage in scenario.stages(last.topology, round) {
            guard simulation.perform(stage.writes) else { return nil }
            steps.append(
                PlanStep(
                    purpose: "\(scenario.name) \(steps.count + 1)",
                    preconditions: [.treeAsPredicted],
                    writes: stage.writes,
                    after: TreeState(try simulation.topology()),
                    wayBack: stage.wayBack
                )
            )
        }
        guard let after = steps.last?.after else { return nil }
        let plan = Plan(
            verdict: Plan.Verdict(.act, reason: "exercise", sentence: "An exercise."),
            kernelRelease: last.topology.kernel.release ?? "",
            behaviour: behaviour.name,
            fingerprint: last.tree.fingerprint,
            goals: [.everythingRequired],
            diagnosis: [],
            disturbed: [],
            steps: steps,
            before: last.tree,
            after: after,
            proof: .notApplicable,
            remarks: []
        )
        return PlanSafety.fault(in: plan) == nil ? plan : nil
    }

    /// The number of moments and deeds of an apply that nothing disturbs; the apply is done.
    func measure(_ plan: Plan) throws -> (moments: Int, deeds: Int, problems: [String]) {
        let problems = try apply(plan, .none)
        let words = try guest.output("cat /tmp/count").split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        guard words.count == 2 else { throw CampaignError(description: "expected two counts, found \(words)") }
        return (words[0], words[1], problems)
    }

    /// Applies a plan, disturbs it, recovers, and says what is worse than before, or was reported wrongly.
    func apply(_ plan: Plan, _ fault: Fault) throws -> [String] {
        var plan = plan
        if case .wrongPrediction(let step) = fault { Self.spoil(&plan, step) }
        try guest.run("gunzip >/root/plan.json", input: Self.gzip(PlanDocument.encode(plan), ["-9"])).checked()
        applies += 1
        var problems: [String] = []
        let command = "cd /root; chmod 600 plan.json; pci-rebalance apply plan.json"

        func expect(_ result: CommandResult, _ statuses: Set<Int>, _ verdict: String) {
            let last = result.lines.last ?? ""
            if !statuses.contains(result.status) || !last.hasPrefix(verdict) {
                let words = (result.lines + result.errors.split(separator: "\n").map(String.init)).suffix(24)
                problems.append(
                    "expected \(statuses) \(verdict), found \(result.status):\n" + words.joined(separator: "\n")
                )
            }
        }
        func recover(_ environment: String = "") throws -> CommandResult {
            try guest.run("cd /root; \(environment) pci-rebalance recover", timeout: .seconds(180))
        }
        func run(_ environment: String, _ text: String = command) throws -> CommandResult {
            try guest.run(text.replacing("pci-rebalance", with: "\(environment) pci-rebalance"), timeout: .seconds(240))
        }

        switch fault {
        case .none:
            expect(try run("\(Self.preload) FAULT_COUNT=/tmp/count"), [0], "APPLY: done")
        case .kill(let moment):
            let killed = try run("\(Self.preload) FAULT_KILL=\(moment)")
            if killed.status != 137 { problems.append("expected SIGKILL, found status \(killed.status)") }
            expect(try recover(), [0], "APPLY: ")
        case .killTwice(let moment, let second):
            _ = try run("\(Self.preload) FAULT_KILL=\(moment)")
            _ = try recover("\(Self.preload) FAULT_KILL=\(second)")
            expect(try recover(), [0], "APPLY: ")
        case .powerCut(let moment):
            _ = try run("\(Self.preload) FAULT_KILL=\(moment)")
            try guest.reset(preserving: ["/var/lib/pci-rebalance"])
            expect(try recover(), [0], "APPLY: ")
        case .refuse(let deed):
            expect(try run("\(Self.preload) FAULT_REFUSE=\(deed)"), [5], "APPLY: rolled-back reason=write-refused")
        case .hang(let deed):
            expect(
                try run("\(Self.preload) FAULT_HANG=\(deed):3 FAULT_PATIENCE=500"),
                [5],
                "APPLY: rolled-back reason=write-timed-out"
            )
        case .wrongPrediction:
            expect(try run(""), [5], "APPLY: rolled-back reason=prediction-differs")
        case .two:
            let both = """
                cd /root; chmod 600 plan.json
                pci-rebalance apply plan.json -q >first 2>&1 & a=$!
                pci-rebalance apply plan.json -q >second 2>&1 & b=$!
                wait $a; ra=$?; wait $b; rb=$?
                tail -n 1 first second; echo $ra $rb
                """
            let result = try guest.run(both, timeout: .seconds(240))
            let statuses = Set((result.lines.last ?? "").split(separator: " ").compactMap { Int($0) })
            // The later one finds the lock taken, or comes so late that the tree is another one.
            if !statuses.contains(0) || statuses.isDisjoint(with: [75, 7]) {
                problems.append("expected one of two to do it, found \(result.output)")
            }
        case .fullDisk:
            let text = """
                mkdir -p /var/lib/pci-rebalance; mount -t tmpfs -o size=64k,mode=700 none /var/lib/pci-rebalance
                \(command); status=$?
                umount /var/lib/pci-rebalance; exit $status
                """
            expect(try guest.run(text, timeout: .seconds(120)), [1], "APPLY: failed reason=journal-full")
        }
        problems += try compare(isRebooted: { if case .powerCut = fault { true } else { false } }())
        return problems
    }

    /// Shifts the predicted address of the last placed resource in every tree from `step` on.
    private static func spoil(_ plan: inout Plan, _ step: Int) {
        for later in plan.steps.indices.dropFirst(step) {
            spoil(&plan.steps[later].after)
        }
        spoil(&plan.after)
    }

    private static func spoil(_ tree: inout TreeState) {
        guard let i = tree.functions.firstIndex(where: { $0.lines.contains { $0.isPlaced } }),
            let k = tree.functions[i].lines.firstIndex(where: { $0.isPlaced })
        else { return }
        tree.functions[i].lines[k].start ^= 0x10_0000
        tree.functions[i].lines[k].end ^= 0x10_0000
    }

    /// What is worse than after the last apply; the machine as it is becomes the new one to compare with.
    private func compare(isRebooted: Bool) throws -> [String] {
        let before = last
        let now = try moment()
        last = now
        var problems = before.tree.losses(in: now.tree).map(\.description)
        let signs = now.topology.functions.map {
            FunctionSigns(address: $0.address, driver: $0.use.driver, config: $0.config)
        }
        problems += before.tree.signLosses(before.signs, in: now.tree, signs).map(\.description)
        for (path, answer) in before.answers.sorted(by: { $0.key < $1.key }) where now.answers[path] != answer {
            problems.append("\(path) answered \(answer), answers \(now.answers[path] ?? "not at all")")
        }
        let rest = try guest.run("cat /sys/bus/pci/resource_alignment; pci-rebalance recover --status -q; echo $?")
        if rest.lines.filter({ !$0.isEmpty }) != ["0"] { problems.append("left behind: \(rest.output)") }
        return problems
    }
}

extension FaultCampaign.Scenario {
    private static func address(_ topology: Topology, _ path: String) -> FunctionAddress? {
        topology.functions.indices.first { topology.path(of: $0).description == path }
            .map { topology.functions[$0].address }
    }

    private static func secondary(_ topology: Topology, _ path: String) -> SystemWrite? {
        topology.functions.indices.first { topology.path(of: $0).description == path }
            .flatMap { topology.functions[$0].bridge?.busRange }
            .map { .rescanBus(segment: 0, bus: $0.first) }
    }

    private static let rootPort = "0000:00:02.0"
    private static let upstream = "0000:00:02.0/00.0"
    private static let firstPort = "0000:00:02.0/00.0/00.0"
    private static let sibling = "0000:00:02.0/00.0/00.0/00.0"
    private static let rootBus = SystemWrite.rescanBus(segment: 0, bus: BusNumber(0))

    /// Scenarios for the machine `first-light`, with or without a card behind its second port.
    static let firstLight: [FaultCampaign.Scenario] = [
        FaultCampaign.Scenario(name: "root port found again") { topology, _ in
            guard let port = address(topology, rootPort) else { return [] }
            return [([.remove(port)], [rootBus]), ([rootBus], [.remove(port), rootBus])]
        },
        FaultCampaign.Scenario(name: "emptied bus found again") { topology, _ in
            guard let port = address(topology, upstream), let rescan = secondary(topology, rootPort) else { return [] }
            return [([.remove(port)], [rescan]), ([rescan], [])]
        },
        FaultCampaign.Scenario(name: "endpoint found again") { topology, _ in
            guard let device = address(topology, sibling), let rescan = secondary(topology, firstPort) else {
                return []
            }
            return [([.remove(device)], [rescan]), ([rescan], [.remove(device), rescan])]
        },
        FaultCampaign.Scenario(name: "root port renumbered") { topology, round in
            guard let port = address(topology, rootPort), let inner = address(topology, upstream),
                let rescan = secondary(topology, rootPort)
            else { return [] }
            let first: UInt32 = round % 2 == 0 ? 0x20 : 0x01
            let numbers = SystemWrite.config(
                port,
                offset: 0x18,
                width: 4,
                mask: 0x00ff_ffff,
                value: first << 8 | (first + 0xf) << 16
            )
            return [([.remove(inner)], [rescan]), ([numbers, .remove(port)], []), ([rootBus], [])]
        },
        FaultCampaign.Scenario(name: "alignment raised and cleared") { topology, _ in
            guard let device = address(topology, sibling), let port = address(topology, rootPort) else { return [] }
            return [
                ([.resourceAlignment("25@\(device)"), .remove(port)], [.resourceAlignment(""), rootBus]),
                ([rootBus], []), ([.resourceAlignment("")], []), ([.remove(port), rootBus], [rootBus]),
            ]
        },
        FaultCampaign.Scenario(name: "decoding off while away") { topology, _ in
            guard let device = address(topology, sibling), let rescan = secondary(topology, firstPort) else {
                return []
            }
            let off = SystemWrite.config(device, offset: 4, width: 2, mask: 0x7, value: 0)
            let on = SystemWrite.config(device, offset: 4, width: 2, mask: 0x3, value: 0x3)
            return [([off, .remove(device)], [rescan]), ([rescan], []), ([on], [])]
        },
    ]
}
