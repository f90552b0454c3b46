// SPDX-License-Identifier: GPL-2.0-or-later

// What changed the allocator, and where it is.
extension KernelCatalogue {
    /// One change of the allocator: the switches it turned, and where it is.
    public struct Change: Sendable, Hashable {
        /// The names of the switches of `KernelBehaviour`.
        public var switches: [String]
        /// The first mainline release with it.
        public var release: String
        /// The title of the commit; several are separated by semicolons.
        public var title: String
        /// Releases that carry it and releases that do not, as far as their sources or changelogs were read.
        public var carriedBy: String
    }

    /// A run of `vm-lab differential`: random trees, random operations, every line and register compared.
    public struct Run: Sendable, Hashable {
        /// The kernel, as `uname -r` prints it.
        public var release: String
        /// How many trees were booted.
        public var trees: Int
        /// How many operations were done on them.
        public var operations: Int
        /// The seeds of the trees, in words.
        public var seeds: String
        /// How many trees ended otherwise than predicted.
        public var differences: Int
    }

    /// A run of `vm-lab rescue`: cards that do not fit, plugged into random trees, repaired by the command in the guest.
    ///
    /// The failed hot-adds are `rescued + inPart + untouched + wentBack + lost`; what had an address before a repair and has
    /// none after it is lost.
    public struct Repairs: Sendable, Hashable {
        /// The kernel, as `uname -r` prints it.
        public var release: String
        /// The seeds of the trees, in words.
        public var seeds: String
        /// Repairs after which nothing was missing any more.
        public var rescued: Int
        /// Repairs of a part, as the plan had said.
        public var inPart = 0
        /// Refused, or no way known; nothing was written.
        public var untouched = 0
        /// Gone back, with all that was there before.
        public var wentBack = 0
        /// Something was lost.
        public var lost = 0

        /// All failed hot-adds.
        public var hotAdds: Int { rescued + inPart + untouched + wentBack + lost }
    }

    /// What was repaired on the kernels of the laboratory with the presets as they are, on seeds that nobody had looked at.
    ///
    /// Trees that a run's end cut short count with the repairs that had ended. On all of these kernels on which apply writes
    /// `LossTests` ran too: 1 GiB that does not fit beside a busy sibling, and 512 MiB among three switches, what once lost
    /// three cards on 6.18.
    public static let repairs: [Repairs] = [
        // The one that was left alone: a function that must not be stopped is in the way.
        Repairs(release: "5.10.0-46-amd64", seeds: "70700 to 70704", rescued: 11, untouched: 1),
        // One ended otherwise than predicted: windows in released windows were not read as placed then. The kept case
        // `window-in-released-window-6.16` agrees since.
        Repairs(release: "6.16.12+deb13-amd64", seeds: "12001 to 12004", rescued: 5, wentBack: 1),
        Repairs(release: "6.17.13+deb13-amd64", seeds: "12401, 12402", rescued: 5),
        Repairs(release: "6.18.15+deb13-amd64", seeds: "9501, 9502, 12201, 12202", rescued: 9),
        // Two went back at first: registers were held to tell the end of a window more exactly than they can, and the way
        // back of one outlasted the laboratory's patience.
        Repairs(
            release: "6.18.15+deb13-amd64",
            seeds: "70100 to 70102; two of 70101 and 70102 once more, after a mend",
            rescued: 5
        ),
        Repairs(release: "6.19.14+deb13-amd64", seeds: "12301 to 12303", rescued: 5),
        Repairs(release: "7.0.13+deb13-amd64", seeds: "70500 to 70502", rescued: 6),
        Repairs(release: "7.0.13+deb13-amd64", seeds: "9502", rescued: 2),
        Repairs(release: "7.1.13+deb13-amd64", seeds: "12101 to 12103", rescued: 7),
        Repairs(release: "7.2.13+deb14-amd64", seeds: "70200 to 70202", rescued: 5),
        Repairs(release: "7.3.4+deb13-amd64", seeds: "70600", rescued: 3),
        Repairs(release: "7.3.4+deb13-amd64", seeds: "9520, 9521", rescued: 2),
    ]

    /// What was run on the kernels of the laboratory with the presets as they are, on seeds that nobody had looked at.
    public static let runs: [Run] = [
        Run(release: "6.16.12+deb13-amd64", trees: 5, operations: 55, seeds: "9100, 9102 to 9105", differences: 0),
        Run(release: "6.18.15+deb13-amd64", trees: 5, operations: 55, seeds: "9100, 9102 to 9105", differences: 0),
        Run(release: "7.0.13+deb13-amd64", trees: 5, operations: 55, seeds: "9100, 9102 to 9105", differences: 0),
        Run(release: "7.1.13+deb13-amd64", trees: 5, operations: 55, seeds: "9100, 9102 to 9105", differences: 0),
        Run(release: "7.3.4+deb13-amd64", trees: 5, operations: 55, seeds: "9100, 9102 to 9105", differences: 0),
    ]

    /// The changes of the allocator, oldest first.
    ///
    /// Titles are those of the mainline commits. "Carried by" names only what was seen: Debian's changelogs of 5.10, 6.1
    /// and 6.12, the sources named in the entries, and the announcements of stable updates.
    public static let changes: [Change] = [
        Change(
            switches: ["configuredBridgesShareBuses", "configuredBusesAreUsed"],
            release: "6.1",
            title: "PCI: Pass available buses even if the bridge is already configured; "
                + "PCI: Fix used_buses calculation in pci_scan_child_bus_extend()",
            carriedBy: "6.1.192; not 5.10.262"
        ),
        Change(
            switches: ["distributesAtBoot"],
            release: "6.3",
            title: "PCI: Distribute available resources for root buses, too",
            carriedBy: "6.1.18; not 5.10.262"
        ),
        Change(
            switches: ["relaxedTail"],
            release: "6.10",
            title: "PCI: Relax bridge window tail sizing rules",
            carriedBy: "not 6.1.192"
        ),
        Change(
            switches: ["relaxedTailForExtras"],
            release: "6.15",
            title: "PCI: Allow relaxed bridge window tail sizing for optional resources; "
                + "PCI: Use min_align, not unrelated add_align, for size0",
            carriedBy: "not 6.12.118"
        ),
        Change(
            switches: ["ioExtraCountsRequired"],
            release: "6.15",
            title: "PCI: Simplify size1 assignment logic",
            carriedBy: "6.17.0 to 7.3.4; not 6.12.118"
        ),
        Change(
            switches: ["optionalSplit", "dropsExtrasOfUnplaced"],
            release: "6.15",
            title: "PCI: Rework optional resource handling",
            carriedBy: "6.17.0 to 7.3.4; not 6.12.118"
        ),
        Change(
            switches: ["relaxedTailNeverRaises"],
            release: "6.18",
            title: "PCI: Relaxed tail alignment should never increase min_align",
            carriedBy: "6.19.0; not 6.17.0"
        ),
        Change(
            switches: ["closedWindowsKeepFlags"],
            release: "6.18",
            title: "PCI: Preserve bridge window resource type flags",
            carriedBy: "6.18.16, 6.19.0 to 7.3.4; not 6.17.0"
        ),
        Change(
            switches: ["windowSelectedByType"],
            release: "6.18",
            title: "PCI: Add bridge window selection functions; "
                + "PCI: Use pbus_select_window_for_type() during mem window sizing",
            carriedBy: "6.18.16, 6.19.0 to 7.3.4; not 6.17.0"
        ),
        Change(
            switches: ["enableOverlooksWindows"],
            release: "6.18",
            title: "PCI: Enable bridge even if bridge window fails to assign",
            carriedBy: "6.18.16, 6.19.0 to 7.3.4; not 6.17.0"
        ),
        Change(
            switches: ["unclaimableWindowIsClosed"],
            release: "6.18",
            title: "PCI: Disable non-claimed bridge window",
            carriedBy: "6.18.16, 6.19.0 to 7.3.4; not 6.12.118"
        ),
        Change(
            switches: ["resizeRelease"],
            release: "6.19",
            title: "PCI: Prevent resource tree corruption when BAR resize fails; "
                + "PCI: Fix restoring BARs on BAR resize rollback path; PCI: Use pbus_select_window() during BAR resize",
            carriedBy: "the first two 5.10.261 and 6.1.178, the three 6.12.97; not 6.18.16"
        ),
        Change(
            switches: ["oldWindowSizeIsLowerBound"],
            release: "7.0",
            title: "PCI: Remove old_size limit from bridge window sizing",
            carriedBy: "6.18.14 and an update of 6.19 in February 2026"
        ),
        Change(
            switches: ["headAlignment", "relaxedTail", "relaxedTailForExtras", "largeMembersAlign"],
            release: "7.0",
            title: "PCI: Rewrite bridge window head alignment function; PCI: Stop over-estimating bridge window size",
            carriedBy: "6.18.14 and an update of 6.19 in February 2026"
        ),
        Change(
            switches: ["alignmentAloneIsExtra"],
            release: "7.0",
            title: "PCI: Fix bridge window alignment with optional resources",
            carriedBy: "6.18.16; not 6.19.0"
        ),
        Change(
            switches: ["emptyWindowsAreOptional", "optionalEntriesCarryAlignment"],
            release: "7.0",
            title: "PCI: Add pbus_mem_size_optional() to handle optional sizes",
            carriedBy: "7.1.5 to 7.3.4; not 6.18.16, not 6.19.0"
        ),
        Change(
            switches: ["distributionMayShrink"],
            release: "7.1",
            title: "PCI: Prevent shrinking bridge window from its required size",
            carriedBy: "7.0.10 and an update of 6.18 in May 2026; not 6.18.16, not 6.19.0"
        ),
        Change(
            switches: ["dropsExtrasOfUnplaced"],
            release: "7.1",
            title: "PCI: Fix premature removal from realloc_head list during resource assignment",
            carriedBy: "7.0.10 and an update of 6.18 in May 2026; not 6.18.16, not 6.19.0"
        ),
        Change(
            switches: ["tailBelowAlignedStart"],
            release: "7.1",
            title: "PCI: Align head space better",
            carriedBy: "7.1.5 to 7.3.4; not 6.18.16, not 6.19.0"
        ),
        Change(
            switches: ["largeMembersAlign"],
            release: "7.1",
            title: "PCI: Fix alignment calculation for resource size larger than align",
            carriedBy: "7.0.10, 7.1.5 to 7.3.4; not 6.18.16"
        ),
        Change(
            switches: ["rootBusResizeIsChecked"],
            release: "7.2",
            title: "PCI: Fix BAR resize for devices on a root bus",
            carriedBy: "6.1.191, 6.12.112, 7.2.9; not 5.10.262, not 7.1.13"
        ),
        Change(
            switches: ["childExtrasCountAgainstLeast"],
            release: "7.3",
            title: "title not looked up; calculate_memsize() in 7.3.4 beside 7.2.13",
            carriedBy: "7.3.4; not 7.2.13"
        ),
        Change(
            switches: [
                "skipsTooSmallWindows", "resizeRefusedWithVFs", "everyPortReportsErrors", "acpiSparesUpstreamPorts",
                "hostProbeAssignsOnce",
            ],
            release: "between 6.1 and 6.12",
            title: "titles not looked up; Debian's sources of 6.1.192 and 6.12.118 differ so",
            carriedBy: "6.12.118; not 6.1.192"
        ),
        Change(
            switches: ["alignmentOrders"],
            release: "between 5.10 and 6.1, and between 6.12 and 6.17",
            title: "titles not looked up; the sources differ so",
            carriedBy: "18 orders in 5.10.262, 24 in 6.1.192 and 6.12.118, 28 in 6.17.0 and later"
        ),
        Change(
            switches: ["bandwidthNeedsSpeeds"],
            release: "between 6.12 and 6.16",
            title: "title not looked up; the sources of 6.12.118 and 6.17.0 differ so",
            carriedBy: "6.17.0 and later; not 6.12.118"
        ),
        Change(
            switches: ["addIgnoresAutoprobe"],
            release: "between 6.18.15 and 6.19.14",
            title: "title not looked up; device_initial_probe asks drivers_autoprobe; Debian's kernels differ so",
            carriedBy: "6.19.14 and later; not 6.16.12, 6.17.13 and 6.18.15"
        ),
        Change(
            switches: ["vfRoomIsCounted", "loongArchAssignsOnce"],
            release: "between 6.17 and 7.2",
            title: "titles not looked up; of 7.2.13, taken for 6.18 and later without a run that tells",
            carriedBy: "7.2.13; not 6.12.118"
        ),
        Change(
            switches: ["readsAbsentWindows"],
            release: "between 6.19 and 7.0.13",
            title: "title not looked up; Debian's kernels of 6.19.14 and 7.0.13 differ so",
            carriedBy: "7.0.13 and later; not 6.19.14"
        ),
    ]
}
