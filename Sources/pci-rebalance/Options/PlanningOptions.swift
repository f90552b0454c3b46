// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import PCITopology
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
            "Make room and bus numbers for this many VFs of a function. May be given several times.",
            valueName: "address=n"
        )
    )
    var vfs: [VFWish] = []

    @Option(
        help: ArgumentHelp("Leave this function alone, and what is below it.", valueName: "address"),
        transform: functionAddress
    )
    var keep: [FunctionAddress] = []

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

    func validate() throws {
        if let maxMoves, maxMoves < 0 { throw ValidationError("expected --max-moves 0 or more, found \(maxMoves)") }
    }

    /// The goals.
    var goals: [Goal] {
        let places = place.compactMap { if case .function(let address) = $0 { Goal.place(address) } else { nil } }
        let wishes =
            resize.map { Goal.resize($0.address, bar: $0.bar, size: $0.size) }
            + vfs.map { Goal.virtualFunctions($0.address, count: $0.count) }
        if place.contains(.all) { return [.everythingRequired] + wishes }
        return places.isEmpty && wishes.isEmpty ? [.everythingRequired] : places + wishes
    }

    /// The constraints.
    var constraints: Constraints {
        Constraints(
            keep: Set(keep),
            allowDisturb: Set(allowDisturb),
            onlyBelow: onlyBelow,
            maxMoves: maxMoves
        )
    }

    /// The plan for `topology`.
    func plan(for topology: Topology, isQuiet: Bool) throws(CommandEnd) -> Plan {
        for address in keep + allowDisturb + (onlyBelow.map { [$0] } ?? []) where topology[address] == nil {
            throw CommandEnd(.usage, "expected the address of a function, found none at \(address)")
        }
        let planner = Planner(
            topology: topology,
            behaviour: KernelChoice.behaviour(for: topology, isQuiet: isQuiet)
        )
        do {
            return try planner.plan(goals: goals, constraints: constraints)
        } catch {
            throw CommandEnd(error.code == .noSuchFunction ? .usage : .badInput, error.description)
        }
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
        }
    }
}

/// What `--resize` asks for: `86:00.0:2=16G` or `86:00.0:2=max`.
struct ResizeWish: ExpressibleByArgument, Equatable {
    var address: FunctionAddress
    var bar: Int
    /// The size; nil for the largest that fits.
    var size: ByteCount?

    init?(argument: String) {
        let sides = argument.split(separator: "=", omittingEmptySubsequences: false)
        guard sides.count == 2, let colon = sides[0].lastIndex(of: ":"),
            let address = FunctionAddress(parsing: sides[0][..<colon]),
            let bar = Int(sides[0][sides[0].index(after: colon)...]), (0...5).contains(bar)
        else { return nil }
        self.address = address
        self.bar = bar
        if sides[1] == "max" { return }
        guard let size = ByteCount(parsing: String(sides[1])) else { return nil }
        self.size = size
    }
}

/// What `--vfs` asks for: `07:00.0=7`.
struct VFWish: ExpressibleByArgument, Equatable {
    var address: FunctionAddress
    var count: Int

    init?(argument: String) {
        let sides = argument.split(separator: "=", omittingEmptySubsequences: false)
        guard sides.count == 2, let address = FunctionAddress(parsing: sides[0]), let count = Int(sides[1]), count > 0
        else { return nil }
        self.address = address
        self.count = count
    }
}
