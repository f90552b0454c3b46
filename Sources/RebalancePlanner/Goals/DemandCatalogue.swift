// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What goals mean for a tree: demands, grouped so that each group can be met by itself.
struct DemandCatalogue {
    let topology: Topology

    init(_ topology: Topology) { self.topology = topology }

    /// Demands below one function of a root bus, in alternative sets: the first set that can be met is taken.
    struct Cluster {
        var choices: [[Demand]]
    }

    /// The groups of demands that `goals` make, in the order of the tree.
    ///
    /// - Throws: `PlanningError` for a function that is not there or a goal that does not apply to it.
    func clusters(for goals: [Goal]) throws(PlanningError) -> [Cluster] {
        let problems = topology.problemShortfalls
        var fixed: [Demand] = []
        var ladders: [[Demand]] = []
        for goal in goals {
            switch goal {
            case .everythingRequired: demand(problems, &fixed, &ladders)
            case .place(let address):
                let path = topology.path(of: try known(address))
                demand(problems.filter { path.isAncestorOrSelf(of: $0.path) }, &fixed, &ladders)
            case .resize(let address, let bar, let size): ladders.append(try sizes(address, bar, size))
            case .virtualFunctions(let address, let count): fixed += try roomForVFs(address, count)
            case .reserve(let address, _):
                throw PlanningError(
                    .goalDoesNotApply,
                    "expected a goal that operations on a running kernel can reach; room below \(address) is kept by "
                        + "kernel parameters only"
                )
            }
        }
        return group(fixed, ladders)
    }

    /// What a person should know beside the steps.
    func remarks(for goals: [Goal]) -> [String] {
        goals.compactMap { goal in
            guard case .virtualFunctions(let address, let count) = goal else { return nil }
            return
                "with room made, the VFs are enabled by: echo \(count) > /sys/bus/pci/devices/\(address)/sriov_numvfs"
        }
    }

    private func known(_ address: FunctionAddress) throws(PlanningError) -> Int {
        guard let i = topology.position(of: address) else {
            throw PlanningError(.noSuchFunction, "no function at \(address)")
        }
        return i
    }

    // MARK: - Goals

    /// What shortfalls ask for; a resizable BAR may step down to a smaller size when its present one fits nowhere.
    private func demand(_ shortfalls: [Shortfall], _ fixed: inout [Demand], _ ladders: inout [[Demand]]) {
        for shortfall in shortfalls {
            guard case .resource(let index) = shortfall.kind, index.isBAR,
                let i = topology.functions.indices.first(where: { topology.path(of: $0) == shortfall.path }),
                let entry = topology.functions[i].capabilities.resizableBARs.first(where: {
                    $0.bar == Int(index.rawValue)
                }), let present = entry.currentSize?.rawValue
            else {
                fixed.append(.cure(shortfall))
                continue
            }
            let smaller = entry.exponents.compactMap { ResizableBAR.size(ofExponent: $0)?.rawValue }
                .filter { $0 < present }.sorted(by: >)
            ladders.append([.cure(shortfall)] + smaller.map { .size(shortfall.path, index, $0) })
        }
    }

    /// The sizes to try for a BAR, the best first: the one asked for, or every larger one that is offered.
    private func sizes(
        _ address: FunctionAddress,
        _ bar: Int,
        _ size: ByteCount?
    ) throws(PlanningError) -> [Demand] {
        let i = try known(address)
        let function = topology.functions[i]
        guard let entry = function.capabilities.resizableBARs.first(where: { $0.bar == bar }),
            let index = ResourceIndex.bar(bar)
        else {
            throw PlanningError(.goalDoesNotApply, "expected a resizable BAR, BAR \(bar) of \(address) is none")
        }
        let offered = entry.exponents.compactMap { ResizableBAR.size(ofExponent: $0)?.rawValue }
        let path = topology.path(of: i)
        if let size {
            guard offered.contains(size.rawValue) else {
                let list = offered.map { "\(ByteCount($0))" }.joined(separator: ", ")
                throw PlanningError(
                    .goalDoesNotApply,
                    "BAR \(bar) of \(address) cannot be \(size), expected one of \(list)"
                )
            }
            return [.size(path, index, size.rawValue)]
        }
        let present = function.resource(index)?.range?.clampedSize ?? 0
        return offered.filter { $0 >= present && $0 > 0 }.sorted(by: >).map { .size(path, index, $0) }
    }

    private func roomForVFs(_ address: FunctionAddress, _ count: Int) throws(PlanningError) -> [Demand] {
        let i = try known(address)
        let function = topology.functions[i]
        guard let sriov = function.capabilities.sriov, count > 0, count <= sriov.totalVFs else {
            let total = function.capabilities.sriov.map { "\($0.totalVFs)" } ?? "no"
            throw PlanningError(.goalDoesNotApply, "\(address) offers \(total) VFs, asked for are \(count)")
        }
        let path = topology.path(of: i)
        var result: [Demand] = []
        for resource in function.resources where resource.index.isVFBAR {
            if let size = resource.size?.rawValue, size > 0 { result.append(.size(path, resource.index, size)) }
        }
        let last = sriov.routingID(ofVF: count - 1, bus: BusNumber(0), devfn: function.address.devfn) >> 8
        if last > 0, let bridge = topology.parent(of: i) {
            result.append(.buses(topology.path(of: bridge), last + 1))
        }
        return result
    }

    // MARK: - Groups

    private func root(of path: TopologyPath) -> TopologyPath {
        TopologyPath(segment: path.segment, rootBus: path.rootBus, hops: Array(path.hops.prefix(1)))
    }

    private func group(_ fixed: [Demand], _ ladders: [[Demand]]) -> [Cluster] {
        var order: [TopologyPath] = []
        var groups: [TopologyPath: (fixed: [Demand], ladders: [[Demand]])] = [:]
        func note(_ path: TopologyPath) -> TopologyPath {
            let root = root(of: path)
            if groups[root] == nil {
                groups[root] = ([], [])
                order.append(root)
            }
            return root
        }
        for demand in fixed where !(groups[root(of: demand.path)]?.fixed.contains(demand) ?? false) {
            groups[note(demand.path)]?.fixed.append(demand)
        }
        for ladder in ladders {
            guard let first = ladder.first else { continue }
            groups[note(first.path)]?.ladders.append(ladder)
        }
        return order.sorted().compactMap { root in
            guard let group = groups[root] else { return nil }
            return Cluster(choices: combinations(group.ladders).map { group.fixed + $0 })
        }
    }

    /// One step of each ladder, the greatest sum of sizes first; at most 64 combinations.
    private func combinations(_ ladders: [[Demand]]) -> [[Demand]] {
        var result: [[Demand]] = [[]]
        for ladder in ladders {
            result = result.flatMap { head in ladder.map { head + [$0] } }
            result.sort { total($0) > total($1) }
            if result.count > 64 { result.removeLast(result.count - 64) }
        }
        return result
    }

    private func total(_ demands: [Demand]) -> UInt64 {
        demands.reduce(0) { sum, demand in
            // The present size comes before any smaller one.
            guard case .size(_, _, let size) = demand else { return sum | 1 << 62 }
            let (next, overflow) = sum.addingReportingOverflow(size)
            return overflow ? .max : next
        }
    }

    // MARK: - Words

    /// What the findings say of the functions that lack something: the sentence, then its causes.
    func diagnosis(of clusters: [Cluster]) -> [DiagnosisLine] {
        var places: Set<TopologyPath> = []
        for cluster in clusters {
            for demand in cluster.choices.first ?? [] { places.insert(demand.path) }
        }
        guard !places.isEmpty else { return [] }
        var result: [DiagnosisLine] = []
        for finding in topology.findings() where finding.severity == .problem {
            guard let i = topology.position(of: finding.address), places.contains(topology.path(of: i)) else {
                continue
            }
            result.append(
                DiagnosisLine(
                    code: finding.code.rawValue,
                    address: finding.address,
                    text: "\(finding.address) \(finding.sentence)"
                )
            )
            for cause in finding.causes {
                result.append(DiagnosisLine(code: "cause", address: finding.address, text: cause))
            }
        }
        return result
    }
}
