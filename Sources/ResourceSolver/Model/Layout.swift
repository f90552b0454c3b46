// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// An answer: an address for every request that is placed, a range for every window, and whom it disturbs.
public struct Layout: Hashable, Sendable {
    /// Per request of the problem: its range, or nil when it is left out.
    public var placements: [AddressRange?]
    /// Per bridge of the problem and per window of the bridge: its range, or nil when it is closed.
    public var windows: [[AddressRange?]]
    /// The indices of the disturbed devices, ascending by key.
    public var disturbed: [Int]
    /// The sum of the weights of the disturbed devices.
    public var cost: Int
    /// Whether the cost is proved least.
    public var proof: ProofStatus

    /// Creates a layout.
    public init(
        placements: [AddressRange?],
        windows: [[AddressRange?]],
        disturbed: [Int],
        cost: Int,
        proof: ProofStatus
    ) {
        self.placements = placements
        self.windows = windows
        self.disturbed = disturbed
        self.cost = cost
        self.proof = proof
    }
}

/// What a solver run comes to.
public enum Outcome: Hashable, Sendable {
    /// Everything required fits.
    case layout(Layout)
    /// It is proved that what is required does not fit, and why.
    case conflict(Conflict)
    /// The effort ended with neither a layout nor a proof that there is none.
    case undecided

    /// The layout, or nil.
    public var layout: Layout? {
        if case .layout(let layout) = self { return layout }
        return nil
    }

    /// The conflict, or nil.
    public var conflict: Conflict? {
        if case .conflict(let conflict) = self { return conflict }
        return nil
    }
}
