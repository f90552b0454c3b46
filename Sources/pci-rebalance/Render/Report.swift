// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology
import RebalancePlanner

/// A report: sections of text, and the record at the end as JSON.
struct Report {
    var record: MachineRecord
    var topology: Topology
    var plan: Result<Plan, CommandEnd>

    /// The report.
    func render() -> [UInt8] {
        let assessment = Assessment(record, topology)
        let findings = assessment.findings
        var text = ReportFile.title + "\n"
        func section(_ name: String, _ body: String) {
            text += "\n== \(name) ==\n" + body
            if !body.hasSuffix("\n") { text += "\n" }
        }
        section("versions", versions)
        if assessment.verdict == .problems {
            text += "To see this on another machine: pci-rebalance reproduce --from THIS-FILE -o DIRECTORY\n"
        }
        section(
            "check",
            CheckText(topology: topology, assessment: assessment, verbosity: 2, style: .plain, columns: 120).render()
        )
        var tree = TreeText(
            topology,
            findings: findings,
            addresses: AddressStyle(showsSegment: true, for: topology),
            verbosity: 1,
            columns: 120
        )
        section("tree", tree.render())
        switch plan {
        case .success(let plan): section("plan", PlanText(plan: plan, verbosity: 1, columns: 120).render())
        case .failure(let end): section("plan", end.message ?? "no plan")
        }
        if let registers { section("lspci -xxxx", registers) }
        if let log = record.kernelLog {
            section("triage", Triage(log.joined(separator: "\n")).lines().joined(separator: "\n"))
            section("kernel log", log.joined(separator: "\n"))
        }
        if let iomem = record.iomem { section("/proc/iomem", iomem) }
        if let ioports = record.ioports { section("/proc/ioports", ioports) }
        text += "\n\(ReportFile.snapshotMark)\n"
        // Whoever reads the file on a terminal is to see text.
        return printableBytes(Array(text.utf8)) + SnapshotFile.encode(record)
    }

    /// The registers as `lspci -xxxx` dumps them, which `lspci -F FILE -vvv` of any machine makes readable; nil when none
    /// are known. Of a machine that was read from text they are not repeated: who has its dump has them.
    private var registers: String? {
        guard record.origin != .text else { return nil }
        let dumps = record.functions.filter(\.config.hasHeader).map { function in
            "\(function.address) \(topology[function.address]?.identity.className ?? "Device")\n\(function.config.rows())"
        }
        return dumps.isEmpty ? nil : dumps.joined(separator: "\n")
    }

    private var versions: String {
        let kernel = topology.kernel
        var lines = [
            "pci-rebalance \(PCIRebalance.configuration.version)",
            "kernel \(kernel.release ?? "unknown") \(kernel.architecture ?? "unknown")",
            "command line \(kernel.commandLine ?? "unknown")",
            "record \(record.origin.rawValue), \(record.functions.count) functions",
        ]
        if let privileges = record.privileges {
            lines.append("read by user \(privileges.effectiveUser), lockdown \(privileges.lockdown ?? "unknown")")
        }
        for gap in topology.gaps { lines.append("not read: \(gap.detail)") }
        return lines.joined(separator: "\n")
    }
}
