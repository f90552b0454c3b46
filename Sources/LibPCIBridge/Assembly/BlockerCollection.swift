// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What holds addresses inside apertures and is not a resource of the tree.
struct BlockerCollection {
    let tree: TreePlacement
    let hosts: [HostBridge]
    let functions: [Function]
    let memory: IomemText?
    let io: IomemText?
    let firmwareMap: [FirmwareMapEntry]
    let usesE820: Bool?

    /// The blockers in ascending order, I/O first.
    func blockers() -> [Blocker] {
        nodes(io, isIO: true) + nodes(memory, isIO: false) + firmwareEntries()
    }

    /// What is missing: whether the allocator avoids the firmware's entries.
    var gap: ReadingGap? {
        guard usesE820 == nil, !firmwareMap.isEmpty, !firmwareEntries().isEmpty else { return nil }
        return ReadingGap(
            code: "e820-mode",
            detail:
                "the kernel log does not say whether the allocator avoids E820 entries; they are taken as in the way"
        )
    }

    /// The nodes directly below apertures that are neither a window nor a BAR of a function in the tree.
    ///
    /// A node with the name of a function may be none of its resources: chipset quirks claim I/O ranges under the
    /// function's name (`quirk_io_region`), beyond the lines that sysfs prints.
    private func nodes(_ text: IomemText?, isIO: Bool) -> [Blocker] {
        guard let text, !text.isZeroed else { return [] }
        var isAperture = [Bool](repeating: false, count: text.nodes.count)
        for root in tree.roots {
            for node in ApertureNodes(tree).find(root, in: text) { isAperture[node] = true }
        }
        // An aperture that the log names and that holds nothing of the tree yet.
        let told = Set(hosts.flatMap(\.apertures).filter { $0.isIO == isIO }.map(\.range))
        for (i, node) in text.nodes.enumerated() where told.contains(node.range) { isAperture[i] = true }
        var claimed = Set<AddressRange>()
        for f in functions {
            for r in f.resources where (r.kind == .io) == isIO {
                if let range = r.shownRange { claimed.insert(range) }
            }
        }
        var result: [Blocker] = []
        for node in text.nodes {
            guard let parent = node.parent, isAperture[parent], !told.contains(node.range),
                !claimed.contains(node.range)
            else { continue }
            result.append(Blocker(range: node.range, isIO: isIO, name: node.name, source: .iomem))
        }
        return (result + expressLinkWindows(text, isIO: isIO, known: result)).sorted { $0.range < $1.range }
    }

    /// The windows that firmware keeps for CXL memory (CFMWS, `CXL Window 0`) where they reach into an aperture: the kernel
    /// puts them at the top of the tree and gives nothing of them to PCI.
    private func expressLinkWindows(_ text: IomemText, isIO: Bool, known: [Blocker]) -> [Blocker] {
        guard !isIO else { return [] }
        let apertures = hosts.flatMap(\.apertures).filter { !$0.isIO }
        return text.nodes.filter { node in
            node.name.hasPrefix("CXL Window") && apertures.contains { $0.range.overlaps(node.range) }
                && !known.contains { $0.range == node.range }
        }
        .map { Blocker(range: $0.range, isIO: false, name: $0.name, source: .iomem) }
    }

    /// The firmware's entries that overlap a memory aperture. The allocator avoids entries of every type
    /// (`remove_e820_regions`); which part of a gap it then uses is the twin's business.
    private func firmwareEntries() -> [Blocker] {
        guard usesE820 != false else { return [] }
        let apertures = hosts.flatMap(\.apertures).filter { !$0.isIO }
        return firmwareMap.filter { entry in apertures.contains { $0.range.overlaps(entry.range) } }
            .map { Blocker(range: $0.range, isIO: false, name: $0.type, source: .firmwareMap) }
            .sorted { $0.range < $1.range }
    }
}
