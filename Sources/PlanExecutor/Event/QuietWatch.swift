// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// Waits until the kernel has finished with the slots: nothing in the tree changes, and no slot is on its way.
public struct QuietWatch {
    /// The machine.
    public var observer: any MachineObserver
    /// The clock.
    public var clock: ExecutionClock
    /// How long nothing may change.
    public var quiet: Duration
    /// How long it may take to become so.
    public var limit: Duration
    /// How long a slot with a running link and nothing behind it is waited for.
    public var emptyLinkLimit: Duration = .seconds(5)
    /// How often the tree is read.
    public var interval: Duration = .milliseconds(50)

    /// Creates a watch.
    public init(observer: any MachineObserver, clock: ExecutionClock, quiet: Duration, limit: Duration) {
        self.observer = observer
        self.clock = clock
        self.quiet = quiet
        self.limit = limit
    }

    /// What the wait ended with.
    public struct Result: Hashable, Sendable {
        /// The tree.
        public var tree: TreeState
        /// How long was waited.
        public var waited: Duration
        /// Whether the machine became quiet within the limit.
        public var isQuiet: Bool
        /// Slots that were still on their way, ascending.
        public var busySlots: [FunctionAddress]

        /// Creates a result.
        public init(tree: TreeState, waited: Duration, isQuiet: Bool, busySlots: [FunctionAddress]) {
            self.tree = tree
            self.waited = waited
            self.isQuiet = isQuiet
            self.busySlots = busySlots
        }
    }

    /// Waits.
    ///
    /// - Throws: `ObservationError` when the tree cannot be read.
    public func wait() throws -> Result {
        let start = clock.now()
        var last: UInt64?
        var since = start
        while true {
            let moment = clock.now()
            let tree = try observer.tree()
            let slots = SlotActivity.busyPorts(
                tree,
                try observer.health(of: SlotActivity.ports(of: tree)),
                emptyCounts: moment - start < emptyLinkLimit
            )
            let fingerprint = tree.fingerprint
            if fingerprint != last || !slots.isEmpty {
                last = fingerprint
                since = moment
            }
            let now = clock.now()
            let isQuiet = slots.isEmpty && now - since >= quiet
            if isQuiet || now - start >= limit {
                return Result(tree: tree, waited: now - start, isQuiet: isQuiet, busySlots: slots)
            }
            clock.sleep(interval)
        }
    }
}
