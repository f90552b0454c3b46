// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology

/// IOMMU groups, routes between siblings and the services of functions, in words.
struct IsolationText {
    let topology: Topology
    let groups: IsolationGroups
    let routes: [PeerRoutes]
    private let contradicted: Set<Int>

    init(_ topology: Topology) {
        self.topology = topology
        groups = IsolationGroups(topology)
        routes = topology.peerRoutes()
        contradicted = Set(groups.contradicted(by: topology))
    }

    private func name(_ i: Int) -> String { topology.functions[i].address.description }

    private func list(_ indices: [Int]) -> String { indices.map { topology.functions[$0].address }.listed(4) }

    /// Who shares the group of the function at index `i`, and why; nil where nobody does, or where nothing tells.
    func group(of i: Int) -> String? {
        let function = topology.functions[i]
        guard topology.hasGroups == (function.use.iommuGroup != nil) else { return nil }
        if let number = function.use.iommuGroup,
            contradicted.contains(i) || !groups.isCertain[i]
        {
            let others = topology.functions.indices.filter {
                $0 != i && topology.functions[$0].use.iommuGroup == number
            }
            let why = contradicted.contains(i) ? "; by its ACS it would be otherwise" : ""
            return others.isEmpty && why.isEmpty ? nil : "IOMMU group \(number) \(with(others))\(why)"
        }
        guard groups.isCertain[i] else { return nil }
        let others = groups.others(with: i)
        guard !others.isEmpty else { return nil }
        let number = function.use.iommuGroup.map { " \($0)" } ?? ""
        let verb = function.use.iommuGroup == nil ? "would be in an IOMMU group " : "IOMMU group\(number) "
        return verb + with(others) + reason(i)
    }

    private func with(_ others: [Int]) -> String { others.isEmpty ? "alone" : "with \(list(others))" }

    /// Whether the group of the function at index `i` follows from what was told, and is so where one was recorded.
    func isForetold(_ i: Int) -> Bool { groups.isCertain[i] && !contradicted.contains(i) }

    /// Why the function at index `i` is in a group of others, a clause; nil for one that began its group.
    func cause(of i: Int) -> String? {
        let text = reason(i).drop { $0 == ":" || $0 == " " }
        return text.isEmpty ? nil : String(text)
    }

    private func reason(_ i: Int) -> String {
        switch groups.reasons[i] {
        case .own: ""
        case .requesterOf(let bridge): ": its requests carry the number of \(name(bridge))"
        case .below(_, let open): ": \(name(open)) \(why(open))"
        case .alias(let other): ": it and \(name(other)) use the same requester number"
        case .sameDevice(let other): ": it and \(name(other)) are of one device, and it \(why(i))"
        }
    }

    private func why(_ i: Int) -> String {
        switch topology.isolation(of: i) {
        case .isolated: "is kept apart"
        case .open(let reason): reason.text
        case .unknown: "has ACS registers that were not read"
        }
    }

    /// What a VF of the function at index `i` would need, and whose IOMMU group it would share; nil without SR-IOV.
    func virtualFunction(of i: Int) -> String? {
        let function = topology.functions[i]
        guard let sriov = function.capabilities.sriov, sriov.totalVFs > 0, function.areSettingsTold else { return nil }
        let address = function.address
        let last = sriov.routingID(ofVF: sriov.totalVFs - 1, bus: address.bus, devfn: address.devfn)
        var needs: [String] = []
        let buses = (last >> 8) - Int(address.bus.rawValue)
        if buses > 0 {
            needs.append("\(buses) bus number\(buses == 1 ? "" : "s") beyond \(address.bus) for all \(sriov.totalVFs)")
        }
        let hasNone = function.resources.contains { resource in
            guard resource.index.isVFBAR else { return false }
            if case .assigned = resource.assignment { return false }
            return true
        }
        if hasNone { needs.append("addresses for the VF BARs") }
        let text =
            needs.isEmpty ? "a VF needs nothing that is not there" : "a VF needs " + needs.joined(separator: " and ")
        return "\(text); \(groupOfVirtual(below: i))"
    }

    /// A VF is no part of a device of several: what counts is whether requests may turn around on the way up.
    private func groupOfVirtual(below i: Int) -> String {
        let way = topology.ancestors(of: i)
        let would = topology.hasGroups ? "it" : "with an IOMMU it"
        if let unread = way.first(where: { topology.isolation(of: $0) == .unknown }) {
            return "whose IOMMU group \(would) would share the registers of \(name(unread)) would tell"
        }
        guard let open = way.first(where: { topology.isolation(of: $0) != .isolated }), let port = way.first else {
            return "\(would) would be alone in its IOMMU group"
        }
        return "\(would) would share the IOMMU group of \(name(port)): \(name(open)) \(why(open))"
    }

    /// The ACS of a port, or nil for a function that has no use for it.
    func accessControl(of i: Int) -> String? {
        let function = topology.functions[i]
        let type = function.capabilities.express?.portType
        let isPort = type == .rootPort || type == .downstreamPort
        switch function.accessControl {
        case .present(let acs): return isPort || !acs.capabilities.isEmpty ? "ACS \(acs.control.signs)" : nil
        case .absent: return isPort && topology.isolation(of: i) != .isolated ? "no ACS" : nil
        case .unread: return isPort && function.capabilities.hasACS ? "ACS not read" : nil
        }
    }

    /// Who reaches whom across the switch below the upstream port at index `i`, or nil where nobody has a sibling.
    func peers(of i: Int) -> String? {
        guard let found = routes.first(where: { $0.upstream == i }), found.ports.contains(where: { $0.way != .unknown })
        else { return nil }
        func ports(_ way: PeerRoutes.Way) -> [Int] { found.ports.filter { $0.way == way }.map(\.index) }
        var parts: [String] = []
        let direct = ports(.direct)
        let redirected = ports(.redirected)
        let unknown = ports(.unknown)
        if !direct.isEmpty { parts.append("across the switch from below \(list(direct))") }
        if !redirected.isEmpty { parts.append("by way of the root complex from below \(list(redirected))") }
        if !unknown.isEmpty { parts.append("not told from below \(list(unknown)), whose ACS was not read") }
        return "requests to siblings: " + parts.joined(separator: "; ")
    }

    /// Something that a function offers beyond BARs.
    struct Service {
        /// The field's name for it.
        var name: String
        /// Whether it is switched on; nil where it has no switch, or where the switch was not read.
        var isOn: Bool?
    }

    /// What the function offers and uses beyond BARs, or nil.
    func services(of i: Int) -> String? {
        let words = Self.services(topology.functions[i]).map { one in
            one.isOn.map { "\(one.name) \($0 ? "on" : "off")" } ?? one.name
        }
        return words.isEmpty ? nil : words.joined(separator: ", ")
    }

    /// What a function offers beyond BARs.
    static func services(_ function: Function) -> [Service] {
        let capabilities = function.capabilities
        var result: [Service] = []
        func service(_ name: String, _ isOn: Bool?, isPresent: Bool) {
            guard isPresent else { return }
            result.append(Service(name: name, isOn: function.areSettingsTold ? isOn : nil))
        }
        service("AER", nil, isPresent: capabilities.hasExtended(0x01))
        service("DPC", capabilities.portContainment?.isEnabled, isPresent: capabilities.hasExtended(0x1d))
        service("ARI", nil, isPresent: capabilities.hasARI)
        service("ATS", capabilities.addressTranslation?.isEnabled, isPresent: capabilities.hasExtended(0x0f))
        service("PRI", capabilities.pageRequests?.isEnabled, isPresent: capabilities.hasExtended(0x13))
        service("PASID", capabilities.processAddressSpaces?.isEnabled, isPresent: capabilities.hasExtended(0x1b))
        service("multicast", nil, isPresent: capabilities.hasExtended(0x12))
        service("DOE", nil, isPresent: capabilities.hasExtended(0x2e))
        service("FPB", nil, isPresent: capabilities.standard.contains { $0.id == 0x15 })
        if let link = capabilities.computeExpressLink {
            service("CXL.mem", link.isMemoryEnabled, isPresent: link.hasMemory)
            service("CXL", nil, isPresent: !link.hasMemory)
        }
        service("non-transparent bridge", nil, isPresent: function.isNonTransparentBridge)
        return result
    }

    /// Which side of a non-transparent bridge the function is, with its windows and its link; nil for any other.
    func bridgeToAnotherHost(_ i: Int) -> String? {
        guard let bridge = topology.functions[i].nonTransparentBridge else { return nil }
        var parts = ["non-transparent bridge, \(bridge.kind.rawValue)", "link \(bridge.link.rawValue)"]
        guard let windows = bridge.windows else {
            parts.append("which BARs are its windows is not told")
            return parts.joined(separator: "; ")
        }
        for window in windows {
            let size = window.size?.description ?? "of unknown size"
            let alignment = window.translationAlignment.map { "on \($0)" } ?? "on its own size"
            parts.append("window BAR \(window.bar) \(size), translated to addresses \(alignment)")
        }
        return parts.joined(separator: "; ")
    }

    /// The sizes of payloads and read requests, or nil.
    func sizes(of i: Int) -> String? {
        let function = topology.functions[i]
        guard function.areSettingsTold, let express = function.capabilities.express,
            let request = express.maxReadRequestSize
        else { return nil }
        let most = function.knowledge.registers == .seen ? " of \(express.maxPayloadSupported)" : ""
        let ordering = [
            ("relaxed ordering", express.isRelaxedOrderingOn), ("no snoop", express.isNoSnoopOn),
            ("8-bit tags", express.isExtendedTagOn),
        ]
        .filter { $0.1 == true }.map { ", \($0.0)" }.joined()
        return "payload \(express.maxPayloadSize)\(most) bytes, read requests \(request)\(ordering)"
    }

    /// The groups of several functions, the routes between siblings, and what was recorded otherwise, a line each.
    func summary() -> [String] {
        var lines: [String] = []
        if topology.hasGroups {
            for members in groups.members where members.count > 1 && members.allSatisfy({ groups.isCertain[$0] }) {
                guard let last = members.last(where: { groups.reasons[$0] != .own }), !contradicted.contains(last)
                else {
                    continue
                }
                let number = topology.functions[last].use.iommuGroup.map { " \($0)" } ?? ""
                lines.append("IOMMU group\(number): \(list(members))\(reason(last))")
            }
            if !contradicted.isEmpty {
                lines.append(
                    "IOMMU groups of \(list(contradicted.sorted())): not what the kernel's rule makes of their ACS; a changed "
                        + "kernel, firmware or another IOMMU driver decides"
                )
            }
        }
        for route in routes {
            if let text = peers(of: route.upstream) { lines.append("\(name(route.upstream)): \(text)") }
        }
        return lines
    }
}
