// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// What goals mean for a tree: demands, grouped so that each group can be met by itself.
struct DemandCatalogue {
    let context: SearchContext
    let findings: [Finding]
    let tiers: OptionalTiers
    private var topology: Topology { context.topology }

    init(_ context: SearchContext, findings: [Finding], tiers: OptionalTiers) {
        self.context = context
        self.findings = findings
        self.tiers = tiers
    }

    /// Demands below one function of a root bus, in alternative sets: the first set that can be met is taken.
    struct Cluster {
        var choices: [[Demand]]
        /// Demands that are met where they can be, and given up otherwise.
        var wishes: [Demand] = []
        /// The same by root port, where sizes below several are chosen together: taken when no choice of all can be had.
        var apart: [Cluster] = []
    }

    /// The groups of demands that `goals` make, in the order of the tree.
    ///
    /// - Throws: `PlanningError` for a function that is not there or a goal that does not apply to it.
    func clusters(for goals: [Goal]) throws(PlanningError) -> [Cluster] {
        var collected = Collection()
        for goal in goals {
            switch goal {
            case .everythingRequired: collect(problems { _ in true }, &collected)
            case .place(let address):
                let i = try known(address)
                let inside = FunctionSet(context.subtree[i])
                collect(problems { inside.contains($0) }, &collected)
            case .resize(let address, let bar, let size):
                collected.ladders.append(try sizes(address, bar, size))
                collected.resized.append(collected.ladders.count - 1)
            case .located(let address, let bar, let start): collected.fixed.append(try place(address, bar, start))
            // How much may be had is measured, not asked for.
            case .compact: continue
            case .virtualFunctions(let address, let count): collected.fixed += try roomForVFs(address, count)
            case .reserve(let address, let room): collected.fixed += try reserve(address, room)
            case .restore(let layout): RestoreDemands(context, layout).collect(&collected.fixed, &collected.wishes)
            }
        }
        return group(collected)
    }

    private struct Collection {
        var fixed: [Demand] = []
        var ladders: [[Demand]] = []
        /// The ladders that were asked for by name: what one takes, the others of the host bridge lack.
        var resized: [Int] = []
        var wishes: [Demand] = []
    }

    /// What a person should know beside the steps.
    func remarks(for goals: [Goal]) -> [String] {
        var result: [String] = []
        for goal in goals {
            switch goal {
            case .virtualFunctions(let address, let count):
                result.append(
                    "with room made, the VFs are enabled by: echo \(count) > /sys/bus/pci/devices/\(address)/sriov_numvfs"
                )
            case .restore(let layout): result += RestoreDemands(context, layout).remarks
            default: continue
            }
        }
        return result
    }

    private func known(_ address: FunctionAddress) throws(PlanningError) -> Int {
        guard let i = topology.position(of: address) else {
            throw PlanningError(.noSuchFunction, "no function at \(address)")
        }
        return i
    }

    // MARK: - Goals

    /// What findings judge to be problems, as demands: an I/O BAR that its driver never uses is none.
    private func problems(_ isIncluded: (Int) -> Bool) -> [Demand] {
        var result: [Demand] = []
        var seen: Set<Demand> = []
        func add(_ demand: Demand) { if seen.insert(demand).inserted { result.append(demand) } }
        for finding in findings where finding.severity == .problem {
            guard let i = topology.position(of: finding.address), isIncluded(i), !context.isVirtual(i) else {
                continue
            }
            switch finding.code {
            case .barUnassigned, .barWiped, .barLost:
                if let index = finding.resource { add(.address(i, index)) }
            case .busMissing: add(.bus(i))
            case .outsideWindow, .overlap, .busOutsideParent, .busOverlap, .busMismatch, .registersDiffer,
                .barUnclaimed:
                add(.cleared(i, finding.code, finding.resource))
            // A closed window follows from what is below it; who does not answer cannot be helped by addresses; of what
            // only a log reports the tree shows nothing.
            case .windowClosed, .notAnswering, .romUnassigned, .vfBARUnassigned, .kernelReport, .resizeRefused: continue
            }
        }
        guard !tiers.required.isEmpty else { return result }
        for i in 0..<context.count where isIncluded(i) && !context.isVirtual(i) {
            for resource in context.function(i).resources {
                if resource.index.isBAR, resource.lacksAddress, resource.kind == .io, tiers.required.contains(.io) {
                    add(.address(i, resource.index))
                }
                guard resource.range == nil, resource.size?.rawValue ?? 0 > 0 else { continue }
                if resource.index.isROM, tiers.required.contains(.rom) { add(.address(i, resource.index)) }
                if resource.index.isVFBAR, tiers.required.contains(.virtualFunctions) {
                    add(.address(i, resource.index))
                }
            }
        }
        return result
    }

    /// Demands for addresses; a resizable BAR may step down to a smaller size when its present one fits nowhere.
    private func collect(_ demands: [Demand], _ collected: inout Collection) {
        for demand in demands {
            guard case .address(let i, let index) = demand, index.isBAR,
                let entry = context.function(i).capabilities.resizableBARs.first(where: {
                    $0.bar == Int(index.rawValue)
                }
                ),
                let present = entry.currentSize?.rawValue
            else {
                collected.fixed.append(demand)
                continue
            }
            let smaller = entry.exponents.compactMap { ResizableBAR.size(ofExponent: $0)?.rawValue }
                .filter { $0 < present }.sorted(by: >)
            collected.ladders.append([demand] + smaller.map { .size(i, index, $0) })
        }
    }

    /// The sizes to try for a BAR, the best first: the one asked for, or every larger one that is offered.
    private func sizes(_ address: FunctionAddress, _ bar: Int, _ size: ByteCount?) throws(PlanningError) -> [Demand] {
        let i = try known(address)
        let function = context.function(i)
        guard let entry = function.capabilities.resizableBARs.first(where: { $0.bar == bar }),
            let index = ResourceIndex.bar(bar)
        else {
            throw PlanningError(.goalDoesNotApply, "expected a resizable BAR, BAR \(bar) of \(address) is none")
        }
        let offered = entry.exponents.compactMap { ResizableBAR.size(ofExponent: $0)?.rawValue }
        if let size {
            guard offered.contains(size.rawValue) else {
                let list = offered.map { "\(ByteCount($0))" }.joined(separator: ", ")
                throw PlanningError(
                    .goalDoesNotApply,
                    "BAR \(bar) of \(address) cannot be \(size), expected one of \(list)"
                )
            }
            return [.size(i, index, size.rawValue)]
        }
        let present = function.resource(index)?.range?.clampedSize ?? 0
        return offered.filter { $0 >= present && $0 > 0 }.sorted(by: >).map { .size(i, index, $0) }
    }

    private func place(_ address: FunctionAddress, _ bar: Int, _ start: UInt64) throws(PlanningError) -> Demand {
        let i = try known(address)
        func fail(_ words: String) -> PlanningError { PlanningError(.goalDoesNotApply, words) }
        guard let index = ResourceIndex.bar(bar), let resource = context.function(i).resource(index),
            let size = resource.size?.rawValue, size > 0
        else { throw fail("expected a BAR, \(address) has no BAR \(bar)") }
        let name = "BAR \(bar) of \(address)"
        let alignment = resource.alignment?.rawValue ?? size
        guard alignment > 0, start % alignment == 0 else {
            throw fail("expected a multiple of \(ByteCount(alignment)) for \(name), found 0x\(bareHex(start))")
        }
        guard let range = AddressRange(first: start, size: size) else {
            throw fail("expected an address that leaves room for the \(ByteCount(size)) of \(name)")
        }
        if resource.isFixed, resource.range?.first != start { throw fail("\(name) never moves") }
        let host = topology.hostBridges[context.host[i]]
        let aperture = host.apertures.first { $0.isIO == (resource.kind == .io) && $0.range.contains(range) }
        if resource.kind != .io, !resource.is64Bit,
            (range.shifted(by: -(aperture?.offset ?? 0)) ?? range).last > UInt64(UInt32.max)
        {
            throw fail("\(name) is a register of 32 bits, 0x\(bareHex(start)) is too high for it")
        }
        return .located(i, index, start)
    }

    private func roomForVFs(_ address: FunctionAddress, _ count: Int) throws(PlanningError) -> [Demand] {
        let i = try known(address)
        let function = context.function(i)
        guard let sriov = function.capabilities.sriov, count > 0, count <= sriov.totalVFs else {
            let total = function.capabilities.sriov.map { "\($0.totalVFs)" } ?? "no"
            throw PlanningError(.goalDoesNotApply, "\(address) offers \(total) VFs, asked for are \(count)")
        }
        var result: [Demand] = []
        for resource in function.resources where resource.index.isVFBAR {
            if let size = resource.size?.rawValue, size > 0 { result.append(.size(i, resource.index, size)) }
        }
        let last = sriov.routingID(ofVF: count - 1, bus: BusNumber(0), devfn: function.address.devfn) >> 8
        if last > 0, context.parent[i] >= 0 { result.append(.buses(context.parent[i], last + 1)) }
        return result
    }

    private func reserve(_ address: FunctionAddress, _ room: Headroom) throws(PlanningError) -> [Demand] {
        let i = try known(address)
        guard context.isBridge(i) else {
            throw PlanningError(.goalDoesNotApply, "expected a port to keep room below, \(address) is no bridge")
        }
        var result: [Demand] = []
        if room.io > .zero { result.append(.room(i, .io, room.io.rawValue)) }
        if room.memory > .zero { result.append(.room(i, .memory, room.memory.rawValue)) }
        if room.prefetchable > .zero { result.append(.room(i, .prefetchable, room.prefetchable.rawValue)) }
        if room.buses > 0 { result.append(.freeBuses(i, room.buses)) }
        guard !result.isEmpty else {
            throw PlanningError(.goalDoesNotApply, "expected room to keep below \(address), found none asked for")
        }
        return result
    }

    // MARK: - Groups

    private func group(_ collected: Collection, isApart: Bool = false) -> [Cluster] {
        var groups: [Int: Collection] = [:]
        func top(_ demand: Demand) -> Int { context.ancestors(of: demand.function).last ?? demand.function }
        // Sizes are chosen together over all root ports of a host bridge.
        var leaders: [Int: Int] = [:]
        var together: [Int: Int] = [:]
        for ladder in collected.resized {
            guard let demand = collected.ladders[ladder].first else { continue }
            let leader = leaders[context.host[demand.function], default: top(demand)]
            leaders[context.host[demand.function]] = leader
            together[top(demand)] = leader
        }
        // Bus numbers of a host bridge are planned as a whole: what one port gets, another must not claim.
        var firsts: [Int: Int] = [:]
        var sharers: Set<Int> = []
        for demand in collected.fixed where demand.wantsBuses && demand.isOfNumbersAsTheyAre {
            firsts[context.host[demand.function]] = min(firsts[context.host[demand.function]] ?? .max, top(demand))
            sharers.insert(top(demand))
        }
        func root(_ demand: Demand) -> Int {
            let own = top(demand)
            if isApart { return own }
            if let leader = together[own] { return leader }
            return sharers.contains(own) ? firsts[context.host[demand.function]] ?? own : own
        }
        for demand in collected.fixed {
            if groups[root(demand)]?.fixed.contains(demand) != true {
                groups[root(demand), default: Collection()].fixed.append(demand)
            }
        }
        for ladder in collected.ladders {
            guard let first = ladder.first else { continue }
            groups[root(first), default: Collection()].ladders.append(ladder)
        }
        for wish in collected.wishes { groups[root(wish), default: Collection()].wishes.append(wish) }
        return groups.keys.sorted().compactMap { root in
            groups[root].map { part in
                let tops = FunctionSet((part.fixed + part.ladders.compactMap(\.first) + part.wishes).map(top))
                return Cluster(
                    choices: combinations(part.ladders).map { part.fixed + $0 },
                    wishes: part.wishes,
                    apart: tops.count > 1 && !isApart ? group(part, isApart: true) : []
                )
            }
        }
    }

    /// The most combinations of sizes; each that the solver refutes spares those that are no smaller.
    private static let mostCombinations = 1024

    /// One step of each ladder, the greatest sum of sizes first, at most `mostCombinations`.
    private func combinations(_ ladders: [[Demand]]) -> [[Demand]] {
        var result: [[Demand]] = [[]]
        for ladder in ladders {
            result = result.flatMap { head in ladder.map { head + [$0] } }
            result.sort { total($0) > total($1) }
            // The smallest are kept, too: what must have some size had better have that one than none.
            if result.count > Self.mostCombinations {
                result.removeSubrange((Self.mostCombinations - 1)..<(result.count - 1))
            }
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
        let places = FunctionSet(clusters.flatMap { ($0.choices.first ?? []).map(\.function) })
        guard !places.isEmpty else { return [] }
        var result: [DiagnosisLine] = []
        for finding in findings where finding.severity == .problem {
            guard let i = topology.position(of: finding.address), places.contains(i) else { continue }
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
