// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology
import PlanExecutor
import RebalancePlanner

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

/// What `--reserve` asks for: room below a port, or what each port has held before.
enum ReserveChoice: Equatable {
    /// `auto`: by this machine's ledger; `auto=FILE`: by one that `event --status --json` printed.
    case auto(String?)
    case room(ReserveWish)

    /// Reads the words.
    ///
    /// - Throws: `ValidationError`, what was expected and what was found.
    init(_ argument: String) throws {
        if argument == "auto" {
            self = .auto(nil)
        } else if argument.hasPrefix("auto="), argument.utf8.count > 5 {
            self = .auto(String(argument.dropFirst(5)))
        } else {
            self = .room(try ReserveWish(argument))
        }
    }

    /// The goals for a tree.
    func goals(for topology: Topology) throws(CommandEnd) -> [Goal] {
        let path: String?
        switch self {
        case .room(let wish): return [.reserve(wish.port, wish.room)]
        case .auto(let file): path = file
        }
        let reserves = try ledger(path).reserves(in: topology)
        guard !reserves.isEmpty else {
            throw CommandEnd(.cannotTell, "no hot-plug port that is empty now was seen to hold anything")
        }
        return reserves.map { .reserve($0.port, $0.room) }
    }

    private func ledger(_ path: String?) throws(CommandEnd) -> EventLedger {
        do {
            guard let path else { return try EventLedger.read(DirectoryJournalDisk()) }
            return try EventLedger.decode(try RecordedInput.document(at: path))
        } catch let error as JournalError {
            throw CommandEnd(error.code == .notPermitted ? .notPermitted : .badInput, error.description)
        } catch let error as ReadError {
            throw CommandEnd(error)
        } catch {
            throw CommandEnd(.badInput, "\(path ?? ""): \(error)")
        }
    }
}

/// What `--at` asks for: `86:00.0:2=0x380000000000`.
struct PlaceWish: ExpressibleByArgument, Equatable {
    var address: FunctionAddress
    var bar: Int
    /// The first CPU address.
    var start: UInt64

    init?(argument: String) {
        let sides = argument.split(separator: "=", omittingEmptySubsequences: false)
        guard sides.count == 2, let colon = sides[0].lastIndex(of: ":"),
            let address = FunctionAddress(parsing: sides[0][..<colon]),
            let bar = Int(sides[0][sides[0].index(after: colon)...]), (0...5).contains(bar),
            let start = ByteCount(parsing: String(sides[1]))?.rawValue, start > 0
        else { return nil }
        self.address = address
        self.bar = bar
        self.start = start
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

/// What `--max-addr` names: an address, or a size that stands for the last address below it.
struct HighestAddress: ExpressibleByArgument, Equatable {
    var address: UInt64

    init?(argument: String) {
        guard let value = ByteCount(parsing: argument)?.rawValue, value > 0 else { return nil }
        // 4G is the first address that is too high; 0xffffffff is the last that is not.
        address = value & 0xfff == 0 ? value - 1 : value
    }
}

/// What `--with` and `--without` name.
struct TierWord: ExpressibleByArgument, Equatable {
    var tier: OptionalTiers.Tier

    static var allValueStrings: [String] { OptionalTiers.Tier.allCases.map(\.rawValue) }

    init?(argument: String) {
        guard let tier = OptionalTiers.Tier(rawValue: argument) else { return nil }
        self.tier = tier
    }
}
