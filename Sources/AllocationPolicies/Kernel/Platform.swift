// SPDX-License-Identifier: GPL-2.0-or-later

/// What the architecture and the boot parameters decide for the allocator, whatever the kernel version.
public struct Platform: Sendable, Hashable {
    /// Bridge windows are read from the registers when a bus is found (`pcibios_fixup_bus`): x86, powerpc, mips.
    public var readsBridgeWindows = true
    /// Every bridge is renumbered on every scan (`pcibios_assign_all_busses`): `pci=assign-busses`, riscv, some DT hosts.
    public var renumbersAllBuses = false
    /// The x86 rules for addresses: I/O stays out of the ISA aliases, memory stays above 1 MiB (`pcibios_align_resource`)
    /// and below the 2 MiB of boot ROM under 4 GiB (`arch_remove_reservations`).
    public var hasISARules = true
    /// The lowest I/O port handed out from an aperture that starts at 0 (`PCIBIOS_MIN_IO`).
    public var minimumIO: UInt64 = 0x1000
    /// The lowest memory address handed out from an aperture that starts at 0 (`PCIBIOS_MIN_MEM`).
    public var minimumMemory: UInt64 = 0x1000_0000
    /// Firmware values are claimed at boot (`pcibios_resource_survey`), or only the rest is assigned.
    public var claimsAtBoot = true
    /// `host->preserve_config`: no automatic reallocation, no resourceN_resize.
    public var preservesConfiguration = false
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
    /// `pci=nocrs`: firmware's apertures are ignored and root buses get the whole of both spaces.
    public var ignoresApertures = false
    /// `pci=resource_alignment=`: the requests in force from the start.
    public var alignmentRequests = ""
    /// `pci=noari`: ARI is never switched on.
    public var ignoresARI = false
    /// `pcie_ports=compat` takes it away: the port driver binds to ports.
    public var bindsPortDriver = true
    /// Firmware left PCI Express hot-plug to the kernel (`native_pcie_hotplug`).
    public var hasNativeHotPlug = true

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

    /// The platform of an architecture (`uname -m`) with the words of a kernel command line applied.
    ///
    /// Unknown architectures count as x86. Malformed words are ignored, as the kernel does.
    public init(architecture: String?, commandLine: String?) {
        switch architecture {
        case "aarch64", "arm64", "loongarch64":
            readsBridgeWindows = false
            hasISARules = false
            minimumMemory = 0
            claimsAtBoot = false
        case "riscv64", "riscv32":
            readsBridgeWindows = false
            hasISARules = false
            renumbersAllBuses = true
            minimumIO = 4
            minimumMemory = 16
            claimsAtBoot = false
        case "ppc64", "ppc64le":
            hasISARules = false
            minimumMemory = 0
        default: break
        }
        for word in (commandLine ?? "").split(separator: " ") {
            if word == "pcie_ports=compat" { bindsPortDriver = false }
            guard word.hasPrefix("pci=") else { continue }
            for option in word.dropFirst(4).split(separator: ",") { apply(String(option)) }
        }
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
        case "nocrs": ignoresApertures = true
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
