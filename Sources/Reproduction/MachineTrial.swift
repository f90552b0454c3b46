// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// What the twin says of an emulated machine: firmware lays it out, the kernel boots, the cards are plugged in.
struct MachineTrial {
    /// A resource or the bus of an emulated device that has no place in the end.
    struct Failing: Hashable {
        /// The number of the node.
        var node: Int
        /// The resource; nil for the bus numbers.
        var index: ResourceIndex?
    }

    /// What has no place in the end.
    private(set) var failing: Set<Failing> = []
    /// The addresses of the nodes that the kernel finds, by number.
    private(set) var addresses: [Int: FunctionAddress] = [:]
    /// The addresses that firmware gives to ports into which something is plugged, by number.
    private(set) var slots: [Int: FunctionAddress] = [:]
    /// Ranges that the kernel is told to leave alone, so that windows grow into nothing but what the report had.
    private(set) var reserved: [AddressRange] = []

    /// The root buses by number of the host bridge.
    private(set) var rootBuses: [UInt8] = [0]

    private var shifts: [(devfns: Set<UInt8>, root: UInt8, by: Int, last: UInt8)] = []
    private let words: [String]

    /// Words for the kernel's command line.
    var parameters: [String] {
        guard !reserved.isEmpty else { return words }
        let pairs = reserved.map { "\(hex($0.first)),\(hex($0.clampedSize))" }
        return words + ["reserve=" + pairs.joined(separator: ",")]
    }

    /// Tries `machine` on a kernel that behaves as `behaviour`.
    ///
    /// The twin has one host bridge, as firmware, which lays out all root buses from one pool. A further root bus has no
    /// room but the windows of its ports, and on bus 00 everything else is reserved: what is free is the same in both.
    ///
    /// - Parameters:
    ///   - machine: the machine.
    ///   - behaviour: the kernel.
    ///   - words: what the report's kernel was told of PCI, as words for the kernel's command line.
    /// - Throws: `TwinError` for a machine that no firmware or kernel could start.
    init(_ machine: EmulatedMachine, behaviour: KernelBehaviour, words: [String] = []) throws(TwinError) {
        let words = machine.event.words + words
        self.words = words
        let platform = Platform(.x86, commandLine: words.joined(separator: " "))
        let layout = try Self.firmwareLayout(machine, behaviour, platform)
        let used = layout.functions.indices.filter { layout.parent(of: $0) == nil }.flatMap { i in
            layout.functions[i].resources.filter { $0.kind != .io }.compactMap(\.range)
        }.sorted()
        let ports = layout.functions.indices.filter { layout.parent(of: $0) == nil }.flatMap { i in
            layout.functions[i].resources.filter { $0.kind == .io }.compactMap(\.range)
        }.sorted()
        let freePorts = machine.lacksPorts ? Self.portGaps(ports) : []
        reserved = Self.gaps(used, count: 4 - freePorts.count) + freePorts
        let high = used.filter { $0.first > 0xffff_ffff }
        var ranges = Self.ranges(EmulatedMachine.apertures)
        if let first = high.first?.first, let last = high.map(\.last).max(),
            let range = AddressRange(first: first, last: last)
        {
            ranges.append(range)
        }
        let started: Topology
        do {
            started = try Topology(
                kernel: KernelIdentity(architecture: "x86_64"),
                hostBridges: [try Self.hostBridge(ranges)],
                functions: layout.functions,
                blockers: reserved.map { range in
                    Blocker(range: range, isIO: range.last <= 0xffff, name: "Reserved", source: .iomem)
                }
            )
        } catch let error as TopologyError {
            throw TwinError(.badTopology, error.description)
        } catch {
            throw TwinError(.badTopology, "\(error)")
        }
        var twin = try LinuxTwin(started, behaviour: behaviour, platform: platform)
        twin.recordsEvents = false
        if machine.event != .boot { try twin.perform(.boot(platform)) }
        for (path, node) in Self.walk(machine.ports, below: []) where !node.plugged.isEmpty {
            let now = try twin.topology()
            guard let port = now.functions.indices.first(where: { now.path(of: $0).hops == path }) else {
                throw TwinError(.noSuchFunction, "expected a port \(node.name), the kernel found none")
            }
            let address = now.functions[port].address
            slots[node.number] = address
            let card = CardProfile(name: node.name, functions: node.plugged.map(\.function))
            try twin.perform(
                .hotAdd(port: address, card: card, method: machine.event == .plug ? .pciehp : .unnoticed)
            )
        }
        try numberRootBuses(machine, layout)
        switch machine.event {
        case .boot: try twin.perform(.boot(platform))
        case .rescan: try twin.perform(.rescan)
        case .plug: break
        }
        let after = try twin.topology()
        var places: [[UInt8]: Int] = [:]
        for i in after.functions.indices { places[after.path(of: i).hops] = i }
        for (path, node) in Self.walk(machine.ports, below: []) {
            guard let i = places[path] else { continue }
            let function = after.functions[i]
            addresses[node.number] = moved(function.address, root: path[0])
            for bar in node.device.blocks {
                guard let index = ResourceIndex(bar.index) else { continue }
                if function.resource(index)?.range == nil { failing.insert(Failing(node: node.number, index: index)) }
            }
            if node.device.bridge != nil, function.bridge?.busRange == nil {
                failing.insert(Failing(node: node.number, index: nil))
            }
        }
    }

    /// Lays the root buses behind the bus numbers that firmware gives the ports of those before, and moves `slots` there.
    private mutating func numberRootBuses(_ machine: EmulatedMachine, _ layout: Topology) throws(TwinError) {
        for host in Set(machine.ports.map(\.host)).sorted() where host > 0 {
            let ports = machine.ports.filter { $0.host == host }
            let ranges = ports.compactMap { port in
                layout.functions.first { $0.parent == nil && $0.address.devfn == port.devfn }?.bridge?.busRange
            }
            guard let first = ranges.map(\.first.rawValue).min(), let last = ranges.map(\.last.rawValue).max() else {
                continue
            }
            let root = shifts.last.map { Int($0.last) + $0.by + 1 } ?? Int(first)
            let shift = root + 1 - Int(first)
            guard Int(last) + shift <= 0xff else {
                throw TwinError(.badTopology, "expected bus numbers for \(machine.ports.count) ports, found too few")
            }
            rootBuses.append(UInt8(truncatingIfNeeded: root))
            shifts.append(
                (devfns: Set(ports.map(\.devfn)), root: UInt8(truncatingIfNeeded: root), by: shift, last: last)
            )
        }
        for port in machine.ports {
            for node in port.all { slots[node.number] = slots[node.number].map { moved($0, root: port.devfn) } }
        }
    }

    /// An address below the root port `root`, on the root bus where it is.
    private func moved(_ address: FunctionAddress, root: UInt8) -> FunctionAddress {
        guard let shift = shifts.first(where: { $0.devfns.contains(root) }) else { return address }
        let bus = address.bus.rawValue == 0 ? Int(shift.root) : Int(address.bus.rawValue) + shift.by
        return FunctionAddress(
            segment: address.segment,
            bus: BusNumber(UInt8(truncatingIfNeeded: bus)),
            devfn: address.devfn
        )
    }

    /// Every node with its devfns from the root bus down.
    private static func walk(_ nodes: [EmulatedNode], below path: [UInt8]) -> [([UInt8], EmulatedNode)] {
        nodes.flatMap { node in
            [(path + [node.devfn], node)] + walk(node.children + node.plugged, below: path + [node.devfn])
        }
    }

    /// The tree as SeaBIOS leaves it.
    private static func firmwareLayout(
        _ machine: EmulatedMachine,
        _ behaviour: KernelBehaviour,
        _ platform: Platform
    ) throws(TwinError) -> Topology {
        var wide = ranges(EmulatedMachine.apertures)
        if let high = AddressRange(first: 1 << 32, last: (1 << 40) - 1) { wide.append(high) }
        let cards = EmulatedMachine.chips + machine.ports.map { CardProfile(name: $0.name, functions: [$0.function]) }
        var first = try LinuxTwin(
            hostBridges: [try hostBridge(wide)],
            cards: cards.map { (0, $0) },
            behaviour: behaviour,
            platform: platform
        )
        first.recordsEvents = false
        try first.perform(.boot(platform))
        var topology = try first.topology()
        for port in machine.ports {
            guard let reserve = port.reserve,
                let place = topology.functions.indices.first(where: { topology.path(of: $0).hops == [port.devfn] })
            else { continue }
            topology.update(topology.functions[place].address) { function in
                reserve.write(to: &function.config)
                function.capabilities = Capabilities(function.config)
            }
        }
        let demand = ResourceDemand(topology)
        let policy = SeaBIOSPolicy(release: .v1_16_2, highStart: 1 << 32, hasHighRAM: false)
        let outcome = policy.allocate(demand)
        if let halt = outcome.halt { throw TwinError(.badTopology, "the firmware \(halt)") }
        do {
            return try outcome.applied(to: topology)
        } catch {
            throw TwinError(.badTopology, error.description)
        }
    }

    private static func ranges(_ pairs: [(first: UInt64, last: UInt64)]) -> [AddressRange] {
        pairs.compactMap { AddressRange(first: $0.first, last: $0.last) }
    }

    private static func hostBridge(_ memory: [AddressRange]) throws(TwinError) -> HostBridge {
        guard let buses = BusRange(first: BusNumber(0), last: BusNumber(0xff)),
            let low = AddressRange(first: 0, last: 0xcf7), let high = AddressRange(first: 0xd00, last: 0xffff)
        else { throw TwinError(.badTopology, "expected the ranges of a q35 machine") }
        return HostBridge(
            segment: 0,
            busRange: buses,
            apertures: [low, high].map { Aperture(range: $0, flags: .io) }
                + memory.map { Aperture(range: $0, flags: .memory) },
            source: .kernelLog
        )
    }

    /// The parts of the port space above the chips' that nothing uses, in which a window would have room: at most two.
    private static func portGaps(_ used: [AddressRange]) -> [AddressRange] {
        guard let all = AddressRange(first: 0x1000, last: 0xffff) else { return [] }
        let large = all.subtracting(used).filter { $0.clampedSize >= 0x1000 }.sorted { $0.clampedSize > $1.clampedSize }
        return large.prefix(2).sorted()
    }

    /// The largest parts of the apertures below 4 GiB that nothing uses: at most `count`; the kernel takes four ranges.
    private static func gaps(_ used: [AddressRange], count: Int) -> [AddressRange] {
        var result: [AddressRange] = []
        for aperture in ranges(EmulatedMachine.apertures) { result += aperture.subtracting(used) }
        let large = result.filter { $0.clampedSize >= 1 << 20 }.sorted { $0.clampedSize > $1.clampedSize }
        return large.prefix(count).sorted()
    }
}
