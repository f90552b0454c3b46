// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import LibPCIBridge

/// Triage reads a log, check a tree that was put together from it: of one device they say the same.
@Suite("Triage and check never contradict each other") struct TriageAgreementTests {
    /// What the two say of a text, and where they differ.
    private static func contradictions(_ bytes: [UInt8]) throws -> [String] {
        let evidence = TextEvidence(bytes: bytes)
        guard !evidence.messages.isEmpty else { return [] }
        let record = evidence.record
        let topology = try TopologyAssembler(record).topology()
        let assessment = Assessment(record, topology)
        let triage = Triage(evidence)
        var result: [String] = []
        for group in triage.groups where group.consequenceFor == nil {
            guard let address = group.address else { continue }
            let told = assessment.findings.filter { $0.address == address || $0.related.contains(address) }
            let isInPlace =
                topology[address]?.resources.first { "\($0.index)" == group.resource }?.range != nil
            if group.severity == .fatal, !told.contains(where: { $0.severity == .problem }), !isInPlace {
                result.append("fatal, and check has no problem: \(address) \(group.resource) \(group.code)")
            }
            if group.severity == .degraded || group.severity == .untold, told.isEmpty, !isInPlace {
                result.append(
                    "\(group.severity.rawValue), and check has nothing: \(address) \(group.resource) \(group.code)"
                )
            }
        }
        for finding in assessment.findings where finding.severity == .problem {
            // Problems of the tree itself (overlaps, bus ranges) need no failing line.
            let lines = triage.groups.filter { $0.address == finding.address }
            guard [.barWiped, .kernelReport].contains(finding.code), !lines.isEmpty else { continue }
            if lines.allSatisfy({ $0.severity == .harmless }) {
                result.append("a problem, and triage calls it harmless: \(finding.address) \(finding.sentence)")
            }
        }
        switch assessment.verdict {
        case .healthy where triage.groups.contains { $0.severity == .fatal }: result.append("healthy, and fatal")
        case .healthy where triage.verdict == .cannotTell && evidence.isLogAlone:
            result.append("healthy, and triage cannot tell")
        default: break
        }
        return result
    }

    @Test("over every text of the corpus")
    func corpus() throws {
        guard TextCorpus.directory != nil else { return }
        for file in TextCorpus.texts() {
            let found = try Self.contradictions(file.bytes)
            #expect(found.isEmpty, "\(file.name): \(found.joined(separator: "; "))")
        }
    }
}
