// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What check says of an input: the findings about its tree together with what its kernel log reports, what was not told,
/// and what points to a cause outside the address space.
///
/// The rules are the ground floor's (`Topology.findings`, `Topology.unknowns`) and triage's; this joins them, so that no
/// function is told one thing by its tree and another by its log.
public struct Assessment: Sendable {
    /// Everything that a person should know, that of the tree first, in its order.
    public let findings: [Finding]
    /// What a verdict of health would need and nobody told; where it is healthy nevertheless, what lies outside the part
    /// that was told.
    public let unknowns: [Unknown]
    /// The verdict.
    public let verdict: TreeVerdict
    /// Messages that point to a cause outside the address space; empty where a BAR of the same function is a problem.
    public let signs: [CauseSign]
    /// Root ports behind which nothing answers, on host bridges that have nothing else: a link that is down looks so.
    public let emptyPorts: [FunctionAddress]
    /// What triage says of the failing lines of a log joined from texts, where none of them matters; else empty.
    public let harmless: [Triage.Group]

    /// The sizes that BARs were refused and that nothing else has to do with.
    public let refusals: [RefusedSize]

    /// What /proc/iomem says of buses and their windows, where nothing tells of functions; else empty.
    public private(set) var ranges: [BusShare] = []

    /// How a cause begins that quotes the kernel.
    public static let ownWords = "the kernel's own words"

    /// Joins what a record and its tree tell.
    /// - Complexity: that of `Topology.findings()` and of `Triage`.
    public init(_ record: MachineRecord, _ topology: Topology) {
        self.init(topology, log: record.kernelLog ?? [], iomem: record.iomem, isText: record.origin == .text)
        if topology.functions.isEmpty { ranges = record.iomem.map { IomemText($0).busShares() } ?? [] }
    }

    /// Joins a tree with a log.
    ///
    /// - Parameters:
    ///   - topology: the tree.
    ///   - log: the kernel log's messages; empty without one.
    ///   - iomem: /proc/iomem, which names holders of addresses; nil without.
    ///   - isText: whether the tree was put together from texts, so that a report of the log may be all that there is.
    package init(_ topology: Topology, log: [String] = [], iomem: String? = nil, isText: Bool = false) {
        var findings = topology.findings()
        let triage = isText && !log.isEmpty ? Triage((log + [iomem ?? ""]).joined(separator: "\n")) : nil
        if let triage { Self.join(triage, to: &findings, topology) }
        self.findings = findings
        // A failure of a device that nobody names is no finding about one, and no health either.
        let nameless = (triage?.groups ?? []).filter {
            $0.severity == .fatal && $0.address == nil && $0.firstUnreachable == nil
                && $0.code == "driver-reports-no-bar"
                && !findings.contains { $0.code == .kernelReport }
        }
        unknowns =
            nameless.map {
                Unknown(.functionsNotRead, [], "of which device the log says that \($0.summary)", [.listing, .log])
            } + topology.unknowns() + topology.reservations()
        let verdict = topology.verdict(of: findings)
        self.verdict = verdict == .healthy && !nameless.isEmpty ? .cannotTell : verdict
        let troubled = Set(findings.filter { $0.severity == .problem }.map(\.address))
        // What a driver reports of a function that lacks room comes of that; a report without address may do so, too.
        let short = troubled.union(
            findings.filter { [.kernelReport, .resizeRefused].contains($0.code) }.map(\.address)
        )
        let groups = triage?.groups ?? []
        refusals = groups.compactMap(\.refused).filter { !troubled.contains($0.address) }
        harmless = groups.contains { $0.severity != .harmless } ? [] : groups
        signs =
            groups.filter { $0.code == "claimed-later" }
            .map { CauseSign(area: .device, address: $0.address, message: $0.sample) }
            + CauseSign.signs(in: log).filter { sign in
                guard let address = sign.address else { return sign.area != .driver || short.isEmpty }
                return !(sign.area == .driver ? short : troubled).contains(address)
            }
        emptyPorts = Self.emptyPorts(topology)
    }

    /// Adds the kernel's own words to the findings about a resource, and its reports about functions of which the tree
    /// shows nothing wrong although it does not show the contrary.
    private static func join(_ triage: Triage, to findings: inout [Finding], _ topology: Topology) {
        for i in findings.indices {
            guard let index = findings[i].resource,
                let group = triage.groups.first(where: {
                    $0.address == findings[i].address && $0.resource == "\(index)" && $0.claim != nil
                }), let claim = group.claim
            else { continue }
            findings[i].causes.insert("\(ownWords): \(claim)", at: 0)
        }
        // A window that was missed stands with the function that goes without.
        for group in triage.groups {
            guard let loser = group.consequenceFor, let bridge = group.address,
                let i = findings.firstIndex(where: { $0.address == loser && $0.severity == .problem }),
                !findings.contains(where: { $0.address == bridge && $0.severity == .problem })
            else { continue }
            findings[i].causes.append("\(bridge) \(group.resource): \(group.summary)")
        }
        let told = Set(findings.filter { $0.severity == .problem }.map(\.address))
        for one in triage.groups where one.consequenceFor == nil {
            let isReport = one.code == "driver-reports-no-bar"
            var named = one
            if isReport, one.address == nil {
                named.address = Triage.onlyNVIDIA(
                    topology.functions.map {
                        ($0.address, $0.identity.vendor, $0.identity.name, $0.identity.classWord)
                    }
                )
            }
            // The tree may know of BARs what the log alone does not.
            let group = isReport && isContradicted(named, topology) ? named.contradicted() : named
            guard let address = group.address ?? group.firstUnreachable else { continue }
            let isAboutBus = group.address == nil
            let causes = [group.cause].compactMap { $0 } + ["\(ownWords): \(group.sample)"]
            let sentence = isAboutBus ? group.summary : "\(group.resource): \(group.summary)"
            if group.code == "resize-refused" {
                // What the tree shows without an address keeps no size.
                let lacks = topology[address]?.resources.contains {
                    "\($0.index)" == group.resource && $0.lacksAddress
                }
                if lacks == true { continue }
                findings.append(Finding(.resizeRefused, .note, at: address, sentence, causes: causes))
            } else if let severity = severity(of: group, address, told: told, topology),
                // The tree knows more of a function than the log alone: what it calls a note is one.
                !findings.contains(where: { $0.address == address && $0.resource.map { "\($0)" } == group.resource })
            {
                var finding = Finding(.kernelReport, severity, at: address, sentence, causes: causes)
                finding.isAboutBus = isAboutBus
                findings.append(finding)
            }
        }
    }

    /// How bad what a log says of a function is where its tree shows nothing wrong; nil where it is nothing.
    private static func severity(
        of group: Triage.Group,
        _ address: FunctionAddress,
        told: Set<FunctionAddress>,
        _ topology: Topology
    ) -> Finding.Severity? {
        guard group.severity != .harmless, !told.contains(address),
            isBesideAddresses(group) || !isContradicted(group, topology)
        else { return nil }
        return group.severity == .fatal ? .problem : .note
    }

    /// Whether a group is about something that a resource with an address may lack as well.
    private static func isBesideAddresses(_ group: Triage.Group) -> Bool {
        [
            "bar-in-use", "vf-memory", "vf-bus-range", "pinned", "bar-unusable", "bar-cannot-size",
            "bar-not-answering", "driver-report-contradicted", "rom-missed",
        ].contains(group.code)
    }

    /// Whether the tree shows the resource of a group, or all of its function, in place.
    private static func isContradicted(_ group: Triage.Group, _ topology: Topology) -> Bool {
        guard let address = group.address, let i = topology.position(of: address) else { return false }
        let function = topology.functions[i]
        if group.resource.hasSuffix(" window"), function.isBridge {
            // What a port lacks, nobody misses where everything behind it was seen in place.
            return function.knowledge.windows == .seen
                && topology.subtree(of: i).dropFirst().allSatisfy { j in
                    topology.functions[j].knowledge.resources == .seen
                        && !topology.functions[j].resources.contains { $0.index.isBAR && $0.lacksAddress }
                }
        }
        let bars = function.resources.filter(\.index.isBAR)
        if let one = bars.first(where: { "\($0.index)" == group.resource }) { return one.range != nil }
        if group.resource == "bus numbers" { return function.bridge?.busRange != nil }
        return !bars.isEmpty && bars.allSatisfy { $0.range != nil }
    }

    private static func emptyPorts(_ topology: Topology) -> [FunctionAddress] {
        var result: [FunctionAddress] = []
        // Nor does an excerpt tell what is behind.
        guard topology.onlyDescribed == nil else { return [] }
        // What a log that was cut has not come to, or has forgotten, may be there.
        guard !topology.gaps.contains(where: { $0.code == "log-cut-at-end" || $0.code == "log-cut-at-start" }) else {
            return []
        }
        for h in topology.hostBridges.indices {
            let all = topology.roots(of: h).flatMap { topology.subtree(of: $0) }
            guard !all.isEmpty, all.allSatisfy({ topology.functions[$0].capabilities.express?.portType == .rootPort })
            else { continue }
            result += all.map { topology.functions[$0] }.filter { $0.bridge?.busRange != nil }.map(\.address)
        }
        return result
    }
}
