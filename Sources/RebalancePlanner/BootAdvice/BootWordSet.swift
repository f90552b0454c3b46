// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// A set of `pci=` words: those that decide about resources, and what else stands behind `pci=` and stays.
struct BootWordSet: Hashable {
    /// What a size word is about.
    enum Size: Int, CaseIterable, Hashable {
        case prefetchable
        case memory
        case io
        case buses

        /// The word, without its value.
        var word: String {
            switch self {
            case .prefetchable: "hpmmioprefsize"
            case .memory: "hpmmiosize"
            case .io: "hpiosize"
            case .buses: "hpbussize"
            }
        }

        /// The step in which a value counts: what windows and bus ranges are made of.
        var step: UInt64 {
            switch self {
            case .prefetchable, .memory: 1 << 20
            case .io: 0x1000
            case .buses: 1
            }
        }

        /// What the kernel takes without the word.
        func initial(_ platform: Platform) -> UInt64 {
            switch self {
            case .prefetchable: platform.hotPlugPrefetchable
            case .memory: platform.hotPlugMemory
            case .io: platform.hotPlugIO
            case .buses: UInt64(platform.hotPlugBuses)
            }
        }
    }

    /// `realloc`: firmware's windows may be released to make room.
    var reallocates = false
    /// `assign-busses`: every bus is numbered anew.
    var renumbers = false
    /// `resource_alignment` with this bridge: its memory windows are closed when it is found, and made anew with all that
    /// is below it (`pci_reassigndev_resource_alignment`); nil without.
    var released: FunctionAddress?
    /// The values of size words; absent ones leave the word out, 0 keeps nothing at hot-plug ports for what comes later.
    var sizes: [Size: UInt64] = [:]

    /// The words in a fixed order.
    var words: [String] {
        var result: [String] = []
        if reallocates { result.append("realloc") }
        if renumbers { result.append("assign-busses") }
        if let released { result.append("resource_alignment=\(released)") }
        for size in [Size.io, .memory, .prefetchable, .buses] {
            guard let value = sizes[size] else { continue }
            result.append("\(size.word)=\(size == .buses ? "\(value)" : ByteCount(value).exactText)")
        }
        return result
    }

    /// Number of words.
    var count: Int { (reallocates ? 1 : 0) + (renumbers ? 1 : 0) + (released == nil ? 0 : 1) + sizes.count }

    /// `platform` with these words read behind its own.
    func applied(to platform: Platform) -> Platform {
        var copy = platform
        if reallocates { copy.reallocation = .on }
        if renumbers { copy.renumbersAllBuses = true }
        if let released { copy.alignmentRequests = released.description }
        if let value = sizes[.io] { copy.hotPlugIO = value }
        if let value = sizes[.memory] { copy.hotPlugMemory = value }
        if let value = sizes[.prefetchable] { copy.hotPlugPrefetchable = value }
        if let value = sizes[.buses] { copy.hotPlugBuses = value > 0xff ? 1 : Int(value) }
        return copy
    }

    /// Every choice of words for `sizes` and `bridges`, without the values: those that number buses anew last, then by
    /// count. What the goals do not need of hot-plug ports may be withheld from them, by one word or by all such words: what
    /// the kernel keeps there unasked can take the place of what is present.
    static func choices(
        of sizes: [Size],
        releasing bridges: [FunctionAddress],
        on platform: Platform
    ) -> [(set: BootWordSet, sized: [Size])] {
        var result: [(cost: [Int], choice: (set: BootWordSet, sized: [Size]))] = []
        let kept = [Size.io, .memory, .prefetchable].filter { !sizes.contains($0) && $0.initial(platform) > 0 }
        let withheld = [[]] + kept.map { [$0] } + (kept.count > 1 ? [kept] : [])
        for (released, withheld) in withheld.map({ (FunctionAddress?.none, $0) }) + bridges.map({ ($0, []) }) {
            for mask in 0..<(1 << (sizes.count + 2)) {
                var set = BootWordSet()
                set.released = released
                for size in withheld { set.sizes[size] = 0 }
                set.reallocates = mask & 1 != 0
                set.renumbers = mask & 2 != 0
                if set.reallocates, platform.reallocation == .on { continue }
                if set.renumbers, platform.renumbersAllBuses || !sizes.contains(.buses) { continue }
                let chosen = sizes.enumerated().filter { mask >> ($0.offset + 2) & 1 != 0 }.map(\.element)
                let count = set.count + chosen.count
                guard count > 0 else { continue }
                let cost = [set.renumbers ? 1 : 0, count, chosen.count + withheld.count, result.count]
                result.append((cost, (set, chosen)))
            }
        }
        return result.sorted { $0.cost.lexicographicallyPrecedes($1.cost) }.map(\.choice)
    }

    /// The names that this set decides about; every one of them is left out of what stays behind `pci=`.
    static let names: Set<String> = [
        "realloc", "assign-busses", "resource_alignment", "hpiosize", "hpmmiosize", "hpmmioprefsize", "hpmemsize",
        "hpbussize",
    ]
}

/// The words behind `pci=` on a command line, split into those that a `BootWordSet` decides about and the others.
struct BootParameter: Hashable {
    /// Words that decide about resources, as written.
    var decided: [String] = []
    /// The other words, as written.
    var others: [String] = []
    /// The command line without the words in `decided`.
    var rest: String

    init(_ commandLine: String?) {
        var kept: [String] = []
        for word in (commandLine ?? "").split(separator: " ").map(String.init) {
            guard word.hasPrefix("pci=") else {
                kept.append(word)
                continue
            }
            var stays: [String] = []
            for option in word.dropFirst(4).split(separator: ",").map(String.init) {
                let name = String(option.prefix { $0 != "=" })
                if BootWordSet.names.contains(name) {
                    decided.append(option)
                } else {
                    stays.append(option)
                }
            }
            others += stays
            if !stays.isEmpty { kept.append("pci=\(stays.joined(separator: ","))") }
        }
        rest = kept.joined(separator: " ")
    }

    /// What stands behind `pci=` now, or nil.
    var present: String? {
        let all = others + decided
        return all.isEmpty ? nil : "pci=\(all.joined(separator: ","))"
    }
}

extension ByteCount {
    /// The size in the largest unit that states it exactly, as the kernel reads it: `32770M`.
    var exactText: String {
        let units: [(shift: UInt64, name: String)] = [(30, "G"), (20, "M"), (10, "K")]
        for unit in units where rawValue >= 1 << unit.shift && rawValue % (1 << unit.shift) == 0 {
            return "\(rawValue >> unit.shift)\(unit.name)"
        }
        return "\(rawValue)"
    }
}
