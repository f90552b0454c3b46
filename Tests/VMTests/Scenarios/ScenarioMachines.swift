// SPDX-License-Identifier: GPL-2.0-or-later

internal import VMLaboratory

/// The machines that scenarios happen on.
enum ScenarioMachine {
    /// A machine with `devices`; native hot-plug, no driver for conventional hot-plug.
    static func with(
        _ name: String,
        memory: MemorySize = .mib(512),
        hole64: MemorySize? = nil,
        _ devices: [Device]
    ) -> MachineTopology {
        var arguments: [String] = []
        if let hole64 { arguments = ["-global", "q35-pcihost.pci-hole64-size=\(hole64.bytes)"] }
        return MachineTopology(
            name,
            memory: memory,
            kernelArguments: MachineTopology.withoutSHPC,
            machineArguments: arguments,
            devices: devices
        )
    }

    /// Memory of `size` below port `port`.
    static func port(_ port: String, _ child: Device) -> Device { .downstreamPort(port, children: [child]) }

    /// 00:02.0 -> 01:00.0 -> 02:00.0 (d1) with 16 MiB at 03:00.0, then `empty` empty ports d2, d3, …
    ///
    /// With `beside`, a second function at 03:00.1.
    static func oneSwitch(
        empty: Int = 1,
        busy: Device = .sharedMemory("busy", size: .mib(16)),
        beside: Device? = nil
    ) -> [Device] {
        var busy = busy
        var behind = [busy]
        if var beside {
            busy.address = "0.0"
            beside.address = "0.1"
            behind = [busy, beside]
        }
        let ports =
            [Device.downstreamPort("d1", children: behind)] + (0..<empty).map { .downstreamPort("d\($0 + 2)") }
        return [.rootPort("rp1", at: "2", children: [.upstreamPort("up1", children: ports)])]
    }

    /// Two root ports with a switch each, 16 MiB at 03:00.0 and 32 MiB at 07:00.0; d2 and d4 empty.
    static let twoSwitches: [Device] =
        oneSwitch() + [
            .rootPort(
                "rp2",
                at: "3",
                children: [
                    .upstreamPort(
                        "up2",
                        children: [port("d3", .sharedMemory("busy2", size: .mib(32))), .downstreamPort("d4")]
                    )
                ]
            )
        ]

    /// A root port with a reserve of 1 GiB, all handed out to the ports of a switch: `size` at 03:00.0, three empty.
    static func hoard(_ size: MemorySize) -> [Device] {
        [
            .rootPort(
                "rp1",
                at: "2",
                reserve: .init(memory: .mib(64), prefetchable64: .gib(1)),
                children: [
                    .upstreamPort(
                        "up1",
                        children: [
                            port("d1", .sharedMemory("busy", size: size)), .downstreamPort("d2"),
                            .downstreamPort("d3"), .downstreamPort("d4"),
                        ]
                    )
                ]
            )
        ]
    }

    /// The endpoints of `deep`.
    static let deepEndpoints: Set<String> = ["0000:05:00.0", "0000:06:00.0", "0000:08:00.0", "0000:09:00.0"]

    /// Three empty root ports with one bus each, and a device on the root bus.
    static let rootPorts: [Device] = [
        .rootPort("rp1", at: "2"), .rootPort("rp2", at: "3"), .rootPort("rp3", at: "4"), .edu("edu", at: "5"),
    ]

    /// A switch behind a switch, with 512 and 4 MiB in the second, 16 and 64 MiB in the first; e1 and e2 empty.
    static let deep: [Device] = [
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
                                        port("d11", .sharedMemory("m512", size: .mib(512))),
                                        port("d12", .sharedMemory("m4", size: .mib(4))),
                                        .downstreamPort("e2"),
                                    ]
                                )
                            ]
                        ),
                        port("d2", .sharedMemory("m16", size: .mib(16))),
                        port("d3", .sharedMemory("m64", size: .mib(64))),
                        .downstreamPort("e1"),
                    ]
                )
            ]
        )
    ]
}
