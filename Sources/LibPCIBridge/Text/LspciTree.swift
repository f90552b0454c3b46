// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Reads the tree that `lspci -t` draws: which functions there are, and which buses lie behind which bridge.
///
/// A line names a function behind every branch. Branches of one bus stand in one column, so that the column of the `+` or
/// `\` with which a line begins tells the bus:
///
///     -[0000:00]-+-00.0  Host bridge
///                +-01.0-[01-02]--+-00.0  first function on bus 01
///                |               \-00.1  second one
///                \-1f.0  ISA bridge
struct LspciTree {
    /// The functions in the order of the text.
    private(set) var functions: [TextFunction] = []

    private struct Bus {
        var segment: UInt32
        var number: BusNumber
    }

    private var isOpen = false
    private var branches: [Int: Bus] = [:]

    /// Reads one line; gives whether it is one of such a tree.
    mutating func read(_ line: TextBytes) -> Bool {
        let body = line.trimmed
        let isRoot = body.starts("-[") || body.starts("-+-[") || body.starts("+-[") || body.starts("\\-[")
        guard isRoot || isOpen, let first = body.first,
            first == 0x2d || first == 0x2b || first == 0x5c || first == 0x7c,
            isRoot || body.prefix(200).contains(where: { $0 == 0x2b || $0 == 0x5c || $0 == 0x7c })
        else {
            isOpen = isOpen && body.isEmpty
            return false
        }
        isOpen = true
        readBranches(line)
        return true
    }

    private mutating func readBranches(_ line: TextBytes) {
        var rest = line
        var bus: Bus?
        var bridge: Int?
        while let byte = rest.first {
            switch byte {
            case 0x2b, 0x5c:
                let column = rest.startIndex - line.startIndex
                if let bus { branches[column] = bus } else { bus = branches[column] }
                rest = rest.dropFirst()
            case 0x20, 0x09, 0x2d, 0x7c: rest = rest.dropFirst()
            case 0x5b:
                rest = rest.dropFirst()
                guard let opened = takeBus(&rest, segment: bus?.segment, behind: bridge) else { return }
                bus = opened
                bridge = nil
            default:
                guard let above = bus, let place = takeFunction(&rest, on: above) else { return }
                bridge = place
                guard rest.first == 0x2d else {
                    readName(rest.trimmed, of: place)
                    return
                }
            }
        }
    }

    /// Takes `0000:00]` of a root bus, or `01]` and `01-3a]` of the buses behind a bridge.
    private mutating func takeBus(_ rest: inout TextBytes, segment: UInt32?, behind bridge: Int?) -> Bus? {
        guard var first = rest.takeHex() else { return nil }
        var segment = segment
        if rest.take(":") {
            guard let number = rest.takeHex(), let named = UInt32(exactly: first) else { return nil }
            segment = named
            first = number
        }
        var last = first
        if rest.take("-") {
            guard let number = rest.takeHex() else { return nil }
            last = number
        }
        guard rest.take("]"), let segment, first <= last, last <= 0xff else { return nil }
        let number = BusNumber(UInt8(first))
        if let bridge {
            var facts = BridgeFacts()
            facts.primary = functions[bridge].address.bus
            facts.secondary = number
            facts.subordinate = BusNumber(UInt8(last))
            functions[bridge].bridge = facts
            functions[bridge].headerLayout = 1
            functions[bridge].classWord = 0x0604
        }
        return Bus(segment: segment, number: number)
    }

    /// Takes `1f.0` and gives the place of its function.
    private mutating func takeFunction(_ rest: inout TextBytes, on bus: Bus) -> Int? {
        let start = rest.startIndex
        guard let device = rest.takeHex(), rest.startIndex - start == 2, device < 32, rest.take("."),
            let function = rest.takeHex(), function < 8
        else { return nil }
        let devfn = UInt8(device) << 3 | UInt8(function)
        var facts = TextFunction(
            address: FunctionAddress(segment: bus.segment, bus: bus.number, devfn: devfn)
        )
        facts.isListed = true
        functions.append(facts)
        return functions.count - 1
    }

    private mutating func readName(_ text: TextBytes, of place: Int) {
        guard !text.isEmpty else { return }
        if let ids = LspciReader.lastIDs(text) ?? LspciReader.plainIDs(text) {
            functions[place].vendor = ids.0
            functions[place].device = ids.1
        }
        functions[place].name = LspciReader.withoutIDs(text).string
    }
}
