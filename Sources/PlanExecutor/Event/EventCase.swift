// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology
public import RebalancePlanner

/// Things that are missing and are planned for together, because the same rules hold for them.
public struct EventCase: Hashable, Sendable {
    /// The port that bounds what an untrusted device may cause; nil for trusted devices.
    public var boundary: FunctionAddress?
    /// What happens with the plan.
    public var mode: EventPolicy.Mode
    /// What is missing, in the order of the tree; nothing for a case of reserves.
    public var missing: [Shortfall]
    /// The functions that miss something, or the ports whose reserves are meant, ascending.
    public var functions: [FunctionAddress]
    /// Names the case from one boot to the next: places and ids of the functions, and what they miss.
    public var key: String
}

/// A topology under a policy: who is trusted, what is missing, what may be done about it.
public struct EventJudgement {
    /// The tree.
    public let topology: Topology
    /// The policy.
    public let policy: EventPolicy
    /// Only what is missing here and below counts; everything when nil.
    public let only: PortName?
    private var rules: [LaidRule] = []

    /// A rule at a port of the tree.
    private struct LaidRule {
        var path: TopologyPath
        var rule: PortRule
        /// Whether the rule may only forbid: its name could be claimed by a device that nobody trusts, or means several
        /// ports. What such a rule allows is not heeded.
        var onlyForbids: Bool
    }

    /// Lays `policy` over `topology`.
    /// - Complexity: O(rules x functions).
    public init(_ topology: Topology, _ policy: EventPolicy, only: PortName? = nil) {
        self.topology = topology
        self.policy = policy
        self.only = only
        // Places first: below which ports nobody is trusted decides what the other names are worth.
        for rule in policy.ports where !rule.port.canBeClaimed(in: topology) { lay(rule) }
        let doubtful = policy.ports.filter { $0.port.canBeClaimed(in: topology) }.map { rule in
            (rule, isDoubtful(rule.port))
        }
        for (rule, isDoubtful) in doubtful { lay(rule, onlyForbids: isDoubtful) }
    }

    private mutating func lay(_ rule: PortRule, onlyForbids: Bool = false) {
        for i in rule.port.positions(in: topology) {
            rules.append(LaidRule(path: topology.path(of: i), rule: rule, onlyForbids: onlyForbids))
        }
    }

    /// Whether what `name` means could be something else than the administrator meant: several ports say that they are it,
    /// or a port that is itself untrusted, or lies below one, does.
    private func isDoubtful(_ name: PortName) -> Bool {
        guard name.canBeClaimed(in: topology) else { return false }
        if !name.isCertain(in: topology) { return true }
        return name.positions(in: topology).contains { i in
            boundary(of: i) != nil || topology.ancestors(of: i).contains(where: isMarked)
        }
    }

    /// The names whose permissions are not heeded here, as a policy writes them.
    public var doubtfulNames: [PortName] {
        (policy.ports.map(\.port) + policy.allowDisturb).filter(isDoubtful)
    }

    /// The rules that hold for the function at `path`, outermost port first.
    private func rules(over path: TopologyPath) -> [LaidRule] {
        rules.filter { $0.path.isAncestorOrSelf(of: path) }.sorted { $0.path.hops.count < $1.path.hops.count }
    }

    /// The mode for what is missing at `path`.
    public func mode(at path: TopologyPath) -> EventPolicy.Mode {
        guard policy.mode != .off else { return .off }
        var mode = policy.mode
        for one in rules(over: path) {
            guard let wanted = one.rule.mode else { continue }
            mode = one.onlyForbids ? wanted.weaker(mode) : wanted
        }
        return mode
    }

    /// The port that bounds what the function at index `i` may cause, or nil when it is trusted.
    ///
    /// Untrusted is what lies below a port whose nearest rule says so; without a rule, what the kernel marks as
    /// untrusted or as removable. The boundary is the outermost port below which everything is untrusted: the port above
    /// a marked device where all that sits below that port is marked, else the device itself. A rule whose name could be
    /// claimed by somebody else takes trust away and gives none.
    public func boundary(of i: Int) -> Int? {
        var boundary: Int?
        var isRuled = false
        for j in topology.ancestors(of: i).reversed() + [i] {
            let path = topology.path(of: j)
            let ruled = rules.filter { $0.path == path && $0.rule.isTrusted != nil }
            let forbids = ruled.contains { $0.onlyForbids && $0.rule.isTrusted == false }
            if let isTrusted = forbids ? false : ruled.last(where: { !$0.onlyForbids })?.rule.isTrusted {
                isRuled = true
                boundary = isTrusted ? nil : boundary ?? j
            } else if !isRuled, boundary == nil {
                guard isMarked(j) else { continue }
                boundary =
                    topology.parent(of: j).flatMap { topology.children(of: $0).allSatisfy(isMarked) ? $0 : nil } ?? j
            }
        }
        return boundary
    }

    /// Whether the kernel calls the function at index `i` untrusted or removable.
    private func isMarked(_ i: Int) -> Bool {
        let use = topology.functions[i].use
        return use.isUntrusted == true || use.removable == "removable"
    }

    /// Everything that is missing and is a problem, in the order of the tree.
    ///
    /// An I/O BAR that its driver never uses is no problem, as `Topology.harmlessResources` judges.
    public func missing() -> [Shortfall] {
        let problems = topology.problemShortfalls
        guard let only else { return problems }
        let places = only.positions(in: topology).map { topology.path(of: $0) }
        return problems.filter { shortfall in places.contains { $0.isAncestorOrSelf(of: shortfall.path) } }
    }

    /// What is missing, grouped by the rules that hold: trusted devices first, each untrusted port by itself.
    public func cases() -> [EventCase] {
        let places = Dictionary(
            topology.functions.indices.map { (topology.path(of: $0), $0) },
            uniquingKeysWith: { first, _ in first }
        )
        var result: [EventCase] = []
        for shortfall in missing() {
            guard let i = places[shortfall.path] else { continue }
            let mode = mode(at: shortfall.path)
            guard mode != .off else { continue }
            let boundary = boundary(of: i).map { topology.functions[$0].address }
            let address = topology.functions[i].address
            if let k = result.firstIndex(where: { $0.boundary == boundary && $0.mode == mode }) {
                result[k].missing.append(shortfall)
                if !result[k].functions.contains(address) { result[k].functions.append(address) }
            } else {
                result.append(
                    EventCase(boundary: boundary, mode: mode, missing: [shortfall], functions: [address], key: "")
                )
            }
        }
        for k in result.indices {
            result[k].functions.sort()
            result[k].key = key(of: result[k], places)
        }
        return result.filter { $0.boundary == nil } + result.filter { $0.boundary != nil }
    }

    private func key(of one: EventCase, _ places: [TopologyPath: Int]) -> String {
        var words: [String] = []
        for shortfall in one.missing {
            guard let i = places[shortfall.path] else { continue }
            let identity = topology.functions[i].identity
            let ids = UInt64(identity.vendor) << 16 | UInt64(identity.device)
            words.append("\(shortfall.path)=\(hex(ids, width: 8))")
        }
        var seen: Set<String> = []
        let all = words.filter { seen.insert($0).inserted }.joined(separator: " ")
        guard all.utf8.count > 400 else { return all }
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        // FNV-1a is defined modulo 2^64.
        for byte in all.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return "\(words[0]) and more, \(hex(hash))"
    }

    /// What is asked of the planner for `one`: a place for every function that misses something, room for every reserve.
    public func goals(for one: EventCase) -> [Goal] {
        guard one.missing.isEmpty else { return one.functions.map(Goal.place) }
        return reserves.filter { one.functions.contains($0.port) }.map { Goal.reserve($0.port, $0.room) }
    }

    /// The reserves of all ports, those that are to be restored first, then those that are only told; a port that is off
    /// has none.
    public func reserveCases() -> [EventCase] {
        [EventPolicy.Mode.apply, .report].compactMap { mode in
            let ports = reserves.map(\.port).filter { port in
                topology.position(of: port).map { self.mode(at: topology.path(of: $0)) == mode } ?? false
            }
            guard !ports.isEmpty else { return nil }
            let places = ports.compactMap { port in topology.position(of: port).map { "\(topology.path(of: $0))" } }
            return EventCase(
                boundary: nil,
                mode: mode,
                missing: [],
                functions: ports.sorted(),
                key: "reserves \(places.joined(separator: " "))"
            )
        }
    }

    /// What the planner may do for `one`.
    public func constraints(for one: EventCase) -> Constraints { constraints(below: one.boundary) }

    /// What the planner may do below a port, or anywhere.
    func constraints(below boundary: FunctionAddress?) -> Constraints {
        Constraints(
            keep: Set(addresses(policy.protect)),
            allowDisturb: Set(addresses(policy.allowDisturb.filter { !isDoubtful($0) })),
            onlyBelow: boundary,
            maxMoves: policy.maxDisturbed
        )
    }

    private func addresses(_ names: [PortName]) -> [FunctionAddress] {
        names.flatMap { $0.positions(in: topology) }.flatMap { topology.subtree(of: $0) }
            .map { topology.functions[$0].address }
    }

    /// What `after` would give untrusted ports beyond their share, a sentence each; empty when it keeps to it.
    ///
    /// The share is what the nearest rule grants, or what the port holds already where that is more.
    public func excesses(in after: TreeState) -> [String] {
        var result: [String] = []
        let before = Dictionary(
            TreeState(topology).functions.map { ($0.path, $0) },
            uniquingKeysWith: { first, _ in first }
        )
        for i in Set(topology.functions.indices.compactMap(boundary(of:))).sorted() {
            let path = topology.path(of: i)
            guard let old = before[path], let new = after.functions.first(where: { $0.path == path }) else { continue }
            let share = rules(over: path).last { $0.rule.share != nil && !$0.onlyForbids }?.rule.share ?? Headroom()
            let windows: [(ResourceIndex, String, ByteCount)] = [
                (.ioWindow, "I/O", share.io), (.memoryWindow, "memory", share.memory),
                (.prefetchableWindow, "prefetchable", share.prefetchable),
            ]
            for (index, name, granted) in windows {
                let held = Self.size(of: old, index)
                let planned = Self.size(of: new, index)
                guard planned > max(held, granted) else { continue }
                result.append(
                    "the untrusted port \(old.address) would hold \(planned) of \(name) space, its share is "
                        + "\(max(held, granted))"
                )
            }
            let held = old.busRange?.count ?? 0
            let planned = new.busRange?.count ?? 0
            if planned > max(held, share.buses) {
                result.append(
                    "the untrusted port \(old.address) would hold \(planned) buses, its share is "
                        + "\(max(held, share.buses))"
                )
            }
        }
        return result
    }

    /// A window that sysfs shows with a size and without an address counts as nothing.
    private static func size(of state: FunctionState, _ index: ResourceIndex) -> ByteCount {
        state.lines[index].range(of: index).map { ByteCount($0.clampedSize) } ?? .zero
    }

    /// The rules that name nothing in this tree, as a policy writes them.
    public var unmatchedNames: [PortName] {
        (policy.ports.map(\.port) + policy.protect + policy.allowDisturb).filter { $0.positions(in: topology).isEmpty }
    }

    /// The ports whose reserve is to be kept, with what is to be kept free.
    public var reserves: [(port: FunctionAddress, room: Headroom)] {
        rules.compactMap { one in
            guard let room = one.rule.reserve, !one.onlyForbids,
                let i = topology.functions.indices.first(where: { topology.path(of: $0) == one.path })
            else { return nil }
            return (topology.functions[i].address, room)
        }
    }
}

extension EventPolicy.Mode {
    /// The one of two modes that does less.
    func weaker(_ other: Self) -> Self {
        if self == .off || other == .off { return .off }
        return self == .report || other == .report ? .report : .apply
    }
}
