// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology
public import ResourceSolver

/// The two ideals that policies are measured against: layouts of the solver, which knows no kernel and no firmware.
public struct IdealPolicy: AllocationPolicy {
    /// Which ideal.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// The best layout from scratch: every BAR, window and bus number may move.
        case optimal
        /// The present layout with the least change: BARs and windows move only where something would not fit
        /// otherwise, and windows grow around working devices. What the movable-BARs series for Linux meant.
        case movable
    }

    /// The tree.
    public var topology: Topology
    /// Which ideal.
    public var kind: Kind
    /// How much work one search may take.
    public var effort: Effort
    /// Whether a layout from scratch is drawn together until it takes little of the apertures; else the first will do.
    var tightens = true

    /// Creates the policy.
    public init(_ topology: Topology, _ kind: Kind, effort: Effort = .standard) {
        self.topology = topology
        self.kind = kind
        self.effort = effort
    }

    /// The name.
    public var name: String { kind.rawValue }

    /// One sentence on what it does.
    public var summary: String {
        kind == .optimal
            ? "the solver's layout from scratch, free to move everything"
            : "the present layout with the least change that fits everything, windows growing around devices"
    }

    /// The rule behind a decision.
    public func rule(for decision: LayoutDecision) -> String {
        switch decision {
        case .busRange: kind == .optimal ? "numbers without gaps" : "keeps numbers"
        case .windowSize: "exactly what is below, in the order that packs best"
        case .windowPlace, .place:
            kind == .optimal ? "wherever everything fits" : "stays, unless something would not fit otherwise"
        case .omission: "leaves out only what provably does not fit beside the rest"
        }
    }

    /// Lays out the tree; when not everything fits, as much as does, and says so in the notes.
    public func allocate(_ demand: ResourceDemand) -> PolicyOutcome {
        var options = ProblemOptions()
        options.rule = .movable
        options.includesBusNumbers = true
        // Protection is a matter of plans: an ideal moves whatever it must.
        options.allowed = Set(topology.functions.map(\.address))
        var problem = Problem(topology, options: options)
        keepClearOfLegacyMemory(&problem)
        var notes: [String] = []
        do {
            var outcome = try solve(problem)
            if case .conflict = outcome {
                notes.append("not everything fits")
                outcome = try solve(relaxed(problem))
            }
            switch outcome {
            case .layout(let layout):
                let tight = kind == .optimal && tightens && notes.isEmpty ? tightened(problem, layout) : layout
                var result = fill(demand, problem, tight)
                result.notes = demand.notes + notes
                return result
            case .conflict: return halted(demand, "what is there cannot be laid out at all")
            case .undecided: return halted(demand, "the solver gave up before it had an answer")
            }
        } catch {
            return halted(demand, "\(error)")
        }
    }

    private func solve(_ problem: Problem) throws(ProblemError) -> Outcome {
        let solver = Solver(effort: effort, explainsConflicts: false)
        return kind == .optimal ? try solver.fromScratch(problem) : try solver.smallestChange(problem)
    }

    /// Nothing is put below 1 MiB, where video memory and option ROMs of old answer, although some apertures reach there.
    private func keepClearOfLegacyMemory(_ problem: inout Problem) {
        guard let legacy = AddressRange(first: 0, last: 0xf_ffff) else { return }
        for h in problem.hosts.indices {
            let isReached = problem.hosts[h].apertures.contains { $0.kind != .io && $0.range.overlaps(legacy) }
            guard isReached else { continue }
            let free = legacy.subtracting(problem.hosts[h].obstacles.filter { $0.space == .memory }.map(\.range))
            for range in free {
                problem.hosts[h].obstacles.append(
                    Problem.Obstacle(label: "legacy memory", space: .memory, range: range)
                )
            }
        }
    }

    /// A layout that takes less of the apertures: found by asking, aperture by aperture, for ever larger pieces of free
    /// space beside everything else, and keeping what takes less in all.
    private func tightened(_ problem: Problem, _ layout: Layout) -> Layout {
        var best = layout
        for h in problem.hosts.indices {
            // Where there is much to lay out an answer takes longer, and less is asked.
            let count = problem.requests.count { $0.host == h }
            let asks = UInt64(min(16, max(2, 64 / max(problem.hosts.count, 1)), max(2, 1024 / max(count, 1))))
            let apertures = problem.hosts[h].apertures.filter { $0.kind != .io && $0.range.clampedSize > Self.granule }
            let order = apertures.map { ($0, taken(problem, best, host: h, in: $0.range)) }.sorted { $0.1 > $1.1 }
            for (aperture, spent) in order where spent > Self.granule {
                let used = used(problem, best, host: h, in: aperture.range)
                guard spent > used else { continue }
                // The answers are not monotonic: the least that succeeds counts, of sixteen steps or fewer.
                let step = max((spent - used) / asks, 1)
                var trial = used
                while trial < spent {
                    if let better = layoutBeside(problem, best, aperture, host: h, spending: trial),
                        taken(problem, better, host: h) < taken(problem, best, host: h)
                    {
                        best = better
                        break
                    }
                    trial += step
                }
            }
        }
        return best
    }

    private static let granule: UInt64 = 1 << 20

    /// Work for the solver for one piece of free space that is asked for.
    private static let effortOfTrial = 400_000

    /// The layout from scratch that leaves one piece of an aperture free, all but `spent` bytes of it; other host bridges
    /// keep the layout that they have.
    private func layoutBeside(
        _ problem: Problem,
        _ layout: Layout,
        _ aperture: Problem.Aperture,
        host: Int,
        spending spent: UInt64
    ) -> Layout? {
        let size = aperture.range.clampedSize
        guard size > spent, size - spent >= Self.granule else { return nil }
        var trial = problem
        trial.requests.append(
            Problem.Request(
                key: .max,
                label: "free space",
                host: host,
                kind: aperture.kind == .prefetchable ? .prefetchable : .memory,
                size: (size - spent) / Self.granule * Self.granule,
                alignment: Self.granule,
                limits: aperture.range
            )
        )
        // Yes or no: what takes long is no.
        let effort = Effort(steps: min(effort.steps, Self.effortOfTrial))
        guard var result = try? Solver(effort: effort).fromScratch(trial, host: host, beside: layout) else {
            return nil
        }
        result.placements.removeLast()
        return result
    }

    /// The bytes of memory that BARs, ROMs and VF BARs of a host hold in an aperture.
    private func used(_ problem: Problem, _ layout: Layout, host: Int, in aperture: AddressRange) -> UInt64 {
        problem.requests.enumerated().reduce(0) { sum, entry in
            guard entry.element.host == host, entry.element.kind.space == .memory,
                let part = layout.placements[entry.offset]?.intersection(aperture)
            else { return sum }
            return sum.addingReportingOverflow(part.clampedSize).partialValue
        }
    }

    /// The bytes of memory that a host's root bus holds, in one aperture or in all.
    private func taken(_ problem: Problem, _ layout: Layout, host: Int, in aperture: AddressRange = .all) -> UInt64 {
        var sum: UInt64 = 0
        func add(_ range: AddressRange?) {
            guard let part = range?.intersection(aperture) else { return }
            sum = sum.addingReportingOverflow(part.clampedSize).partialValue
        }
        for (r, request) in problem.requests.enumerated()
        where request.host == host && request.bridge == nil && request.kind.space == .memory {
            add(layout.placements[r])
        }
        for (b, bridge) in problem.bridges.enumerated() where bridge.host == host && bridge.parent == nil {
            for (w, window) in bridge.windows.enumerated() where window.kind.space == .memory {
                add(layout.windows[b][w])
            }
        }
        return sum
    }

    /// The problem with every BAR as a wish: small ones first, since more of them fit.
    private func relaxed(_ problem: Problem) -> Problem {
        var problem = problem
        for r in problem.requests.indices where problem.requests[r].tier == .required {
            if problem.requests[r].kind == .busHeader || problem.requests[r].isFixed { continue }
            problem.requests[r].tier = .preferred(64 - problem.requests[r].size.leadingZeroBitCount)
        }
        return problem
    }

    private func halted(_ demand: ResourceDemand, _ reason: String) -> PolicyOutcome {
        var outcome = PolicyOutcome(asIn: topology, policy: name, sizes: demand)
        for f in outcome.functions.indices {
            for r in outcome.functions[f].resources.indices {
                outcome.functions[f].resources[r].range = nil
                outcome.functions[f].resources[r].reason = reason
            }
            outcome.functions[f].windows = []
            outcome.functions[f].buses = nil
        }
        outcome.halt = reason
        return outcome
    }

    /// The layout, function by function in the demand's order. Answers are bus addresses; outcomes hold CPU addresses.
    private func fill(_ demand: ResourceDemand, _ problem: Problem, _ layout: Layout) -> PolicyOutcome {
        func index(_ labels: [String]) -> [String: Int] {
            Dictionary(labels.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        }
        let requests = index(problem.requests.map(\.label))
        let bridges = index(problem.bridges.map(\.label))
        let places = Dictionary(
            demand.functions.enumerated().map { ($1.path, $0) },
            uniquingKeysWith: { first, _ in first }
        )
        var outcome = PolicyOutcome(asIn: topology, policy: name, sizes: demand)
        var buses: [TopologyPath: BusNumber] = [:]
        for f in outcome.functions.indices {
            let entry = outcome.functions[f]
            guard let place = places[entry.path] else { continue }
            let function = demand.functions[place]
            let host = demand.hosts[function.host]
            if let parent = function.parent {
                outcome.functions[f].bus = buses[demand.functions[parent].path]
            } else {
                outcome.functions[f].bus = host.busRange.first
            }
            for r in entry.resources.indices {
                let resource = entry.resources[r]
                guard let i = requests["\(entry.today) \(resource.index)"] else { continue }
                let range = layout.placements[i].map { host.cpuRange(of: $0, isIO: resource.kind == .io) }
                outcome.functions[f].resources[r].range = range
                outcome.functions[f].resources[r].reason = range == nil ? "does not fit beside the rest" : nil
            }
            guard let b = bridges[entry.today.description] else { continue }
            outcome.functions[f].windows = []
            for (w, window) in problem.bridges[b].windows.enumerated() {
                guard let range = layout.windows[b][w] else { continue }
                switch window.kind {
                case .bus:
                    let first = BusNumber(UInt8(truncatingIfNeeded: range.first))
                    let last = BusNumber(UInt8(truncatingIfNeeded: range.last))
                    outcome.functions[f].buses = BusRange(first: first, last: last)
                    buses[entry.path] = first
                case .io, .memory, .prefetchable:
                    let index: ResourceIndex =
                        window.kind == .io ? .ioWindow : window.kind == .memory ? .memoryWindow : .prefetchableWindow
                    outcome.functions[f].windows.append(
                        WindowOutcome(index: index, range: host.cpuRange(of: range, isIO: window.kind == .io))
                    )
                }
            }
        }
        return outcome
    }
}
