// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology

/// The smallest `pci=` words with which the next boot reaches what is asked, found by booting the kernel's twin with each.
///
/// Advice only: nothing is ever written. The boot starts from what firmware left according to the kernel log, where that
/// is known, else from what the registers hold now; every device of the tree is taken to be there when the kernel starts,
/// and one that firmware has not seen to be as after power-on.
public struct BootAdvice: Hashable, Sendable {
    /// What a set of words leads to.
    public struct Outcome: Hashable, Sendable {
        /// The words that decide about resources, in the order in which they are printed; empty: none.
        public var words: [String]
        /// What is still wrong, a sentence each: `0000:03:00.0 BAR 2 (1G) has no address`.
        public var missing: [String]
        /// What the machine has now and would lose, a sentence each.
        public var lost: [String]

        /// Whether the goals are reached and nothing is lost.
        public var isGood: Bool { missing.isEmpty && lost.isEmpty }

        /// The first thing that is wrong, or nil.
        public var complaint: String? { missing.first ?? lost.first }
    }

    /// From where the boots start.
    public enum Start: String, Hashable, Sendable {
        /// From what firmware left, by the kernel log.
        case firmware
        /// From what the registers hold now; words that are on the command line already stay, since the registers may be
        /// what they are because of them.
        case registers
    }

    /// From where the boots start.
    public private(set) var start: Start
    /// The functions that firmware did not see: taken to be as after power-on. Empty for a start from registers.
    public private(set) var latecomers: [FunctionAddress] = []
    /// The boot with the words that are on the command line now.
    public private(set) var asItIs: Outcome
    /// The smallest set that reaches the goals, or nil when none of those tried does.
    public private(set) var best: Outcome?
    /// The sets that are one word or one step smaller, none of them good.
    public private(set) var smaller: [Outcome] = []
    /// Whether the boot that is running, with the words that are there, missed what its simulation reaches: then this kernel
    /// does otherwise than predicted, and no other words were tried.
    public private(set) var isRefuted = false
    /// How many boots were tried.
    public private(set) var attempts = 0
    /// The whole `pci=` parameter with the best words and every other word that stands behind `pci=` now; nil when there
    /// is no best set or when nothing stands behind `pci=` then.
    public private(set) var parameter: String?
    /// The `pci=` parameter that is there now, or nil.
    public private(set) var presentParameter: String?
    /// Words on the command line that the goals do not need.
    public private(set) var needless: [String] = []

    /// Looks for the smallest words.
    ///
    /// - Parameters:
    ///   - topology: the machine.
    ///   - goals: what the boot must reach, all of it.
    ///   - behaviour: the kernel that boots.
    ///   - commandLine: the kernel command line that is in force now, or nil.
    ///   - firmware: what firmware left, or nil when that is not known. It counts on x86 only, where the kernel keeps it.
    ///   - found: the functions that the running boot found before it gave the first address, where the log tells them
    ///     and not what firmware left; nil when it does not.
    ///   - budget: how many boots may be tried, 1 and up.
    /// - Throws: `TwinError` when the twin refuses the tree, or for a goal at a function that is not there or not fit for it.
    /// - Complexity: at most `budget` boots; a dozen where one word does it.
    public init(
        _ topology: Topology,
        goals: [BootGoal],
        behaviour: KernelBehaviour,
        commandLine: String? = nil,
        firmware: FirmwareState? = nil,
        found: Set<FunctionAddress>? = nil,
        budget: Int = 1500
    ) throws(TwinError) {
        let present = BootParameter(commandLine)
        let asItIsPlatform = Platform(topology.kernel, commandLine: commandLine)
        let found = firmware.map { Set($0.functions.keys) } ?? found
        let firmware = asItIsPlatform.boot == .survey ? firmware : nil
        start = firmware == nil ? .registers : .firmware
        if let firmware {
            latecomers = topology.functions.filter { !$0.isVirtual && firmware.functions[$0.address] == nil }.map(
                \.address
            )
        }
        var trial = try BootTrial(
            topology,
            goals: goals,
            behaviour: behaviour,
            platform: asItIsPlatform,
            firmware: firmware
        )
        presentParameter = present.present
        let foreseen = try trial.outcome(asItIsPlatform, words: present.decided)
        if let found {
            let later = topology.functions.filter { !$0.isVirtual && !found.contains($0.address) }
            trial.witnessed = (Set(present.decided), trial.missedByThisBoot(latecomers: later.map(\.address)))
        }
        asItIs = try trial.outcome(asItIsPlatform, words: present.decided)
        if foreseen.isGood, !asItIs.isGood {
            // What the running boot refutes says as little of other words.
            isRefuted = true
            attempts = 1
            return
        }

        let base =
            firmware == nil ? asItIsPlatform : Platform(topology.kernel, commandLine: present.rest)
        var search = BootSearch(
            trial: trial,
            platform: base,
            need: BootNeed(goals, topology),
            most: Self.most(topology),
            budget: budget
        )
        let nothing = BootWordSet()
        let kept = firmware == nil ? present.decided : []
        if try search.outcome(nothing).isGood {
            best = try search.outcome(nothing)
        } else if let found = try search.smallest() {
            best = try search.outcome(found.best)
            for set in found.smaller { smaller.append(try search.outcome(set)) }
        }
        attempts = search.attempts + 1
        guard let best else { return }
        let words = present.others + kept + best.words
        parameter = words.isEmpty ? nil : "pci=\(words.joined(separator: ","))"
        let names = Set(best.words.map { $0.prefix { $0 != "=" } })
        needless = firmware == nil ? [] : present.decided.filter { !names.contains($0.prefix { $0 != "=" }) }
    }

    /// Whether another command line than the present one is needed, or would be smaller.
    public var isChange: Bool { best != nil && parameter != presentParameter }

    private static func most(_ topology: Topology) -> [BootWordSet.Size: UInt64] {
        var result: [BootWordSet.Size: UInt64] = [.buses: 0xff]
        for size in [BootWordSet.Size.prefetchable, .memory, .io] {
            let ranges = topology.hostBridges.flatMap(\.apertures).filter { $0.isIO == (size == .io) }.map(\.range)
            let largest = ranges.map(\.clampedSize).max() ?? 0
            result[size] = max(largest, size.step) / size.step * size.step
        }
        return result
    }
}
