// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology
import RebalancePlanner

/// Tells the events that our own removals and rescans raise from those of new cards.
public enum EventEcho {
    /// How long after its beginning an apply can still have an echo, in seconds.
    static let reach: Int64 = 180

    /// Whether the event for `address` comes from the last apply: it began a short while ago in this boot, and the
    /// function is exactly what its plan predicted.
    ///
    /// While an apply is under way nothing is an echo; whoever works then looks once more afterwards.
    ///
    /// - Parameters:
    ///   - address: the function that appeared.
    ///   - disk: where the journals are.
    ///   - observer: the machine.
    ///   - now: the time of day, seconds since 1970.
    /// - Returns: whether the event can be ignored.
    /// - Throws: `JournalError`, `ObservationError`.
    public static func isEcho(
        _ address: FunctionAddress,
        disk: any JournalDisk,
        observer: any MachineObserver,
        now: Int64
    ) throws -> Bool {
        guard try disk.read(Journal.unfinishedName) == nil, let record = try Journal.last(on: disk),
            record.beginning.bootID == (try observer.bootID()),
            record.beginning.time <= now, now - record.beginning.time < reach,
            let predicted = record.plan.after[address]
        else { return false }
        return try observer.tree().functions.contains(predicted)
    }
}
