// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import RebalancePlanner
internal import TestSupport
internal import VMLaboratory

@testable internal import PlanExecutor

/// Applies that are disturbed one after another in one guest; what each leaves is compared with what was there.
final class FaultCampaign {
    static let preload = "LD_PRELOAD=/usr/bin/guest-faults.so"
    static let card = Device.testDevice("card", memory: .mib(1))
    static let small = "0000:00:02.0/00.0/03.0/00.0"

    let machine: FaultMachine
    private let behaviour: KernelBehaviour
    private(set) var last: FaultMachine.Moment
    /// Places that a fault itself has emptied.
    var pulled: Set<String> = []
    /// Whether the device beside is bound to vfio-pci.
    private var isHeld = false
    /// What the command wrote since the disturbed apply began.
    var said: [String] = []
    /// Whether a path has plugged the card in.
    var isPlugged = false
    /// How many faults of paths have really happened: in applies, in recoveries.
    var happened = (apply: 0, recovery: 0)

    /// Boots a guest.
    init(kernel: Kernel) throws {
        machine = try FaultMachine(.faults, kernel: kernel)
        behaviour = KernelBehaviour.preset(forRelease: machine.guest.release).behaviour
        last = try machine.moment()
    }

    /// The plan of a scenario for the machine as it is; nil where the twin says that it would lose something.
    func plan(_ scenario: FaultScenario, round: Int) throws -> Plan? {
        var prediction = try Prediction(last.topology, behaviour: behaviour)
        var steps: [PlanStep] = []
        for stage in scenario.stages(last.topology, round) {
            guard prediction.perform(stage.writes), let after = prediction.tree else { return nil }
            steps.append(
                PlanStep(
                    purpose: "\(scenario.name) \(steps.count + 1)",
                    preconditions: [.treeAsPredicted],
                    writes: stage.writes,
                    after: after,
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
            disturbed: disturbed(steps),
            steps: steps,
            before: last.tree,
            after: after,
            proof: .notApplicable,
            remarks: []
        )
        return PlanSafety.fault(in: plan) == nil ? plan : nil
    }

    /// Everything that the steps remove, so that a device held by vfio may be stopped.
    private func disturbed(_ steps: [PlanStep]) -> [Disturbance] {
        var roots: [TopologyPath] = []
        for case .remove(let address) in steps.flatMap(\.writes) {
            roots += last.tree.functions.filter { $0.address == address }.map(\.path)
        }
        return last.tree.functions.filter { function in roots.contains { $0.isAncestorOrSelf(of: function.path) } }.map
        {
            Disturbance(address: $0.address, newAddress: $0.address, effect: .stopped, what: "exercise", weight: 1)
        }
    }

    // MARK: One apply

    /// The number of moments and journaled writes of an apply that nothing disturbs; the apply is done.
    func measure(_ plan: Plan) throws -> (moments: Int, journaledWrites: Int, problems: [String]) {
        let problems = try apply(plan, .none)
        let words = try machine.guest.run("cat /tmp/count").output.split(whereSeparator: \.isWhitespace)
            .compactMap { Int($0) }
        guard words.count == 2 else {
            throw CampaignError(description: "expected two counts, found \(words); \(problems)")
        }
        return (words[0], words[1], problems)
    }

    /// Applies a plan, disturbs it, recovers, and says what is worse than before, or was reported wrongly.
    func apply(_ plan: Plan, _ fault: Fault) throws -> [String] {
        said = []
        var plan = plan
        if case .wrongPrediction(let step) = fault { plan.spoil(step) }
        try machine.guest.run(
            "rm -f /tmp/count; umask 077; cat >/tmp/plan.json",
            input: PlanDocument.encode(plan)
        ).checked()
        return try disturb(fault) + compare()
    }

    let command = "pci-rebalance apply /tmp/plan.json"

    /// The last line but for warnings, which go to the other output and may arrive later.
    static func verdict(_ lines: [String]) -> String? {
        lines.last { !$0.hasPrefix("pci-rebalance: warning: ") }
    }

    private func disturb(_ fault: Fault) throws -> [String] {
        var problems: [String] = []
        func expect(_ status: Int, _ lines: [String], _ answers: [Int: String]) {
            if let verdict = answers[status], Self.verdict(lines)?.hasPrefix(verdict) == true { return }
            problems.append("expected one of \(answers), found \(status):\n" + lines.suffix(24).joined(separator: "\n"))
        }
        func expect(_ result: CommandResult, _ answers: [Int: String]) {
            expect(result.status, result.lines + result.errors.split(separator: "\n").map(String.init), answers)
        }
        switch fault {
        case .none: expect(try run("FAULT_COUNT=/tmp/count"), [0: "APPLY: done"])
        case .kill(let moment):
            let killed = try run("FAULT_KILL=\(moment)")
            if killed.status != 137 { problems.append("expected SIGKILL, found status \(killed.status)") }
            expect(try recover(), [0: "APPLY: "])
        case .killTwice(let moment, let second):
            _ = try run("FAULT_KILL=\(moment)")
            _ = try recover("FAULT_KILL=\(second)")
            expect(try recover(), [0: "APPLY: "])
        case .powerCut(let moment):
            _ = try run("FAULT_KILL=\(moment)")
            try machine.cutPower()
            expect(try recover(), [0: "APPLY: "])
        case .refuse(let journaled):
            expect(try run("FAULT_REFUSE=\(journaled)"), [5: "APPLY: rolled-back reason=write-refused"])
        case .late(let journaled):
            expect(
                try run("FAULT_HANG=\(journaled):3 FAULT_PATIENCE=500"),
                [5: "APPLY: rolled-back reason=write-timed-out"]
            )
        case .wrongPrediction: expect(try run(""), [5: "APPLY: rolled-back reason=prediction-differs"])
        case .held(let seconds): problems += try applyHeld(seconds)
        case .path(let path): problems += try follow(path)
        case .signal(let name): problems += try signal(name)
        case .vanish(let moment): problems += try vanish(moment)
        case .appear(let moment): problems += try appear(moment)
        case .two: problems += try applyTwice()
        case .fullDisk:
            let text = """
                mkdir -p /var/lib/pci-rebalance; mount -t tmpfs -o size=64k,mode=700 none /var/lib/pci-rebalance
                \(command); status=$?
                umount /var/lib/pci-rebalance; exit $status
                """
            expect(try machine.guest.run(text, timeout: .seconds(120)), [1: "APPLY: failed reason=journal-full"])
        }
        return problems
    }

    private func run(_ environment: String) throws -> CommandResult {
        let words = environment.isEmpty ? "" : "\(Self.preload) \(environment)"
        let result = try machine.guest.run("\(words) \(command)", timeout: .seconds(300))
        said += result.lines + result.errors.split(separator: "\n").map(String.init)
        return result
    }

    func recover(_ environment: String = "") throws -> CommandResult {
        let words = environment.isEmpty ? "" : "\(Self.preload) \(environment)"
        let result = try machine.guest.run("\(words) pci-rebalance recover", timeout: .seconds(300))
        said += result.lines + result.errors.split(separator: "\n").map(String.init)
        return result
    }

    private func applyTwice() throws -> [String] {
        let both = """
            cd /tmp
            \(command) -q >first 2>&1 & a=$!
            \(command) -q >second 2>&1 & b=$!
            wait $a; ra=$?; wait $b; rb=$?
            tail -n 1 first second; echo $ra $rb
            """
        let result = try machine.guest.run(both, timeout: .seconds(300))
        let statuses = Set((result.lines.last ?? "").split(separator: " ").compactMap { Int($0) })
        // The later one finds the lock taken, or comes so late that the tree is another one.
        let isRight = statuses.contains(0) && !statuses.isDisjoint(with: [75, 7])
        return isRight ? [] : ["expected one of two to do it, found \(result.output)"]
    }

    /// A driver that hangs in unbind: it ends in time and the apply goes back, or the apply gives up and recovery ends it.
    /// Either way the device is vfio's again.
    private func applyHeld(_ seconds: Int) throws -> [String] {
        guard let device = FaultScenario.address(last.topology, FaultScenario.beside) else {
            throw CampaignError(description: "expected a device beside, found none")
        }
        try machine.guest.run(
            "modprobe vfio_pci; modprobe vfio_iommu_type1 allow_unsafe_interrupts=1; hold-vfio \(device) \(seconds) >/tmp/held 2>&1 </dev/null &"
        )
        .checked()
        try machine.guest.waitUntil("vfio to hold the device") {
            let lines = try $0.run("cat /tmp/held").lines
            if let line = lines.first, line != "held" { throw CampaignError(description: line) }
            return !lines.isEmpty
        }
        let result = try run("FAULT_PATIENCE=1000")
        defer { isHeld = true }
        let line = Self.verdict(result.lines) ?? ""
        if seconds < 60 {
            let isRight = result.status == 5 && line == "APPLY: rolled-back reason=write-timed-out"
            return isRight ? [] : ["expected 5, rolled back, found \(result.status): \(result.lines.suffix(24))"]
        }
        guard result.status == 6, line == "APPLY: failed reason=write-timed-out" else {
            return ["expected 6, still hanging, found \(result.status): \(result.lines.suffix(24))"]
        }
        try machine.guest.waitUntil("the holder to end", timeout: .seconds(120)) {
            try $0.run("pidof hold-vfio").status != 0
        }
        let recovery = try recover()
        return recovery.status == 0 ? [] : ["expected recovery, found \(recovery.status): \(recovery.lines.suffix(24))"]
    }

    private func vanish(_ moment: Int) throws -> [String] {
        let isPaused = try machine.start(
            "\(Self.preload) FAULT_PAUSE=\(moment):/tmp/pause \(command)",
            pausing: "/tmp/pause"
        )
        let isGone = isPaused ? try machine.pull("small", patience: .seconds(12)) : false
        let (status, lines) = try machine.finish(pausing: "/tmp/pause")
        said += lines
        // A port that the kernel does not know at the moment lets its card go once it is found again.
        if !isGone { guard try machine.pull("small") else { return ["expected the card to go, it stays"] } }
        pulled = [Self.small]
        let answers = [0: "APPLY: done", 5: "APPLY: rolled-back", 7: "APPLY: failed reason=stale"]
        guard let verdict = answers[status], Self.verdict(lines)?.hasPrefix(verdict) == true else {
            return ["expected one of \(answers), found \(status):\n" + lines.suffix(24).joined(separator: "\n")]
        }
        return []
    }

    private func appear(_ moment: Int) throws -> [String] {
        let isPaused = try machine.start(
            "\(Self.preload) FAULT_PAUSE=\(moment):/tmp/pause \(command)",
            pausing: "/tmp/pause"
        )
        if isPaused { try machine.guest.hotPlug(Self.card, behind: "d2") }
        let arrived = isPaused && moment == 1 ? try machine.moment() : nil
        let (status, lines) = try machine.finish(pausing: "/tmp/pause")
        said += lines
        if let arrived, status == 7, lines.contains(where: { $0.hasPrefix("Nothing was written") }) {
            // Before the first write the kernel alone was at work. On its second try for a card that does not fit it takes
            // away what siblings have: that is no loss of ours, and the tool must have seen it.
            last = arrived
        }
        let answers = [0: "APPLY: done", 5: "APPLY: rolled-back", 7: "APPLY: failed reason=stale"]
        guard let verdict = answers[status], Self.verdict(lines)?.hasPrefix(verdict) == true else {
            return ["expected one of \(answers), found \(status):\n" + lines.suffix(24).joined(separator: "\n")]
        }
        return []
    }

    // MARK: Comparing

    /// What is worse than after the last apply; the machine as it is becomes the new one to compare with.
    ///
    /// None here can be resized: a BAR that looks larger was left so by `resource_alignment`, which the command must say.
    private func compare() throws -> [String] {
        let before = last
        let release = try isHeld ? self.release() : []
        try machine.guest.waitUntilQuiet()
        let now = try machine.moment()
        let isPulled: (TopologyPath) -> Bool = { [pulled] in pulled.contains($0.description) }
        var problems = release
        problems += before.tree.losses(in: now.tree, ignoringSizes: true).filter { !isPulled($0.function.path) }.map(
            \.description
        )
        problems += before.tree.enlargements(in: now.tree).map(\.description).filter { enlargement in
            !said.contains { $0.contains("until it is found anew: \(enlargement)") }
        }
        let health = now.topology.functions.map {
            FunctionHealth(address: $0.address, driver: $0.use.driver, config: $0.config)
        }
        problems += before.tree.healthLosses(before.health, in: now.tree, health).map(\.description)
        for (key, answer) in before.answers.sorted(by: { $0.key < $1.key }) where now.answers[key] != answer {
            if ["bad", "silent"].contains(answer) || pulled.contains(where: { key.hasPrefix("\($0) ") }) { continue }
            problems.append("\(key) answered \(answer), answers \(now.answers[key] ?? "not at all")")
        }
        let rest = try machine.guest.run(
            "cat /sys/bus/pci/resource_alignment; pci-rebalance recover --status -q; echo $?"
        )
        if rest.lines.filter({ !$0.isEmpty }) != ["0"] {
            problems.append("left behind: \(rest.output)")
            problems.append("recovery: \(try recover().lines.last ?? "")")
        }
        if !problems.isEmpty {
            let log = try machine.guest.run("dmesg | tail -n 160").lines
            problems.append("the kernel's log:\n" + log.joined(separator: "\n"))
            problems.append("what the command said:\n" + said.joined(separator: "\n"))
        }
        last = try putRight() ? machine.moment() : now
        return problems
    }

    /// Takes the device beside from vfio-pci, which must have it.
    private func release() throws -> [String] {
        isHeld = false
        let text = """
            cd /sys/bus/pci/devices/$(ls /sys/bus/pci/drivers/vfio-pci | grep :) || exit 1
            grep -q vfio-pci driver_override || exit 2
            echo ${PWD##*/} >driver/unbind; echo >driver_override; echo 1 >enable
            """
        let result = try machine.guest.run(text)
        return result.status == 0 ? [] : ["expected the device to be vfio's again: \(result.output)\(result.errors)"]
    }

    /// Puts cards back to where they were before a fault took or brought them; whether there was anything to do.
    private func putRight() throws -> Bool {
        let port = "0000:00:02.0/00.0/01.0/00.0"
        let hasAppeared = try machine.guest.run("device-check").lines.contains { $0.hasPrefix(port) }
        guard hasAppeared || !pulled.isEmpty else { return false }
        if !pulled.isEmpty {
            try machine.guest.hotPlug(.testDevice("small", memory: .mib(1)), behind: "d4")
            pulled = []
        }
        if hasAppeared, try !machine.pull("card") {
            throw CampaignError(description: "the card that appeared does not go")
        }
        isPlugged = false
        // No driver switches its decoding on.
        try machine.guest.run(
            "for f in /sys/bus/pci/devices/*; do grep -q 0x0005 $f/device && echo 1 >$f/enable; done; :"
        )
        .checked()
        return true
    }
}

extension Plan {
    /// Makes the plan predict something else than the kernel does, from a step on.
    mutating func spoil(_ step: Int) {
        for later in steps.indices.dropFirst(step) { steps[later].after.spoil() }
        after.spoil()
    }
}

extension TreeState {
    /// Moves the first resource that has a place.
    fileprivate mutating func spoil() {
        func placed(_ function: FunctionState) -> Int? {
            function.lines.indices.first { ResourceIndex($0).map { function.lines[$0].range(of: $0) != nil } ?? false }
        }
        guard let i = functions.firstIndex(where: { placed($0) != nil }), let k = placed(functions[i]) else { return }
        functions[i].lines[k].start ^= 0x10_0000
        functions[i].lines[k].end ^= 0x10_0000
    }
}
