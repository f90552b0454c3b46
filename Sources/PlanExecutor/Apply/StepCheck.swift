// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

extension ApplyRun {
    /// What keeps a step from beginning, a sentence each; empty when all of its preconditions hold.
    func unmetPreconditions(of step: PlanStep, expecting expected: TreeState) throws -> [String] {
        let tree = try machine.observer.tree()
        var result = expected.differences(from: tree).map(\.description)
        for condition in step.preconditions {
            switch condition {
            case .treeAsPredicted: continue
            case .present(let address, let ids):
                guard let function = tree[address] else {
                    result.append("\(address) expected, not found")
                    continue
                }
                if function.ids != ids {
                    result.append(
                        "\(address) expected id \(bareHex(UInt64(ids), width: 8)), "
                            + "found \(bareHex(UInt64(function.ids), width: 8))"
                    )
                }
            case .busIsEmpty(let segment, let bus):
                if try !machine.observer.busExists(segment: segment, bus: bus) {
                    result.append("bus \(busName(segment: segment, bus)) expected, not found")
                }
                for function in tree.functions
                where function.address.segment == segment && function.address.bus == bus {
                    result.append(
                        "bus \(busName(segment: segment, bus)) expected to be empty, found \(function.address)"
                    )
                }
            case .busIsAbsent(let segment, let bus):
                if try machine.observer.busExists(segment: segment, bus: bus) {
                    result.append("no bus \(busName(segment: segment, bus)) expected, found one")
                }
            case .notInUse(let address):
                for use in try machine.observer.protectedUse(of: address) {
                    result.append("\(address) expected to be idle, found: \(use.detail)")
                }
            }
        }
        return result
    }

    /// What the machine shows (`tree`) otherwise than predicted after a step, a sentence each: resources and buses; of
    /// what has changed since `earlier` the address registers, the payload size, and the decode bits of the bridges above.
    func differences(
        after step: PlanStep,
        _ tree: TreeState,
        from earlier: TreeState,
        _ check: RegisterCheck
    ) throws -> [String] {
        var result = step.after.differences(from: tree).map(\.description)
        let changed = Set(tree.changes(from: earlier).changed.map(\.path))
        // The bridges above the changed ones as well.
        let wanted = tree.functions.filter { function in changed.contains { function.path.isAncestorOrSelf(of: $0) } }
        let health = try machine.observer.health(of: wanted.map(\.address))
        let isChanged = Set(wanted.filter { changed.contains($0.path) }.map(\.address))
        result += check.differences(tree, health.filter { isChanged.contains($0.address) }).map(\.sentence)
        result += RegisterCheck.pathFaults(TreeState(wanted), health, of: isChanged)
        for expectation in step.registersAfter {
            do {
                let found = try machine.observer.register(
                    expectation.address,
                    offset: expectation.offset,
                    width: expectation.width
                )
                guard found & expectation.mask != expectation.value else { continue }
                result.append(
                    "\(expectation.address) register \(hex(UInt64(clamping: expectation.offset))) expected "
                        + "\(hex(UInt64(expectation.value))), found \(hex(UInt64(found & expectation.mask)))"
                )
            } catch let error as ObservationError {
                result.append("\(expectation.address) register expected to be readable: \(error.description)")
            }
        }
        return result
    }
}
