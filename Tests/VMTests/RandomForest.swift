// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import RebalancePlanner
internal import TestSupport
internal import VMLaboratory

/// Machines of many random trees: root ports with and without ACS, cards, switches, conventional bridges behind them.
///
/// Nothing in them has an I/O BAR: firmware has room for a dozen windows of that kind.
struct RandomForest {
    private var number = 0
    /// Bus numbers that are left on the root bus that is being filled.
    private var buses = 0
    /// Bridges with hot-plug of the conventional kind that are left: each takes an I/O window.
    private var conventional = 4
    private var random: SplitMix64

    /// A machine with `size` trees on each of two root buses, at most 28.
    ///
    /// - Returns: the machine, and how many of its root ports are without ACS.
    static func machine(size: Int, _ random: inout SplitMix64) -> (MachineTopology, portsWithoutACS: Int) {
        var forest = RandomForest(random: random)
        var devices = forest.trees(size, slots: 2)
        devices.append(.expanderBridge("far", bus: 0x80, children: forest.trees(size, slots: 0)))
        random = forest.random
        let without = devices.flatMap { $0.driver == "pxb-pcie" ? $0.children : [$0] }.count {
            $0.properties.contains { $0.name == "disable-acs" }
        }
        return (MachineTopology("forest", memory: .gib(1), devices: devices), without)
    }

    private mutating func trees(_ size: Int, slots: Int) -> [Device] {
        buses = 110
        var result: [Device] = []
        for slot in slots..<(slots + size) where buses > 12 {
            let functions = random.below(4) == 0 ? 2 : 1
            for function in 0..<functions {
                number += 1
                buses -= 1
                var port = Device.rootPort(
                    "p\(number)",
                    at: "\(String(slot, radix: 16)).\(function)",
                    children: random.below(6) == 0 ? [] : inside(depth: 0)
                )
                port = port.with("multifunction", .flag(functions > 1))
                if random.below(3) == 0 { port = port.with("disable-acs", .flag(true)) }
                result.append(port)
            }
        }
        return result
    }

    private mutating func name() -> String {
        number += 1
        return "d\(number)"
    }

    private mutating func inside(depth: Int) -> [Device] {
        switch random.below(depth == 0 ? 7 : depth == 1 ? 5 : 4) {
        case 0: return [.edu(name())]
        case 1:
            return (0..<(2 + random.below(2))).map { function in
                .nvme(name(), at: "0.\(function)").with("multifunction", .flag(true))
            }
        case 2: return [Device("virtio-rng-pci", name())]
        case 3:
            guard conventional > 0 else { return [.nvme(name())] }
            conventional -= 1
            buses -= 2
            let bridge = Device.pciBridge(name(), at: "3", children: [.edu(name(), at: "2")])
                .with("shpc", .flag(false))
            return [.pcieToPCIBridge(name(), children: [.edu(name(), at: "1"), bridge])]
        default:
            let ports = (0..<(2 + random.below(2))).map { i in
                buses -= 1
                return Device.downstreamPort(
                    name(),
                    children: random.below(4) == 0 ? [] : inside(depth: depth + 1)
                )
            }
            buses -= 1
            return [.upstreamPort(name(), children: ports)]
        }
    }

    private init(random: SplitMix64) { self.random = random }
}

/// What was looked at, and how much of it a plan had in hand.
struct ForestTally: CustomStringConvertible {
    private(set) var trees = 0
    private(set) var plans = 0
    private(set) var treesStopped = 0
    private var different: Set<String> = []
    private var withoutACS = 0
    private var open = 0
    private var functions = 0
    private var groups = 0
    private var sharedGroups = 0
    private var regrouped = 0
    private var verdicts: [String: Int] = [:]
    /// The device of the root bus that each function is below, as `bus.device`.
    private static func tree(of i: Int, _ topology: Topology) -> String {
        let root = topology.functions[topology.ancestors(of: i).last ?? i].address
        return "\(root.bus).\(root.devfn >> 3)"
    }

    mutating func take(_ topology: Topology, portsWithoutACS: Int) {
        var shapes: [String: String] = [:]
        for (i, function) in topology.functions.enumerated() {
            let controls = function.capabilities.accessControl.map { "\($0.control.rawValue)" } ?? "-"
            let ids = "\(function.identity.vendor):\(function.identity.device)"
            shapes[Self.tree(of: i, topology), default: ""] +=
                "(\(topology.path(of: i).hops.dropFirst()) \(function.address.devfn & 7) \(ids) \(controls))"
        }
        let isForest = Set(
            topology.functions.indices.filter {
                topology.functions[$0].capabilities.express?.portType == .rootPort
            }
            .map { Self.tree(of: $0, topology) }
        )
        trees += isForest.count
        different.formUnion(shapes.filter { isForest.contains($0.key) }.values)
        withoutACS += portsWithoutACS
        open += topology.functions.indices.count {
            [.rootPort, .downstreamPort].contains(topology.functions[$0].capabilities.express?.portType)
                && topology.functions[$0].capabilities.hasACS && topology.isolation(of: $0) != .isolated
        }
        functions += topology.functions.count
        let members = IsolationGroups(topology).members.filter { !$0.isEmpty }
        groups += members.count
        sharedGroups += members.count { $0.count > 1 }
    }

    mutating func note(_ plan: Plan, _ topology: Topology) {
        verdicts[plan.verdict.line, default: 0] += 1
        guard plan.verdict.answer == .act else { return }
        plans += 1
        let stopped = plan.disturbed.compactMap { topology.position(of: $0.address) }
        treesStopped += Set(stopped.map { Self.tree(of: $0, topology) }).count
        regrouped += plan.isolation?.regroupings.count ?? 0
    }

    var description: String {
        "\(trees) trees (\(different.count) different), \(functions) functions in \(groups) groups, \(sharedGroups) of them of "
            + "several; \(withoutACS) root ports without ACS, \(open) ports with ACS that is off; \(plans) plans applied, which "
            + "stop \(treesStopped) trees and regroup \(regrouped) functions; "
            + verdicts.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: ", ")
    }
}
