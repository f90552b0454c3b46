// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension IomemText {
    /// What the nesting says for certain of the buses: a sentence for each aperture and each window, with who lies in it
    /// and the largest aligned block that nobody holds.
    ///
    /// Which bridge a window belongs to, which BAR a range is, and what has no address are not in the file. A window in
    /// which nothing lies may be a reserve or be missed by a device: the file does not tell.
    /// - Complexity: O(nodes squared).
    /// - Returns: the sentences in the order of the file, indented by two blanks for each bus above; empty for a file that
    ///   was read without privilege.
    package func busSentences() -> [String] {
        guard !isZeroed else { return [] }
        var result: [String] = []
        for bus in busNodes {
            let node = nodes[bus.node]
            // The legacy video memory of every host bridge says nothing.
            guard node.range.first >= 0x10_0000 else { continue }
            let below = nodes.indices.filter { nodes[$0].parent == bus.node }
            var depth = 0
            var p = node.parent
            while let q = p {
                if Self.bus(named: nodes[q].name) != nil { depth += 1 }
                p = nodes[q].parent
            }
            let what = depth == 0 ? "an aperture of root bus" : "a window to bus"
            let size = ByteCount(node.range.clampedSize)
            let place = busName(segment: bus.segment, bus.bus)
            let room = FreeRoom(in: node.range, taken: below.map { nodes[$0].range })
            let holders = below.map { "\(nodes[$0].name) (\(ByteCount(nodes[$0].range.clampedSize)))" }
            let contents = holders.isEmpty ? "nothing lies in it" : "in it \(holders.listed(3))"
            let free = holders.isEmpty ? "" : ", largest free block \(ByteCount(room.largestBlock))"
            let blanks = String(repeating: "  ", count: depth)
            result.append("\(blanks)\(node.range) is \(what) \(place), \(size): \(contents)\(free)")
        }
        return result
    }
}
