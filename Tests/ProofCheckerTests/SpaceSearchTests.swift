// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import TestSupport
internal import Testing

@testable internal import ProofChecker

/// The search against trying every place of everything, in a space of sixteen addresses.
@Suite("arrangements against trying every place")
struct SpaceSearchTests {
    /// A need, or something that holds its range, behind one of two bridges or on the root bus.
    private struct Piece {
        var size: Int
        var alignment: Int
        var bridge: Int?
        var fixed: Int?
    }

    private static let space = 16
    /// The granule of windows.
    private static let step = 2

    @Test("the same answer for small random spaces")
    func random() throws {
        var fitting = 0
        for n in 0..<1200 {
            var draw = SplitMix64(seed: 77_000 + UInt64(n))
            let isNested = draw.below(2) == 0
            let pieces = (0..<(2 + draw.below(2))).map { _ in
                let size = 1 + draw.below(6)
                var piece = Piece(size: size, alignment: 1 << draw.below(3), bridge: nil)
                if draw.below(4) > 0 { piece.bridge = draw.below(2) }
                if draw.below(4) == 0 { piece.fixed = draw.below(Self.space - size + 1) }
                return piece
            }
            let expected = Self.tries(pieces, isNested: isNested)
            var search = try SpaceSearch(Self.certificate(isNested), Self.members(pieces), .memory, budget: 1_000_000)
            #expect(try search.fits() == expected, "\(pieces), nested: \(isNested)")
            if expected { fitting += 1 }
        }
        #expect(fitting > 300 && fitting < 1100)
    }

    private static func certificate(_ isNested: Bool) throws -> Certificate {
        let all = try #require(AddressRange(first: 0, last: UInt64(space) - 1))
        let window = Certificate.Window(kind: .memory, granule: UInt64(step), limits: .all)
        let first = try #require(FunctionAddress(parsing: "0000:00:01.0"))
        let second = try #require(FunctionAddress(parsing: "0000:00:02.0"))
        return Certificate(
            claim: .impossible,
            fingerprint: 0,
            apertures: [Certificate.Aperture(kind: .memory, range: all)],
            bridges: [
                Certificate.Bridge(function: first, windows: [window]),
                Certificate.Bridge(function: second, parent: isNested ? 0 : nil, windows: [window]),
            ]
        )
    }

    private static func members(_ pieces: [Piece]) throws -> [Certificate.Member] {
        try pieces.map { piece in
            let first = UInt64(piece.fixed ?? 0)
            let range = try #require(AddressRange(first: first, size: UInt64(piece.size)))
            return Certificate.Member(
                piece.fixed != nil
                    ? .stay(range) : .place(size: UInt64(piece.size), alignment: UInt64(piece.alignment), limits: .all),
                kind: .memory,
                label: "piece",
                bridge: piece.bridge
            )
        }
    }

    /// Whether any places of all pieces go with any windows.
    private static func tries(_ pieces: [Piece], isNested: Bool, _ starts: [Int] = []) -> Bool {
        guard starts.count == pieces.count else {
            let piece = pieces[starts.count]
            let choices =
                piece.fixed.map { [$0] } ?? Array(stride(from: 0, through: space - piece.size, by: piece.alignment))
            return choices.contains { tries(pieces, isNested: isNested, starts + [$0]) }
        }
        // A window is as small as what is in it lets it be: a larger one is in more ways.
        func window(_ bridge: Int, _ inner: (Int, Int)?) -> (Int, Int)? {
            var ends = zip(pieces, starts).filter { $0.0.bridge == bridge }.map { ($0.1, $0.1 + $0.0.size) }
            if let inner { ends.append(inner) }
            guard let first = ends.map(\.0).min(), let end = ends.map(\.1).max() else { return nil }
            return (first / step * step, (end + step - 1) / step * step)
        }
        let second = window(1, nil)
        return agrees(pieces, starts, [window(0, isNested ? second : nil), second], isNested)
    }

    private static func agrees(_ pieces: [Piece], _ starts: [Int], _ windows: [(Int, Int)?], _ isNested: Bool) -> Bool {
        // What lies on each bus: the root bus is 2.
        var lines: [[(first: Int, end: Int, isFixed: Bool)]] = [[], [], []]
        for (piece, start) in zip(pieces, starts) {
            lines[piece.bridge ?? 2].append((start, start + piece.size, piece.fixed != nil))
        }
        if let a = windows[0] { lines[2].append((a.0, a.1, false)) }
        if let b = windows[1] { lines[isNested ? 0 : 2].append((b.0, b.1, false)) }
        for (n, line) in lines.enumerated() {
            let room = n == 2 ? (0, space) : windows[n] ?? (0, 0)
            for (i, x) in line.enumerated() {
                guard x.first >= room.0, x.end <= room.1 else { return false }
                for y in line[..<i] where x.first < y.end && y.first < x.end && !(x.isFixed && y.isFixed) {
                    return false
                }
            }
        }
        return true
    }
}
