// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import TestSupport
import Testing

@testable import AllocationPolicies

/// Random trees and random operations, sensible and not: the tree of resources stays a tree, and nothing traps.
@Suite struct RandomTreeTests {
    private func function(_ chance: inout SplitMix64, depth: Int, devfn: UInt8) -> CardFunction {
        if depth < 4, chance.below(100) < 55 {
            var children: [CardFunction] = []
            for device in 0..<chance.below(4) {
                children.append(function(&chance, depth: depth + 1, devfn: UInt8(device) << 3))
            }
            let types: [ExpressPortType?] = [.rootPort, .upstreamPort, .downstreamPort, .bridgeToPCI, nil]
            return CardFunction(
                devfn: devfn,
                identity: Function.Identity(vendor: 1, device: 2, classCode: 0x060400),
                bars: chance.below(2) == 0 ? [.memory(0, 4096)] : [],
                portType: types[chance.below(5)],
                bridge: CardBridge(
                    isHotPlug: chance.below(2) == 0,
                    hasIO: chance.below(4) > 0,
                    hasIO32: chance.below(3) == 0,
                    hasPrefetchable: chance.below(5) > 0,
                    hasPrefetchable64: chance.below(4) > 0,
                    isSubtractive: chance.below(8) == 0,
                    children: children
                )
            )
        }
        var bars: [CardBAR] = []
        if chance.below(2) == 0 { bars.append(.memory(0, chance.power(4...26))) }
        if chance.below(2) == 0 { bars.append(.io(1, chance.power(2...8))) }
        if chance.below(2) == 0 {
            let sizes: UInt64 = chance.below(2) == 0 ? 0b1111_1111 : 0
            bars.append(.memory(2, chance.power(20...27), is64Bit: true, isPrefetchable: true, resizable: sizes))
        }
        var sriov: CardSRIOV?
        if chance.below(4) == 0 {
            sriov = CardSRIOV(
                total: UInt16(1 + chance.below(40)),
                offset: UInt16(1 + chance.below(200)),
                stride: UInt16(chance.below(40)),
                device: 3,
                bars: [.memory(0, chance.power(12...16), is64Bit: true)]
            )
        }
        return CardFunction(
            devfn: devfn,
            identity: Function.Identity(vendor: 1, device: 3, classCode: chance.below(9) == 0 ? 0 : 0x020000),
            bars: bars,
            romSize: chance.below(4) == 0 ? 0x10000 : 0,
            portType: .endpoint,
            sriov: sriov,
            driver: chance.below(2) == 0 ? "driver" : nil
        )
    }

    /// Every held resource lies in its parent, after its elder sibling, and is found among the parent's children.
    private func check(_ state: TwinState, _ context: String) {
        for resource in 0..<state.resources.count {
            var child = state.resources[resource].child
            var last: UInt64?
            var steps = 0
            while child != none, steps < 10_000 {
                let held = state.resources[child]
                #expect(held.parent == resource, "\(context): resource \(child)")
                #expect(held.start >= state.resources[resource].start && held.end <= state.resources[resource].end)
                if let last { #expect(held.start > last, "\(context): siblings overlap") }
                last = held.end
                child = held.sibling
                steps += 1
            }
            #expect(steps < 10_000, "\(context): a circle of siblings")
        }
        for device in 0..<state.devices.count where state.devices[device].exists {
            #expect(state.devices[device].bus != none, "\(context)")
        }
    }

    @Test("random operations keep the trees whole", arguments: KernelBehaviour.presets)
    func randomOperations(_ behaviour: KernelBehaviour) throws {
        for seed in 0..<60 as Range<UInt64> {
            var chance = SplitMix64(state: seed)
            var cards: [CardProfile] = []
            for device in 1...(1 + chance.below(5)) {
                let top = function(&chance, depth: 0, devfn: UInt8(device) << 3)
                cards.append(CardProfile(name: "card", functions: [top]))
            }
            var m = try Q35(behaviour, cards: cards)
            try m.boot()
            for step in 0..<40 {
                let addresses = m.twin.addresses
                guard let address = addresses.randomElement(using: &chance) else { break }
                let operation = operation(&chance, address)
                // Errors are answers too; only the state matters here.
                _ = try? m.twin.perform(operation)
                check(m.twin.state, "\(behaviour.name) seed \(seed) step \(step) \(operation)")
            }
        }
    }

    @Test("a summary that is brought up to date is that of a new look", arguments: KernelBehaviour.presets)
    func summaries(_ behaviour: KernelBehaviour) throws {
        for seed in 100..<115 as Range<UInt64> {
            var chance = SplitMix64(state: seed)
            var cards: [CardProfile] = []
            for device in 1...(2 + chance.below(4)) {
                let top = function(&chance, depth: 0, devfn: UInt8(device) << 3)
                cards.append(CardProfile(name: "card", functions: [top]))
            }
            var m = try Q35(behaviour, cards: cards)
            try m.boot()
            let start = m.twin.beginSummary(countsTouched: true)
            var now = start
            for step in 0..<40 {
                guard let address = m.twin.addresses.randomElement(using: &chance) else { break }
                let operation = operation(&chance, address)
                _ = try? m.twin.perform(operation)
                // Several operations may come between two looks.
                if chance.below(3) == 0 { continue }
                m.twin.update(&now)
                let context: Comment = "\(behaviour.name) seed \(seed) step \(step) \(operation)"
                let fresh = m.twin.summary()
                #expect(isSame(now, fresh, Array(0..<fresh.count)), context)
                #expect(now.key == fresh.key, context)
                guard let touched = now.touched else { continue }
                let others = Set(0..<now.count).subtracting(touched)
                #expect(isSame(now, start, others.sorted()), context)
            }
        }
    }

    private func isSame(_ a: TwinSummary, _ b: TwinSummary, _ numbers: [Int]) -> Bool {
        a.count == b.count
            && numbers.allSatisfy { i in
                let places = i * TwinSummary.width..<(i + 1) * TwinSummary.width
                return a.isKnown[i] == b.isKnown[i] && a.isVirtual[i] == b.isVirtual[i]
                    && a.sizes[places] == b.sizes[places] && a.starts[places] == b.starts[places]
                    && a.lacking[i] == b.lacking[i] && a.wiped[i] == b.wiped[i]
                    && a.unreachable[i] == b.unreachable[i] && a.inflated[i] == b.inflated[i]
                    && a.diverging[i] == b.diverging[i] && a.buses[i] == b.buses[i]
                    && a.enabledVFs[i] == b.enabledVFs[i]
            }
    }

    @Test("a bus is found where a walk from the roots finds it first", arguments: KernelBehaviour.presets)
    func numbers(_ behaviour: KernelBehaviour) throws {
        for seed in 200..<215 as Range<UInt64> {
            var chance = SplitMix64(state: seed)
            let top = function(&chance, depth: 0, devfn: 8)
            var m = try Q35(behaviour, cards: [CardProfile(name: "card", functions: [top])])
            try m.boot()
            for _ in 0..<40 {
                guard let address = m.twin.addresses.randomElement(using: &chance) else { break }
                _ = try? m.twin.perform(operation(&chance, address))
                let state = m.twin.state
                var first: [UInt8: Int32] = [:]
                func walk(_ bus: Int32) {
                    if first[state.buses[bus].number] == nil { first[state.buses[bus].number] = bus }
                    var child = state.buses[bus].firstChild
                    while child != none {
                        walk(child)
                        child = state.buses[child].next
                    }
                }
                for host in state.hosts where host.rootBus != none { walk(host.rootBus) }
                for number in 0...255 {
                    #expect(state.findBus(number, segment: 0) == first[UInt8(number)] ?? none, "seed \(seed)")
                }
            }
        }
    }

    private func operation(_ chance: inout SplitMix64, _ address: FunctionAddress) -> TwinOperation {
        switch chance.below(18) {
        case 0, 1, 2: return .remove(address)
        case 3, 4: return .rescan
        case 5: return .rescanDevice(address)
        case 6, 7: return .rescanBus(segment: 0, bus: BusNumber(UInt8(chance.below(24))))
        case 8:
            let card = CardProfile(name: "card", functions: [function(&chance, depth: 2, devfn: 0)])
            return .hotAdd(port: address, card: card, method: chance.below(2) == 0 ? .pciehp : .acpiphp)
        case 9: return .unplug(port: address)
        case 10:
            return .setBusNumbers(
                address,
                primary: chance.below(3) == 0 ? BusNumber(0) : address.bus,
                secondary: BusNumber(UInt8(chance.below(chance.below(2) == 0 ? 24 : 256))),
                subordinate: BusNumber(UInt8(chance.below(256)))
            )
        case 11:
            let range = AddressRange(first: chance.power(20...36), size: chance.power(20...30))
            return .writeWindow(
                address,
                [.io, .memory, .prefetchable][chance.below(3)],
                chance.below(3) == 0 ? nil : range
            )
        case 12: return .resourceAlignment(chance.below(3) == 0 ? "" : "\(chance.below(30))@\(address)")
        case 13: return .resizeBAR(address, bar: 2, exponent: chance.below(8))
        case 14: return .setVFs(address, chance.below(20))
        case 15: return chance.below(2) == 0 ? .unbind(address) : .bind(address)
        case 16: return .setEnabled(address, chance.below(2) == 0)
        default:
            return .writeConfig(
                address,
                offset: chance.below(16) * 4,
                width: 4,
                value: UInt32(truncatingIfNeeded: chance.next())
            )
        }
    }
}
