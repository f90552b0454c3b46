// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import RebalancePlanner

/// A machine in thought: both halves of the seam over the twin of one behaviour.
///
/// The executor itself, its way back included, is tried on it before anything is written to the real one.
final class TwinMachine: SystemWriter, MachineObserver {
    private let initial: Topology
    private var prediction: Prediction
    private var current: (topology: Topology, tree: TreeState)?
    /// Places of the functions that must not be stopped, with the reasons.
    private let uses: [TopologyPath: [UseEvidence]]

    /// - Throws: `PlanningError` when the twin cannot take the tree.
    init(
        _ topology: Topology,
        behaviour: KernelBehaviour,
        agreedTo: Set<FunctionAddress>
    ) throws(PlanningError) {
        initial = topology
        prediction = try Prediction(topology, behaviour: behaviour)
        var uses: [TopologyPath: [UseEvidence]] = [:]
        for i in topology.functions.indices where !agreedTo.contains(topology.functions[i].address) {
            let reasons = topology.functions[i].use.evidence.filter(\.isProtected)
            if !reasons.isEmpty { uses[topology.path(of: i)] = reasons }
        }
        self.uses = uses
    }

    /// The machine as a reader would find it.
    func topology() throws -> Topology { try look().topology }

    private func look() throws -> (topology: Topology, tree: TreeState) {
        if let current { return current }
        guard let topology = prediction.topology else {
            throw ObservationError("expected a tree, the kernel's state would be none")
        }
        let found = (topology, TreeState(topology))
        current = found
        return found
    }

    private func function(_ address: FunctionAddress) throws -> Function {
        guard let found = try look().topology[address] else { throw ObservationError("\(address) is not there") }
        return found
    }

    // MARK: Writing

    func perform(_ write: SystemWrite, within limit: Duration) throws {
        current = nil
        guard prediction.perform([write]) else {
            throw WriteError(.refused, write, detail: "expected to be done, the kernel would refuse it")
        }
    }

    func awaitLateWrite(within limit: Duration) -> Bool { true }

    // MARK: Reading

    func tree() throws -> TreeState { try look().tree }

    func health(of addresses: [FunctionAddress]) throws -> [FunctionHealth] {
        let topology = try look().topology
        return addresses.compactMap { address in
            topology[address].map {
                FunctionHealth(address: address, driver: $0.use.driver, config: $0.config)
            }
        }
    }

    func register(_ address: FunctionAddress, offset: Int, width: Int) throws -> UInt32 {
        let config = try function(address).config
        let value =
            switch width {
            case 1: config.byte(offset).map(UInt32.init)
            case 2: config.word(offset).map(UInt32.init)
            default: config.long(offset)
            }
        guard let value else { throw ObservationError("expected \(address) to have a register at \(offset)") }
        return value
    }

    func savedValue(before write: SystemWrite) throws -> SavedValue? {
        switch write {
        case .config(let address, let offset, let width, _, _):
            return .number(UInt64(try register(address, offset: offset, width: width)))
        case .resourceAlignment: return .text(prediction.alignmentText)
        case .resizeBAR(let address, let bar, _):
            let entry = try function(address).capabilities.resizableBARs.first { $0.bar == bar }
            guard let size = entry?.currentSize?.rawValue, size >= 1 << 20 else { return nil }
            return .number(UInt64(size.trailingZeroBitCount - 20))
        case .sriovNumVFs(let address, _):
            let function = try function(address)
            return function.capabilities.sriov.map { _ in .number(UInt64(max(0, function.use.enabledVFs ?? 0))) }
        case .remove, .rescanBus, .rescanDevice, .rescanAll, .unbindDriver, .probeDriver, .driverOverride, .slotPower:
            return nil
        }
    }

    func busExists(segment: UInt32, bus: BusNumber) throws -> Bool {
        let topology = try look().topology
        return topology.hostBridges.contains { $0.segment == segment && $0.rootBus == bus }
            || topology.functions.contains { $0.address.segment == segment && $0.bridge?.busRange?.first == bus }
    }

    func protectedUse(of address: FunctionAddress) throws -> [UseEvidence] {
        let tree = try look().tree
        return tree.functions.first { $0.address == address }.flatMap { uses[$0.path] } ?? []
    }

    func obstacles(writesConfig: Bool) throws -> [String] { [] }
    func kernelRelease() throws -> String { initial.kernel.release ?? "" }
    func bootID() throws -> String { "thought" }
}
