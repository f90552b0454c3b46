// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import PCITopology
import PlanExecutor
import RebalancePlanner

/// What a plan is to reach, and what it may touch; as typed.
struct PlanningOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Find room for this function and what is below it; all is the default. May be given several times.",
            valueName: "address|all"
        )
    )
    var place: [Place] = []

    @Option(
        help: ArgumentHelp(
            "Give a resizable BAR this size, or the largest that fits. May be given several times.",
            valueName: "address:bar=size|max"
        )
    )
    var resize: [ResizeWish] = []

    @Option(
        help: ArgumentHelp(
            "Let a BAR lie at this address and nowhere else. May be given several times.",
            valueName: "address:bar=place"
        )
    )
    var at: [PlaceWish] = []

    @Option(
        help: ArgumentHelp(
            "Make room and bus numbers for this many VFs of a function. May be given several times.",
            valueName: "address=n"
        )
    )
    var vfs: [VFWish] = []

    @Flag(
        help: "Pack windows and bus numbers closer, so that the largest free stretches of the host bridges grow."
    )
    var compact = false

    @Option(
        help: ArgumentHelp(
            """
            Keep room below a port: mem:, pref:, io: sizes and buses: numbers, joined by commas; auto keeps what each empty \
            port has held. May be given several times.
            """,
            valueName: "port=kind:size,…|auto"
        ),
        transform: ReserveChoice.init
    )
    var reserve: [ReserveChoice] = []

    @Option(
        help: ArgumentHelp(
            "Give everything back the sizes and numbers that it had in this older record (as --from takes).",
            valueName: "path"
        ),
        completion: .file()
    )
    var restore: String?

    @Option(
        help: ArgumentHelp("Leave this function alone, and what is below it.", valueName: "address"),
        transform: functionAddress
    )
    var keep: [FunctionAddress] = []

    @Option(
        help: ArgumentHelp(
            "Let the IOMMU group of this function keep its members, no more and no fewer.",
            valueName: "address"
        ),
        transform: functionAddress
    )
    var keepGroup: [FunctionAddress] = []

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Let these two functions reach each other across their switch, as they do now.",
            valueName: "address"
        ),
        transform: functionAddress
    )
    var keepRoute: [FunctionAddress] = []

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("Only if these two functions are below one switch.", valueName: "address"),
        transform: functionAddress
    )
    var sameSwitch: [FunctionAddress] = []

    @Option(
        help: ArgumentHelp("Allow to stop this function although it is in use.", valueName: "address"),
        transform: functionAddress
    )
    var allowDisturb: [FunctionAddress] = []

    @Option(
        help: ArgumentHelp("Touch only this port and what is below it.", valueName: "port"),
        transform: functionAddress
    )
    var onlyBelow: FunctionAddress?

    @Option(help: ArgumentHelp("Stop at most this many devices.", valueName: "n"))
    var maxMoves: Int?

    @Option(
        help: ArgumentHelp(
            "Give out no address above this, whatever the apertures say: 4G, 0xffffffff.",
            valueName: "address"
        )
    )
    var maxAddr: HighestAddress?

    @Option(
        help: ArgumentHelp(
            "Also ask for what is optional: rom, io, vf, reserve. May be given several times.",
            valueName: "tier"
        )
    )
    var with: [TierWord] = []

    @Option(
        help: ArgumentHelp(
            "May sacrifice these optional resources: rom, io, vf, reserve. May be given several times.",
            valueName: "tier"
        )
    )
    var without: [TierWord] = []

    @OptionGroup var effort: EffortOption

    func validate() throws {
        for word in with where without.contains(word) {
            let tier = word.tier.rawValue
            throw ValidationError("expected --with \(tier) or --without \(tier), found both")
        }
        for (name, list) in [("--keep-route", keepRoute), ("--same-switch", sameSwitch)] where list.count % 2 == 1 {
            throw ValidationError("expected \(name) with two addresses, found \(list.count)")
        }
        if let maxMoves, maxMoves < 0 { throw ValidationError("expected --max-moves 0 or more, found \(maxMoves)") }
    }

    /// The goals for a tree; reads the record that `--restore` names, and what ports have held.
    func goals(for topology: Topology) throws(CommandEnd) -> [Goal] {
        let places = place.compactMap { if case .function(let address) = $0 { Goal.place(address) } else { nil } }
        var wishes =
            resize.map { Goal.resize($0.address, bar: $0.bar, size: $0.size) }
            + at.map { Goal.located($0.address, bar: $0.bar, address: $0.start) }
            + vfs.map { Goal.virtualFunctions($0.address, count: $0.count) }
        for choice in reserve { wishes += try choice.goals(for: topology) }
        if let restore { wishes.append(.restore(try savedLayout(restore))) }
        if compact { wishes.append(.compact) }
        if place.contains(.all) { return [.everythingRequired] + wishes }
        return places.isEmpty && wishes.isEmpty ? [.everythingRequired] : places + wishes
    }

    /// The constraints.
    var constraints: Constraints {
        Constraints(
            keep: Set(keep),
            allowDisturb: Set(allowDisturb),
            onlyBelow: onlyBelow,
            maxMoves: maxMoves,
            highestAddress: maxAddr?.address,
            conditions: conditions,
            tiers: OptionalTiers(required: Set(with.map(\.tier)), dropped: Set(without.map(\.tier))),
            workLimit: effort.workLimit
        )
    }

    private var conditions: [Condition] {
        func pairs(_ list: [FunctionAddress], _ make: (FunctionAddress, FunctionAddress) -> Condition) -> [Condition] {
            stride(from: 0, to: list.count - 1, by: 2).map { make(list[$0], list[$0 + 1]) }
        }
        return keepGroup.map(Condition.keepGroup) + pairs(keepRoute, Condition.keepRoute)
            + pairs(sameSwitch, Condition.sameSwitch)
    }

    private func savedLayout(_ path: String) throws(CommandEnd) -> SavedLayout {
        let reading = ReadingOptions(paths: [path])
        return SavedLayout(try reading.topology(of: try reading.record()))
    }

    /// The plan for `topology`, which holds under as many behaviours of its kernel as can be.
    ///
    /// - Parameters:
    ///   - topology: the tree.
    ///   - isLive: whether it is this machine's, as it is now.
    ///   - log: the kernel's log, or nil.
    ///   - isQuiet: whether nothing is to be said on standard error.
    ///   - certifies: whether the plan is to carry the proof of what it claims.
    /// - Returns: the plan.
    /// - Throws: the end of the command when the wishes do not fit the tree.
    func plan(
        for topology: Topology,
        isLive: Bool = false,
        log: [String]? = nil,
        isQuiet: Bool,
        certifies: Bool = false
    ) throws(CommandEnd) -> Plan {
        for address in keep + allowDisturb + (onlyBelow.map { [$0] } ?? []) where topology[address] == nil {
            throw CommandEnd(.usage, "expected the address of a function, found none at \(address)")
        }
        let evidence = KernelChoice.evidence(for: topology, isLive: isLive, log: log, isQuiet: isQuiet)
        var planner = Planner(topology, evidence)
        planner.certifies = certifies
        let goals = try goals(for: topology)
        do {
            return try planner.plan(goals: goals, constraints: constraints)
        } catch {
            throw CommandEnd(error.code == .noSuchFunction ? .usage : .badInput, error.description)
        }
    }
}

extension Planner {
    /// A planner for a kernel that may have any of the behaviours left, the likeliest of which it plans with.
    init(_ topology: Topology, _ evidence: BehaviourEvidence) {
        self.init(topology: topology, behaviour: evidence.left.first)
        others = Array(evidence.left.behaviours.dropFirst())
        ruledOut = evidence.ruledOut
    }
}

/// What `--place` names.
enum Place: ExpressibleByArgument, Equatable {
    case all
    case function(FunctionAddress)

    init?(argument: String) {
        if argument == "all" {
            self = .all
        } else if let address = FunctionAddress(parsing: argument) {
            self = .function(address)
        } else {
            return nil
        }
    }
}

/// Reads the address of a function from the command line.
func functionAddress(_ text: String) throws -> FunctionAddress {
    guard let address = FunctionAddress(parsing: text) else {
        throw ValidationError("expected an address such as 0000:3a:00.0, found '\(text)'")
    }
    return address
}

extension Plan.Verdict.Answer {
    /// The exit status of a planning run.
    var exitStatus: ExitStatus {
        switch self {
        case .act, .none: .success
        case .refused: .refused
        case .impossible: .impossible
        case .unknown: .cannotTell
        }
    }
}
