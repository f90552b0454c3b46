// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// What a plan may write at all: each rule at its edge, and one beyond.
@Suite("rules for writes")
struct WriteRuleTests {
    private static let address = FunctionAddress(bus: BusNumber(1), devfn: 0)

    private static func isAllowed(_ write: SystemWrite) -> Bool { WriteRules.fault(in: write) == nil }

    private static func isAllowed(_ offset: Int, _ width: Int, _ mask: UInt32? = nil, _ value: UInt32 = 0) -> Bool {
        let whole: UInt32 = width == 1 ? 0xff : width == 2 ? 0xffff : .max
        return isAllowed(
            .config(
                address,
                offset: offset,
                width: width,
                mask: mask ?? (offset >= 0x100 ? 0x3f00 : whole),
                value: value
            )
        )
    }

    @Test("every byte of a header: COMMAND, BARs, numbers, windows and bridge control, and no other")
    func headerBytes() {
        for offset in 0..<256 {
            // COMMAND 04-05; BARs to the I/O limit's upper half 10-33; bridge control 3e-3f.
            let isMeant = [4, 5, 0x3e, 0x3f].contains(offset) || (0x10...0x33).contains(offset)
            #expect(Self.isAllowed(offset, 1) == isMeant, "\(offset)")
        }
    }

    @Test("a register is aligned, lies in the space as a whole, and in one allowed piece of it")
    func widths() {
        #expect(Self.isAllowed(4, 2) && !Self.isAllowed(4, 4), "STATUS is not a plan's business")
        #expect(Self.isAllowed(0x10, 4) && Self.isAllowed(0x30, 4) && !Self.isAllowed(0x34, 4))
        #expect(!Self.isAllowed(0x0c, 4) && Self.isAllowed(0x3e, 2) && !Self.isAllowed(0x3c, 4))
        for (offset, width) in [(0x11, 2), (0x12, 4), (0x13, 2), (5, 2)] { #expect(!Self.isAllowed(offset, width)) }
        for width in [-1, 0, 3, 5, 8] { #expect(!Self.isAllowed(0x10, width), "\(width)") }
        #expect(Self.isAllowed(0x100, 4) && Self.isAllowed(0xffc, 4))
        for offset in [-4, -1, 0x1000, 0xffe, Int.max - 3, Int.min] { #expect(!Self.isAllowed(offset, 4), "\(offset)") }
    }

    @Test("a mask lies within the width, and a value within the mask")
    func masks() {
        #expect(!Self.isAllowed(4, 2, 0))
        #expect(Self.isAllowed(4, 2, 0xffff, 0xffff) && !Self.isAllowed(4, 2, 0x1_0000))
        #expect(Self.isAllowed(0x10, 1, 0x80, 0x80) && !Self.isAllowed(0x10, 1, 0x100, 0x100))
        #expect(Self.isAllowed(0x10, 4, .max, .max) && Self.isAllowed(0x10, 4, 1 << 31, 1 << 31))
        #expect(!Self.isAllowed(4, 2, 0x7, 0x8) && Self.isAllowed(4, 2, 0x7, 0x7))
    }

    @Test("in extended space only the size field, bits 8 to 13 of a whole register")
    func resizableBARs() {
        for bit in 0..<32 as Range<UInt32> {
            #expect(Self.isAllowed(0x108, 4, 1 << bit) == (8...13).contains(bit), "\(bit)")
        }
        #expect(!Self.isAllowed(0x108, 2, 0x3f00) && !Self.isAllowed(0x109, 1, 0x3f))
    }

    @Test("sizes, counts and names at their limits")
    func limits() {
        for (bar, exponent, isMeant) in [
            (0, 0, true), (5, 43, true), (6, 0, false), (-1, 0, false), (0, 44, false), (0, -1, false),
        ] {
            #expect(Self.isAllowed(.resizeBAR(Self.address, bar: bar, exponent: exponent)) == isMeant)
        }
        for (count, isMeant) in [(0, true), (65_535, true), (65_536, false), (-1, false)] {
            #expect(Self.isAllowed(.sriovNumVFs(Self.address, count: count)) == isMeant)
        }
        for (name, isMeant) in [
            ("1", true), (String(repeating: "x", count: 64), true), (String(repeating: "x", count: 65), false),
            ("", false), (".x", false), ("x.", true), ("a/b", false), ("a b", true), ("a\u{7f}", false), ("~", true),
            ("a\u{1f}", false),
        ] {
            #expect(Self.isAllowed(.slotPower(slot: name, on: true)) == isMeant, "\(name)")
        }
        for (name, isMeant) in [
            ("vfio-pci", true), ("a_Z09", true), (String(repeating: "x", count: 64), true), ("", false),
            (String(repeating: "x", count: 65), false), ("a b", false), ("a.b", false), ("a/b", false), ("@", false),
            ("[", false), ("{", false), ("`", false), (":", false),
        ] {
            #expect(Self.isAllowed(.driverOverride(Self.address, driver: name)) == isMeant, "\(name)")
        }
    }

    @Test("alignment texts as the kernel parses them")
    func alignments() {
        for text in [
            "", "01:00.0", "20@01:00.0", "0@0001:01:00.0", "63@01:00.0", "12@0000:00:01.0/00.0",
            "20@pci:8086:1572", "pci:8086:1572:1:2", "20@01:00.0;21@02:00.0",
        ] {
            #expect(Self.isAllowed(.resourceAlignment(text)), "\(text)")
        }
        for text in [
            "64@01:00.0", "-1@01:00.0", "100@01:00.0", "@01:00.0", "20@", "20@20@01:00.0", ";", "20@01:00.0;",
            "20@pci:8086", "20@pci:8086:1:2", "20@pci:8086:1:2:3:4", "20@pci:123456789:1", "20@pci::1",
            "20@pci:80g6:1", "20@nonsense", "20@pci:80/6:1", "20@pci:80:6:",
        ] {
            #expect(!Self.isAllowed(.resourceAlignment(text)), "\(text)")
        }
        let entry = "20@01:00.0;"
        let most = String(repeating: entry, count: 4000 / entry.utf8.count)
        #expect(Self.isAllowed(.resourceAlignment(String(most.dropLast()))))
        #expect(!Self.isAllowed(.resourceAlignment(most + most)))
    }

    @Test("what undoes a write: the value saved, within the mask; nothing where nothing was saved")
    func undoing() {
        func undone(_ write: SystemWrite, _ saved: SavedValue?) -> SystemWrite? { write.undone(saved) }
        let config = SystemWrite.config(Self.address, offset: 4, width: 2, mask: 0x7, value: 0)
        #expect(
            undone(config, .number(0x0447)) == .config(Self.address, offset: 4, width: 2, mask: 0x7, value: 0x7)
        )
        #expect(undone(config, nil) == nil && undone(config, .text("7")) == nil)
        #expect(undone(.resourceAlignment("20@01:00.0"), .text("")) == .resourceAlignment(""))
        #expect(undone(.sriovNumVFs(Self.address, count: 0), .number(7)) == .sriovNumVFs(Self.address, count: 7))
        #expect(
            undone(.resizeBAR(Self.address, bar: 2, exponent: 9), .number(4))
                == .resizeBAR(Self.address, bar: 2, exponent: 4)
        )
        #expect(undone(.slotPower(slot: "1", on: false), .number(1)) == .slotPower(slot: "1", on: true))
        #expect(undone(.slotPower(slot: "1", on: true), .number(0)) == .slotPower(slot: "1", on: false))
        #expect(undone(.unbindDriver(Self.address), nil) == .probeDriver(Self.address))
        for write in [SystemWrite.remove(Self.address), .rescanAll, .probeDriver(Self.address)] {
            #expect(undone(write, .number(1)) == nil)
        }
    }

    @Test("writes that make functions come, go or move, and the function that each goes to")
    func kinds() {
        let changing: [SystemWrite] = [
            .remove(Self.address), .rescanDevice(Self.address), .sriovNumVFs(Self.address, count: 1),
            .resizeBAR(Self.address, bar: 0, exponent: 1), .rescanBus(segment: 0, bus: BusNumber(1)), .rescanAll,
            .slotPower(slot: "1", on: true),
        ]
        let others: [SystemWrite] = [
            .config(Self.address, offset: 4, width: 2, mask: 1, value: 1), .unbindDriver(Self.address),
            .probeDriver(Self.address), .driverOverride(Self.address, driver: "x"), .resourceAlignment(""),
        ]
        #expect(changing.allSatisfy(\.changesTree) && !others.contains(where: \.changesTree))
        #expect(changing.map { $0.address != nil } == [true, true, true, true, false, false, false])
        #expect(others.map { $0.address != nil } == [true, true, true, true, false])
    }
}

/// Plans that must not be carried out, by each of the reasons.
@Suite("plans that are refused unread by the machine")
struct PlanSafetyTests {
    private func fault(_ change: (inout Plan) -> Void) -> String? {
        var plan = Fake.grow(Fake.machine())
        change(&plan)
        return PlanSafety.fault(in: plan)?.reason
    }

    @Test("each reason, and a plan without any")
    func reasons() throws {
        let machine = Fake.machine()
        let card = Fake.at(Fake.card, machine)
        let stranger = FunctionAddress(bus: BusNumber(0xee), devfn: 0)
        #expect(fault { _ in } == nil)
        #expect(fault { $0.after = $0.before } == "inconsistent-plan")
        for inWayBack in [false, true] {
            func adding(_ write: SystemWrite) -> String? {
                fault { if inWayBack { $0.steps[1].wayBack.append(write) } else { $0.steps[1].writes.append(write) } }
            }
            #expect(adding(.config(card, offset: 0, width: 2, mask: 1, value: 0)) == "forbidden-write")
            #expect(adding(.driverOverride(card, driver: "vfio-pci")) == "forbidden-write")
            #expect(adding(.remove(stranger)) == "unknown-function")
            #expect(adding(.rescanAll) == nil)
        }
        // The tree at the end without the card.
        let lost = fault { plan in
            plan.after.functions.removeAll { $0.address == card }
            plan.steps[plan.steps.count - 1].after = plan.after
        }
        #expect(lost == nil || lost == "plan-loses")
        let first = try #require(machine.tree.functions.first)
        #expect(
            fault { plan in
                plan.after.functions.removeAll { $0.address == first.address }
                plan.steps[plan.steps.count - 1].after = plan.after
            } == "plan-loses"
        )
    }

    @Test("who is removed: the function and all below, up to the step that counts, in address order")
    func removed() {
        let machine = Fake.machine()
        let plan = Fake.renumber(machine)
        let upstream = Fake.at(Fake.upstream, machine)
        func below(_ address: FunctionAddress) -> [FunctionAddress] {
            guard let root = machine.tree.functions.first(where: { $0.address == address }) else { return [] }
            return machine.tree.functions.filter { root.path.isAncestorOrSelf(of: $0.path) }.map(\.address)
        }
        #expect(PlanSafety.removed(by: plan, upTo: 0).map(\.address) == below(upstream))
        #expect(PlanSafety.removed(by: plan).map(\.address) == below(Fake.at(Fake.rootPort, machine)))
        #expect(below(upstream).count > 1)
        // A plan that takes VFs away stops them too.
        var other = plan
        let victim = machine.tree.functions[machine.tree.functions.count - 1]
        other.steps = [
            PlanStep(
                purpose: "VFs",
                preconditions: [],
                writes: [.sriovNumVFs(upstream, count: 0)],
                after: TreeState(machine.tree.functions.filter { $0.address != victim.address })
            )
        ]
        #expect(PlanSafety.removed(by: other).map(\.address) == [victim.address])
        other.steps[0].writes = []
        #expect(PlanSafety.removed(by: other).isEmpty)
    }
}

/// What `event` remembers, at the edges of its hour and of its lists.
@Suite("the ledger of events")
struct EventLedgerTests {
    private let policy = EventPolicy()

    @Test("a plan counts for an hour less a second, and not when it lies in the future")
    func hour() {
        var ledger = EventLedger()
        ledger.begin("a", at: 10_000)
        #expect(ledger.applies(before: 10_000) == 1)
        #expect(ledger.applies(before: 13_599) == 1)
        #expect(ledger.applies(before: 13_600) == 0)
        #expect(ledger.applies(before: 9_999) == 0)
        // What is older than an hour is forgotten when the next one begins; what lies in the future, too.
        ledger.begin("b", at: 13_599)
        #expect(ledger.applies == [10_000, 13_599])
        ledger.begin("c", at: 13_600)
        #expect(ledger.applies == [13_599, 13_600])
        ledger.begin("d", at: 100)
        #expect(ledger.applies == [100])
    }

    @Test("failures count up from the beginning of a plan, and are forgotten when it succeeds")
    func failures() {
        var ledger = EventLedger()
        #expect(ledger.failures(of: "a") == 0)
        for n in 1...policy.attempts {
            ledger.begin("a", at: Int64(n))
            #expect(ledger.failures(of: "a") == n)
            #expect(ledger.failures.last?.reason == "begun" && ledger.failures.last?.time == Int64(n))
            #expect(ledger.lockedOut(policy).count == (n < policy.attempts ? 0 : 1))
            ledger.end("a", isReached: false, reason: "lost")
            #expect(ledger.failures.last?.reason == "lost" && ledger.failures(of: "a") == n)
        }
        ledger.begin("b", at: 99)
        ledger.end("c", isReached: true, reason: "done")
        #expect(ledger.failures.map(\.key) == ["a", "b"])
        ledger.end("a", isReached: true, reason: "done")
        #expect(ledger.failures.map(\.key) == ["b"])
    }

    @Test(
        "what ports have held: the greatest need of each kind, kept when failures are forgotten, given to empty ports"
    )
    func held() throws {
        func machine(_ name: String) throws -> Topology {
            let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
            let path = "\(root)/Fixtures/first-light-6.12/\(name).snapshot.json"
            return try TopologyAssembler(SnapshotFile(path: path).read()).topology()
        }
        let full = try machine("failed-hot-add")
        var ledger = EventLedger()
        #expect(!ledger.noteHeld(full, at: 5) { _ in false })
        #expect(ledger.noteHeld(full, at: 5) { _ in true })
        // 4 KiB, 256 ports, 1 GiB of the card that has no place yet: what it needs counts, not what it got.
        let port = try #require(ledger.held.first { $0.port == "0000:00:02.0/00.0/01.0" })
        #expect(port.room.memory == ByteCount(0x1000) && port.room.prefetchable == ByteCount(1 << 30))
        #expect(port.room.io == ByteCount(0x100) && port.room.buses == 0 && port.time == 5)
        // Through the root port: both cards, in granules of windows, and the switch's three bridges.
        let root = try #require(ledger.held.first { $0.port == "0000:00:02.0" })
        #expect(root.room.prefetchable == ByteCount(1 << 30 + 16 << 20) && root.room.buses == 3)
        #expect(root.room.memory == ByteCount(2 << 20) && root.room.io == ByteCount(0x2000))
        #expect(!ledger.noteHeld(full, at: 6) { _ in true }, "nothing grew")
        let empty = try machine("boot")
        #expect(!ledger.noteHeld(empty, at: 7) { _ in true }, "less than before")
        let reserves = ledger.reserves(in: empty)
        #expect(reserves.map(\.port.description) == ["0000:02:01.0"] && reserves.map(\.room) == [port.room])
        #expect(ledger.reserves(in: full).isEmpty)
        ledger.begin("a", at: 9)
        ledger.forgetFailures()
        #expect(ledger.failures.isEmpty && ledger.applies.isEmpty && ledger.held.count == 3)
        #expect(try EventLedger.decode(ledger.document) == ledger)
        // 64 ports and no more.
        for n in 0..<70 { ledger.remember(HeldRoom(port: "\(n)", room: port.room, time: 1)) }
        #expect(ledger.held.count == 64 && ledger.held.last?.port == "69")
    }

    @Test("a ledger from before it remembered ports is read; one that lies about them is not")
    func heldDocument() throws {
        let old = #"{"applies":[],"failures":[],"schema":"pci-rebalance.events/1"}"#
        #expect(try EventLedger.decode(Array(old.utf8)) == EventLedger())
        for wrong in [
            #"7"#, #"[{}]"#, #"[{"buses":256,"io":"0x0","memory":"0x0","port":"a","prefetchable":"0x0","time":1}]"#,
        ] {
            let text = #"{"applies":[],"failures":[],"held":\#(wrong),"schema":"pci-rebalance.events/1"}"#
            #expect(throws: JSONError.self) { try EventLedger.decode(Array(text.utf8)) }
        }
    }

    @Test("the lists keep the latest 64 failures and 1000 beginnings")
    func growth() {
        var ledger = EventLedger()
        for n in 0..<1001 { ledger.begin("key \(n)", at: 1000) }
        #expect(ledger.failures.map(\.key) == (937...1000).map { "key \($0)" })
        #expect(ledger.applies.count == 1000)
        for _ in 0..<1100 { ledger.begin("x", at: 1000) }
        #expect(ledger.failures(of: "x") == 1000)
    }
}

/// The journal's frame, computed here by hand.
@Suite("frames of the journal")
struct JournalFrameTests {
    @Test("the checksum is that of IEEE 802.3")
    func checksum() {
        var crc = CRC32()
        #expect(crc.value == 0)
        crc.mix(Array("123456789".utf8))
        #expect(crc.value == 0xcbf4_3926)
        var word = CRC32()
        word.mix(0x3433_3231 as UInt32)
        var bytes = CRC32()
        bytes.mix(Array("1234".utf8))
        #expect(word.value == bytes.value)
    }

    @Test("records are read back; a byte changed anywhere, or cut off, ends the readable part there")
    func damage() throws {
        let payloads = [[], [0x0a], Array("one".utf8), Array(repeating: 0x20, count: 300)]
        var chain = JournalFrame.Chain()
        var file = JournalFrame.version
        var ends: [Int] = []
        for payload in payloads {
            file += JournalFrame.encode(payload, &chain)
            ends.append(file.count)
        }
        let whole = try #require(JournalFrame.decode(file))
        #expect(whole.payloads == payloads && whole.chain == chain && !whole.isTorn)
        #expect(whole.chain.offset == file.count && whole.chain.number == 4)
        // Room that was reserved and not written is not torn.
        let reserved = try #require(JournalFrame.decode(file + Array(repeating: 0, count: 64)))
        #expect(reserved.payloads == payloads && !reserved.isTorn)
        for i in JournalFrame.version.count..<file.count {
            var damaged = file
            damaged[i] ^= 0x40
            let read = try #require(JournalFrame.decode(damaged))
            #expect(read.payloads.count == ends.count { $0 <= i }, "byte \(i)")
            #expect(read.isTorn == (damaged[read.chain.offset] != 0))
            let cut = try #require(JournalFrame.decode(Array(file[..<i])))
            #expect(cut.payloads.count == ends.count { $0 <= i }, "cut at \(i)")
        }
        for i in JournalFrame.version.indices {
            var damaged = file
            damaged[i] ^= 1
            #expect(JournalFrame.decode(damaged) == nil)
        }
    }

    @Test("a record that belongs elsewhere is not read: its number and the checksum before it count")
    func order() throws {
        var chain = JournalFrame.Chain()
        let first = JournalFrame.encode([1], &chain)
        let second = JournalFrame.encode([2], &chain)
        let third = JournalFrame.encode([3], &chain)
        func count(_ records: [[UInt8]]) -> Int? {
            JournalFrame.decode(JournalFrame.version + records.flatMap { $0 })?.payloads.count
        }
        #expect(count([first, second, third]) == 3)
        #expect(count([first, third]) == 1 && count([second]) == 0 && count([first, first]) == 1)
    }
}
