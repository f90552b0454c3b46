// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// When a slot is at work, by its registers; and how long a tree is waited for.
@Suite("activity of slots and trees")
struct SlotActivityTests {
    private static let port = FunctionAddress(bus: BusNumber(0), devfn: 8)
    private static let card = FunctionAddress(bus: BusNumber(1), devfn: 0)

    /// A root port with a slot; the registers by PCI Express Base 7.5.3, built here.
    private func config(
        isSlot: Bool = true,
        isHotPlug: Bool = true,
        control: UInt16 = 0,
        status: UInt16 = 0,
        link: UInt16 = 0
    ) -> ConfigSpace {
        var bytes = [UInt8](repeating: 0, count: 256)
        func put(_ value: UInt16, _ at: Int) {
            bytes[at] = UInt8(value & 0xff)
            bytes[at + 1] = UInt8(value >> 8)
        }
        bytes[0] = 0x86
        bytes[0x06] = 0x10
        bytes[0x0e] = 1
        bytes[0x34] = 0x40
        bytes[0x40] = 0x10
        put(isSlot ? 0x0142 : 0x0042, 0x42)
        put(link, 0x52)
        put(isHotPlug ? 0x40 : 0, 0x54)
        put(control, 0x58)
        put(status, 0x5a)
        return ConfigSpace(bytes)
    }

    private func tree(withCard: Bool, hasBus: Bool = true) -> TreeState {
        func state(_ address: FunctionAddress, _ hops: [UInt8], _ buses: BusRange?) -> FunctionState {
            FunctionState(
                address: address,
                path: TopologyPath(segment: 0, rootBus: BusNumber(0), hops: hops),
                ids: 1,
                lines: [],
                busRange: buses
            )
        }
        let bridge = state(Self.port, [8], hasBus ? BusRange(BusNumber(1)) : nil)
        return TreeState(withCard ? [bridge, state(Self.card, [8, 0], nil)] : [bridge])
    }

    private func isBusy(_ config: ConfigSpace, withCard: Bool = false, hasBus: Bool = true, emptyCounts: Bool = true)
        -> Bool
    {
        let health = FunctionHealth(address: Self.port, driver: "pcieport", config: config)
        let found = SlotActivity.busyPorts(tree(withCard: withCard, hasBus: hasBus), [health], emptyCounts: emptyCounts)
        return found == [Self.port]
    }

    @Test("the power indicator blinks: bits 8 and 9 of Slot Control are 2, on a hot-plug slot")
    func blinking() {
        for value: UInt16 in 0..<4 { #expect(isBusy(config(control: value << 8)) == (value == 2), "\(value)") }
        #expect(!isBusy(config(isHotPlug: false, control: 0x200)))
        #expect(!isBusy(config(isSlot: false, control: 0x200)))
        #expect(isBusy(config(control: 0x200), emptyCounts: false))
    }

    @Test("a card is in the slot and the link trains")
    func training() {
        #expect(
            isBusy(config(status: 0x40, link: 0x800)) && isBusy(config(isHotPlug: false, status: 0x40, link: 0x800))
        )
        #expect(!isBusy(config(status: 0, link: 0x800)) && !isBusy(config(status: 0x40, link: 0x400)))
        #expect(!isBusy(config(status: 0x40, link: 0x800), emptyCounts: false))
    }

    @Test("a card is in the slot, the link is up, power is on, and nobody was found behind the port")
    func unfound() {
        let waiting = config(status: 0x40, link: 0x2000)
        #expect(isBusy(waiting))
        #expect(
            !isBusy(waiting, withCard: true) && !isBusy(waiting, hasBus: false) && !isBusy(waiting, emptyCounts: false)
        )
        #expect(!isBusy(config(isHotPlug: false, status: 0x40, link: 0x2000)))
        #expect(!isBusy(config(control: 0x400, status: 0x40, link: 0x2000)), "power is off")
        #expect(!isBusy(config(status: 0x40, link: 0)) && !isBusy(config(status: 0, link: 0x2000)))
        #expect(SlotActivity.ports(of: tree(withCard: true)) == [Self.port])
    }

    // MARK: Waiting

    /// A machine whose tree, event count and ports follow the time.
    private final class TimedMachine: SystemWriter, MachineObserver {
        var now = Duration.zero
        var treeAt: (Duration) -> TreeState
        var eventsAt: (Duration) -> UInt64 = { _ in 0 }
        var configAt: (Duration) -> ConfigSpace?

        init(
            _ treeAt: @escaping (Duration) -> TreeState,
            _ configAt: @escaping (Duration) -> ConfigSpace? = { _ in nil }
        ) {
            self.treeAt = treeAt
            self.configAt = configAt
        }

        var clock: ExecutionClock { ExecutionClock(now: { self.now }, sleep: { self.now += $0 }, wallClock: { 0 }) }

        func perform(_ write: SystemWrite, within limit: Duration) throws {}
        func awaitLateWrite(within limit: Duration) -> Bool { true }
        func tree() throws -> TreeState { treeAt(now) }
        func health(of addresses: [FunctionAddress]) throws -> [FunctionHealth] {
            configAt(now).map { [FunctionHealth(address: SlotActivityTests.port, driver: nil, config: $0)] } ?? []
        }
        func register(_ address: FunctionAddress, offset: Int, width: Int) throws -> UInt32 { 0 }
        func savedValue(before write: SystemWrite) throws -> SavedValue? { nil }
        func busExists(segment: UInt32, bus: BusNumber) throws -> Bool { false }
        func protectedUse(of address: FunctionAddress) throws -> [UseEvidence] { [] }
        func obstacles(writesConfig: Bool) throws -> [String] { [] }
        func eventCount() -> UInt64 { eventsAt(now) }
        func kernelRelease() throws -> String { "6.12" }
        func bootID() throws -> String { "b" }
    }

    private func settle(_ machine: TimedMachine) throws -> (after: Duration, isQuiet: Bool, at: Duration) {
        let run = ApplyRun(
            Machine(writer: machine, observer: machine),
            journal: nil,
            audit: SilentAuditLog(),
            clock: machine.clock,
            limits: ApplyLimits(),
            id: "t",
            progress: { _ in }
        )
        let found = try run.settle()
        #expect(run.timeSettling == machine.now)
        return (found.after, found.isQuiet, machine.now)
    }

    @Test("a tree is quiet when it has not changed for 250 ms; the last change is what is told")
    func quiet() throws {
        let empty = TreeState([])
        let full = tree(withCard: true)
        let still = try settle(TimedMachine({ _ in full }))
        #expect(still == (.zero, true, .milliseconds(250)))
        let changed = try settle(
            TimedMachine({
                $0 < .milliseconds(400) ? ($0 < .milliseconds(200) ? empty : self.tree(withCard: false)) : full
            })
        )
        #expect(changed == (.milliseconds(400), true, .milliseconds(650)))
        // One that is still for just less than the window is waited for again.
        let blinking = try settle(
            TimedMachine({ Int($0 / .milliseconds(200)) % 2 == 0 ? empty : full })
        )
        #expect(!blinking.isQuiet && blinking.at >= .seconds(15) && blinking.at < .seconds(16))
    }

    @Test("events of the kernel put it off for two seconds at most, a slot at work for five")
    func putOff() throws {
        let full = tree(withCard: true)
        let machine = TimedMachine({ _ in full })
        machine.eventsAt = { UInt64($0 / .milliseconds(50)) }
        let events = try settle(machine)
        #expect(events.isQuiet && events.at >= .seconds(2) && events.at < .milliseconds(2500))
        let few = TimedMachine({ _ in full })
        few.eventsAt = { $0 < .milliseconds(300) ? UInt64($0 / .milliseconds(100)) : 3 }
        #expect(try settle(few).at == .milliseconds(550))
        let busy = config(control: 0x200)
        let work = try settle(TimedMachine({ _ in full }, { _ in busy }))
        #expect(work.isQuiet && work.at >= .seconds(5) && work.at < .milliseconds(5500))
        let ended = try settle(TimedMachine({ _ in full }, { $0 < .milliseconds(600) ? busy : self.config() }))
        #expect(ended.isQuiet && ended.at == .milliseconds(750))
    }
}
