// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology
import PlanExecutor
import RebalancePlanner

/// The findings as a document of schema `pci-rebalance.check/1`; keys in sorted order.
func checkJSON(_ topology: Topology, _ assessment: Assessment, evidence: BehaviourEvidence? = nil) -> [UInt8] {
    let findings = assessment.findings
    var json = JSONWriter(.indented)
    let problems = findings.count { $0.severity == .problem }
    json.object { json in
        if let evidence, evidence.isOfSeveral {
            json.array("behaviours") { json in
                for candidate in evidence.left.candidates {
                    json.object {
                        $0.field("name", candidate.behaviour.name)
                        $0.field("ruledOutBy", String?.none)
                    }
                }
                for one in evidence.ruledOut {
                    json.object {
                        $0.field("name", one.behaviour)
                        $0.field("ruledOutBy", one.reason)
                    }
                }
            }
        }
        json.array("findings") { json in
            for finding in findings { write(finding, to: &json) }
        }
        write(gaps: topology.gaps, to: &json)
        if let set = evidence?.left, set.judgement != .itself {
            json.object("judgement") { json in
                json.field("basis", set.judgement.rawValue)
                json.field("explanation", set.explanation)
            }
        }
        write(topology.kernel, to: &json)
        json.field("notes", findings.count - problems)
        json.field("problems", problems)
        if !assessment.ranges.isEmpty {
            json.array("ranges") { json in
                for share in assessment.ranges { write(share, to: &json) }
            }
        }
        json.field("schema", "pci-rebalance.check/1")
        json.array("signs") { json in
            for sign in assessment.signs {
                json.object { json in
                    json.field("address", sign.address?.description)
                    json.field("area", sign.area.rawValue)
                    json.field("message", sign.message)
                }
            }
        }
        write(unknowns: assessment.unknowns, to: &json)
        let unseen = topology.unseenBridges
        if !unseen.isEmpty {
            json.array("unseen") { json in
                for (i, reason) in unseen {
                    json.object { json in
                        json.field("address", topology.functions[i].address.description)
                        json.field("reason", reason.rawValue)
                    }
                }
            }
        }
        json.field("verdict", assessment.verdict.rawValue)
    }
    return json.document
}

/// Writes what /proc/iomem tells of an aperture or a window as an object.
private func write(_ share: BusShare, to json: inout JSONWriter) {
    json.object { json in
        json.field("depth", share.depth)
        json.field("first", hex: share.range.first)
        json.array("holders") { json in
            for holder in share.holders {
                json.object { json in
                    json.field("first", hex: holder.range.first)
                    json.field("last", hex: holder.range.last)
                    json.field("name", holder.name)
                }
            }
        }
        json.field("largestFree", hex: share.largestFree.rawValue)
        json.field("last", hex: share.range.last)
        json.field("owner", share.owner)
        json.field("role", share.role.rawValue)
    }
}

/// Writes the field `unknowns`.
func write(unknowns: [Unknown], to json: inout JSONWriter) {
    json.array("unknowns") { json in
        for one in unknowns {
            json.object { json in
                json.field("addresses", one.addresses.map(\.description))
                json.field("code", one.code.rawValue)
                json.field("remedies", one.remedies.map(\.rawValue))
                json.field("sentence", one.sentence)
            }
        }
    }
}

/// Writes one finding as an object.
func write(_ finding: Finding, to json: inout JSONWriter) {
    json.object { json in
        json.field("address", finding.isAboutBus ? nil : finding.address.description)
        if finding.isAboutBus { json.field("bus", busName(segment: finding.address.segment, finding.address.bus)) }
        json.field("causes", finding.causes)
        json.field("code", finding.code.rawValue)
        json.field("related", finding.related.map(\.description))
        json.field("resource", finding.resource.map { Int($0.rawValue) })
        json.field("sentence", finding.sentence)
        json.field("severity", finding.severity.rawValue)
    }
}

/// Writes the field `gaps`.
func write(gaps: [ReadingGap], to json: inout JSONWriter) {
    json.array("gaps") { json in
        for gap in gaps {
            json.object { json in
                json.field("code", gap.code)
                json.field("detail", gap.detail)
            }
        }
    }
}

/// Writes the field `kernel`.
func write(_ kernel: KernelIdentity, to json: inout JSONWriter) {
    json.object("kernel") { json in
        json.field("architecture", kernel.architecture)
        json.field("commandLine", kernel.commandLine)
        json.field("release", kernel.release)
    }
}
