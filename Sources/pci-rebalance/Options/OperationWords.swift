// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology

/// Operations as they are typed after `--op`: `remove 00:02.0`, `rescan`, `rescan-bus 0000:01`, `hotadd 02:01.0 nvme`,
/// `hotadd 0000:00:05 nvme`.
struct OperationWords {
    private var words: ArraySlice<String>
    private let topology: Topology
    /// Which of the ways is taken where a card may be noticed in several.
    private let choice: Int
    /// The places of cards of which nobody told who notices them.
    private var untold: [String] = []

    /// Takes the words of all `--op` options; an option may hold several words in one argument.
    init(_ options: [String], topology: Topology, choice: Int = 0) {
        self.choice = choice
        words = ArraySlice(options.flatMap { $0.split(separator: " ").map(String.init) })
        self.topology = topology
    }

    /// All operations. Where a card may be noticed in several ways, since nobody told who drives the slot, there is one
    /// list for each way; `untold` names the slots then.
    static func parse(
        _ options: [String],
        topology: Topology
    ) throws(CommandEnd) -> (lists: [[TwinOperation]], untold: [String]) {
        var lists: [[TwinOperation]] = []
        var untold: [String] = []
        for choice in 0..<2 where choice == 0 || !untold.isEmpty {
            var reader = OperationWords(options, topology: topology, choice: choice)
            var result: [TwinOperation] = []
            while !reader.words.isEmpty { result.append(try reader.next()) }
            guard !result.isEmpty else { throw CommandEnd(.usage, "expected --op with an operation, found none") }
            lists.append(result)
            untold = reader.untold
        }
        return (lists, untold)
    }

    private static let verbs = [
        "remove", "rescan", "rescan-bus", "hotadd", "unplug", "setbus", "resize", "vfs", "align", "bind", "unbind",
        "boot",
    ]

    private mutating func next() throws(CommandEnd) -> TwinOperation {
        let verb = words.removeFirst()
        switch verb {
        case "remove": return .remove(try address(after: verb))
        case "rescan":
            guard let word = words.first, let address = FunctionAddress(parsing: word) else { return .rescan }
            words.removeFirst()
            return .rescanDevice(address)
        case "rescan-bus":
            let (segment, bus) = try bus(after: verb)
            return .rescanBus(segment: segment, bus: bus)
        case "hotadd":
            return try hotAdd()
        case "unplug": return .unplug(port: try address(after: verb))
        case "setbus":
            let bridge = try address(after: verb)
            let secondary = try busNumber(after: verb)
            let subordinate = try busNumber(after: verb)
            return .setBusNumbers(bridge, primary: bridge.bus, secondary: secondary, subordinate: subordinate)
        case "resize":
            let function = try address(after: verb)
            let bar = try number(after: verb, "a BAR", 0...5)
            return .resizeBAR(function, bar: bar, exponent: try exponent(after: verb))
        case "vfs":
            return .setVFs(try address(after: verb), try number(after: verb, "a number of VFs", 0...65_535))
        case "align": return .resourceAlignment(try word(after: verb, "a resource_alignment string"))
        case "bind": return .bind(try address(after: verb))
        case "unbind": return .unbind(try address(after: verb))
        case "boot":
            return .boot(
                Platform(topology)
            )
        default:
            let meant = Spelling.question(verb, among: Self.verbs)
            throw CommandEnd(
                .usage,
                "expected one of \(Self.verbs.joined(separator: ", ")), found \(verb)\(meant)"
            )
        }
    }

    /// `hotadd PORT CARD`, or `hotadd DDDD:BB:DD CARD` for a slot of a bus by its device number.
    private mutating func hotAdd() throws(CommandEnd) -> TwinOperation {
        let place = try word(after: "hotadd", "a port or a slot")
        let card = try CardWords.card(try word(after: "hotadd", "a card"))
        if let port = FunctionAddress(parsing: place) {
            let methods = topology.position(of: port).map { topology.hotPlugMethods(behind: $0) } ?? [.pciehp]
            return .hotAdd(port: port, card: card, method: pick(methods, place))
        }
        guard place.contains(":"), let slot = FunctionAddress(parsing: place + ".0") else {
            throw CommandEnd(
                .usage,
                "expected a port such as 0000:3a:00.0 or a slot such as 0000:00:05 after hotadd, found \(place)"
            )
        }
        let bridge = topology.functions.firstIndex {
            $0.address.segment == slot.segment && $0.bridge?.busRange?.first == slot.bus
        }
        let host = topology.hostBridges.first { $0.segment == slot.segment && $0.rootBus == slot.bus }
        let methods =
            bridge.map { topology.hotPlugMethods(behind: $0) }
            ?? host?.slotDriver.methods(isHotPlugCapable: false) ?? [.unnoticed]
        return .hotAddOnBus(
            segment: slot.segment,
            bus: slot.bus,
            card: card.moved(toDevice: slot.device),
            method: pick(methods, place)
        )
    }

    private mutating func pick(_ methods: [HotPlugMethod], _ place: String) -> HotPlugMethod {
        if methods.count > 1 { untold.append(place) }
        return methods[min(choice, methods.count - 1)]
    }

    private mutating func word(after verb: String, _ what: String) throws(CommandEnd) -> String {
        guard let word = words.popFirst() else {
            throw CommandEnd(.usage, "expected \(what) after \(verb), found none")
        }
        return word
    }

    private mutating func address(after verb: String) throws(CommandEnd) -> FunctionAddress {
        let word = try word(after: verb, "an address")
        guard let address = FunctionAddress(parsing: word) else {
            throw CommandEnd(.usage, "expected an address such as 0000:3a:00.0 after \(verb), found \(word)")
        }
        return address
    }

    private mutating func bus(after verb: String) throws(CommandEnd) -> (UInt32, BusNumber) {
        let word = try word(after: verb, "a bus")
        let parts = word.split(separator: ":", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let bus = UInt8(parts[parts.count - 1], radix: 16),
            let segment = parts.count == 2 ? UInt32(parts[0], radix: 16) : 0
        else { throw CommandEnd(.usage, "expected a bus such as 0000:3a after \(verb), found \(word)") }
        return (segment, BusNumber(bus))
    }

    private mutating func busNumber(after verb: String) throws(CommandEnd) -> BusNumber {
        let word = try word(after: verb, "a bus number")
        guard let number = UInt8(word, radix: 16) else {
            throw CommandEnd(.usage, "expected a bus number 00 to ff after \(verb), found \(word)")
        }
        return BusNumber(number)
    }

    private mutating func number(
        after verb: String,
        _ what: String,
        _ range: ClosedRange<Int>
    ) throws(CommandEnd) -> Int {
        let word = try word(after: verb, what)
        guard let number = Int(word), range.contains(number) else {
            throw CommandEnd(
                .usage,
                "expected \(what), \(range.lowerBound) to \(range.upperBound), after \(verb), found \(word)"
            )
        }
        return number
    }

    /// The exponent n of 2^n MiB: as a number, or as the size that it stands for.
    private mutating func exponent(after verb: String) throws(CommandEnd) -> Int {
        let word = try word(after: verb, "a size")
        if let number = Int(word), (0...43).contains(number) { return number }
        guard let size = ByteCount(parsing: word)?.rawValue, size & (size &- 1) == 0, size >= 1 << 20,
            size.trailingZeroBitCount - 20 <= 43
        else {
            throw CommandEnd(.usage, "expected a power of two from 1M, or its exponent, after \(verb), found \(word)")
        }
        return size.trailingZeroBitCount - 20
    }
}
