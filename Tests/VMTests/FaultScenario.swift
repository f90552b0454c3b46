// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import RebalancePlanner
internal import VMLaboratory

/// A way to make a plan for whatever state the machine of the campaign is in.
struct FaultScenario: Sendable, CustomStringConvertible {
    /// Writes of one step with the way back from it.
    typealias Stage = (writes: [SystemWrite], wayBack: [SystemWrite])

    var name: String
    /// The stages for a machine and the number of the round; none where the machine has not got what it takes.
    var stages: @Sendable (Topology, Int) -> [Stage]

    var description: String { name }
}

extension MachineTopology {
    /// A switch with a memory card, an empty port, a disk and a small card; beside it a port that no plan names.
    static let faults = MachineTopology(
        "faults",
        summary: "root port, switch: 16 MiB (d1), empty (d2), an NVMe disk (d3), a small card (d4); 1 MiB behind rp2",
        kernelArguments: withoutSHPC + ["intel_iommu=on"],
        // Remapped interrupts would have the kernel try its timer, which a loaded host lets fail.
        machineArguments: ["-device", "intel-iommu,intremap=off"],
        devices: [
            .rootPort(
                "rp1",
                at: "2",
                children: [
                    .upstreamPort(
                        "up1",
                        children: [
                            .downstreamPort("d1", children: [.sharedMemory("sibling", size: .mib(16))]),
                            .downstreamPort("d2"),
                            .downstreamPort("d3", children: [.nvme("disk", disk: .mib(64))]),
                            .downstreamPort("d4", children: [.testDevice("small", memory: .mib(1))]),
                        ]
                    )
                ]
            ),
            .rootPort("rp2", at: "3", children: [.sharedMemory("beside", size: .mib(1))]),
        ]
    )
}

extension FaultScenario {
    /// The device that vfio-pci can hold: what is below the switch is one group with the disk.
    static let beside = "0000:00:03.0/00.0"
    private static let rootPort = "0000:00:02.0"
    private static let upstream = "0000:00:02.0/00.0"
    private static let firstPort = "0000:00:02.0/00.0/00.0"
    private static let sibling = "0000:00:02.0/00.0/00.0/00.0"
    private static let disk = "0000:00:02.0/00.0/02.0/00.0"
    private static let rootBus = SystemWrite.rescanBus(segment: 0, bus: BusNumber(0))

    private static func position(_ topology: Topology, _ path: String) -> Int? {
        topology.functions.indices.first { topology.path(of: $0).description == path }
    }

    static func address(_ topology: Topology, _ path: String) -> FunctionAddress? {
        position(topology, path).map { topology.functions[$0].address }
    }

    private static func secondary(_ topology: Topology, _ path: String) -> SystemWrite? {
        position(topology, path).flatMap { topology.functions[$0].bridge?.busRange }
            .map { .rescanBus(segment: 0, bus: $0.first) }
    }

    /// A write to the decode bits of COMMAND.
    private static func decode(_ device: FunctionAddress, _ value: UInt32) -> SystemWrite {
        .config(device, offset: 4, width: 2, mask: value == 0 ? 0x7 : 0x3, value: value)
    }

    /// Every scenario; each can be repeated.
    static let all: [FaultScenario] = [
        FaultScenario(name: "root port found again") { topology, _ in
            guard let port = address(topology, rootPort) else { return [] }
            return [([.remove(port)], [rootBus]), ([rootBus], [.remove(port), rootBus])]
        },
        FaultScenario(name: "emptied bus found again") { topology, _ in
            guard let port = address(topology, upstream), let rescan = secondary(topology, rootPort) else { return [] }
            return [([.remove(port)], [rescan]), ([rescan], [])]
        },
        FaultScenario(name: "endpoint found again") { topology, _ in
            guard let device = address(topology, sibling), let rescan = secondary(topology, firstPort) else {
                return []
            }
            return [([.remove(device)], [rescan]), ([rescan], [.remove(device), rescan])]
        },
        FaultScenario(name: "root port renumbered") { topology, round in
            guard let port = address(topology, rootPort), let inner = address(topology, upstream),
                let rescan = secondary(topology, rootPort)
            else { return [] }
            let first: UInt32 = round % 2 == 0 ? 0x20 : 0x40
            let numbers = SystemWrite.config(
                port,
                offset: 0x18,
                width: 4,
                mask: 0x00ff_ffff,
                value: first << 8 | (first + 0xf) << 16
            )
            return [([.remove(inner)], [rescan]), ([numbers, .remove(port)], []), ([rootBus], [])]
        },
        FaultScenario(name: "alignment raised and cleared") { topology, _ in
            guard let device = address(topology, sibling), let port = address(topology, rootPort) else { return [] }
            return [
                ([.resourceAlignment("25@\(device)"), .remove(port)], [.resourceAlignment(""), rootBus]),
                ([rootBus], []), ([.resourceAlignment("")], []), ([.remove(port), rootBus], [rootBus]),
            ]
        },
        FaultScenario(name: "decoding off while away") { topology, _ in
            guard let device = address(topology, sibling), let rescan = secondary(topology, firstPort) else {
                return []
            }
            return [
                ([decode(device, 0), .remove(device)], [rescan]), ([rescan], []), ([decode(device, 0x3)], []),
            ]
        },
        FaultScenario(name: "device beside found again") { topology, _ in
            guard let device = address(topology, beside), let rescan = secondary(topology, "0000:00:03.0") else {
                return []
            }
            return [([.remove(device)], [rescan]), ([rescan], [.remove(device), rescan])]
        },
        FaultScenario(name: "disk unbound, found again, bound") { topology, _ in
            guard let device = address(topology, disk), let rescan = secondary(topology, "0000:00:02.0/00.0/02.0")
            else { return [] }
            return [
                ([.unbindDriver(device)], [.probeDriver(device)]), ([.remove(device), rescan], [rescan]),
            ]
        },
    ]
}
