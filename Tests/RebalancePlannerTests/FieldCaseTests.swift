// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// Cases from the field, read from the texts that people posted: what a plan makes of them.
@Suite("cases from the field")
struct FieldCaseTests {
    private func topology(_ name: String) throws -> Topology {
        let parts = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false)
        let root = parts.prefix { $0 != "Tests" }.joined(separator: "/")
        let folder = "\(root)/Fixtures/\(name)"
        return try TopologyAssembler(RecordedInput(paths: ["\(folder)/lspci.txt", "\(folder)/dmesg.txt"]).record)
            .topology()
    }

    private func plan(
        _ name: String,
        _ goals: [Goal] = [.everythingRequired],
        _ constraints: Constraints = Constraints(),
        behaviour: KernelBehaviour? = nil
    ) throws -> Plan {
        let topology = try topology(name)
        let behaviour = behaviour ?? KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        return try Planner(topology: topology, behaviour: behaviour).plan(goals: goals, constraints: constraints)
    }

    private func at(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    private func line(_ plan: Plan, _ address: String, _ index: Int) throws -> String {
        let wanted = try at(address)
        let state = try #require(plan.after.functions.first { $0.address == wanted })
        return "\(bareHex(state.lines[index].start))-\(bareHex(state.lines[index].end))"
    }

    @Test("R2: 16 GiB fit exactly below a root port that stays, with 01:00.0 BAR 0 behind them")
    func r2() throws {
        let gpu = try at("03:00.0")
        let size = ByteCount(16 << 30)
        // Whoever reported it ran a release candidate; the addresses are those of a kernel that was judged.
        let plan = try plan("R2", [.resize(gpu, bar: 2, size: size)], behaviour: .linux6_12)
        #expect(plan.verdict.line == "PLAN: act reason=resize")
        #expect(try line(plan, "03:00.0", 2) == "4000000000-43ffffffff")
        #expect(try line(plan, "01:00.0", 0) == "4400000000-44007fffff")
        #expect(!plan.disturbed.map(\.address).contains(try at("00:01.0")))
        // Decoding off, then the size, then the removal, then the rescan: any other order leaves the BAR where it was.
        let writes = plan.steps.flatMap(\.writes)
        let control = try #require(
            writes.firstIndex {
                if case .config(gpu, _, 4, 0x3f00, 14 << 8) = $0 { return true }
                return false
            }
        )
        #expect(
            writes.firstIndex(of: .config(gpu, offset: 4, width: 2, mask: 7, value: 0)).map { $0 < control } == true
        )
        #expect(writes.firstIndex(of: .remove(gpu)).map { $0 > control } == true)
    }

    @Test("R3: 16 GiB, the pin released one level below what the field removed", arguments: ["R3"])
    func r3(name: String) throws {
        let gpu = try at("86:00.0")
        let plan = try plan(name, [.resize(gpu, bar: 2, size: nil)])
        #expect(plan.verdict.answer == .act)
        #expect(try line(plan, "86:00.0", 2) == "381000000000-3813ffffffff")
        #expect(!plan.disturbed.map(\.address).contains(try at("80:03.0")))
    }

    @Test("R6: an empty port gives up its number, and nothing of the machine's own is touched")
    func r6() throws {
        let plan = try plan(
            "R6",
            [.virtualFunctions(at("07:00.0"), count: 7), .virtualFunctions(at("08:00.0"), count: 7)]
        )
        #expect(plan.verdict.answer == .act)
        let ranges = Dictionary(
            plan.after.functions.map { ($0.path.description, $0.busRange?.description ?? "") },
            uniquingKeysWith: { a, _ in a }
        )
        #expect(ranges["0000:00:01.0"] == "[bus 05-0a]")
        #expect(ranges["0000:00:01.0/00.0/02.0"] == "[bus 07-08]")
        #expect(ranges["0000:00:01.0/00.0/04.0"] == "[bus 09-0a]")
        let disturbed = plan.disturbed.map(\.address.description)
        #expect(disturbed.contains("0000:00:01.1"))
        for mine in ["0000:00:1c.4", "0000:00:1c.7", "0000:00:06.0", "0000:00:1f.2"] {
            #expect(!disturbed.contains(mine), "\(mine)")
        }
    }

    @Test("R1: an empty port gives up what it hoards, and keeps a reserve; nothing above is touched")
    func r1() throws {
        let port = try at("02:02.0")
        let room = Headroom(prefetchable: ByteCount(2 << 20))
        let plan = try plan("R1", [.reserve(port, room)])
        #expect(plan.verdict.line == "PLAN: act reason=reserve")
        #expect(Set(plan.disturbed.map(\.address.description)) == ["0000:02:01.0", "0000:02:02.0", "0000:6b:00.0"])
        let after = try #require(plan.after.functions.first { $0.address == port })
        let window = after.lines[15]
        #expect(window.end > window.start && window.end - window.start >= (2 << 20) - 1)
        #expect(window.start >= 0x7000_0000 && window.end <= 0xb9ff_ffff)
        // The neighbour keeps a reserve, and what it loses is said.
        let hoarder = try at("02:01.0")
        let left = try #require(plan.after.functions.first { $0.address == hoarder })
        #expect(
            left.lines[15].end > left.lines[15].start
                && left.lines[15].end - left.lines[15].start >= (2 << 20) - 1
        )
        #expect(plan.remarks.contains { $0.contains("0000:02:01.0") && $0.contains("pref window had 1184M") })
    }

    @Test("R4: six times 32 GiB are proved impossible, and nobody is stopped for less")
    func r4() throws {
        let last = try at("0a:00.0")
        let plan = try plan("R4", [.resize(last, bar: 1, size: ByteCount(32 << 30))])
        #expect(plan.verdict.line == "PLAN: impossible reason=mmio-window-too-small")
        #expect(plan.steps.isEmpty && plan.disturbed.isEmpty)
        // Five at 32 GiB and one at 8 is what there is; the best for all six together is that.
        let cards = ["01:00.0", "02:00.0", "03:00.0", "05:00.0", "08:00.0", "0a:00.0"]
        let all = try self.plan("R4", try cards.map { .resize(try at($0), bar: 1, size: nil) })
        #expect(all.verdict.answer == .none)
    }

    @Test("R5: nothing is to be done, and one function removed alone comes back where it was", arguments: ["R5"])
    func r5(name: String) throws {
        #expect(try plan(name).verdict.answer == .none)
        let before = try topology(name)
        for behaviour in KernelBehaviour.presets {
            var twin = try LinuxTwin(before, behaviour: behaviour)
            try twin.perform(.remove(at("7d:00.3")))
            try twin.perform(.rescanDevice(at("7c:00.0")))
            let after = try twin.topology()
            #expect(after.functions.count == before.functions.count)
            for function in before.functions {
                let now = try #require(after[function.address])
                #expect(now.resources.map(\.range) == function.resources.map(\.range), "\(function.address)")
            }
        }
    }

    @Test(
        "R7: a late switch gets its five numbers",
        arguments: [("R7", "0004:40:00.0", 5), ("R7-second", "0003:30:00.0", 4)]
    )
    func r7(name: String, root: String, buses: Int) throws {
        let plan = try plan(name)
        #expect(plan.verdict.answer == .act)
        let wanted = try at(root)
        let port = try #require(plan.after.functions.first { $0.address == wanted })
        #expect((port.busRange?.count ?? 0) > buses)
        for function in plan.after.functions where function.busRange == nil {
            #expect(!(try topology(name)[function.address]?.isBridge ?? false), "\(function.address) has no bus")
        }
        #expect(plan.disturbed.allSatisfy { $0.address.segment == wanted.segment })
    }

    @Test("R12: 16 GiB beyond 2^48 where they are free; nothing above 01:00.0 is released")
    func r12() throws {
        let card = try at("0030:03:00.0")
        let plan = try plan("R12", [.resize(card, bar: 2, size: ByteCount(16 << 30))])
        #expect(plan.verdict.answer == .act)
        let range = try #require(plan.after.functions.first { $0.address == card }).lines[2]
        #expect(range.end - range.start == (16 << 30) - 1)
        #expect(range.start >= 0x6_2000_0000_0000 && range.start % (16 << 30) == 0)
        for address in ["0030:00:00.0", "0030:01:00.0"] {
            #expect(!plan.disturbed.map(\.address).contains(try at(address)))
        }
    }

    @Test("R9: the root port's window moves to a multiple of 32 GiB; only what is below it is disturbed")
    func r9() throws {
        let plan = try plan("R9")
        #expect(plan.verdict.answer == .act)
        let bar = try #require(
            plan.after.functions.flatMap(\.lines).first { $0.end > $0.start && $0.end - $0.start == (32 << 30) - 1 }
        )
        #expect(bar.start % (32 << 30) == 0)
        for d in plan.disturbed { #expect(d.address == (try at("00:07.0")) || d.address.bus.rawValue >= 3) }
    }

    @Test("R10: the port's own window moves to the 64-bit aperture; no other device is touched")
    func r10() throws {
        let plan = try plan("R10")
        #expect(plan.verdict.answer == .act)
        #expect(plan.disturbed.map(\.address.description) == ["0000:02:00.0"])
        #expect(try line(plan, "02:00.0", 0) == "800000000-800ffffff")
        #expect(plan.proof == .optimal)
    }

    @Test("R11: 16 GiB do not fit in 12; 8 GiB is the largest that does")
    func r11() throws {
        let gpu = try at("0001:03:00.0")
        let plan = try plan("R11", [.resize(gpu, bar: 2, size: nil)])
        #expect(plan.verdict.answer == .act)
        #expect(try line(plan, "0001:03:00.0", 2) == "1800000000-19ffffffff")
        #expect(try line(plan, "0001:01:00.0", 0) == "1a00000000-1a007fffff")
        #expect(plan.remarks.contains { $0.contains("8G is the largest size that fits, 16G does not") })
        let exactly = try self.plan("R11", [.resize(gpu, bar: 2, size: ByteCount(16 << 30))])
        #expect(exactly.verdict.answer == .impossible)
    }

    @Test("R8: reserves beside a console and a boot disk that stay, on a machine that hides where RAM lies")
    func r8() throws {
        let kept = [try at("00:02.0"), try at("6d:00.0")]
        let room = Headroom(memory: ByteCount(400 << 20), prefetchable: ByteCount(64 << 30))
        let goals = try ["04:01.0", "04:04.0"].map { Goal.reserve(try at($0), room) }
        let plan = try plan("R8", goals, Constraints(keep: Set(kept)))
        #expect(plan.remarks.contains { $0.contains("where RAM lies is not known") })
        for write in plan.steps.flatMap(\.writes) {
            guard case .remove(let address) = write,
                let f = plan.before.functions.first(where: { $0.address == address })
            else { continue }
            for one in kept {
                let path = try #require(plan.before.functions.first { $0.address == one }?.path)
                #expect(!f.path.isAncestorOrSelf(of: path), "\(write)")
            }
        }
        // No address is programmed by hand where it may be RAM's.
        let topology = try topology("R8")
        #expect(topology.hidesMemory)
        #expect(RestartPlan(topology, behaviour: .linux6_1) == nil)
    }

    @Test("R2: a kept bridge keeps what is below it, and the greatest size says what stands in its way")
    func keeping() throws {
        let gpu = try at("03:00.0")
        let size = ByteCount(16 << 30)
        let free = try plan("R2", [.resize(gpu, bar: 2, size: size)])
        #expect(free.verdict.answer == .act)
        let kept = try plan("R2", [.resize(gpu, bar: 2, size: size)], Constraints(keep: [try at("00:01.0")]))
        #expect(kept.verdict.line == "PLAN: refused reason=protected")
        #expect(kept.diagnosis.contains { $0.text.contains("below 0000:00:01.0, which was asked to be kept") })
        for constraints in [
            Constraints(keep: [try at("04:00.0")]), Constraints(onlyBelow: try at("02:01.0")), Constraints(maxMoves: 0),
        ] {
            let plan = try plan("R2", [.resize(gpu, bar: 2, size: nil)], constraints)
            let words = plan.remarks.joined(separator: "\n")
            #expect(words.contains("16G would fit, but "), "\(plan.verdict.line): \(words)")
        }
    }

    @Test("limits: only below a port, a number of functions, an address")
    func limits() throws {
        let gpu = try at("03:00.0")
        let wish = [Goal.resize(gpu, bar: 2, size: ByteCount(16 << 30))]
        #expect(try plan("R2", wish, Constraints(onlyBelow: try at("02:01.0"))).verdict.reason == "protected")
        #expect(try plan("R2", wish, Constraints(onlyBelow: try at("00:01.0"))).verdict.answer == .act)
        #expect(try plan("R2", wish, Constraints(maxMoves: 0)).verdict.reason == "too-many-moves")
        #expect(try plan("R2", wish, Constraints(maxMoves: 9)).verdict.answer == .act)
        let low = try plan("R2", wish, Constraints(highestAddress: 0xffff_ffff))
        #expect(low.verdict.answer == .impossible)
        #expect(low.steps.isEmpty)
    }

    @Test("what an older record had is had again, and what is already so needs nothing")
    func restoring() throws {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        for kernel in ["6.1", "6.12", "7"] {
            func topology(_ moment: String) throws -> Topology {
                let file = SnapshotFile(path: "\(root)/Fixtures/first-light-\(kernel)/\(moment).snapshot.json")
                return try TopologyAssembler(file.read()).topology()
            }
            let (before, after) = (try topology("boot"), try topology("failed-hot-add"))
            let behaviour = KernelBehaviour.preset(forRelease: after.kernel.release ?? "").behaviour
            let goal = Goal.restore(SavedLayout(before))
            let plan = try Planner(topology: after, behaviour: behaviour).plan(goals: [goal])
            #expect(plan.verdict.answer == .act)
            #expect(plan.verdict.reason == "restore" || plan.verdict.reason == "partly", "\(plan.verdict.line)")
            // The failed hot-add took the ports of the card that was there.
            let address = try at("03:00.0")
            let lines = try #require(plan.after.functions.first { $0.address == address }?.lines)
            for (old, new) in zip(try #require(before[address]).lines.prefix(6), lines) where old != .zero {
                #expect(new.end &- new.start == old.end &- old.start, "\(kernel): \(new) for \(old)")
                #expect(new.flags.isDisjoint(with: .unset))
            }
            let none = try Planner(topology: before, behaviour: behaviour).plan(goals: [goal])
            #expect(none.verdict.answer == .none)
        }
    }

    @Test("tiers: an I/O BAR that may be lost is no reason to act, and one that is required is")
    func tiers() throws {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let file = SnapshotFile(path: "\(root)/Fixtures/first-light-6.12/failed-hot-add.snapshot.json")
        let topology = try TopologyAssembler(file.read()).topology()
        let planner = Planner(topology: topology, behaviour: .linux6_12)
        func answer(_ tiers: OptionalTiers) throws -> Plan {
            try planner.plan(goals: [.place(try at("04:00.0"))], constraints: Constraints(tiers: tiers))
        }
        let required = try answer(OptionalTiers(required: [.io]))
        let dropped = try answer(OptionalTiers(dropped: [.io]))
        for plan in [required, dropped] { #expect(plan.verdict.answer == .act) }
        let address = try at("04:00.0")
        let ports = try #require(required.after.functions.first { $0.address == address }?.lines[1])
        #expect(ports.flags.contains(.io) && ports.start > 0, "\(ports)")
        #expect(dropped.disturbed.map(\.weight).reduce(0, +) <= required.disturbed.map(\.weight).reduce(0, +))
    }

    @Test("goals that make no sense are refused in words")
    func senseless() throws {
        let topology = try topology("R2")
        let planner = Planner(topology: topology, behaviour: .linux6_12)
        let nobody = try at("7f:00.0")
        let audio = try at("04:00.0")
        #expect(throws: PlanningError.self) { try planner.plan(goals: [.place(nobody)]) }
        let error = #expect(throws: PlanningError.self) { try planner.plan(goals: [.resize(audio, bar: 0, size: nil)]) }
        #expect(error?.description == "expected a resizable BAR, BAR 0 of 0000:04:00.0 is none")
    }
}
