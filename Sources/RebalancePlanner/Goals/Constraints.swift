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
    /// How many operations the search may simulate, 1 and up.
    public var simulationBudget: Int

    /// Creates constraints; nothing beyond the default protection.
    public init(
        keep: Set<FunctionAddress> = [],
        allowDisturb: Set<FunctionAddress> = [],
        onlyBelow: FunctionAddress? = nil,
        maxMoves: Int? = nil,
        simulationBudget: Int = 4000
    ) {
        self.keep = keep
        self.allowDisturb = allowDisturb
        self.onlyBelow = onlyBelow
        self.maxMoves = maxMoves
        self.simulationBudget = simulationBudget
    }
}
