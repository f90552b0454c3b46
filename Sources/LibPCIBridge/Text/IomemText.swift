// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The text of /proc/iomem or /proc/ioports, read into the tree that the kernel holds.
///
/// The kernel prints its resource tree parents first and stops indenting at a depth of 5 (8 in newer releases), so the
/// nesting is taken from the ranges: a node lies below the nearest node before it that covers it. Siblings never
/// overlap, so this is exact. A file read without privilege shows only zeros; then the indentation decides.
/// Source: `r_show` and `r_start` in kernel/resource.c.
public struct IomemText: Hashable, Sendable {
    /// Which of the two files the text is from.
    public enum Space: Hashable, Sendable {
        /// /proc/iomem.
        case memory
        /// /proc/ioports.
        case io
    }

    /// One line of the file.
    public struct Node: Hashable, Sendable {
        /// The CPU addresses. In a zeroed file every range is `0-0`.
        public var range: AddressRange
        /// The kernel's name for it: `PCI Bus 0000:00`, `0000:00:1f.2`, `Reserved`.
        public var name: String
        /// The index of the node above, or nil at the top.
        public var parent: Int?
        /// How many nodes stand above.
        public var depth: Int

        /// Creates a node.
        public init(range: AddressRange, name: String, parent: Int?, depth: Int) {
            self.range = range
            self.name = name
            self.parent = parent
            self.depth = depth
        }
    }

    /// The nodes in the order of the file: parents first, ascending addresses.
    public private(set) var nodes: [Node] = []
    /// Whether every address is zero: the file was read without CAP_SYS_ADMIN.
    public private(set) var isZeroed = false
    /// The number of lines that are no lines of such a file.
    public private(set) var ignoredLines = 0

    /// Reads `text`; lines of another form are counted and left out.
    /// - Complexity: O(number of bytes + nodes times depth).
    public init(_ text: String) { self.init(bytes: Array(text.utf8)) }

    /// Reads the bytes of a text; lines of another form are counted and left out.
    /// - Complexity: O(number of bytes + nodes times depth).
    public init(bytes: [UInt8]) {
        self.init()
        var builder = Builder()
        for line in TextLines(bytes) {
            guard let parsed = Self.parse(line) else {
                if !line.trimmed.isEmpty { ignoredLines += 1 }
                continue
            }
            builder.add(parsed, to: &nodes)
        }
        noteZeroed()
    }

    init() {}

    mutating func noteZeroed() {
        isZeroed = nodes.count > 1 && nodes.allSatisfy { $0.range.first == 0 && $0.range.last == 0 }
    }

    mutating func append(_ line: Line, with builder: inout Builder) { builder.add(line, to: &nodes) }

    /// The indices of the nodes directly below node `i`, or of the top when nil.
    public func children(of i: Int?) -> [Int] { nodes.indices.filter { nodes[$0].parent == i } }

    /// One line, before it has a place in the tree.
    struct Line {
        var indent: Int
        var digits: Int
        var range: AddressRange
        var name: TextBytes
    }

    /// Reads one line, or nil when it has another form.
    ///
    /// The form is blanks, first, `-`, last, ` : `, name; both numbers hexadecimal without prefix, 4 to 16 digits.
    static func parse(_ line: TextBytes) -> Line? {
        var rest = line
        while let byte = rest.first, byte == 0x20 { rest = rest.dropFirst() }
        let indent = rest.startIndex - line.startIndex
        let start = rest.startIndex
        guard let first = rest.takeHex() else { return nil }
        let digits = rest.startIndex - start
        guard digits >= 4, rest.take("-") else { return nil }
        let second = rest.startIndex
        guard let last = rest.takeHex(), rest.startIndex - second >= 4, rest.take(" : "),
            let range = AddressRange(first: first, last: last)
        else { return nil }
        return Line(indent: indent, digits: digits, range: range, name: rest.trimmed)
    }

    /// Places lines below the nodes that cover them.
    struct Builder {
        private var stack: [(node: Int, indent: Int)] = []

        init() {}

        mutating func add(_ line: Line, to nodes: inout [Node]) {
            let zero = line.range.first == 0 && line.range.last == 0
            while let top = stack.last {
                // The indentation stops growing at a depth, and forums take it away: where ranges tell, they decide.
                if zero ? line.indent > top.indent : nodes[top.node].range.contains(line.range) { break }
                stack.removeLast()
            }
            // The kernel's tree is a few levels deep; damage must not make it deeper than it is long to walk.
            if stack.count > 63 { stack.removeLast() }
            let parent = stack.last?.node
            nodes.append(
                Node(range: line.range, name: line.name.string, parent: parent, depth: stack.count)
            )
            stack.append((nodes.count - 1, line.indent))
        }
    }
}

extension IomemText {
    /// A host bridge's or bridge's share of the address space: a node named `PCI Bus DDDD:BB`.
    public struct BusNode: Hashable, Sendable {
        /// The index of the node.
        public var node: Int
        /// The segment.
        public var segment: UInt32
        /// The bus that the share belongs to.
        public var bus: BusNumber
    }

    /// The nodes named `PCI Bus DDDD:BB` (a bridge's window or, without such a node above, a host bridge's aperture).
    public var busNodes: [BusNode] {
        var result: [BusNode] = []
        for (i, node) in nodes.enumerated() {
            guard let name = Self.bus(named: node.name) else { continue }
            result.append(BusNode(node: i, segment: name.segment, bus: name.bus))
        }
        return result
    }

    /// Reads `PCI Bus DDDD:BB`, segments of four or more digits; nil for another name.
    public static func bus(named name: String) -> (segment: UInt32, bus: BusNumber)? {
        var rest = Array(name.utf8)[...]
        guard rest.take("PCI Bus "), let segment = rest.takeHex(), segment <= UInt64(UInt32.max), rest.take(":"),
            let bus = rest.hexValue, bus <= 0xff
        else { return nil }
        return (UInt32(segment), BusNumber(UInt8(bus)))
    }

    /// Whether node `i` has a node named `PCI Bus …` above it.
    public func isBelowBus(_ i: Int) -> Bool {
        var p = nodes[i].parent
        while let q = p {
            if Self.bus(named: nodes[q].name) != nil { return true }
            p = nodes[q].parent
        }
        return false
    }
}
