// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import RebalancePlanner

/// What another kernel would make of a machine, as a document of schema `pci-rebalance.upgrade/1`; keys in sorted order.
struct UpgradeJSON {
    private let upgrade: KernelUpgrade
    private let machine: String?
    private let kernel: String?

    /// One machine's answer; `machine` is the name of its record among many, `kernel` the release as it was read.
    init(_ upgrade: KernelUpgrade, machine: String? = nil, kernel: String? = nil) {
        self.upgrade = upgrade
        self.machine = machine
        self.kernel = kernel ?? upgrade.present.name
    }

    /// The document, indented.
    var document: [UInt8] {
        var json = JSONWriter(.indented)
        put(to: &json)
        return json.document
    }

    /// The document in one line.
    var line: [UInt8] {
        var json = JSONWriter(.compact)
        put(to: &json)
        return json.document + [UInt8(ascii: "\n")]
    }

    /// The line of a machine whose record could not be read.
    static func line(machine: String, error: String) -> [UInt8] {
        var json = JSONWriter(.compact)
        json.object { json in
            json.field("error", error)
            json.field("machine", machine)
            json.field("schema", "pci-rebalance.upgrade/1")
            json.field("verdict", "not read")
        }
        return json.document + [UInt8(ascii: "\n")]
    }

    private func put(to json: inout JSONWriter) {
        json.object { json in
            json.field("behaviour", upgrade.present.behaviours[0].name)
            json.array("changes") { json in
                for change in upgrade.changes { put(change, to: &json) }
            }
            json.field("isKernelTheObstacle", upgrade.isKernelTheObstacle)
            json.field("kernel", kernel)
            json.array("lostHere") { json in
                for one in upgrade.lostHere {
                    json.object { json in
                        json.field("notPlacedBy", one.notPlacedBy)
                        json.field("occasion", one.occasion?.words)
                        json.key("place")
                        put(one.place, to: &json)
                        json.field("placedBy", one.placedBy)
                        json.field("tradedBy", one.tradedBy)
                    }
                }
            }
            json.field("machine", machine)
            json.field("releases", upgrade.releases.map(\.name))
            json.field("schema", "pci-rebalance.upgrade/1")
            json.field("start", upgrade.start.rawValue)
            write(unknowns: upgrade.unknowns, to: &json)
            json.field("untried", upgrade.untried)
            json.field("verdict", UpgradeVerdict(upgrade, isNamed: true).answer.rawValue)
        }
    }

    private func put(_ change: KernelUpgrade.Change, to json: inout JSONWriter) {
        json.object { json in
            if let parting = change.parting {
                json.object("firstDifference") { json in
                    let one = parting.difference
                    json.field("decision", one.decision.rawValue)
                    json.field("function", one.today.description)
                    json.field("rules", [parting.firstRule, parting.secondRule])
                    json.field("texts", [one.first, one.second])
                    json.field("what", one.what)
                }
            } else {
                json.key("firstDifference")
                json.null()
            }
            for (key, places) in [("gains", change.gains), ("loses", change.loses), ("mayLose", change.mayLose)] {
                json.array(key) { json in
                    for place in places { put(place, to: &json) }
                }
            }
            json.field("occasion", change.occasion.words)
            json.field("release", change.release.name)
        }
    }

    private func put(_ place: KernelUpgrade.Place, to json: inout JSONWriter) {
        json.object { json in
            json.field("address", place.address.description)
            json.field("path", place.shortfall.path.description)
            json.field("resource", place.what)
            json.field("size", hex: place.size?.rawValue)
        }
    }
}
