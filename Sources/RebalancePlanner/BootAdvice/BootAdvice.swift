// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology

/// The smallest `pci=` words with which the next boot would reach a goal, found by booting the kernel's twin with each.
///
/// Advice only: nothing is ever written. The twin starts from what the registers hold now; firmware may lay the
/// machine out anew at the next power-on, so that the answer is as good as firmware's constancy. Every device of the
/// tree is taken to be there when the kernel boots; for one that is plugged in later the goal is `card`.
public struct BootAdvice: Hashable, Sendable {
    /// What the boot must reach.
    public enum Goal: Hashable, Sendable {
        /// Every BAR of every function has an address.
        case placeAll
        /// This card, plugged into that hot-plug port after the boot, gets all its addresses.
        case card(port: FunctionAddress, CardProfile)
    }

    /// What a set of words leads to.
    public struct Outcome: Hashable, Sendable {
        /// The words, in the order in which the kernel reads them; empty: the boot as it is.
        public var words: [String]
        /// What still has no address, as `0000:03:00.0 BAR 2`.
        public var missing: [String]
        /// What has an address now and would lose it.
        public var lost: [String]

        /// Whether the goal is reached and nothing is lost.
        public var isGood: Bool { missing.isEmpty && lost.isEmpty }

        /// The kernel parameter, or nil when no word is needed.
        public var parameter: String? { words.isEmpty ? nil : "pci=\(words.joined(separator: ","))" }
    }

    /// The smallest set that reaches the goal, or nil when none of those tried does.
    public private(set) var best: Outcome?
    /// The boot without further words.
    public private(set) var asItIs: Outcome
    /// How many sets were tried.
    public private(set) var attempts = 0

    /// Looks for the smallest words.
    ///
    /// - Parameters:
    ///   - topology: the machine.
    ///   - goal: what the boot must reach.
    ///   - behaviour: the kernel that boots.
    ///   - platform: its platform with the words that are on the command line already.
    /// - Throws: `TwinError` when the twin refuses the tree, a port that is not there, or a port that is not hot-plug capable.
    /// - Complexity: at most 80 boots.
    public init(
        _ topology: Topology,
        goal: Goal,
        behaviour: KernelBehaviour,
        platform: Platform
    ) throws {
        let trial = BootTrial(topology: topology, goal: goal, behaviour: behaviour)
        asItIs = try trial.outcome(platform, words: [])
        attempts = 1
        if asItIs.isGood {
            best = asItIs
            return
        }
        for candidate in BootCandidate.all(for: trial.need(), platform: platform) {
            attempts += 1
            let outcome = try trial.outcome(candidate.platform, words: candidate.words)
            guard outcome.isGood else { continue }
            best = outcome
            return
        }
    }

    /// How the parameter is given to each boot loader, one line for each; empty when no word is needed or none helps.
    ///
    /// A `pci=` parameter that is there already is extended rather than repeated, by hand.
    public var instructions: [String] {
        guard let parameter = best?.parameter else { return [] }
        return [
            "GRUB: add \(parameter) to GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub, then run update-grub",
            "grubby: grubby --update-kernel=ALL --args=\"\(parameter)\"",
            "systemd-boot: add \(parameter) to /etc/kernel/cmdline, then run kernel-install for the kernel in use",
            "rpm-ostree: rpm-ostree kargs --append-if-missing=\"\(parameter)\"",
            "Raspberry Pi: add \(parameter) to the one line of cmdline.txt",
            "device tree: add \(parameter) to /chosen/bootargs",
        ]
    }
}

/// One boot of the twin with the goal's test behind it.
struct BootTrial {
    let topology: Topology
    let goal: BootAdvice.Goal
    let behaviour: KernelBehaviour

    func outcome(_ platform: Platform, words: [String]) throws -> BootAdvice.Outcome {
        var twin = try LinuxTwin(topology, behaviour: behaviour, platform: platform)
        _ = try twin.perform(.boot(platform))
        let booted = try twin.topology()
        var outcome = BootAdvice.Outcome(words: words, missing: [], lost: lost(in: booted))
        switch goal {
        case .placeAll:
            outcome.missing = Self.unplaced(booted, below: nil)
        case .card(let port, let card):
            // Bus numbers may be others after the boot; the place in the tree is not.
            let path = topology.position(of: port).map { topology.path(of: $0) }
            guard let at = booted.functions.indices.first(where: { booted.path(of: $0) == path }) else {
                outcome.missing = ["\(port) is not there after the boot"]
                return outcome
            }
            let address = booted.functions[at].address
            _ = try twin.perform(.hotAdd(port: address, card: card, method: .pciehp))
            let after = try twin.topology()
            outcome.missing = Self.unplaced(after, below: address)
            outcome.lost += lost(in: after)
        }
        return outcome
    }

    /// The BARs without address; with `port`, only those of functions below it.
    private static func unplaced(_ topology: Topology, below port: FunctionAddress?) -> [String] {
        var scope = Array(topology.functions.indices)
        if let port {
            guard let at = topology.position(of: port) else { return ["\(port) is not there"] }
            scope = Array(topology.subtree(of: at).dropFirst())
            if scope.isEmpty { return ["\(port): the card is not found"] }
        }
        var result: [String] = []
        for i in scope {
            let function = topology.functions[i]
            for resource in function.resources where resource.index.isBAR && resource.lacksAddress {
                result.append("\(function.address) \(resource.index)")
            }
        }
        return result
    }

    /// The BARs that have an address now and have none in `later`.
    private func lost(in later: Topology) -> [String] {
        var byPath: [TopologyPath: Int] = [:]
        for i in later.functions.indices { byPath[later.path(of: i)] = i }
        var result: [String] = []
        for i in topology.functions.indices {
            let function = topology.functions[i]
            guard let at = byPath[topology.path(of: i)] else {
                result.append("\(function.address)")
                continue
            }
            for resource in function.resources where resource.index.isBAR && resource.range != nil {
                guard later.functions[at].resource(resource.index)?.range == nil else { continue }
                result.append("\(function.address) \(resource.index)")
            }
        }
        return result
    }

    /// What the goal needs of each kind, in bytes and buses.
    func need() -> BootNeed {
        var need = BootNeed()
        switch goal {
        case .placeAll:
            for function in topology.functions {
                for resource in function.resources where resource.index.isBAR && resource.lacksAddress {
                    need.add(resource.size?.rawValue ?? 0, kind: resource.kind)
                }
            }
        case .card(_, let card):
            need.buses = 1
            for function in card.functions { need.add(function) }
        }
        return need
    }
}

/// What a goal needs of each kind.
struct BootNeed {
    var io: UInt64 = 0
    var memory: UInt64 = 0
    var prefetchable: UInt64 = 0
    var buses = 0

    mutating func add(_ size: UInt64, kind: ResourceKind?) {
        switch kind {
        case .io: io = io.addingReportingOverflow(size).partialValue
        case .memory: memory = memory.addingReportingOverflow(size).partialValue
        case .prefetchable: prefetchable = prefetchable.addingReportingOverflow(size).partialValue
        case nil: break
        }
    }

    mutating func add(_ function: CardFunction) {
        for bar in function.bars {
            add(bar.size, kind: bar.isIO ? .io : bar.isPrefetchable && bar.is64Bit ? .prefetchable : .memory)
        }
        guard let bridge = function.bridge else { return }
        buses += 1
        for child in bridge.children { add(child) }
    }
}

/// A set of words to try.
struct BootCandidate {
    var words: [String]
    var platform: Platform

    /// The sets to try, fewest words and smallest values first.
    static func all(for need: BootNeed, platform: Platform) -> [BootCandidate] {
        var result: [(cost: [UInt64], candidate: BootCandidate)] = []
        let memories = sizes(need.memory, default: platform.hotPlugMemory)
        let prefetchables = sizes(need.prefetchable, default: platform.hotPlugPrefetchable)
        let buses = need.buses > platform.hotPlugBuses ? [0, need.buses] : [0]
        for reallocates in platform.reallocation == .on ? [false] : [false, true] {
            for memory in memories {
                for prefetchable in prefetchables {
                    for count in buses {
                        var candidate = BootCandidate(words: [], platform: platform)
                        if reallocates {
                            candidate.words.append("realloc=on")
                            candidate.platform.reallocation = .on
                        }
                        if memory > 0 {
                            candidate.words.append("hpmmiosize=\(ByteCount(memory).exactText)")
                            candidate.platform.hotPlugMemory = memory
                        }
                        if prefetchable > 0 {
                            candidate.words.append("hpmmioprefsize=\(ByteCount(prefetchable).exactText)")
                            candidate.platform.hotPlugPrefetchable = prefetchable
                        }
                        if count > 0 {
                            candidate.words.append("hpbussize=\(min(count, 255))")
                            candidate.platform.hotPlugBuses = min(count, 255)
                        }
                        guard !candidate.words.isEmpty else { continue }
                        let cost = [UInt64(candidate.words.count), prefetchable, memory, UInt64(count)]
                        result.append((cost, candidate))
                    }
                }
            }
        }
        return result.sorted { $0.cost.lexicographicallyPrecedes($1.cost) }.map(\.candidate)
    }

    /// Reserves to try for a need: none, just enough, and with room for alignment; 0 leaves the word out.
    private static func sizes(_ need: UInt64, default current: UInt64) -> [UInt64] {
        guard need > 0 else { return [0] }
        var result: [UInt64] = [0]
        let rounded = need > UInt64.max - 0xf_ffff ? need : (need + 0xf_ffff) & ~0xf_ffff
        var power: UInt64 = 0x10_0000
        while power < need, power < 1 << 62 { power <<= 1 }
        for size in [rounded, power, power << 1] where size > current && !result.contains(size) { result.append(size) }
        return result
    }
}

extension ByteCount {
    /// The size in the largest unit that states it exactly, as the kernel reads it: `32770M`.
    var exactText: String {
        let units: [(shift: UInt64, name: String)] = [(30, "G"), (20, "M"), (10, "K")]
        for unit in units where rawValue >= 1 << unit.shift && rawValue % (1 << unit.shift) == 0 {
            return "\(rawValue >> unit.shift)\(unit.name)"
        }
        return "\(rawValue)"
    }
}
