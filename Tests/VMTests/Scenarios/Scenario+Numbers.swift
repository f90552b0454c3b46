// SPDX-License-Identifier: GPL-2.0-or-later

internal import Testing
internal import VMLaboratory

extension Scenario {
    /// Bus numbers.
    static let numbers: [Scenario] = [
        Scenario(
            name: "a bridge below a port with one bus",
            topology: ScenarioMachine.with("root-ports", ScenarioMachine.rootPorts),
            prepare: { try $0.plug(.pcieToPCIBridge("bridge"), behind: "rp1") },
            expectation: .disturbs([])
        ),
        Scenario(
            name: "a bridge below a switch port, an empty neighbour has the next number",
            topology: ScenarioMachine.with(
                "numbers",
                ScenarioMachine.oneSwitch() + [.rootPort("rp2", at: "3"), .rootPort("rp3", at: "4")]
            ),
            prepare: { try $0.plug(.pcieToPCIBridge("bridge"), behind: "d2") },
            expectation: .disturbs(["0000:03:00.0"])
        ),
        Scenario(
            name: "a bridge below the inner of two switches",
            topology: ScenarioMachine.with("deep", ScenarioMachine.deep),
            prepare: { try $0.plug(.pcieToPCIBridge("bridge"), behind: "e2") },
            expectation: .disturbs(ScenarioMachine.deepEndpoints)
        ),
        Scenario(
            name: "a range that sticks out of its parent's",
            topology: ScenarioMachine.with("one-switch-3", ScenarioMachine.oneSwitch(empty: 2)),
            prepare: {
                // 01:00.0 is found again with more numbers than the port above has.
                try $0.script("echo 1 >/sys/bus/pci/devices/0000:02:00.0/remove")
                try $0.script("echo 1 >/sys/bus/pci/devices/0000:02:01.0/remove")
                try $0.script("echo 1 >/sys/bus/pci/devices/0000:02:02.0/remove")
                try $0.register("0000:01:00.0", 0x1a, 0x09, width: 1)
                try $0.script("echo 1 >/sys/bus/pci/devices/0000:01:00.0/remove")
                try $0.script("echo 1 >/sys/class/pci_bus/0000:01/rescan")
            },
            expectation: .disturbs(["0000:03:00.0"])
        ),
        Scenario(
            name: "room for numbers is asked for",
            topology: ScenarioMachine.with("root-ports", ScenarioMachine.rootPorts),
            prepare: { _ in },
            arguments: "--reserve 00:02.0=buses:4",
            expectation: .disturbs([]),
            afterwards: {
                try $0.plug(.pcieToPCIBridge("bridge"), behind: "rp1")
                #expect(try $0.guest.run("pci-rebalance check").status == 0, "the bridge has its numbers at once")
            }
        ),
        Scenario(
            name: "two bridges below two root ports",
            topology: ScenarioMachine.with("root-ports", ScenarioMachine.rootPorts),
            prepare: {
                try $0.plug(.pcieToPCIBridge("bridge1"), behind: "rp1")
                try $0.plug(.pcieToPCIBridge("bridge2"), behind: "rp3")
            },
            expectation: .disturbs([])
        ),
    ]
}
