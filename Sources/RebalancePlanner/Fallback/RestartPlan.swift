// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology
internal import ResourceSolver

/// The way over one restart of the kernel where no live way exists: every BAR, window and bus number is programmed by hand,
/// and a kernel is started by kexec, which keeps what it finds in the registers.
///
/// On x86 this is the only total control of addresses: the boot claims what the registers say where it is consistent
/// (`pcibios_resource_survey`). The layout is the solver's, the least change first and one from scratch where that has
/// none; the twin boots it, and a layout that the boot would not keep whole is none.
public struct RestartPlan: Hashable, Sendable {
    /// The solver's layout that the registers are given: `movable` or `optimal` (`IdealPolicy`).
    public var layout: String
    /// Functions that stop decoding and whose drivers must have let go, in address order.
    public var stopped: [FunctionAddress]
    /// Those of them that have a driver now and are no bridges.
    public var released: [FunctionAddress]
    /// The writes in order: VFs gone, decoding off, then what is below before what is above it, since a bridge that is
    /// written new numbers no longer leads to those below by their old ones.
    public var writes: [SystemWrite]
    /// The tree now.
    public var before: TreeState
    /// The tree that the kernel shows after its boot.
    public var after: TreeState

    /// The functions beyond which a layout is not drawn together: that takes longer than a plan.
    private static let mostToTighten = 512

    /// The work for a layout: a quarter of what a comparison of policies takes, since any layout with everything will do,
    /// and less where every step takes longer.
    private static func effort(functions: Int) -> Effort {
        Effort(steps: Effort.standard.steps / (functions > mostToTighten ? 12 : 4))
    }

    /// Looks for the way; nil when nothing is missing, no layout has everything required, or the boot would not keep it.
    ///
    /// - Parameters:
    ///   - topology: the machine.
    ///   - behaviour: the kernel that is started, by its twin.
    ///   - commandLine: the command line that it is started with, or nil.
    /// - Complexity: at most three solver runs and three boots of the twin.
    public init?(_ topology: Topology, behaviour: KernelBehaviour, commandLine: String? = nil) {
        let platform = Platform(topology.kernel, commandLine: commandLine)
        // Other architectures assign anew whatever the registers say.
        guard platform.boot == .survey, !topology.hidesMemory,
            topology.findings(explains: false).contains(where: { $0.severity == .problem })
        else {
            return nil
        }
        for (kind, tightens) in [(IdealPolicy.Kind.movable, false), (.optimal, false), (.optimal, true)] {
            if tightens, topology.functions.count > Self.mostToTighten { continue }
            var ideal = IdealPolicy(topology, kind, effort: Self.effort(functions: topology.functions.count))
            ideal.tightens = tightens
            let outcome = ideal.allocate(ResourceDemand(topology))
            guard outcome.halt == nil, let wanted = try? outcome.applied(to: topology) else { continue }
            let (writes, stopped) = Self.writes(from: topology, to: wanted)
            guard !writes.isEmpty,
                let booted = Self.boot(topology, writes, behaviour, platform), Self.isWhole(booted, since: topology)
            else { continue }
            layout = kind.rawValue
            self.writes = writes
            self.stopped = stopped
            released = stopped.filter { address in
                topology[address].map { !$0.isBridge && $0.use.driver != nil } ?? false
            }
            before = TreeState(topology)
            after = TreeState(booted)
            return
        }
        return nil
    }

    /// Whether everything that gets another address ends at or below `limit`.
    func staysBelow(_ limit: UInt64) -> Bool {
        let old = Dictionary(before.functions.map { ($0.path, $0.lines) }) { first, _ in first }
        return after.functions.allSatisfy { function in
            function.lines == old[function.path] || function.lines.allSatisfy { $0.end <= limit }
        }
    }

    // MARK: - Registers

    private static func writes(from now: Topology, to wanted: Topology) -> ([SystemWrite], [FunctionAddress]) {
        var targets: [TopologyPath: Function] = [:]
        for i in wanted.functions.indices { targets[wanted.path(of: i)] = wanted.functions[i] }
        var silencing: [SystemWrite] = []
        var programming: [SystemWrite] = []
        var stopped: [FunctionAddress] = []
        func visit(_ i: Int) {
            for child in now.children(of: i) where !now.functions[child].isVirtual { visit(child) }
            let function = now.functions[i]
            guard let target = targets[now.path(of: i)] else { return }
            let changes = registers(of: function).filter { register in
                guard let old = value(function.config, register), let new = value(target.config, register) else {
                    return false
                }
                return (old ^ new) & register.mask != 0
            }
            guard !changes.isEmpty else { return }
            stopped.append(function.address)
            silencing.append(.config(function.address, offset: 4, width: 2, mask: 0x7, value: 0))
            for register in changes {
                programming.append(
                    .config(
                        function.address,
                        offset: register.offset,
                        width: register.width,
                        mask: register.mask,
                        value: (value(target.config, register) ?? 0) & register.mask
                    )
                )
            }
        }
        for host in now.hostBridges.indices {
            for root in now.roots(of: host) where !now.functions[root].isVirtual { visit(root) }
        }
        guard !programming.isEmpty else { return ([], []) }
        let ending = now.functions.filter { $0.use.enabledVFs ?? 0 > 0 }.map {
            SystemWrite.sriovNumVFs($0.address, count: 0)
        }
        return (ending + silencing + programming, stopped.sorted())
    }

    private struct Register {
        var offset: Int
        var width = 4
        var mask: UInt32 = .max
    }

    /// The registers that hold addresses and numbers; those of a bridge's numbers last, since they cut off what is below.
    private static func registers(of function: Function) -> [Register] {
        guard function.isBridge else {
            var result = (0..<6).map { Register(offset: 0x10 + 4 * $0) }
            if let sriov = function.capabilities.sriov {
                result += (0..<6).map { Register(offset: Int(sriov.offset) + 0x24 + 4 * $0) }
            }
            return result
        }
        return [
            Register(offset: 0x10), Register(offset: 0x14), Register(offset: 0x1c, width: 2, mask: 0xf0f0),
            Register(offset: 0x20, mask: 0xfff0_fff0), Register(offset: 0x24, mask: 0xfff0_fff0),
            Register(offset: 0x28),
            Register(offset: 0x2c), Register(offset: 0x30), Register(offset: 0x18, mask: 0x00ff_ffff),
        ]
    }

    private static func value(_ config: ConfigSpace, _ register: Register) -> UInt32? {
        register.width == 2 ? config.word(register.offset).map(UInt32.init) : config.long(register.offset)
    }

    // MARK: - Proof by the twin

    private static func boot(
        _ topology: Topology,
        _ writes: [SystemWrite],
        _ behaviour: KernelBehaviour,
        _ platform: Platform
    ) -> Topology? {
        guard var simulation = try? TwinSimulation(topology, behaviour: behaviour, platform: platform) else {
            return nil
        }
        guard simulation.perform(writes), simulation.restart(platform) else { return nil }
        return try? simulation.topology()
    }

    /// Whether everything required is there, and everything that was there before.
    private static func isWhole(_ after: Topology, since before: Topology) -> Bool {
        guard after.findings(explains: false).allSatisfy({ $0.severity == .note }) else { return false }
        var places: [TopologyPath: Function] = [:]
        for i in after.functions.indices { places[after.path(of: i)] = after.functions[i] }
        for i in before.functions.indices where !before.functions[i].isVirtual {
            guard let later = places[before.path(of: i)] else { return false }
            for resource in before.functions[i].resources where resource.index.isBAR {
                guard let range = resource.range else { continue }
                guard later.resource(resource.index)?.range?.size == range.size else { return false }
            }
        }
        return true
    }
}
