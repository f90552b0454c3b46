// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology

/// The tree as a document of schema `pci-rebalance.tree/1`; keys in sorted order, addresses and sizes as hex strings.
/// `owners` is what /proc/iomem and /proc/ioports tell where nothing tells of functions; empty elsewhere.
func treeJSON(
    _ topology: Topology,
    findings: [Finding],
    selection: Selection?,
    owners: [AddressOwners.Entry] = []
) -> [UInt8] {
    let groups = group(findings, by: topology)
    let isolation = IsolationText(topology)
    var json = JSONWriter(.indented)
    json.object { json in
        json.array("functions") { json in
            for i in topology.functions.indices where selection?.contains(topology.functions[i].address) ?? true {
                write(function: i, of: isolation, findings: groups[i], to: &json)
            }
        }
        write(gaps: topology.gaps, to: &json)
        json.array("hostBridges") { json in
            for h in topology.hostBridges.indices { write(host: h, of: topology, to: &json) }
        }
        write(topology.kernel, to: &json)
        if !owners.isEmpty {
            json.array("owners") { json in
                for entry in owners {
                    json.object { json in
                        json.field("depth", entry.depth)
                        json.field("free", entry.free)
                        json.field("owner", entry.owner)
                        json.field("range", entry.range)
                        json.field("size", entry.size)
                        json.field("users", entry.users)
                    }
                }
            }
        }
        json.array("peerRoutes") { json in
            for route in isolation.routes {
                json.object { json in
                    json.array("ports") { json in
                        for port in route.ports {
                            json.object {
                                $0.field("address", topology.functions[port.index].address.description)
                                $0.field("way", port.way.rawValue)
                            }
                        }
                    }
                    json.field("upstream", topology.functions[route.upstream].address.description)
                }
            }
        }
        json.field("schema", "pci-rebalance.tree/1")
    }
    return json.document
}

private func write(host h: Int, of topology: Topology, to json: inout JSONWriter) {
    let host = topology.hostBridges[h]
    json.object { json in
        json.array("apertures") { json in
            for aperture in host.apertures {
                let space = topology.occupancy(of: aperture, host: h)
                json.object { json in
                    json.field("first", hex: aperture.range.first)
                    json.field("firstBusAddress", hex: aperture.busRange?.first)
                    json.field("flags", hex: aperture.flags.rawValue)
                    json.field("free", hex: space.freeBytes.rawValue)
                    json.field("kind", (ResourceKind(aperture.flags) ?? .memory).word)
                    json.field("largestFreeBlock", hex: space.largestFreeBlock.rawValue)
                    json.field("last", hex: aperture.range.last)
                    json.field("text", aperture.kernelText)
                }
            }
        }
        write(busRange: host.busRange, to: &json)
        json.field("segment", bareHex(UInt64(host.segment), width: 4))
        json.field("slotDriver", host.slotDriver.rawValue)
        json.field("source", host.source.rawValue)
    }
}

private func write(busRange range: BusRange?, to json: inout JSONWriter) {
    guard let range else {
        json.key("busRange")
        json.null()
        return
    }
    json.object("busRange") { json in
        json.field("first", range.first.description)
        json.field("last", range.last.description)
    }
}

private func write(function i: Int, of isolation: IsolationText, findings: [Finding], to json: inout JSONWriter) {
    let topology = isolation.topology
    let function = topology.functions[i]
    json.object { json in
        json.field("address", function.address.description)
        if let bridge = function.bridge {
            json.object("bridge") { json in
                write(busRange: bridge.busRange, to: &json)
                json.field("isHotPlug", function.isHotPlugBridge)
                json.field("isSubtractive", bridge.isSubtractive)
                json.field("slotDriver", function.use.slotDriver.rawValue)
            }
        }
        json.field("class", hex: UInt64(function.identity.classCode), width: 6)
        json.field("device", hex: UInt64(function.identity.device), width: 4)
        json.field("driver", function.use.driver)
        json.array("evidence") { json in
            for evidence in function.use.evidence {
                json.object { json in
                    json.field("code", evidence.code)
                    json.field("detail", evidence.detail)
                    json.field("isProtected", evidence.isProtected)
                    json.field("weight", evidence.weight)
                }
            }
        }
        json.field("findings", findings.filter { $0.severity == .problem }.map(\.code.rawValue))
        json.field("iommuGroup", function.use.iommuGroup)
        json.object("isolation") { write(isolation, of: i, to: &$0) }
        json.field("name", function.identity.name)
        json.field("numaNode", function.use.numaNode)
        json.field("parent", function.parent?.description)
        json.field("path", topology.path(of: i).description)
        json.field("physicalFunction", function.physicalFunction?.description)
        json.array("resizableBARs") { json in
            for bar in function.capabilities.resizableBARs {
                json.object { json in
                    json.field("bar", bar.bar)
                    json.field("exponent", bar.currentExponent)
                    json.array("exponents") { json in for n in bar.exponents { json.value(n) } }
                }
            }
        }
        json.array("resources") { json in
            for resource in function.resources { write(resource, of: i, in: topology, to: &json) }
        }
        json.field("role", function.roleText)
        json.array("services") { json in
            for service in IsolationText.services(function) {
                json.object {
                    $0.field("isOn", service.isOn)
                    $0.field("name", service.name)
                }
            }
        }
        json.field("slot", function.use.slot)
        if let express = function.capabilities.express, function.areSettingsTold {
            json.object("transactions") { json in
                json.field("isExtendedTagOn", express.isExtendedTagOn)
                json.field("maxPayload", express.maxPayloadSize)
                json.field("maxReadRequest", express.maxReadRequestSize)
            }
        }
        json.field("vendor", hex: UInt64(function.identity.vendor), width: 4)
    }
}

/// Who is in a group with the function by the kernel's rule, why, and what its Access Control Services say.
private func write(_ isolation: IsolationText, of i: Int, to json: inout JSONWriter) {
    let function = isolation.topology.functions[i]
    switch function.accessControl {
    case .present(let acs):
        json.object("accessControl") { json in
            json.field("capabilities", acs.capabilities.names)
            json.field("control", acs.control.names)
        }
    case .absent, .unread:
        json.key("accessControl")
        json.null()
    }
    json.field("groupIsForetold", isolation.isForetold(i))
    json.field(
        "groupMembers",
        isolation.groups.others(with: i).map { isolation.topology.functions[$0].address.description }
    )
    json.field("reason", isolation.cause(of: i))
    let verdict: String =
        switch isolation.topology.isolation(of: i) {
        case .isolated: "isolated"
        case .open: "open"
        case .unknown: "unknown"
        }
    json.field("verdict", verdict)
}

private func write(_ resource: Resource, of i: Int, in topology: Topology, to json: inout JSONWriter) {
    let isIO = resource.flags.contains(.io)
    let space =
        resource.index.isWindow
        ? resource.range.map { topology.occupancy(of: $0, isIO: isIO, belowBridge: i) } : nil
    json.object { json in
        json.field("alignment", hex: resource.alignment?.rawValue)
        json.field("first", hex: resource.shownRange?.first)
        json.field("flags", hex: resource.flags.rawValue)
        if let space { json.field("free", hex: space.freeBytes.rawValue) }
        json.field("index", Int(resource.index.rawValue))
        json.field("kind", resource.kind?.word)
        if let space { json.field("largestFreeBlock", hex: space.largestFreeBlock.rawValue) }
        json.field("last", hex: resource.shownRange?.last)
        json.field("name", resource.index.description)
        json.field("size", hex: resource.size?.rawValue)
        json.field("state", resource.assignment.word)
        json.field("text", resource.kernelText)
    }
}

extension Resource.Assignment {
    /// The state in one word, as JSON documents carry it.
    var word: String {
        switch self {
        case .assigned: "assigned"
        case .unclaimed: "unclaimed"
        case .unassigned: "unassigned"
        case .wiped: "wiped"
        case .closed: "closed"
        }
    }
}
