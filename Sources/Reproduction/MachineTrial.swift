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

    private let words: [String]

    /// Words for the kernel's command line.
    var parameters: [String] {
        guard !reserved.isEmpty else { return words }
        let pairs = reserved.map { "\(hex($0.first)),\(hex($0.clampedSize))" }
        return words + ["reserve=" + pairs.joined(separator: ",")]
    }

    /// Tries `machine` on a kernel that behaves as `behaviour`.
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
        reserved = Self.gaps(used)
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
                blockers: reserved.map { Blocker(range: $0, isIO: false, name: "Reserved", source: .iomem) }
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
            addresses[node.number] = function.address
            for bar in node.device.bars {
                guard let index = ResourceIndex.bar(bar.index) else { continue }
                if function.resource(index)?.range == nil { failing.insert(Failing(node: node.number, index: index)) }
            }
            if node.device.bridge != nil, function.bridge?.busRange == nil {
                failing.insert(Failing(node: node.number, index: nil))
            }
        }
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

    /// The largest parts of the apertures below 4 GiB that nothing uses: at most four, as the kernel takes them.
    private static func gaps(_ used: [AddressRange]) -> [AddressRange] {
        var result: [AddressRange] = []
        for aperture in ranges(EmulatedMachine.apertures) { result += aperture.subtracting(used) }
        let large = result.filter { $0.clampedSize >= 1 << 20 }.sorted { $0.clampedSize > $1.clampedSize }
        return large.prefix(4).sorted()
    }
}
