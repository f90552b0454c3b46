// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What the architecture and the boot parameters decide for the allocator, whatever the kernel version.
public struct Platform: Sendable, Hashable {
    /// What it was made from; other fields may differ from those of the preset.
    public private(set) var preset = Preset.x86
    /// Who takes over firmware's addresses at boot, and how the rest is assigned.
    public var boot = BootMethod.survey
    /// Bridge windows are read from the registers when a bus is found (`pcibios_fixup_bus`): x86, powerpc.
    public var readsBridgeWindows = true
    /// Every bridge is renumbered on every scan (`pcibios_assign_all_busses`): `pci=assign-busses`, riscv, mips, hosts of
    /// pci-host-common.
    public var renumbersAllBuses = false
    /// The x86 rules for memory: above 1 MiB (`pcibios_align_resource`), below the 2 MiB of boot ROM under 4 GiB and
    /// outside of reserved E820 ranges (`arch_remove_reservations`).
    public var hasISARules = true
    /// I/O stays out of the ISA aliases, addresses with bits 8 or 9 set (`pcibios_align_resource`): x86, pseries, mips.
    public var avoidsISAAliases = true
    /// The lowest I/O port handed out from an aperture that starts at 0 (`PCIBIOS_MIN_IO`).
    public var minimumIO: UInt64 = 0x1000
    /// The lowest memory address handed out from an aperture that starts at 0 (`PCIBIOS_MIN_MEM`).
    public var minimumMemory: UInt64 = 0x1000_0000
    /// `host->preserve_config`: what firmware programmed is claimed, no automatic reallocation, no resourceN_resize.
    public var preservesConfiguration = false
    /// `PCI_PROBE_ONLY`: `linux,pci-probe-only` in the device tree. From 6.12 what is left is assigned nevertheless.
    public var probesOnly = false
    /// The least alignment of memory BARs at discovery (`pcibios_default_alignment`): on powernv the kernel's page
    /// size, 4 KiB or 64 KiB; 0 elsewhere.
    public var leastBARAlignment: UInt64 = 0
    /// The kernel's page size in bytes, a power of two: a VF BAR that is no multiple of it ends SR-IOV for its function
    /// (`sriov_init`).
    public var pageSize: UInt64 = 0x1000
    /// Windows are aligned to the segments of powernv's partitionable endpoints and widened to the apertures below root
    /// ports (`pcibios_window_alignment`, `pcibios_setup_bridge`).
    public var hasPartitionableEndpoints = false
    /// VF BARs are dropped at discovery: the hypervisor does not let the partition enable VFs (`pseries_pci_fixup_iov`).
    public var forbidsVFs = false
    /// sysfs shows ports as bus addresses (`pci_resource_to_user` of powerpc).
    public var showsBusPorts = false
    /// `pci=rom`: ROMs are not claimed at their firmware address.
    public var assignsROMs = false
    /// The hot-plug extras: `pci=hpiosize=`, default 256 bytes.
    public var hotPlugIO: UInt64 = 256
    /// `pci=hpmmiosize=`, default 2 MiB.
    public var hotPlugMemory: UInt64 = 2 << 20
    /// `pci=hpmmioprefsize=`, default 2 MiB.
    public var hotPlugPrefetchable: UInt64 = 2 << 20
    /// `pci=hpbussize=`, default 1.
    public var hotPlugBuses = 1
    /// `pci=realloc`.
    public var reallocation: Reallocation = .automatic
    /// `pci=pcie_scan_all`: all 32 devices of a link are probed (`PCI_SCAN_ALL_PCIE_DEVS`).
    public var scansAllDevices = false
    /// `pci=nocrs`, a word of x86: firmware's apertures are ignored and root buses get the whole of both spaces.
    public var ignoresApertures = false
    /// `pci=resource_alignment=`: the requests in force from the start.
    public var alignmentRequests = ""
    /// `pci=noari`: ARI is never switched on.
    public var ignoresARI = false
    /// `pcie_ports=compat` takes it away: the port driver binds to ports.
    public var bindsPortDriver = true
    /// Firmware left PCI Express hot-plug to the kernel (`native_pcie_hotplug`).
    public var hasNativeHotPlug = true

    /// Who takes over firmware's addresses at boot, and how the rest is assigned.
    public enum BootMethod: String, Sendable, Hashable {
        /// x86: what is consistent is claimed on all root buses, then the rest is assigned
        /// (`pcibios_resource_survey`, `pcibios_assign_resources`).
        case survey
        /// powerpc: its own survey of windows and BARs, then the rest is assigned (arch/powerpc `pcibios_resource_survey`).
        case powerPCSurvey
        /// As `powerPCSurvey`, all of firmware's addresses forgotten at discovery (`PCI_REASSIGN_ALL_RSRC`): powernv.
        case powerPCReassign
        /// Each root bus by itself, with optional extras (`pci_assign_unassigned_root_bus_resources`): arm64 and riscv with
        /// ACPI.
        case rootBus
        /// Hosts of device trees (`pci_host_probe`): as `rootBus` from 6.12, as `once` before.
        case hostProbe
        /// loongarch with ACPI: as `rootBus` in 7.x, as `once` before.
        case loongArch
        /// Everything is sized with extras as a must and assigned in one try (`pci_bus_size_bridges`,
        /// `pci_bus_assign_resources`): mips.
        case once
    }

    /// Whether boot may release firmware windows to make room.
    public enum Reallocation: String, Sendable, Hashable {
        /// Only when a VF BAR has no address (CONFIG_PCI_REALLOC_ENABLE_AUTO).
        case automatic
        /// `pci=realloc` or `pci=realloc=on`.
        case on
        /// `pci=realloc=off`.
        case off
    }

    /// An x86 machine with ACPI and no `pci=` words.
    public init() {}

    /// The same as a machine of that preset, whose differences are still to be set.
    init(of preset: Preset) { self.preset = preset }

    /// The platform of an architecture (`uname -m`) with the words of a kernel command line applied: its preset is
    /// `Preset(architecture:hardwareDescription:)`. Malformed words are ignored, as the kernel does.
    public init(architecture: String?, hardwareDescription: HardwareDescription? = nil, commandLine: String?) {
        self.init(
            Preset(architecture: architecture, hardwareDescription: hardwareDescription),
            commandLine: commandLine
        )
    }

    /// The platform of a kernel, with the words of another command line than the present one where that is given.
    public init(_ kernel: KernelIdentity, commandLine: String?) {
        self.init(
            architecture: kernel.architecture,
            hardwareDescription: kernel.hardwareDescription,
            commandLine: commandLine
        )
        if kernel.reallocatesByItself == false, reallocation == .automatic { reallocation = .off }
    }

    /// A preset with the words of a kernel command line applied.
    public init(_ preset: Preset, commandLine: String?) {
        self.init(preset)
        for word in (commandLine ?? "").split(separator: " ") {
            if word == "pcie_ports=compat" { bindsPortDriver = false }
            guard word.hasPrefix("pci=") else { continue }
            for option in word.dropFirst(4).split(separator: ",") { apply(String(option)) }
        }
    }

    /// Whether a word after `pci=` is one that a platform acts on.
    static func knows(_ option: String, on preset: Preset) -> Bool {
        // Two platforms that differ in everything a word can set.
        let first = Platform(preset)
        var changed = first
        changed.apply(option)
        if changed != first { return true }
        var other = first
        other.renumbersAllBuses = false
        other.reallocation = .off
        other.hotPlugIO = 0
        other.hotPlugMemory = 0
        other.hotPlugPrefetchable = 0
        other.hotPlugBuses = 0
        changed = other
        changed.apply(option)
        return changed != other
    }

    private mutating func apply(_ option: String) {
        func value(_ prefix: String) -> UInt64? {
            option.hasPrefix(prefix) ? Self.memparse(option.dropFirst(prefix.count)) : nil
        }
        switch option {
        case "assign-busses": renumbersAllBuses = true
        case "realloc", "realloc=on": reallocation = .on
        case "realloc=off": reallocation = .off
        case "rom": assignsROMs = true
        case "nocrs": ignoresApertures = ignoresApertures || preset == .x86
        case "noari": ignoresARI = true
        case "pcie_scan_all": scansAllDevices = true
        default: break
        }
        if option.hasPrefix("resource_alignment=") {
            alignmentRequests = String(option.dropFirst("resource_alignment=".count))
        }
        if let size = value("hpiosize=") { hotPlugIO = size }
        if let size = value("hpmmiosize=") { hotPlugMemory = size }
        if let size = value("hpmmioprefsize=") { hotPlugPrefetchable = size }
        if let size = value("hpmemsize=") {
            hotPlugMemory = size
            hotPlugPrefetchable = size
        }
        if let buses = value("hpbussize=") { hotPlugBuses = buses > 0xff ? 1 : Int(buses) }
    }

    /// A number with an optional size letter, as `memparse` reads it; nil without a digit.
    static func memparse(_ text: Substring) -> UInt64? {
        var digits = text
        var radix = 10
        if digits.hasPrefix("0x") || digits.hasPrefix("0X") {
            radix = 16
            digits = digits.dropFirst(2)
        }
        let number = digits.prefix { $0.isHexDigit && (radix == 16 || $0.isNumber) }
        guard let value = UInt64(number, radix: radix) else { return nil }
        let shift: UInt64
        switch digits.dropFirst(number.count).first {
        case "k", "K": shift = 10
        case "m", "M": shift = 20
        case "g", "G": shift = 30
        case "t", "T": shift = 40
        default: shift = 0
        }
        return value << shift
    }
}
