// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What becomes of IOMMU groups, of routes between siblings and of settings when functions are stopped and found again.
public struct IsolationChange: Hashable, Sendable {
    /// A function whose group has other members afterwards.
    public struct Regrouping: Hashable, Sendable {
        /// Its address before.
        public var address: FunctionAddress
        /// Its address afterwards.
        public var newAddress: FunctionAddress
        /// Who is in its group that was not before, by the addresses afterwards, ascending.
        public var joined: [FunctionAddress]
        /// Who is not in its group any more, by the addresses before, ascending.
        public var left: [FunctionAddress]
        /// Whether it is bound to a VFIO driver, so that whoever joins must be given to the same user.
        public var isAssigned: Bool

        /// Creates a record.
        public init(
            address: FunctionAddress,
            newAddress: FunctionAddress,
            joined: [FunctionAddress],
            left: [FunctionAddress],
            isAssigned: Bool
        ) {
            self.address = address
            self.newAddress = newAddress
            self.joined = joined
            self.left = left
            self.isAssigned = isAssigned
        }
    }

    /// A port of a switch whose requests for siblings take another way.
    public struct Rerouting: Hashable, Sendable {
        /// Its address before.
        public var address: FunctionAddress
        /// Its address afterwards.
        public var newAddress: FunctionAddress
        /// The way before.
        public var before: PeerRoutes.Way
        /// The way afterwards.
        public var after: PeerRoutes.Way

        /// Creates a record.
        public init(
            address: FunctionAddress,
            newAddress: FunctionAddress,
            before: PeerRoutes.Way,
            after: PeerRoutes.Way
        ) {
            self.address = address
            self.newAddress = newAddress
            self.before = before
            self.after = after
        }
    }

    /// The groups before, by the addresses of before; each group and their list ascending.
    public var groupsBefore: [[FunctionAddress]]
    /// The groups afterwards, by the addresses of then; each group and their list ascending.
    public var groupsAfter: [[FunctionAddress]]
    /// Whether the kernel runs an IOMMU, so that the groups are there and not only what they would be.
    public var hasGroups: Bool
    /// Functions of which what was told does not say who will be in their group, by the addresses afterwards.
    public var untold: [FunctionAddress]
    /// Functions whose recorded group is another than the rule says.
    public var contradicted: [FunctionAddress]
    /// The functions whose groups change, by address.
    public var regroupings: [Regrouping]
    /// The ports whose routes change, by address.
    public var reroutings: [Rerouting]
    /// The settings that change, by address before.
    public var settings: [SettingChange]

    /// Whether nothing changes.
    public var isEmpty: Bool { regroupings.isEmpty && reroutings.isEmpty && settings.isEmpty }

    /// The assigned functions whose group grows.
    public var grownUnderGuests: [Regrouping] { regroupings.filter { $0.isAssigned && !$0.joined.isEmpty } }

    /// Creates a record, as a document holds it.
    public init(
        groupsBefore: [[FunctionAddress]],
        groupsAfter: [[FunctionAddress]],
        hasGroups: Bool,
        untold: [FunctionAddress],
        contradicted: [FunctionAddress],
        regroupings: [Regrouping],
        reroutings: [Rerouting],
        settings: [SettingChange]
    ) {
        self.groupsBefore = groupsBefore
        self.groupsAfter = groupsAfter
        self.hasGroups = hasGroups
        self.untold = untold
        self.contradicted = contradicted
        self.regroupings = regroupings
        self.reroutings = reroutings
        self.settings = settings
    }

    /// Compares two trees of one machine.
    ///
    /// - Parameters:
    ///   - before: the tree as it is.
    ///   - after: the tree afterwards, the settings still those of before.
    ///   - found: the places of the functions that are found anew, by the tree afterwards.
    /// - Complexity: that of `IsolationGroups`.
    public init(before: Topology, after: Topology, found: Set<TopologyPath>) {
        let indices = after.functions.indices.filter { found.contains(after.path(of: $0)) }
        let (set, changes) = after.rediscovered(indices, runsIOMMU: before.hasGroups)
        let old = IsolationGroups(before)
        let new = IsolationGroups(set)
        let oldPaths = before.functions.indices.map { before.path(of: $0) }
        let newPaths = set.functions.indices.map { set.path(of: $0) }
        let later = Dictionary(zip(newPaths, set.functions.indices)) { first, _ in first }
        let earlier = Dictionary(zip(oldPaths, before.functions.indices)) { first, _ in first }
        hasGroups = before.hasGroups
        groupsBefore = Self.addresses(old.members, before)
        groupsAfter = Self.addresses(new.members, set)
        untold = set.functions.indices.filter { !new.isCertain[$0] }.map { set.functions[$0].address }
        let wrong = Set(old.contradicted(by: before))
        contradicted = wrong.sorted().map { before.functions[$0].address }
        regroupings = before.functions.indices.compactMap { i in
            guard let j = later[oldPaths[i]], old.isCertain[i], new.isCertain[j], !wrong.contains(i) else { return nil }
            let mine = Set(old.others(with: i).map { oldPaths[$0] })
            let theirs = Set(new.others(with: j).map { newPaths[$0] })
            guard mine != theirs else { return nil }
            let function = before.functions[i]
            return Regrouping(
                address: function.address,
                newAddress: set.functions[j].address,
                joined: theirs.subtracting(mine).compactMap { later[$0] }.sorted().map { set.functions[$0].address },
                left: mine.subtracting(theirs).compactMap { earlier[$0] }.sorted().map { before.functions[$0].address },
                isAssigned: function.use.driver?.contains("vfio") == true
            )
        }
        let routes = Dictionary(
            set.peerRoutes().flatMap(\.ports).map { (newPaths[$0.index], $0.way) },
            uniquingKeysWith: { first, _ in first }
        )
        reroutings = before.peerRoutes().flatMap(\.ports).compactMap { port in
            guard let way = routes[oldPaths[port.index]], way != port.way, let j = later[oldPaths[port.index]] else {
                return nil
            }
            return Rerouting(
                address: before.functions[port.index].address,
                newAddress: set.functions[j].address,
                before: port.way,
                after: way
            )
        }
        settings = changes.map { change in
            var change = change
            if let j = set.position(of: change.address), let i = earlier[newPaths[j]] {
                change.address = before.functions[i].address
            }
            return change
        }
    }

    private static func addresses(_ members: [[Int]], _ topology: Topology) -> [[FunctionAddress]] {
        members.filter { !$0.isEmpty }.sorted { $0[0] < $1[0] }.map { $0.map { topology.functions[$0].address } }
    }
}
