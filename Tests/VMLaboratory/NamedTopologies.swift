// SPDX-License-Identifier: GPL-2.0-or-later

extension MachineTopology {
    /// Every topology that has a name, in the order in which they are listed.
    public static let named: [MachineTopology] = [
        .firstLight, .threeRootPorts, .topologyA, .deepSwitches, .switchBelowPort, .conventional, .twoHostBridges,
        .virtualFunctions, .firstLightACPI, .rootBusSlots, .twoLargeCards,
    ]

    /// The topology with the given name, or nil.
    public static func named(_ name: String) -> MachineTopology? {
        named.first { $0.name == name }
    }

    /// Kernel parameters without which a bridge plugged into a port that has one bus stops 6.1 (`shpc_init`).
    public static let withoutSHPC = ["initcall_blacklist=shpcd_init"]

    /// The window case: a card of 1 GiB for `d2` does not fit, because the windows above are pinned by `card`.
    ///
    /// 00:02.0 root port -> 01:00.0 -> 02:00.0 -> 03:00.0 with 16 MiB, and 02:01.0 (bus 04) empty.
    public static let firstLight = MachineTopology(
        "first-light",
        summary: "root port, switch, a 16 MiB device behind its first port d1, the second (d2) empty for hot-plug",
        kernelArguments: withoutSHPC,
        devices: [
            .rootPort(
                "rp1",
                at: "2",
                children: [
                    .upstreamPort(
                        "up1",
                        children: [
                            .downstreamPort("d1", children: [.testDevice("sibling", memory: .mib(16))]),
                            .downstreamPort("d2"),
                        ]
                    )
                ]
            )
        ]
    )

    /// The window case under the ACPI hot-plug driver, as QEMU has it unless told otherwise.
    public static let firstLightACPI: MachineTopology = {
        var topology = firstLight
        topology.name = "first-light-acpi"
        topology.summary = "first-light with QEMU's default: acpiphp drives the slots"
        topology.hotPlug = .acpi
        return topology
    }()

    /// Slots of a root bus: cards go to free device numbers, a bridge that has a card takes another.
    public static let rootBusSlots = MachineTopology(
        "root-bus-slots",
        summary: "i440fx: a 16 MiB device at 00:04.0, a bridge at 00:05.0 with a 1 MiB device, acpiphp",
        hotPlug: .acpi,
        kernelArguments: withoutSHPC,
        board: .i440fx,
        devices: [
            .testDevice("card", memory: .mib(16), at: "4"),
            .pciBridge("bridge", at: "5", children: [.testDevice("below", memory: .mib(1), at: "1")]),
        ]
    )

    /// Two devices of 4 GiB behind one switch, each with a small prefetchable neighbour: what kernels size differently.
    public static let twoLargeCards = MachineTopology(
        "two-large-cards",
        summary: "root port, switch, behind each of its ports 4 GiB and 16 KiB of prefetchable memory",
        memory: .gib(1),
        kernelArguments: withoutSHPC,
        devices: [
            .rootPort(
                "rp1",
                at: "2",
                children: [
                    .upstreamPort(
                        "up1",
                        children: (1...2).map { n in
                            .downstreamPort(
                                "d\(n)",
                                children: [
                                    .testDevice("card\(n)", memory: .gib(4), at: "0.0"),
                                    Device("virtio-rng-pci", "rng\(n)", at: "0.1"),
                                ]
                            )
                        }
                    )
                ]
            )
        ]
    )

    /// The bus number case: each port has one bus, so a bridge plugged into one gets none.
    public static let threeRootPorts = MachineTopology(
        "three-root-ports",
        summary: "three empty hot-plug root ports rp1, rp2, rp3 at 00:02.0, 00:03.0, 00:04.0, one bus each",
        kernelArguments: withoutSHPC,
        devices: [.rootPort("rp1", at: "2"), .rootPort("rp2", at: "3"), .rootPort("rp3", at: "4")]
    )

    /// Two root ports with a device each: 16 MiB behind the first, 1 MiB behind the second.
    public static let topologyA = MachineTopology(
        "topology-a",
        summary: "root ports 00:01.0 and 00:02.0 with devices of 16 MiB and 1 MiB, ACPI hot-plug, 1 GiB of memory",
        memory: .gib(1),
        hotPlug: .acpi,
        kernelArguments: withoutSHPC,
        devices: [
            .rootPort("rp1", at: "1", children: [.testDevice("card1", memory: .mib(16))]),
            .rootPort("rp2", at: "2", children: [.testDevice("card2", memory: .mib(1))]),
        ]
    )

    /// A switch behind a switch, with 512 MiB and 4 MiB in the second and 16 MiB and 64 MiB in the first.
    public static let deepSwitches = MachineTopology(
        "deep-switches",
        summary: "a switch behind a switch; devices of 512, 4, 16 and 64 MiB, one empty port (e1) behind each switch",
        kernelArguments: withoutSHPC,
        devices: [
            .rootPort(
                "rp1",
                at: "2",
                children: [
                    .upstreamPort(
                        "up1",
                        children: [
                            .downstreamPort(
                                "d1",
                                children: [
                                    .upstreamPort(
                                        "up2",
                                        children: [
                                            .downstreamPort(
                                                "d11",
                                                children: [.testDevice("card512", memory: .mib(512))]
                                            ),
                                            .downstreamPort("d12", children: [.testDevice("card4", memory: .mib(4))]),
                                            .downstreamPort("e2"),
                                        ]
                                    )
                                ]
                            ),
                            .downstreamPort("d2", children: [.testDevice("card16", memory: .mib(16))]),
                            .downstreamPort("d3", children: [.testDevice("card64", memory: .mib(64))]),
                            .downstreamPort("e1"),
                        ]
                    )
                ]
            )
        ]
    )

    /// One device behind one downstream port: root port 00:01.0, buses 01, 02, 03.
    public static let switchBelowPort = MachineTopology(
        "switch-below-port",
        summary: "root port 00:01.0, a switch with one port and 16 MiB behind it, ACPI hot-plug, 1 GiB of memory",
        memory: .gib(1),
        hotPlug: .acpi,
        kernelArguments: withoutSHPC,
        devices: [
            .rootPort(
                "rp1",
                at: "1",
                children: [
                    .upstreamPort(
                        "up1",
                        children: [.downstreamPort("dn1", children: [.testDevice("card", memory: .mib(16))])]
                    )
                ]
            )
        ]
    )

    /// Conventional bridges below a root port.
    public static let conventional = MachineTopology(
        "conventional",
        summary: "root port, PCIe to PCI bridge, PCI bridge, 16 MiB behind it: 00:02.0, 01:00.0, 02:01.0, 03:01.0",
        kernelArguments: withoutSHPC,
        devices: [
            .rootPort(
                "rp1",
                at: "2",
                children: [
                    .pcieToPCIBridge(
                        "pb",
                        children: [
                            .pciBridge("br", at: "1", children: [.testDevice("card", memory: .mib(16), at: "1")])
                        ]
                    )
                ]
            )
        ]
    )

    /// A second host bridge with a root bus of its own.
    public static let twoHostBridges = MachineTopology(
        "two-host-bridges",
        summary: "a root port with 16 MiB on bus 00 and one with 64 MiB on root bus 40 (pxb-pcie)",
        kernelArguments: withoutSHPC,
        devices: [
            .rootPort("rp1", at: "2", children: [.testDevice("card1", memory: .mib(16))]),
            .expanderBridge(
                "pxb",
                bus: 0x40,
                children: [.rootPort("rp2", children: [.testDevice("card2", memory: .mib(64))])]
            ),
        ]
    )

    /// Virtual functions and disks.
    public static let virtualFunctions = MachineTopology(
        "virtual-functions",
        summary: "an NVMe controller with 4 VFs (00:02.0), one with a 64 MiB scratch disk (00:03.0), rp3 empty",
        kernelArguments: withoutSHPC,
        devices: [
            .rootPort("rp1", at: "2", children: [.nvme("vfs", virtualFunctions: 4)]),
            .rootPort("rp2", at: "3", children: [.nvme("disk", disk: .mib(64))]),
            .rootPort("rp3", at: "4"),
        ]
    )
}
