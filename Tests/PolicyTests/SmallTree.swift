// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Trees written down in tests.
///
///     SmallTree(memory: 0xc000_0000...0xdfff_ffff) { tree in
///         let port = tree.port("00:02.0", to: 1)
///         tree.endpoint("01:00.0", below: port, bars: [.pref64(256 << 20)])
///     }
struct SmallTree {
    /// One BAR.
    struct BAR {
        var flags: ResourceFlags
        var size: UInt64

        static func io(_ size: UInt64) -> BAR { BAR(flags: .io, size: size) }
        static func mem32(_ size: UInt64) -> BAR { BAR(flags: .memory, size: size) }
        static func mem64(_ size: UInt64) -> BAR { BAR(flags: [.memory, .memory64], size: size) }
        static func pref32(_ size: UInt64) -> BAR { BAR(flags: [.memory, .prefetchable], size: size) }
        static func pref64(_ size: UInt64) -> BAR { BAR(flags: [.memory, .prefetchable, .memory64], size: size) }
    }

    private var functions: [Function] = []
    var apertures: [Aperture]

    /// An I/O aperture of 0x1000-0xffff and the given memory apertures.
    init(memory: [ClosedRange<UInt64>], _ build: (inout SmallTree) -> Void) {
        var apertures = [(UInt64(0x1000), UInt64(0xffff), ResourceFlags.io)]
        apertures += memory.map { ($0.lowerBound, $0.upperBound, .memory) }
        self.apertures = apertures.compactMap { first, last, flags in
            AddressRange(first: first, last: last).map { Aperture(range: $0, flags: flags) }
        }
        build(&self)
    }

    /// Ends the I/O aperture at `last`.
    mutating func limitPorts(to last: UInt64) {
        for i in apertures.indices where apertures[i].isIO {
            apertures[i].range = AddressRange(first: apertures[i].range.first, last: last) ?? apertures[i].range
        }
    }

    /// The tree as a topology.
    func topology() throws -> Topology {
        let buses = BusRange(first: BusNumber(0), last: BusNumber(255)) ?? BusRange(BusNumber(0))
        return try Topology(
            kernel: KernelIdentity(),
            hostBridges: [HostBridge(segment: 0, busRange: buses, apertures: apertures, source: .kernelLog)],
            functions: functions
        )
    }

    /// Adds an endpoint; a 64-bit BAR takes two numbers. `today` are present addresses by position.
    @discardableResult
    mutating func endpoint(
        _ address: String,
        below parent: FunctionAddress? = nil,
        classCode: UInt32 = 0xff0000,
        bars: [BAR],
        today: [UInt64?] = []
    ) -> FunctionAddress? {
        guard let address = FunctionAddress(parsing: address) else { return nil }
        var number = 0
        var resources: [Resource] = []
        for (i, bar) in bars.enumerated() {
            guard let index = ResourceIndex.bar(number) else { break }
            let place = i < today.count ? today[i].flatMap { AddressRange(first: $0, size: bar.size) } : nil
            resources.append(
                Resource(
                    index: index,
                    flags: bar.flags,
                    size: ByteCount(bar.size),
                    alignment: ByteCount(bar.size),
                    assignment: place.map { .assigned($0) } ?? .unassigned
                )
            )
            number += bar.flags.contains(.memory64) ? 2 : 1
        }
        functions.append(
            Function(
                address: address,
                identity: Function.Identity(vendor: 0x1234, device: 1, classCode: classCode),
                config: ConfigSpace([UInt8](repeating: 0, count: 64)),
                resources: resources,
                parent: parent
            )
        )
        return address
    }

    /// Adds a root or downstream port with all three windows.
    /// - Parameters:
    ///   - address: where it is.
    ///   - parent: the bridge above.
    ///   - isHotPlug: whether its slot is hot-plug capable.
    ///   - reservesBuses: QEMU's reserve of bus numbers, nil for a bridge without the capability.
    ///   - prefetchableType: the type nibble of the prefetchable window, 1 for 64 bits.
    ///   - type: the kind of port, 4 for a root port, 5 upstream, 6 downstream (PCI Express capabilities register).
    ///   - windows: open windows at present, by index.
    /// - Returns: the address, or nil when it makes no sense.
    @discardableResult
    mutating func port(
        _ address: String,
        below parent: FunctionAddress? = nil,
        isHotPlug: Bool = false,
        reservesBuses: UInt32? = nil,
        prefetchableType: UInt8 = 1,
        type: UInt8 = 4,
        windows: [ResourceIndex: ClosedRange<UInt64>] = [:]
    ) -> FunctionAddress? {
        guard let address = FunctionAddress(parsing: address) else { return nil }
        var config = [UInt8](repeating: 0, count: 256)
        config[0x06] = 0x10
        config[0x0e] = 1
        config[0x24] = prefetchableType
        config[0x26] = prefetchableType
        config[0x34] = 0x40
        // PCI Express capability: the kind of port, slot implemented where there can be one.
        config[0x40] = 0x10
        config[0x41] = reservesBuses == nil ? 0 : 0x80
        config[0x42] = 0x02 | type << 4
        config[0x43] = type == 5 ? 0 : 0x01
        config[0x54] = isHotPlug ? 0x40 : 0
        if let reservesBuses {
            for i in 0x80..<0xa0 { config[i] = 0xff }
            config[0x80] = 0x09
            config[0x81] = 0
            config[0x82] = 32
            config[0x83] = 1
            for i in 0..<4 { config[0x84 + i] = UInt8(truncatingIfNeeded: reservesBuses >> UInt32(8 * i)) }
        }
        let space = ConfigSpace(config)
        let kinds: [(ResourceIndex, ResourceFlags)] = [
            (.ioWindow, .io), (.memoryWindow, .memory),
            (
                .prefetchableWindow,
                prefetchableType == 1 ? [.memory, .prefetchable, .memory64] : [.memory, .prefetchable]
            ),
        ]
        let resources = kinds.map { index, flags in
            let open = windows[index].flatMap { AddressRange(first: $0.lowerBound, last: $0.upperBound) }
            return Resource(
                index: index,
                flags: flags,
                size: ByteCount(open?.clampedSize ?? 0),
                alignment: nil,
                assignment: open.map { .assigned($0) } ?? .closed
            )
        }
        functions.append(
            Function(
                address: address,
                identity: Function.Identity(vendor: 0x1b36, device: 0x000c, classCode: 0x060400),
                config: space,
                resources: resources,
                bridge: Function.Bridge(busRange: nil, registers: BridgeRegisters(space)),
                parent: parent
            )
        )
        return address
    }
}
