// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// Whether a plan may be carried out at all, judged without the machine.
enum PlanSafety {
    /// Why the plan must not be carried out, with a slug; nil when it may.
    static func fault(in plan: Plan) -> (reason: String, sentence: String)? {
        guard plan.steps.last.map({ $0.after == plan.after }) ?? true else {
            return ("inconsistent-plan", "the tree after the last step is not the tree after the plan")
        }
        var known = Set(plan.before.functions.map(\.address))
        for (i, step) in plan.steps.enumerated() {
            known.formUnion(step.after.functions.map(\.address))
            for write in step.writes + step.wayBack {
                if let fault = WriteRules.fault(in: write) {
                    return ("forbidden-write", "step \(i + 1): \(write): \(fault)")
                }
                if case .driverOverride = write {
                    return ("forbidden-write", "step \(i + 1): \(write): expected no choice of drivers in a plan")
                }
                if let address = write.address, !known.contains(address) {
                    return ("unknown-function", "step \(i + 1): \(write): \(address) is in no tree of the plan so far")
                }
            }
        }
        let found = plan.steps.flatMap(\.mayAppearBelow)
        let ports = plan.after.functions.filter { found.contains($0.address) }.map(\.place)
        let losses = plan.before.losses(in: plan.after, ignoringSizes: true).filter { loss in
            // What stands on a root bus that the kernel made up appears where it belongs; apply holds it to that.
            guard case .function(let gone) = loss, gone.place.rootBus != gone.path.rootBus else { return true }
            return !ports.contains { $0.isAncestorOrSelf(of: gone.place) }
        }
        if let loss = losses.first {
            return ("plan-loses", "the plan would lose something: \(loss)")
        }
        return nil
    }

    /// The functions that the plan stops: those that it removes and those whose driver it unbinds; in address order.
    static func stopped(by plan: Plan) -> [FunctionState] {
        var result = Set(removed(by: plan))
        var tree = plan.before
        for step in plan.steps {
            for case .unbindDriver(let address) in step.writes {
                guard let function = tree[address] else { continue }
                let key = FunctionKey(function)
                result.formUnion(plan.before.functions.filter { FunctionKey($0) == key })
            }
            tree = step.after
        }
        return result.sorted { $0.address < $1.address }
    }

    /// The functions that the plan removes, with everything below them, and the VFs that it disables; in address order.
    ///
    /// - Parameters:
    ///   - plan: the plan.
    ///   - last: the index of the last step that counts; nil counts all.
    /// - Returns: the functions as they were before the plan.
    static func removed(by plan: Plan, upTo last: Int? = nil) -> [FunctionState] {
        var result: Set<FunctionState> = []
        var tree = plan.before
        for step in plan.steps.prefix(last.map { $0 + 1 } ?? plan.steps.count) {
            if step.writes.contains(where: { if case .sriovNumVFs = $0 { true } else { false } }) {
                let left = Set(step.after.functions.map(FunctionKey.init))
                result.formUnion(plan.before.functions.filter { !left.contains(FunctionKey($0)) })
            }
            for case .remove(let address) in step.writes {
                guard let root = tree[address] else { continue }
                for function in plan.before.functions where root.path.isAncestorOrSelf(of: function.path) {
                    result.insert(function)
                }
            }
            tree = step.after
        }
        return result.sorted { $0.address < $1.address }
    }
}
