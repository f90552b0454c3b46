// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// A tree of a few functions that a test writes down: addresses, windows and BARs are the test's own numbers.
struct DrawnTree {
    var functions: [Function] = []
    var hosts: [HostBridge]
    var blockers: [Blocker] = []
    var gaps: [ReadingGap] = []
    var kernel = KernelIdentity()

    /// One host bridge of segment 0 with buses 00-ff.
    init(
        io: ClosedRange<UInt64>? = 0x1000...0xffff,
        memory: [ClosedRange<UInt64>] = [0xc000_0000...0xdfff_ffff, 0x40_0000_0000...0x4f_ffff_ffff],
        source: HostBridge.Source = .kernelLog
    ) {
        var apertures = io.map { [Aperture(range: span($0), flags: .io)] } ?? []
        apertures += memory.map { Aperture(range: span($0), flags: .memory) }
        hosts = [HostBridge(segment: 0, busRange: buses(0, 255), apertures: apertures, source: source)]
    }

    /// Adds a bridge with open windows; an absent window is one that the bridge does not have.
    mutating func bridge(
        _ address: String,
        _ range: BusRange?,
        below parent: String? = nil,
        io: ClosedRange<UInt64>? = nil,
        memory: ClosedRange<UInt64>? = nil,
        prefetchable: ClosedRange<UInt64>? = nil,
        flags: ResourceFlags = .wide,
        isSubtractive: Bool = false
    ) {
        var windows: [Resource] = []
        if let io { windows.append(window(.ioWindow, .io, io)) }
        if let memory { windows.append(window(.memoryWindow, .memory, memory)) }
        if let prefetchable { windows.append(window(.prefetchableWindow, flags, prefetchable)) }
        functions.append(
            Function(
                address: at(address),
                identity: Function.Identity(vendor: 0x1b36, device: 0xc, classCode: 0x06_0400),
                resources: windows,
                bridge: Function.Bridge(busRange: range, registers: nil, isSubtractive: isSubtractive),
                parent: parent.map(at)
            )
        )
    }

    /// Adds an endpoint.
    mutating func card(
        _ address: String,
        below parent: String? = nil,
        _ resources: [Resource] = [],
        classCode: UInt32 = 0x02_0000
    ) {
        functions.append(
            Function(
                address: at(address),
                identity: Function.Identity(vendor: 0x8086, device: 1, classCode: classCode),
                resources: resources,
                parent: parent.map(at)
            )
        )
    }

    /// Changes the function at `address`.
    mutating func change(_ address: String, _ change: (inout Function) -> Void) {
        for i in functions.indices where functions[i].address == at(address) { change(&functions[i]) }
    }

    /// Changes the resource `index` of the function at `address`.
    mutating func change(_ address: String, _ index: ResourceIndex, _ change: (inout Resource) -> Void) {
        self.change(address) { function in
            for i in function.resources.indices where function.resources[i].index == index {
                change(&function.resources[i])
            }
        }
    }

    /// Gives the function at `address` a header of 64 bytes (or `count`) with 32-bit values at offsets.
    mutating func registers(_ address: String, layout: UInt32 = 0, count: Int = 64, _ values: [Int: UInt32]) {
        change(address) { function in
            function.config = header(layout: layout, count: count, values)
            function.capabilities = Capabilities(function.config)
            function.bridge?.registers = BridgeRegisters(function.config)
        }
    }

    func topology() throws -> Topology {
        try Topology(kernel: kernel, hostBridges: hosts, functions: functions, blockers: blockers, gaps: gaps)
    }
}

extension ResourceFlags {
    /// 64-bit prefetchable memory.
    static let wide: ResourceFlags = [.memory, .prefetchable, .memory64]
}

/// A header with ids and 32-bit values at offsets.
func header(layout: UInt32 = 0, count: Int = 64, _ values: [Int: UInt32]) -> ConfigSpace {
    var config = ConfigSpace(Array(repeating: 0, count: count))
    config.write(0x0001_8086, at: 0, width: 4)
    for (offset, value) in values { config.write(value, at: offset, width: 4) }
    config.write(layout, at: 0x0e, width: 1)
    return config
}

func at(_ text: String) -> FunctionAddress {
    guard let address = FunctionAddress(parsing: text) else { fatalError("\(text) is no address") }
    return address
}

func span(_ range: ClosedRange<UInt64>) -> AddressRange {
    AddressRange(first: range.lowerBound, last: range.upperBound) ?? .all
}

func buses(_ first: UInt8, _ last: UInt8) -> BusRange {
    BusRange(first: BusNumber(first), last: BusNumber(last)) ?? BusRange(BusNumber(first))
}

func number(_ value: Int) -> ResourceIndex {
    guard let index = ResourceIndex(value) else { fatalError("\(value) is no resource") }
    return index
}

/// BAR (or other resource) `value` of `size` bytes, aligned to its size, at `first`, or without an address.
func bar(_ value: Int, _ flags: ResourceFlags, _ size: UInt64, at first: UInt64? = nil) -> Resource {
    Resource(
        index: number(value),
        flags: flags,
        size: ByteCount(size),
        alignment: ByteCount(size),
        assignment: first.flatMap { AddressRange(first: $0, size: size) }.map { .assigned($0) } ?? .unassigned
    )
}

/// An open window.
func window(_ index: ResourceIndex, _ flags: ResourceFlags, _ range: ClosedRange<UInt64>) -> Resource {
    Resource(
        index: index,
        flags: flags,
        size: ByteCount(range.upperBound - range.lowerBound + 1),
        alignment: ByteCount(flags.contains(.io) ? 0x1000 : 0x10_0000),
        assignment: .assigned(span(range))
    )
}
