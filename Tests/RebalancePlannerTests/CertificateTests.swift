// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import ProofChecker
internal import RebalancePlanner
internal import Testing

/// What plans claim, checked by a program that knows neither solver nor planner.
@Suite("certificates of plans")
struct CertificateTests {
    private let checker = CertificateChecker()

    private func plans(_ seeds: Range<UInt64>) throws -> [(topology: Topology, plan: Plan)] {
        var result: [(Topology, Plan)] = []
        for behaviour in KernelBehaviour.presets.suffix(1) {
            for question in SmallMachine.Question.allCases {
                for seed in seeds {
                    guard let machine = try SmallMachine(seed: seed, question, behaviour) else { continue }
                    var planner = Planner(topology: machine.topology, behaviour: behaviour)
                    planner.certifies = true
                    result.append((machine.topology, try planner.plan(goals: [machine.goal])))
                }
            }
        }
        return result
    }

    @Test("of random small machines all hold, and whatever is changed in them does not")
    func randomMachines() throws {
        var counts = (impossible: 0, least: 0)
        for (topology, plan) in try plans(3000..<3024) {
            for certificate in plan.certificates {
                if plan.verdict.answer == .impossible { counts.impossible += 1 } else { counts.least += 1 }
                #expect(checker.check(certificate) == .holds, "\(plan.verdict.line)")
                #expect(checker.differences(certificate, from: topology) == [], "\(plan.verdict.line)")
                #expect(try Certificate(parsing: certificate.document) == certificate)
                for damaged in damaged(certificate) {
                    let holds = checker.check(damaged) == .holds && checker.differences(damaged, from: topology).isEmpty
                    #expect(!holds, "\(plan.verdict.line)")
                }
            }
            if plan.verdict.answer == .act, plan.verdict.reason != "partly", plan.proof == .optimal {
                #expect(plan.certificates.count == 1, "\(plan.verdict.line)")
            }
        }
        #expect(counts.impossible > 0 && counts.least > 2, "\(counts)")
    }

    /// The certificate with one thing changed so that it claims more than is true.
    private func damaged(_ certificate: Certificate) -> [Certificate] {
        var result: [Certificate] = []
        if case .least(let cost) = certificate.claim {
            var more = certificate
            more.claim = .least(cost + 1)
            result.append(more)
        }
        guard !certificate.conflicts.isEmpty else { return result }
        if !certificate.apertures.isEmpty {
            var less = certificate
            less.apertures.removeFirst()
            result.append(less)
        }
        for b in certificate.bridges.indices
        where certificate.bridges[b].windows.contains(where: { $0.kind == .memory }) {
            var closed = certificate
            closed.bridges[b].windows.removeAll { $0.kind == .memory }
            result.append(closed)
        }
        for (n, members) in certificate.conflicts.enumerated() {
            for (m, member) in members.enumerated() {
                var changed = certificate
                switch member.role {
                case .place(let size, let alignment, let limits) where member.resource != nil:
                    changed.conflicts[n][m].role = .place(size: size * 2, alignment: alignment, limits: limits)
                case .stay(let range) where member.resource != nil:
                    guard let moved = range.shifted(by: 0x1000) else { continue }
                    changed.conflicts[n][m].role = .stay(moved)
                default: continue
                }
                result.append(changed)
            }
        }
        var other = certificate
        other.fingerprint ^= 1
        result.append(other)
        return result
    }
}
