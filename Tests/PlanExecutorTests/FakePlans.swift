// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// The machine of the tests: a root port, a switch with two downstream ports, an endpoint that works, and a card that
/// was plugged in and found no room; beside it a root port with an endpoint that nobody may touch.
///
///     00:02.0 root port
///      └ 01:00.0 upstream port
///         ├ 02:00.0 downstream port ── 03:00.0 endpoint, 1 MiB, driver
///         └ 02:01.0 downstream port ── 04:00.0 new card, 16 MiB, no room
///     00:03.0 root port ── 05:00.0 endpoint, 2 MiB, driver
enum Fake {
    static let rootPort: [UInt8] = [0x10]
    static let upstream: [UInt8] = [0x10, 0]
    static let firstPort: [UInt8] = [0x10, 0, 0]
    static let endpoint: [UInt8] = [0x10, 0, 0, 0]
    static let secondPort: [UInt8] = [0x10, 0, 8]
    static let card: [UInt8] = [0x10, 0, 8, 0]
    static let otherPort: [UInt8] = [0x18]
    static let otherEndpoint: [UInt8] = [0x18, 0]

    static func machine() -> FakeMachineState {
        var state = FakeMachineState()
        state.add(rootPort, ids: 0x1b36_000c, bridge: true, driver: "pcieport")
        state.add(upstream, ids: 0x104c_8232, bridge: true, driver: "pcieport")
        state.add(firstPort, ids: 0x104c_8233, bridge: true, driver: "pcieport")
        state.add(endpoint, ids: 0x1b36_0005, bars: [0: 1 << 20], driver: "edu")
        state.add(secondPort, ids: 0x104c_8233, bridge: true, driver: "pcieport")
        state.add(otherPort, ids: 0x1b36_000c, bridge: true, driver: "pcieport")
        state.add(otherEndpoint, ids: 0x8086_10d3, bars: [0: 2 << 20], driver: "e1000e")
        if let i = state.index(secondPort) { state.devices[i].spareBuses = 1 }
        _ = state.perform(.rescanAll)
        state.add(card, ids: 0x1b36_0005, bars: [0: 16 << 20], driver: nil)
        _ = state.perform(.rescanAll)
        return state
    }

    static func at(_ hops: [UInt8], _ state: FakeMachineState) -> FunctionAddress {
        state.index(hops).map(state.address) ?? FunctionAddress(bus: BusNumber(0xff), devfn: 0xff)
    }

    /// A plan whose predictions come from doing the writes on a copy of the machine.
    static func plan(
        _ state: FakeMachineState,
        _ steps: [(writes: [SystemWrite], wayBack: [SystemWrite])],
        disturbed: [FunctionAddress] = []
    ) -> Plan {
        var copy = state
        var planned: [PlanStep] = []
        for (i, step) in steps.enumerated() {
            for write in step.writes { _ = copy.perform(write) }
            planned.append(
                PlanStep(
                    purpose: "step \(i + 1)",
                    preconditions: [.treeAsPredicted],
                    writes: step.writes,
                    after: copy.tree,
                    wayBack: step.wayBack
                )
            )
        }
        return Plan(
            verdict: Plan.Verdict(.act, reason: "unassigned-bars", sentence: "A card has no room."),
            kernelRelease: "6.12.118+deb13-amd64",
            behaviour: "fake",
            fingerprint: state.tree.fingerprint,
            goals: [.everythingRequired],
            diagnosis: [DiagnosisLine(code: "wiped", address: at(card, state), text: "BAR 0 has no address")],
            disturbed: disturbed.map {
                Disturbance(address: $0, newAddress: $0, effect: .stopped, what: "endpoint", weight: 10)
            },
            steps: planned,
            before: state.tree,
            after: copy.tree,
            proof: .bestOfSearched(cost: 10, lowerBound: 1),
            remarks: ["a remark"]
        )
    }

    static func commandOff(_ hops: [UInt8], _ state: FakeMachineState) -> SystemWrite {
        .config(at(hops, state), offset: 4, width: 2, mask: 0x7, value: 0)
    }

    /// Remove below the root port, let its window grow.
    static func grow(_ state: FakeMachineState) -> Plan {
        let bus = BusNumber(1)
        return plan(
            state,
            [
                ([.remove(at(upstream, state))], [.rescanBus(segment: 0, bus: bus)]),
                (
                    [.rescanBus(segment: 0, bus: bus)],
                    [.remove(at(upstream, state)), .rescanBus(segment: 0, bus: bus)]
                ),
            ]
        )
    }

    /// The same in one step, decoding switched off before.
    static func growAtOnce(_ state: FakeMachineState) -> Plan {
        let bus = BusNumber(1)
        return plan(
            state,
            [
                (
                    [
                        commandOff(endpoint, state), .remove(at(upstream, state)),
                        .rescanBus(segment: 0, bus: bus),
                    ],
                    [.rescanBus(segment: 0, bus: bus)]
                )
            ]
        )
    }

    /// Bus numbers and a closed window written before the root port is removed.
    static func renumber(_ state: FakeMachineState) -> Plan {
        let port = at(rootPort, state)
        return plan(
            state,
            [
                ([.remove(at(upstream, state))], [.rescanBus(segment: 0, bus: BusNumber(1))]),
                (
                    [
                        .config(port, offset: 0x20, width: 4, mask: 0xffff_ffff, value: 0x0000_fff0),
                        .config(port, offset: 0x18, width: 4, mask: 0x00ff_ffff, value: 0x002f_2000),
                        .remove(port),
                    ],
                    []
                ),
                ([.rescanBus(segment: 0, bus: BusNumber(0))], []),
            ]
        )
    }

    /// A bigger slot by the alignment text, then the text cleared.
    static func align(_ state: FakeMachineState) -> Plan {
        let card = at(card, state)
        let bus = card.bus
        let parent = at(upstream, state)
        return plan(
            state,
            [
                ([.resourceAlignment("25@\(card)"), .remove(parent)], []),
                ([.rescanBus(segment: 0, bus: BusNumber(1))], []),
                ([.resourceAlignment("")], []),
                ([.remove(card), .rescanBus(segment: 0, bus: bus)], [.rescanBus(segment: 0, bus: bus)]),
            ]
        )
    }

    /// A BAR resized between unbinding and binding its driver.
    static func resize(_ state: FakeMachineState) -> Plan {
        let target = at(otherEndpoint, state)
        return plan(
            state,
            [
                ([.unbindDriver(target)], [.probeDriver(target)]),
                ([.resizeBAR(target, bar: 0, exponent: 0)], [.resizeBAR(target, bar: 0, exponent: 1)]),
                ([.resizeBAR(target, bar: 0, exponent: 1)], []),
                ([.probeDriver(target)], []),
            ]
        )
    }

    static let plans: [(name: String, make: @Sendable (FakeMachineState) -> Plan)] = [
        ("grow", grow), ("growAtOnce", growAtOnce), ("renumber", renumber), ("align", align), ("resize", resize),
    ]
}
