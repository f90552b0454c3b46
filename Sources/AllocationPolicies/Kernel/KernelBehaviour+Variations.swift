// SPDX-License-Identifier: GPL-2.0-or-later

// Behaviours that differ in a single switch.
extension KernelBehaviour {
    /// The switches that are on or off.
    static let flags: [(name: String, path: any WritableKeyPath<KernelBehaviour, Bool> & Sendable)] = [
        ("oldWindowSizeIsLowerBound", \.oldWindowSizeIsLowerBound), ("relaxedTail", \.relaxedTail),
        ("headAlignment", \.headAlignment), ("tailBelowAlignedStart", \.tailBelowAlignedStart),
        ("optionalSplit", \.optionalSplit), ("windowSelectedByType", \.windowSelectedByType),
        ("closedWindowsKeepFlags", \.closedWindowsKeepFlags), ("skipsTooSmallWindows", \.skipsTooSmallWindows),
        ("distributionMayShrink", \.distributionMayShrink), ("distributesAtBoot", \.distributesAtBoot),
        ("configuredBridgesShareBuses", \.configuredBridgesShareBuses),
        ("configuredBusesAreUsed", \.configuredBusesAreUsed), ("resizeRefusedWithVFs", \.resizeRefusedWithVFs),
        ("vfRoomIsCounted", \.vfRoomIsCounted), ("addIgnoresAutoprobe", \.addIgnoresAutoprobe),
        ("ioExtraCountsRequired", \.ioExtraCountsRequired), ("everyPortReportsErrors", \.everyPortReportsErrors),
        ("bandwidthNeedsSpeeds", \.bandwidthNeedsSpeeds), ("unclaimableWindowIsClosed", \.unclaimableWindowIsClosed),
        ("enableOverlooksWindows", \.enableOverlooksWindows), ("acpiSparesUpstreamPorts", \.acpiSparesUpstreamPorts),
        ("hostProbeAssignsOnce", \.hostProbeAssignsOnce), ("loongArchAssignsOnce", \.loongArchAssignsOnce),
        ("relaxedTailForExtras", \.relaxedTailForExtras), ("relaxedTailNeverRaises", \.relaxedTailNeverRaises),
        ("largeMembersAlign", \.largeMembersAlign), ("childExtrasCountAgainstLeast", \.childExtrasCountAgainstLeast),
        ("alignmentAloneIsExtra", \.alignmentAloneIsExtra), ("emptyWindowsAreOptional", \.emptyWindowsAreOptional),
        ("optionalEntriesCarryAlignment", \.optionalEntriesCarryAlignment),
        ("dropsExtrasOfUnplaced", \.dropsExtrasOfUnplaced), ("readsAbsentWindows", \.readsAbsentWindows),
        ("rootBusResizeIsChecked", \.rootBusResizeIsChecked),
    ]

    /// Every behaviour that differs from this one in one switch, with the change in words, in the order of the switches.
    package var variations: [(change: String, behaviour: KernelBehaviour)] {
        var result: [(change: String, behaviour: KernelBehaviour)] = []
        for flag in Self.flags {
            var copy = self
            copy[keyPath: flag.path].toggle()
            result.append(("\(flag.name) \(copy[keyPath: flag.path] ? "on" : "off")", copy))
        }
        for release in ResizeRelease.allCases where release != resizeRelease {
            var copy = self
            copy.resizeRelease = release
            result.append(("resizeRelease \(release.rawValue)", copy))
        }
        for orders in [18, 24, 28] where orders != alignmentOrders {
            var copy = self
            copy.alignmentOrders = orders
            result.append(("alignmentOrders \(orders)", copy))
        }
        return result
    }

    /// Whether two behaviours act the same, whatever they are called.
    package func actsLike(_ other: KernelBehaviour) -> Bool { switches == other.switches }
}
