// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology
public import VMLaboratory

/// Where the devices of a machine's description stand: QEMU's name of each, and its path from the root bus.
///
/// Paths survive renumbering and the removal of others, so a sequence of steps that speaks of names stays meaningful
/// when devices that it does not need are left out.
public struct Places: Sendable, Hashable {
    /// The path of every device, by its name.
    public private(set) var paths: [String: TopologyPath] = [:]

    /// The places of a machine whose devices all have an address.
    public init(_ machine: MachineTopology) {
        walk(machine.devices, BusNumber(0), [])
    }

    /// Places as they were written down: `0000:00:02.0/00.0/01.0` by name; nil when a path cannot be read.
    public init?(_ texts: [String: String]) {
        for (name, text) in texts {
            let parts = text.split(separator: "/")
            guard let head = parts.first.flatMap({ FunctionAddress(parsing: $0) }) else { return nil }
            let hops = parts.dropFirst().compactMap { Self.devfn(String($0)) }
            guard hops.count == parts.count - 1 else { return nil }
            paths[name] = TopologyPath(segment: head.segment, rootBus: head.bus, hops: [head.devfn] + hops)
        }
    }

    /// The places in the form that they are written down in.
    public var texts: [String: String] { paths.mapValues(\.description) }

    private mutating func walk(_ devices: [Device], _ rootBus: BusNumber, _ hops: [UInt8]) {
        for device in devices {
            if device.driver == "pxb-pcie" {
                guard case .number(let bus)? = device.properties.first(where: { $0.name == "bus_nr" })?.value else {
                    continue
                }
                walk(device.children, BusNumber(UInt8(truncatingIfNeeded: bus)), [])
                continue
            }
            guard let devfn = device.address.flatMap(Self.devfn) else { continue }
            let path = hops + [devfn]
            paths[device.identifier] = TopologyPath(segment: 0, rootBus: rootBus, hops: path)
            walk(device.children, rootBus, path)
        }
    }

    /// `2` or `2.1`, hexadecimal, as QEMU spells an address on a bus.
    static func devfn(_ text: String) -> UInt8? {
        let parts = text.split(separator: ".")
        guard (1...2).contains(parts.count), let slot = UInt8(parts[0], radix: 16), slot < 32 else { return nil }
        guard parts.count == 2 else { return slot << 3 }
        guard let function = UInt8(parts[1]), function < 8 else { return nil }
        return slot << 3 | function
    }

    /// Follows what is plugged in and taken out.
    mutating func note(_ action: Action) {
        switch action {
        case .plug(let card, let port):
            for part in card.parts.indices {
                add(LabCard.name(part, behind: port), behind: port, devfn: UInt8(truncatingIfNeeded: part))
            }
        case .eject(let port), .powerOff(let port): empty(port)
        default: break
        }
    }

    /// Adds a function of a card that was plugged behind `port`.
    private mutating func add(_ name: String, behind port: String, devfn: UInt8) {
        guard let above = paths[port] else { return }
        paths[name] = TopologyPath(segment: above.segment, rootBus: above.rootBus, hops: above.hops + [devfn])
    }

    /// Forgets what is behind a port.
    private mutating func empty(_ port: String) {
        guard let above = paths[port] else { return }
        paths = paths.filter { $0.value == above || !above.isAncestorOrSelf(of: $0.value) }
    }
}

/// A tree at one moment, with the names of its functions.
struct Scene {
    let topology: Topology
    let places: Places
    private let indexByName: [String: Int]
    private let nameByIndex: [Int: String]

    init(_ topology: Topology, _ places: Places) {
        self.topology = topology
        self.places = places
        var byPath: [TopologyPath: Int] = [:]
        for i in topology.functions.indices where !topology.functions[i].isVirtual { byPath[topology.path(of: i)] = i }
        var indexes: [String: Int] = [:]
        var names: [Int: String] = [:]
        for (name, path) in places.paths {
            guard let i = byPath[path] else { continue }
            indexes[name] = i
            names[i] = name
        }
        indexByName = indexes
        nameByIndex = names
    }

    /// The names of all functions of the description that the kernel knows at present, in the order of the tree.
    var names: [String] { nameByIndex.sorted { $0.key < $1.key }.map(\.value) }

    func index(_ name: String) -> Int? { indexByName[name] }

    func function(_ name: String) -> Function? { indexByName[name].map { topology.functions[$0] } }

    func address(_ name: String) -> FunctionAddress? { function(name)?.address }

    func name(_ index: Int) -> String? { nameByIndex[index] }
}

extension Places {
    /// Whether something stands behind a port, known to the kernel or not.
    func hasSomething(behind port: String) -> Bool {
        guard let above = paths[port] else { return false }
        return paths.values.contains { $0 != above && above.isAncestorOrSelf(of: $0) }
    }
}
