// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What a plan may and may not do.
public struct Constraints: Hashable, Sendable {
    /// Functions that must not be stopped or moved, beyond those that their use protects.
    public var keep: Set<FunctionAddress>
    /// Functions that may be stopped although their use protects them.
    public var allowDisturb: Set<FunctionAddress>
    /// Only this port and what is below it may be touched.
    public var onlyBelow: FunctionAddress?
    /// At most this many functions with a weight above 0 may be disturbed; nil for no limit.
    public var maxMoves: Int?
    /// What the plan places or moves must end at or below this address; nil for no limit. Declared apertures may lie
    /// about what a machine decodes.
    public var highestAddress: UInt64?
    /// What must be as it is beside addresses: groups, routes, places.
    public var conditions: [Condition]
    /// Optional things that count as required, and ones that may be lost.
    public var tiers: OptionalTiers
    /// How many operations the search may simulate, 1 and up.
    public var simulationBudget: Int
    /// How much work all searches of a plan may do together: simulated stages times the functions of the tree, 0 and up;
    /// nil for `usualSeconds`. The best that was found is the plan then, and says so.
    public var workLimit: Int?

    /// The work that takes about a second on a machine of 2020.
    public static let workPerSecond = 250_000

    /// How many seconds of work a tree of so many functions may take when nobody says otherwise: 2 up to 64 functions, 10
    /// for larger ones.
    public static func usualSeconds(functions: Int) -> Int { functions <= 64 ? 2 : 10 }

    /// Creates constraints; nothing beyond the default protection.
    public init(
        keep: Set<FunctionAddress> = [],
        allowDisturb: Set<FunctionAddress> = [],
        onlyBelow: FunctionAddress? = nil,
        maxMoves: Int? = nil,
        highestAddress: UInt64? = nil,
        conditions: [Condition] = [],
        tiers: OptionalTiers = OptionalTiers(),
        simulationBudget: Int = 3000,
        workLimit: Int? = nil
    ) {
        self.keep = keep
        self.allowDisturb = allowDisturb
        self.onlyBelow = onlyBelow
        self.maxMoves = maxMoves
        self.highestAddress = highestAddress
        self.conditions = conditions
        self.tiers = tiers
        self.simulationBudget = simulationBudget
        self.workLimit = workLimit
    }
}

/// What is optional in a tree, and may be asked for or given up.
public struct OptionalTiers: Hashable, Sendable {
    /// One kind of optional thing.
    public enum Tier: String, Hashable, Sendable, CaseIterable {
        /// Expansion ROMs. By default they may be lost and are not asked for.
        case rom
        /// I/O BARs of functions that have memory BARs. By default they must not be lost and are not asked for.
        case io
        /// VF BAR blocks. By default they must not be lost and are not asked for.
        case virtualFunctions = "vf"
        /// The room of empty hot-plug ports. By default it may shrink.
        case reserve
    }

    /// Tiers that a plan must place, or keep.
    public var required: Set<Tier>
    /// Tiers that a plan may lose.
    public var dropped: Set<Tier>

    /// Creates tiers; the defaults of each.
    public init(required: Set<Tier> = [], dropped: Set<Tier> = []) {
        self.required = required
        self.dropped = dropped
    }
}
