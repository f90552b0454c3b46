// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The IOMMU groups that Linux makes of a tree: which functions can only be given to one user together.
///
/// The rule is `pci_device_group` in drivers/iommu/iommu.c, of one content in 6.1, 6.12 and 7.2, which the drivers of Intel's,
/// AMD's, Arm's, RISC-V's and virtual IOMMUs ask. It is followed function by function in the order in which the kernel finds
/// them, since a function joins the first group that it meets. Functions of a machine that has groups, and none for them, are
/// behind no IOMMU and are in no group.
public struct IsolationGroups: Hashable, Sendable {
    /// Why a function is in a group of others.
    public enum Reason: Hashable, Sendable {
        /// It has a group of its own, which others may join.
        case own
        /// Its requests carry the number of the bridge at this index, which is in the group.
        case requesterOf(Int)
        /// It is below the port at the first index, which is in the group; requests may turn around at the function at the
        /// second index, since that does not isolate.
        case below(Int, open: Int)
        /// It may use the requester number of the function at this index, or that its.
        case alias(Int)
        /// It and the function at this index are of one device and not kept apart.
        case sameDevice(Int)
    }

    /// For each function of the tree, the number of its group, from 0; nil for one that is behind no IOMMU.
    public private(set) var numbers: [Int?]
    /// For each function, why it is in its group.
    public private(set) var reasons: [Reason]
    /// For each function, whether its group follows from what was told; false where a register that was not told could
    /// change who is in it.
    public private(set) var isCertain: [Bool]
    /// The members of each group, ascending.
    public private(set) var members: [[Int]]

    /// The groups that the kernel makes of `topology`.
    ///
    /// - Complexity: O(n · (depth + functions of a bus)) for n functions.
    public init(_ topology: Topology) {
        let judged = topology.functions.indices.map { topology.isolation(of: $0) }
        var wide = GroupFormation(topology, judged, isOpenIfUnknown: true)
        wide.form()
        var narrow = wide
        if wide.metUnknown {
            narrow = GroupFormation(topology, judged, isOpenIfUnknown: false)
            narrow.form()
        }
        numbers = narrow.numbers
        reasons = narrow.reasons
        members = Self.members(narrow.numbers)
        isCertain = topology.functions.indices.map { _ in true }
        let follows = topology.groupsFollowTheRule
        let wideMembers = wide.metUnknown ? Self.members(wide.numbers) : members
        for i in topology.functions.indices {
            let own = numbers[i].map { members[$0] }
            let other = wide.numbers[i].map { wideMembers[$0] }
            isCertain[i] = follows && own == other && !narrow.isUncertain[i] && !wide.isUncertain[i]
        }
        for group in members where group.contains(where: { !isCertain[$0] }) { for i in group { isCertain[i] = false } }
    }

    private static func members(_ numbers: [Int?]) -> [[Int]] {
        var result: [[Int]] = Array(repeating: [], count: (numbers.compactMap(\.self).max() ?? -1) + 1)
        for (i, number) in numbers.enumerated() { if let number { result[number].append(i) } }
        return result
    }

    /// The other functions in the group of the function at index `i`.
    public func others(with i: Int) -> [Int] { numbers[i].map { members[$0].filter { $0 != i } } ?? [] }

    /// The functions whose recorded group has other members than the rule says, although all that it needs was told;
    /// ascending. Firmware, a changed kernel or another IOMMU driver then has a say.
    public func contradicted(by topology: Topology) -> [Int] {
        var recorded: [Int: [Int]] = [:]
        for (i, function) in topology.functions.enumerated() {
            if let group = function.use.iommuGroup { recorded[group, default: []].append(i) }
        }
        return topology.functions.indices.filter { i in
            guard isCertain[i], let group = topology.functions[i].use.iommuGroup, let number = numbers[i] else {
                return false
            }
            return recorded[group] != members[number]
        }
    }
}

extension Topology {
    /// Whether the machine's IOMMU driver asks the rule of this file: those of POWER and s390 have rules of their own.
    var groupsFollowTheRule: Bool {
        guard let architecture = kernel.architecture else { return true }
        return !architecture.hasPrefix("ppc") && !architecture.hasPrefix("s390")
    }
}

/// One run of the rule over a tree, unknown registers taken one way.
private struct GroupFormation {
    private let topology: Topology
    private let judged: [Isolation]
    private let isOpenIfUnknown: Bool
    private let aliases: [Set<UInt8>]
    /// The functions of each bus, ascending.
    private let buses: [BusKey: [Int]]

    private struct BusKey: Hashable {
        var segment: UInt32
        var bus: BusNumber
    }

    private(set) var numbers: [Int?]
    private(set) var reasons: [IsolationGroups.Reason]
    /// Functions whose aliases, or whose requester, the tree does not tell.
    private(set) var isUncertain: [Bool]
    private(set) var metUnknown = false
    private var next = 0

    init(_ topology: Topology, _ judged: [Isolation], isOpenIfUnknown: Bool) {
        self.topology = topology
        self.judged = judged
        self.isOpenIfUnknown = isOpenIfUnknown
        let count = topology.functions.count
        numbers = Array(repeating: nil, count: count)
        reasons = Array(repeating: .own, count: count)
        isUncertain = Array(repeating: false, count: count)
        var aliases: [Set<UInt8>] = []
        var buses: [BusKey: [Int]] = [:]
        for (i, function) in topology.functions.enumerated() {
            let numbers = RequesterAliases.numbers(function)
            aliases.append(numbers ?? [])
            // Behind Intel's VMD, whose segments begin at 0x10000, requests carry the number of the VMD itself.
            if numbers == nil || function.address.segment >= 0x1_0000 { isUncertain[i] = true }
            buses[Self.key(function), default: []].append(i)
        }
        self.aliases = aliases
        self.buses = buses
    }

    private static func key(_ function: Function) -> BusKey {
        BusKey(segment: function.address.segment, bus: function.address.bus)
    }

    /// Gives every function its group, bridges before what is behind them.
    mutating func form() {
        let hasGroups = topology.hasGroups
        let order = topology.functions.indices.sorted { a, b in
            let (x, y) = (topology.functions[a], topology.functions[b])
            if let p = x.discoveryOrder, let q = y.discoveryOrder, p != q { return p < q }
            return x.address < y.address
        }
        var isDone = Array(repeating: false, count: order.count)
        for i in order {
            for j in topology.ancestors(of: i).reversed() + [i] where !isDone[j] {
                isDone[j] = true
                if hasGroups, topology.functions[j].use.iommuGroup == nil { continue }
                place(j)
            }
        }
    }

    private mutating func place(_ i: Int) {
        var device = i
        let above = topology.ancestors(of: i)
        for bridge in above {
            guard let takes = takesOver(bridge) else { break }
            guard takes else { continue }
            device = bridge
            if join(i, bridge, .requesterOf(bridge)) { return }
        }
        // The way up on which a request may turn around.
        let way = topology.ancestors(of: device)
        for (k, port) in way.enumerated() {
            guard let open = way[k...].first(where: { !isIsolated($0) }) else { break }
            device = port
            if join(i, port, .below(port, open: open)) { return }
        }
        var seen: Set<UInt8> = []
        if let (other, isPeer) = aliasGroup(device, &seen, from: i) ?? peerGroup(device, &seen, from: i) {
            _ = join(i, other, isPeer ? .sameDevice(other) : .alias(other))
            return
        }
        numbers[i] = next
        next += 1
    }

    private mutating func join(_ i: Int, _ other: Int, _ reason: IsolationGroups.Reason) -> Bool {
        guard let number = numbers[other] else { return false }
        numbers[i] = number
        reasons[i] = reason
        return true
    }

    private mutating func isIsolated(_ i: Int) -> Bool {
        switch judged[i] {
        case .isolated: return true
        case .open: return false
        case .unknown:
            metUnknown = true
            return !isOpenIfUnknown
        }
    }

    /// Whether the bridge puts its own requester number on what passes; nil where the translation is done right there.
    private mutating func takesOver(_ i: Int) -> Bool? {
        let function = topology.functions[i]
        let id = function.identity
        if id.vendor == 0x14e4, id.device == 0x9000 || id.device == 0x9084 { return nil }
        guard let express = function.capabilities.express else {
            if function.knowsKind { return true }
            metUnknown = true
            return isOpenIfUnknown
        }
        switch express.portType {
        case .bridgeToPCI: return !(id.vendor == 0x1a03 && id.device == 0x1150)
        case .bridgeToExpress: return true
        default: return false
        }
    }

    /// A function with a group that `i` shares requester numbers with, over any number of others; whether it is reached as
    /// another function of the same device.
    private mutating func aliasGroup(_ i: Int, _ seen: inout Set<UInt8>, from origin: Int) -> (Int, Bool)? {
        let function = topology.functions[i]
        guard seen.insert(function.address.devfn).inserted else { return nil }
        if i != origin, numbers[i] != nil { return (i, false) }
        for other in buses[Self.key(function)] ?? [] where other != i && sharesNumber(i, other) {
            if let found = aliasGroup(other, &seen, from: origin) ?? peerGroup(other, &seen, from: origin) {
                return (found.0, false)
            }
        }
        return nil
    }

    private mutating func peerGroup(_ i: Int, _ seen: inout Set<UInt8>, from origin: Int) -> (Int, Bool)? {
        let function = topology.functions[i]
        let isOneOfSeveral = topology.isOneOfSeveral(i)
        if isOneOfSeveral == nil { metUnknown = true }
        guard isOneOfSeveral ?? isOpenIfUnknown, !isIsolated(i) else { return nil }
        for other in buses[Self.key(function)] ?? []
        where other != i && topology.functions[other].address.devfn >> 3 == function.address.devfn >> 3 {
            guard !isIsolated(other) else { continue }
            if let found = aliasGroup(other, &seen, from: origin) { return (found.0, true) }
        }
        return nil
    }

    private func sharesNumber(_ a: Int, _ b: Int) -> Bool {
        aliases[a].contains(topology.functions[b].address.devfn)
            || aliases[b].contains(topology.functions[a].address.devfn)
    }
}
