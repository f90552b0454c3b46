// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology
import RebalancePlanner

/// What is left where a running kernel takes no sequence of operations to the goal: words for the next boot, a restart
/// with all registers programmed, another setting of firmware.
struct OtherWays {
    /// The `pci=` parameter with which the next boot has everything, or nil.
    var parameter: String?
    /// Whether the next boot has everything as it is.
    var isCuredByBoot = false
    /// The restart, or nil.
    var restart: RestartPlan?
    /// What to look for in firmware's setup, or nil where another way is there.
    var firmware: String?

    /// Boots tried for a plan that was not asked for words.
    private static let boots = 300

    /// Looks for them.
    init(_ topology: Topology, goals: [Goal], behaviour: KernelBehaviour, record: MachineRecord) {
        let commandLine = record.kernel.commandLine
        let advice = try? BootAdvice(
            topology,
            goals: goals.map { .plan($0) },
            behaviour: behaviour,
            commandLine: commandLine,
            firmware: record.kernelLog.flatMap { FirmwareState(kernelLog: $0) },
            budget: Self.boots
        )
        if let advice, advice.asItIs.isGood {
            isCuredByBoot = true
        } else if let advice, advice.best != nil {
            parameter = advice.parameter
        }
        if goals.allSatisfy(\.isPlacement) {
            restart = RestartPlan(topology, behaviour: behaviour, commandLine: commandLine)
        }
        guard parameter == nil, !isCuredByBoot, restart == nil else { return }
        let memory = topology.hostBridges.flatMap(\.apertures).filter { !$0.isIO }
        guard !memory.isEmpty else { return }
        firmware =
            memory.contains { $0.range.last > UInt64(UInt32.max) }
            ? "firmware's setup, or the hypervisor's: a larger window for devices (names such as MMIO High Size, "
                + "MMIOH, pci-hole64-size), more bus numbers, or fewer devices"
            : "firmware's setup: Above 4G Decoding on; no aperture above 4 GiB is declared"
    }

    /// The ways, a sentence each.
    var sentences: [String] {
        var result: [String] = []
        if isCuredByBoot { result.append("a reboot by itself: the boot places everything") }
        if let parameter {
            result.append("one reboot with \(parameter) on the kernel command line (pci-rebalance cmdline says why)")
        }
        if let restart {
            result.append(
                "one restart by kexec with \(restart.stopped.count) functions programmed by hand: "
                    + "pci-rebalance plan --kexec writes the script"
            )
        }
        if let firmware { result.append(firmware) }
        return result
    }
}

extension Goal {
    /// Whether the goal asks for addresses alone.
    var isPlacement: Bool {
        switch self {
        case .everythingRequired, .place: true
        case .resize, .reserve, .restore, .virtualFunctions: false
        }
    }
}
