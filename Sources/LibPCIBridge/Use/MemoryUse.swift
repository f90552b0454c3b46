// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Memory of devices that the kernel or its users live in, by /proc/iomem: CXL memory, memory in a BAR.
///
/// The kernel puts a region of CXL memory below a `CXL Window` (drivers/cxl/core/region.c), and what uses it below the
/// region: `dax0.0`, `System RAM (kmem)` (drivers/dax/kmem.c), `Persistent Memory`. System RAM cannot be taken away by
/// removing its device: the kernel goes on using addresses that nothing answers any more.
struct MemoryUse {
    /// What each region of CXL memory is used for, a sentence each.
    private var regions: [UseEvidence] = []
    /// Whether the file was read, so that a region that is not in it is not there.
    private var isRead = false
    /// What lies in the BARs of functions, by their names.
    private var inBARs: [String: [UseEvidence]] = [:]

    /// - Complexity: O(number of nodes).
    init(_ text: IomemText?) {
        guard let text, !text.isZeroed else { return }
        isRead = true
        for (i, node) in text.nodes.enumerated() {
            if node.name.hasPrefix("region"), let window = node.parent, text.nodes[window].name.hasPrefix("CXL Window")
            {
                let purpose = Self.purpose(below: i, text).map { " as \($0)" } ?? ""
                regions.append(
                    .vital("cxl-memory", "\(node.name) [mem \(node.range)] of CXL memory is in use\(purpose)")
                )
            }
            guard let purpose = Self.purpose(node.name) else { continue }
            var above = node.parent
            while let i = above {
                let name = text.nodes[i].name
                if FunctionAddress(parsing: name)?.description == name {
                    inBARs[name, default: []].append(
                        .vital("bar-memory", "its memory [mem \(node.range)] is in use as \(purpose)")
                    )
                    break
                }
                above = text.nodes[i].parent
            }
        }
    }

    /// The evidence for a function.
    ///
    /// Which devices a region lies on is not in the file; that of every CXL memory device counts for all of them.
    func evidence(for f: FunctionRecord) -> [UseEvidence] {
        let classCode = f.classCode ?? f.config.long(8).map { $0 >> 8 } ?? 0
        // A CXL memory device (PCI Code and ID Assignment: base class 05h, sub-class 02h).
        let isMemory = classCode >> 8 == 0x0502 || f.driver == "cxl_pci"
        return (isMemory ? regions + decoded(f) : []) + (inBARs[f.address.description] ?? [])
    }

    /// What the registers of a CXL memory device say of memory that the host reaches: the ranges of its device DVSEC, where
    /// firmware set them. Decoders in a BAR count for more and stand in no configuration space: without /proc/iomem nothing
    /// tells what they give away.
    private func decoded(_ f: FunctionRecord) -> [UseEvidence] {
        guard let link = Capabilities(f.config).computeExpressLink, link.hasMemory, link.isMemoryEnabled else {
            return []
        }
        let ranges = link.ranges.filter { $0.first > 0 }
        if let range = ranges.first {
            return [.vital("cxl-memory", "CXL.mem is on, and the host reaches its memory at [mem \(range)]")]
        }
        return isRead
            ? [] : [.vital("cxl-memory-untold", "CXL.mem is on, and what of its memory the host uses was not read")]
    }

    /// What the kernel uses the memory below node `i` for: System RAM before anything else.
    private static func purpose(below i: Int, _ text: IomemText) -> String? {
        var found: String?
        for node in text.nodes[(i + 1)...] {
            // Parents come first; what follows at the same depth is no part of it.
            guard node.depth > text.nodes[i].depth else { break }
            guard let purpose = purpose(node.name) else { continue }
            if purpose == "System RAM" { return purpose }
            found = found ?? purpose
        }
        return found
    }

    private static func purpose(_ name: String) -> String? {
        if name.hasPrefix("System RAM") { return "System RAM" }
        if name.hasPrefix("Persistent Memory") { return "persistent memory" }
        return name.hasPrefix("dax") || name.hasPrefix("namespace") ? name : nil
    }
}
