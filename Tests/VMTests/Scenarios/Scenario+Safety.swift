// SPDX-License-Identifier: GPL-2.0-or-later

internal import VMLaboratory

extension Scenario {
    /// A switch with a disk at d1 (03:00.0) and two empty ports, and a device on the root bus that can be asked.
    private static let diskSwitch = ScenarioMachine.with(
        "disk",
        ScenarioMachine.oneSwitch(empty: 2, busy: .nvme("disk", disk: .mib(64))) + [.edu("edu", at: "5")]
    )

    /// Things in use.
    static let safety: [Scenario] = [
        Scenario(
            name: "a mounted disk is in the way",
            topology: diskSwitch,
            prepare: {
                try $0.guest.mountDisk(of: "0000:03:00.0")
                try $0.plug(.sharedMemory("card", size: .gib(1)), behind: "d2")
            },
            expectation: .refused(reason: "protected", naming: ["0000:03:00.0", "is mounted on /mnt"])
        ),
        Scenario(
            name: "a mounted disk is in the way, and may be stopped",
            topology: diskSwitch,
            prepare: {
                try $0.script("modprobe nvme; sleep 1")
                try $0.plug(.sharedMemory("card", size: .gib(1)), behind: "d2")
            },
            arguments: "--allow-disturb 03:00.0",
            expectation: .disturbs(["0000:03:00.0", "0000:04:00.0"]),
            afterwards: { try $0.script("sleep 1; dd if=/dev/nvme0n1 of=/dev/null bs=4096 count=16") }
        ),
        Scenario(
            name: "a neighbour is asked to be kept",
            topology: ScenarioMachine.with("one-switch", ScenarioMachine.oneSwitch()),
            prepare: { try $0.plug(.sharedMemory("card", size: .gib(1)), behind: "d2") },
            arguments: "--keep 03:00.0",
            expectation: .refused(reason: "protected", naming: ["0000:03:00.0", "asked to be kept"])
        ),
    ]
}
