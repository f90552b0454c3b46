// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import RebalancePlanner

// The fields of every object stand in alphabetical order.
extension JSONWriter {
    mutating func plan(_ plan: Plan) {
        object("after") { $0.tree(plan.after) }
        object("before") { $0.tree(plan.before) }
        field("behaviour", plan.behaviour)
        // Absent where the kernel has one behaviour.
        if !plan.outlooks.isEmpty {
            array("behaviours") { json in
                for outlook in plan.outlooks {
                    json.object {
                        $0.field("differsAfterStep", outlook.differsAfterStep)
                        $0.field("name", outlook.behaviour)
                        $0.field("outcome", outlook.outcome.rawValue)
                    }
                }
            }
        }
        // Absent where nothing was asked to stay as it is.
        if !plan.conditions.isEmpty {
            array("conditions") { json in
                for outcome in plan.conditions {
                    json.object {
                        $0.field("addresses", outcome.condition.addresses.map(\.description))
                        $0.field("kind", outcome.condition.kind)
                        $0.field("text", outcome.text)
                    }
                }
            }
        }
        array("diagnosis") { json in
            for line in plan.diagnosis {
                json.object {
                    $0.field("address", line.address?.description)
                    $0.field("code", line.code)
                    $0.field("text", line.text)
                }
            }
        }
        array("disturbed") { json in
            for disturbance in plan.disturbed {
                json.object {
                    $0.field("address", disturbance.address.description)
                    $0.field("effect", disturbance.effect.rawValue)
                    $0.field("newAddress", disturbance.newAddress.description)
                    $0.field("uses", disturbance.uses)
                    $0.field("weight", disturbance.weight)
                    $0.field("what", disturbance.what)
                }
            }
        }
        field("fingerprint", hex: plan.fingerprint, width: 16)
        array("goals") { json in
            for goal in plan.goals { json.object { $0.goal(goal) } }
        }
        if let change = plan.isolation { object("isolation") { $0.isolation(change) } }
        field("kernel", plan.kernelRelease)
        array("otherWays") { json in
            for way in plan.otherWays { json.object { $0.otherWay(way) } }
        }
        object("proof") { $0.proof(plan.proof) }
        field("remarks", plan.remarks)
        if !plan.ruledOut.isEmpty {
            array("ruledOut") { json in
                for one in plan.ruledOut {
                    json.object {
                        $0.field("name", one.behaviour)
                        $0.field("reason", one.reason)
                    }
                }
            }
        }
        field("schema", PlanDocument.schema)
        array("steps") { json in
            var tree = plan.before
            for step in plan.steps {
                json.object { $0.step(step, from: tree) }
                tree = step.after
            }
        }
        object("verdict") {
            $0.field("answer", plan.verdict.answer.rawValue)
            $0.field("reason", plan.verdict.reason)
            $0.field("sentence", plan.verdict.sentence)
        }
    }

    private mutating func isolation(_ change: IsolationChange) {
        field("contradicted", change.contradicted.map(\.description))
        field("groupsAfter", change.groupsAfter.map(Self.words))
        field("groupsBefore", change.groupsBefore.map(Self.words))
        field("hasGroups", change.hasGroups)
        array("regroupings") { json in
            for one in change.regroupings {
                json.object {
                    $0.field("address", one.address.description)
                    $0.field("isAssigned", one.isAssigned)
                    $0.field("joined", one.joined.map(\.description))
                    $0.field("left", one.left.map(\.description))
                    $0.field("newAddress", one.newAddress.description)
                }
            }
        }
        array("reroutings") { json in
            for one in change.reroutings {
                json.object {
                    $0.field("address", one.address.description)
                    $0.field("after", one.after.rawValue)
                    $0.field("before", one.before.rawValue)
                    $0.field("newAddress", one.newAddress.description)
                }
            }
        }
        array("settings") { json in
            for one in change.settings {
                json.object {
                    $0.field("address", one.address.description)
                    $0.field("after", one.after)
                    $0.field("before", one.before)
                    $0.field("kind", one.kind.rawValue)
                }
            }
        }
        field("untold", change.untold.map(\.description))
    }

    private static func words(_ addresses: [FunctionAddress]) -> String {
        addresses.map(\.description).joined(separator: " ")
    }

    private mutating func goal(_ goal: Goal) {
        switch goal {
        case .everythingRequired:
            field("kind", "everything-required")
        case .place(let address):
            field("address", address.description)
            field("kind", "place")
        case .resize(let address, let bar, let size):
            field("address", address.description)
            field("bar", bar)
            field("kind", "resize")
            field("size", hex: size?.rawValue)
        case .compact:
            field("kind", "compact")
        case .located(let address, let bar, let start):
            field("address", address.description)
            field("bar", bar)
            field("kind", "at")
            field("start", hex: start)
        case .reserve(let address, let room):
            field("address", address.description)
            field("buses", room.buses)
            field("io", hex: room.io.rawValue)
            field("kind", "reserve")
            field("memory", hex: room.memory.rawValue)
            field("prefetchable", hex: room.prefetchable.rawValue)
        case .virtualFunctions(let address, let count):
            field("address", address.description)
            field("count", count)
            field("kind", "virtual-functions")
        case .restore(let layout):
            field("fingerprint", hex: layout.fingerprint, width: 16)
            field("kind", "restore")
        }
    }

    private mutating func otherWay(_ way: OtherWay) {
        switch way {
        case .reboot:
            field("kind", "reboot")
        case .parameter(let text):
            field("kind", "parameter")
            field("parameter", text)
        case .kexec(let functions):
            field("functions", functions)
            field("kind", "kexec")
        case .kernel(let releases, let rules):
            field("kind", "kernel")
            field("placedBy", releases)
            if !rules.isEmpty { field("rules", rules) }
        case .firmware(let setting):
            field("kind", "firmware")
            field("setting", setting.rawValue)
        }
    }

    private mutating func proof(_ proof: ProofOfLeastDisturbance) {
        switch proof {
        case .optimal: field("kind", "optimal")
        case .bestOfSearched(let cost, let lowerBound):
            field("cost", cost)
            field("kind", "best-of-searched")
            field("lowerBound", lowerBound)
        case .notApplicable: field("kind", "not-applicable")
        }
    }

    /// A whole tree.
    mutating func tree(_ tree: TreeState) {
        array("functions") { json in
            for function in tree.functions { json.object { $0.function(function) } }
        }
    }

    /// What `tree` has otherwise than `base`: functions that are gone, functions that are new or different.
    mutating func treeChanges(_ tree: TreeState, from base: TreeState) {
        let (gone, changed) = tree.changes(from: base)
        array("changed") { json in
            for function in changed { json.object { $0.function(function) } }
        }
        field("gone", gone.map(\.description))
    }

    private mutating func function(_ function: FunctionState) {
        field("address", function.address.description)
        field("buses", function.busRange.map { "\($0.first)-\($0.last)" })
        field("ids", hex: UInt64(function.ids), width: 8)
        if !function.otherPlaces.isEmpty { field("otherPlaces", function.otherPlaces.map(\.description)) }
        field("path", function.path.description)
        if function.place != function.path { field("place", function.place.description) }
        field("resourceLines", function.lines.count)
        array("resources") { json in
            for (index, line) in function.lines.enumerated() where line != .zero {
                json.object {
                    $0.field("end", hex: line.end)
                    $0.field("flags", hex: line.flags.rawValue)
                    $0.field("index", index)
                    $0.field("start", hex: line.start)
                }
            }
        }
    }

    private mutating func step(_ step: PlanStep, from base: TreeState) {
        treeChanges(step.after, from: base)
        if !step.mayAppearBelow.isEmpty { field("mayAppearBelow", step.mayAppearBelow.map(\.description)) }
        array("preconditions") { json in
            for condition in step.preconditions { json.object { $0.precondition(condition) } }
        }
        field("purpose", step.purpose)
        array("registersAfter") { json in
            for expectation in step.registersAfter {
                json.object {
                    $0.field("address", expectation.address.description)
                    $0.field("mask", hex: UInt64(expectation.mask), width: 2 * expectation.width)
                    $0.field("offset", hex: UInt64(clamping: expectation.offset))
                    $0.field("value", hex: UInt64(expectation.value), width: 2 * expectation.width)
                    $0.field("width", expectation.width)
                }
            }
        }
        array("wayBack") { json in
            for write in step.wayBack { json.object { $0.systemWrite(write) } }
        }
        array("writes") { json in
            for write in step.writes { json.object { $0.systemWrite(write) } }
        }
    }

    private mutating func precondition(_ condition: Precondition) {
        switch condition {
        case .treeAsPredicted: field("kind", "tree-as-predicted")
        case .present(let address, let ids):
            field("address", address.description)
            field("ids", hex: UInt64(ids), width: 8)
            field("kind", "present")
        case .busIsEmpty(let segment, let bus):
            field("bus", hex: UInt64(bus.rawValue), width: 2)
            field("kind", "bus-is-empty")
            field("segment", hex: UInt64(segment), width: 4)
        case .busIsAbsent(let segment, let bus):
            field("bus", hex: UInt64(bus.rawValue), width: 2)
            field("kind", "bus-is-absent")
            field("segment", hex: UInt64(segment), width: 4)
        case .notInUse(let address):
            field("address", address.description)
            field("kind", "not-in-use")
        }
    }

    /// The fields of one write.
    mutating func systemWrite(_ write: SystemWrite) {
        switch write {
        case .remove(let address):
            field("address", address.description)
            field("operation", "remove")
        case .rescanBus(let segment, let bus):
            field("bus", hex: UInt64(bus.rawValue), width: 2)
            field("operation", "rescan-bus")
            field("segment", hex: UInt64(segment), width: 4)
        case .rescanDevice(let address):
            field("address", address.description)
            field("operation", "rescan-device")
        case .rescanAll:
            field("operation", "rescan-all")
        case .config(let address, let offset, let width, let mask, let value):
            field("address", address.description)
            field("mask", hex: UInt64(mask), width: 2 * width)
            field("offset", hex: UInt64(clamping: offset))
            field("operation", "config")
            field("value", hex: UInt64(value), width: 2 * width)
            field("width", width)
        case .resizeBAR(let address, let bar, let exponent):
            field("address", address.description)
            field("bar", bar)
            field("exponent", exponent)
            field("operation", "resize-bar")
        case .resourceAlignment(let text):
            field("operation", "resource-alignment")
            field("text", text)
        case .sriovNumVFs(let address, let count):
            field("address", address.description)
            field("count", count)
            field("operation", "sriov-numvfs")
        case .unbindDriver(let address):
            field("address", address.description)
            field("operation", "unbind-driver")
        case .probeDriver(let address):
            field("address", address.description)
            field("operation", "probe-driver")
        case .driverOverride(let address, let driver):
            field("address", address.description)
            field("driver", driver)
            field("operation", "driver-override")
        case .slotPower(let slot, let on):
            field("on", on)
            field("operation", "slot-power")
            field("slot", slot)
        }
    }
}

extension TreeState {
    /// What this tree has otherwise than `base`: addresses that are gone, functions that are new or different.
    /// - Complexity: O(number of resource lines).
    func changes(from base: TreeState) -> (gone: [FunctionAddress], changed: [FunctionState]) {
        var gone: [FunctionAddress] = []
        var changed: [FunctionState] = []
        var a = 0
        for function in functions {
            while a < base.functions.count, base.functions[a].address < function.address {
                gone.append(base.functions[a].address)
                a += 1
            }
            if a < base.functions.count, base.functions[a].address == function.address {
                if base.functions[a] != function { changed.append(function) }
                a += 1
            } else {
                changed.append(function)
            }
        }
        gone.append(contentsOf: base.functions[a...].map(\.address))
        return (gone, changed)
    }

    /// The tree that `changes` led to.
    func applying(gone: [FunctionAddress], changed: [FunctionState]) -> TreeState {
        let replaced = Set(gone).union(changed.map(\.address))
        return TreeState(functions.filter { !replaced.contains($0.address) } + changed)
    }
}
