// SPDX-License-Identifier: GPL-2.0-or-later

internal import Testing
internal import VMLaboratory

extension Scenario {
    /// A port with a device of two functions: 4 GiB, and a random number generator with a driver.
    private static func largePort(_ port: String) -> Device {
        let large = Device.testDevice("large-\(port)", memory: .gib(4), at: "0.0").with("multifunction", .flag(true))
        return .downstreamPort(port, children: [large, Device("virtio-rng-pci", "rng-\(port)", at: "0.1")])
    }

    /// Windows that have to be larger for a while than what is below them needs.
    static let slack: [Scenario] = [
        Scenario(
            name: "two of 4 GiB behind one switch, one lost by remove and rescan",
            topology: ScenarioMachine.with(
                "two-large",
                memory: .gib(1),
                [
                    .rootPort(
                        "rp1",
                        at: "2",
                        children: [.upstreamPort("up1", children: [largePort("d1"), largePort("d2")])]
                    )
                ]
            ),
            prepare: {
                try $0.script("echo 1 >/sys/bus/pci/devices/0000:00:02.0/remove")
                try $0.script("echo 1 >/sys/class/pci_bus/0000:00/rescan")
            },
            expectation: .disturbs(["0000:03:00.0", "0000:03:00.1", "0000:04:00.0", "0000:04:00.1"]),
            // These size windows so that both come back.
            skipping: [.linux6_1, .linux6_12]
        ),
        Scenario(
            name: "room for a card of 1 GiB is asked for",
            topology: .firstLight,
            prepare: { _ in },
            arguments: "--reserve 02:01.0=pref:1G",
            expectation: .disturbs(["0000:03:00.0"]),
            afterwards: {
                try $0.plug(.sharedMemory("card", size: .gib(1)), behind: "d2")
                #expect(try $0.guest.run("pci-rebalance check").status == 0, "the card has its place at once")
            }
        ),
    ]
}
