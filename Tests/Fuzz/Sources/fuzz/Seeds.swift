// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner

@testable internal import PlanExecutor

/// The first inputs: plans for recorded machines, journals of them, and their registers as lspci dumps them.
enum Seeds {
    /// Writes a plan, a journal and hex dumps for each snapshot.
    ///
    /// - Parameter arguments: the directory for plans, that for journals, that for hex dumps, then snapshots.
    static func write(_ arguments: [String]) {
        guard arguments.count > 3 else { return }
        for (number, path) in arguments.dropFirst(3).enumerated() {
            guard let record = try? SnapshotFile(path: path).read() else { continue }
            for (position, function) in record.functions.enumerated() {
                // The standard registers and the capabilities next to them.
                let text = "\(function.address) Device\n\(function.config.rows(upTo: 512))\n"
                save(Array(text.utf8), arguments[2], number * 1000 + position)
            }
            guard let topology = try? TopologyAssembler(record).topology() else { continue }
            let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
            guard let plan = try? Planner(topology: topology, behaviour: behaviour).plan(goals: [.everythingRequired])
            else { continue }
            save(PlanDocument.encode(plan), arguments[0], number)
            // A zero byte between payloads, as the journal's target splits them.
            let begin = JournalBeginning(id: "x", time: 1, kernel: plan.kernelRelease, bootID: "here", health: [])
            var entries: [JournalEntry] = [.begin(begin), .plan(plan)]
            for (step, content) in plan.steps.enumerated() {
                entries.append(.stepBegins(step))
                for (index, write) in content.writes.enumerated() {
                    let position = WritePosition(step: step, index: index, direction: .forward)
                    entries += [.about(position, write, saved: .number(1)), .done(position)]
                }
                entries.append(.stepReached(step))
            }
            save([1] + Array(entries.map(\.payload).joined(separator: [0])), arguments[1], number)
        }
    }

    private static func save(_ bytes: [UInt8], _ directory: String, _ number: Int) {
        try? Data(bytes).write(to: URL(fileURLWithPath: "\(directory)/seed-\(number)"))
    }
}
