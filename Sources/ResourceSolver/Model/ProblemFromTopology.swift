// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// How a topology becomes a problem.
public struct ProblemOptions: Hashable, Sendable {
    /// Who is disturbed when a window changes.
    public var rule: DisturbanceRule = .stock
    /// Functions that may be disturbed although evidence protects them.
    public var allowed: Set<FunctionAddress> = []
    /// Functions that must stay although nothing protects them.
    public var kept: Set<FunctionAddress> = []
    /// No address above this; nil for no limit (`--max-addr`).
    public var highestAddress: UInt64?
    /// Whether bus numbers are part of the problem.
    public var includesBusNumbers = true
    /// Wanted sizes of BARs, by function and index; smaller sizes that the capability supports are alternatives.
    public var sizes: [FunctionAddress: [ResourceIndex: UInt64]] = [:]

    /// Creates options: the rule `stock`, nothing lifted, no limit.
    public init() {}
}

extension Problem {
    /// The problem that `topology` poses: everything assigned stays where it can, everything unassigned is to be placed.
    ///
    /// BARs are required; ROMs and VF BARs without an address are optional. Protected functions are immovable unless
    /// allowed. The device of a problem with index i is the function with index i, the bridge order is that of the bridge
    /// functions. A resource whose size nobody knows is left out.
    /// - Complexity: O(n log n).
    public init(_ topology: Topology, options: ProblemOptions = ProblemOptions()) {
        self.init(rule: options.rule)
        var bridgeOf: [Int: Int] = [:]
        for host in topology.hostBridges { hosts.append(Problem.host(host)) }
        for (i, function) in topology.functions.enumerated() where function.isBridge {
            bridgeOf[i] = bridges.count
            let h = max(0, topology.host(of: i))
            let host = topology.hostBridges.indices.contains(h) ? topology.hostBridges[h] : nil
            bridges.append(Problem.bridge(function, device: i, host: h, host, options))
        }
        for (i, b) in bridgeOf { bridges[b].parent = topology.parent(of: i).flatMap { bridgeOf[$0] } }
        for (i, function) in topology.functions.enumerated() {
            let isProtected =
                options.kept.contains(function.address)
                || (function.use.evidence.contains(where: \.isProtected) && !options.allowed.contains(function.address))
            devices.append(
                Device(
                    key: function.sortKey,
                    label: function.address.description,
                    host: max(0, topology.host(of: i)),
                    bridge: topology.parent(of: i).flatMap { bridgeOf[$0] },
                    weight: isProtected ? nil : 1 + function.use.evidence.reduce(0) { $0 + max(0, $1.weight) }
                )
            )
        }
        for (i, function) in topology.functions.enumerated() where !function.isVirtual {
            let host = topology.hostBridges.indices.contains(topology.host(of: i)) ? topology.host(of: i) : 0
            for resource in function.resources where !resource.index.isWindow {
                addRequest(resource, of: function, device: i, host: host, topology, options)
            }
        }
        if options.includesBusNumbers { addBusNumbers(topology, bridgeOf) }
        addBlockers(topology)
    }

    private static func host(_ host: HostBridge) -> Host {
        let numbers = AddressRange(
            first: UInt64(host.busRange.first.rawValue) + 1,
            last: UInt64(host.busRange.last.rawValue)
        )
        return Host(
            label: host.name,
            apertures: host.apertures.compactMap { aperture in
                guard let kind = ResourceKind(aperture.flags), let range = aperture.busRange else { return nil }
                return Problem.Aperture(kind, range, offset: aperture.offset)
            },
            busNumbers: numbers
        )
    }

    private static func bridge(
        _ f: Function,
        device: Int,
        host index: Int,
        _ host: HostBridge?,
        _ options: ProblemOptions
    ) -> Bridge {
        var windows: [Window] = []
        for (index, kind) in [
            (ResourceIndex.ioWindow, WindowKind.io), (.memoryWindow, .memory), (.prefetchableWindow, .prefetchable),
        ] {
            guard let resource = f.resource(index) else { continue }
            let offset: Int64 = host.map { Problem.offset(of: resource, $0) } ?? 0
            var window = Window(kind)
            if kind == .prefetchable, !resource.is64Bit { window.limits = WindowKind.memory.usualLimits }
            window.current = offset == .min ? nil : resource.range?.shifted(by: -offset)
            windows.append(window)
        }
        if options.includesBusNumbers {
            let buses = f.bridge?.busRange.flatMap {
                AddressRange(first: UInt64($0.first.rawValue), last: UInt64($0.last.rawValue))
            }
            windows.append(Window(.bus, current: buses))
        }
        return Bridge(key: f.sortKey, label: f.address.description, host: index, device: device, windows: windows)
    }

    private mutating func addRequest(
        _ resource: Resource,
        of function: Function,
        device: Int,
        host: Int,
        _ topology: Topology,
        _ options: ProblemOptions
    ) {
        guard let kind = resource.kind, let size = resource.size?.rawValue, size > 0 else { return }
        let offset =
            topology.hostBridges.indices.contains(host)
            ? Problem.offset(of: resource, topology.hostBridges[host]) : 0
        let current = resource.range.flatMap { offset == .min ? nil : $0.shifted(by: -offset)?.first }
        let isOptional = !resource.isRequired
        if resource.index.isVFBAR, size == 0 { return }
        let wanted = options.sizes[function.address]?[resource.index]
        let alignment = wanted ?? resource.alignment?.rawValue ?? size
        guard alignment > 0, alignment & (alignment - 1) == 0, (wanted ?? size) % alignment == 0 else { return }
        var limits = AddressRange.all
        if !resource.is64Bit, kind != .io { limits = WindowKind.memory.usualLimits }
        if let highest = options.highestAddress, kind != .io, let cut = AddressRange(first: 0, last: highest) {
            limits = limits.intersection(cut) ?? limits
        }
        requests.append(
            Request(
                key: function.sortKey << 5 | UInt64(resource.index.rawValue),
                label: "\(function.address) \(resource.index)",
                host: host,
                bridge: devices[device].bridge,
                kind: kind == .io ? .io : kind == .prefetchable ? .prefetchable : .memory,
                size: wanted ?? size,
                alignment: alignment,
                limits: limits,
                current: current,
                currentSize: wanted == nil || current == nil ? nil : size,
                holders: [device],
                tier: isOptional && current == nil ? .optional(resource.index.isROM ? 1 : 0) : .required,
                isFixed: resource.isFixed
            )
        )
    }

    private static func offset(of resource: Resource, _ host: HostBridge) -> Int64 {
        guard let range = resource.range else { return 0 }
        return host.apertures.first { $0.isIO == (resource.kind == .io) && $0.range.contains(range) }?.offset ?? 0
    }

    private mutating func addBusNumbers(_ topology: Topology, _ bridgeOf: [Int: Int]) {
        for (i, function) in topology.functions.enumerated() {
            guard let b = bridgeOf[i] else { continue }
            let current = function.bridge?.busRange.map { UInt64($0.first.rawValue) }
            requests.append(
                Request(
                    key: function.sortKey << 5 | 31,
                    label: "\(function.address) secondary bus",
                    host: bridges[b].host,
                    bridge: b,
                    kind: .busHeader,
                    size: 1,
                    alignment: 1,
                    current: current,
                    holders: topology.children(of: i)
                )
            )
        }
    }

    private mutating func addBlockers(_ topology: Topology) {
        for blocker in topology.blockers {
            for (h, host) in topology.hostBridges.enumerated() {
                for aperture in host.apertures where aperture.isIO == blocker.isIO && aperture.offset != .min {
                    guard let inside = aperture.range.intersection(blocker.range),
                        let range = inside.shifted(by: -aperture.offset)
                    else { continue }
                    // What lies inside a BAR or a window belongs to a driver, not to the platform.
                    let isOwned = topology.functions.contains { f in
                        f.resources.contains {
                            $0.range?.overlaps(blocker.range) == true && ($0.kind == .io) == blocker.isIO
                        }
                    }
                    guard !isOwned else { continue }
                    hosts[h].obstacles.append(
                        Obstacle(label: blocker.name, space: blocker.isIO ? .io : .memory, range: range)
                    )
                }
            }
        }
    }
}

extension Function {
    /// Orders functions by segment, bus, devfn.
    fileprivate var sortKey: UInt64 {
        UInt64(address.segment) << 16 | UInt64(address.bus.rawValue) << 8 | UInt64(address.devfn)
    }
}
