// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// The twin of the running kernel as the search's simulator.
struct TwinSimulation: Simulator {
    private var twin: LinuxTwin

    init(_ topology: Topology, behaviour: KernelBehaviour) throws(PlanningError) {
        do {
            twin = try LinuxTwin(topology, behaviour: behaviour)
        } catch {
            throw PlanningError(.twin, "the tree cannot be simulated: \(error)")
        }
    }

    func topology() throws -> Topology { try twin.topology() }

    var stateKey: UInt64 { twin.stateKey }

    mutating func perform(_ writes: [SystemWrite]) -> Bool {
        for write in writes {
            guard let operation = Self.operation(write) else { return false }
            do {
                _ = try twin.perform(operation)
            } catch {
                return false
            }
        }
        return true
    }

    /// The twin's operation for a write; nil for writes that the twin does not model.
    private static func operation(_ write: SystemWrite) -> TwinOperation? {
        switch write {
        case .remove(let x): .remove(x)
        case .rescanBus(let segment, let bus): .rescanBus(segment: segment, bus: bus)
        case .rescanDevice(let x): .rescanDevice(x)
        case .rescanAll: .rescan
        case .config(let x, let offset, let width, let mask, let value):
            .writeConfig(x, offset: offset, width: width, mask: mask, value: value)
        case .resizeBAR(let x, let bar, let exponent): .resizeBAR(x, bar: bar, exponent: exponent)
        case .resourceAlignment(let text): .resourceAlignment(text)
        case .sriovNumVFs(let x, let count): .sriovNumVFs(x, count: count)
        case .unbindDriver(let x): .unbindDriver(x)
        case .probeDriver(let x): .bindDriver(x)
        case .slotPower: nil
        }
    }
}
