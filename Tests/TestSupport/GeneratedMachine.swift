// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// A large machine, made up: hosts with root ports, each with a switch, each downstream port with eight functions.
///
/// For measurements against lspci on the same files. Each root port takes five buses and thirty functions' space.
public enum GeneratedMachine {
    /// The number of functions that `write` makes for `hosts` hosts.
    public static func functionCount(hosts: Int) -> Int { hosts * 8 * 29 }

    /// Writes the machine below `shape`; at most six hosts fit a segment's bus numbers.
    public static func write(hosts: Int, to shape: inout SysfsShape) {
        var memory: UInt64 = 0x4000_0000
        var prefetchable: UInt64 = 0x40_0000_0000
        for host in 0..<min(hosts, 6) {
            let rootBus = UInt8(host * 41)
            shape.root(bus: rootBus)
            for port in 0..<8 {
                writePort(port, rootBus, &memory, &prefetchable, &shape)
            }
        }
    }

    private static func writePort(
        _ port: Int,
        _ rootBus: UInt8,
        _ memory: inout UInt64,
        _ prefetchable: inout UInt64,
        _ shape: inout SysfsShape
    ) {
        let first = rootBus + 1 + UInt8(port * 5)
        let root = FunctionAddress(bus: BusNumber(rootBus), devfn: UInt8(port + 1) << 3)
        let up = FunctionAddress(bus: BusNumber(first), devfn: 0)
        let memoryStart = memory
        let prefetchableStart = prefetchable
        for down in 0..<3 {
            let bus = first + 2 + UInt8(down)
            let port = FunctionAddress(bus: BusNumber(first + 1), devfn: UInt8(down) << 3)
            let m = memory
            let p = prefetchable
            for function in 0..<8 {
                let bars = [
                    ResourceLine(start: prefetchable, end: prefetchable + 0xf_ffff, flags: .init(rawValue: 0x14_220c)),
                    .zero,
                    ResourceLine(start: memory, end: memory + 0xfff, flags: .init(rawValue: 0x4_0200)),
                ]
                shape.function(
                    FunctionAddress(bus: BusNumber(bus), devfn: UInt8(function)),
                    rootBus: rootBus,
                    chain: [root, up, port],
                    config: endpoint(bars),
                    lines: bars + Array(repeating: .zero, count: 10)
                )
                prefetchable += 0x10_0000
                memory += 0x1000
            }
            memory = m + 0x10_0000
            shape.function(
                port,
                rootBus: rootBus,
                chain: [root, up],
                config: bridge(device: 0x8233, first + 1, bus, bus, m, memory, p, prefetchable),
                lines: windows(m, memory, p, prefetchable)
            )
        }
        shape.function(
            up,
            rootBus: rootBus,
            chain: [root],
            config: bridge(
                device: 0x8232,
                first,
                first + 1,
                first + 4,
                memoryStart,
                memory,
                prefetchableStart,
                prefetchable
            ),
            lines: windows(memoryStart, memory, prefetchableStart, prefetchable)
        )
        shape.function(
            root,
            rootBus: rootBus,
            config: bridge(
                device: 0x000c,
                rootBus,
                first,
                first + 4,
                memoryStart,
                memory,
                prefetchableStart,
                prefetchable
            ),
            lines: windows(memoryStart, memory, prefetchableStart, prefetchable)
        )
    }

    private static func windows(_ m: UInt64, _ mEnd: UInt64, _ p: UInt64, _ pEnd: UInt64) -> [ResourceLine] {
        Array(repeating: .zero, count: 14) + [
            ResourceLine(start: m, end: mEnd - 1, flags: .init(rawValue: 0x200)),
            ResourceLine(start: p, end: pEnd - 1, flags: .init(rawValue: 0x10_2201)), .zero,
        ]
    }

    private static func endpoint(_ bars: [ResourceLine]) -> [UInt8] {
        var config = header(vendor: 0x1b36, device: 0x0005, classCode: 0x00ff00, layout: 0x80)
        for (i, bar) in bars.enumerated() where bar != .zero {
            let value = bar.start | bar.flags.rawValue & 0xf
            put(UInt32(truncatingIfNeeded: value), at: 0x10 + 4 * i, in: &config)
            if bar.flags.contains(.memory64) {
                put(UInt32(truncatingIfNeeded: value >> 32), at: 0x14 + 4 * i, in: &config)
            }
        }
        return config
    }

    private static func bridge(
        device: UInt16,
        _ primary: UInt8,
        _ secondary: UInt8,
        _ subordinate: UInt8,
        _ m: UInt64,
        _ mEnd: UInt64,
        _ p: UInt64,
        _ pEnd: UInt64
    ) -> [UInt8] {
        var config = header(vendor: 0x104c, device: device, classCode: 0x060400, layout: 1)
        config[0x18] = primary
        config[0x19] = secondary
        config[0x1a] = subordinate
        config[0x1c] = 0xf1
        put(UInt32(truncatingIfNeeded: (m >> 16) & 0xfff0 | ((mEnd - 1) >> 16 & 0xfff0) << 16), at: 0x20, in: &config)
        put(
            UInt32(truncatingIfNeeded: (p >> 16) & 0xfff0 | 1 | ((pEnd - 1) >> 16 & 0xfff0 | 1) << 16),
            at: 0x24,
            in: &config
        )
        put(UInt32(truncatingIfNeeded: p >> 32), at: 0x28, in: &config)
        put(UInt32(truncatingIfNeeded: (pEnd - 1) >> 32), at: 0x2c, in: &config)
        return config
    }

    private static func header(vendor: UInt16, device: UInt16, classCode: UInt32, layout: UInt8) -> [UInt8] {
        var config = [UInt8](repeating: 0, count: 256)
        put(UInt32(device) << 16 | UInt32(vendor), at: 0, in: &config)
        put(0x0010_0007, at: 4, in: &config)
        put(classCode << 8 | 1, at: 8, in: &config)
        config[0x0e] = layout
        // A PCI Express capability of an endpoint or of a port with a hot-plug slot.
        config[0x34] = 0x40
        config[0x40] = 0x10
        config[0x42] = layout & 0x7f == 1 ? (device == 0x8232 ? 0x52 : device == 0x8233 ? 0x62 : 0x42) : 0x02
        if layout & 0x7f == 1, device != 0x8232 {
            config[0x43] = 1
            config[0x54] = 0x60
        }
        return config
    }

    private static func put(_ value: UInt32, at offset: Int, in config: inout [UInt8]) {
        for i in 0..<4 { config[offset + i] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(i))) }
    }
}
