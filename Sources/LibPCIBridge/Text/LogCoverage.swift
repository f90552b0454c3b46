// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Which part of a boot a kernel log covers: a buffer that has forgotten the boot, a text that was cut, and a choice of
/// lines all read healthy, because failures are not in them.
struct LogCoverage {
    /// The number of lines of the log so far.
    var lines = 0
    private var discovered = 0
    private var beforeRoot = 0
    private var others = 0
    /// The number of lines at the last discovery.
    private var lastDiscovery = 0
    private(set) var isAssigned = false
    /// Whether something was said that comes only after all of the assignment: by a driver, or of a bus's windows.
    private var isFollowed = false
    /// The number of lines at the last message of the assignment.
    private var lastAssignment = 0
    /// The segment of the last discovery.
    private(set) var lastSegment: UInt32 = 0

    /// Whether the log may end in the midst of the assignment: what it does not say of a BAR then is not told.
    var mayEndInAssignment: Bool { isAssigned && !isFollowed && lines - lastAssignment < 150 }

    /// Notes a message about a function: `isBusCode` when the PCI core itself speaks, not a driver.
    mutating func note(_ text: TextBytes, isBusCode: Bool, isRootKnown: Bool, segment: UInt32) {
        guard text.first == 0x5b, text.has("] type "), text.has(" class ") else {
            others += 1
            // `BAR 2: assigned to efifb` comes with the discovery.
            let isAssignment = text.has("assigned") && !text.has("assigned to ") || LogTextReader.isRefusal(text)
            if isAssignment { lastAssignment = lines }
            // Drivers come after the assignment; a port's own may speak for the core.
            if !isBusCode, !isAssignment { isFollowed = true }
            if !isBusCode || isAssignment { isAssigned = true }
            return
        }
        lastSegment = segment
        isFollowed = false
        discovered += 1
        if !isRootKnown { beforeRoot += 1 }
        lastDiscovery = lines
        isAssigned = false
    }

    /// Notes a message about a bus: the kernel lists every bus's windows when it has assigned addresses
    /// (`pci_bus_dump_resources`).
    mutating func note(bus text: TextBytes) {
        if text.starts("resource ") { (isAssigned, isFollowed) = (true, true) }
    }

    /// What the log does not cover.
    ///
    /// - Parameters:
    ///   - hasRoots: whether the log names a root bus.
    ///   - hasMessages: whether anything in it is about PCI.
    /// - Returns: a finding for each end that is missing.
    func findings(hasRoots: Bool, hasMessages: Bool) -> [TextFinding] {
        guard discovered + others > 0 else {
            return hasMessages
                ? [TextFinding(.logCutAtStart, nil, "no message of this log is of the kernel's own about a function")]
                : []
        }
        var result: [TextFinding] = []
        if !hasRoots || beforeRoot > 0 || discovered == 0 {
            result.append(
                TextFinding(
                    .logCutAtStart,
                    nil,
                    "the kernel log does not begin with the boot, or only some of its lines are here: what else it said is not known"
                )
            )
        }
        // Between discovery and assignment a boot prints some dozens of lines about other things.
        if discovered > 0, !isAssigned, lines - lastDiscovery < 150 {
            result.append(
                TextFinding(
                    .logCutAtEnd,
                    nil,
                    "the kernel log ends before the kernel has assigned addresses: whether everything got its place is not in it"
                )
            )
        }
        return result
    }
}
