// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import LibPCIBridge
import PCITopology
import RebalancePlanner

/// What the next boot is to reach; as typed.
struct BootGoalOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Find the words with which this function, and what is below it, gets its place; all for everything. May be "
                + "given several times.",
            valueName: "address|all"
        )
    )
    var place: [Place] = []

    @Option(
        help: ArgumentHelp(
            "Find the words with which this card fits when it is plugged into the port after the boot. May be given "
                + "several times.",
            valueName: "port=card"
        )
    )
    var card: [CardWish] = []

    @Option(
        help: ArgumentHelp(
            "Find the words that keep this much room free below a port. May be given several times.",
            valueName: "port=mem:s,pref:s,io:s,buses:n"
        ),
        transform: ReserveWish.init
    )
    var reserve: [ReserveWish] = []

    @Option(
        help: ArgumentHelp(
            "Find the words with which a resizable BAR can be given this size after the boot. May be given several times.",
            valueName: "address:bar=size|max"
        )
    )
    var resize: [ResizeWish] = []

    @Option(
        help: ArgumentHelp(
            "Find the words with which this many VFs of a function can be enabled. May be given several times.",
            valueName: "address=n"
        )
    )
    var vfs: [VFWish] = []

    /// The goals, in a fixed order; empty when none was given.
    func goals() throws(CommandEnd) -> [BootGoal] {
        var result: [BootGoal] = []
        if place.contains(.all) { result.append(.plan(.everythingRequired)) }
        for one in place {
            if case .function(let address) = one { result.append(.plan(.place(address))) }
        }
        for one in card { result.append(.card(port: one.port, try CardWords.card(one.card))) }
        result += reserve.map { .plan(.reserve($0.port, $0.room)) }
        result += resize.map { .plan(.resize($0.address, bar: $0.bar, size: $0.size)) }
        result += vfs.map { .plan(.virtualFunctions($0.address, count: $0.count)) }
        return result
    }
}

/// What `--card` names: `02:01.0=gpu-16g`.
struct CardWish: ExpressibleByArgument, Equatable {
    var port: FunctionAddress
    var card: String

    init?(argument: String) {
        guard let equals = argument.firstIndex(of: "="), let port = FunctionAddress(parsing: argument[..<equals]) else {
            return nil
        }
        self.port = port
        card = String(argument[argument.index(after: equals)...])
    }
}

/// What `--reserve` asks for: `02:01.0=mem:64M,pref:16G,buses:4`.
struct ReserveWish: Equatable {
    var port: FunctionAddress
    var room: Headroom

    private static let kinds = ["mem", "pref", "io", "buses"]

    /// Reads the words.
    ///
    /// - Throws: `ValidationError`, what was expected and what was found.
    init(_ argument: String) throws {
        let sides = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard sides.count == 2, !sides[1].isEmpty else {
            throw ValidationError("expected a port, = and sizes, such as 02:01.0=pref:16G,buses:4")
        }
        guard let port = FunctionAddress(parsing: sides[0]) else {
            throw ValidationError("expected the address of a port such as 0000:3a:00.0, found \(sides[0])")
        }
        self.port = port
        room = Headroom()
        var seen: Set<Substring> = []
        for part in sides[1].split(separator: ",", omittingEmptySubsequences: false) {
            let pair = part.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let kind = String(pair[0])
            guard Self.kinds.contains(kind) else {
                throw ValidationError(
                    "expected one of \(Self.kinds.joined(separator: ", ")), found \(kind)"
                        + Spelling.question(kind, among: Self.kinds)
                )
            }
            guard pair.count == 2 else { throw ValidationError("expected a number after \(kind), such as \(kind):16") }
            guard seen.insert(pair[0]).inserted else { throw ValidationError("expected \(kind) once, found it again") }
            if kind == "buses" {
                guard let count = Int(pair[1]), (1...255).contains(count) else {
                    throw ValidationError("expected 1 to 255 bus numbers, found \(pair[1])")
                }
                room.buses = count
                continue
            }
            guard let size = ByteCount(parsing: String(pair[1])), size > .zero else {
                throw ValidationError("expected a size such as 64M, found \(pair[1])")
            }
            switch kind {
            case "io": room.io = size
            case "mem": room.memory = size
            default: room.prefetchable = size
            }
        }
    }
}
