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

    /// Plugs `card` into the port at `port` and lets whoever drives its slot configure it; where that is not known, the
    /// worst that may come is the forecast.
    ///
    /// - Parameters:
    ///   - outcome: the layout before.
    ///   - topology: the tree that the outcome was made for.
    ///   - port: the port, hot-plug capable and empty.
    ///   - card: the card.
    ///   - behaviour: the kernel that runs.
    ///   - platform: its platform.
    /// - Throws: `TwinError` when the twin refuses the tree or the port, `TopologyError` as `applied(to:)`.
    public init(
        after outcome: PolicyOutcome,
        of topology: Topology,
        port: TopologyPath,
        card: CardProfile,
        behaviour: KernelBehaviour,
        platform: Platform
    ) throws {
        let expected = card.functions.reduce(0) { $0 + $1.deepBARCount }
        let before = try outcome.applied(to: topology)
        guard let i = before.functions.indices.first(where: { before.path(of: $0) == port }) else {
            // The policy has no bus number for the bus that the port sits on.
            self.init(port: port, card: card.name, placed: 0, failed: [], lost: [])
            unreachable = expected
            return
        }
        let twin = try LinuxTwin(before, behaviour: behaviour, platform: platform)
        var worst: HotAddForecast?
        for method in before.hotPlugMethods(behind: i) {
            var plugged = twin
            try plugged.plug(card, behind: before.functions[i].address, method)
            let forecast = HotAddForecast(from: before, to: try plugged.topology(), port, card, expected)
            if worst.map({ ($0.harm ?? 0) < (forecast.harm ?? 0) }) ?? true { worst = forecast }
        }
        self = worst ?? .untried(port: port, card: card.name)
    }

    private init(
        from before: Topology,
        to after: Topology,
        _ port: TopologyPath,
        _ card: CardProfile,
        _ expected: Int
    ) {
        self.init(port: port, card: card.name, placed: 0, failed: [], lost: [])
        for f in after.functions.indices {
            let function = after.functions[f]
            let path = after.path(of: f)
            if path != port, port.isAncestorOrSelf(of: path) {
                for resource in function.resources where resource.index.isBAR {
                    if resource.range != nil {
                        placed += 1
                    } else {
                        failed.append("\(function.address) \(resource.index)")
                    }
                }
            } else if let old = before[function.address] {
                for resource in old.resources where resource.index.isBAR && resource.range != nil {
                    if function.resource(resource.index)?.range == nil {
                        lost.append("\(function.address) \(resource.index)")
                    }
                }
            }
        }
        // A bridge of the card without a bus number hides what is behind it.
        unreachable = max(expected - placed - failed.count, 0)
    }
}

extension CardFunction {
    /// The BARs of the function and of everything behind it.
    fileprivate var deepBARCount: Int {
        bars.count + (bridge?.children ?? []).reduce(0) { $0 + $1.deepBARCount }
    }
}
