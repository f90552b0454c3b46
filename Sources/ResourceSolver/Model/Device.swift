// SPDX-License-Identifier: GPL-2.0-or-later

extension Problem {
    /// What is disturbed as one: a function with all its resources.
    public struct Device: Hashable, Sendable {
        /// Unique among devices; decides ties.
        public var key: UInt64
        /// The name in explanations: `0000:3a:00.0`.
        public var label: String
        /// The index of the host bridge.
        public var host: Int
        /// The index of the bridge on whose secondary bus it sits, or nil on a root bus.
        public var bridge: Int?
        /// What it costs to disturb it, at least 1; nil when it must not be disturbed. Weights above 2^32 count as 2^32.
        public var weight: Int?

        /// Creates a device.
        public init(key: UInt64, label: String, host: Int = 0, bridge: Int? = nil, weight: Int? = 1) {
            self.key = key
            self.label = label
            self.host = host
            self.bridge = bridge
            self.weight = weight
        }
    }
}
