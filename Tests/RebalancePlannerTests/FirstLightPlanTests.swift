// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// Plans for the recorded failures, held against what the kernels were seen to do.
@Suite("plans for recorded failures")
struct FirstLightPlanTests {
    @Test("print")
    func show() throws {
        for kernel in ["6.1", "6.12", "7"] {
            for name in ["first-light", "three-root-ports"] {
                let t = try fixture("\(name)-\(kernel)/failed-hot-add.snapshot.json")
                let behaviour = KernelBehaviour.preset(forRelease: t.kernel.release ?? "").behaviour
                let clock = ContinuousClock()
                var plan: Plan?
                let time = try clock.measure {
                    plan = try Planner(topology: t, behaviour: behaviour).plan(goals: [.everythingRequired])
                }
                guard let plan else { continue }
                print("=====", name, kernel, behaviour.name, time)
                for line in plan.diagnosis { print(line.code, line.text) }
                for d in plan.disturbed { print("disturbs", d.address, d.newAddress, d.effect, d.what, d.weight) }
                for s in plan.steps { print("step:", s.purpose); for w in s.writes { print("   ", w) } }
                for f in plan.after.functions {
                    print(
                        f.address,
                        f.busRange?.description ?? "",
                        f.lines.enumerated().filter { $0.1 != .zero }.map {
                            "\($0.0):\(hex($0.1.start))-\(hex($0.1.end))"
                        }.joined(separator: " ")
                    )
                }
                print(plan.proof, plan.remarks, plan.verdict.line, plan.verdict.sentence)
            }
        }
    }
}

/// The topology of a recorded snapshot below `Fixtures/`.
func fixture(_ path: String, file: StaticString = #filePath) throws -> Topology {
    let parts = "\(file)".split(separator: "/", omittingEmptySubsequences: false)
    let root = parts.prefix { $0 != "Tests" }.joined(separator: "/")
    let record = try SnapshotFile(path: "\(root)/Fixtures/\(path)").read()
    return try TopologyAssembler(record).topology()
}
