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

    /// The first line of every report.
    static let title = "pci-rebalance report 1"
    /// The line after which the record stands, to the end of the file.
    static let snapshotMark = "== snapshot =="

    /// The report.
    func render() throws -> [UInt8] {
        let findings = topology.findings()
        var text = Self.title + "\n"
        func section(_ name: String, _ body: String) {
            text += "\n== \(name) ==\n" + body
            if !body.hasSuffix("\n") { text += "\n" }
        }
        section("versions", versions)
        section(
            "check",
            CheckText(topology: topology, findings: findings, verbosity: 2, style: .plain, columns: 120).render()
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
        if let log = record.kernelLog {
            section("triage", Triage(log.joined(separator: "\n")).lines().joined(separator: "\n"))
            section("kernel log", log.joined(separator: "\n"))
        }
        if let iomem = record.iomem { section("/proc/iomem", iomem) }
        if let ioports = record.ioports { section("/proc/ioports", ioports) }
        text += "\n\(Self.snapshotMark)\n"
        do {
            return Array(text.utf8) + (try SnapshotFile.encode(record))
        } catch {
            throw CommandEnd(.failure, error.description)
        }
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

    /// The record in a report; nil when the bytes are none.
    static func record(in bytes: [UInt8]) throws(ReadError) -> MachineRecord? {
        guard bytes.starts(with: Array((title + "\n").utf8)) else { return nil }
        let mark = Array("\n\(snapshotMark)\n".utf8)
        var i = bytes.count - mark.count
        while i >= 0 {
            if bytes[i] == 0x0a, bytes[i..<(i + mark.count)].elementsEqual(mark) {
                return try SnapshotFile.decode(Array(bytes[(i + mark.count)...]))
            }
            i -= 1
        }
        throw ReadError(.badInput, "a report without its record: expected the line \(snapshotMark)")
    }
}
