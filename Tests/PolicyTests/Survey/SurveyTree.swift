// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import TestSupport

/// A random tree of what people have in servers and workstations: root ports, switches up to three deep, disks, network
/// cards, display cards up to 32 GiB, under apertures from 128 MiB below 4 GiB to 1 TiB above.
struct SurveyTree {
    private var random: SplitMix64
    private var bus = 0

    init(seed: UInt64) {
        // Neighbouring seeds must not be neighbouring states, or their trees would be alike.
        var mixer = SplitMix64(state: seed)
        random = SplitMix64(state: mixer.next())
    }

    private static let mib: UInt64 = 1 << 20
    private static let gib: UInt64 = 1 << 30

    /// Draws the tree.
    mutating func topology() throws -> Topology {
        let low: [ClosedRange<UInt64>] = [
            0xc000_0000...0xfebf_ffff, 0x8000_0000...0xdfff_ffff, 0xe000_0000...0xf7ff_ffff, 0xf000_0000...0xf7ff_ffff,
        ]
        let high: [ClosedRange<UInt64>?] = [
            nil, 0x10_0000_0000...0x13_ffff_ffff, 0x40_0000_0000...0x4f_ffff_ffff, 0x100_0000_0000...0x1ff_ffff_ffff,
            0x100_0000_0000...0x1ff_ffff_ffff,
        ]
        var memory = [random.pick(low)]
        if let range = random.pick(high) { memory.append(range) }
        var copy = self
        let tree = SmallTree(memory: memory) { copy.fill(&$0) }
        self = copy
        return try tree.topology()
    }

    private mutating func fill(_ tree: inout SmallTree) {
        for device in 1...random.below(3) + 1 {
            tree.endpoint(address(0, device, 0), bars: boardDevice())
        }
        let ports = random.below(6) + 2
        for port in 0..<ports {
            let hotPlug = random.below(10) < 5
            let windows: UInt8 = random.below(10) < 9 ? 1 : 0
            let place = tree.port(address(0, 8 + port, 0), isHotPlug: hotPlug, prefetchableType: windows)
            bus += 1
            behind(place, on: bus, depth: 1, &tree)
        }
    }

    /// What sits behind a port: nothing, a card, or a switch.
    private mutating func behind(_ port: FunctionAddress?, on number: Int, depth: Int, _ tree: inout SmallTree) {
        switch random.below(10) {
        case 0..<2: return
        case 2..<7:
            let functions = random.below(6) == 0 ? 2 : 1
            for function in 0..<functions {
                tree.endpoint(address(number, 0, function), below: port, bars: card())
            }
        default:
            guard depth < 4, bus < 200 else { return }
            let upstream = tree.port(address(number, 0, 0), below: port, type: 5)
            bus += 1
            let inner = bus
            for down in 0...random.below(5) {
                let place = tree.port(
                    address(inner, down, 0),
                    below: upstream,
                    isHotPlug: random.below(10) < 6,
                    type: 6
                )
                bus += 1
                behind(place, on: bus, depth: depth + 2, &tree)
            }
        }
    }

    private mutating func boardDevice() -> [SmallTree.BAR] {
        switch random.below(4) {
        case 0: [.mem64(64 << 10)]
        case 1: [.mem32(2048), .io(32)]
        case 2: [.pref32(16 * Self.mib), .mem32(16 << 10)]
        default: [.mem64(16 << 10), .io(64)]
        }
    }

    private mutating func card() -> [SmallTree.BAR] {
        switch random.below(12) {
        case 0..<3: [.mem64(16 << 10)]
        case 3..<5: [.pref64(512 << 10), .pref64(16 << 10)]
        case 5: [.pref64(32 * Self.mib)]
        case 6: [.mem32(2048), .io(32), .io(8)]
        case 7: [.pref64(256 * Self.mib), .pref64(64 << 10)]
        case 8: [.mem32(Self.mib), .mem32(16 << 10), .io(32)]
        case 9: [.mem32(16 * Self.mib), .pref64(256 * Self.mib), .pref64(32 * Self.mib), .io(128)]
        case 10:
            [
                .mem32(16 * Self.mib), .pref64(random.pick([8, 16, 32]) * Self.gib), .pref64(32 * Self.mib), .io(128),
            ]
        default: [.mem64(64 * Self.mib), .pref64(4 << 10)]
        }
    }

    private func address(_ bus: Int, _ device: Int, _ function: Int) -> String {
        "\(bareHex(UInt64(bus), width: 2)):\(bareHex(UInt64(device), width: 2)).\(function)"
    }
}

extension SplitMix64 {
    /// One of the elements of a list that is not empty.
    fileprivate mutating func pick<T>(_ list: [T]) -> T { list[below(list.count)] }

    /// 0 up to, not including, `limit`, by remainder: the recorded surveys were drawn so.
    fileprivate mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(max(limit, 1))) }
}
