// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

// Trees built by hand. A function is named by its address; resources are named by their index in the kernel:
//
//     let tree = try TestTree()
//         .port("00:02.0", buses: 1...4, .assigned(.memoryWindow, 0xfe60_0000, size: 0x40_0000))
//         .endpoint("01:00.0", below: "00:02.0", .unassigned(.bar0, size: 0x1000))
//         .topology()

/// A tree in the making.
struct TestTree {
    var functions: [Function] = []
    var apertures: [Aperture] = [
        Aperture(range: .init(0xd00, 0xffff), flags: [.io, .window]),
        Aperture(range: .init(0xc000_0000, 0xfebf_ffff), flags: [.memory, .window]),
        Aperture(range: .init(0x1_0000_0000, 0x8_ffff_ffff), flags: [.memory, .window]),
    ]
    var blockers: [Blocker] = []
    var kernel = KernelIdentity(release: "6.12.1-test")

    /// A bridge; `buses` nil for one without bus numbers.
    func port(
        _ address: String,
        below parent: String? = nil,
        buses: ClosedRange<UInt8>?,
        _ resources: Resource...
    ) -> TestTree {
        var copy = self
        let range = buses.flatMap { BusRange(first: BusNumber($0.lowerBound), last: BusNumber($0.upperBound)) }
        copy.functions.append(
            Function(
                address: parse(address),
                identity: Function.Identity(vendor: 0x1b36, device: 0x000c, classCode: 0x060400),
                resources: resources.sorted { $0.index < $1.index },
                bridge: Function.Bridge(busRange: range, registers: nil),
                parent: parent.map(parse),
                use: Function.Use(driver: "pcieport")
            )
        )
        return copy
    }

    /// An endpoint.
    func endpoint(
        _ address: String,
        below parent: String? = nil,
        classCode: UInt32 = 0x01_08_02,
        config: ConfigSpace = ConfigSpace(),
        use: Function.Use = Function.Use(),
        _ resources: Resource...
    ) -> TestTree {
        var copy = self
        copy.functions.append(
            Function(
                address: parse(address),
                identity: Function.Identity(vendor: 0x1b36, device: 0x0005, classCode: classCode),
                config: config,
                resources: resources.sorted { $0.index < $1.index },
                parent: parent.map(parse),
                use: use
            )
        )
        return copy
    }

    /// The tree below one host bridge with buses 00-ff.
    func topology() throws -> Topology {
        try Topology(
            kernel: kernel,
            hostBridges: [
                HostBridge(
                    segment: 0,
                    busRange: BusRange(first: BusNumber(0), last: BusNumber(255)) ?? BusRange(BusNumber(0)),
                    apertures: apertures,
                    source: .kernelLog
                )
            ],
            functions: functions.map(Self.withLines),
            blockers: blockers
        )
    }

    /// The function with the lines that its resources show in sysfs.
    private static func withLines(_ function: Function) -> Function {
        var function = function
        let count = function.bridge?.busRange == nil ? 13 : 17
        function.lines = Array(repeating: .zero, count: count)
        for resource in function.resources where Int(resource.index.rawValue) < count {
            let line: ResourceLine
            switch resource.assignment {
            case .assigned(let range), .unclaimed(let range):
                line = ResourceLine(start: range.first, end: range.last, flags: resource.flags)
            case .unassigned:
                line = ResourceLine(start: 0, end: (resource.size?.rawValue ?? 1) - 1, flags: resource.flags)
            case .wiped, .closed: line = .zero
            }
            function.lines[Int(resource.index.rawValue)] = line
        }
        return function
    }

    private func parse(_ text: String) -> FunctionAddress {
        FunctionAddress(parsing: text) ?? FunctionAddress(bus: BusNumber(0xff), devfn: 0xff)
    }

    /// The case that the project began with: a switch with two slots, a 16 MiB card in the first, a 1 GiB card
    /// plugged into the second. The kernel found no room, and closed the I/O window of the first on the way.
    static var failedHotPlug: TestTree {
        return TestTree()
            .port(
                "00:02.0",
                buses: 1...4,
                .assigned(.ioWindow, 0xc000, size: 0x1000, .io),
                .assigned(.memoryWindow, 0xfe60_0000, size: 0x40_0000),
                .assigned(.prefetchableWindow, 0xfc00_0000, size: 0x200_0000, .pref64)
            )
            .port(
                "01:00.0",
                below: "00:02.0",
                buses: 2...4,
                .unassigned(.ioWindow, size: 0x1000, .io),
                .assigned(.memoryWindow, 0xfe60_0000, size: 0x40_0000),
                .assigned(.prefetchableWindow, 0xfc00_0000, size: 0x200_0000, .pref64)
            )
            .port(
                "02:00.0",
                below: "01:00.0",
                buses: 3...3,
                .unassigned(.ioWindow, size: 0x1000, .io),
                .assigned(.memoryWindow, 0xfe80_0000, size: 0x20_0000),
                .assigned(.prefetchableWindow, 0xfc00_0000, size: 0x100_0000, .pref64)
            )
            .port(
                "02:01.0",
                below: "01:00.0",
                buses: 4...4,
                .assigned(.memoryWindow, 0xfe60_0000, size: 0x20_0000),
                .closed(.prefetchableWindow, .pref64)
            )
            .endpoint(
                "03:00.0",
                below: "02:00.0",
                classCode: 0x00ff00,
                config: .bars(0xfe80_0000, 0xc001, 0xfc00_000c),
                .assigned(.bar0, 0xfe80_0000, size: 0x1000),
                .unassigned(.bar1, size: 0x100, .io),
                .assigned(.bar2, 0xfc00_0000, size: 0x100_0000, .pref64)
            )
            .endpoint(
                "04:00.0",
                below: "02:01.0",
                classCode: 0x00ff00,
                config: .bars(0xfe60_0000, 0x1, 0xc),
                .assigned(.bar0, 0xfe60_0000, size: 0x1000),
                .wiped(.bar1, size: 0x100, .io),
                .wiped(.bar2, size: 0x4000_0000, .pref64)
            )
    }
}

extension ConfigSpace {
    /// 256 bytes with these BAR registers, decoding of memory on.
    static func bars(_ registers: UInt32...) -> ConfigSpace {
        var config = ConfigSpace([UInt8](repeating: 0, count: 256))
        config.write(0x2, at: 0x04, width: 2)
        for (bar, value) in registers.enumerated() { config.write(value, at: 0x10 + 4 * bar, width: 4) }
        return config
    }
}

extension AddressRange {
    /// The range `first...last`; the single address `first` when they are the wrong way round.
    init(_ first: UInt64, _ last: UInt64) {
        self = AddressRange(first: first, last: max(first, last)) ?? .all
    }
}

extension ResourceIndex {
    static let bar0 = ResourceIndex(0) ?? .rom
    static let bar1 = ResourceIndex(1) ?? .rom
    static let bar2 = ResourceIndex(2) ?? .rom
    static let vfBAR0 = ResourceIndex.vfBAR(0) ?? .rom
}

extension ResourceFlags {
    static let pref64: ResourceFlags = [.memory, .prefetchable, .memory64]
}

extension Resource {
    static func assigned(
        _ index: ResourceIndex,
        _ first: UInt64,
        size: UInt64,
        _ flags: ResourceFlags = .memory
    ) -> Resource {
        Resource(
            index: index,
            flags: flags,
            size: ByteCount(size),
            alignment: ByteCount(size),
            assignment: .assigned(AddressRange(first, first + (size - 1)))
        )
    }

    static func unassigned(_ index: ResourceIndex, size: UInt64, _ flags: ResourceFlags = .memory) -> Resource {
        Resource(
            index: index,
            flags: flags,
            size: ByteCount(size),
            alignment: ByteCount(size),
            assignment: .unassigned
        )
    }

    static func wiped(_ index: ResourceIndex, size: UInt64, _ flags: ResourceFlags = .memory) -> Resource {
        var resource = unassigned(index, size: size, flags)
        resource.assignment = .wiped
        return resource
    }

    static func closed(_ index: ResourceIndex, _ flags: ResourceFlags = .memory) -> Resource {
        Resource(index: index, flags: flags, size: .zero, alignment: nil, assignment: .closed)
    }
}
