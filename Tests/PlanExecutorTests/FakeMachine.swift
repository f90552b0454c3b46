// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import PlanExecutor
import RebalancePlanner

/// A crash: thrown out of everything; whoever catches it is a new process.
struct SimulatedCrash: Error {}

/// Counts the moments at which a process can die, and dies at one of them.
final class CrashClock {
    private(set) var moments = 0
    var crashAt: Int?

    func tick() throws {
        moments += 1
        if moments == crashAt { throw SimulatedCrash() }
    }
}

/// A machine for tests: both halves of the seam over one simulated state.
final class FakeMachine: SystemWriter, MachineObserver {
    var state: FakeMachineState
    let clock: CrashClock
    private(set) var trace: [SystemWrite] = []
    /// How a write at a place in the trace ends otherwise than well; counted from 0.
    var failures: [Int: WriteError.Code] = [:]
    /// Called after the write at that place.
    var disturbances: [Int: (inout FakeMachineState) -> Void] = [:]
    var uses: [FunctionAddress: UseEvidence] = [:]
    /// The IOMMU groups of the functions at these addresses, whatever happens.
    var groups: [FunctionAddress: Int] = [:]
    var missingPrivileges: [String] = []
    var release = "6.12.118+deb13-amd64"
    var boot = "first"
    /// Whether a write that timed out ends while it is waited for.
    var lateWritesEnd = true
    /// Whether BARs say how large they are.
    var isResizable = true
    private var late: SystemWrite?
    /// How often a bridge was given another secondary bus than the one that the kernel knows behind it.
    private(set) var misnumberings = 0

    init(_ state: FakeMachineState, clock: CrashClock = CrashClock()) {
        self.state = state
        self.clock = clock
    }

    func iommuGroups() throws -> [FunctionAddress: Int] { groups }

    func perform(_ write: SystemWrite, within limit: Duration) throws {
        let place = trace.count
        try clock.tick()
        trace.append(write)
        defer { disturbances[place].map { $0(&state) } }
        switch failures[place] {
        case .timedOut:
            late = write
            throw WriteError(.timedOut, write, detail: "injected")
        case .some(let code): throw WriteError(code, write, detail: "injected")
        case nil: break
        }
        if let error = state.perform(write) {
            throw WriteError(error == 2 ? .absent : .refused, write, errno: error, detail: "refused by the fake kernel")
        }
        if case .config(let address, let offset, _, _, _) = write, offset == 0x18, let i = state.known(address),
            state.devices[i].buses?.first.rawValue != UInt8(state.get(i, 0x19, bytes: 1))
        {
            misnumberings += 1
        }
        try clock.tick()
    }

    func awaitLateWrite(within limit: Duration) -> Bool {
        guard lateWritesEnd else { return false }
        if let late { _ = state.perform(late) }
        late = nil
        return true
    }

    func tree() throws -> TreeState { state.tree }

    func health(of addresses: [FunctionAddress]) throws -> [FunctionHealth] {
        addresses.compactMap { address in
            state.known(address).map {
                FunctionHealth(
                    address: address,
                    driver: state.devices[$0].driver,
                    driverOverride: state.devices[$0].driverOverride,
                    config: state.config($0)
                )
            }
        }
    }

    func register(_ address: FunctionAddress, offset: Int, width: Int) throws -> UInt32 {
        guard let i = state.known(address) else { throw ObservationError("\(address) is not there") }
        return UInt32(state.get(i, offset, bytes: width))
    }

    func savedValue(before write: SystemWrite) throws -> SavedValue? {
        switch write {
        case .config(let address, let offset, let width, _, _):
            return .number(UInt64(try register(address, offset: offset, width: width)))
        case .resourceAlignment: return .text(state.alignment)
        case .resizeBAR(let address, let bar, _):
            guard isResizable else { return nil }
            return state.known(address).flatMap { state.devices[$0].bars[bar] }
                .map { .number(UInt64(max(0, $0.trailingZeroBitCount - 20))) }
        case .sriovNumVFs(let address, _):
            return state.known(address).flatMap { i in
                state.virtualFunctions(i).isEmpty ? nil : .number(UInt64(state.enabledVFs(i)))
            }
        default: return nil
        }
    }

    func busExists(segment: UInt32, bus: BusNumber) throws -> Bool {
        bus == BusNumber(0) || state.devices.contains { $0.isKnown && $0.buses?.first == bus }
    }

    func protectedUse(of address: FunctionAddress) throws -> [UseEvidence] { uses[address].map { [$0] } ?? [] }
    func obstacles(writesConfig: Bool) throws -> [String] { missingPrivileges }
    func kernelRelease() throws -> String { release }
    func bootID() throws -> String { boot }
}

/// A clock that runs only while somebody sleeps.
func fakeClock() -> ExecutionClock {
    final class Time { var now = Duration.zero }
    let time = Time()
    return ExecutionClock(now: { time.now }, sleep: { time.now += $0 }, wallClock: { 1_790_000_000 })
}
