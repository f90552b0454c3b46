// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Which bridge's secondary side a function is on, by the bus-number registers.
///
/// The kernel's tree says who is above whom by its own books. Where firmware gave a bridge fewer numbers than what is
/// below it needs, the books and the wires differ: a configuration cycle goes where the registers send it.
struct Routes {
    private let topology: Topology
    private let registers: TrackedTable<FunctionRegisters>
    private var members: [UInt64: [Int]] = [:]

    init(_ topology: Topology, _ registers: TrackedTable<FunctionRegisters>) {
        self.topology = topology
        self.registers = registers
        for i in topology.functions.indices where !topology.functions[i].isVirtual {
            let address = topology.functions[i].address
            members[Self.key(address.segment, address.bus.rawValue), default: []].append(i)
        }
    }

    private static func key(_ segment: UInt32, _ bus: UInt8) -> UInt64 { UInt64(segment) << 8 | UInt64(bus) }

    /// The bridge that passes cycles on to the function's bus as its secondary bus; nil when no register leads there.
    func bridge(above address: FunctionAddress) -> Int? {
        let bus = address.bus.rawValue
        guard
            let host = topology.hostBridges.first(where: {
                $0.segment == address.segment && $0.busRange.contains(address.bus)
            }), host.rootBus != address.bus
        else { return nil }
        var level = members[Self.key(address.segment, host.rootBus.rawValue)] ?? []
        // A sane chain has at most one bridge for each bus number.
        for _ in 0..<256 {
            guard
                let next = level.first(where: {
                    let held = registers[Int32($0)]
                    return topology.functions[$0].isBridge && held.secondary != 0 && held.secondary <= bus
                        && bus <= held.subordinate
                })
            else { return nil }
            if registers[Int32(next)].secondary == bus { return next }
            level = members[Self.key(address.segment, registers[Int32(next)].secondary)] ?? []
        }
        return nil
    }
}
