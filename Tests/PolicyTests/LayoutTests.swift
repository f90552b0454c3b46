// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import Testing

/// What a tree asks for, and the judge of layouts: for each rule a layout that breaks it by as little as can be.
@Suite("Demands and the audit of layouts")
struct LayoutTests {
    private static let low: ClosedRange<UInt64> = 0xc000_0000...0xdfff_ffff
    private static let high: ClosedRange<UInt64> = 0x10_0000_0000...0x1f_ffff_ffff

    private func range(_ first: UInt64, _ last: UInt64) throws -> AddressRange {
        try #require(AddressRange(first: first, last: last))
    }

    /// A port with a card of three BARs, and a card on the root bus.
    private func demand(prefetchableType: UInt8 = 1) throws -> ResourceDemand {
        let tree = SmallTree(memory: [Self.low, Self.high]) {
            let port = $0.port("00:02.0", prefetchableType: prefetchableType)
            $0.endpoint("01:00.0", below: port, bars: [.mem32(1 << 20), .io(0x20), .pref64(1 << 20)])
            $0.endpoint("00:03.0", bars: [.mem32(1 << 20)])
        }
        return ResourceDemand(try tree.topology())
    }

    /// A function whose resources lie where `first` says.
    private func entry(_ function: FunctionDemand, at first: (ResourceIndex) -> UInt64?) -> FunctionOutcome {
        var entry = FunctionOutcome(path: function.path, today: function.today, bus: function.today.bus)
        for request in function.requests {
            entry.resources.append(
                ResourceOutcome(
                    index: request.index,
                    kind: request.kind,
                    size: request.size,
                    isRequired: request.isRequired,
                    range: first(request.index).flatMap { AddressRange(first: $0, size: request.size) },
                    reason: nil
                )
            )
        }
        return entry
    }

    /// A sound layout, written down.
    private func layout(_ demand: ResourceDemand) throws -> PolicyOutcome {
        var outcome = PolicyOutcome(policy: "by hand", functions: [])
        let places: [String: [Int: UInt64]] = [
            "01:00.0": [0: 0xc000_0000, 1: 0x2000, 2: 0x10_0000_0000], "00:03.0": [0: 0xc020_0000],
        ]
        for function in demand.functions {
            var entry = self.entry(function) { places[function.today.short]?[Int($0.rawValue)] }
            if function.bridge != nil {
                entry.buses = BusRange(BusNumber(1))
                entry.windows = [
                    WindowOutcome(index: .ioWindow, range: try range(0x2000, 0x2fff)),
                    WindowOutcome(index: .memoryWindow, range: try range(0xc000_0000, 0xc00f_ffff)),
                    WindowOutcome(index: .prefetchableWindow, range: try range(0x10_0000_0000, 0x10_000f_ffff)),
                ]
            }
            outcome.functions.append(entry)
        }
        return outcome
    }

    private func violations(
        prefetchableType: UInt8 = 1,
        _ change: (inout [String: FunctionOutcome]) throws -> Void = { _ in }
    ) throws -> [String] {
        let demand = try demand(prefetchableType: prefetchableType)
        var outcome = try layout(demand)
        var byName = Dictionary(outcome.functions.map { ($0.today.short, $0) }, uniquingKeysWith: { first, _ in first })
        try change(&byName)
        outcome.functions = outcome.functions.map { byName[$0.today.short] ?? $0 }
        return LayoutAudit(outcome, demand).violations
    }

    private func move(_ name: String, _ index: Int, _ first: UInt64) throws -> [String] {
        try violations { entries in
            for i in entries[name]?.resources.indices ?? 0..<0
            where entries[name]?.resources[i].index == ResourceIndex(index) {
                let size = entries[name]?.resources[i].size ?? 1
                entries[name]?.resources[i].range = AddressRange(first: first, size: size)
            }
        }
    }

    private func window(_ index: ResourceIndex, _ first: UInt64, _ last: UInt64, type: UInt8 = 1) throws -> [String] {
        try violations(prefetchableType: type) { entries in
            let range = try range(first, last)
            for i in entries["00:02.0"]?.windows.indices ?? 0..<0 where entries["00:02.0"]?.windows[i].index == index {
                entries["00:02.0"]?.windows[i].range = range
            }
        }
    }

    @Test("a sound layout")
    func sound() throws {
        #expect(try violations() == [])
    }

    @Test("BARs: alignment, windows, apertures, width, neighbours, each by the least amount")
    func bars() throws {
        #expect(
            try move("00:03.0", 0, 0xc020_1000) == [
                "0000:00:03.0 BAR 0: 0xc0201000-0xc0300fff is not aligned to 1M"
            ]
        )
        #expect(try move("00:03.0", 0, 0xdff0_0000) == [])
        #expect(try move("00:03.0", 0, 0xe000_0000).count == 1)
        #expect(try move("00:03.0", 0, 0xc000_0000).contains { $0.contains("overlaps") })
        #expect(try move("00:03.0", 0, 0xc010_0000) == [])
        #expect(
            try move("00:03.0", 0, 0x11_0000_0000) == [
                "0000:00:03.0 BAR 0: 32-bit BAR above 4 GiB at 0x1100000000-0x11000fffff"
            ]
        )
        #expect(
            try move("01:00.0", 0, 0xc010_0000)
                == ["0000:01:00.0 BAR 0: 0xc0100000-0xc01fffff is outside the windows of 0000:00:02.0"]
        )
        #expect(try move("01:00.0", 1, 0x2fe0) == [])
        #expect(try move("01:00.0", 1, 0x3000).count == 1)
        #expect(try move("01:00.0", 1, 0x170) == [], "a legacy port that firmware wired by hand")
        #expect(try move("01:00.0", 2, 0x10_0010_0000).count == 1)
    }

    @Test("prefetchable memory may lie in the memory window, memory not in the prefetchable one")
    func kinds() throws {
        let both = try violations { entries in
            entries["00:02.0"]?.windows[1].range = try range(0xc000_0000, 0xc01f_ffff)
            entries["01:00.0"]?.resources[2].range = try range(0xc010_0000, 0xc01f_ffff)
        }
        #expect(both == [])
        let wrong = try violations { entries in
            entries["00:02.0"]?.windows[2].range = try range(0xc100_0000, 0xc10f_ffff)
            entries["01:00.0"]?.resources[2].range = nil
            entries["01:00.0"]?.resources[0].range = try range(0xc100_0000, 0xc10f_ffff)
        }
        #expect(wrong == ["0000:01:00.0 BAR 0: 0xc1000000-0xc10fffff is outside the windows of 0000:00:02.0"])
    }

    @Test("windows: width of the registers, apertures, neighbours")
    func windows() throws {
        #expect(try window(.memoryWindow, 0xc000_0000, 0xc01f_ffff) == [])
        #expect(try window(.memoryWindow, 0xc000_0000, 0xc020_0000).contains { $0.contains("overlaps") })
        #expect(
            try window(.memoryWindow, 0x11_0000_0000, 0x11_000f_ffff).contains {
                $0.contains("32-bit window above 4 GiB")
            }
        )
        #expect(
            try window(.prefetchableWindow, 0x10_0000_0000, 0x10_000f_ffff, type: 0).contains {
                $0.contains("32-bit window")
            }
        )
        #expect(
            try window(.prefetchableWindow, 0x10_0000_0000, 0x20_0000_0000).contains {
                $0.contains("outside the apertures")
            }
        )
        #expect(try window(.ioWindow, 0xf000, 0xffff).count == 1, "the card's port is outside of it")
    }

    @Test("what a 32-bit register can hold is judged by the bus address, of memory and of ports apart")
    func translated() throws {
        var tree = SmallTree(memory: [Self.low]) { $0.endpoint("00:03.0", bars: [.mem32(1 << 20)]) }
        let cpu = try range(0x40_0000_0000, 0x40_0fff_ffff)
        func violations(memoryOffset: Int64, ioOffset: Int64) throws -> [String] {
            tree.apertures = [
                Aperture(range: cpu, flags: .io, offset: ioOffset),
                Aperture(range: cpu, flags: .memory, offset: memoryOffset),
            ]
            let demand = ResourceDemand(try tree.topology())
            var outcome = PolicyOutcome(policy: "by hand", functions: [])
            let function = try #require(demand.functions.first)
            outcome.functions = [entry(function) { _ in cpu.first }]
            return LayoutAudit(outcome, demand).violations
        }
        #expect(try violations(memoryOffset: 0x40_0000_0000, ioOffset: 0) == [])
        let wrong = try violations(memoryOffset: 0, ioOffset: 0x40_0000_0000)
        #expect(wrong.count == 1 && wrong[0].hasPrefix("0000:00:03.0 BAR 0: 32-bit BAR above 4 GiB at "))
    }

    @Test("bus ranges nest and do not meet")
    func buses() throws {
        func buses(_ first: UInt8, _ last: UInt8, own: UInt8 = 1) throws -> [String] {
            let tree = SmallTree(memory: [Self.low]) {
                let port = $0.port("00:02.0")
                $0.port("01:00.0", below: port)
                $0.port("01:01.0", below: port)
            }
            let demand = ResourceDemand(try tree.topology())
            var outcome = PolicyOutcome(policy: "by hand", functions: [])
            let given: [String: (UInt8, UInt8)] = ["00:02.0": (1, 9), "01:00.0": (first, last), "01:01.0": (5, 6)]
            for function in demand.functions {
                var entry = FunctionOutcome(path: function.path, today: function.today, bus: function.today.bus)
                if let (a, b) = given[function.today.short] {
                    entry.buses = BusRange(first: BusNumber(a), last: BusNumber(b))
                }
                outcome.functions.append(entry)
            }
            return LayoutAudit(outcome, demand).violations
        }
        #expect(try buses(2, 4) == [] && buses(7, 9) == [])
        #expect(try buses(7, 10) == ["0000:01:00.0: [bus 07-0a] is outside [bus 01-09]"])
        #expect(try buses(2, 5) == ["0000:01:01.0: [bus 05-06] overlaps [bus 02-05] of 0000:01:00.0"])
    }

    // MARK: Demands

    @Test("free ranges of a host: apertures less obstacles, up to a limit; legacy memory is never free")
    func freeRanges() throws {
        var topology = try SmallTree(memory: [0...0x1f_ffff, Self.low]) { _ in }.topology()
        topology.blockers = [
            Blocker(range: try range(0xc010_0000, 0xc01f_ffff), isIO: false, name: "MMCONFIG", source: .iomem),
            Blocker(range: try range(0x2000, 0x20ff), isIO: true, name: "ports", source: .iomem),
        ]
        let host = ResourceDemand(topology).hosts[0]
        #expect(
            host.freeRanges(isIO: false) == [
                try range(0x10_0000, 0x1f_ffff), try range(0xc000_0000, 0xc00f_ffff),
                try range(0xc020_0000, 0xdfff_ffff),
            ]
        )
        #expect(
            host.freeRanges(isIO: false, limit: 0xc000_0fff)
                == [try range(0x10_0000, 0x1f_ffff), try range(0xc000_0000, 0xc000_0fff)]
        )
        #expect(host.freeRanges(isIO: true) == [try range(0x1000, 0x1fff), try range(0x2100, 0xffff)])
        #expect(host.name == "0000:00" && host.obstacles.count == 3)
    }

    @Test("addresses of the bus and of the CPU differ by the aperture's offset")
    func translation() throws {
        let tree = try SmallTree(memory: [Self.low]) { _ in }.topology()
        var host = tree.hostBridges[0]
        host.apertures[1].offset = 0x4000_0000
        let moved = try Topology(kernel: tree.kernel, hostBridges: [host], functions: [])
        let demand = ResourceDemand(moved).hosts[0]
        #expect(demand.apertures[1].range == (try range(0x8000_0000, 0x9fff_ffff)))
        #expect(
            demand.cpuRange(of: try range(0x8000_0000, 0x8000_0fff), isIO: false)
                == (try range(0xc000_0000, 0xc000_0fff))
        )
        #expect(
            demand.busRange(of: try range(0xdfff_f000, 0xdfff_ffff), isIO: false)
                == (try range(0x9fff_f000, 0x9fff_ffff))
        )
        // Outside of it, and in the other space, an address stays.
        #expect(demand.cpuRange(of: try range(0x9fff_f000, 0xa000_0fff), isIO: false).first == 0x9fff_f000)
        #expect(demand.busRange(of: try range(0xe000_0000, 0xe000_0fff), isIO: false).first == 0xe000_0000)
        #expect(demand.cpuRange(of: try range(0x8000_0000, 0x8000_0fff), isIO: true).first == 0x8000_0000)
    }

    @Test("the walk: depth first, subtrees are contiguous, sizes that nobody knows are noted")
    func walk() throws {
        let tree = SmallTree(memory: [Self.low]) {
            let port = $0.port("00:02.0")
            let inner = $0.port("01:01.0", below: port)
            $0.endpoint("02:00.0", below: inner, bars: [.io(0x20)])
            $0.endpoint("01:00.0", below: port, bars: [.mem32(4096)])
            $0.endpoint("00:01.0", bars: [])
        }
        let demand = ResourceDemand(try tree.topology())
        #expect(demand.functions.map(\.today.short) == ["00:01.0", "00:02.0", "01:00.0", "01:01.0", "02:00.0"])
        #expect(demand.subtree(of: 1) == 1..<5 && demand.subtree(of: 3) == 3..<5 && demand.subtree(of: 0) == 0..<1)
        #expect(
            demand.functions[1].children == [2, 3] && demand.functions[4].parent == 3 && demand.functions[0].isOnRootBus
        )
        var blind = try tree.topology()
        blind.update(demand.functions[2].today) { $0.resources[0].size = nil }
        #expect(ResourceDemand(blind).notes == ["0000:01:00.0 BAR 0: size unknown, left out"])
    }

    @Test("a bridge's abilities by its registers, and the reserve that QEMU asks for")
    func abilities() throws {
        let tree = SmallTree(memory: [Self.low]) {
            $0.port("00:02.0", isHotPlug: true, reservesBuses: 7)
            $0.port("00:03.0", prefetchableType: 0, type: 5)
            $0.port("00:04.0", reservesBuses: .max)
        }
        let bridges = ResourceDemand(try tree.topology()).functions.compactMap(\.bridge)
        #expect(bridges.map(\.prefetchableBits) == [64, 32, 64] && bridges.map(\.ioBits) == [16, 16, 16])
        #expect(
            bridges.map(\.isHotPlug) == [true, false, false] && bridges.map(\.isDownstreamPort) == [true, false, true]
        )
        #expect(bridges.map { $0.reserveHint?.buses } == [7, nil, nil] && bridges[1].reserveHint == nil)
        #expect(bridges[2].reserveHint != nil && bridges[0].reserveHint?.io == nil)
        #expect(bridges[0].reserveHint?.device == 0x000c)
    }

    @Test("figures of a layout, counted by hand")
    func metrics() throws {
        let demand = try demand()
        let layout = try layout(demand)
        var changed = layout
        changed.functions[0].windows[1].range = try range(0xc000_0000, 0xc01f_ffff)
        changed.functions[1].resources[2].range = nil
        let figures = PolicyMetrics(changed, demand, today: layout)
        #expect(
            figures.requiredPlaced == 3 && figures.requiredFailed == 1
                && figures.failures == ["0000:01:00.0 BAR 2: has no address"]
        )
        // BARs of 1M and 1M, 32 ports; windows of 2M and 1M and the root bus's card, one I/O window of 4K.
        #expect(figures.memoryUsed == 2 << 20 && figures.ioUsed == 0x20)
        #expect(figures.memoryTaken == 4 << 20 && figures.ioTaken == 0x1000 && figures.waste == 2 << 20)
        #expect(figures.windowSlack == 2 << 20)
        #expect(figures.busesUsed == 2 && figures.busesReserved == 0 && figures.busesFree == 254)
        #expect(figures.functionsMoved == 1 && figures.bridgesChanged == 1 && figures.functionsRenumbered == 0)
        let memory = figures.apertures.filter { !$0.isIO }
        #expect(memory.map(\.free) == [0x1fd0_0000, 0xf_fff0_0000])
        #expect(memory.map(\.largestBlock) == [0x1000_0000, 0x8_0000_0000])
        #expect(figures.violations == [])
        let same = PolicyMetrics(layout, demand, today: layout)
        #expect(
            same.functionsMoved == 0 && same.bridgesChanged == 0 && same.requiredFailed == 0 && same.windowSlack == 0
        )
    }

    @Test("VFs that answer on further buses ask for them: the last one decides")
    func extraBuses() throws {
        func extra(initial: UInt32, offset: UInt32, stride: UInt32) throws -> Int? {
            var config = ConfigSpace(Array(repeating: 0, count: 0x200))
            config.write(0x10 | 1 << 16, at: 0x100, width: 4)
            config.write(initial | initial << 16, at: 0x10c, width: 4)
            config.write(offset | stride << 16, at: 0x114, width: 4)
            let function = Function(
                address: FunctionAddress(bus: BusNumber(0), devfn: 0x08),
                identity: Function.Identity(vendor: 1, device: 1),
                config: config
            )
            let host = try SmallTree(memory: [Self.low]) { _ in }.topology().hostBridges[0]
            let topology = try Topology(kernel: KernelIdentity(), hostBridges: [host], functions: [function])
            return ResourceDemand(topology).functions.first?.extraBuses
        }
        // The first stands at 8 + 0x78 = 0x80, so 0x80 of them end at 0xff.
        #expect(try extra(initial: 0x80, offset: 0x78, stride: 1) == 0)
        #expect(try extra(initial: 0x81, offset: 0x78, stride: 1) == 1)
        #expect(try extra(initial: 0x41, offset: 0x78, stride: 2) == 1)
        #expect(try extra(initial: 0x40, offset: 0x78, stride: 2) == 0)
        #expect(try extra(initial: 1, offset: 0x1f8, stride: 1) == 2)
        #expect(try extra(initial: 0, offset: 0x1f8, stride: 1) == 0)
    }
}
