// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import PCITopology
internal import PlanExecutor
internal import RebalancePlanner
internal import Testing
internal import VMLaboratory

/// One thing that goes wrong on a machine, what is asked of the planner, and whom the cheapest known way disturbs.
struct Scenario: Sendable, CustomTestStringConvertible {
    /// What is expected of the plan.
    enum Expectation: Sendable {
        /// The plan acts and disturbs exactly these endpoints, by their addresses before it; bridges cost nothing.
        case disturbs(Set<String>)
        /// The plan is refused, and its sentence or diagnosis names all of these.
        case refused(reason: String, naming: [String])
        /// There is no way, for this reason.
        case impossible(reason: String)
    }

    var name: String
    var topology: MachineTopology
    /// What is done to the running machine before anything is planned.
    var prepare: @Sendable (ScenarioRun) throws -> Void
    /// The words after `plan` and `apply`.
    var arguments = ""
    var expectation: Expectation
    /// Where a kernel's cheapest way differs.
    var differently: [Kernel: Expectation] = [:]
    /// Kernels that cannot be brought into this state.
    var skipping: Set<Kernel> = []
    /// What must hold afterwards beside everything else.
    var afterwards: @Sendable (ScenarioRun) throws -> Void = { _ in }
    /// The status of `check` afterwards.
    var checkStatus = 0
    var testDescription: String { name }
}

/// One scenario on one kernel, from the boot to the last look.
final class ScenarioRun {
    let scenario: Scenario
    let kernel: Kernel
    let guest: VirtualMachine
    /// The plan, once it was made.
    private(set) var plan: Plan?
    private var resources: [String: [GuestResource]] = [:]

    init(_ scenario: Scenario, _ kernel: Kernel) throws {
        self.scenario = scenario
        self.kernel = kernel
        guest = try VirtualMachine(scenario.topology, kernel: kernel)
    }

    private var context: Comment { "\(kernel), \(scenario.name)" }

    /// Prepares, plans, applies, and looks at everything.
    func run() throws {
        try scenario.prepare(self)
        resources = try guest.resources()
        let words = scenario.arguments.isEmpty ? "" : " " + scenario.arguments
        let planned = try guest.run("pci-rebalance plan --json -o /root/plan.json\(words)", timeout: .seconds(120))
        #expect(planned.status != 69, "\(context): \(planned.errors)")
        let plan = try PlanDocument.decode(planned.standardOutput)
        self.plan = plan
        if ProcessInfo.processInfo.environment["PCI_REBALANCE_SHOW"] == "1" {
            let tree = try guest.run("pci-rebalance tree; pci-rebalance plan\(words)", timeout: .seconds(120))
            try "\(planned.duration)\n\(tree.output)".write(
                toFile: "/tmp/scenario-\(kernel)-\(scenario.name).txt",
                atomically: true,
                encoding: .utf8
            )
        }
        #expect(try guest.resources() == resources, "\(context): a dry run changes nothing")
        let expectation = scenario.differently[kernel] ?? scenario.expectation
        switch expectation {
        case .refused(let reason, let names):
            #expect(planned.status == 4 && plan.verdict.answer == .refused, "\(context): \(plan.verdict.line)")
            #expect(plan.verdict.reason == reason, context)
            let text = ([plan.verdict.sentence] + plan.diagnosis.map(\.text)).joined(separator: "\n")
            for name in names { #expect(text.contains(name), "\(context): \(name) in \(text)") }
            try expectUntouched(status: 4)
        case .impossible(let reason):
            #expect(planned.status == 2 && plan.verdict.answer == .impossible, "\(context): \(plan.verdict.line)")
            #expect(plan.verdict.reason == reason, context)
            try expectUntouched(status: 2)
        case .disturbs(let endpoints):
            #expect(planned.status == 0 && plan.verdict.answer == .act, "\(context): \(plan.verdict.line)")
            guard plan.verdict.answer == .act else { return }
            let stopped = Set(plan.disturbed.filter { $0.weight > 0 }.map(\.address.description))
            #expect(stopped == endpoints, "\(context): \(plan.steps.map(\.purpose))")
            try apply(plan)
        }
    }

    private func expectUntouched(status: Int) throws {
        let applied = try guest.run("pci-rebalance apply /root/plan.json", timeout: .seconds(120))
        #expect(applied.status == status, "\(context): \(applied.output)\(applied.errors)")
        #expect(try guest.resources() == resources, context)
        try expectWorking()
    }

    private func apply(_ plan: Plan) throws {
        let applied = try guest.run("pci-rebalance apply /root/plan.json", timeout: .seconds(180))
        #expect(applied.status == 0, "\(context): \(applied.output)\(applied.errors)")
        #expect(applied.lines.last == "APPLY: done reason=goal-reached", "\(context): \(applied.output.suffix(800))")
        guard applied.status == 0 else { return }

        let after = try guest.expect(plan.after, context)
        // Whoever is not disturbed keeps every BAR where it was; only a bridge above may find its windows changed.
        let disturbed = Set(plan.disturbed.map(\.address.description))
        for (address, lines) in resources where !disturbed.contains(address) {
            let healed = after[address].map { Array($0.prefix(13)) } ?? []
            for (old, new) in zip(lines.prefix(13), healed) where old.isAssigned {
                #expect(old == new, "\(context): \(address)")
            }
        }
        try expectWorking()
        let cured = try guest.run("pci-rebalance check")
        #expect(cured.status == scenario.checkStatus, "\(context): \(cured.output)\(cured.errors)")
        try scenario.afterwards(self)
    }

    /// Every device answers through its BARs where the kernel says it does.
    func expectWorking() throws {
        let checked = try guest.run("bar-check")
        #expect(checked.status == 0, "\(context): \(checked.output)\(checked.errors)")
        #expect(!checked.lines.isEmpty, "\(context): nothing could be asked")
    }

    // MARK: - Preparations

    /// Plugs a card and waits until the kernel is done with it.
    func plug(_ card: Device, behind port: String) throws { try guest.hotPlug(card, behind: port) }

    /// Runs a script that has to succeed.
    func script(_ text: String) throws { try guest.run(text, timeout: .seconds(60)).checked() }

    /// Writes a register of a function: 1, 2 or 4 bytes.
    func register(_ address: String, _ offset: Int, _ value: UInt32, width: Int) throws {
        let bytes = (0..<width).map { UInt8(truncatingIfNeeded: value >> UInt32(8 * $0)) }
        try guest.writeConfiguration(of: address, at: offset, bytes)
    }
}

/// Runs scenarios, two at a time when all are asked for, so that a suite of them ends in minutes; the usual few run beside
/// other suites.
enum ScenarioSuite {
    /// The word that names all scenarios, or part of a scenario's name; nil for a few of them.
    static let choice = ProcessInfo.processInfo.environment["PCI_REBALANCE_SCENARIOS"]

    /// The kernels that `PCI_REBALANCE_KERNELS` names, as in `6.1,7`; all without it.
    static var kernels: [Kernel] {
        guard let names = ProcessInfo.processInfo.environment["PCI_REBALANCE_KERNELS"] else { return Kernel.allCases }
        let chosen = names.split(separator: ",").map(String.init)
        return Kernel.allCases.filter { chosen.contains($0.description) }
    }

    /// The ones that are always run: memory, ports, bus numbers, and a refusal.
    static let usual: Set<String> = [
        "deep switches, 1 GiB at the outer one", "ports run out, empty ports hold them",
        "a bridge below a switch port, an empty neighbour has the next number", "a mounted disk is in the way",
    ]

    static func isChosen(_ scenario: Scenario) -> Bool {
        guard let choice else { return usual.contains(scenario.name) }
        return choice == "all" || scenario.name.contains(choice)
    }

    static func run(_ scenarios: [Scenario], on kernel: Kernel) async {
        let workers = choice == nil ? 1 : min(2, max(1, ProcessInfo.processInfo.activeProcessorCount))
        let chosen = scenarios.filter { isChosen($0) && !$0.skipping.contains(kernel) }
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<workers {
                group.addTask {
                    for (n, scenario) in chosen.enumerated() where n % workers == worker { run(scenario, on: kernel) }
                }
            }
        }
    }

    private static func run(_ scenario: Scenario, on kernel: Kernel) {
        do {
            let run = try ScenarioRun(scenario, kernel)
            try run.run()
            print("scenario on \(kernel): \(scenario.name): \(run.plan?.verdict.line ?? "no plan")")
        } catch {
            Issue.record(error, "\(kernel), \(scenario.name)")
        }
    }
}
