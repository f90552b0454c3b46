// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology

/// A triage as a document of schema `pci-rebalance.triage/1`; keys in sorted order.
func triageJSON(_ triage: Triage) -> [UInt8] {
    var json = JSONWriter(.indented)
    json.object { json in
        json.field("failingLines", triage.failingLines)
        json.array("groups") { json in
            for group in triage.groups {
                json.object { json in
                    json.field("address", group.address?.description)
                    json.field("cause", group.cause)
                    json.field("code", group.code)
                    json.field("lines", group.lineCount)
                    json.field("nextStep", group.nextStep)
                    json.field("resource", group.resource)
                    json.field("sample", group.sample)
                    json.field("severity", group.severity.rawValue)
                    json.field("summary", group.summary)
                }
            }
        }
        json.field("notTold", triage.notTold)
        json.field("schema", "pci-rebalance.triage/1")
        json.field("unclassified", triage.unclassified)
        json.field("verdict", triage.verdict.rawValue)
    }
    return json.document
}
