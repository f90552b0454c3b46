// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What a running kernel would do with a card that is plugged into a port after a policy laid out the tree.
public struct HotAddForecast: Hashable, Sendable {
    /// The port's place in the tree.
    public var port: TopologyPath
    /// The card's name.
    public var card: String
    /// BARs of the card that get an address.
    public var placed: Int
    /// BARs that do not, as `0000:01:00.0 BAR 2`.
    public var failed: [String]
    /// BARs that nobody finds, because a bus on the way has no number.
    public var unreachable = 0
    /// BARs of other functions that lose their address.
    public var lost: [String]

    /// Whether the card was plugged at all: not under a policy that gave up.
    public private(set) var isTried = true

    private init(port: TopologyPath, card: String, placed: Int, failed: [String], lost: [String]) {
        self.port = port
        self.card = card
        self.placed = placed
        self.failed = failed
        self.lost = lost
    }

    /// Whether every BAR of the card gets an address and nobody else loses one.
    public var works: Bool { isTried && failed.isEmpty && unreachable == 0 && lost.isEmpty }

    /// BARs of the card that get no address, and of others that lose theirs; nil when it could not be tried.
    public var harm: Int? { isTried ? failed.count + unreachable + lost.count : nil }

    /// `fits`, `3 of 4 BARs`, `fits, 1 other loses`, `-` when it could not be tried.
    public var text: String {
        guard isTried else { return "-" }
        let count = placed + failed.count + unreachable
        let card = placed == count ? "fits" : "\(placed) of \(count) BARs"
        return lost.isEmpty ? card : "\(card), \(lost.count) lost"
    }

    /// What stands for a card under a policy that gave up.
    public static func untried(port: TopologyPath, card: String) -> HotAddForecast {
        var result = HotAddForecast(port: port, card: card, placed: 0, failed: [], lost: [])
        result.isTried = false
        return result
    }

    fileprivate init(port: TopologyPath, card: CardProfile, unreachable: Int) {
        self.init(port: port, card: card.name, placed: 0, failed: [], lost: [])
        self.unreachable = unreachable
    }
}

/// A machine under a layout, into which one card after the other is plugged, each into the machine as it was.
///
/// Host bridges that share nothing have a twin each, made when it is first needed.
public struct HotAddRehearsal {
    private let before: Topology
    private let behaviour: KernelBehaviour
    private let platform: Platform
    private var numbers: [TopologyPath: Int] = [:]
    /// Per host bridge: the group that it belongs to.
    private var groupOf: [Int]
    private let groups: [[Int]]
    private var stages: [Stage?]

    /// The part of the machine that a port belongs to.
    private struct Stage {
        var tree: Topology
        var twin: LinuxTwin
        /// The BARs that have an address, ascending.
        var held: [(function: Int32, resource: ResourceIndex)]
    }

    /// Makes ready for forecasts.
    ///
    /// - Parameters:
    ///   - outcome: the layout.
    ///   - topology: the tree that the outcome was made for.
    ///   - behaviour: the kernel that runs.
    ///   - platform: its platform.
    /// - Throws: `TopologyError` as `applied(to:)`.
    public init(
        after outcome: PolicyOutcome,
        of topology: Topology,
        behaviour: KernelBehaviour,
        platform: Platform
    ) throws(TopologyError) {
        before = try outcome.applied(to: topology)
        self.behaviour = behaviour
        self.platform = platform
        for i in before.functions.indices where !before.functions[i].isVirtual { numbers[before.path(of: i)] = i }
        groups = before.independentHosts
        groupOf = Array(repeating: 0, count: before.hostBridges.count)
        for (g, group) in groups.enumerated() { for h in group { groupOf[h] = g } }
        stages = Array(repeating: nil, count: groups.count)
    }

    /// What becomes of `card` in the port at `port` when whoever drives its slot configures it; where that is not known, the
    /// worst that may come.
    ///
    /// - Parameters:
    ///   - port: the port, hot-plug capable and empty.
    ///   - card: the card.
    /// - Returns: the forecast.
    /// - Throws: `TwinError` when the twin refuses the tree or the port.
    /// - Complexity: linear in what is below the port's group of host bridges.
    public mutating func forecast(port: TopologyPath, card: CardProfile) throws -> HotAddForecast {
        let expected = card.functions.reduce(0) { $0 + $1.deepBARCount }
        guard let i = numbers[port] else {
            // The policy has no bus number for the bus that the port sits on.
            return HotAddForecast(port: port, card: card, unreachable: expected)
        }
        let stage = try stage(of: i)
        var worst: HotAddForecast?
        for method in before.hotPlugMethods(behind: i) {
            var twin = stage.twin
            try twin.plug(card, behind: before.functions[i].address, method)
            let forecast = Self.forecast(twin, stage, port: port, card: card, expected: expected)
            if worst.map({ ($0.harm ?? 0) < (forecast.harm ?? 0) }) ?? true { worst = forecast }
        }
        return worst ?? .untried(port: port, card: card.name)
    }

    private static func forecast(
        _ twin: LinuxTwin,
        _ stage: Stage,
        port: TopologyPath,
        card: CardProfile,
        expected: Int
    ) -> HotAddForecast {
        var result = HotAddForecast(port: port, card: card, unreachable: 0)
        for bar in twin.bars(from: stage.tree.functions.count) {
            if bar.isPlaced { result.placed += 1 } else { result.failed.append("\(bar.address) \(bar.index)") }
        }
        for (function, index) in stage.held where !twin.holds(index, of: function) {
            result.lost.append("\(stage.tree.functions[Int(function)].address) \(index)")
        }
        // A bridge of the card without a bus number hides what is behind it.
        result.unreachable = max(expected - result.placed - result.failed.count, 0)
        return result
    }

    private mutating func stage(of i: Int) throws -> Stage {
        let h = before.host(of: i)
        let g = groupOf.indices.contains(h) ? groupOf[h] : 0
        if stages.indices.contains(g), let known = stages[g] { return known }
        let tree = (groups.count > 1 ? before.part(ofHosts: groups[g]) : nil) ?? before
        var twin = try LinuxTwin(tree, behaviour: behaviour, platform: platform)
        twin.recordsEvents = false
        var held: [(function: Int32, resource: ResourceIndex)] = []
        for f in tree.functions.indices {
            for resource in tree.functions[f].resources where resource.index.isBAR && resource.range != nil {
                held.append((Int32(f), resource.index))
            }
        }
        let stage = Stage(tree: tree, twin: twin, held: held)
        if stages.indices.contains(g) { stages[g] = stage }
        return stage
    }
}

extension LinuxTwin {
    /// The BARs of functions that are numbered `first` and up and that the kernel knows, in address order.
    fileprivate func bars(from first: Int) -> [(address: FunctionAddress, index: ResourceIndex, isPlaced: Bool)] {
        var result: [(address: FunctionAddress, index: ResourceIndex, isPlaced: Bool)] = []
        for device in Int32(first)..<max(state.devices.count, Int32(first)) where state.devices[device].exists {
            let address = state.address(device)
            for resource in resources(device) where resource.index.isBAR {
                result.append((address, resource.index, resource.range != nil))
            }
        }
        return result.sorted { ($0.address, $0.index.rawValue) < ($1.address, $1.index.rawValue) }
    }

    /// Whether the kernel holds a resource; true for a function that it does not know.
    fileprivate func holds(_ index: ResourceIndex, of device: Int32) -> Bool {
        !state.devices[device].exists
            || state.resources[state.facts[device].firstResource &+ Int32(index.rawValue)].parent != none
    }
}

extension CardFunction {
    /// The BARs of the function and of everything behind it.
    fileprivate var deepBARCount: Int {
        bars.count + (bridge?.children ?? []).reduce(0) { $0 + $1.deepBARCount }
    }
}
