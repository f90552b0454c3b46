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
    /// Another kernel: these releases place what this one does not, from the same state (`KernelUpgrade`). The rules are
    /// those of this kernel without which the nearest of them would not place it either, where that was tried.
    case kernel(placedBy: [String], rules: [String] = [])
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
        case .kernel(let releases, let rules):
            rules.isEmpty
                ? "another kernel: \(KernelUpgrade.spoken(releases)) would place it, this kernel's rule is the obstacle "
                    + "(pci-rebalance upgrade says by which decision)"
                : "another kernel: \(KernelUpgrade.spoken(releases)) would place it; the obstacle is this kernel's rule: "
                    + rules.joined(separator: "; ")
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
    ///   - found: the functions that the running boot found at first (`BootAdvice`).
    /// - Returns: at most three ways; none where no aperture is known, so that nothing can be said.
    /// - Complexity: at most 302 boots of the twin and two solver runs.
    public func otherWays(
        to goals: [Goal],
        beside plan: Plan? = nil,
        constraints: Constraints = Constraints(),
        commandLine: String? = nil,
        firmware: FirmwareState? = nil,
        found: Set<FunctionAddress>? = nil
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
                found: found,
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
        let isRefused = plan?.verdict.answer == .refused
        if !isRefused, let way = kernelWay(to: goals, firmware: firmware, constraints: constraints) {
            ways.append(way)
        }
        guard ways.isEmpty, plan?.verdict.answer != .refused else { return ways }
        let memory = topology.hostBridges.flatMap(\.apertures).filter { !$0.isIO }
        guard !memory.isEmpty, lacksMemory(for: goals) else { return [] }
        if let kind = topology.kernel.hardwareDescription, kind != .acpi { return [.firmware(.deviceTree)] }
        let isHigh = memory.contains { $0.range.last > UInt64(UInt32.max) }
        return [.firmware(isHigh ? .largerAperture : .above4G)]
    }
}

extension Planner {
    /// The releases that place all that has no place here, where this one's rule is what stands in the way; nil when it is
    /// not, or when the goals are about something else.
    public func kernelWay(
        to goals: [Goal],
        firmware: FirmwareState?,
        constraints: Constraints = Constraints()
    ) -> OtherWay? {
        guard goals.contains(where: \.isPlacement), !topology.problemShortfalls.isEmpty else {
            return kernelWay(byPlansFor: goals, constraints)
        }
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

    /// The releases under which a plan reaches goals that none reaches here; nil when there are none.
    ///
    /// A kernel's rule may stand in the way of a size or of room for cards as well: a plan is looked for under the
    /// behaviour of every release that does otherwise than this one.
    private func kernelWay(byPlansFor goals: [Goal], _ constraints: Constraints) -> OtherWay? {
        let wishes = goals.filter { if case .restore = $0 { false } else { !$0.isPlacement } }
        guard !wishes.isEmpty, wishes.count == goals.count else { return nil }
        var limited = constraints
        limited.simulationBudget = min(constraints.simulationBudget, Self.plansOfOthers)
        var reached: [(behaviour: KernelBehaviour, isReached: Bool)] = [(behaviour, false)]
        var releases: [String] = []
        for release in KernelUpgrade.Release.known {
            guard let other = release.behaviours.first else { continue }
            let known = reached.first { $0.behaviour.switches(differingFrom: other).isEmpty }?.isReached
            let isReached = known ?? reaches(goals, release.name, other, limited)
            if known == nil { reached.append((other, isReached)) }
            if isReached { releases.append(release.name) }
        }
        let nearest = reached.filter(\.isReached).map(\.behaviour).min {
            $0.switches(differingFrom: behaviour).count < $1.switches(differingFrom: behaviour).count
        }
        guard let nearest else { return nil }
        return .kernel(placedBy: releases, rules: rules(against: nearest, goals, limited))
    }

    /// The rules of this kernel that each by itself keep the kernel `other`, which reaches the goals, from reaching them.
    private func rules(against other: KernelBehaviour, _ goals: [Goal], _ constraints: Constraints) -> [String] {
        let differing = other.switches(differingFrom: behaviour)
        guard differing.count <= Self.rulesTried else { return [] }
        return other.variations.compactMap { variation -> String? in
            let left = variation.behaviour.switches(differingFrom: behaviour)
            guard left.count < differing.count, let name = differing.first(where: { !left.contains($0) }),
                !reaches(goals, topology.kernel.release ?? "", variation.behaviour, constraints)
            else { return nil }
            return behaviour.words(ofSwitch: name)
        }
    }

    /// Rules looked at one by one; each takes a plan.
    private static let rulesTried = 16

    private func reaches(
        _ goals: [Goal],
        _ release: String,
        _ other: KernelBehaviour,
        _ constraints: Constraints
    ) -> Bool {
        var there = topology
        there.kernel.release = release
        let plan = try? Planner(topology: there, behaviour: other).plan(goals: goals, constraints: constraints)
        return plan?.isWhole == true
    }

    /// Simulations allowed for a plan under another kernel.
    private static let plansOfOthers = 200

    /// Whether the apertures within reach have room for each size, each room and each BAR that the goals ask for by itself;
    /// false where ports or bus numbers are missing, and for the restoring of a record.
    public func hasRoom(for goals: [Goal]) -> Bool {
        guard goals.allSatisfy({ if case .restore = $0 { false } else { true } }) else { return false }
        if goals.contains(where: \.isPlacement) {
            let problems = topology.findings(explains: false).filter { $0.severity == .problem }
            let isMemory = problems.allSatisfy { finding in
                guard let index = finding.resource, index.isBAR else { return false }
                return topology[finding.address]?.resource(index)?.kind != .io
            }
            guard !problems.isEmpty, isMemory else { return false }
        }
        return !lacksMemory(for: goals)
    }

    /// Whether no aperture within reach of a resizable BAR or port has room for what the goals ask of it.
    private func lacksMemory(for goals: [Goal]) -> Bool {
        var wishes: [(function: Int, kind: ResourceKind, is64Bit: Bool, size: UInt64)] = []
        for goal in goals {
            guard let i = goal.subject.flatMap({ topology.position(of: $0) }) else { continue }
            switch goal {
            case .resize(_, let bar, let size):
                guard let index = ResourceIndex.bar(bar), let resource = topology.functions[i].resource(index),
                    let kind = resource.kind
                else { continue }
                let most = topology.functions[i].capabilities.resizableBARs.first { $0.bar == bar }
                    .flatMap { $0.exponents.max() }.flatMap { ResizableBAR.size(ofExponent: $0) }
                guard let wanted = size ?? most else { continue }
                wishes.append((i, kind, resource.is64Bit, wanted.rawValue))
            case .reserve(_, let room):
                if room.memory > .zero { wishes.append((i, .memory, false, FreeRoom.block(of: room.memory.rawValue))) }
                if room.prefetchable > .zero {
                    wishes.append((i, .prefetchable, true, FreeRoom.block(of: room.prefetchable.rawValue)))
                }
            case .everythingRequired, .place, .located, .compact, .virtualFunctions, .restore: continue
            }
        }
        if wishes.isEmpty { return lacksMemory }
        return wishes.contains { wish in
            let h = topology.host(of: wish.function)
            guard h >= 0 else { return false }
            // Memory windows, and registers of 32 bits, end at 4 GiB.
            let isBehindBridge =
                topology.functions[wish.function].isBridge || !topology.ancestors(of: wish.function).isEmpty
            let isNarrow = !wish.is64Bit || wish.kind == .memory && isBehindBridge
            return !topology.hostBridges[h].apertures.contains { aperture in
                !aperture.isIO && (!isNarrow || (aperture.busRange ?? aperture.range).first <= 0xffff_ffff)
                    && topology.occupancy(of: aperture, host: h).fits(size: wish.size, alignment: wish.size)
            }
        }
    }

    /// Whether some memory BAR lacks an address that no aperture within its reach has room for: else firmware's setup is
    /// not what stands in the way.
    private var lacksMemory: Bool {
        let problems = topology.findings(explains: false).filter { $0.severity == .problem }
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
    /// The function that the goal is about, or nil for all of them.
    package var subject: FunctionAddress? {
        switch self {
        case .everythingRequired, .compact, .restore: nil
        case .place(let address), .resize(let address, _, _), .located(let address, _, _), .reserve(let address, _),
            .virtualFunctions(let address, _):
            address
        }
    }

    /// Whether the goal asks for addresses alone.
    public var isPlacement: Bool {
        switch self {
        case .everythingRequired, .place: true
        case .resize, .located, .compact, .reserve, .restore, .virtualFunctions: false
        }
    }
}
