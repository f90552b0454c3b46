// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Where two policies part: the first decision that they take differently, the rules behind it, and what is asked for
/// there.
public struct PolicyParting: Hashable, Sendable {
    /// The first policy's name.
    public var firstPolicy: String
    /// The rule by which the first policy decides.
    public var firstRule: String
    /// The second policy's name.
    public var secondPolicy: String
    /// The rule by which the second policy decides.
    public var secondRule: String
    /// The first difference.
    public var difference: PolicyDifference
    /// What the function is: `root port, hot-plug`, `endpoint`.
    public var role: String
    /// What is asked for at the function, or below a bridge: `3 requests, 17M, largest 16M`.
    public var need: String
    /// The switches in which two kernels differ whose rules read the same; empty for all other pairs.
    public var switches: [String] = []
    /// Everything that differs, in the order of decisions; the first is `difference`.
    public var all: [PolicyDifference]

    /// Looks for the parting; nil when the outcomes agree in everything.
    ///
    /// - Parameters:
    ///   - first: a policy and its outcome.
    ///   - second: another's.
    ///   - demand: what both laid out.
    ///   - matters: which differences count for the first; where none does, all of them.
    public init?(
        _ first: (policy: any AllocationPolicy, outcome: PolicyOutcome),
        _ second: (policy: any AllocationPolicy, outcome: PolicyOutcome),
        _ demand: ResourceDemand,
        where matters: (PolicyDifference) -> Bool = { _ in true }
    ) {
        all = PolicyDifference.all(first.outcome, second.outcome)
        guard let difference = all.first(where: matters) ?? all.first else { return nil }
        self.difference = difference
        firstPolicy = first.outcome.policy
        secondPolicy = second.outcome.policy
        firstRule = first.policy.rule(for: difference.decision)
        secondRule = second.policy.rule(for: difference.decision)
        if firstRule == secondRule, let a = first.policy as? LinuxBootPolicy, let b = second.policy as? LinuxBootPolicy
        {
            switches = a.behaviour.switches(differingFrom: b.behaviour)
        }
        guard let place = demand.position(of: difference.path) else {
            role = "function"
            need = "nothing known"
            return
        }
        let function = demand.functions[place]
        role =
            function.bridge.map { $0.isHotPlug ? "hot-plug port" : "bridge" }
            ?? (function.requests.isEmpty ? "function without BARs" : "endpoint")
        need = Self.need(demand, place, difference)
    }

    /// What the window's or the function's own requests sum up to.
    private static func need(_ demand: ResourceDemand, _ place: Int, _ difference: PolicyDifference) -> String {
        if difference.decision == .busRange {
            let bridges = demand.subtree(of: place).filter { demand.functions[$0].bridge != nil }.count - 1
            return bridges == 0 ? "no bridge is below it" : "\(bridges) bridges are below it"
        }
        let isWindow = difference.decision == .windowSize || difference.decision == .windowPlace
        let places = isWindow ? Array(demand.subtree(of: place).dropFirst()) : [place]
        var requests = places.flatMap { demand.functions[$0].requests }.filter(\.isRequired)
        if isWindow {
            let isIO = difference.what.hasPrefix("io")
            requests = requests.filter { ($0.kind == .io) == isIO }
        }
        guard !requests.isEmpty else { return isWindow ? "nothing is asked for below it" : "nothing is asked for" }
        let total = requests.reduce(UInt64(0)) { $0.addingReportingOverflow($1.size).partialValue }
        let largest = requests.map(\.size).max() ?? 0
        let space = isWindow ? (difference.what.hasPrefix("io") ? " of I/O" : " of memory") : ""
        let noun = requests.count == 1 ? "request" : "requests"
        return "\(requests.count) \(noun)\(space), \(ByteCount(total)) in all, the largest \(ByteCount(largest))"
    }

    /// How many differences there are of each decision, in order, without those that have none.
    public var counts: [(decision: LayoutDecision, count: Int)] {
        LayoutDecision.allCases.compactMap { decision in
            let count = all.count { $0.decision == decision }
            return count == 0 ? nil : (decision, count)
        }
    }
}
