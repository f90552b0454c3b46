// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// One stretch of addresses in a map, with what lies inside it.
public struct MapSegment: Hashable, Sendable {
    /// What holds the addresses.
    public enum Content: Hashable, Sendable {
        /// A host bridge's aperture.
        case aperture
        /// A bridge's window.
        case window(TopologyPath, ResourceIndex)
        /// A BAR, a ROM or a VF BAR block.
        case resource(TopologyPath, ResourceIndex)
        /// Something that is not PCI.
        case blocker
        /// Nothing.
        case free
    }

    /// How a segment stands against another map.
    public enum Mark: String, Hashable, Sendable {
        /// As before, or there is nothing to compare with.
        case same
        /// At other addresses than before.
        case moved
        /// Of another size than before.
        case resized
        /// Without address before.
        case new
    }

    /// The CPU addresses.
    public var range: AddressRange
    /// What holds them.
    public var content: Content
    /// The kind of space: of the resource, or of the window that is free.
    public var kind: ResourceKind
    /// Whose it is: `00:02.0`; empty for free space and apertures.
    public var owner: String
    /// What it is: `BAR 0`, `pref window`, `free`, a blocker's name.
    public var label: String
    /// More about the owner: its name or role, its driver.
    public var detail: String
    /// What lies inside, ascending, with the free parts in between; empty for a leaf.
    public var children: [MapSegment]
    /// How it stands against another map.
    public var mark: Mark = .same
    /// The addresses before, where they differ.
    public var before: AddressRange?

    /// The size in bytes, 2^64-1 for the whole space.
    public var size: UInt64 { range.clampedSize }

    /// The heading under which an aperture stands: `memory below 4 GiB`, `memory above 4 GiB`, `I/O ports`.
    public var section: String {
        if kind == .io { return "I/O ports" }
        return range.first < 1 << 32 ? "memory below 4 GiB" : "memory above 4 GiB"
    }

    /// A key that is the same for the same thing in another map; nil for free space, blockers and apertures.
    public var key: String? {
        switch content {
        case .window(let path, let index), .resource(let path, let index): "\(path) \(index)"
        case .aperture, .blocker, .free: nil
        }
    }

    /// The segment's size on the logarithmic scale.
    public var logStep: Int { Self.logStep(ofSize: size) }

    /// A size on the logarithmic scale: 0 up to 4 KiB, 1 for 8 KiB, 24 for 64 GiB, at most 51.
    public static func logStep(ofSize size: UInt64) -> Int {
        let bits = 63 - max(size, 1).leadingZeroBitCount
        return max(bits - 12, 0)
    }

    /// The segments in reading order, this one first.
    public var flattened: [MapSegment] { [self] + children.flatMap(\.flattened) }

    /// Whether it holds nothing but free space.
    public var isEmptyWindow: Bool { children.count == 1 && children[0].content == .free }

    /// Segments in which what is not PCI stands together: a run of at least three blockers with less than 4 KiB of I/O or
    /// 1 MiB of memory free between them becomes one.
    static func folded(_ segments: [MapSegment]) -> [MapSegment] {
        var result: [MapSegment] = []
        var run: [MapSegment] = []
        func isSmallGap(_ segment: MapSegment) -> Bool {
            segment.content == .free && segment.size < (segment.kind == .io ? 4096 : 1 << 20)
        }
        func close() {
            // A gap at the end of the run stays by itself.
            var rest: [MapSegment] = []
            while let last = run.last, last.content == .free { rest.insert(run.removeLast(), at: 0) }
            let blockers = run.filter { $0.content == .blocker }
            if blockers.count >= 3, let first = run.first, let last = run.last {
                result.append(
                    MapSegment(
                        range: first.range.hull(last.range),
                        content: .blocker,
                        kind: first.kind,
                        owner: "",
                        label: "\(blockers.count) ranges that are not PCI",
                        detail: blockers.map(\.label).joined(separator: ", "),
                        children: []
                    )
                )
            } else {
                result += run
            }
            result += rest
            run = []
        }
        for segment in segments {
            if segment.content == .blocker || !run.isEmpty && isSmallGap(segment) {
                run.append(segment)
            } else {
                close()
                result.append(segment)
            }
        }
        close()
        return result
    }

    /// `inside` in ascending order with segments for the free parts of `range` in between.
    static func filled(_ inside: [MapSegment], in range: AddressRange, kind: ResourceKind) -> [MapSegment] {
        var result: [MapSegment] = []
        var next: UInt64? = range.first
        func free(_ first: UInt64, _ last: UInt64) -> MapSegment? {
            AddressRange(first: first, last: last).map {
                MapSegment(range: $0, content: .free, kind: kind, owner: "", label: "free", detail: "", children: [])
            }
        }
        for segment in inside.sorted(by: { $0.range < $1.range }) {
            if let start = next, segment.range.first > start, let gap = free(start, segment.range.first - 1) {
                result.append(gap)
            }
            result.append(segment)
            if let start = next, segment.range.last >= start {
                next = segment.range.last == .max ? nil : segment.range.last + 1
            }
        }
        if let start = next, start <= range.last, let gap = free(start, range.last) { result.append(gap) }
        return result
    }
}
