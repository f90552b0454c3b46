// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// Waits until the kernel has finished with the slots: nothing in the tree changes, and no slot is on its way.
public struct QuietWatch {
    /// The machine.
    public var observer: any MachineObserver
    /// The clock.
    public var pacing: Pacing
    /// How long nothing may change.
    public var quiet: Duration
    /// How long it may take to become so.
    public var limit: Duration
    /// How long a slot with a running link and nothing behind it is waited for.
    public var emptyLinkLimit: Duration = .seconds(5)
    /// How often the tree is read.
    public var interval: Duration = .milliseconds(50)

    /// Creates a watch.
    public init(observer: any MachineObserver, pacing: Pacing, quiet: Duration, limit: Duration) {
        self.observer = observer
        self.pacing = pacing
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
        let start = pacing.now()
        var last: UInt64?
        var since = start
        while true {
            let moment = pacing.now()
            let tree = try observer.tree()
            let slots = try busySlots(tree, emptyCounts: moment - start < emptyLinkLimit)
            let fingerprint = tree.fingerprint
            if fingerprint != last || !slots.isEmpty {
                last = fingerprint
                since = moment
            }
            let now = pacing.now()
            let isQuiet = slots.isEmpty && now - since >= quiet
            if isQuiet || now - start >= limit {
                return Result(tree: tree, waited: now - start, isQuiet: isQuiet, busySlots: slots)
            }
            pacing.sleep(interval)
        }
    }

    /// The ports whose slot is between two states.
    ///
    /// pciehp lets the power indicator blink (Slot Control, bits 9:8 = 10b; PCIe 6.0 §7.5.3.10) from the first event
    /// until it is done with the slot. A slot without that indicator shows a card (Slot Status, bit 6) and an active
    /// link (Link Status, bit 13) before the kernel has found the function behind it.
    func busySlots(_ tree: TreeState, emptyCounts: Bool) throws -> [FunctionAddress] {
        let bridges = tree.functions.filter { $0.busRange != nil }
        var result: [FunctionAddress] = []
        for signs in try observer.signs(of: bridges.map(\.address)) {
            guard let express = Capabilities(signs.config).express, express.isSlotImplemented,
                express.slotCapabilities?.contains(.hotPlugCapable) == true,
                let control = signs.config.word(Int(express.offset) + 0x18)
            else { continue }
            if control >> 8 & 3 == 2 {
                result.append(signs.address)
                continue
            }
            guard emptyCounts, control & 0x400 == 0, (express.slotStatus ?? 0) & 0x40 != 0,
                (express.linkStatus ?? 0) & 0x2000 != 0,
                let bus = bridges.first(where: { $0.address == signs.address })?.busRange?.first,
                !tree.functions.contains(where: { $0.address.bus == bus && $0.address.segment == signs.address.segment }
                )
            else { continue }
            result.append(signs.address)
        }
        return result
    }
}
