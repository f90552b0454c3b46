// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// Boots of one machine's twin with different words, each judged by the goals.
///
/// Functions keep their numbers in the twin, whatever numbers their buses get.
struct BootTrial {
    private let topology: Topology
    private let goals: [BootGoal]
    /// The machine as it is when the kernel starts.
    let machine: LinuxTwin
    /// What the boot that is running did not reach, with its words; no trial with the same words says otherwise.
    var witnessed: (words: Set<String>, missing: [String])?
    private let before: Baseline

    /// Prepares the machine as it will be when the kernel starts.
    ///
    /// - Throws: `TwinError` when the twin refuses the tree, or for a goal at a function that is not there.
    init(
        _ topology: Topology,
        goals: [BootGoal],
        behaviour: KernelBehaviour,
        platform: Platform,
        firmware: FirmwareState?
    ) throws(TwinError) {
        self.topology = topology
        self.goals = goals
        var twin = try LinuxTwin(topology, behaviour: behaviour, platform: platform)
        twin.recordsEvents = false
        // Virtual functions come with a write to sriov_numvfs, not with the boot.
        for function in topology.functions where function.use.enabledVFs ?? 0 > 0 {
            try twin.perform(.setVFs(function.address, 0))
        }
        for goal in goals {
            if case .plan(.restore) = goal {
                throw TwinError(.badArgument, "expected a goal that a boot can reach, an older layout is none")
            }
            if case .plan(.compact) = goal {
                throw TwinError(.badArgument, "expected a goal that a boot can reach, closer packing is none")
            }
            guard let address = goal.address else { continue }
            guard let i = topology.position(of: address) else {
                throw TwinError(.noSuchFunction, "expected a function at \(address), found none")
            }
            guard case .card = goal else { continue }
            guard topology.functions[i].isBridge else {
                throw TwinError(.notABridge, "expected a port, \(address) is no bridge")
            }
            if !topology.children(of: i).isEmpty { try twin.perform(.unplug(port: address)) }
        }
        let weights = DisturbanceWeights(topology, constraints: Constraints(), ignoresProtection: true)
        before = Baseline(context: SearchContext(topology, weights: weights), summary: twin.summary())
        if let firmware {
            for i in topology.functions.indices {
                let function = topology.functions[i]
                guard !function.isVirtual, function.config.hasHeader, twin.number(of: function.address) != nil else {
                    continue
                }
                try twin.loadRegisters(of: function.address, from: firmware.image(of: i, in: topology))
            }
        }
        machine = twin
    }

    /// What the boot with `platform` leads to.
    func outcome(_ platform: Platform, words: [String]) throws(TwinError) -> BootAdvice.Outcome {
        var twin = machine
        try twin.perform(.boot(platform))
        var outcome = BootAdvice.Outcome(words: words, missing: [], lost: lost(in: twin.summary()))
        for goal in goals {
            switch goal {
            case .plan(.everythingRequired): outcome.missing += try unplaced(twin, below: nil)
            case .plan(.restore), .plan(.compact): break
            case .plan(.place(let address)):
                guard let now = place(of: address, twin, &outcome) else { break }
                outcome.missing += try unplaced(twin, below: now)
            case .plan(.located(let address, let bar, let start)):
                guard let now = place(of: address, twin, &outcome) else { break }
                if let lines = twin.resourceLines(of: now), lines.indices.contains(bar), lines[bar].start != start {
                    outcome.missing.append("\(now) BAR \(bar) lies at 0x\(bareHex(lines[bar].start))")
                }
            case .plan(.reserve(let address, let room)):
                guard let now = place(of: address, twin, &outcome) else { break }
                outcome.missing += try shortage(twin, now, room)
            case .plan(.resize(let address, let bar, let size)):
                guard let now = place(of: address, twin, &outcome) else { break }
                outcome.missing += try resize(address, now, bar, size, &twin)
            case .plan(.virtualFunctions(let address, let count)):
                guard let now = place(of: address, twin, &outcome) else { break }
                outcome.missing += try enable(address, now, count, &twin)
            case .card(let address, let card):
                guard let now = place(of: address, twin, &outcome) else { break }
                let methods = topology.position(of: address).map { topology.hotPlugMethods(behind: $0) } ?? []
                let booted = twin
                for method in methods {
                    // Whoever drives the slot: what any of them leaves without a place is missing.
                    twin = booted
                    let isDeaf = method == .pciehp && !platform.bindsPortDriver
                    let missing = try plug(card, now, isDeaf ? .unnoticed : method, &twin)
                    outcome.missing += missing.filter { !outcome.missing.contains($0) }
                    outcome.lost += lost(in: twin.summary()).filter { !outcome.lost.contains($0) }
                }
            }
        }
        if let witnessed, witnessed.words == Set(words) {
            outcome.missing += witnessed.missing.filter { !outcome.missing.contains($0) }
        }
        return outcome
    }

    /// What the goals lack in the machine as it is, a sentence each, below the root functions under which everything was
    /// there when the kernel started: what is missing there, the boot did not reach.
    ///
    /// - Parameter latecomers: the functions that were not there.
    /// - Returns: the sentences, each once.
    func missedByThisBoot(latecomers: [FunctionAddress]) -> [String] {
        func root(_ path: TopologyPath) -> TopologyPath {
            TopologyPath(segment: path.segment, rootBus: path.rootBus, hops: Array(path.hops.prefix(1)))
        }
        let later = Set(latecomers.compactMap { topology.position(of: $0) }.map { root(topology.path(of: $0)) })
        var result: [String] = []
        for goal in goals {
            let below: TopologyPath?
            switch goal {
            case .plan(.everythingRequired): below = nil
            case .plan(.place(let address)): below = topology.position(of: address).map { topology.path(of: $0) }
            case .plan, .card: continue
            }
            let sentences = Self.shortfalls(of: topology) { path in
                !later.contains(root(path)) && below?.isAncestorOrSelf(of: path) ?? true
            }
            result += sentences.filter { !result.contains($0) }
        }
        return result
    }

    /// The bridges above what the goals are about, or what lacks something, the lowest first.
    func bridges() -> [FunctionAddress] {
        var found: [FunctionAddress: Int] = [:]
        func note(_ i: Int) {
            let above = topology.ancestors(of: i)
            for (depth, bridge) in above.reversed().enumerated() { found[topology.functions[bridge].address] = depth }
            if topology.functions[i].isBridge { found[topology.functions[i].address] = above.count }
        }
        for goal in goals {
            let at = goal.address.flatMap { topology.position(of: $0) }
            if let at { note(at) }
            guard case .plan(let plan) = goal, plan == .everythingRequired || at != nil else { continue }
            let lacking = Set(topology.problemShortfalls.map(\.path))
            for i in topology.functions.indices where lacking.contains(topology.path(of: i)) { note(i) }
        }
        return found.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key)
    }

    // MARK: Judging

    /// Where the function that had `address` is after the boot.
    private func place(
        of address: FunctionAddress,
        _ twin: LinuxTwin,
        _ outcome: inout BootAdvice.Outcome
    ) -> FunctionAddress? {
        if let now = topology.position(of: address).flatMap({ twin.address(ofNumber: $0) }) { return now }
        outcome.missing.append("\(address) is not there after the boot")
        return nil
    }

    /// What has an address, a bus or a place now and would not have it after the boot.
    private func lost(in later: TwinSummary) -> [String] {
        guard before.isHarmed(in: later, asked: []) else { return [] }
        return before.losses(in: later, asked: []).filter { $0.grade == .harm }.map(\.text)
    }

    /// Everything required that has no address or bus, and is a problem; with `bridge`, at and below that function.
    private func unplaced(_ twin: LinuxTwin, below bridge: FunctionAddress?) throws(TwinError) -> [String] {
        let summary = twin.summary()
        let isWhole = (0..<summary.count).allSatisfy { i in
            let lacksBus = i < topology.functions.count && topology.functions[i].isBridge && summary.buses[i] == nil
            return !summary.isKnown[i] || summary.isVirtual[i]
                || summary.lacking[i] == 0 && summary.unreachable[i] == 0 && !lacksBus
        }
        if isWhole, summary.count == topology.functions.count { return [] }
        let booted = try twin.topology()
        let path = bridge.flatMap { booted.position(of: $0) }.map { booted.path(of: $0) }
        return Self.shortfalls(of: booted) { path?.isAncestorOrSelf(of: $0) ?? true }
    }

    /// Everything required that has no address or bus and is a problem, at the places that count, a sentence each.
    private static func shortfalls(of booted: Topology, at counts: (TopologyPath) -> Bool) -> [String] {
        let shortfalls = booted.problemShortfalls.filter { counts($0.path) }
        guard !shortfalls.isEmpty else { return [] }
        var byPath: [TopologyPath: Function] = [:]
        for i in booted.functions.indices { byPath[booted.path(of: i)] = booted.functions[i] }
        return shortfalls.compactMap { shortfall in
            guard let function = byPath[shortfall.path] else { return nil }
            switch shortfall.kind {
            case .bus: return "\(function.address) has no bus number behind it"
            case .resource(let index):
                let size = function.resource(index)?.size.map { " (\($0))" } ?? ""
                return "\(function.address) \(index)\(size) has no address"
            case .unreachable(let index): return "\(function.address) \(index) cannot be reached"
            }
        }
    }

    private func shortage(
        _ twin: LinuxTwin,
        _ address: FunctionAddress,
        _ room: Headroom
    ) throws(TwinError) -> [String] {
        let booted = try twin.topology()
        guard let i = booted.position(of: address) else { return ["\(address) is not there after the boot"] }
        var result: [String] = []
        for (size, index, kind) in [
            (room.io, ResourceIndex.ioWindow, ResourceKind.io), (room.memory, .memoryWindow, .memory),
            (room.prefetchable, .prefetchableWindow, .prefetchable),
        ] {
            let free = booted.freeRoom(belowBridge: i, kind)
            guard !free.holds(size.rawValue) else { continue }
            let block = ByteCount(free.largestBlock)
            result.append("\(address) \(index) has \(ByteCount(free.bytes)) free (block \(block)), \(size) wanted")
        }
        let buses = booted.freeBusNumbers(belowBridge: i)
        if buses < room.buses { result.append("\(address) has \(buses) bus numbers free, \(room.buses) wanted") }
        return result
    }

    private func resize(
        _ address: FunctionAddress,
        _ now: FunctionAddress,
        _ bar: Int,
        _ size: ByteCount?,
        _ twin: inout LinuxTwin
    ) throws(TwinError) -> [String] {
        guard let function = topology[address], let index = ResourceIndex.bar(bar),
            let entry = function.capabilities.resizableBARs.first(where: { $0.bar == bar })
        else { throw TwinError(.badArgument, "expected a resizable BAR, BAR \(bar) of \(address) is none") }
        guard let exponent = entry.exponents.last(where: { size == nil || ResizableBAR.size(ofExponent: $0) == size }),
            let wanted = ResizableBAR.size(ofExponent: exponent)
        else {
            let offered = entry.exponents.compactMap { ResizableBAR.size(ofExponent: $0)?.description }
            throw TwinError(
                .badArgument,
                "BAR \(bar) of \(address) cannot be \(size?.description ?? "resized"), expected one of "
                    + offered.joined(separator: ", ")
            )
        }
        func held() -> UInt64 { twin.number(of: now).map { twin.summary().size($0, index) } ?? 0 }
        if held() == wanted.rawValue { return [] }
        try twin.perform(.unbind(now))
        try twin.perform(.resizeBAR(now, bar: bar, exponent: exponent))
        return held() == wanted.rawValue ? [] : ["\(now) \(index) cannot be made \(wanted)"]
    }

    private func enable(
        _ address: FunctionAddress,
        _ now: FunctionAddress,
        _ count: Int,
        _ twin: inout LinuxTwin
    ) throws(TwinError) -> [String] {
        let total = topology[address]?.capabilities.sriov?.totalVFs ?? 0
        guard count <= total else {
            throw TwinError(.badArgument, "\(address) offers \(total) VFs, asked for are \(count)")
        }
        var result: [String] = []
        for resource in try twin.topology()[now]?.resources ?? [] where resource.index.isVFBAR && resource.lacksAddress
        {
            result.append("\(now) \(resource.index)\(resource.size.map { " (\($0))" } ?? "") has no address")
        }
        try twin.perform(.setVFs(now, count))
        let found = try twin.topology().functions.count { $0.physicalFunction == now }
        if found < count { result.append("\(now) gets \(found) of \(count) VFs") }
        return result
    }

    private func plug(
        _ card: CardProfile,
        _ port: FunctionAddress,
        _ method: HotPlugMethod,
        _ twin: inout LinuxTwin
    ) throws(TwinError) -> [String] {
        try twin.plug(card, behind: port, method)
        let after = try twin.topology()
        guard let at = after.position(of: port), !after.children(of: at).isEmpty else {
            return ["\(port): a card plugged in there is not found"]
        }
        return try unplaced(twin, below: port)
    }
}
