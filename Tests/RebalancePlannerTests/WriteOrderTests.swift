// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// The order of writes that every plan keeps, checked on the writes alone.
struct WriteOrder {
    let topology: Topology
    let plan: Plan

    private func path(_ address: FunctionAddress) -> TopologyPath? {
        for state in [plan.before] + plan.steps.map(\.after) {
            if let function = state.functions.first(where: { $0.address == address }) { return function.path }
        }
        return nil
    }

    /// Whether the removal takes the function away.
    private func removes(_ write: SystemWrite, _ address: FunctionAddress) -> Bool {
        guard case .remove(let root) = write, let above = path(root), let place = path(address) else { return false }
        return above.isAncestorOrSelf(of: place)
    }

    private func isRescan(_ write: SystemWrite) -> Bool {
        switch write {
        case .rescanAll, .rescanBus, .rescanDevice: true
        default: false
        }
    }

    /// What is out of order, a sentence each.
    func faults() -> [String] {
        let writes = plan.steps.flatMap(\.writes)
        var found: [String] = []
        func expect(_ condition: Bool, _ write: SystemWrite, _ rule: String) {
            if !condition { found.append("\(write): \(rule)") }
        }
        let lastTreeWrite = writes.lastIndex { if case .remove = $0 { true } else { isRescan($0) } } ?? -1
        for (i, write) in writes.enumerated() {
            let before = writes[..<i]
            let after = writes[(i + 1)...]
            switch write {
            case .remove(let address):
                expect(after.contains(where: isRescan), write, "expected a rescan afterwards")
                for function in topology.functions where (function.use.enabledVFs ?? 0) > 0 {
                    guard removes(write, function.address) else { continue }
                    let count = Int(function.use.enabledVFs ?? 0)
                    let away = SystemWrite.sriovNumVFs(function.address, count: 0)
                    expect(
                        before.contains(away),
                        write,
                        "expected the VFs of \(function.address) to be taken away before"
                    )
                    expect(
                        after.contains { if case .sriovNumVFs(_, count) = $0 { true } else { false } },
                        write,
                        "expected the \(count) VFs of \(function.address) again"
                    )
                }
                if let bound = topology[address], bound.use.driver != nil, bound.bridge == nil,
                    before.contains(where: { if case .config(address, 4, _, _, 0) = $0 { true } else { false } })
                {
                    expect(before.contains(.unbindDriver(address)), write, "expected its driver to let go before")
                }
            case .unbindDriver(let address):
                expect(
                    after.contains {
                        switch $0 {
                        case .config(address, 4, _, _, 0), .resizeBAR(address, _, _): true
                        default: false
                        }
                    },
                    write,
                    "expected a reason: decoding off or a resize afterwards"
                )
                expect(
                    after.contains { $0 == .probeDriver(address) || removes($0, address) },
                    write,
                    "expected the device to get a driver again"
                )
            case .config(let address, 4, 2, let mask, 0) where mask & 3 != 0:
                if let function = topology[address], function.use.driver != nil, function.bridge == nil {
                    expect(before.contains(.unbindDriver(address)), write, "expected the driver to let go before")
                }
                expect(after.contains { removes($0, address) }, write, "expected the removal afterwards")
            case .config(let address, _, 4, 0x3f00, _):
                expect(
                    before.contains { if case .config(address, 4, 2, _, 0) = $0 { true } else { false } },
                    write,
                    "expected decoding to be off before a size is written"
                )
                expect(after.contains(.remove(address)), write, "expected the removal afterwards")
            case .config(let address, 0x18, _, _, _):
                guard let removal = after.firstIndex(of: .remove(address)) else {
                    found.append("\(write): expected the removal of the bridge afterwards")
                    continue
                }
                let between = writes[(i + 1)..<removal]
                let place = path(address)
                let isReached = between.contains { other in
                    guard case .config(let target, _, _, _, _) = other, target != address else { return false }
                    return path(target).map { place?.isAncestorOrSelf(of: $0) == true } ?? false
                }
                expect(!isReached, write, "expected nothing below to be reached once the bridge has other numbers")
                for below in topology.functions where below.address != address {
                    guard let at = path(below.address), place?.isAncestorOrSelf(of: at) == true else { continue }
                    // A bridge below is gone before the one above gets its numbers, or goes with it.
                    if after.contains(.remove(below.address)), let when = after.firstIndex(of: .remove(below.address)) {
                        expect(when > removal, write, "expected \(below.address) to be removed before")
                    }
                }
            case .sriovNumVFs(let address, 0):
                expect(!before.contains { removes($0, address) }, write, "expected VFs to go first of all")
            case .sriovNumVFs: expect(i > lastTreeWrite, write, "expected VFs to come last of all")
            case .resizeBAR(let address, _, _):
                if topology[address]?.use.driver != nil {
                    expect(before.contains(.unbindDriver(address)), write, "expected the driver to let go before")
                }
            default: break
            }
        }
        for (n, step) in plan.steps.enumerated() {
            let removed = step.writes.contains { if case .remove = $0 { true } else { false } }
            if removed, !step.wayBack.contains(where: isRescan) {
                found.append("step \(n + 1): expected a rescan on the way back")
            }
            for case .sriovNumVFs(let address, 0) in step.writes {
                let count = Int(topology[address]?.use.enabledVFs ?? 0)
                if step.wayBack.last != .sriovNumVFs(address, count: count) {
                    found.append("step \(n + 1): expected the VFs of \(address) last on the way back")
                }
            }
            for case .unbindDriver(let address) in step.writes where !removed {
                if !step.wayBack.contains(.probeDriver(address)) {
                    found.append("step \(n + 1): expected \(address) to get its driver on the way back")
                }
            }
        }
        return found
    }
}

@Suite("the order of writes")
struct WriteOrderTests {
    private static func at(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    private static func texts(_ name: String) throws -> Topology {
        let root = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false).prefix { $0 != "Tests" }
            .joined(separator: "/")
        let folder = "\(root)/Fixtures/\(name)"
        return try TopologyAssembler(RecordedInput(paths: ["\(folder)/lspci.txt", "\(folder)/dmesg.txt"]).record)
            .topology()
    }

    private static func plan(
        _ topology: Topology,
        _ goals: [Goal] = [.everythingRequired],
        _ constraints: Constraints = Constraints()
    ) throws -> Plan {
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        return try Planner(topology: topology, behaviour: behaviour).plan(goals: goals, constraints: constraints)
    }

    /// A root port with a network card of two functions; the first has two VFs and a driver, and lost its BAR.
    private static func withVFs() throws -> Topology {
        func function(_ devfn: UInt8, _ sriov: CardSRIOV?) -> CardFunction {
            var function = CardFunction(
                devfn: devfn,
                identity: Function.Identity(vendor: 0x8086, device: 0x1572, classCode: 0x02_0000),
                bars: [.memory(0, 1 << 20)],
                portType: .endpoint
            )
            function.driver = "driver"
            function.sriov = sriov
            return function
        }
        let sriov = CardSRIOV(total: 4, offset: 2, stride: 1, device: 0x154c, bars: [.memory(0, 1 << 16)])
        let port = CardFunction(
            devfn: 1 << 3,
            identity: Function.Identity(vendor: 0x1b36, device: 0x000c, classCode: 0x06_0400),
            portType: .rootPort,
            bridge: CardBridge(isHotPlug: true, children: [function(0, sriov), function(1, nil)])
        )
        let host = HostBridge(
            segment: 0,
            busRange: try #require(BusRange(first: BusNumber(0), last: BusNumber(15))),
            apertures: [
                AddressRange(first: 0x8000_0000, size: 0x1000_0000), AddressRange(first: 1 << 32, size: 1 << 32),
            ]
            .compactMap { $0.map { Aperture(range: $0, flags: .memory) } },
            source: .kernelLog
        )
        let platform = Platform(architecture: "x86_64", commandLine: nil)
        var twin = try LinuxTwin(
            hostBridges: [host],
            cards: [(0, CardProfile(name: "port", functions: [port]))],
            behaviour: .linux6_12,
            platform: platform
        )
        try twin.perform(.boot(platform))
        try twin.perform(.setVFs(try at("01:00.0"), 2))
        var topology = try twin.topology()
        topology.kernel.release = "6.12.1"
        topology.update(try at("01:00.1")) { function in
            function.lines[0] = .zero
            for i in function.resources.indices where function.resources[i].index == .bar(0) {
                function.resources[i].assignment = .wiped
            }
        }
        return topology
    }

    /// Machines of every kind, with a goal and what may be disturbed.
    private static func machine(_ name: String) throws -> (Topology, [Goal], Constraints) {
        switch name {
        case "R2":
            (try texts(name), [.resize(try at("03:00.0"), bar: 2, size: ByteCount(16 << 30))], Constraints())
        case "R3": (try texts(name), [.resize(try at("86:00.0"), bar: 2, size: nil)], Constraints())
        case "VFs": (try withVFs(), [.everythingRequired], Constraints(allowDisturb: [try at("01:00.0")]))
        default: (try fixture("\(name)/failed-hot-add.snapshot.json"), [.everythingRequired], Constraints())
        }
    }

    @Test(
        "nothing is out of order, and there is a way back",
        arguments: [
            "first-light-6.1", "first-light-6.12", "first-light-7", "three-root-ports-6.12", "three-root-ports-7",
            "R2", "R3", "VFs",
        ]
    )
    func order(name: String) throws {
        let (topology, goals, constraints) = try Self.machine(name)
        let plan = try Self.plan(topology, goals, constraints)
        #expect(plan.verdict.answer == .act, "\(name)")
        #expect(WriteOrder(topology: topology, plan: plan).faults() == [], "\(name)")
        try expectTheCheckSees(topology, plan)
    }

    /// Every exchange of two writes that the rules speak of, and every write or way back that is left out, is found.
    private func expectTheCheckSees(_ topology: Topology, _ plan: Plan) throws {
        for (n, step) in plan.steps.enumerated() {
            if step.writes.contains(where: { if case .remove = $0 { true } else { false } }) {
                var worse = plan
                worse.steps[n].wayBack = []
                #expect(!WriteOrder(topology: topology, plan: worse).faults().isEmpty, "no way back from step \(n + 1)")
            }
            for (i, write) in step.writes.enumerated() {
                var without = plan
                without.steps[n].writes.remove(at: i)
                var late = plan
                late.steps[n].writes.remove(at: i)
                late.steps[plan.steps.count - 1].writes.append(write)
                switch write {
                case .unbindDriver, .sriovNumVFs(_, 0):
                    #expect(!WriteOrder(topology: topology, plan: without).faults().isEmpty, "\(write) left out")
                    #expect(!WriteOrder(topology: topology, plan: late).faults().isEmpty, "\(write) at the end")
                case .config(_, 0x18, _, _, _), .config(_, 4, 2, _, 0):
                    #expect(!WriteOrder(topology: topology, plan: late).faults().isEmpty, "\(write) at the end")
                default: break
                }
            }
        }
    }

    @Test("a limit on addresses that equals the last byte is kept, one byte less is not exceeded")
    func highestAddress() throws {
        let topology = try fixture("first-light-6.12/failed-hot-add.snapshot.json")
        func last(_ plan: Plan) -> UInt64 {
            plan.after.functions.filter { $0.busRange == nil }.flatMap { $0.lines.prefix(6) }.map(\.end).max() ?? 0
        }
        let free = try Self.plan(topology)
        let end = last(free)
        let equal = try Self.plan(topology, [.everythingRequired], Constraints(highestAddress: end))
        #expect(equal.verdict.answer == .act)
        #expect(last(equal) == end)
        let less = try Self.plan(topology, [.everythingRequired], Constraints(highestAddress: end - 1))
        #expect(less.verdict.answer != .act || last(less) < end)
    }

    @Test("the numbers in an explanation are those of the tree")
    func numbers() throws {
        let topology = try fixture("first-light-6.12/failed-hot-add.snapshot.json")
        let plan = try Self.plan(topology)
        // The sibling's BAR that pins the window: its size from its line, in MiB.
        let sibling = try #require(topology[try Self.at("03:00.0")])
        let pin = (sibling.lines[2].end - sibling.lines[2].start + 1) >> 20
        #expect(plan.diagnosis.contains { $0.text.contains("pinned by 0000:03:00.0 BAR 2 (\(pin)M)") })
        // What the card asks for, from the register sizes that its resources state.
        let card = try #require(topology[try Self.at("04:00.0")])
        let size = try #require(card.resources.first { $0.index == .bar(2) }?.size)
        #expect(
            plan.diagnosis.contains {
                $0.text.contains("0000:04:00.0 BAR 2 [mem size 0x\(String(size.rawValue, radix: 16))")
            }
        )
    }
}
