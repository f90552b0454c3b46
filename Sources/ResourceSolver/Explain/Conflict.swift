// SPDX-License-Identifier: GPL-2.0-or-later

/// Why what is required cannot be placed: a set of demands and holders that cannot all be satisfied.
public struct Conflict: Hashable, Sendable {
    /// One member of the set.
    public struct Member: Hashable, Sendable {
        /// What the member is.
        public enum Role: Hashable, Sendable {
            /// A request that must be placed, by index.
            case request(Int)
            /// A request that holds its range and must not move, by index.
            case holder(Int)
            /// A window that must keep its range: bridge and window index.
            case frozenWindow(bridge: Int, window: Int)
            /// An obstacle: host and obstacle index.
            case obstacle(host: Int, index: Int)
        }

        /// What the member is.
        public var role: Role
        /// Its name.
        public var label: String
    }

    /// The index of the host bridge.
    public var host: Int
    /// The members in tree order: requests, then holders.
    public var members: [Member]
    /// Whether dropping any member was proved to make the rest fit.
    public var isIrreducible: Bool
    /// How many bytes (or bus numbers) are missing at least; 0 when only the shape of the space is wrong.
    public var shortage: UInt64
    /// One sentence.
    public var summary: String
    /// The derivation, one numbered sentence each.
    public var derivation: [String]
    /// What a user could do, a sentence each; empty when nothing helps.
    public var hints: [String]
}
