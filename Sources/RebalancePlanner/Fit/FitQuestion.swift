// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology

/// Would a card fit at a port: now, after a plan, or never?
///
/// The card is plugged into the twin the way the slot's driver would notice it, or a rescan where nobody does; what it
/// lacks then is what it would lack on the machine. What is missing is given to the planner. Where nobody told who drives
/// the slot, the answer is the one that holds whoever does, or none.
public struct FitQuestion: Sendable {
    /// The tree as it is.
    public let topology: Topology
    /// The behaviour of the running kernel.
    public let behaviour: KernelBehaviour
    /// The port.
    public let port: FunctionAddress
    /// What a plan may touch.
    public var constraints: Constraints
    /// The problems that the tree has without the card: they are none of the card's.
    private let before: Set<ProblemPlace>

    /// Creates a question about `port`.
    /// - Complexity: one judgement of the whole tree.
    public init(
        topology: Topology,
        behaviour: KernelBehaviour,
        port: FunctionAddress,
        constraints: Constraints = Constraints()
    ) {
        self.topology = topology
        self.behaviour = behaviour
        self.port = port
        self.constraints = constraints
        before = Set(
            topology.findings(explains: false).filter { $0.severity == .problem }.map { ProblemPlace($0, topology) }
        )
    }

    /// The answer for `card`.
    ///
    /// - Parameters:
    ///   - card: the card.
    ///   - measuresLargest: whether to look for the largest size of the card's largest memory BAR, too.
    /// - Returns: the answer, with what would be missing right after plugging the card.
    /// - Throws: `FitError` when the port does not exist or is no port.
    /// - Complexity: one simulated hot-add, at most one plan; with `measuresLargest` at most a dozen hot-adds and half as many plans.
    public func answer(for card: CardProfile, measuresLargest: Bool = true) throws(FitError) -> FitAnswer {
        guard let i = topology.position(of: port) else { throw FitError("no function at \(port)") }
        guard topology.functions[i].isBridge else { throw FitError("\(port) is no port: expected a bridge") }
        let methods = topology.hotPlugMethods(behind: i)
        var answers: [FitAnswer] = []
        for method in methods {
            answers.append(try answer(card, method, measuresLargest: measuresLargest))
            // What differs cannot be told; there is no use in asking on.
            guard answers[0].verdict.isSame(as: answers[answers.count - 1].verdict) else { break }
        }
        var result = answers[0]
        result.slotDriver = topology.functions[i].use.slotDriver
        result.needsRescan = answers.contains(where: \.needsRescan)
        result.isPowerOff = topology.functions[i].capabilities.express?.isSlotPowerOff == true
        if answers.contains(where: { !$0.verdict.isSame(as: result.verdict) }) {
            result.verdict = .cannotTell
            result.unknowns = [topology.slotDriverNotTold(behind: i)]
            result.missing = []
        }
        // What holds whoever drives the slot.
        result.largestNow = answers.map { $0.largestNow?.rawValue ?? 0 }.min().flatMap { $0 > 0 ? ByteCount($0) : nil }
        result.largestAfterPlan = answers.map { $0.largestAfterPlan?.rawValue ?? 0 }.min()
            .flatMap { $0 > 0 ? ByteCount($0) : nil }
        return result
    }

    /// The answer when a card is noticed in this way.
    private func answer(
        _ card: CardProfile,
        _ method: HotPlugMethod,
        measuresLargest: Bool
    ) throws(FitError) -> FitAnswer {
        let attempt = try attempt(card, method)
        var answer = FitAnswer(
            verdict: .now,
            card: card,
            missing: attempt.missing,
            isReplaced: attempt.isReplaced
        )
        answer.needsRescan = attempt.needsRescan
        if !attempt.missing.isEmpty { answer.verdict = try verdict(after: attempt) }
        answer.unknowns = unknowns(card, answer.verdict)
        if !answer.unknowns.isEmpty {
            answer.verdict = .cannotTell
            return answer
        }
        guard measuresLargest, let size = card.largestMemoryBAR else { return answer }
        // What is below other host bridges makes no difference where they share nothing with this one.
        let near = nearby
        answer.largestNow = try largest(from: size, isFitting: attempt.missing.isEmpty) { (size) throws(FitError) in
            try near.attempt(card.resized(to: size), method, explains: false).missing.isEmpty
        }
        let isFitting =
            if case .afterPlan = answer.verdict { true } else { answer.largestNow.map { $0.rawValue >= size } ?? false }
        answer.largestAfterPlan = try largest(
            from: max(size, answer.largestNow?.rawValue ?? 0),
            isFitting: isFitting
        ) { (size) throws(FitError) in
            let attempt = try near.attempt(card.resized(to: size), method, explains: false)
            guard !attempt.missing.isEmpty else { return true }
            if case .afterPlan = try near.verdict(after: attempt, budget: 400) { return true }
            return false
        }
        return answer
    }

    /// The same question about the host bridges that share something with the port's own.
    private var nearby: FitQuestion {
        guard topology.hostBridges.count > 1, constraints.maxMoves == nil, constraints.onlyBelow == nil,
            let i = topology.position(of: port)
        else { return self }
        let groups = topology.independentHosts
        guard groups.count > 1, let group = groups.first(where: { $0.contains(topology.host(of: i)) }),
            let part = topology.part(ofHosts: group)
        else { return self }
        return FitQuestion(topology: part, behaviour: behaviour, port: port, constraints: constraints)
    }

    /// What the answer would need and nobody told. That a card fits into the windows of a port that was read needs no
    /// more than the port.
    private func unknowns(_ card: CardProfile, _ verdict: FitAnswer.Verdict) -> [Unknown] {
        guard let i = topology.position(of: port) else { return [] }
        let all = topology.unknowns(about: i, prefetchable: card.wantsPrefetchable)
        if case .now = verdict, topology.functions[i].knowledge.extent == .seen {
            let excerpt = topology.onlyDescribed == nil ? [] : topology.reservations()
            return all.filter { $0.code == .windowsNotTold && $0.addresses.contains(port) } + excerpt
        }
        return all
    }

    private struct Attempt {
        var card: CardProfile
        var method: HotPlugMethod
        var plugged: Topology
        /// Whether the kernel finds the card at all.
        var isFound: Bool
        var missing: [Finding]
        var isReplaced: Bool
        var needsRescan: Bool
    }

    /// The tree with the card in the port, as the kernel would leave it.
    ///
    /// - Parameters:
    ///   - card: the card.
    ///   - method: how the card is found.
    ///   - explains: whether what is missing is to say why.
    /// - Returns: the tree, and what is wrong with it that was not before.
    /// - Throws: `FitError` when the port does not exist or is no port.
    private func attempt(_ card: CardProfile, _ method: HotPlugMethod, explains: Bool = true) throws(FitError)
        -> Attempt
    {
        guard let i = topology.position(of: port) else { throw FitError("no function at \(port)") }
        do {
            var twin = try LinuxTwin(topology, behaviour: behaviour)
            twin.recordsEvents = false
            // A conventional bus has room for more than one card.
            let beside = topology.functions[i].freeDevice(
                among: topology.children(of: i).map { topology.functions[$0] }
            )
            let isReplaced = beside == nil && !topology.children(of: i).isEmpty
            if isReplaced { _ = try twin.perform(.unplug(port: port)) }
            let needsRescan = try twin.plug(beside.map { card.moved(toDevice: $0) } ?? card, behind: port, method)
            let plugged = try twin.topology()
            let there = isReplaced ? 0 : topology.children(of: i).count
            let isFound = plugged.position(of: port).map { plugged.children(of: $0).count > there } ?? false
            return Attempt(
                card: card,
                method: method,
                plugged: plugged,
                isFound: isFound,
                missing: (isFound ? [] : hiding(explains: explains)) + newProblems(in: plugged, explains: explains),
                isReplaced: isReplaced,
                needsRescan: needsRescan
            )
        } catch {
            throw FitError(error.description)
        }
    }

    /// Why the kernel finds nothing that is plugged behind the port.
    private func hiding(explains: Bool) -> [Finding] {
        let known = topology.findings(explains: explains).filter {
            $0.address == port && $0.severity == .problem && ($0.code == .busMissing || $0.code == .busOutsideParent)
        }
        let sentence = "the kernel finds nothing that is plugged behind it"
        return known.isEmpty ? [Finding(.busMissing, .problem, at: port, sentence)] : known
    }

    /// Problems that the tree did not have before.
    private func newProblems(in plugged: Topology, explains: Bool) -> [Finding] {
        plugged.findings(explains: explains).filter { finding in
            finding.severity == .problem && finding.code != .windowClosed
                && !before.contains(ProblemPlace(finding, plugged))
        }
    }

    /// What a plan is asked for: what is missing with the card and was not before.
    private func goals(for attempt: Attempt) -> [Goal] {
        if before.isEmpty { return [.everythingRequired] }
        let addresses = Set(attempt.missing.map(\.address))
        let outermost = addresses.filter { address in
            guard let i = attempt.plugged.position(of: address) else { return false }
            return attempt.plugged.ancestors(of: i).allSatisfy {
                !addresses.contains(attempt.plugged.functions[$0].address)
            }
        }
        return outermost.sorted().map { .place($0) }
    }

    private func verdict(after attempt: Attempt, budget: Int? = nil) throws(FitError) -> FitAnswer.Verdict {
        var constraints = constraints
        if let budget { constraints.simulationBudget = min(constraints.simulationBudget, budget) }
        do {
            let planner = Planner(topology: attempt.isFound ? attempt.plugged : topology, behaviour: behaviour)
            let plan = try planner.plan(
                goals: attempt.isFound ? goals(for: attempt) : [.place(port)],
                constraints: constraints
            )
            if !attempt.isFound, plan.verdict.answer == .act, plan.isWhole, !plan.steps.isEmpty {
                return try verdict(of: attempt, after: plan, planner, budget: budget)
            }
            switch plan.verdict.answer {
            // A plan that reaches a part places this card only in part; something is missing, so that a plan without
            // steps places nothing.
            case .act, .none: return plan.isWhole && !plan.steps.isEmpty ? .afterPlan(plan) : .never(plan)
            case .refused: return .refused(plan)
            case .impossible: return .never(plan)
            case .unknown: return .cannotTell
            }
        } catch let error as FitError {
            throw error
        } catch {
            throw FitError("\(error)")
        }
    }

    /// The verdict of a card that is found only after `plan`, which gives the port its bus numbers.
    private func verdict(
        of hidden: Attempt,
        after plan: Plan,
        _ planner: Planner,
        budget: Int?
    ) throws -> FitAnswer.Verdict {
        let then = FitQuestion(
            topology: try planner.topology(after: plan),
            behaviour: behaviour,
            port: plan.disturbed.first { $0.address == port }?.newAddress ?? port,
            constraints: constraints
        )
        let attempt = try then.attempt(hidden.card, hidden.method, explains: false)
        guard attempt.isFound else { return .never(plan) }
        if attempt.missing.isEmpty { return .afterPlan(plan) }
        let verdict = try then.verdict(after: attempt, budget: budget)
        if case .afterPlan = verdict { return .afterPlan(plan) }
        return verdict
    }

    private var largestAperture: UInt64 {
        guard let i = topology.position(of: port) else { return 0 }
        let h = topology.host(of: i)
        guard h >= 0 else { return 0 }
        return topology.hostBridges[h].apertures.filter { !$0.isIO }.map(\.range.clampedSize).max() ?? 0
    }

    /// The largest power of two from 1 MiB to the size of the largest aperture for which `fits` holds, nil when none
    /// does; what fits at one size is taken to fit at every smaller one.
    ///
    /// - Parameters:
    ///   - start: a size of which it is known whether it fits.
    ///   - isFitting: whether it does.
    ///   - fits: whether another size fits.
    /// - Returns: the size, or nil.
    /// - Throws: what `fits` throws.
    private func largest(
        from start: UInt64,
        isFitting: Bool,
        _ fits: (UInt64) throws(FitError) -> Bool
    ) throws(FitError) -> ByteCount? {
        let known = 63 - max(start, 1).leadingZeroBitCount
        // What fits although no aperture is told fits.
        let top = max(63 - max(largestAperture, 1 << 20).leadingZeroBitCount, isFitting ? known : 0)
        var low = 19
        var high = top + 1
        if isFitting { low = min(max(known, low), top) } else { high = max(min(known, high), 20) }
        // Where something else of the card is in the way no size helps.
        if low < 20, high > 20 {
            guard try fits(1 << 20) else { return nil }
            low = 20
        }
        while high - low > 1 {
            let middle = (low + high) / 2
            if try fits(1 << UInt64(middle)) { low = middle } else { high = middle }
        }
        return low < 20 ? nil : ByteCount(1 << UInt64(low))
    }
}

/// Where a problem is, independent of bus numbers.
private struct ProblemPlace: Hashable {
    var path: TopologyPath?
    var resource: ResourceIndex?
    var code: Finding.Code

    init(_ finding: Finding, _ topology: Topology) {
        path = topology.position(of: finding.address).map { topology.path(of: $0) }
        resource = finding.resource
        code = finding.code
    }
}

/// Whether a card fits, and how large it could be.
public struct FitAnswer: Sendable {
    /// The answer.
    public enum Verdict: Sendable {
        /// It fits as things are.
        case now
        /// It fits after this plan.
        case afterPlan(Plan)
        /// A way exists and safety forbids it.
        case refused(Plan)
        /// It does not fit.
        case never(Plan)
        /// What the tree tells does not suffice to say.
        case cannotTell
    }

    /// The answer.
    public var verdict: Verdict
    /// The card that was asked about.
    public var card: CardProfile
    /// What would be wrong right after plugging it.
    public var missing: [Finding]
    /// Whether another card had to be assumed removed first.
    public var isReplaced: Bool
    /// The largest size of the card's largest memory BAR that fits as things are; nil when none does, or not asked.
    public var largestNow: ByteCount?
    /// The largest size that fits after a plan; nil when none does, or not asked.
    public var largestAfterPlan: ByteCount?
    /// What the answer would need and nobody told; empty unless the verdict is `cannotTell`.
    public var unknowns: [Unknown] = []
    /// Who notices the card.
    public var slotDriver = SlotDriver.unknown
    /// Whether the kernel knows the card only after a rescan: nobody listens, or the driver drops it again.
    public var needsRescan = false
    /// Whether the slot's power is off, which a hot-plug driver would switch on and a rescan does not.
    public var isPowerOff = false
}

extension FitAnswer {
    /// The answer where nothing of the port was told.
    public init(unknown unknowns: [Unknown], card: CardProfile) {
        self.init(verdict: .cannotTell, card: card, missing: [], isReplaced: false)
        self.unknowns = unknowns
    }
}

extension FitAnswer.Verdict {
    /// Whether two answers say the same; their plans may differ.
    fileprivate func isSame(as other: Self) -> Bool {
        switch (self, other) {
        case (.now, .now), (.afterPlan, .afterPlan), (.refused, .refused), (.never, .never), (.cannotTell, .cannotTell):
            true
        default: false
        }
    }
}

/// Why a question about a port makes no sense.
public struct FitError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A lower-case sentence with what was expected and found.
    public let description: String

    init(_ description: String) { self.description = description }
}

extension CardProfile {
    /// The size of the largest memory BAR of the functions at the card's edge and below, or nil without one.
    public var largestMemoryBAR: UInt64? { functions.compactMap(\.largestMemoryBAR).max() }

    /// Whether any function of the card has a 64-bit prefetchable BAR.
    var wantsPrefetchable: Bool { functions.contains(where: \.wantsPrefetchable) }

    /// The card with its largest memory BAR made `size` bytes.
    public func resized(to size: UInt64) -> CardProfile {
        guard let largest = largestMemoryBAR else { return self }
        var copy = self
        for i in copy.functions.indices where copy.functions[i].resize(largest, to: size) { break }
        return copy
    }
}

extension CardFunction {
    fileprivate var largestMemoryBAR: UInt64? {
        let own = bars.filter { !$0.isIO }.map(\.size).max()
        let below = bridge?.children.compactMap(\.largestMemoryBAR).max()
        return [own, below].compactMap { $0 }.max()
    }

    fileprivate var wantsPrefetchable: Bool {
        bars.contains { $0.isPrefetchable } || bridge?.children.contains(where: \.wantsPrefetchable) == true
    }

    /// Changes the first memory BAR of `old` bytes; false when there is none.
    fileprivate mutating func resize(_ old: UInt64, to size: UInt64) -> Bool {
        if let i = bars.firstIndex(where: { !$0.isIO && $0.size == old }) {
            bars[i].size = size
            return true
        }
        guard var bridge else { return false }
        for i in bridge.children.indices where bridge.children[i].resize(old, to: size) {
            self.bridge = bridge
            return true
        }
        return false
    }
}
