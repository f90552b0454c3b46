// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
public import PCITopology

/// What must be after a plan as it is before it, beside addresses.
public enum Condition: Hashable, Sendable {
    /// The IOMMU group of this function has the same members.
    case keepGroup(FunctionAddress)
    /// Requests between these two go across the switch that they are below, as they do now.
    case keepRoute(FunctionAddress, FunctionAddress)
    /// These two are below one switch.
    case sameSwitch(FunctionAddress, FunctionAddress)

    /// The functions that it names.
    public var addresses: [FunctionAddress] {
        switch self {
        case .keepGroup(let address): [address]
        case .keepRoute(let a, let b), .sameSwitch(let a, let b): [a, b]
        }
    }

    /// The same with other addresses.
    public func mapped(_ change: (FunctionAddress) -> FunctionAddress) -> Condition {
        switch self {
        case .keepGroup(let address): .keepGroup(change(address))
        case .keepRoute(let a, let b): .keepRoute(change(a), change(b))
        case .sameSwitch(let a, let b): .sameSwitch(change(a), change(b))
        }
    }

    /// What kind it is, as documents and, after two hyphens, the command line name it.
    public var kind: String {
        switch self {
        case .keepGroup: "keep-group"
        case .keepRoute: "keep-route"
        case .sameSwitch: "same-switch"
        }
    }

    /// How the command line asks for it: `--keep-group 0000:03:00.0`.
    public var option: String { "--\(kind) " + addresses.map(\.description).joined(separator: " ") }
}

/// A condition with what there is to say of it.
public struct ConditionOutcome: Hashable, Sendable {
    /// The condition.
    public var condition: Condition
    /// What there is that is kept, or why it cannot be; a sentence.
    public var text: String

    /// Creates a record.
    public init(condition: Condition, text: String) {
        self.condition = condition
        self.text = text
    }
}

/// The conditions of a plan, held against the machine as it is and as it will be.
struct HeldConditions {
    private let topology: Topology?
    /// What holds now and must hold afterwards.
    private(set) var outcomes: [ConditionOutcome] = []
    /// The first that cannot hold, with a slug and a sentence.
    private(set) var impossible: (reason: String, sentence: String)?
    /// The first of which what was read does not say whether it holds, with a slug and a sentence.
    private(set) var untold: (reason: String, sentence: String)?
    /// Per condition that is to hold: the functions whose group, or the ports whose route, must not change.
    private var held: [(condition: Condition, functions: [FunctionAddress])] = []

    /// No conditions.
    init() { topology = nil }

    /// Conditions on functions of `topology`; those on others are left out.
    ///
    /// - Complexity: that of `IsolationGroups`.
    init(_ topology: Topology, _ conditions: [Condition]) {
        let mine = conditions.filter { $0.addresses.allSatisfy { topology.position(of: $0) != nil } }
        guard !mine.isEmpty else {
            self.topology = nil
            return
        }
        self.topology = topology
        let groups = IsolationGroups(topology)
        let wrong = Set(groups.contradicted(by: topology))
        for condition in mine {
            let numbers = condition.addresses.compactMap { topology.position(of: $0) }
            switch condition {
            case .keepGroup: holdGroup(condition, numbers[0], topology, groups, wrong)
            case .keepRoute: holdRoute(condition, numbers[0], numbers[1], topology)
            case .sameSwitch: judgeSwitch(condition, numbers[0], numbers[1], topology)
            }
        }
    }

    var isEmpty: Bool { held.isEmpty }

    /// Refuses conditions that mean nothing.
    ///
    /// - Throws: `PlanningError` for a function that is not there, one named twice, and one that is in no group.
    static func check(_ conditions: [Condition], _ topology: Topology) throws(PlanningError) {
        for condition in conditions {
            for address in condition.addresses where topology.position(of: address) == nil {
                throw PlanningError(.noSuchFunction, "no function at \(address)")
            }
            if condition.addresses.count == 2, condition.addresses[0] == condition.addresses[1] {
                throw PlanningError(.goalDoesNotApply, "expected two functions, found \(condition.addresses[0]) twice")
            }
            if case .keepGroup(let address) = condition, topology.hasGroups, topology[address]?.use.iommuGroup == nil {
                throw PlanningError(
                    .goalDoesNotApply,
                    "expected a function in an IOMMU group, \(address) is behind no IOMMU"
                )
            }
        }
    }

    // MARK: - As it is

    private mutating func holdGroup(
        _ condition: Condition,
        _ i: Int,
        _ topology: Topology,
        _ groups: IsolationGroups,
        _ wrong: Set<Int>
    ) {
        let address = topology.functions[i].address
        guard groups.isCertain[i] else {
            untold =
                untold ?? (
                    "group-not-told",
                    "who is in the IOMMU group of \(address) depends on registers that were not read"
                )
            return
        }
        guard !wrong.contains(i) else {
            untold =
                untold ?? (
                    "group-not-foretold",
                    "the IOMMU group of \(address) is not what the kernel's rule makes of it"
                )
            return
        }
        held.append((condition, [address]))
        let others = groups.others(with: i).map { topology.functions[$0].address.description }
        let what = topology.hasGroups ? "its IOMMU group" : "the IOMMU group that there would be"
        outcomes.append(
            ConditionOutcome(
                condition: condition,
                text: others.isEmpty
                    ? "\(address) is alone in \(what)"
                    : "\(address) shares \(what) with \(others.joined(separator: ", "))"
            )
        )
    }

    private mutating func holdRoute(_ condition: Condition, _ a: Int, _ b: Int, _ topology: Topology) {
        func name(_ i: Int) -> String { topology.functions[i].address.description }
        let pair = "\(name(a)) and \(name(b))"
        switch topology.peerRoute(between: a, b) {
        case .direct(let upstream, let first, let second):
            held.append((condition, [topology.functions[first].address, topology.functions[second].address]))
            outcomes.append(
                ConditionOutcome(
                    condition: condition,
                    text: "\(pair) reach each other across the switch at \(name(upstream)), by \(name(first)) and "
                        + name(second)
                )
            )
        case .redirected(_, let ports):
            let names = ports.map(name)
            impossible =
                impossible ?? (
                    "no-direct-route",
                    "\(pair) cannot reach each other directly now: ACS Request Redirect is on at "
                        + names.joined(separator: " and ") + "; pci=disable_acs_redir="
                        + names.joined(separator: ";") + " at the next boot leaves it off"
                )
        case .inside(let bridge):
            outcomes.append(
                ConditionOutcome(
                    condition: condition,
                    text: "\(pair) are both on the way behind \(name(bridge)): no switch lies between them"
                )
            )
        case .outside:
            untold =
                untold ?? (
                    "route-not-told",
                    "\(pair) are below no switch in common: whether their root complex lets them reach each other no "
                        + "register tells"
                )
        case .untold(let port):
            untold = untold ?? ("route-not-told", "the registers of \(name(port)), between \(pair), were not read")
        }
    }

    private mutating func judgeSwitch(_ condition: Condition, _ a: Int, _ b: Int, _ topology: Topology) {
        func name(_ i: Int) -> String { topology.functions[i].address.description }
        func top(_ i: Int) -> String { name(topology.ancestors(of: i).last ?? i) }
        let pair = "\(name(a)) and \(name(b))"
        switch topology.commonSwitch(of: a, b) {
        case .at(let upstream):
            outcomes.append(
                ConditionOutcome(condition: condition, text: "\(pair) are both below the switch at \(name(upstream))")
            )
        case .none:
            let place = top(a) == top(b) ? "both are below \(top(a))" : "one is at \(top(a)), the other at \(top(b))"
            impossible =
                impossible ?? (
                    "no-common-switch",
                    "\(pair) are below no switch in common (\(place)), and no address or bus number moves a card"
                )
        case .untold(let bridge):
            untold = untold ?? ("switch-not-told", "whether \(name(bridge)), above \(pair), is a switch was not read")
        }
    }

    // MARK: - As it will be

    /// What no longer holds in a search state, a sentence each.
    ///
    /// - Complexity: that of `IsolationChange`; none where there is no condition on groups or routes.
    func broken(by searchState: SearchState, _ after: Topology) -> [String] {
        guard let topology, !held.isEmpty else { return [] }
        let removed = searchState.simulation.removed
        let found = after.functions.indices.map { after.path(of: $0) }.filter { path in
            searchState.context.number(at: path).map { removed.contains($0) } ?? false
        }
        let change = IsolationChange(before: topology, after: after, found: Set(found))
        let untold = Set(change.untold)
        var result: [String] = []
        for (condition, functions) in held {
            switch condition {
            case .keepGroup(let address):
                if let one = change.regroupings.first(where: { $0.address == address }) {
                    result.append(Self.sentence(one))
                } else if let i = topology.position(of: address),
                    let now = searchState.context.number(at: topology.path(of: i)).flatMap({ searchState.address($0) }),
                    untold.contains(now)
                {
                    result.append("who would be in the IOMMU group of \(address) is not told")
                }
            case .keepRoute:
                if let one = change.reroutings.first(where: { functions.contains($0.address) }) {
                    result.append(
                        one.after == .redirected
                            ? "requests that enter by \(one.address) would go by way of the root complex"
                            : "which way requests that enter by \(one.address) would take is not told"
                    )
                }
            case .sameSwitch: continue
            }
        }
        return result
    }

    private static func sentence(_ one: IsolationChange.Regrouping) -> String {
        var parts: [String] = []
        func names(_ list: [FunctionAddress]) -> String { list.map(\.description).joined(separator: ", ") }
        if !one.joined.isEmpty { parts.append("\(names(one.joined)) would be in the IOMMU group of \(one.address)") }
        if !one.left.isEmpty { parts.append("\(names(one.left)) would leave the IOMMU group of \(one.address)") }
        return parts.joined(separator: ", ")
    }
}
