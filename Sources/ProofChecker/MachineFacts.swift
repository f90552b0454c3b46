// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Holds what a certificate says against a machine.
///
/// What would make room smaller than it is, or needs greater, is a difference; the reverse proves more than is claimed.
struct MachineFacts {
    let topology: Topology
    let certificate: Certificate
    private(set) var differences: [String] = []
    private var host: HostBridge?

    init(_ topology: Topology, _ certificate: Certificate) {
        self.topology = topology
        self.certificate = certificate
    }

    mutating func check() {
        let fingerprint = TreeState(topology).fingerprint
        if fingerprint != certificate.fingerprint {
            differences.append(
                "it was made for the tree \(hex(certificate.fingerprint, width: 16)), this is \(hex(fingerprint, width: 16))"
            )
        }
        if !certificate.conflicts.isEmpty { checkHost() }
        for bridge in certificate.bridges { check(bridge) }
        for member in certificate.conflicts.joined() { check(member) }
        for device in certificate.devices where topology[device.function] == nil {
            differences.append("there is no \(device.function)")
        }
    }

    private mutating func checkHost() {
        host = topology.hostBridges.first {
            $0.name == certificate.host
        }
        guard let host else { return differences.append("there is no host bridge \(certificate.host)") }
        if host.source == .unknown { differences.append("what \(certificate.host) decodes is not known") }
        for aperture in host.apertures {
            guard let range = aperture.busRange, let kind = ResourceKind(aperture.flags) else { continue }
            if !certificate.apertures.contains(where: { $0.range == range && ($0.kind == kind || $0.kind == .memory) })
            {
                differences.append("\(certificate.host) decodes \(range) too")
            }
        }
        if let numbers = AddressRange(
            first: UInt64(host.busRange.first.rawValue) + 1,
            last: UInt64(host.busRange.last.rawValue)
        ), needsBuses, certificate.busNumbers != numbers {
            differences.append("\(certificate.host) has the bus numbers \(host.busRange)")
        }
    }

    private var needsBuses: Bool {
        certificate.conflicts.joined().contains { $0.kind == .bus || $0.kind == .busNumbers }
    }

    private mutating func check(_ bridge: Certificate.Bridge) {
        guard let position = topology.position(of: bridge.function), topology.functions[position].isBridge else {
            return differences.append("there is no bridge \(bridge.function)")
        }
        let above = topology.parent(of: position).map { topology.functions[$0].address }
        if above != bridge.parent.map({ certificate.bridges[$0].function }) {
            differences.append("\(bridge.function) is below \(above?.description ?? "a root bus")")
        }
        for kind in Certificate.WindowKind.allCases {
            guard let index = kind.index, let resource = topology.functions[position].resource(index) else { continue }
            guard let window = bridge.windows.first(where: { $0.kind == kind }) else {
                differences.append("\(bridge.function) has the \(index)")
                continue
            }
            let most: UInt64 = kind == .io ? 0x1000 : 0x10_0000
            if window.granule > most { differences.append("\(bridge.function) \(index) has steps of \(hex(most))") }
            let reach = kind == .prefetchable && resource.is64Bit ? UInt64.max : 0xffff_ffff
            if window.limits.first > 0 || window.limits.last < reach {
                differences.append("\(bridge.function) \(index) reaches from 0 to \(hex(reach))")
            }
        }
    }

    private mutating func check(_ member: Certificate.Member) {
        for i in member.holders where topology[certificate.devices[i].function] == nil {
            differences.append("there is no \(certificate.devices[i].function)")
        }
        switch member.role {
        case .obstacle(let range): checkObstacle(member.label, range)
        case .window(let range): checkWindow(member, range)
        case .stay(let range): checkStay(member, range)
        case .place(let size, let alignment, let limits): checkNeed(member, size, alignment, limits)
        }
    }

    private mutating func checkObstacle(_ label: String, _ range: AddressRange) {
        let isThere = topology.blockers.contains { blocker in
            topology.hostBridges.contains { host in
                host.apertures.contains { aperture in
                    aperture.offset != .min
                        && aperture.range.intersection(blocker.range)?.shifted(by: -aperture.offset)?.contains(range)
                            == true
                }
            }
        }
        if !isThere { differences.append("nothing is known to hold \(range) (\(label))") }
    }

    private mutating func checkWindow(_ member: Certificate.Member, _ range: AddressRange?) {
        guard let bridge = member.bridge.map({ certificate.bridges[$0] }), let function = topology[bridge.function],
            let index = Certificate.WindowKind(member.kind)?.index
        else { return }
        let now = function.resource(index)?.range.flatMap { busRange($0, member.kind) }
        if now != range { differences.append("\(bridge.function) \(index) is \(now?.description ?? "closed")") }
    }

    private mutating func checkStay(_ member: Certificate.Member, _ range: AddressRange) {
        checkPlace(member)
        guard let name = member.resource else {
            guard member.kind == .bus || member.kind == .busNumbers else {
                return differences.append("\(member.label) is no resource of a function")
            }
            return
        }
        let now = topology[name.function]?.resource(name.index)?.range.flatMap { busRange($0, member.kind) }
        if now != range {
            differences.append("\(name.function) \(name.index) holds \(now?.description ?? "nothing"), not \(range)")
        }
    }

    private mutating func checkNeed(
        _ member: Certificate.Member,
        _ size: UInt64,
        _ alignment: UInt64,
        _ limits: AddressRange
    ) {
        checkPlace(member)
        guard let name = member.resource, let function = topology[name.function],
            let resource = function.resource(name.index)
        else { return }
        let bar = function.capabilities.resizableBARs.first { $0.bar == Int(name.index.rawValue) }
        let isSize =
            resource.size?.rawValue == size
            || bar?.exponents.contains { ResizableBAR.size(ofExponent: $0)?.rawValue == size } == true
        if !isSize {
            differences.append("\(name.function) \(name.index) needs \(resource.size?.description ?? "nothing")")
        }
        let most = max(resource.alignment?.rawValue ?? size, bar == nil ? 0 : size)
        if alignment > most { differences.append("\(name.function) \(name.index) is aligned to \(ByteCount(most))") }
        var reach = member.kind != .io && !resource.is64Bit ? 0xffff_ffff : UInt64.max
        if member.kind != .io, let highest = certificate.highestAddress { reach = min(reach, highest) }
        if limits.first > 0 || limits.last < reach {
            differences.append("\(name.function) \(name.index) may lie from 0 to \(hex(reach)), not only in \(limits)")
        }
        if member.kind == .memory, resource.kind == .prefetchable {
            differences.append("\(name.function) \(name.index) is prefetchable")
        }
    }

    /// Whether a resource lies behind the bridge that the certificate names.
    private mutating func checkPlace(_ member: Certificate.Member) {
        guard let name = member.resource else { return }
        guard let position = topology.position(of: name.function) else {
            return differences.append("there is no \(name.function)")
        }
        let above = topology.parent(of: position).map { topology.functions[$0].address }
        if above != member.bridge.map({ certificate.bridges[$0].function }) {
            differences.append("\(name.function) is behind \(above?.description ?? "no bridge")")
        }
    }

    private func busRange(_ range: AddressRange, _ kind: Certificate.Member.Kind) -> AddressRange? {
        guard let host else { return range }
        let aperture = host.apertures.first { $0.isIO == (kind == .io) && $0.range.contains(range) }
        return aperture?.offset == .min ? nil : range.shifted(by: -(aperture?.offset ?? 0))
    }
}
