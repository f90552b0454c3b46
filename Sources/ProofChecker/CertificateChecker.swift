// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// Checks certificates: with its own arithmetic, from what the certificate says and what the machine shows.
///
/// It shares no code with the solver and the planner, the model's values apart.
public struct CertificateChecker: Sendable {
    /// What a check came to.
    public enum Outcome: Hashable, Sendable {
        /// The claim follows from what the certificate says.
        case holds
        /// It does not, a sentence why.
        case fails(String)
        /// To say would take more than is worth it, a sentence.
        case undecided(String)
    }

    /// How many comparisons of two members may be made for all conflicts together, about a second's.
    public var budget = 10_000_000

    /// Creates a checker.
    public init() {}

    /// Checks a certificate by itself.
    ///
    /// - Parameter certificate: what is to be checked.
    /// - Returns: whether the claim follows from its conflicts.
    /// - Complexity: exponential in the number of members of a conflict that compete, at most `budget` comparisons in all.
    public func check(_ certificate: Certificate) -> Outcome {
        var left = budget
        for (n, members) in certificate.conflicts.enumerated() {
            if let flaw = flaw(in: members, of: certificate, number: n + 1, &left) { return flaw }
        }
        switch certificate.claim {
        case .impossible:
            guard certificate.conflicts.count == 1 else {
                return .fails("expected one conflict for what is impossible, found \(certificate.conflicts.count)")
            }
            return .holds
        case .least(let cost):
            let bound = leastWeight(certificate)
            guard let bound else { return .undecided("there are too many conflicts to say what they cost together") }
            guard bound >= cost else {
                return .fails("its conflicts can all be resolved at a weight of \(bound), the claim is \(cost)")
            }
            return .holds
        }
    }

    private func flaw(in members: [Certificate.Member], of certificate: Certificate, number: Int, _ left: inout Int)
        -> Outcome?
    {
        func isNeed(_ member: Certificate.Member) -> Bool {
            if case .place = member.role { true } else { false }
        }
        guard members.contains(where: isNeed) else { return .fails("conflict \(number) has nobody who needs anything") }
        do {
            if try fits(members, certificate, &left) { return .fails("the members of conflict \(number) fit together") }
            if try !fits(members.filter { !isNeed($0) }, certificate, &left) {
                return .fails(
                    "in conflict \(number) what holds ranges contradicts itself already, which proves nothing"
                )
            }
        } catch {
            return .undecided("conflict \(number) takes more than \(budget) comparisons to check")
        }
        return nil
    }

    private func fits(
        _ members: [Certificate.Member],
        _ certificate: Certificate,
        _ left: inout Int
    ) throws(SpaceSearch.TooLarge) -> Bool {
        for space in SpaceSearch.Space.allCases {
            var search = SpaceSearch(certificate, members, space, budget: left)
            defer { left = search.budget }
            if try !search.fits() { return false }
        }
        return true
    }

    // MARK: - Weight

    /// The least weight that resolves every conflict: one of its holders gives way in each, with everybody whose range that
    /// is, beside those who are stopped in any case; nil when there are too many ways.
    private func leastWeight(_ certificate: Certificate) -> Int? {
        let certain = Set(certificate.certain)
        let base = certain.reduce(0) { $0 + certificate.devices[$1].weight }
        let choices = certificate.conflicts.map { members in
            members.compactMap { member -> Set<Int>? in
                switch member.role {
                case .stay, .window: Set(member.holders).subtracting(certain)
                case .place, .obstacle: nil
                }
            }
        }
        let sizes = choices.map { $0.reduce(0) { $0 + $1.count } }
        var budget = budget
        var least = Int.max
        func resolve(_ n: Int, _ moved: Set<Int>) -> Bool {
            budget -= 1 + moved.count + (n < sizes.count ? sizes[n] : 0)
            guard budget > 0 else { return false }
            let weight = moved.reduce(0) { $0 + certificate.devices[$1].weight }
            guard weight < least else { return true }
            guard n < choices.count else {
                least = weight
                return true
            }
            if choices[n].contains(where: { $0.isSubset(of: moved) }) { return resolve(n + 1, moved) }
            return choices[n].allSatisfy { resolve(n + 1, moved.union($0)) }
        }
        guard resolve(0, []) else { return nil }
        // A conflict that nobody can resolve proves any bound.
        return least == .max ? .max : base.addingReportingOverflow(least).partialValue
    }

    // MARK: - The machine

    /// What a certificate says of a machine that the machine does not show, a sentence each; empty when they agree.
    ///
    /// - Parameters:
    ///   - certificate: what is to be checked.
    ///   - topology: the machine that it was made for.
    /// - Returns: the differences: a range that is held by nobody, a bridge with windows that are not told of, room that is
    ///   left out.
    public func differences(_ certificate: Certificate, from topology: Topology) -> [String] {
        var facts = MachineFacts(topology, certificate)
        facts.check()
        return facts.differences
    }

    /// What a certificate takes for given that no machine shows, a sentence each: wishes, weights, what must not move.
    public func assumptions(_ certificate: Certificate, _ topology: Topology?) -> [String] {
        var result: [String] = []
        var seen: Set<String> = []
        if let highest = certificate.highestAddress {
            result.append("no new memory address may end above \(hex(highest))")
        }
        for member in certificate.conflicts.joined() {
            switch member.role {
            case .place where member.resource == nil && member.kind != .bus:
                if seen.insert(member.label).inserted { result.append("\(member.label) is asked for") }
            case .stay where certificate.claim == .impossible:
                let function = member.resource.flatMap { topology?[$0.function] }
                let isShown =
                    function?.use.evidence.contains(where: \.isProtected) == true
                    || member.resource.flatMap { function?.resource($0.index)?.isFixed } == true
                if !isShown, seen.insert(member.label).inserted { result.append("\(member.label) must not move") }
            default: continue
            }
        }
        if case .least = certificate.claim {
            result.append("the weights of functions are those that the plan gave them")
            for i in certificate.certain where certificate.devices[i].weight > 0 {
                result.append(
                    "\(certificate.devices[i].function) has to be found anew in any case, by the kernel's rules"
                )
            }
        }
        return result
    }
}
