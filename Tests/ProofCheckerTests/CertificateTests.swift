// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import Testing

@testable internal import ProofChecker

@Suite("certificates by themselves")
struct CertificateTests {
    private let checker = CertificateChecker()
    private let below4G = AddressRange(first: 0, last: 0xffff_ffff) ?? .all

    private func range(_ first: UInt64, _ last: UInt64) -> AddressRange {
        AddressRange(first: first, last: last) ?? .all
    }

    private func need(
        _ size: UInt64,
        _ kind: Certificate.Member.Kind = .memory,
        behind bridge: Int? = nil,
        alignment: UInt64? = nil
    ) -> Certificate.Member {
        Certificate.Member(
            .place(size: size, alignment: alignment ?? size, limits: below4G),
            kind: kind,
            label: "need",
            bridge: bridge
        )
    }

    private func stay(
        _ first: UInt64,
        _ last: UInt64,
        behind bridge: Int? = nil,
        holders: [Int] = []
    ) -> Certificate.Member {
        Certificate.Member(.stay(range(first, last)), kind: .memory, label: "held", bridge: bridge, holders: holders)
    }

    /// One aperture of memory, one of I/O, bus numbers 1 to 7, a bridge with all windows and one below it.
    private func certificate(
        _ members: [Certificate.Member]...,
        memory: AddressRange? = nil,
        claim: Certificate.Claim = .impossible
    ) throws -> Certificate {
        let windows = [
            Certificate.Window(kind: .io, granule: 0x1000, limits: below4G),
            Certificate.Window(kind: .memory, granule: 0x10_0000, limits: below4G),
            Certificate.Window(kind: .prefetchable, granule: 0x10_0000, limits: .all),
            Certificate.Window(kind: .bus, granule: 1, limits: range(0, 255)),
        ]
        let bridge = try #require(FunctionAddress(parsing: "0000:00:01.0"))
        let port = try #require(FunctionAddress(parsing: "0000:01:00.0"))
        return Certificate(
            claim: claim,
            fingerprint: 1,
            host: "0000:00",
            apertures: [
                Certificate.Aperture(kind: .memory, range: memory ?? range(0x8000_0000, 0xbfff_ffff)),
                Certificate.Aperture(kind: .io, range: range(0x1000, 0x3fff)),
            ],
            busNumbers: range(1, 7),
            bridges: [
                Certificate.Bridge(function: bridge, windows: windows),
                Certificate.Bridge(function: port, parent: 0, windows: windows),
            ],
            devices: [Certificate.Device(function: bridge, weight: 3), Certificate.Device(function: port, weight: 10)],
            conflicts: members
        )
    }

    private func fails(_ outcome: CertificateChecker.Outcome) -> Bool {
        if case .fails = outcome { true } else { false }
    }

    @Test("what just fits is no conflict, one byte or one step more is")
    func exactFits() throws {
        let half: UInt64 = 0x2000_0000
        #expect(fails(checker.check(try certificate([need(half), need(half)]))))
        #expect(checker.check(try certificate([need(half), need(half), need(4096)])) == .holds)
        #expect(fails(checker.check(try certificate([need(half), stay(0x8000_0000, 0x9fff_ffff)]))))
        #expect(checker.check(try certificate([need(half), need(half), stay(0x9fff_f000, 0x9fff_ffff)])) == .holds)
        let odd = range(0x8000_0000, 0xbfff_fffe)
        #expect(checker.check(try certificate([need(half), need(half)], memory: odd)) == .holds)
    }

    @Test("alignment counts, not only the sum")
    func alignment() throws {
        let skewed = range(0x9000_0000, 0xcfff_ffff)
        #expect(checker.check(try certificate([need(0x4000_0000)], memory: skewed)) == .holds)
        #expect(fails(checker.check(try certificate([need(0x4000_0000, alignment: 0x1000_0000)], memory: skewed))))
    }

    @Test("a window is one range: what is held at both its ends holds everything between")
    func contiguousWindows() throws {
        let ends = [
            stay(0x8000_0000, 0x800f_ffff, behind: 0), stay(0xbff0_0000, 0xbfff_ffff, behind: 0),
        ]
        #expect(checker.check(try certificate(ends + [need(0x10_0000)])) == .holds)
        #expect(fails(checker.check(try certificate(ends + [need(0x1000_0000, behind: 0)]))))
        #expect(fails(checker.check(try certificate(ends + [need(0x1000_0000, behind: 1)]))))
        // Another bridge's window takes a step of its own.
        let all: UInt64 = 0x3ff0_0000
        #expect(fails(checker.check(try certificate([need(all, alignment: 1 << 20), need(4096, behind: 1)]))))
        #expect(
            checker.check(try certificate([need(all + 4096, alignment: 4096), need(4096, behind: 1)])) == .holds
        )
    }

    @Test("a window that stays closed, or where it is, takes in no more")
    func keptWindows() throws {
        func window(_ range: AddressRange?) -> Certificate.Member {
            Certificate.Member(.window(range), kind: .memory, label: "window", bridge: 0)
        }
        let small = range(0x8000_0000, 0x800f_ffff)
        #expect(checker.check(try certificate([window(nil), need(4096, behind: 1)])) == .holds)
        #expect(checker.check(try certificate([window(small), need(0x20_0000, behind: 1)])) == .holds)
        #expect(fails(checker.check(try certificate([window(small), need(0x10_0000, behind: 1)]))))
        // Prefetchable memory has another window to go to.
        #expect(fails(checker.check(try certificate([window(nil), need(4096, .prefetchable, behind: 1)]))))
    }

    @Test("bus numbers: a bridge's own comes first in its range")
    func busNumbers() throws {
        let header = { (bridge: Int) in self.need(1, .bus, behind: bridge, alignment: 1) }
        let room = { (count: UInt64) in self.need(count, .busNumbers, behind: 1, alignment: 1) }
        #expect(fails(checker.check(try certificate([header(0), header(1), room(5)]))))
        #expect(checker.check(try certificate([header(0), header(1), room(6)])) == .holds)
    }

    @Test("whoever contradicts himself, needs nothing, or can do without proves nothing")
    func flaws() throws {
        #expect(fails(checker.check(try certificate([stay(0x8000_0000, 0x8000_0fff)]))))
        #expect(fails(checker.check(try certificate())))
        let torn = [
            stay(0x8000_0000, 0x8000_0fff, behind: 0), stay(0x9000_0000, 0x9000_0fff),
            stay(0xa000_0000, 0xa000_0fff, behind: 0),
        ]
        #expect(fails(checker.check(try certificate(torn + [need(4096)]))))
        var few = checker
        few.budget = 1
        guard case .undecided = few.check(try certificate([need(0x4000_0000), need(4096)])) else {
            Issue.record("expected no answer from one arrangement")
            return
        }
    }

    @Test("a conflict of thousands is given up, not searched for ever")
    func manyMembers() throws {
        let small = need(4096)
        for count in [600, 4000] {
            guard case .undecided = checker.check(try certificate(Array(repeating: small, count: count))) else {
                Issue.record("expected no answer for \(count) members")
                return
            }
        }
    }

    @Test("the least weight resolves every conflict, with everybody whose range gives way")
    func leastWeight() throws {
        let whole: UInt64 = 0x4000_0000
        let first = [need(whole), stay(0x8000_0000, 0x8000_0fff, holders: [0])]
        let second = [
            need(whole), stay(0x9000_0000, 0x9000_0fff, holders: [0, 1]), stay(0x9800_0000, 0x9800_0fff, holders: [1]),
        ]
        #expect(checker.check(try certificate(first, claim: .least(3))) == .holds)
        #expect(fails(checker.check(try certificate(first, claim: .least(4)))))
        #expect(checker.check(try certificate(second, claim: .least(10))) == .holds)
        #expect(checker.check(try certificate(first, second, claim: .least(13))) == .holds)
        #expect(fails(checker.check(try certificate(first, second, claim: .least(14)))))
        var certain = try certificate(first, claim: .least(13))
        certain.certain = [1]
        #expect(checker.check(certain) == .holds)
        certain.certain = [0]
        #expect(fails(checker.check(certain)))
    }

    @Test("a certificate is read as it was written, and damaged ones are refused")
    func documents() throws {
        var whole = try certificate(
            [need(0x4000_0000, behind: 1), stay(0x8000_0000, 0x8000_0fff, behind: 0, holders: [0])],
            claim: .least(3)
        )
        whole.certain = [1]
        whole.highestAddress = 0xffff_ffff
        whole.conflicts[0].append(
            Certificate.Member(.window(nil), kind: .io, label: "window", bridge: 0)
        )
        whole.conflicts[0].append(
            Certificate.Member(.obstacle(range(0x9000_0000, 0x9000_ffff)), kind: .memory, label: "x")
        )
        whole.conflicts[0][0].resource = Certificate.ResourceName(
            function: whole.bridges[1].function,
            index: try #require(ResourceIndex.bar(2))
        )
        let document = whole.document
        #expect(try Certificate(parsing: document) == whole)
        let text = String(decoding: document, as: UTF8.self)
        for (word, other) in [
            ("certificate/1", "certificate/2"), ("\"least\"", "\"perhaps\""), ("\"parent\": 0", "\"parent\": 1"),
            ("\"bridge\": 1", "\"bridge\": 2"), ("\"size\": \"0x40000000\"", "\"size\": \"0x0\""),
            ("\"alignment\": \"0x40000000\"", "\"alignment\": \"0x3\""), ("\"stay\"", "\"sit\""),
        ] {
            #expect(text.contains(word))
            let damaged = text.split(separator: word, maxSplits: 1, omittingEmptySubsequences: false).joined(
                separator: other
            )
            #expect(throws: JSONError.self, "\(word)") { try Certificate(parsing: Array(damaged.utf8)) }
        }
        for length in stride(from: 0, to: document.count - 2, by: 97) {
            #expect(throws: JSONError.self) { try Certificate(parsing: Array(document.prefix(length))) }
        }
    }
}
