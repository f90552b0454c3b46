// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology

/// The tree as text: host bridges with apertures, bridges with buses and windows, functions with resources.
struct TreeText {
    let topology: Topology
    var selection: Selection?
    var addresses: AddressStyle
    var verbosity: Int
    var style: Style
    private let names: DeviceNames?
    private var page: TextPage
    /// Groups and routes; nil where they are not shown.
    private let isolation: IsolationText?
    /// For each function, what was found about it.
    private let findings: [[Finding]]
    /// For each function, how many VFs it has.
    private let virtualCounts: [Int]
    /// For each bridge, the windows (bit 0 for index 13) above a BAR that has no address.
    private let wantedWindows: [UInt8]

    init(
        _ topology: Topology,
        findings: [Finding],
        selection: Selection? = nil,
        addresses: AddressStyle,
        verbosity: Int = 0,
        style: Style = .plain,
        columns: Int = 80,
        names: DeviceNames? = nil
    ) {
        self.names = names
        self.topology = topology
        self.findings = group(findings, by: topology)
        virtualCounts = Self.virtualCounts(topology)
        wantedWindows = Self.wantedWindows(topology, findings)
        isolation = verbosity > 0 ? IsolationText(topology) : nil
        self.selection = selection
        self.addresses = addresses
        self.verbosity = verbosity
        self.style = style
        page = TextPage(columns: columns)
    }

    private static func virtualCounts(_ topology: Topology) -> [Int] {
        var counts = Array(repeating: 0, count: topology.functions.count)
        for function in topology.functions {
            guard let physical = function.physicalFunction, let i = topology.position(of: physical) else { continue }
            counts[i] += 1
        }
        return counts
    }

    private static func wantedWindows(_ topology: Topology, _ findings: [Finding]) -> [UInt8] {
        var wanted = Array(repeating: UInt8(0), count: topology.functions.count)
        for finding in findings where finding.severity == .problem {
            guard [.barUnassigned, .barWiped, .barLost].contains(finding.code), let index = finding.resource,
                let i = topology.position(of: finding.address), let bar = topology.functions[i].resource(index)
            else { continue }
            for p in topology.ancestors(of: i) {
                guard let window = topology.window(ofBridge: p, carrying: bar) else { continue }
                wanted[p] |= 1 << (window.index.rawValue - 13)
            }
        }
        return wanted
    }

    /// The text.
    mutating func render() -> String {
        let shown = visible()
        for h in topology.hostBridges.indices {
            guard topology.roots(of: h).contains(where: { shown.path[$0] }) || selection == nil else { continue }
            renderHost(h)
            for root in topology.roots(of: h) { renderFunction(root, depth: 1, shown) }
        }
        return page.text
    }

    /// Which functions are printed in full, and which only as the way to one of those.
    private struct Visibility {
        var full: [Bool]
        var path: [Bool]
    }

    private func visible() -> Visibility {
        let count = topology.functions.count
        guard let selection else {
            let all = Array(repeating: true, count: count)
            return Visibility(full: all, path: all)
        }
        var full = Array(repeating: false, count: count)
        var path = full
        for i in 0..<count where selection.contains(topology.functions[i].address) {
            for j in topology.subtree(of: i) {
                full[j] = true
                path[j] = true
            }
            for j in topology.ancestors(of: i) { path[j] = true }
        }
        return Visibility(full: full, path: path)
    }

    // MARK: Host bridges

    private mutating func renderHost(_ h: Int) {
        let host = topology.hostBridges[h]
        let taken = topology.roots(of: h).reduce(1) { $0 + (topology.functions[$1].bridge?.busRange?.count ?? 0) }
        let name = host.name
        let slots: String? =
            switch host.slotDriver {
            case .pciehp, .acpiphp, .shpchp, .other: "hot-plug by \(host.slotDriver.rawValue)"
            case .nobody, .unknown: nil
            }
        page.line(
            [
                Piece("host bridge \(name)", style: style.name),
                Piece(host.busRange.description, gap: 1),
                Piece("\(max(host.busRange.count - taken, 0)) free", gap: 1, style: style.faint),
            ] + (slots.map { [Piece($0, gap: 1)] } ?? []),
            indent: 0,
            hanging: 4
        )
        if host.source == .unknown {
            page.line([Piece("apertures unknown", style: style.faint)], indent: 4, hanging: 6)
        }
        for aperture in host.apertures {
            let space = topology.occupancy(of: aperture, host: h)
            page.line([Piece(aperture.kernelText)] + room(space), indent: 4, hanging: 8)
            guard verbosity > 0 else { continue }
            for holder in space.holders {
                guard case .blocker(let b) = holder.owner else { continue }
                let text = "held by \(topology.blockers[b].name): \(holder.range)"
                page.line([Piece(text, style: style.faint)], indent: 8, hanging: 10)
            }
        }
    }

    private func room(_ space: Occupancy) -> [Piece] {
        var pieces = [Piece("\(ByteCount(space.range.clampedSize)),")]
        let free = space.freeBytes
        if free == .zero {
            pieces.append(Piece("full", gap: 1, style: style.faint))
        } else {
            let block = space.largestFreeBlock
            pieces.append(Piece(free == block ? "\(free) free" : "\(free) free (block \(block))", gap: 1))
        }
        return pieces
    }

    // MARK: Functions

    private mutating func renderFunction(_ i: Int, depth: Int, _ shown: Visibility) {
        guard shown.path[i] else { return }
        let function = topology.functions[i]
        // VFs are shown as a count at their PF.
        if function.isVirtual && verbosity == 0 && selection == nil { return }
        let indent = 2 * depth
        let own = findings[i].filter { $0.resource == nil }
        headLine(i, indent: indent, own: own)
        if shown.full[i] {
            for finding in own where finding.severity == .problem || verbosity > 0 {
                mark(finding.sentence, indent: indent + 4, finding.severity)
            }
            // That host and ISA bridges are needed goes without saying.
            let isPlatform = function.identity.baseClass == 0x06
            for evidence in function.use.evidence where evidence.isProtected && !isPlatform || verbosity > 0 {
                // `idle` is said of the use, not of being in use.
                let title = evidence.isProtected ? "in use" : "use"
                page.paragraph("\(title): \(evidence.detail)", indent: indent + 4, hanging: indent + 6)
            }
            if verbosity > 0 { details(of: function, indent: indent + 4) }
            isolation(of: i, indent: indent + 4)
            for resource in function.resources { renderResource(resource, of: i, indent: indent + 4) }
        }
        for child in topology.children(of: i) { renderFunction(child, depth: depth + 1, shown) }
    }

    private mutating func headLine(_ i: Int, indent: Int, own: [Finding]) {
        let function = topology.functions[i]
        var pieces = [Piece(addresses.name(of: i, in: topology), style: style.name)]
        if function.isBridge {
            pieces.append(Piece(function.roleText, gap: 1))
        } else {
            if function.isVirtual { pieces.append(Piece("VF", gap: 1)) }
            pieces.append(Piece(function.identity.className, gap: 1))
        }
        if let text = names?.text(function.identity) ?? function.identity.name ?? function.identity.ids {
            pieces += Piece.words(text, style: style.faint)
        }
        if function.isBridge {
            if let range = function.bridge?.busRange {
                pieces.append(Piece(range.description, gap: 1))
                let below = topology.children(of: i).reduce(1) {
                    $0 + (topology.functions[$1].bridge?.busRange?.count ?? 0)
                }
                if range.count > below {
                    pieces.append(Piece("\(range.count - below) free", gap: 1, style: style.faint))
                }
            } else {
                pieces.append(Piece("no bus", gap: 1, style: style.problem))
            }
        }
        for word in slotWords(i) { pieces.append(Piece(word, gap: 1)) }
        let virtuals = virtualCounts[i]
        if virtuals > 0 { pieces.append(Piece("\(virtuals) \(virtuals == 1 ? "VF" : "VFs")", gap: 1)) }
        if let driver = function.use.driver { pieces.append(Piece("(\(driver))", gap: 1)) }
        let isBad = own.contains { $0.severity == .problem }
        page.line(pieces, indent: indent, hanging: indent + 4, mark: isBad ? Piece("!", style: style.problem) : nil)
    }

    private func slotWords(_ i: Int) -> [String] {
        let function = topology.functions[i]
        var words: [String] = []
        guard function.isBridge else {
            // The port above names the slot already.
            let above = topology.parent(of: i).flatMap { topology.functions[$0].capabilities.express?.slotCapabilities }
            if let slot = function.use.slot, above == nil { words.append("slot \(slot)") }
            return words
        }
        if let express = function.capabilities.express, express.isSlotImplemented, let slot = express.slotCapabilities {
            words.append("slot \(slot.physicalSlotNumber)")
        }
        if function.isHotPlugBridge {
            let surprise = function.capabilities.express?.slotCapabilities?.contains(.hotPlugSurprise) == true
            words.append(surprise ? "hot-plug surprise" : "hot-plug")
        }
        switch function.use.slotDriver {
        case .pciehp, .acpiphp, .shpchp, .other: words.append("by \(function.use.slotDriver.rawValue)")
        case .nobody where function.isHotPlugBridge: words.append("nobody listens")
        case .nobody, .unknown: break
        }
        if function.capabilities.express.map({ $0.portType == .rootPort || $0.portType == .downstreamPort }) == true,
            topology.children(of: i).isEmpty
        {
            // Empty is what was seen to be empty.
            let inside =
                switch topology.unknownReason(behind: i) {
                case nil: "empty"
                case .notScanned: "holds a card, not scanned"
                case .poweredOff: "holds a card, switched off"
                case .noBus, .hiddenRange, .claimedTwice, .notAnswering: "unseen inside"
                }
            words.append(inside)
        } else if topology.children(of: i).isEmpty, topology.unseenReason(behind: i) != nil {
            words.append("unseen inside")
        }
        return words
    }

    private mutating func details(of function: Function, indent: Int) {
        var pieces: [Piece] = []
        let identity = function.identity
        pieces.append(Piece("class \(bareHex(UInt64(identity.classCode), width: 6))"))
        if identity.subsystemVendor != 0 || identity.subsystemDevice != 0 {
            let vendor = bareHex(UInt64(identity.subsystemVendor), width: 4)
            pieces.append(Piece("subsystem \(vendor):\(bareHex(UInt64(identity.subsystemDevice), width: 4))"))
        }
        if let count = function.use.enableCount { pieces.append(Piece("enabled \(count)")) }
        if let group = function.use.iommuGroup { pieces.append(Piece("IOMMU group \(group)")) }
        if let node = function.use.numaNode { pieces.append(Piece("NUMA node \(node)")) }
        if let removable = function.use.removable { pieces.append(Piece(removable)) }
        if function.use.isUntrusted == true { pieces.append(Piece("untrusted")) }
        if function.bridge?.isSubtractive == true { pieces.append(Piece("subtractive decode")) }
        if let command = function.config.command {
            pieces.append(Piece("I/O\(command.contains(.ioSpace) ? "+" : "-")"))
            pieces.append(Piece("Mem\(command.contains(.memorySpace) ? "+" : "-")", gap: 1))
            pieces.append(Piece("BusMaster\(command.contains(.busMaster) ? "+" : "-")", gap: 1))
        }
        page.line(pieces, indent: indent, hanging: indent + 2)
        for bar in function.capabilities.resizableBARs {
            page.line(
                [Piece("BAR \(bar.bar) resizable:")] + sizes(of: bar),
                indent: indent,
                hanging: indent + 2
            )
        }
        for bar in function.capabilities.resizableVFBARs {
            page.line(
                [Piece("VF BAR \(bar.bar) resizable:")] + sizes(of: bar),
                indent: indent,
                hanging: indent + 2
            )
        }
        if let sriov = function.capabilities.sriov {
            page.line(
                [
                    Piece("SR-IOV: \(sriov.totalVFs) VFs, \(sriov.isEnabled ? sriov.numVFs : 0) enabled"),
                    Piece("offset \(sriov.firstOffset)"),
                    Piece("stride \(sriov.stride)"),
                ],
                indent: indent,
                hanging: indent + 2
            )
        }
    }

    /// What keeps the function apart from others, and what it offers beyond BARs.
    private mutating func isolation(of i: Int, indent: Int) {
        guard let isolation else { return }
        var lines = [isolation.group(of: i), isolation.peers(of: i)]
        if topology.functions[i].use.iommuGroup == nil, verbosity < 2 { lines[0] = nil }
        let facts = [isolation.accessControl(of: i), isolation.services(of: i), isolation.sizes(of: i)]
        lines.append(facts.compactMap(\.self).isEmpty ? nil : facts.compactMap(\.self).joined(separator: "; "))
        lines += [isolation.virtualFunction(of: i), isolation.bridgeToAnotherHost(i)]
        for line in lines.compactMap(\.self) { page.paragraph(line, indent: indent, hanging: indent + 2) }
    }

    /// `8 (256M)`, as everybody mistakes the exponent for something else; the size in force in angle brackets.
    private func sizes(of bar: ResizableBAR) -> [Piece] {
        bar.exponents.map { n in
            let size = ResizableBAR.size(ofExponent: n)?.description ?? "?"
            return Piece(n == bar.currentExponent ? "<\(n) (\(size))>" : "\(n) (\(size))", gap: 1)
        }
    }

    // MARK: Resources

    private mutating func renderResource(_ resource: Resource, of i: Int, indent: Int) {
        let found = findings[i].filter { $0.resource == resource.index }
        guard isShown(resource, found) else { return }
        var pieces = [Piece(label(resource.index), style: nil), Piece(resource.kernelText, gap: 1)]
        if resource.index.isWindow, let range = resource.range {
            let space = topology.occupancy(of: range, isIO: resource.flags.contains(.io), belowBridge: i)
            pieces += room(space)
        } else if !resource.index.isWindow {
            pieces.append(Piece(resource.size?.description ?? "size unknown"))
        }
        switch resource.assignment {
        case .assigned, .closed: break
        case .unassigned: pieces.append(Piece("no address", style: style.problem))
        case .wiped: pieces.append(Piece("no address, forgotten by the kernel", style: style.problem))
        case .unclaimed: pieces.append(Piece("not held by the kernel", style: style.problem))
        }
        if resource.isFixed && verbosity > 0 { pieces.append(Piece("fixed")) }
        let isBad = found.contains { $0.severity == .problem }
        page.line(
            pieces,
            indent: indent,
            hanging: indent + 4,
            mark: isBad ? Piece("!", style: style.problem) : nil
        )
        for finding in found where finding.code != .barUnassigned && finding.code != .barWiped {
            guard finding.severity == .problem || verbosity > 0, finding.code != .romUnassigned else { continue }
            mark(finding.sentence, indent: indent + 4, finding.severity)
        }
        if resource.index.isWindow, let range = resource.range,
            verbosity > 0 || wantedWindows[i] >> (resource.index.rawValue - 13) & 1 == 1
        {
            let space = topology.occupancy(of: range, isIO: resource.flags.contains(.io), belowBridge: i)
            let pins = topology.pins(of: space, isIO: resource.flags.contains(.io), below: i)
            if !pins.isEmpty { page.paragraph("pinned by \(pins)", indent: indent + 4, hanging: indent + 6) }
        }
    }

    private func isShown(_ resource: Resource, _ found: [Finding]) -> Bool {
        if found.contains(where: { $0.severity == .problem }) || verbosity > 0 { return true }
        switch resource.assignment {
        case .closed: return false
        case .unassigned, .wiped: return resource.index.isBAR
        case .assigned, .unclaimed: return true
        }
    }

    private mutating func mark(_ sentence: String, indent: Int, _ severity: Finding.Severity) {
        page.paragraph(severity == .problem ? "! \(sentence)" : sentence, indent: indent, hanging: indent + 2)
    }

    private func label(_ index: ResourceIndex) -> String {
        switch index {
        case .ioWindow, .memoryWindow, .prefetchableWindow: "window"
        default: index.description
        }
    }
}

/// The findings of each function, in order; by position in the topology.
func group(_ findings: [Finding], by topology: Topology) -> [[Finding]] {
    var groups = Array(repeating: [Finding](), count: topology.functions.count)
    for finding in findings {
        if let i = topology.position(of: finding.address) { groups[i].append(finding) }
    }
    return groups
}
