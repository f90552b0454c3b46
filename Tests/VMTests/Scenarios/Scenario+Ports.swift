// SPDX-License-Identifier: GPL-2.0-or-later

internal import VMLaboratory

extension Scenario {
    /// I/O ports, and damage that is there already.
    static let ports: [Scenario] = [
        Scenario(
            name: "256 MiB beside a sibling that loses its ports",
            topology: .firstLight,
            prepare: { try $0.plug(.testDevice("card", memory: .mib(256)), behind: "d2") },
            expectation: .disturbs(["0000:03:00.0", "0000:04:00.0"])
        ),
        Scenario(
            name: "a sibling lost its ports to a card that is gone",
            topology: .firstLight,
            prepare: {
                try $0.plug(.testDevice("card", memory: .gib(1)), behind: "d2")
                try $0.guest.deviceDel("card")
                try $0.guest.waitUntilQuiet()
            },
            expectation: .disturbs([]),
            // This kernel has closed the windows above as well; whether it must be the sibling is not proved.
            differently: [.linux7: .disturbs(["0000:03:00.0"])]
        ),
        Scenario(
            name: "ports run out, empty ports hold them",
            topology: ScenarioMachine.with(
                "ports",
                [
                    .rootPort(
                        "rp1",
                        at: "2",
                        reserve: .init(io: .kib(8)),
                        children: [
                            .upstreamPort(
                                "up1",
                                children: [
                                    ScenarioMachine.port("d1", .testDevice("busy", memory: .mib(2))),
                                    .downstreamPort("d2"), .downstreamPort("d3"), .downstreamPort("d4"),
                                ]
                            )
                        ]
                    )
                ]
            ),
            prepare: { try $0.plug(Device("pci-serial", "card"), behind: "d4") },
            expectation: .disturbs(["0000:06:00.0"]),
            differently: [.linux7: .disturbs(["0000:03:00.0", "0000:06:00.0"])]
        ),
        Scenario(
            name: "the kernel's windows were never programmed",
            topology: .topologyANative,
            prepare: {
                // Windows closed, the card found by a plain rescan: the kernel places what the port does not forward.
                try $0.script("echo 1 >/sys/bus/pci/devices/0000:01:00.0/remove")
                try $0.register("0000:00:01.0", 0x20, 0x0000_fff0, width: 4)
                try $0.script("echo 1 >/sys/bus/pci/devices/0000:00:01.0/rescan")
            },
            expectation: .disturbs([])
        ),
        Scenario(
            name: "a bridge forwards less than the kernel holds",
            topology: .topologyANative,
            prepare: {
                // Memory window of 00:01.0 closed behind the kernel's back.
                try $0.register("0000:00:01.0", 0x20, 0x0000_fff0, width: 4)
            },
            expectation: .disturbs([])
        ),
    ]
}

extension MachineTopology {
    /// Two root ports with a device each, native hot-plug.
    static let topologyANative = ScenarioMachine.with(
        "two-ports",
        [
            .rootPort("rp1", at: "1", children: [.testDevice("card1", memory: .mib(16))]),
            .rootPort("rp2", at: "2", children: [.testDevice("card2", memory: .mib(1))]),
        ]
    )
}
