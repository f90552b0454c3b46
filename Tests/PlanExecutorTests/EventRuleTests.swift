// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// Numbers of the event rules at their limits.
@Suite("limits of event rules")
struct EventRuleTests {
    private func topology(_ name: String = "failed-hot-add") throws -> Topology {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let record = try SnapshotFile(path: "\(root)/Fixtures/first-light-6.12/\(name).snapshot.json").read()
        return try TopologyAssembler(record).topology()
    }

    private func address(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    @Test(
        "parts of the day: two clock times, to the minute; midnight at the end is 24:00",
        arguments: [
            ("00:00-24:00", 0, 1440), ("22:00-06:00", 1320, 360), ("23:59-00:00", 1439, 0), ("00:01-00:02", 1, 2),
        ]
    )
    func hours(text: String, start: Int, end: Int) throws {
        let hours = try #require(DailyHours(parsing: text))
        #expect(hours.start == start && hours.end == end && hours.description == text)
        for minute in [0, 1, 2, 359, 360, 361, 1319, 1320, 1321, 1438, 1439] {
            let isInside = start < end ? minute >= start && minute < end : minute >= start || minute < end
            #expect(hours.contains(minute) == isInside, "\(minute)")
            #expect(EventPolicy(hours: [hours]).allowsApply(atMinute: minute) == isInside)
        }
    }

    @Test(
        "what is no part of the day",
        arguments: [
            "", "10:00", "10:00-10:00", "24:00-10:00", "10:60-11:00", "25:00-26:00", "24:01-10:00", "1:00-2:00",
            "10:00-11:00-12:00",
            "10.00-11:00", "aa:00-11:00", "10:00 - 11:00", "-1:00-11:00", "10:0x-11:00",
        ]
    )
    func noHours(text: String) { #expect(DailyHours(parsing: text) == nil) }

    @Test("without hours plans are carried out at any time")
    func always() { #expect(EventPolicy().allowsApply(atMinute: 0) && EventPolicy().allowsApply(atMinute: 1439)) }

    @Test("names of ports: a place, a slot of printable letters, or an address")
    func names() {
        let path = TopologyPath(segment: 1, rootBus: BusNumber(0x3a), hops: [0x08, 0x00, 0x09])
        #expect(PortName(parsing: "0001:3a:01.0/00.0/01.1") == .place(path))
        #expect(PortName(parsing: "0000:3a:00.0") == .address(FunctionAddress(bus: BusNumber(0x3a), devfn: 0)))
        #expect(PortName(parsing: "slot:0-1") == .slot("0-1"))
        let long = String(repeating: "x", count: 64)
        #expect(PortName(parsing: "slot:" + long) == .slot(long))
        for text in [
            "", "slot:", "slot:" + long + "x", "slot:a b", "slot:a/b", "slot:\u{7f}", "0000:3a:00.0/",
            "0000:3a:00.0/00",
            "0000:3a:00.0/000.0", "0000:3a:00.0/00.8", "0000:3a:00.0/20.0", "x/00.0", "/00.0",
        ] { #expect(PortName(parsing: text) == nil, "\(text)") }
    }

    @Test("the weaker of two modes: off before report before apply")
    func weaker() {
        let order: [EventPolicy.Mode] = [.off, .report, .apply]
        for (n, a) in order.enumerated() {
            for (m, b) in order.enumerated() { #expect(a.weaker(b) == order[min(n, m)], "\(a) \(b)") }
        }
    }

    @Test("what is below a port needs its BARs by kind, bridges in whole granules, and a bus for each bridge")
    func need() throws {
        let tree = try topology("repaired")
        func recount(_ i: Int) -> Headroom {
            var io: UInt64 = 0
            var memory: UInt64 = 0
            var prefetchable: UInt64 = 0
            var buses = 0
            for child in tree.children(of: i) where tree.functions[child].physicalFunction == nil {
                for r in tree.functions[child].resources {
                    let n = Int(r.index.rawValue)
                    guard n < 6 || (7...12).contains(n) && r.range != nil, let size = r.size?.rawValue else { continue }
                    if r.flags.contains(.io) {
                        io += size
                    } else if r.flags.contains(.prefetchable) {
                        prefetchable += size
                    } else {
                        memory += size
                    }
                }
                guard tree.functions[child].bridge != nil else { continue }
                let inner = recount(child)
                io += (inner.io.rawValue + 0xfff) / 0x1000 * 0x1000
                memory += (inner.memory.rawValue + 0xf_ffff) / 0x10_0000 * 0x10_0000
                prefetchable += (inner.prefetchable.rawValue + 0xf_ffff) / 0x10_0000 * 0x10_0000
                buses += 1 + inner.buses
            }
            return Headroom(
                io: ByteCount(io),
                memory: ByteCount(memory),
                prefetchable: ByteCount(prefetchable),
                buses: buses
            )
        }
        let bridges = tree.functions.indices.filter { tree.functions[$0].isBridge }
        #expect(bridges.count > 3)
        for i in bridges { #expect(tree.need(belowBridge: i) == recount(i), "\(tree.functions[i].address)") }
        let root = try #require(tree.position(of: try address("00:02.0")))
        #expect(tree.need(belowBridge: root).buses == 3 && tree.need(belowBridge: root).memory > .zero)
    }

    @Test("a ledger remembers the most of each kind that a port has held, and tells it of empty ports only")
    func held() throws {
        let tree = try topology("repaired")
        var ledger = EventLedger()
        let port = try #require(tree.position(of: try address("02:01.0")))
        let need = tree.need(belowBridge: port)
        #expect(ledger.noteHeld(tree, at: 5) { $0 == port })
        #expect(ledger.held == [HeldRoom(port: tree.path(of: port).description, room: need, time: 5)])
        #expect(!ledger.noteHeld(tree, at: 6) { $0 == port }, "the same again is no news")
        #expect(ledger.held.map(\.time) == [5])
        #expect(ledger.reserves(in: tree).isEmpty, "a card is there")
        var other = EventLedger()
        #expect(!other.noteHeld(tree, at: 5) { _ in false } && other.held.isEmpty)
        // Each kind grows by itself.
        for change in [
            { $0.io = ByteCount(need.io.rawValue + 1) }, { $0.memory = ByteCount(need.memory.rawValue + 1) },
            { $0.prefetchable = ByteCount(need.prefetchable.rawValue + 1) }, { $0.buses = need.buses + 1 },
        ] as [(inout Headroom) -> Void] {
            var more = Headroom()
            change(&more)
            var grown = EventLedger()
            grown.remember(HeldRoom(port: tree.path(of: port).description, room: more, time: 1))
            #expect(grown.noteHeld(tree, at: 9) { $0 == port })
            var expected = need
            change(&expected)
            #expect(grown.held.map(\.room) == [expected] && grown.held.map(\.time) == [9])
        }
        let empty = try topology("boot")
        let told = ledger.reserves(in: empty)
        #expect(told.map(\.port.description) == ["0000:02:01.0"] && told.map(\.room) == [need])
    }

    @Test("an untrusted port may hold its share or what it holds now, whichever is more; one more is too much")
    func excess() throws {
        let tree = try topology("boot")
        let name = try #require(PortName(parsing: "0000:00:02.0"))
        let i = try #require(tree.position(of: try address("00:02.0")))
        let before = TreeState(tree)
        let at = try #require(before.functions.firstIndex { $0.address == tree.functions[i].address })
        func excesses(_ share: Headroom?, _ change: (inout FunctionState) -> Void) -> [String] {
            var after = before
            change(&after.functions[at])
            let policy = EventPolicy(ports: [PortRule(port: name, isTrusted: false, share: share)])
            return EventJudgement(tree, policy).excesses(in: after)
        }
        #expect(excesses(nil) { _ in } == [])
        for (line, word, share) in [
            (13, "I/O", { Headroom(io: ByteCount($0)) }), (14, "memory", { Headroom(memory: ByteCount($0)) }),
            (15, "prefetchable", { Headroom(prefetchable: ByteCount($0)) }),
        ] as [(Int, String, (UInt64) -> Headroom)] {
            let old = before.functions[at].lines[line]
            let size = old.end - old.start + 1
            #expect(size > 1)
            #expect(excesses(nil) { $0.lines[line].end = old.end - 1 } == [])
            let more = excesses(nil) { $0.lines[line].end = old.end + size }
            #expect(
                more == [
                    "the untrusted port 0000:00:02.0 would hold \(ByteCount(2 * size)) of \(word) space, its share is "
                        + "\(ByteCount(size))"
                ]
            )
            #expect(excesses(share(2 * size)) { $0.lines[line].end = old.end + size } == [])
            #expect(excesses(share(2 * size - 1)) { $0.lines[line].end = old.end + size }.count == 1)
        }
        let buses = try #require(before.functions[at].busRange)
        func grown(_ n: Int) -> BusRange? {
            BusRange(first: buses.first, last: BusNumber(buses.last.rawValue + UInt8(n)))
        }
        #expect(excesses(Headroom(buses: buses.count + 1)) { $0.busRange = grown(1) } == [])
        #expect(
            excesses(Headroom(buses: buses.count)) { $0.busRange = grown(1) } == [
                "the untrusted port 0000:00:02.0 would hold \(buses.count + 1) buses, its share is \(buses.count)"
            ]
        )
    }

    @Test("an event is an echo within three minutes after the apply began, in the same boot, of what was predicted")
    func echo() throws {
        func isEcho(_ change: (inout JournalBeginning) -> Void = { _ in }, after seconds: Int64, touched: Bool = false)
            throws -> Bool
        {
            let disk = CrashingDisk()
            let machine = FakeMachine(Fake.machine())
            let state = machine.state
            var beginning = JournalTests.beginning(state)
            change(&beginning)
            let plan = Fake.plan(state, [])
            try Journal(on: disk, beginning, plan).finish(verdict: "done", reason: "r")
            let endpoint = Fake.at(Fake.endpoint, state)
            if touched { _ = machine.state.perform(.remove(endpoint)) }
            return try EventEcho.isEcho(endpoint, disk: disk, observer: machine, now: beginning.time + seconds)
        }
        #expect(try isEcho(after: 0) && isEcho(after: 179))
        #expect(try !isEcho(after: 180) && !isEcho(after: -1))
        #expect(try !isEcho({ $0.bootID = "another" }, after: 0))
        #expect(try !isEcho(after: 0, touched: true))
    }

    @Test("the rank of what ended: what was lost before what failed, then what went back, and so on down to nothing")
    func ranks() {
        let order: [Int32] = [6, 1, 5, 75, 7, 4, 2, 8, 0]
        let ranks = order.map { EventReport(line: "PLAN: x", sentence: "", exitStatus: $0).rank }
        #expect(ranks == ranks.sorted(by: >) && Set(ranks).count == order.count)
        func rank(_ status: Int32, _ line: String = "PLAN") -> Int {
            EventReport(line: line, sentence: "", exitStatus: status).rank
        }
        #expect(
            rank(75) == rank(77) && rank(8) == rank(3) && rank(0, "APPLY: done") > rank(0) && rank(0, "APPLY") < rank(3)
        )
    }
}
