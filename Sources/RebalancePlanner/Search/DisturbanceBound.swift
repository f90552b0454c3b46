// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import ProofChecker
internal import ResourceSolver

/// What any plan must disturb at least: by what a rescan never does, and by what the solver says of space and numbers.
///
/// The solver's rule `stock` is what removals and rescans can do: who sits below a window that changes is disturbed. The
/// resize files are the exception (windows above a lone function change without a removal), so that demands for sizes
/// are bounded by the rule `movable`.
struct DisturbanceBound {
    let context: SearchContext
    let wanted: [Demand]
    /// Functions that every plan stops.
    let certain: FunctionSet
    /// The weight of those, without what is disturbed already.
    let certainWeight: Int
    private let already: FunctionSet

    /// The solver's answer about a search state.
    struct Answer {
        /// No plan weighs less.
        var bound: Int
        /// What the solver's layout disturbs; empty without a layout.
        var suggested = FunctionSet()
        /// Why there is none, proved.
        var conflict: Conflict?
        /// Puts the conflict into the terms of certificates; nil unless it is to be explained.
        var translation: ConflictTranslation?
        /// The conflict for another program to check.
        var certificate: Certificate? { conflict.flatMap { translation?.certificate(of: $0) } }
        /// Whether the solver ended with neither.
        var isUndecided = false
    }

    /// Weights are multiplied by this, so that bridges, which cost nothing, can have the solver's least weight of 1.
    static let scale = 1 << 12

    init(_ searchState: SearchState, wanted: [Demand], already: FunctionSet) {
        context = searchState.context
        self.wanted = wanted
        self.already = already
        var certain = FunctionSet()
        func add(_ i: Int) {
            for member in [i] + searchState.context.companions[i] {
                for below in searchState.context.subtree[member] { certain.insert(below) }
            }
        }
        let summary = searchState.summary
        for demand in wanted where !demand.isMet(in: summary, searchState.context) {
            switch demand {
            case .address(let i, let index):
                // `reset_resource` leaves nothing to retry before the function is found anew.
                if index.isBAR, summary.isKnown[i], summary.wiped[i] >> UInt32(index.rawValue) & 1 == 1 { add(i) }
            case .size(let i, _, _): add(i)
            // What has an address keeps it until it is removed.
            case .located(let i, let index, _): if summary.size(i, index) > 0 { add(i) }
            case .buses(let i, _), .freeBuses(let i, _): add(i)
            case .bus, .window, .room, .stretch, .cleared: continue
            }
        }
        self.certain = certain
        certainWeight =
            certain.members.reduce(0) { sum, i in
                already.contains(i) ? sum : sum + searchState.context.weight[i]
            } + already.members.reduce(0) { $0 + searchState.context.weight[$1] }
    }

    /// Asks the solver about the host bridge that the demands are below.
    ///
    /// - Parameters:
    ///   - topology: the tree as the search state shows it.
    ///   - weights: what is protected.
    ///   - limit: no address above this for what gets a new one.
    ///   - effort: how much work the solver may do.
    ///   - explains: whether a conflict is to name who is in the way; to find that out costs many searches.
    /// - Returns: the bound with the layout's choice of functions, or why no layout exists.
    func answer(
        _ topology: Topology,
        protecting weights: DisturbanceWeights,
        limit: UInt64?,
        effort: Effort,
        explains: Bool = false
    ) -> Answer {
        let problem = problem(topology, protecting: weights, limit: limit)
        let solver = Solver(effort: effort, explainsConflicts: explains)
        guard let outcome = try? solver.smallestChange(problem) else {
            return Answer(bound: certainWeight, isUndecided: true)
        }
        switch outcome {
        case .layout(let layout):
            let proved: Int
            switch layout.proof {
            case .optimal: proved = layout.cost
            case .within(let bound): proved = bound
            }
            return Answer(
                bound: certainWeight + max(0, proved) / Self.scale,
                suggested: FunctionSet(layout.disturbed.compactMap { number(ofDevice: $0, topology) })
            )
        case .conflict(let conflict):
            // Apertures that nobody could read prove nothing.
            let hosts = context.topology.hostBridges
            let isKnown = hosts.indices.contains(conflict.host) && hosts[conflict.host].source != .unknown
            var answer = Answer(bound: certainWeight, conflict: isKnown ? conflict : nil, isUndecided: !isKnown)
            // Certificates know no place that one BAR alone must have.
            if explains, isKnown, !asksForPlaces { answer.translation = ConflictTranslation(problem, limit: limit) }
            return answer
        case .undecided: return Answer(bound: certainWeight, isUndecided: true)
        }
    }

    /// Whether a BAR must lie at one address.
    var asksForPlaces: Bool { wanted.contains { if case .located = $0 { true } else { false } } }

    func number(ofDevice device: Int, _ topology: Topology) -> Int? {
        guard topology.functions.indices.contains(device) else { return nil }
        return context.number(at: topology.path(of: device))
    }

    /// The problem: what is placed stays where it can, and of what is not placed only what is wanted is asked for.
    func problem(_ topology: Topology, protecting weights: DisturbanceWeights, limit: UInt64?) -> Problem {
        var options = ProblemOptions()
        let wantsSizes = wanted.contains { if case .size = $0 { true } else { false } }
        options.rule = wantsSizes ? .movable : .stock
        options.includesBusNumbers = wanted.contains(where: \.wantsBuses)
        var asked: Set<UInt64> = []
        var places: [UInt64: UInt64] = [:]
        var hosts: Set<Int> = []
        for demand in wanted {
            let i = demand.function
            guard let position = position(of: i, topology) else { continue }
            hosts.insert(topology.host(of: position))
            switch demand {
            case .size(_, let index, let size):
                options.sizes[topology.functions[position].address, default: [:]][index] = size
                asked.insert(key(position, index))
            case .address(_, let index): asked.insert(key(position, index))
            case .located(_, let index, let start):
                asked.insert(key(position, index))
                places[key(position, index)] = start
            default: continue
            }
        }
        var problem = Problem(topology, options: options)
        for device in problem.devices.indices {
            guard let i = number(ofDevice: device, topology) else { continue }
            if certain.contains(i) || already.contains(i) {
                problem.devices[device].weight = 1
            } else if weights.protection(i) != nil {
                problem.devices[device].weight = nil
            } else {
                problem.devices[device].weight = max(1, min(context.weight[i], 1 << 19) * Self.scale)
            }
        }
        problem.requests = problem.requests.compactMap { request in
            guard hosts.contains(request.host) else { return nil }
            if request.kind.space == .bus { return busRequest(request, problem, topology) }
            guard let holder = request.holders.first else { return request }
            let index = Int(request.key & 31)
            guard let name = ResourceIndex(index) else { return nil }
            let isAsked = asked.contains(key(holder, name))
            // A ROM that loses its place is no harm.
            guard isAsked || (request.current != nil && !name.isROM) else { return nil }
            var request = request
            request.tier = .required
            // A bridge whose own BAR moves is removed, and everything below goes with it.
            if topology.functions.indices.contains(holder), topology.functions[holder].isBridge {
                request.holders = topology.subtree(of: holder).filter { !topology.functions[$0].isVirtual }
            }
            if let start = places[key(holder, name)] { confine(&request, to: start, topology) }
            if request.current == nil || isAsked, let limit, request.kind != .io,
                let cut = AddressRange(first: 0, last: limit), let limits = request.limits.intersection(cut)
            {
                request.limits = limits
            }
            return request
        }
        addRoom(to: &problem, topology)
        return problem
    }

    /// Leaves a request no address but the one that begins at CPU address `start`.
    private func confine(_ request: inout Problem.Request, to start: UInt64, _ topology: Topology) {
        guard let range = AddressRange(first: start, size: request.size) else { return }
        let host = topology.hostBridges[request.host]
        let offset = host.apertures.first { $0.isIO == (request.kind == .io) && $0.range.contains(range) }?.offset ?? 0
        guard let place = range.shifted(by: -offset), let limits = request.limits.intersection(place) else { return }
        request.limits = limits
    }

    private func position(of i: Int, _ topology: Topology) -> Int? {
        let path = context.topology.path(of: i)
        let address = context.address(i)
        // Most functions keep their addresses.
        if let position = topology.position(of: address), topology.path(of: position) == path { return position }
        return topology.functions.indices.first { topology.path(of: $0) == path }
    }

    private func key(_ position: Int, _ index: ResourceIndex) -> UInt64 {
        UInt64(position) << 5 | UInt64(index.rawValue)
    }

    /// A bridge's own bus number, with as many more as are wanted; a bridge without bus that nobody asks for gets none.
    private func busRequest(_ request: Problem.Request, _ problem: Problem, _ topology: Topology) -> Problem.Request? {
        guard let b = request.bridge, let device = problem.bridges[b].device, let i = number(ofDevice: device, topology)
        else { return request }
        var request = request
        var isAsked = request.current != nil
        for demand in wanted where demand.function == i {
            switch demand {
            case .bus: isAsked = true
            case .buses(_, let count):
                isAsked = true
                request.size = UInt64(max(count, 1))
            default: continue
            }
        }
        return isAsked ? request : nil
    }

    /// Room that ports are to keep, in the pieces that `FreeRoom` asks for: an aligned block, and what is left anywhere.
    private func addRoom(to problem: inout Problem, _ topology: Topology) {
        for (n, demand) in wanted.enumerated() {
            guard let position = position(of: demand.function, topology),
                let b = problem.bridges.firstIndex(where: { $0.device == position })
            else { continue }
            func add(_ part: Int, _ kind: Problem.Kind, _ size: UInt64, alignment: UInt64) {
                guard size > 0 else { return }
                problem.requests.append(
                    Problem.Request(
                        key: 1 << 60 | UInt64(2 * n + part),
                        label: "room below \(topology.functions[position].address)",
                        host: problem.bridges[b].host,
                        bridge: b,
                        kind: kind,
                        size: size,
                        alignment: alignment
                    )
                )
            }
            switch demand {
            case .room(_, let kind, let bytes) where bytes > 0:
                let request: Problem.Kind = kind == .io ? .io : kind == .memory ? .memory : .prefetchable
                let granule: UInt64 = kind == .io ? 0x1000 : 0x10_0000
                let block = FreeRoom.block(of: bytes)
                add(0, request, block, alignment: block)
                add(1, request, (bytes - block) & ~(granule - 1), alignment: granule)
            case .freeBuses(_, let count) where count > 0: add(0, .busRoom, UInt64(count), alignment: 1)
            default: continue
            }
        }
    }
}
