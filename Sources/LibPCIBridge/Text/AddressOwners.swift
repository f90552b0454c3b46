// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What /proc/iomem or /proc/ioports tells of PCI by itself: apertures and windows by their bus, functions by their
/// address, each inside the other, and who uses them. It names neither bridges nor BARs.
public struct AddressOwners: Sendable {
    /// A window, a function's range, or what holds either of them.
    public struct Entry: Hashable, Sendable {
        /// How many entries stand above it.
        public var depth: Int
        /// `bus 0000:03`, `0000:03:00.0`, or the kernel's name of what the range lies in.
        public var owner: String
        /// The range as the kernel writes ranges.
        public var range: String
        /// The size.
        public var size: String
        /// What is free in a window, and its largest block; nil for other entries.
        public var free: String?
        /// The names of what uses a function's range, in the order of the file.
        public var users: [String]
    }

    /// The entries, parents first, memory before I/O.
    public private(set) var entries: [Entry] = []
    /// Whether the text shows no addresses, for want of privilege.
    public let isZeroed: Bool

    /// Takes the texts of a record; nil for one that is missing.
    /// - Complexity: O(nodes times depth).
    public init(iomem: String?, ioports: String?) {
        let memory = iomem.map { IomemText($0) }
        let io = ioports.map { IomemText($0) }
        isZeroed = [memory, io].compactMap { $0 }.allSatisfy(\.isZeroed)
        if let memory { add(memory, word: "mem", width: 8) }
        if let io { add(io, word: "io ", width: 4) }
    }

    private mutating func add(_ text: IomemText, word: String, width: Int) {
        var isShown = Array(repeating: false, count: text.nodes.count)
        var children: [Int: [Int]] = [:]
        for (i, node) in text.nodes.enumerated() {
            if let parent = node.parent { children[parent, default: []].append(i) }
            guard IomemText.bus(named: node.name) != nil || functionName(node.name) != nil else { continue }
            var above: Int? = i
            while let j = above, !isShown[j] {
                isShown[j] = true
                above = text.nodes[j].parent
            }
        }
        var depth = Array(repeating: 0, count: text.nodes.count)
        for (i, node) in text.nodes.enumerated() where isShown[i] {
            if let parent = node.parent { depth[i] = depth[parent] + 1 }
            let bus = IomemText.bus(named: node.name)
            let below = children[i] ?? []
            var free: String?
            if bus != nil, !text.isZeroed {
                let room = FreeRoom(in: node.range, taken: below.map { text.nodes[$0].range })
                free = "\(ByteCount(room.bytes)) free, largest block \(ByteCount(room.largestBlock))"
            }
            entries.append(
                Entry(
                    depth: depth[i],
                    owner: bus.map { "bus \(busName(segment: $0.segment, $0.bus))" } ?? node.name,
                    range:
                        "[\(word) 0x\(bareHex(node.range.first, width: width))-0x\(bareHex(node.range.last, width: width))]",
                    size: ByteCount(node.range.clampedSize).description,
                    free: free,
                    users: functionName(node.name) == nil
                        ? [] : below.filter { !isShown[$0] }.map { text.nodes[$0].name }
                )
            )
        }
    }
}
