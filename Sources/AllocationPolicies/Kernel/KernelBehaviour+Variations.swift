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

    /// What this behaviour does by a switch, where that bears on whether something is placed; else the switch's name.
    package func words(ofSwitch name: String) -> String {
        switch name {
        case "headAlignment":
            headAlignment
                ? "a memory window gets the least alignment without a gap at its head, and its size is what is below, rounded "
                    + "to the window granularity"
                : "size and alignment of a memory window follow the largest parts below it"
        case "largeMembersAlign":
            largeMembersAlign
                ? "members larger than their alignment count for the alignment of a window"
                : "members larger than their alignment do not count for the alignment of a window"
        case "relaxedTail":
            relaxedTail
                ? "a window whose generous size finds no room is sized again to the window granularity"
                : "a window whose generous size finds no room is not sized again"
        case "relaxedTailNeverRaises":
            relaxedTailNeverRaises
                ? "the relaxed alignment of a window is never more than the one it replaces"
                : "the relaxed alignment of a window may be more than the one it replaces"
        case "oldWindowSizeIsLowerBound":
            oldWindowSizeIsLowerBound
                ? "a memory window never gets smaller than it was" : "a memory window may get smaller than it was"
        case "tailBelowAlignedStart":
            tailBelowAlignedStart
                ? "what does not fill the alignment of a request may lie below the aligned address"
                : "a request begins at an address aligned for it"
        case "distributesAtBoot":
            distributesAtBoot ? "left-over space is handed out at boot" : "left-over space is not handed out at boot"
        case "distributionMayShrink":
            distributionMayShrink
                ? "handing out left-over space may make a window too small for what is below"
                : "handing out left-over space takes nothing that is needed"
        case "optionalSplit":
            optionalSplit
                ? "ROMs that are off and VF BARs are optional throughout"
                : "ROMs and VF BARs count with what is required"
        case "alignmentOrders": "requests of memory are counted up to \(alignmentOrders) orders of alignment"
        case "resizeRelease": "what a resize releases (\(resizeRelease.rawValue))"
        default: name
        }
    }

    /// Whether two behaviours act the same, whatever they are called.
    package func actsLike(_ other: KernelBehaviour) -> Bool { switches == other.switches }
}
