// SPDX-License-Identifier: GPL-2.0-or-later

/// What one generation of the Linux PCI allocator does where generations differ: named switches and their presets.
///
/// Stable trees move, so a release names a preset but does not prove it: when a machine disagrees with a prediction, try
/// `alternatives`.
public struct KernelBehaviour: Sendable, Hashable {
    /// The preset's name: `linux-6.1`, `linux-6.12`, `linux-7.2`, or a variation of one.
    public var name: String

    /// A memory window that is re-sized never gets smaller than the size it still carries.
    ///
    /// That size comes from the registers of a re-discovered bridge or from a release (`calculate_memsize`, parameter
    /// `old_size`). I/O windows always do this.
    public var oldWindowSizeIsLowerBound = true
    /// A memory window whose generous size finds no room above is sized again to a multiple of the window granularity
    /// only (`pbus_upstream_space_available`, called by `pbus_size_mem`).
    public var relaxedTail = false
    /// A memory window's alignment is the least that leaves no gap at its head, and its size is only rounded to the window
    /// granularity (`calculate_head_align`); otherwise size and alignment follow `calculate_mem_align`.
    public var headAlignment = false
    /// The part of a memory request that does not fill its alignment may be placed below the aligned address
    /// (`pci_align_resource`).
    public var tailBelowAlignedStart = false
    /// ROMs that are off and VF BARs are optional throughout: they are sized as extras, and failing them is no failure of
    /// the required part (`pci_resource_is_optional`).
    public var optionalSplit = false
    /// The window that a request belongs to is chosen by its type alone (`pbus_select_window_for_type`), in sizing,
    /// distribution and release alike; otherwise flag masks decide (`__pci_bus_size_bridges`).
    public var windowSelectedByType = false
    /// Closed, unneeded and failed windows keep their flags and are marked `DISABLED` or `UNSET`, and the allocator passes
    /// them over (`pci_read_bridge_io` and siblings, `pbus_size_mem`, `reset_resource`, `pci_bus_alloc_from_region`);
    /// otherwise their flags are cleared.
    public var closedWindowsKeepFlags = false
    /// A window that is smaller than the request is passed over before the search (`pci_bus_alloc_from_region`).
    public var skipsTooSmallWindows = false
    /// Handing out left-over space may make a window smaller than what is below it needs (`adjust_bridge_window`);
    /// otherwise only the hot-plug extra can be taken back.
    public var distributionMayShrink = true
    /// Left-over space is also handed out at boot (`pci_root_bus_distribute_available_resources`).
    public var distributesAtBoot = true
    /// A bridge whose numbers were sane when it was found hands the rest of them out among the hot-plug bridges behind it
    /// (`pci_scan_bridge_extend`).
    public var configuredBridgesShareBuses = true
    /// The numbers that configured bridges take on a bus count towards what its hot-plug bridges cannot have; otherwise the
    /// difference is taken the wrong way round and they count as free (`pci_scan_child_bus_extend`).
    public var configuredBusesAreUsed = true
    /// What a write to resourceN_resize releases before it sizes again.
    public var resizeRelease: ResizeRelease = .sameParent
    /// resourceN_resize is refused while VFs are enabled (`__resource_resize_store`).
    public var resizeRefusedWithVFs = false
    /// sriov_numvfs needs room for the VFs asked for, not only an assigned block (`sriov_enable`).
    public var vfRoomIsCounted = false
    /// A function that is found by a rescan is offered to drivers whatever `drivers_autoprobe` says (`pci_bus_add_device`).
    public var addIgnoresAutoprobe = true
    /// Sizing an I/O window with its extra counts the required size where the large requests' sum belongs, so a window
    /// that needs a little and may have an extra asks for twice (`pbus_size_io`, which reuses `size1`).
    public var ioExtraCountsRequired = false
    /// Error reporting is a service of every port that has the capability, not of root ports alone, and a port with a
    /// service becomes bus master (`get_port_device_capability`).
    public var everyPortReportsErrors = true
    /// Bandwidth notification counts as a port service only where a link has more than one speed
    /// (`get_port_device_capability`).
    public var bandwidthNeedsSpeeds = false
    /// A window that cannot be claimed at boot is closed in its registers (`pci_claim_bridge_resource`).
    public var unclaimableWindowIsClosed = false
    /// Enabling a function overlooks windows and optional resources that have no address (`pci_enable_resources`).
    public var enableOverlooksWindows = false
    /// An upstream port is never marked hot-plug capable by the ACPI hot-plug driver (`check_hotplug_bridge`).
    public var acpiSparesUpstreamPorts = false
    /// Hosts of device trees are sized with extras as a must and assigned in one try, and a host that only probes is
    /// claimed and nothing more (`pci_host_probe` before 6.9).
    public var hostProbeAssignsOnce = true
    /// The same on loongarch (`pci_acpi_scan_root` before 7.0).
    public var loongArchAssignsOnce = true
    /// The number of alignment orders, from 1 MiB, beyond which a memory request is dropped (`pbus_size_mem`).
    public var alignmentOrders = 24

    /// The relaxed size also applies to the generous size, and what is optional does not count for the required one
    /// (`pbus_size_mem`).
    public var relaxedTailForExtras = false
    /// The relaxed alignment is never more than the one it replaces (`pbus_size_mem`).
    public var relaxedTailNeverRaises = false
    /// Members larger than their alignment count for the alignment of the window too (`pbus_size_mem`).
    public var largeMembersAlign = false
    /// Optional extras of what is below count towards the least size of a hot-plug window instead of being added to it
    /// (`calculate_memsize`).
    public var childExtrasCountAgainstLeast = false
    /// A window that wants a larger alignment for its extras only is listed with nothing but that
    /// (`pbus_size_mem`, `reassign_resources_sorted`).
    public var alignmentAloneIsExtra = false
    /// A window of size 0 is optional as a whole (`pci_resource_is_optional`).
    public var emptyWindowsAreOptional = false
    /// What is wholly optional is listed with its alignment (`pbus_size_mem_optional`).
    public var optionalEntriesCarryAlignment = false
    /// Extras of windows further down, which have no place yet, are dropped when extras are tried one by one further up
    /// (`reassign_resources_sorted`).
    public var dropsExtrasOfUnplaced = false
    /// Registers of windows that a bridge does not have are read, and say that it has one at 0
    /// (`pci_read_bridge_io`, `pci_read_bridge_mmio_pref`).
    public var readsAbsentWindows = true
    /// resourceN_resize of a function on a root bus places the BARs anew at once and goes back if that fails
    /// (`pci_do_resource_release_and_resize`).
    public var rootBusResizeIsChecked = true

    /// What resourceN_resize releases of the function itself.
    public enum ResizeRelease: String, Sendable, Hashable, CaseIterable {
        /// Standard BARs whose flags equal those of the resized BAR (the original `pci_resize_resource` users).
        case identicalFlags
        /// There is no such file (5.10).
        case noFile
        /// Every resource whose parent window is the same (the back-ports of `pci_do_resource_release_and_resize`).
        case sameParent
        /// Every resource that the same window would be chosen for, and the whole chain of windows above.
        case selectedWindow
        /// The same, but what the function itself lost is not restored after a failure (6.18).
        case selectedWindowForGood
    }

    /// Creates the behaviour of Debian's 6.1 under another name.
    public init(name: String) { self.name = name }
}

extension KernelBehaviour {
    /// Debian 12: 6.1.192.
    public static let linux6_1 = KernelBehaviour(name: "linux-6.1")

    /// Debian 11: 5.10.262, by what it lacks beside 6.1.
    public static let linux5_10 = linux6_1.changed("linux-5.10") {
        $0.distributesAtBoot = false
        $0.configuredBridgesShareBuses = false
        $0.configuredBusesAreUsed = false
        $0.alignmentOrders = 18
        $0.resizeRelease = .noFile
    }

    // From here on each by what changed since the one before it.

    /// Debian 13: 6.12.118.
    public static let linux6_12 = linux6_1.changed("linux-6.12") {
        $0.relaxedTail = true
        $0.everyPortReportsErrors = false
        $0.skipsTooSmallWindows = true
        $0.resizeRefusedWithVFs = true
        $0.acpiSparesUpstreamPorts = true
        $0.hostProbeAssignsOnce = false
    }

    /// Debian's trixie-backports: 6.16.12.
    public static let linux6_16 = linux6_12.changed("linux-6.16") {
        $0.optionalSplit = true
        $0.dropsExtrasOfUnplaced = true
        $0.relaxedTailForExtras = true
        $0.ioExtraCountsRequired = true
        $0.alignmentOrders = 28
        $0.bandwidthNeedsSpeeds = true
        $0.resizeRelease = .identicalFlags
    }

    /// Debian's trixie-backports: 6.17.13.
    public static let linux6_17 = linux6_16.changed("linux-6.17") { _ in }

    /// Debian's trixie-backports: 6.18.15.
    public static let linux6_18 = linux6_17.changed("linux-6.18") {
        $0.oldWindowSizeIsLowerBound = false
        $0.relaxedTail = false
        $0.relaxedTailForExtras = false
        $0.headAlignment = true
        $0.largeMembersAlign = true
        $0.alignmentAloneIsExtra = true
        $0.windowSelectedByType = true
        $0.closedWindowsKeepFlags = true
        $0.unclaimableWindowIsClosed = true
        $0.enableOverlooksWindows = true
        $0.resizeRelease = .selectedWindowForGood
        $0.vfRoomIsCounted = true
        $0.loongArchAssignsOnce = false
    }

    /// Debian's trixie-backports: 6.19.14.
    public static let linux6_19 = linux6_18.changed("linux-6.19") {
        $0.addIgnoresAutoprobe = false
        $0.resizeRelease = .selectedWindow
        $0.rootBusResizeIsChecked = false
    }

    /// Debian's trixie-backports: 7.0.13.
    public static let linux7_0 = linux6_19.changed("linux-7.0") {
        $0.distributionMayShrink = false
        $0.largeMembersAlign = false
        $0.emptyWindowsAreOptional = true
        $0.optionalEntriesCarryAlignment = true
        $0.dropsExtrasOfUnplaced = false
        $0.readsAbsentWindows = false
    }

    /// Debian's trixie-backports: 7.1.13.
    public static let linux7_1 = linux7_0.changed("linux-7.1") { $0.tailBelowAlignedStart = true }

    /// Debian unstable in late 2026: 7.2.13.
    public static let linux7_2 = linux7_1.changed("linux-7.2") { $0.rootBusResizeIsChecked = true }

    /// Debian's trixie-backports: 7.3.4.
    public static let linux7_3 = linux7_2.changed("linux-7.3") { $0.childExtrasCountAgainstLeast = true }

    /// This behaviour with some switches turned, under another name.
    func changed(_ name: String, _ change: (inout KernelBehaviour) -> Void) -> KernelBehaviour {
        var copy = self
        copy.name = name
        change(&copy)
        return copy
    }

    /// The three generations: Debian's stable, the one before, and unstable.
    public static let presets: [KernelBehaviour] = [.linux6_1, .linux6_12, .linux7_2]

    /// The preset of every kernel in the laboratory, oldest first.
    public static let everyPreset: [KernelBehaviour] = [
        .linux5_10, .linux6_1, .linux6_12, .linux6_16, .linux6_17, .linux6_18, .linux6_19, .linux7_0, .linux7_1,
        .linux7_2, .linux7_3,
    ]

    /// The likeliest behaviour for a release as `uname -r` prints it, and whether that very release judged it.
    ///
    /// An unreadable release gives `linux6_1`, not exact.
    public static func preset(forRelease release: String) -> (behaviour: KernelBehaviour, isExact: Bool) {
        let set = KernelCatalogue.behaviours(forRelease: release)
        return (set.first, set.judgement == .itself)
    }

    /// The other behaviours to try when the machine disagrees with a prediction of this one, likeliest first.
    public var alternatives: [KernelBehaviour] {
        var result: [KernelBehaviour] = []
        func variation(_ suffix: String, _ change: (inout KernelBehaviour) -> Void) {
            var copy = self
            change(&copy)
            copy.name = "\(name)+\(suffix)"
            if copy.switches != switches { result.append(copy) }
        }
        // Pieces that stable trees carried back one at a time.
        if closedWindowsKeepFlags {
            variation("old-size") { $0.oldWindowSizeIsLowerBound = true }
            variation("no-tail") { $0.tailBelowAlignedStart = false }
        } else {
            variation(relaxedTail ? "no-relaxed-tail" : "relaxed-tail") { $0.relaxedTail.toggle() }
            variation("no-shrink") { $0.distributionMayShrink = false }
            variation("no-boot-distribution") { $0.distributesAtBoot = false }
            variation("old-resize") { $0.resizeRelease = .identicalFlags }
        }
        for preset in Self.presets where preset.switches != switches { result.append(preset) }
        return result
    }

    /// What every switch is set to, by its name.
    private var valuesByName: [(name: String, value: AnyHashable)] {
        Self.flags.map { ($0.name, AnyHashable(self[keyPath: $0.path])) }
            + [("resizeRelease", AnyHashable(resizeRelease)), ("alignmentOrders", AnyHashable(alignmentOrders))]
    }

    /// The names of all switches.
    public static var switchNames: [String] { KernelBehaviour.linux6_1.valuesByName.map(\.name) }

    /// The names of the switches in which two behaviours differ.
    public func switches(differingFrom other: KernelBehaviour) -> [String] {
        zip(valuesByName, other.valuesByName).filter { $0.value != $1.value }.map(\.0.name)
    }

    /// The behaviour without its name, to compare by what it does.
    var switches: KernelBehaviour {
        var copy = self
        copy.name = ""
        return copy
    }
}

extension KernelBehaviour: CustomStringConvertible {
    /// The name.
    public var description: String { name }
}
