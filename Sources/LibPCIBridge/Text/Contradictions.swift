// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What in a topology does not fit together: addresses outside the windows above, bus numbers outside the range above,
/// overlaps.
///
/// Texts are often of different moments, and firmware leaves odd things; a contradiction is a finding with its likely
/// explanation, not a reason to refuse the text.
public struct Contradictions: Hashable, Sendable {
    /// The findings in address order.
    public private(set) var findings: [TextFinding] = []
    /// How many assigned resources were looked at.
    public private(set) var resourceCount = 0
    /// How many of them lie where they must.
    public private(set) var fittingCount = 0

    /// Looks for contradictions in `topology`.
    /// - Complexity: O(n log n) in the number of resources, for trees of bounded depth.
    public init(_ topology: Topology) {
        for i in topology.functions.indices {
            checkBuses(topology, i)
            checkResources(topology, i)
        }
        for i in topology.functions.indices { checkOverlaps(topology, topology.children(of: i)) }
        for h in topology.hostBridges.indices { checkOverlaps(topology, topology.roots(of: h)) }
    }

    private mutating func checkBuses(_ topology: Topology, _ i: Int) {
        let function = topology.functions[i]
        if let registers = function.bridge?.registers, registers.subordinate < registers.secondary {
            findings.append(
                TextFinding(
                    .busOutsideRange,
                    function.address,
                    "its secondary bus \(registers.secondary) lies above its subordinate bus \(registers.subordinate): firmware "
                        + "left numbers that are no range"
                )
            )
            return
        }
        guard let own = function.bridge?.busRange else { return }
        if let p = topology.parent(of: i) {
            guard let above = topology.functions[p].bridge?.busRange, !above.contains(own) else { return }
            findings.append(
                TextFinding(
                    .busOutsideRange,
                    function.address,
                    "its \(own) lies outside \(above) of \(topology.functions[p].address) above it: what is beyond cannot "
                        + "be reached; firmware left these numbers"
                )
            )
            return
        }
        let h = topology.host(of: i)
        if h >= 0, h < topology.hostBridges.count, !topology.hostBridges[h].busRange.contains(own) {
            let range = topology.hostBridges[h].busRange
            findings.append(
                TextFinding(
                    .busOutsideRange,
                    function.address,
                    "its \(own) lies outside \(range) of the host bridge; firmware left these numbers, or the log names "
                        + "fewer than there are"
                )
            )
        } else if let registers = function.bridge?.registers, registers.primary != function.address.bus {
            findings.append(
                TextFinding(
                    .busOutsideRange,
                    function.address,
                    "its primary bus register reads \(registers.primary), and it sits on bus \(function.address.bus)"
                )
            )
        }
    }

    private mutating func checkResources(_ topology: Topology, _ i: Int) {
        let function = topology.functions[i]
        let p = topology.parent(of: i)
        for resource in function.resources {
            guard let range = resource.shownRange, let kind = resource.kind, resource.size != nil else { continue }
            resourceCount += 1
            let holders = p.map { windows(of: topology.functions[$0], for: kind) } ?? apertures(topology, i, kind)
            guard let holders else {
                fittingCount += 1
                continue
            }
            if holders.contains(where: { $0.contains(range) }) {
                fittingCount += 1
                continue
            }
            findings.append(
                TextFinding(
                    .outsideWindow,
                    function.address,
                    "\(resource.index) \(resource.kernelText) lies outside what "
                        + (p.map { "\(topology.functions[$0].address) above it forwards" } ?? "the host bridge decodes")
                        + "; \(explanation(function, resource, above: p.map { topology.functions[$0] }, range: range))"
                )
            )
        }
    }

    /// The windows that may hold a resource of `kind`; nil when the bridge forwards everything.
    private func windows(of bridge: Function, for kind: ResourceKind) -> [AddressRange]? {
        if bridge.bridge?.isSubtractive == true { return nil }
        var ranges: [AddressRange] = []
        for resource in bridge.resources where resource.index.isWindow {
            guard let range = resource.range, let held = resource.kind else { continue }
            if held == kind || kind == .prefetchable && held == .memory || kind == .memory && held == .prefetchable {
                ranges.append(range)
            }
        }
        return ranges
    }

    /// The apertures that may hold a resource of `kind`; nil when no source names any.
    private func apertures(_ topology: Topology, _ i: Int, _ kind: ResourceKind) -> [AddressRange]? {
        let h = topology.host(of: i)
        guard h >= 0, h < topology.hostBridges.count else { return nil }
        let host = topology.hostBridges[h]
        let ranges = host.apertures.filter { $0.isIO == (kind == .io) }.map(\.range)
        return host.source == .unknown || ranges.isEmpty ? nil : ranges
    }

    private func explanation(_ function: Function, _ resource: Resource, above: Function?, range: AddressRange)
        -> String
    {
        if resource.index.isROM {
            return range.first < 0x10_0000
                ? "a display's ROM is shadowed in low memory" : "a ROM that is switched off need not have a place"
        }
        if function.identity.classWord == 0x0800 || function.identity.baseClass == 0x06 && !function.isBridge {
            return "the kernel leaves such functions where firmware put them"
        }
        if function.capabilities.enhancedAllocation.contains(where: { $0.range == range }) {
            return "it is fixed in hardware by Enhanced Allocation"
        }
        if range.first > 0xffff_ffff,
            let low = AddressRange(first: range.first & 0xffff_ffff, last: range.last & 0xffff_ffff),
            above?.resources.contains(where: { $0.index.isWindow && $0.range?.contains(low) == true }) == true
        {
            return "older lspci prints windows in bus addresses and BARs in CPU addresses; the kernel log tells both"
        }
        if above?.resources.contains(where: { $0.index.isWindow && $0.kind == resource.kind && $0.lacksAddress })
            == true
        {
            return "the window above it begins at address 0, which counts as not assigned"
        }
        if resource.index.isWindow { return "the texts may be of different moments, or firmware left it so" }
        if above == nil {
            return "firmware placed it outside the apertures it names, or an aperture is missing from the text"
        }
        if case .unclaimed = resource.assignment {
            return "the kernel does not hold it; the register still shows the address"
        }
        return "the texts may be of different moments, or firmware left it so"
    }

    private mutating func checkOverlaps(_ topology: Topology, _ siblings: [Int]) {
        var taken: [(range: AddressRange, isIO: Bool, owner: FunctionAddress, index: ResourceIndex)] = []
        for i in siblings {
            let function = topology.functions[i]
            for resource in function.resources {
                // A ROM that is off and a BAR of unknown size cannot be in anybody's way.
                guard !resource.index.isROM, resource.size != nil, let range = resource.shownRange,
                    let kind = resource.kind
                else { continue }
                taken.append((range, kind == .io, function.address, resource.index))
            }
        }
        taken.sort { ($0.isIO ? 0 : 1, $0.range) < ($1.isIO ? 0 : 1, $1.range) }
        for j in 1..<max(taken.count, 1) {
            let a = taken[j - 1]
            let b = taken[j]
            guard a.isIO == b.isIO, a.owner != b.owner, a.range.overlaps(b.range) else { continue }
            findings.append(
                TextFinding(
                    .overlap,
                    b.owner,
                    "\(b.index) \(b.range) overlaps \(a.index) \(a.range) of \(a.owner): one of the two does not answer, or "
                        + "the texts are of different moments"
                )
            )
        }
    }
}

extension TextEvidence {
    /// Whether the bytes, the first part of a file, hold text that this reader knows.
    public static func recognises(_ head: [UInt8]) -> Bool { TextEvidence(bytes: head).isRecognised }

    /// Whether anything about PCI was read, or a kernel log that says nothing of it.
    var isRecognised: Bool { !isEmpty || lineCounts.kernel > lineCounts.other }

    /// The recogniser of these texts, for `Evidence`.
    public static let recogniser = Evidence.Recogniser(name: "text") { recognises($0) }
}
