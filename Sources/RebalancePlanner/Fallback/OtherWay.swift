// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
public import PCITopology

/// What is left where a running kernel takes no sequence of operations to the goal.
public enum OtherWay: Hashable, Sendable {
    /// A reboot by itself: the boot places everything.
    case reboot
    /// One reboot with this parameter on the kernel command line, such as `pci=realloc`; nil asks for none where there is
    /// one now.
    case parameter(String?)
    /// One restart by kexec with this many functions programmed by hand (`RestartPlan`).
    case kexec(functions: Int)
    /// Another kernel: these releases place what this one does not, from the same state (`KernelUpgrade`).
    case kernel(placedBy: [String])
    /// Another setting of firmware's, or of the hypervisor's.
    case firmware(Setting)

    /// What to look for in firmware's setup.
    public enum Setting: String, Hashable, Sendable, CaseIterable {
        /// Above 4G Decoding: no aperture above 4 GiB is declared.
        case above4G = "above-4g"
        /// A larger window for devices, or fewer devices.
        case largerAperture = "larger-aperture"
        /// Larger `ranges` of the host's node in the device tree.
        case deviceTree = "device-tree"
    }
}

extension OtherWay: CustomStringConvertible {
    /// The way, one sentence without a full stop.
    public var description: String {
        switch self {
        case .reboot: "a reboot by itself: the boot places everything"
        case .parameter(nil):
            "one reboot without a pci= parameter on the kernel command line (pci-rebalance cmdline says why)"
        case .parameter(let text?):
            "one reboot with \(text) on the kernel command line (pci-rebalance cmdline says why)"
        case .kexec(let count):
            "one restart by kexec with \(count) function\(count == 1 ? "" : "s") programmed by hand: "
                + "pci-rebalance plan --kexec writes the script"
        case .kernel(let releases):
            "another kernel: \(KernelUpgrade.spoken(releases)) would place it, this kernel's rule is the obstacle "
                + "(pci-rebalance upgrade says by which decision)"
        case .firmware(.above4G): "firmware's setup: Above 4G Decoding on; no aperture above 4 GiB is declared"
        case .firmware(.deviceTree):
            "the device tree: larger ranges of the host bridge's node, as far as the hardware decodes them; or fewer devices"
        case .firmware(.largerAperture):
            "firmware's setup, or the hypervisor's: a larger window for devices (names such as MMIO High Size, "
                + "MMIOH, pci-hole64-size), more bus numbers, or fewer devices"
        }
    }
}

extension Planner {
    /// Boots tried for a plan that was not asked for words.
    private static let boots = 300

    /// The ways over a restart to `goals`, the least trouble first; firmware only where no other way is known.
    ///
    /// - Parameters:
    ///   - goals: what the boot must reach, all of it.
    ///   - plan: the plan that does not reach them; where safety refused it there is room enough, and firmware need not
    ///     give more.
    ///   - constraints: of them the highest address counts; a restart stops everything whatever the others say.
    ///   - commandLine: the kernel command line that is in force now, or nil.
    ///   - firmware: what firmware left, or nil when that is not known.
    /// - Returns: at most three ways; none where no aperture is known, so that nothing can be said.
    /// - Complexity: at most 302 boots of the twin and two solver runs.
    public func otherWays(
        to goals: [Goal],
        beside plan: Plan? = nil,
        constraints: Constraints = Constraints(),
        commandLine: String? = nil,
        firmware: FirmwareState? = nil
    ) -> [OtherWay] {
        var ways: [OtherWay] = []
        let limit = constraints.highestAddress
        let isPlain = constraints.tiers == OptionalTiers()
        // A tree that the twin cannot boot has no words, and none are known that keep a boot below an address or that
        // count other things as required.
        let advice =
            limit != nil || !isPlain
            ? nil
            : try? BootAdvice(
                topology,
                goals: goals.map { .plan($0) },
                behaviour: behaviour,
                commandLine: commandLine,
                firmware: firmware,
                budget: Self.boots
            )
        if let advice, advice.asItIs.isGood {
            ways.append(.reboot)
        } else if let advice, advice.best != nil {
            ways.append(.parameter(advice.parameter))
        }
        if isPlain, goals.allSatisfy(\.isPlacement),
            let restart = RestartPlan(topology, behaviour: behaviour, commandLine: commandLine),
            limit.map({ restart.staysBelow($0) }) ?? true
        {
            ways.append(.kexec(functions: restart.stopped.count))
        }
        if let way = kernelWay(to: goals, firmware: firmware) { ways.append(way) }
        guard ways.isEmpty, plan?.verdict.answer != .refused else { return ways }
        let memory = topology.hostBridges.flatMap(\.apertures).filter { !$0.isIO }
        guard !memory.isEmpty, lacksMemory else { return [] }
        if let kind = topology.kernel.hardwareDescription, kind != .acpi { return [.firmware(.deviceTree)] }
        let isHigh = memory.contains { $0.range.last > UInt64(UInt32.max) }
        return [.firmware(isHigh ? .largerAperture : .above4G)]
    }
}

extension Planner {
    /// The releases that place all that has no place here, where this one's rule is what stands in the way; nil when it is
    /// not, or when the goals are about something else.
    public func kernelWay(to goals: [Goal], firmware: FirmwareState?) -> OtherWay? {
        guard goals.contains(where: \.isPlacement), !topology.problemShortfalls.isEmpty else { return nil }
        let upgrade = try? KernelUpgrade(
            topology,
            present: KernelUpgrade.Release(topology.kernel.release ?? ""),
            releases: KernelUpgrade.Release.known,
            firmware: firmware,
            scope: .whatIsLost
        )
        guard let upgrade, upgrade.isKernelTheObstacle else { return nil }
        let releases = KernelUpgrade.Release.known.map(\.name).filter { name in
            upgrade.lostHere.allSatisfy { $0.placedBy.contains(name) }
        }
        return releases.isEmpty ? nil : .kernel(placedBy: releases)
    }

    /// Whether some memory BAR lacks an address that no aperture within its reach has room for: else firmware's setup is
    /// not what stands in the way.
    private var lacksMemory: Bool {
        let problems = topology.findings().filter { $0.severity == .problem }
        let lacking = problems.compactMap { finding -> (Int, Resource)? in
            guard let i = topology.position(of: finding.address), let index = finding.resource, index.isBAR,
                let resource = topology.functions[i].resource(index), resource.lacksAddress
            else { return nil }
            return (i, resource)
        }
        // Wishes for room name no BAR that lacks an address.
        guard !lacking.isEmpty else { return !problems.contains { $0.resource.map(\.isBAR) == true } }
        return lacking.contains { i, resource in
            guard resource.kind != .io, let size = resource.size?.rawValue else { return false }
            let h = topology.host(of: i)
            guard h >= 0 else { return false }
            let reachesHigh = topology.narrowness(of: resource, at: i) == nil
            return !topology.hostBridges[h].apertures.contains { aperture in
                !aperture.isIO && (reachesHigh || (aperture.busRange ?? aperture.range).first <= 0xffff_ffff)
                    && topology.occupancy(of: aperture, host: h)
                        .fits(size: size, alignment: resource.alignment?.rawValue ?? size)
            }
        }
    }
}

extension Goal {
    /// Whether the goal asks for addresses alone.
    public var isPlacement: Bool {
        switch self {
        case .everythingRequired, .place: true
        case .resize, .reserve, .restore, .virtualFunctions: false
        }
    }
}
