// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology
import ProofChecker

/// `verify`: does a certificate prove what it claims?
struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check the proof that a plan is impossible, or the least disruptive one",
        discussion: """
            Reads what plan --proof wrote and checks it with an arithmetic of its own, that shares no code with the solver \
            and the planner. With --from, what the proof says of the machine is compared with that record. Exit status 0 \
            when the proof holds, 3 when it does not, 8 when to say would take too much work.
            """
    )

    @Argument(
        help: ArgumentHelp("What plan --proof wrote; - reads standard input.", valueName: "file"),
        completion: .file()
    )
    var file: String

    @Option(
        help: ArgumentHelp(
            "The record that the plan was made for, as other commands take it. May be given several times.",
            valueName: "path"
        ),
        completion: .file()
    )
    var from: [String] = []

    @OptionGroup var output: OutputOptions

    func run() throws {
        let certificate = try certificate()
        var topology: Topology?
        if !from.isEmpty {
            topology = try ReadingOptions(paths: from).topology(output)
        }
        let checker = CertificateChecker()
        let result = VerificationResult(
            certificate: certificate,
            outcome: checker.check(certificate),
            differences: topology.map { checker.differences(certificate, from: $0) },
            assumptions: checker.assumptions(certificate, topology)
        )
        if output.json {
            try StandardOutput.write(result.document)
        } else {
            try StandardOutput.write(result.text(output, columns: StandardOutput.columns))
        }
        if result.exitStatus != .success { throw CommandEnd(result.exitStatus) }
    }

    private func certificate() throws(CommandEnd) -> Certificate {
        let bytes: [UInt8]
        do {
            bytes = try RecordedInput.document(at: file)
        } catch {
            throw CommandEnd(error)
        }
        do {
            return try Certificate(parsing: bytes)
        } catch {
            throw CommandEnd(.badInput, "\(file): \(error)")
        }
    }
}

/// What the check of a certificate came to.
struct VerificationResult {
    var certificate: Certificate
    var outcome: CertificateChecker.Outcome
    /// What the machine shows otherwise; nil where none was named.
    var differences: [String]?
    var assumptions: [String]

    /// What speaks against the proof, a sentence each.
    private var faults: [String] {
        var result = differences ?? []
        if case .fails(let reason) = outcome { result.insert(reason, at: 0) }
        return result
    }

    private var undecided: String? {
        if case .undecided(let reason) = outcome { reason } else { nil }
    }

    private var verdict: String {
        if !faults.isEmpty { return "does not hold" }
        return undecided == nil ? "holds" : "cannot tell"
    }

    var exitStatus: ExitStatus {
        if !faults.isEmpty { return .problems }
        return undecided == nil ? .success : .cannotTell
    }

    private var claim: String {
        if case .least = certificate.claim { "least" } else { "impossible" }
    }

    /// A line for each conflict and its members, what is taken as stated, and the verdict.
    func text(_ output: OutputOptions, columns: Int) -> String {
        var page = TextPage(columns: columns)
        if !output.quiet {
            for fault in faults { page.paragraph(fault, indent: 0, hanging: 2) }
            if let undecided { page.paragraph(undecided, indent: 0, hanging: 2) }
            if case .least(let cost) = certificate.claim {
                let stopped = certificate.certain.filter { certificate.devices[$0].weight > 0 }
                let names = stopped.map { certificate.devices[$0].function.description }
                page.paragraph(
                    "No layout disturbs less than a weight of \(cost)"
                        + (names.isEmpty ? "." : "; stopped in any case: \(names.joined(separator: ", ")).")
                        + (certificate.conflicts.isEmpty ? "" : " In each conflict somebody has to give way:"),
                    indent: 0,
                    hanging: 2
                )
            }
            for (n, members) in certificate.conflicts.enumerated() {
                page.paragraph(
                    certificate.claim == .impossible ? "These cannot all be satisfied:" : "Conflict \(n + 1):",
                    indent: 0
                )
                let most = output.verbose > 0 ? members.count : 8
                for member in members.prefix(most) { page.paragraph(sentence(member), indent: 2, hanging: 4) }
                if members.count > most { page.paragraph("and \(members.count - most) more: -v", indent: 2) }
            }
            for assumption in assumptions { page.paragraph("Taken as stated: \(assumption).", indent: 0, hanging: 2) }
            if differences == nil {
                page.paragraph("Not compared with a machine: --from compares it with a record.", indent: 0, hanging: 2)
            }
        }
        page.raw("VERIFY: \(verdict) claim=\(claim)")
        return page.text
    }

    private func sentence(_ member: Certificate.Member) -> String {
        let place = member.bridge.map { "behind \(certificate.bridges[$0].function)" } ?? "on the root bus"
        let isNumber = member.kind == .bus || member.kind == .busNumbers
        switch member.role {
        case .place(let size, _, _) where isNumber:
            return "\(member.label) needs \(size) bus number\(size == 1 ? "" : "s") \(place)"
        case .place(let size, let alignment, let limits):
            let reach = limits.last <= 0xffff_ffff && member.kind != .io ? " below 4 GiB" : ""
            return "\(member.label) needs \(ByteCount(size)) aligned to \(ByteCount(alignment)) \(place)\(reach)"
        case .stay(let range): return "\(member.label) holds \(range) and stays \(place)"
        case .window(let range): return "\(member.label) stays \(range?.description ?? "closed")"
        case .obstacle(let range): return "\(member.label) holds \(range)"
        }
    }

    /// The document, schema `pci-rebalance.verification/1`; keys in sorted order.
    var document: [UInt8] {
        var json = JSONWriter(.indented)
        json.object {
            $0.field("assumptions", assumptions)
            $0.field("claim", claim)
            if case .least(let cost) = certificate.claim {
                $0.field("cost", cost)
            } else {
                $0.field("cost", nil as Int?)
            }
            $0.field("faults", faults)
            $0.field("isComparedWithMachine", differences != nil)
            $0.field("schema", "pci-rebalance.verification/1")
            $0.field("undecided", undecided)
            $0.field("verdict", verdict)
        }
        return json.document
    }
}
