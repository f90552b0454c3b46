// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// The twin of the running kernel, driven by the writes of plans.
///
/// A value; the search branches by copying it.
struct TwinSimulation {
    private(set) var twin: LinuxTwin
    /// Whether `removed` is kept.
    var recordsRemovals = false
    /// The functions, by number, that were removed since removals are recorded, whether or not they were found again.
    private(set) var removed = FunctionSet()

    init(_ topology: Topology, behaviour: KernelBehaviour) throws(PlanningError) {
        do {
            twin = try LinuxTwin(topology, behaviour: behaviour)
        } catch {
            throw PlanningError(.twin, "the tree cannot be simulated: \(error)")
        }
    }

    /// The machine on a platform that is known, such as one with another command line.
    init(_ topology: Topology, behaviour: KernelBehaviour, platform: Platform) throws(PlanningError) {
        do {
            twin = try LinuxTwin(topology, behaviour: behaviour, platform: platform)
        } catch {
            throw PlanningError(.twin, "the tree cannot be simulated: \(error)")
        }
    }

    /// Starts a kernel over what the registers hold now; false when the twin cannot.
    mutating func restart(_ platform: Platform) -> Bool { (try? twin.perform(.boot(platform))) != nil }

    /// What the machine holds, to begin with.
    mutating func beginSummary(countsTouched: Bool) -> TwinSummary { twin.beginSummary(countsTouched: countsTouched) }

    /// Brings the summary of an earlier moment up to date.
    mutating func update(_ summary: inout TwinSummary) { twin.update(&summary) }

    /// The machine as it is now.
    func topology() throws -> Topology { try twin.topology() }

    /// Does the writes in order; false when the machine would refuse one, or the kernel would be in doubt after it.
    mutating func perform(_ writes: [SystemWrite]) -> Bool {
        for write in writes {
            guard let operation = operation(write) else { return false }
            if recordsRemovals, case .remove(let address) = write { recordRemoval(of: address) }
            do {
                let events = try twin.perform(operation)
                let isBad = events.contains { event in
                    switch event {
                    case .refused, .fault: true
                    default: false
                    }
                }
                if isBad { return false }
            } catch {
                return false
            }
        }
        return true
    }

    private mutating func recordRemoval(of address: FunctionAddress) {
        guard let topology = try? topology(), let i = topology.position(of: address) else { return }
        for j in topology.subtree(of: i) {
            if let number = twin.number(of: topology.functions[j].address) { removed.insert(number) }
        }
    }

    /// The twin's operation for a write; nil for writes that the twin does not model.
    private func operation(_ write: SystemWrite) -> TwinOperation? {
        switch write {
        case .remove(let x): .remove(x)
        case .rescanBus(let segment, let bus): .rescanBus(segment: segment, bus: bus)
        case .rescanDevice(let x): .rescanDevice(x)
        case .rescanAll: .rescan
        case .config(let x, let offset, let width, let mask, let value):
            configWrite(x, offset: offset, width: width, mask: mask, value: value)
        case .resizeBAR(let x, let bar, let exponent): .resizeBAR(x, bar: bar, exponent: exponent)
        case .resourceAlignment(let text): .resourceAlignment(text)
        case .sriovNumVFs(let x, let count): .setVFs(x, count)
        case .unbindDriver(let x): .unbind(x)
        case .probeDriver(let x): .bind(x)
        case .slotPower, .driverOverride: nil
        }
    }

    /// A masked write; the bits outside the mask are those that the function holds at that moment.
    private func configWrite(
        _ x: FunctionAddress,
        offset: Int,
        width: Int,
        mask: UInt32,
        value: UInt32
    ) -> TwinOperation? {
        if offset == 0x18, width == 4, mask == 0x00ff_ffff {
            return .setBusNumbers(
                x,
                primary: BusNumber(UInt8(value & 0xff)),
                secondary: BusNumber(UInt8(value >> 8 & 0xff)),
                subordinate: BusNumber(UInt8(value >> 16 & 0xff))
            )
        }
        let full: UInt32 = width == 4 ? .max : width == 2 ? 0xffff : 0xff
        guard mask & full != full else { return .writeConfig(x, offset: offset, width: width, value: value) }
        guard let present = twin.register(of: x, at: offset, width: width) else { return nil }
        return .writeConfig(x, offset: offset, width: width, value: present & ~mask | value & mask)
    }
}
