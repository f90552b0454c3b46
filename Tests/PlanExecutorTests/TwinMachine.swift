// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import PlanExecutor
import RebalancePlanner

/// A machine for tests that a twin plays: unlike a plan's own prediction it holds functions that no reading shows.
final class TwinMachine: SystemWriter, MachineObserver {
    var twin: LinuxTwin
    let clock: CrashClock
    private(set) var removed: Set<FunctionAddress> = []
    private(set) var trace: [SystemWrite] = []
    /// The places in the trace at which a write is refused, counted from 0.
    var refused: Set<Int> = []
    let release: String

    init(_ twin: LinuxTwin, release: String, clock: CrashClock = CrashClock()) {
        self.twin = twin
        self.release = release
        self.clock = clock
    }

    func perform(_ write: SystemWrite, within limit: Duration) throws {
        try clock.tick()
        trace.append(write)
        if refused.contains(trace.count - 1) { throw WriteError(.refused, write, detail: "injected") }
        guard let operation = operation(write) else { throw WriteError(.refused, write, detail: "not modelled") }
        if case .remove(let address) = write { removed.insert(address) }
        do {
            for event in try twin.perform(operation) {
                if case .refused = event { throw WriteError(.refused, write, detail: "\(event)") }
            }
        } catch let error as TwinError {
            throw WriteError(.absent, write, detail: "\(error)")
        }
        try clock.tick()
    }

    private func operation(_ write: SystemWrite) -> TwinOperation? {
        switch write {
        case .remove(let x): .remove(x)
        case .rescanBus(let segment, let bus): .rescanBus(segment: segment, bus: bus)
        case .rescanDevice(let x): .rescanDevice(x)
        case .rescanAll: .rescan
        case .config(let x, let offset, let width, let mask, let value):
            if offset == 0x18, width == 4 {
                .setBusNumbers(
                    x,
                    primary: BusNumber(UInt8(value & 0xff)),
                    secondary: BusNumber(UInt8(value >> 8 & 0xff)),
                    subordinate: BusNumber(UInt8(value >> 16 & 0xff))
                )
            } else {
                .writeConfig(
                    x,
                    offset: offset,
                    width: width,
                    value: (twin.register(of: x, at: offset, width: width) ?? 0) & ~mask | value & mask
                )
            }
        case .resourceAlignment(let text): .resourceAlignment(text)
        case .unbindDriver(let x): .unbind(x)
        case .probeDriver(let x): .bind(x)
        case .resizeBAR(let x, let bar, let exponent): .resizeBAR(x, bar: bar, exponent: exponent)
        case .sriovNumVFs(let x, let count): .setVFs(x, count)
        case .slotPower, .driverOverride: nil
        }
    }

    func awaitLateWrite(within limit: Duration) -> Bool { true }

    func topology() throws -> Topology {
        var topology = try twin.topology()
        topology.kernel.release = release
        return topology
    }

    func tree() throws -> TreeState { TreeState(try twin.topology()) }

    func health(of addresses: [FunctionAddress]) throws -> [FunctionHealth] {
        let topology = try twin.topology()
        return addresses.compactMap { address in
            topology[address].map { FunctionHealth(address: address, driver: $0.use.driver, config: $0.config) }
        }
    }

    func register(_ address: FunctionAddress, offset: Int, width: Int) throws -> UInt32 {
        guard let value = twin.register(of: address, at: offset, width: width) else {
            throw ObservationError("\(address) is not there")
        }
        return value
    }

    func savedValue(before write: SystemWrite) throws -> SavedValue? {
        switch write {
        case .config(let address, let offset, let width, _, _):
            .number(UInt64(try register(address, offset: offset, width: width)))
        case .resourceAlignment: .text(twin.alignmentRequests)
        case .sriovNumVFs(let address, _):
            try topology()[address]?.use.enabledVFs.map { .number(UInt64($0)) }
        case .resizeBAR(let address, let bar, _):
            try topology()[address]?.capabilities.resizableBARs.first { $0.bar == bar }
                .map { .number(UInt64($0.currentExponent)) }
        default: nil
        }
    }

    func busExists(segment: UInt32, bus: BusNumber) throws -> Bool {
        let topology = try twin.topology()
        return topology.hostBridges.contains { $0.segment == segment && $0.rootBus == bus }
            || topology.functions.contains { $0.address.segment == segment && $0.bridge?.busRange?.first == bus }
    }

    func protectedUse(of address: FunctionAddress) throws -> [UseEvidence] { [] }
    func obstacles(writesConfig: Bool) throws -> [String] { [] }
    func kernelRelease() throws -> String { release }
    func bootID() throws -> String { "first" }
}
