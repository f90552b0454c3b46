// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// Layouts of the two ideals, judged by the rules of PCI alone.
@Suite("ideal layouts")
struct IdealPolicyTests {
    private typealias Machine = WriteMachine
    private static let identity = Function.Identity(vendor: 0x1234, device: 1, classCode: 0xff_0000)

    private static func range(_ first: UInt64, _ last: UInt64) -> AddressRange? {
        AddressRange(first: first, last: last)
    }

    /// What is wrong with an outcome: outside the aperture or window, misaligned, of the wrong size, overlapping.
    private func faults(_ outcome: PolicyOutcome, _ topology: Topology) throws -> [String] {
        var found: [String] = []
        var places: [TopologyPath: Int] = [:]
        for (n, one) in outcome.functions.enumerated() { places[one.path] = n }
        var held: [String: [(owner: String, range: AddressRange)]] = [:]
        for one in outcome.functions {
            let i = try #require(topology.functions.indices.first { topology.path(of: $0) == one.path })
            guard !topology.functions[i].isVirtual else { continue }
            let above = topology.parent(of: i).flatMap { places[topology.path(of: $0)] }
            func check(_ range: AddressRange, _ isIO: Bool, isPrefetchable: Bool, _ name: String) {
                let outer: [AddressRange]
                if let above {
                    outer = outcome.functions[above].windows.filter { window in
                        switch window.index {
                        case .ioWindow: isIO
                        case .memoryWindow: !isIO
                        default: !isIO && isPrefetchable
                        }
                    }.map(\.range)
                } else {
                    outer = topology.hostBridges[0].apertures.filter { $0.isIO == isIO }.map(\.range)
                }
                if !outer.contains(where: { $0.contains(range) }) { found.append("\(name) lies outside") }
                let key = "\(above.map { "\($0)" } ?? "root") \(isIO)"
                for other in held[key] ?? [] where other.range.overlaps(range) {
                    found.append("\(name) overlaps \(other.owner)")
                }
                held[key, default: []].append((name, range))
            }
            for resource in one.resources {
                guard let range = resource.range else { continue }
                let name = "\(one.today) \(resource.index)"
                let own = topology.functions[i].resource(resource.index)
                if let size = own?.size?.rawValue, !resource.index.isWindow {
                    if range.last - range.first + 1 != size { found.append("\(name) has another size") }
                    if range.first % (own?.alignment?.rawValue ?? size) != 0 { found.append("\(name) is misaligned") }
                }
                check(range, own?.kind == .io, isPrefetchable: own?.kind == .prefetchable, name)
            }
            for window in one.windows {
                let isIO = window.index == .ioWindow
                let granule: UInt64 = isIO ? 0x1000 : 0x10_0000
                if window.range.first % granule != 0 || (window.range.last &+ 1) % granule != 0 {
                    found.append("\(one.today) \(window.index) is misaligned")
                }
                check(window.range, isIO, isPrefetchable: window.index == .prefetchableWindow, "\(one.today) window")
            }
            if topology.functions[i].isBridge {
                let outer = above.flatMap { outcome.functions[$0].buses } ?? topology.hostBridges[0].busRange
                if let buses = one.buses {
                    if !outer.contains(buses) || buses.first == outer.first {
                        found.append("\(one.today) has \(buses)")
                    }
                } else {
                    found.append("\(one.today) has no bus")
                }
            }
        }
        return found
    }

    @Test("everything has its place, aligned, apart, inside; buses nest", arguments: IdealPolicy.Kind.allCases)
    func sound(kind: IdealPolicy.Kind) throws {
        let machine = try Machine(enabledVFs: 0)
        let outcome = IdealPolicy(machine.topology, kind).allocate(ResourceDemand(machine.topology))
        #expect(outcome.halt == nil && outcome.notes == [])
        #expect(try faults(outcome, machine.topology) == [])
        for one in outcome.functions {
            for resource in one.resources where resource.index.isBAR {
                #expect(resource.range != nil && resource.reason == nil, "\(one.today) \(resource.index)")
            }
        }
        #expect(outcome.policy == kind.rawValue)
    }

    @Test("the least change of a layout that fits is none")
    func unchanged() throws {
        let machine = try Machine(enabledVFs: 0)
        let outcome = IdealPolicy(machine.topology, .movable).allocate(ResourceDemand(machine.topology))
        for one in outcome.functions {
            let i = try #require(machine.topology.functions.indices.first { machine.topology.path(of: $0) == one.path })
            for resource in one.resources where resource.index.isBAR {
                #expect(resource.range == machine.topology.functions[i].resource(resource.index)?.range)
            }
            if let buses = machine.topology.functions[i].bridge?.busRange { #expect(one.buses == buses) }
        }
    }

    /// A machine of one root port with devices behind it, as a kernel boots it.
    private func machine(_ sizes: [UInt64], low: ClosedRange<UInt64>, lowest: UInt64? = nil) throws -> Topology {
        var apertures = [Self.range(0x1000, 0xffff).map { Aperture(range: $0, flags: .io) }]
        if let lowest { apertures.append(Self.range(lowest, 0xfffff).map { Aperture(range: $0, flags: .memory) }) }
        apertures.append(Self.range(low.lowerBound, low.upperBound).map { Aperture(range: $0, flags: .memory) })
        let host = HostBridge(
            segment: 0,
            busRange: try #require(BusRange(first: BusNumber(0), last: BusNumber(15))),
            apertures: apertures.compactMap { $0 },
            source: .kernelLog
        )
        let cards = sizes.enumerated().map { n, size in
            CardProfile(
                name: "card",
                functions: [
                    CardFunction(
                        devfn: UInt8(8 * (n + 1)),
                        identity: Self.identity,
                        bars: [.memory(0, size)],
                        portType: nil
                    )
                ]
            )
        }
        let platform = Platform(architecture: "x86_64", commandLine: nil)
        var twin = try LinuxTwin(
            hostBridges: [host],
            cards: cards.map { (0, $0) },
            behaviour: .linux6_12,
            platform: platform
        )
        try twin.perform(.boot(platform))
        return try twin.topology()
    }

    @Test(
        "an exact fit is found; with one page more something is left out and said to be",
        arguments: IdealPolicy.Kind.allCases
    )
    func exactFit(kind: IdealPolicy.Kind) throws {
        let mib: UInt64 = 1 << 20
        let sizes = [8 * mib, 4 * mib, 2 * mib, mib, mib]
        let tight = try machine(sizes, low: 0x8000_0000...(0x8000_0000 + 16 * mib - 1))
        let whole = IdealPolicy(tight, kind).allocate(ResourceDemand(tight))
        #expect(whole.notes == [] && whole.functions.allSatisfy { $0.resources.allSatisfy { $0.range != nil } })
        #expect(try faults(whole, tight) == [])
        let over = try machine(sizes + [4096], low: 0x8000_0000...(0x8000_0000 + 16 * mib - 1))
        let outcome = IdealPolicy(over, kind).allocate(ResourceDemand(over))
        #expect(outcome.notes == ["not everything fits"] && outcome.halt == nil)
        let left = outcome.functions.flatMap(\.resources).filter { $0.range == nil && $0.index.isBAR }
        #expect(left.count == 1 && left[0].reason == "does not fit beside the rest")
        #expect(try faults(outcome, over) == [])
    }

    @Test("nothing is put into the first MiB, though an aperture reaches there", arguments: IdealPolicy.Kind.allCases)
    func legacy(kind: IdealPolicy.Kind) throws {
        var topology = try machine([4096, 1 << 20], low: 0x8000_0000...0x801f_ffff, lowest: 0)
        // Ports are no memory: what holds some of them frees nothing there.
        topology.blockers.append(
            Blocker(range: try #require(Self.range(0x2000, 0x3fff)), isIO: true, name: "timer", source: .iomem)
        )
        let outcome = IdealPolicy(topology, kind).allocate(ResourceDemand(topology))
        for resource in outcome.functions.flatMap(\.resources) where resource.index.isBAR {
            #expect(resource.range.map { $0.first >= 0x8000_0000 } == true, "\(String(describing: resource.range))")
        }
    }

    @Test("an optimal layout wastes no window: each is as large as what is below, in whole granules")
    func tight() throws {
        let machine = try Machine(enabledVFs: 0)
        let outcome = IdealPolicy(machine.topology, .optimal).allocate(ResourceDemand(machine.topology))
        let full = try #require(outcome.functions.first { $0.today == Machine.full })
        let memory = try #require(full.windows.first { $0.index == .memoryWindow })
        // 1 MiB of the card and 4 KiB of its sibling: two MiB in whole granules.
        #expect(memory.range.clampedSize == 2 << 20)
        let prefetchable = try #require(full.windows.first { $0.index == .prefetchableWindow })
        // 64 MiB and four VFs of 64 KiB.
        #expect(prefetchable.range.clampedSize == 65 << 20)
    }

    @Test("what each decision follows, in words")
    func rules() throws {
        let topology = try Machine(enabledVFs: 0).topology
        let optimal = IdealPolicy(topology, .optimal)
        let movable = IdealPolicy(topology, .movable)
        #expect(optimal.name == "optimal" && movable.name == "movable")
        #expect(optimal.summary == "the solver's layout from scratch, free to move everything")
        #expect(movable.summary.hasPrefix("the present layout with the least change"))
        #expect(
            optimal.rule(for: .busRange) == "numbers without gaps" && movable.rule(for: .busRange) == "keeps numbers"
        )
        for decision in [LayoutDecision.windowPlace, .place] {
            #expect(optimal.rule(for: decision) == "wherever everything fits")
            #expect(movable.rule(for: decision) == "stays, unless something would not fit otherwise")
        }
        for ideal in [optimal, movable] {
            #expect(ideal.rule(for: .windowSize) == "exactly what is below, in the order that packs best")
            #expect(ideal.rule(for: .omission) == "leaves out only what provably does not fit beside the rest")
        }
    }
}
