// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology

/// What other kernels would make of a machine: who loses or gains a place, on which occasion, by which decision, and which
/// releases would have placed what has none here.
///
/// The twin of each release lives through the same occasions as the twin of the running one, from the same state; what
/// they end in is compared. That a BAR keeps its address while the machine runs is not asked.
public struct KernelUpgrade: Sendable {
    /// When a kernel decides about places.
    public enum Occasion: Hashable, Sendable {
        /// It starts, from what firmware left.
        case boot
        /// The bridge on a root bus, and all below it, is removed and found anew.
        case rediscovery(FunctionAddress)
        /// The same, after every resizable BAR below was set to the largest size that it offers.
        case largestBARs(FunctionAddress)
    }

    /// A release, and what its kernel may do.
    public struct Release: Hashable, Sendable {
        /// The series, or the release as it was given: `6.12`, `7.2.13`.
        public var name: String
        /// What the kernel may do, likeliest first; at least one.
        public var behaviours: [KernelBehaviour]
        /// Whether a kernel was held against the first behaviour that tells of this release.
        public var isJudged: Bool
        /// Which release was judged and how far that carries, as a clause.
        public var explanation: String

        /// The release that a text as `uname -r` prints it names, by the catalogue; a series alone stands for the release of
        /// it that was judged, where there is one.
        public init(_ release: String) {
            name = release
            let series = release.split(separator: ".").prefix(2).map { $0.prefix { $0.isNumber } }.joined(
                separator: "."
            )
            let known = KernelCatalogue.behaviours(forRelease: release)
            explanation = known.explanation
            if release == series,
                let preset = KernelBehaviour.everyPreset.first(where: { $0.name == "linux-\(series)" })
            {
                behaviours = [preset]
                isJudged = true
            } else {
                behaviours = known.isJudged ? [known.first] : known.behaviours
                isJudged = known.isJudged
            }
        }

        /// Every series of which a kernel is in the laboratory, oldest first.
        public static var known: [Release] {
            KernelBehaviour.everyPreset.map { Release(String($0.name.drop { $0 != "-" }.dropFirst())) }
        }
    }

    /// Something that has no place.
    public struct Place: Hashable, Sendable, Comparable {
        /// What is missing, by its place in the tree.
        public var shortfall: Shortfall
        /// The function's address in the tree as it was read.
        public var address: FunctionAddress
        /// The size of the resource, or nil for a bus and where it is not known.
        public var size: ByteCount?

        /// Orders by address, then by resource.
        public static func < (a: Place, b: Place) -> Bool { (a.address, a.shortfall) < (b.address, b.shortfall) }
    }

    /// What differs between the running kernel and another on one occasion.
    public struct Change: Sendable {
        /// When.
        public var occasion: Occasion
        /// The other release.
        public var release: Release
        /// What has a place under the running kernel, and none under whatever the other may do; ascending.
        public var loses: [Place]
        /// What has none under a part of what the other may do; ascending. Empty for releases that were judged.
        public var mayLose: [Place]
        /// What has a place under the other alone; ascending.
        public var gains: [Place]
        /// The first decision on the way to what loses or gains its place that differs, with the rules behind it.
        public var parting: PolicyParting?
    }

    /// Something that has no place in the tree as it was read.
    public struct LostHere: Sendable {
        /// What.
        public var place: Place
        /// The occasion on which releases part, or nil where all of them do the same.
        public var occasion: Occasion?
        /// The releases that place it then, oldest first.
        public var placedBy: [String]
        /// The releases that do not, oldest first.
        public var notPlacedBy: [String]
        /// The releases that place it and take the place of something that has one now, oldest first.
        public var tradedBy: [String]
    }

    /// What is looked at.
    public enum Scope: Sendable {
        /// Every occasion, with the decision in which kernels part.
        case everything
        /// What has no place in the tree as it was read, as far as one release may place all of it.
        case whatIsLost
    }

    /// From where the boots start.
    public let start: BootAdvice.Start
    /// The running kernel.
    public let present: Release
    /// The releases that were tried, in the order given.
    public let releases: [Release]
    /// The occasions that were tried.
    public let occasions: [Occasion]
    /// What could not be tried, and why, a sentence each.
    public private(set) var untried: [String]
    /// What differs, by release in the order given, then by occasion; without those in which nothing does.
    public private(set) var changes: [Change]
    /// What has no place now.
    public private(set) var lostHere: [LostHere]
    /// What a whole answer would need and nobody told.
    public let unknowns: [Unknown]

    /// Lets the kernels live through the occasions.
    ///
    /// - Parameters:
    ///   - topology: the machine.
    ///   - present: the running kernel.
    ///   - releases: the others.
    ///   - firmware: what firmware left, or nil when that is not known.
    ///   - scope: what is looked at.
    /// - Throws: `TwinError` when the twin refuses the tree.
    /// - Complexity: a boot, and for each bridge on a root bus a removal and a rescan or two, for each behaviour.
    public init(
        _ topology: Topology,
        present: Release,
        releases: [Release],
        firmware: FirmwareState? = nil,
        scope: Scope = .everything
    ) throws(TwinError) {
        let platform = Platform(topology)
        let firmware = platform.boot == .survey ? firmware : nil
        start = firmware == nil ? .registers : .firmware
        self.present = present
        self.releases = releases
        unknowns = topology.unknowns() + topology.untoldApertures()
        var runs = UpgradeRuns(topology, platform: platform, firmware: firmware)
        let shortfalls = topology.problemShortfalls
        let roots = Set(shortfalls.compactMap { runs.root(of: $0.path) })
        let all = runs.occasions().filter { occasion in
            guard scope == .whatIsLost else { return true }
            switch occasion {
            case .boot: return true
            case .rediscovery(let root): return roots.contains(root)
            case .largestBARs: return false
            }
        }
        untried = []
        changes = []
        lostHere = []
        var tried: [Occasion] = []
        for occasion in all {
            do {
                _ = try runs.missing(after: occasion, present.behaviours[0])
                tried.append(occasion)
            } catch {
                untried.append("\(occasion.words): \(error.description)")
            }
        }
        occasions = tried
        for release in releases where scope == .everything {
            for occasion in tried {
                if let change = try Self.change(occasion, release, present, &runs) { changes.append(change) }
            }
        }
        let lost = Set(shortfalls)
        var placers = Set(Release.known.map(\.name))
        for shortfall in shortfalls where scope == .everything || !placers.isEmpty {
            let one = try Self.lost(shortfall, among: lost, tried, present, Release.known, &runs)
            placers.formIntersection(one.placedBy)
            lostHere.append(one)
        }
    }

    private static func change(
        _ occasion: Occasion,
        _ release: Release,
        _ present: Release,
        _ runs: inout UpgradeRuns
    ) throws(TwinError) -> Change? {
        let now = try runs.missing(after: occasion, present.behaviours[0])
        var always: Set<Shortfall>?
        var ever: Set<Shortfall> = []
        for behaviour in release.behaviours {
            let missing = try runs.missing(after: occasion, behaviour)
            always = always.map { $0.intersection(missing) } ?? missing
            ever.formUnion(missing)
        }
        let loses = (always ?? []).subtracting(now)
        let mayLose = ever.subtracting(now).subtracting(loses)
        let gains = now.subtracting(ever)
        guard !loses.isEmpty || !mayLose.isEmpty || !gains.isEmpty else { return nil }
        let concerned = loses.union(mayLose).union(gains)
        return Change(
            occasion: occasion,
            release: release,
            loses: runs.places(loses, occasion),
            mayLose: runs.places(mayLose, occasion),
            gains: runs.places(gains, occasion),
            parting: try runs.parting(occasion, present.behaviours[0], release.behaviours[0], about: concerned)
        )
    }

    /// Which releases give `shortfall` its place, and nothing else loses it that has one now.
    private static func lost(
        _ shortfall: Shortfall,
        among all: Set<Shortfall>,
        _ occasions: [Occasion],
        _ present: Release,
        _ releases: [Release],
        _ runs: inout UpgradeRuns
    ) throws(TwinError) -> LostHere {
        let root = runs.root(of: shortfall.path)
        var result: LostHere?
        // Found anew is what happened to a card that was plugged in; then the boot.
        for occasion in occasions.reversed() {
            switch occasion {
            case .largestBARs: continue
            case .rediscovery(let address): guard address == root else { continue }
            case .boot: break
            }
            var placed: [String] = []
            var others: [String] = []
            var traded: [String] = []
            let accepted = all.union(try runs.missing(after: occasion, present.behaviours[0]))
            for release in releases {
                var isMissing = false
                var isTraded = false
                for behaviour in release.behaviours where !isMissing {
                    let missing = try runs.missing(after: occasion, behaviour)
                    isMissing = missing.contains(shortfall)
                    isTraded = isTraded || !missing.isSubset(of: accepted)
                }
                if isMissing {
                    others.append(release.name)
                } else if isTraded {
                    traded.append(release.name)
                } else {
                    placed.append(release.name)
                }
            }
            let one = LostHere(
                place: runs.places([shortfall], occasion)[0],
                occasion: placed.isEmpty || others.isEmpty ? nil : occasion,
                placedBy: placed,
                notPlacedBy: others,
                tradedBy: traded
            )
            if one.occasion != nil { return one }
            let saysLittle = result.map { $0.placedBy.isEmpty && $0.tradedBy.isEmpty } ?? true
            if saysLittle { result = one }
        }
        return result
            ?? LostHere(
                place: runs.places([shortfall], .boot)[0],
                occasion: nil,
                placedBy: [],
                notPlacedBy: releases.map(\.name),
                tradedBy: []
            )
    }

    /// Releases as a person says them: `6.1 to 6.19 and 7.2`, where `all` has no other between.
    public static func spoken(_ names: [String], of all: [String] = Release.known.map(\.name)) -> String {
        var runs: [[String]] = []
        var last: Int?
        for name in names {
            let at = all.firstIndex(of: name)
            if let at, let before = last, at == before + 1 {
                runs[runs.count - 1].append(name)
            } else {
                runs.append([name])
            }
            last = at
        }
        let texts = runs.map { $0.count > 1 ? "\($0[0]) to \($0[$0.count - 1])" : $0[0] }
        return texts.count > 1
            ? texts.dropLast().joined(separator: ", ") + " and \(texts[texts.count - 1])" : texts.joined()
    }

    /// Whether what is lost here has a place under another kernel on the same occasion: the kernel's rule is the obstacle.
    public var isKernelTheObstacle: Bool { lostHere.contains { $0.occasion != nil } }
}

extension KernelUpgrade.Occasion {
    /// The bridge that is found anew, or nil for a boot.
    var root: FunctionAddress? {
        switch self {
        case .boot: nil
        case .rediscovery(let root), .largestBARs(let root): root
        }
    }

    /// The occasion in words: `found anew below 0000:00:02.0`.
    public var words: String {
        switch self {
        case .boot: "boot"
        case .rediscovery(let root): "\(root) removed and found anew"
        case .largestBARs(let root): "\(root) removed and found anew, its resizable BARs at their largest"
        }
    }
}

/// The occasions of one machine, each lived through once by each behaviour.
struct UpgradeRuns {
    /// Host bridges that share nothing with the others, as a tree of their own.
    private struct Part {
        var topology: Topology
        var places: [TopologyPath: Int]
    }

    private let topology: Topology
    private let platform: Platform
    private let firmware: FirmwareState?
    private let demand: ResourceDemand
    private let places: [TopologyPath: Int]
    private var known: [KernelUpgrade.Occasion: [(behaviour: KernelBehaviour, missing: Set<Shortfall>)]] = [:]
    /// The parts of a machine that has several, and the part of each host bridge.
    private let parts: [Part]
    private let partOfHost: [Int: Int]
    /// What is missing by behaviour before anything is done.
    private var present: [(behaviour: KernelBehaviour, missing: Set<Shortfall>)] = []

    init(_ topology: Topology, platform: Platform, firmware: FirmwareState?) {
        self.topology = topology
        self.platform = platform
        self.firmware = firmware
        demand = ResourceDemand(topology)
        places = Self.places(of: topology)
        let groups = topology.hostBridges.count > 1 ? topology.independentHosts : []
        let apart = groups.count > 1 ? groups.compactMap { topology.part(ofHosts: $0) } : []
        parts = apart.count == groups.count ? apart.map { Part(topology: $0, places: Self.places(of: $0)) } : []
        partOfHost = Dictionary(
            groups.enumerated().flatMap { n, hosts in hosts.map { ($0, n) } },
            uniquingKeysWith: { first, _ in first }
        )
    }

    private static func places(of topology: Topology) -> [TopologyPath: Int] {
        Dictionary(topology.functions.indices.map { (topology.path(of: $0), $0) }) { first, _ in first }
    }

    /// The part that a function is in, where there are parts.
    private func part(of i: Int) -> Int? { parts.isEmpty ? nil : partOfHost[topology.host(of: i)] }

    /// What may be tried: the boot, and every bridge on a root bus with a function behind it, where the apertures are known.
    func occasions() -> [KernelUpgrade.Occasion] {
        var result: [KernelUpgrade.Occasion] = []
        if !topology.functions.isEmpty, topology.hostBridges.allSatisfy({ $0.source != .unknown }) {
            result.append(.boot)
        }
        for h in topology.hostBridges.indices where topology.hostBridges[h].source != .unknown {
            for root in topology.roots(of: h) where topology.functions[root].isBridge {
                guard !topology.children(of: root).isEmpty else { continue }
                let address = topology.functions[root].address
                result.append(.rediscovery(address))
                if !Self.largest(below: root, topology).isEmpty { result.append(.largestBARs(address)) }
            }
        }
        return result
    }

    /// The resizable BARs at and below function `i` that could be larger, with the exponent of the largest size.
    private static func largest(below i: Int, _ topology: Topology) -> [(
        address: FunctionAddress, bar: Int, exponent: Int
    )] {
        var result: [(address: FunctionAddress, bar: Int, exponent: Int)] = []
        for j in topology.subtree(of: i) {
            let function = topology.functions[j]
            for bar in function.capabilities.resizableBARs {
                guard let most = bar.exponents.max(), most > bar.currentExponent else { continue }
                result.append((function.address, bar.bar, most))
            }
        }
        return result
    }

    /// What is missing after an occasion under a behaviour.
    mutating func missing(
        after occasion: KernelUpgrade.Occasion,
        _ behaviour: KernelBehaviour
    ) throws(TwinError) -> Set<Shortfall> {
        let runs = known[occasion] ?? []
        if let run = runs.first(where: { $0.behaviour.switches(differingFrom: behaviour).isEmpty }) {
            return run.missing
        }
        var missing: Set<Shortfall>
        if let root = occasion.root, let n = topology.position(of: root).flatMap({ part(of: $0) }) {
            // What is below other host bridges stays as it is.
            let near = parts[n]
            missing = Self.missing(
                after: try liveThrough(occasion, behaviour, near.topology),
                near.topology,
                near.places
            )
            for shortfall in try missingNow(behaviour) where near.places[shortfall.path] == nil {
                missing.insert(shortfall)
            }
        } else {
            missing = Self.missing(after: try liveThrough(occasion, behaviour, topology), topology, places)
        }
        known[occasion, default: []].append((behaviour, missing))
        return missing
    }

    /// What is missing under a behaviour before anything is done.
    private mutating func missingNow(_ behaviour: KernelBehaviour) throws(TwinError) -> Set<Shortfall> {
        if let known = present.first(where: { $0.behaviour.switches(differingFrom: behaviour).isEmpty }) {
            return known.missing
        }
        let twin = try LinuxTwin(topology, behaviour: behaviour, platform: platform)
        let missing = Self.missing(after: try twin.topology(), topology, places)
        present.append((behaviour, missing))
        return missing
    }

    /// What has no place in `after`, of a tree that was `before`.
    private static func missing(
        after: Topology,
        _ before: Topology,
        _ places: [TopologyPath: Int]
    ) -> Set<Shortfall> {
        var missing = Set(after.problemShortfalls)
        // What is not found at all has no place either.
        let found = Set(after.functions.indices.map { after.path(of: $0) })
        for (path, i) in places where !found.contains(path) && !before.functions[i].isVirtual {
            for resource in before.functions[i].resources where resource.index.isBAR && resource.range != nil {
                missing.insert(Shortfall(path: path, kind: .resource(resource.index)))
            }
        }
        return missing
    }

    /// The tree after an occasion; what is below other host bridges is left out where `topology` leaves it out.
    private func liveThrough(
        _ occasion: KernelUpgrade.Occasion,
        _ behaviour: KernelBehaviour,
        _ topology: Topology
    ) throws(TwinError) -> Topology {
        if case .boot = occasion {
            var twin = try BootTrial(
                topology,
                goals: [],
                behaviour: behaviour,
                platform: platform,
                firmware: firmware
            ).machine
            try twin.perform(.boot(platform))
            return try twin.topology()
        }
        var twin = try LinuxTwin(topology, behaviour: behaviour, platform: platform)
        twin.recordsEvents = false
        switch occasion {
        case .boot: break
        case .rediscovery(let root), .largestBARs(let root):
            guard let i = topology.position(of: root) else { break }
            for j in topology.subtree(of: i) where topology.functions[j].use.enabledVFs ?? 0 > 0 {
                try twin.perform(.setVFs(topology.functions[j].address, 0))
            }
            if case .largestBARs = occasion {
                for one in Self.largest(below: i, topology) {
                    try twin.perform(.setResizableBAR(one.address, bar: one.bar, exponent: one.exponent))
                }
            }
            try twin.perform(.remove(root))
            try twin.perform(.rescanBus(segment: root.segment, bus: root.bus))
        }
        return try twin.topology()
    }

    private func kind(of shortfall: Shortfall) -> ResourceKind? {
        guard case .resource(let index) = shortfall.kind, let i = places[shortfall.path] else { return nil }
        return topology.functions[i].resource(index)?.kind
    }

    /// The bridge on a root bus above, or at, a place.
    func root(of path: TopologyPath) -> FunctionAddress? {
        let root = TopologyPath(segment: path.segment, rootBus: path.rootBus, hops: Array(path.hops.prefix(1)))
        return places[root].map { topology.functions[$0].address }
    }

    /// Shortfalls with address and size, ascending.
    func places(_ shortfalls: Set<Shortfall>, _ occasion: KernelUpgrade.Occasion) -> [KernelUpgrade.Place] {
        shortfalls.compactMap { shortfall in
            guard let i = places[shortfall.path] else { return nil }
            let function = topology.functions[i]
            var size: ByteCount?
            switch shortfall.kind {
            case .resource(let index), .unreachable(let index):
                size = function.resource(index)?.size
                if case .largestBARs = occasion,
                    let bar = function.capabilities.resizableBARs.first(where: { ResourceIndex.bar($0.bar) == index }),
                    let most = bar.exponents.max()
                {
                    size = ResizableBAR.size(ofExponent: most)
                }
            case .bus: size = nil
            }
            return KernelUpgrade.Place(shortfall: shortfall, address: function.address, size: size)
        }
        .sorted()
    }

    /// The first decision in which two behaviours part on an occasion, on the way to one of the shortfalls.
    func parting(
        _ occasion: KernelUpgrade.Occasion,
        _ first: KernelBehaviour,
        _ second: KernelBehaviour,
        about shortfalls: Set<Shortfall>
    ) throws(TwinError) -> PolicyParting? {
        func side(_ behaviour: KernelBehaviour, _ end: Topology) -> (
            policy: any AllocationPolicy, outcome: PolicyOutcome
        ) {
            let policy = LinuxBootPolicy(topology, behaviour: behaviour, platform: platform, platformName: "")
            return (policy, PolicyOutcome(asIn: end, policy: behaviour.name, sizes: demand))
        }
        let (a, b) = (try liveThrough(occasion, first, topology), try liveThrough(occasion, second, topology))
        func isOnTheWay(_ difference: PolicyDifference) -> Bool {
            shortfalls.contains { shortfall in
                difference.path.isAncestorOrSelf(of: shortfall.path)
                    && (difference.decision == .busRange
                        || difference.what.hasPrefix("io") == (kind(of: shortfall) == .io))
            }
        }
        // A window that one of them closes is what came of it, not what was decided.
        func isDecision(_ difference: PolicyDifference) -> Bool {
            isOnTheWay(difference) && difference.first != "closed" && difference.second != "closed"
        }
        let parting = PolicyParting(side(first, a), side(second, b), demand, where: isDecision)
        guard let parting, !isDecision(parting.difference) else { return parting }
        return PolicyParting(side(first, a), side(second, b), demand, where: isOnTheWay)
    }
}
