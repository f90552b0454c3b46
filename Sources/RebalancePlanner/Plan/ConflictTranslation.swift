// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import ProofChecker
internal import ResourceSolver

/// Conflicts of the solver in the terms of certificates, which know nothing of the solver.
struct ConflictTranslation {
    let problem: Problem
    /// No new memory address above this.
    let limit: UInt64?
    /// The functions of the certificate, the devices of the problem, with what each costs.
    private let weights: [Int]

    /// - Parameters:
    ///   - problem: the problem whose conflicts are translated.
    ///   - limit: no new memory address above this.
    ///   - weights: per device of the problem what it costs to disturb it; empty where it does not matter.
    init(_ problem: Problem, limit: UInt64?, weights: [Int] = []) {
        self.problem = problem
        self.limit = limit
        self.weights = weights
    }

    /// What may never be disturbed weighs this.
    static let immovable = 1 << 40

    /// The certificate that what the conflict names does not fit; without the fingerprint of the tree.
    func certificate(of conflict: Conflict) -> Certificate? {
        certificate(.impossible, host: conflict.host, conflicts: [conflict])
    }

    /// A certificate of conflicts on one host bridge; nil where a function's name is none.
    ///
    /// - Parameters:
    ///   - claim: what is claimed.
    ///   - host: the host bridge, an index.
    ///   - conflicts: the conflicts.
    ///   - certain: devices that every plan stops.
    /// - Returns: the certificate, with the bridges and functions that the conflicts name.
    func certificate(
        _ claim: Certificate.Claim,
        host: Int,
        conflicts: [Conflict],
        certain: [Int] = []
    ) -> Certificate? {
        guard problem.hosts.indices.contains(host) else { return nil }
        var result = Certificate(claim: claim, fingerprint: 0, host: problem.hosts[host].label, highestAddress: limit)
        result.apertures = problem.hosts[host].apertures.map { Certificate.Aperture(kind: $0.kind, range: $0.range) }
        result.busNumbers = problem.hosts[host].busNumbers
        let bridges = bridgesAbove(conflicts)
        let positions = Dictionary(uniqueKeysWithValues: bridges.enumerated().map { ($0.element, $0.offset) })
        for b in bridges {
            guard let address = FunctionAddress(parsing: problem.bridges[b].label) else { return nil }
            result.bridges.append(
                Certificate.Bridge(
                    function: address,
                    parent: problem.bridges[b].parent.flatMap { positions[$0] },
                    windows: problem.bridges[b].windows.map { window in
                        Certificate.Window(
                            kind: Certificate.WindowKind(window.kind),
                            granule: window.granule,
                            limits: window.limits
                        )
                    }
                )
            )
        }
        var devices = certain
        var isListed = Set(certain)
        for member in conflicts.flatMap(\.members) {
            for d in holders(of: member.role) where isListed.insert(d).inserted { devices.append(d) }
        }
        for d in devices {
            guard let address = FunctionAddress(parsing: problem.devices[d].label) else { return nil }
            let weight = weights.indices.contains(d) ? weights[d] : 0
            result.devices.append(Certificate.Device(function: address, weight: weight))
        }
        result.certain = Array(certain.indices)
        let numbers = Dictionary(uniqueKeysWithValues: devices.enumerated().map { ($0.element, $0.offset) })
        result.conflicts = conflicts.map { conflict in
            conflict.members.compactMap { member(of: $0, positions, numbers) }
        }
        return result
    }

    /// The bridges above everything in the conflicts, and those whose windows are in them; parents first.
    private func bridgesAbove(_ conflicts: [Conflict]) -> [Int] {
        var result: Set<Int> = []
        func add(_ bridge: Int?) {
            var above = bridge
            while let b = above, result.insert(b).inserted { above = problem.bridges[b].parent }
        }
        for member in conflicts.flatMap(\.members) {
            switch member.role {
            case .request(let r), .holder(let r): add(problem.requests[r].bridge)
            case .frozenWindow(let b, _): add(b)
            case .obstacle: break
            }
        }
        func depth(_ b: Int) -> Int { problem.bridges[b].parent.map { depth($0) + 1 } ?? 0 }
        return result.sorted { (depth($0), $0) < (depth($1), $1) }
    }

    /// The devices that are disturbed, all of them, when a member changes.
    func holders(of role: Conflict.Member.Role) -> [Int] {
        switch role {
        case .request, .obstacle: []
        case .holder(let r): problem.requests[r].holders
        case .frozenWindow(let b, _): devices(below: b)
        }
    }

    private func devices(below b: Int) -> [Int] {
        problem.devices.indices.filter { d in
            var above = problem.devices[d].bridge
            while let p = above {
                if p == b { return true }
                above = problem.bridges[p].parent
            }
            return false
        }
    }

    private func member(
        of member: Conflict.Member,
        _ bridges: [Int: Int],
        _ devices: [Int: Int]
    ) -> Certificate.Member? {
        let holders = holders(of: member.role).compactMap { devices[$0] }
        switch member.role {
        case .request(let r), .holder(let r):
            let request = problem.requests[r]
            var role = Certificate.Member.Role.place(
                size: request.size,
                alignment: request.alignment,
                limits: request.limits
            )
            if case .holder = member.role {
                guard let range = request.currentRange else { return nil }
                role = .stay(range)
            }
            return Certificate.Member(
                role,
                kind: Certificate.Member.Kind(request.kind),
                label: member.label,
                resource: resource(of: request),
                bridge: request.bridge.flatMap { bridges[$0] },
                holders: holders
            )
        case .frozenWindow(let b, let w):
            let window = problem.bridges[b].windows[w]
            return Certificate.Member(
                .window(window.current),
                kind: Certificate.Member.Kind(window.kind),
                label: member.label,
                bridge: bridges[b],
                holders: holders
            )
        case .obstacle(let host, let index):
            let obstacle = problem.hosts[host].obstacles[index]
            return Certificate.Member(
                .obstacle(obstacle.range),
                kind: obstacle.space == .io ? .io : obstacle.space == .memory ? .memory : .busNumbers,
                label: member.label
            )
        }
    }

    /// The function and resource that a request stands for; nil for bus numbers and room.
    private func resource(of request: Problem.Request) -> Certificate.ResourceName? {
        guard request.kind.space != .bus, request.key < 1 << 60, let index = ResourceIndex(Int(request.key & 31)),
            let address = request.label.split(separator: " ").first.flatMap({ FunctionAddress(parsing: String($0)) })
        else { return nil }
        return Certificate.ResourceName(function: address, index: index)
    }
}

extension Certificate.WindowKind {
    fileprivate init(_ kind: Problem.WindowKind) {
        switch kind {
        case .io: self = .io
        case .memory: self = .memory
        case .prefetchable: self = .prefetchable
        case .bus: self = .bus
        }
    }
}

extension Certificate.Member.Kind {
    fileprivate init(_ kind: Problem.Kind) {
        switch kind {
        case .io: self = .io
        case .memory: self = .memory
        case .prefetchable: self = .prefetchable
        case .busHeader: self = .bus
        case .busRoom: self = .busNumbers
        }
    }

    /// The kind of what a window of this kind forwards; the words are the same.
    fileprivate init(_ kind: Problem.WindowKind) {
        self = Self(rawValue: Certificate.WindowKind(kind).rawValue) ?? .bus
    }
}
