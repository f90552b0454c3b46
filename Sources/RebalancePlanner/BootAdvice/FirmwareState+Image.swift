// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension FirmwareState {
    /// The configuration space of function `i` as firmware left it: as it is now, with addresses, windows and bus numbers
    /// of this state.
    ///
    /// A function that firmware did not see was plugged in later: its registers become what they are after power-on.
    func image(of i: Int, in topology: Topology) -> ConfigSpace {
        let function = topology.functions[i]
        let held = functions[function.address]
        var config = function.config
        for resource in function.resources where resource.index.isBAR && !resource.isFixed {
            guard let address = held.map({ $0.bars[resource.index] }) ?? 0 else { continue }
            let bus = busAddress(address, of: resource, i, topology)
            Self.write(bus, resource, at: 0x10 + 4 * Int(resource.index.rawValue), to: &config)
        }
        // Firmware rarely places VF BARs; the log says where it did.
        if let capability = function.capabilities.extended.first(where: { $0.id == 0x0010 }) {
            for resource in function.resources where resource.index.isVFBAR && !resource.isFixed {
                let bus = busAddress(held?.bars[resource.index] ?? 0, of: resource, i, topology)
                let number = Int(resource.index.rawValue) - 7
                Self.write(bus, resource, at: Int(capability.offset) + 0x24 + 4 * number, to: &config)
            }
        }
        guard function.isBridge, config.headerLayout == 1 else { return config }
        guard let held else {
            // After power-on bus numbers, bases and limits are zero, which seems to open windows at address 0.
            for offset in 0x18...0x1a { config.write(0, at: offset, width: 1) }
            for kind in ResourceKind.allCases { Self.write(0, 0, kind, to: &config) }
            return config
        }
        if let buses = held.buses {
            config.write(UInt32(function.address.bus.rawValue), at: 0x18, width: 1)
            config.write(UInt32(buses.secondary.rawValue), at: 0x19, width: 1)
            config.write(UInt32(buses.subordinate.rawValue), at: 0x1a, width: 1)
        }
        for kind in ResourceKind.allCases {
            let range = held.windows[kind].flatMap { range in
                let offset = topology.offset(of: range, host: topology.host(of: i), isIO: kind == .io)
                return offset == .min ? nil : range.shifted(by: -offset)
            }
            Self.write(range?.first ?? (kind == .io ? 0xf000 : 0xfff0_0000), range?.last ?? 0, kind, to: &config)
        }
        return config
    }

    private func busAddress(_ address: UInt64, of resource: Resource, _ i: Int, _ topology: Topology) -> UInt64 {
        guard address != 0, let range = AddressRange(first: address, size: resource.size?.rawValue ?? 1) else {
            return 0
        }
        let offset = topology.offset(of: range, host: topology.host(of: i), isIO: resource.flags.contains(.io))
        // Two's complement: an offset may be negative.
        return address &- UInt64(bitPattern: offset)
    }

    /// Writes a BAR's address bits; the type bits stay.
    private static func write(_ address: UInt64, _ resource: Resource, at offset: Int, to config: inout ConfigSpace) {
        guard let old = config.long(offset) else { return }
        let type = old & (resource.flags.contains(.io) ? 0x3 : 0xf)
        config.write(UInt32(truncatingIfNeeded: address) & ~0xf | type, at: offset, width: 4)
        if resource.flags.contains(.io) {
            config.write(UInt32(truncatingIfNeeded: address) & ~0x3 | type, at: offset, width: 4)
        } else if resource.is64Bit {
            config.write(UInt32(truncatingIfNeeded: address >> 32), at: offset + 4, width: 4)
        }
    }

    /// Writes the registers of a bridge's window (PCI-to-PCI Bridge Architecture Specification 1.2 §3.2); type bits stay.
    private static func write(_ first: UInt64, _ last: UInt64, _ kind: ResourceKind, to config: inout ConfigSpace) {
        func low(_ value: UInt64, _ shift: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: value >> shift) }
        switch kind {
        case .io:
            for (offset, value) in [(0x1c, first), (0x1d, last)] {
                let type = UInt32(config.byte(offset) ?? 0) & 0xf
                config.write(low(value, 8) & 0xf0 | type, at: offset, width: 1)
            }
            config.write(low(first, 16), at: 0x30, width: 2)
            config.write(low(last, 16), at: 0x32, width: 2)
        case .memory:
            config.write(low(first, 16) & 0xfff0, at: 0x20, width: 2)
            config.write(low(last, 16) & 0xfff0, at: 0x22, width: 2)
        case .prefetchable:
            for (offset, value) in [(0x24, first), (0x26, last)] {
                let type = UInt32(config.word(offset) ?? 0) & 0xf
                config.write(low(value, 16) & 0xfff0 | type, at: offset, width: 2)
            }
            config.write(low(first, 32), at: 0x28, width: 4)
            config.write(low(last, 32), at: 0x2c, width: 4)
        }
    }
}
