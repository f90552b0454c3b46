// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

extension Platform {
    /// The platforms that are known by name; Docs/policies/linux.md has a line on each, and which were checked on kernels.
    public enum Preset: String, CaseIterable, Sendable, Hashable {
        /// x86 with ACPI.
        case x86 = "x86-acpi"
        /// arm64 with ACPI whose firmware does not ask to keep its configuration.
        case arm64ACPI = "arm64-acpi"
        /// arm64 with ACPI and a _DSM function 5 that returns 0.
        case arm64Preserve = "arm64-preserve"
        /// arm64 with a device tree and a host of pci-host-common.
        case arm64DT = "arm64-dt"
        /// As `arm64DT`, with `linux,pci-probe-only`.
        case arm64ProbeOnly = "arm64-probe-only"
        /// riscv with a device tree.
        case riscvDT = "riscv64-dt"
        /// riscv with ACPI.
        case riscvACPI = "riscv64-acpi"
        /// loongarch with ACPI.
        case loongArch = "loongarch-acpi"
        /// POWER on bare metal (OPAL).
        case powernv
        /// A POWER partition.
        case pseries
        /// MIPS boards of arch/mips/pci/pci-legacy.c: Malta.
        case mips

        /// The preset that an architecture (`uname -m`) and what describes the machine lead to.
        ///
        /// Without `hardwareDescription` arm64 and loongarch count as ACPI machines, riscv as a device-tree machine; ppc64
        /// is a partition (pseries) unless OPAL describes it. 32-bit ARM, and what has a device tree on any other
        /// architecture, are taken for arm64 with a device tree, whose host drivers they share (`pci_host_probe`). Other
        /// unknown architectures count as x86.
        public init(architecture: String?, hardwareDescription: HardwareDescription? = nil) {
            switch architecture {
            case "aarch64", "arm64": self = hardwareDescription == .deviceTree ? .arm64DT : .arm64ACPI
            case "loongarch64": self = .loongArch
            case "riscv64", "riscv32": self = hardwareDescription == .acpi ? .riscvACPI : .riscvDT
            case "ppc64", "ppc64le": self = hardwareDescription == .opal ? .powernv : .pseries
            case "mips", "mips64": self = .mips
            case let other? where other.hasPrefix("arm"): self = .arm64DT
            case let other? where KernelIdentity.isX86(other): self = .x86
            default: self = hardwareDescription == .deviceTree ? .arm64DT : .x86
            }
        }
    }

    /// A platform by name, without words on the command line.
    public init(_ preset: Preset) {
        self.init(of: preset)
        guard preset != .x86 else { return }
        readsBridgeWindows = false
        hasISARules = false
        avoidsISAAliases = false
        minimumMemory = 0
        switch preset {
        case .x86: break
        case .arm64ACPI: boot = .rootBus
        case .arm64Preserve:
            boot = .rootBus
            preservesConfiguration = true
        case .arm64DT:
            boot = .hostProbe
            renumbersAllBuses = true
        case .arm64ProbeOnly:
            boot = .hostProbe
            probesOnly = true
        case .riscvDT, .riscvACPI:
            boot = preset == .riscvDT ? .hostProbe : .rootBus
            renumbersAllBuses = true
            minimumIO = 4
            minimumMemory = 16
        case .loongArch:
            boot = .loongArch
            minimumIO = 0x4000
            minimumMemory = 0x2000_0000
        case .powernv:
            boot = .powerPCReassign
            showsBusPorts = true
            readsBridgeWindows = true
            minimumMemory = 0x1000_0000
            leastBARAlignment = 0x1000
            hasPartitionableEndpoints = true
        case .pseries:
            boot = .powerPCSurvey
            showsBusPorts = true
            readsBridgeWindows = true
            avoidsISAAliases = true
            minimumMemory = 0x1000_0000
            forbidsVFs = true
        case .mips:
            boot = .once
            renumbersAllBuses = true
            avoidsISAAliases = true
            minimumIO = 0
        }
    }
}
