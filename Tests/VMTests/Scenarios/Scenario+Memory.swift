// SPDX-License-Identifier: GPL-2.0-or-later

internal import VMLaboratory

extension Scenario {
    /// Every scenario.
    static let all = memory + ports + numbers + safety + slack

    /// Prefetchable and other memory: busy siblings, deep switches, pressure on either side of 4 GiB.
    static let memory: [Scenario] = [
        Scenario(
            name: "1 GiB beside a busy sibling",
            topology: ScenarioMachine.with("one-switch", ScenarioMachine.oneSwitch()),
            prepare: { try $0.plug(.sharedMemory("card", size: .gib(1)), behind: "d2") },
            expectation: .disturbs(["0000:03:00.0", "0000:04:00.0"])
        ),
        Scenario(
            name: "deep switches, 2 GiB at the inner one",
            topology: ScenarioMachine.with("deep", ScenarioMachine.deep),
            prepare: { try $0.plug(.sharedMemory("card", size: .gib(2)), behind: "e2") },
            expectation: .disturbs(ScenarioMachine.deepEndpoints.union(["0000:07:00.0"]))
        ),
        Scenario(
            name: "deep switches, 1 GiB at the outer one",
            topology: ScenarioMachine.with("deep", ScenarioMachine.deep),
            prepare: { try $0.plug(.sharedMemory("card", size: .gib(1)), behind: "e1") },
            expectation: .disturbs(ScenarioMachine.deepEndpoints.union(["0000:0a:00.0"]))
        ),
        Scenario(
            name: "two cards below one switch",
            topology: ScenarioMachine.with("one-switch-3", ScenarioMachine.oneSwitch(empty: 2)),
            prepare: {
                try $0.plug(.sharedMemory("card1", size: .mib(256)), behind: "d2")
                try $0.plug(.sharedMemory("card2", size: .mib(128)), behind: "d3")
            },
            expectation: .disturbs(["0000:03:00.0", "0000:04:00.0", "0000:05:00.0"])
        ),
        Scenario(
            name: "two cards below two switches",
            topology: ScenarioMachine.with("two-switches", ScenarioMachine.twoSwitches),
            prepare: {
                try $0.plug(.sharedMemory("card1", size: .mib(512)), behind: "d2")
                try $0.plug(.sharedMemory("card2", size: .gib(1)), behind: "d4")
            },
            expectation: .disturbs(["0000:03:00.0", "0000:04:00.0", "0000:07:00.0", "0000:08:00.0"])
        ),
        Scenario(
            name: "pressure below 4 GiB",
            topology: ScenarioMachine.with(
                "low",
                memory: .gib(2),
                hole64: .mib(0),
                ScenarioMachine.oneSwitch(empty: 2, busy: .sharedMemory("busy", size: .mib(64)))
                    + [.rootPort("rp2", at: "3", children: [.sharedMemory("other", size: .mib(256))])]
            ),
            prepare: { try $0.plug(.sharedMemory("card", size: .mib(256)), behind: "d2") },
            expectation: .disturbs(["0000:03:00.0", "0000:04:00.0"])
        ),
        Scenario(
            name: "pressure above 4 GiB",
            topology: ScenarioMachine.with(
                "high",
                hole64: .gib(4),
                ScenarioMachine.oneSwitch(empty: 2, busy: .sharedMemory("busy", size: .gib(1)))
                    + [.rootPort("rp2", at: "3", children: [.sharedMemory("other", size: .gib(1))])]
            ),
            prepare: { try $0.plug(.sharedMemory("card", size: .gib(1)), behind: "d2") },
            expectation: .disturbs(["0000:04:00.0"])
        ),
        Scenario(
            name: "empty siblings hold what the parent has",
            topology: ScenarioMachine.with("hoard", ScenarioMachine.hoard(.mib(16))),
            prepare: { try $0.plug(.sharedMemory("card", size: .mib(512)), behind: "d2") },
            expectation: .disturbs(["0000:03:00.0", "0000:04:00.0"])
        ),
        Scenario(
            name: "a window around a busy sibling has to grow",
            topology: ScenarioMachine.with("hoard", ScenarioMachine.hoard(.mib(16))),
            prepare: { try $0.plug(.sharedMemory("card", size: .mib(256)), behind: "d4") },
            expectation: .disturbs(["0000:03:00.0", "0000:06:00.0"])
        ),
        Scenario(
            name: "a switch below a root port that has a neighbour",
            topology: ScenarioMachine.with(
                "tight",
                hole64: .gib(2),
                [
                    .rootPort("rp1", at: "2", children: [.sharedMemory("a", size: .mib(512))]),
                    .rootPort(
                        "rp2",
                        at: "3",
                        children: [
                            .upstreamPort(
                                "up1",
                                children: [
                                    ScenarioMachine.port("d1", .sharedMemory("busy", size: .mib(256))),
                                    .downstreamPort("d2"),
                                ]
                            )
                        ]
                    ),
                    .rootPort("rp3", at: "4", children: [.sharedMemory("b", size: .mib(256))]),
                ]
            ),
            prepare: { try $0.plug(.sharedMemory("card", size: .mib(512)), behind: "d2") },
            expectation: .disturbs(["0000:04:00.0", "0000:05:00.0"])
        ),
        Scenario(
            name: "two functions of one device go together",
            topology: ScenarioMachine.with(
                "functions",
                ScenarioMachine.oneSwitch(
                    busy: .sharedMemory("busy", size: .mib(16)),
                    beside: .sharedMemory("twin", size: .mib(32))
                )
            ),
            prepare: { try $0.plug(.sharedMemory("card", size: .gib(1)), behind: "d2") },
            expectation: .disturbs(["0000:03:00.0", "0000:03:00.1", "0000:04:00.0"])
        ),
        Scenario(
            name: "a conventional bridge next door stays",
            topology: ScenarioMachine.with(
                "conventional",
                [
                    .rootPort(
                        "rp1",
                        at: "2",
                        children: [.pcieToPCIBridge("pb", children: [.edu("edu", at: "1")])]
                    ),
                    .rootPort(
                        "rp2",
                        at: "3",
                        children: [
                            .upstreamPort(
                                "up1",
                                children: [
                                    ScenarioMachine.port("d1", .edu("busy")), .downstreamPort("d2"),
                                    .downstreamPort("d3"),
                                ]
                            )
                        ]
                    ),
                ]
            ),
            prepare: { try $0.plug(.sharedMemory("card", size: .mib(128)), behind: "d2") },
            expectation: .disturbs(["0000:05:00.0", "0000:06:00.0"])
        ),
        Scenario(
            name: "more than the aperture holds",
            topology: ScenarioMachine.with("one-switch-hole", hole64: .gib(2), ScenarioMachine.oneSwitch()),
            prepare: { try $0.plug(.sharedMemory("card", size: .gib(4)), behind: "d2") },
            expectation: .impossible(reason: "mmio-window-too-small")
        ),
    ]
}
