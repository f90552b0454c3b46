// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology

/// What the boot that made this machine's layout tells of its kernel: the twin is booted from what firmware left, and a
/// behaviour that does not end where the kernel ended is none of this kernel's.
///
/// Ports behind which something was plugged in later are left out, with all below the same root port: what lies there now
/// is not what the boot left. So is what no behaviour explains: then something else has changed it since.
public struct BootEvidence {
    private let topology: Topology
    private let firmware: FirmwareState
    private let platform: Platform
    /// Ports behind which are functions that firmware has not seen.
    private let laterPorts: [FunctionAddress]
    /// The root functions whose trees are as the boot left them.
    private let roots: [TopologyPath]

    /// Prepares the comparison; nil where the kernel keeps nothing of what firmware left, or nothing can be compared.
    public init?(_ topology: Topology, firmware: FirmwareState) {
        platform = Platform(topology)
        guard platform.boot == .survey else { return nil }
        self.topology = topology
        self.firmware = firmware
        var later: Set<TopologyPath> = []
        var ports: [FunctionAddress] = []
        for i in topology.functions.indices where !topology.functions[i].isVirtual {
            guard firmware.functions[topology.functions[i].address] == nil else { continue }
            later.insert(topology.path(of: i).root)
            guard
                let port = topology.ancestors(of: i).first(where: {
                    firmware.functions[topology.functions[$0].address] != nil
                })
            else { continue }
            let address = topology.functions[port].address
            if !ports.contains(address) { ports.append(address) }
        }
        laterPorts = ports
        roots = topology.functions.indices.filter { topology.functions[$0].parent == nil }
            .map { topology.path(of: $0) }.filter { !later.contains($0) }
        guard !roots.isEmpty else { return nil }
    }

    /// Why each of `behaviours` is not this kernel's, a lower-case clause; nil where the boot says nothing against it.
    ///
    /// - Complexity: one boot of the twin for each.
    public func faults(of behaviours: [KernelBehaviour]) -> [String?] {
        let now = Self.byRoot(TreeState(topology))
        let booted = behaviours.map { boot($0).map { Self.byRoot(TreeState($0)) } }
        var faults = [String?](repeating: nil, count: behaviours.count)
        for root in roots {
            let equal = booted.map { $0?[root] == now[root] }
            guard equal.contains(true) else { continue }
            for n in behaviours.indices where !equal[n] && booted[n] != nil && faults[n] == nil {
                faults[n] = Self.sentence(now[root] ?? [], booted[n]?[root] ?? [])
            }
        }
        return faults
    }

    private func boot(_ behaviour: KernelBehaviour) -> Topology? {
        guard
            var twin = try? BootTrial(
                topology,
                goals: [],
                behaviour: behaviour,
                platform: platform,
                firmware: firmware
            ).machine
        else { return nil }
        for port in laterPorts where (try? twin.perform(.unplug(port: port))) == nil { return nil }
        guard (try? twin.perform(.boot(platform))) != nil else { return nil }
        return try? twin.topology()
    }

    private static func byRoot(_ tree: TreeState) -> [TopologyPath: [FunctionState]] {
        Dictionary(grouping: tree.functions, by: \.path.root)
    }

    private static func sentence(_ now: [FunctionState], _ booted: [FunctionState]) -> String {
        let different = zip(now, booted).first { $0 != $1 }
        let name = different?.0.address.description ?? now.first?.address.description ?? "a function"
        return "this boot would have left \(name) otherwise"
    }
}

extension TopologyPath {
    /// The place on the root bus that the path leads through.
    fileprivate var root: TopologyPath { TopologyPath(segment: segment, rootBus: rootBus, hops: Array(hops.prefix(1))) }
}
