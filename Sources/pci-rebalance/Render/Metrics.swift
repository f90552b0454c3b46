// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import PlanExecutor

/// The tree as metrics in Prometheus' text format, for node_exporter's textfile collector.
///
/// Ports are labelled by their place in the tree, which survives renumbered buses, and by their address of the moment.
struct Metrics {
    let topology: Topology
    let findings: [Finding]
    /// The last apply, its verdict and reason; nil when there was none or it could not be read.
    var lastApply: (time: Int64, verdict: String, reason: String)?
    /// Whether an apply was interrupted; nil when that could not be read.
    var isUnfinished: Bool?
    /// How many things are locked out; nil when that could not be read.
    var lockedOut: Int?

    /// The text.
    func render() -> String {
        var text = ""
        let problems = findings.filter { $0.severity == .problem }
        family("problems", "Problems that check finds.", &text) { sample in sample([], UInt64(problems.count)) }
        family("unassigned_bars", "BARs without an address that are needed.", &text) { sample in
            let codes: Set<Finding.Code> = [.barUnassigned, .barWiped, .barLost]
            sample([], UInt64(problems.count { codes.contains($0.code) }))
        }
        family("bridges_without_bus", "Bridges without a bus behind them.", &text) { sample in
            sample([], UInt64(problems.count { $0.code == .busMissing }))
        }
        let ports = ports
        family("port_window_bytes", "Size of the window of a hot-plug port.", &text) { sample in
            for port in ports {
                for window in port.windows { sample(port.labels + [("window", window.name)], window.size) }
            }
        }
        family("port_free_bytes", "Bytes in the window of a hot-plug port that nobody holds.", &text) { sample in
            for port in ports {
                for window in port.windows { sample(port.labels + [("window", window.name)], window.free) }
            }
        }
        family("port_largest_free_block_bytes", "The largest aligned block that is free.", &text) { sample in
            for port in ports {
                for window in port.windows { sample(port.labels + [("window", window.name)], window.largest) }
            }
        }
        family("port_holders", "Resources that hold a part of the window, and so pin it.", &text) { sample in
            for port in ports {
                for window in port.windows { sample(port.labels + [("window", window.name)], window.holders) }
            }
        }
        family("port_free_buses", "Bus numbers of a hot-plug port that no bridge below has.", &text) { sample in
            for port in ports { sample(port.labels, port.freeBuses) }
        }
        family("port_occupied", "Whether a function sits behind a hot-plug port.", &text) { sample in
            for port in ports { sample(port.labels, port.isOccupied ? 1 : 0) }
        }
        if let lastApply {
            family("last_apply_timestamp_seconds", "When the last apply began.", &text) { sample in
                sample([], UInt64(max(0, lastApply.time)))
            }
            family("last_apply_info", "How the last apply ended.", &text) { sample in
                sample([("reason", lastApply.reason), ("verdict", lastApply.verdict)], 1)
            }
        }
        if let isUnfinished {
            family("apply_unfinished", "Whether an apply was interrupted and waits for recover.", &text) { sample in
                sample([], isUnfinished ? 1 : 0)
            }
        }
        if let lockedOut {
            family("events_locked_out", "Things for which plans failed too often.", &text) { sample in
                sample([], UInt64(max(0, lockedOut)))
            }
        }
        return text
    }

    // MARK: Ports

    private struct Window {
        var name: String
        var size: UInt64 = 0
        var free: UInt64 = 0
        var largest: UInt64 = 0
        var holders: UInt64 = 0
    }

    private struct Port {
        var labels: [(String, String)]
        var windows: [Window]
        var freeBuses: UInt64
        var isOccupied: Bool
    }

    private var ports: [Port] {
        topology.functions.indices.filter { topology.functions[$0].isHotPlugBridge }.map { i in
            let bridge = topology.functions[i]
            let names: [(ResourceIndex, String)] = [
                (.ioWindow, "io"), (.memoryWindow, "memory"), (.prefetchableWindow, "prefetchable"),
            ]
            let windows = names.map { index, name in
                var window = Window(name: name)
                guard let range = bridge.resource(index)?.range else { return window }
                let space = topology.occupancy(of: range, isIO: index == .ioWindow, belowBridge: i)
                window.size = range.clampedSize
                window.free = space.freeBytes.rawValue
                window.largest = space.largestFreeBlock.rawValue
                window.holders = UInt64(space.holders.count)
                return window
            }
            // A child without a bus holds none; children lie inside the range, else check says so.
            let held = topology.children(of: i).reduce(0) { $0 + (topology.functions[$1].bridge?.busRange?.count ?? 0) }
            let buses = (bridge.bridge?.busRange?.count ?? 1) - 1 - held
            return Port(
                labels: [("address", bridge.address.description), ("port", topology.path(of: i).description)],
                windows: windows,
                freeBuses: UInt64(max(0, buses)),
                isOccupied: !topology.children(of: i).isEmpty
            )
        }
    }

    // MARK: Text

    private typealias Sample = ([(String, String)], UInt64) -> Void

    private func family(_ name: String, _ help: String, _ text: inout String, _ body: (Sample) -> Void) {
        let name = "pci_rebalance_\(name)"
        var lines = "# HELP \(name) \(help)\n# TYPE \(name) gauge\n"
        body { labels, value in
            let list = labels.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
            lines += "\(name)\(list.isEmpty ? "" : "{\(list)}") \(value)\n"
        }
        text += lines
    }

    private static func escaped(_ value: String) -> String {
        var result = ""
        for character in value {
            switch character {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.append(character)
            }
        }
        return result
    }
}

extension Metrics {
    /// Adds what this machine remembers of applies and events; what cannot be read, without root for instance, is left
    /// out.
    mutating func readMemory(_ disk: any JournalDisk, _ policy: EventPolicy) {
        do {
            isUnfinished = try disk.read(Journal.unfinishedName) != nil
        } catch {
            return
        }
        if let last = try? Journal.last(on: disk), let end = last.end {
            lastApply = (last.beginning.time, end.verdict, end.reason)
        }
        lockedOut = (try? EventLedger.read(disk))?.lockedOut(policy).count
    }
}
