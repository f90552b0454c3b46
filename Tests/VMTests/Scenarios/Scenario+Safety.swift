// SPDX-License-Identifier: GPL-2.0-or-later

internal import VMLaboratory

extension Scenario {
    /// A switch with a disk at d1 (03:00.0) and two empty ports, and a device on the root bus that can be asked.
    private static let diskSwitch = ScenarioMachine.with(
        "disk",
        ScenarioMachine.oneSwitch(empty: 2, busy: .nvme("disk", disk: .mib(64))) + [.edu("edu", at: "5")]
    )

    /// A switch with a controller at d1 (03:00.0) that can have VFs, and an empty port.
    static let switchWithVFs = ScenarioMachine.with(
        "vf-switch",
        ScenarioMachine.oneSwitch(busy: .nvme("vfs", virtualFunctions: 2)) + [.edu("edu", at: "5")]
    )

    /// Enables both VFs and leaves them without a driver: QEMU's do not work before the controller was told so.
    private static let enablingVFs = """
        modprobe nvme; sleep 1; cd /sys/bus/pci/devices/0000:03:00.0
        echo 0 >sriov_drivers_autoprobe; echo 2 >sriov_numvfs
        """

    /// Two VFs, then a card that finds no room beside their controller.
    static func crowdVFs(_ guest: VirtualMachine) throws {
        try guest.run(enablingVFs, timeout: .seconds(60)).checked()
        try guest.hotPlug(.sharedMemory("card", size: .gib(1)), behind: "d2")
    }

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
        Scenario(
            name: "a mounted disk has the next bus number, and there are others",
            topology: ScenarioMachine.with(
                "disk-next",
                [
                    .rootPort("rp1", at: "2"), .rootPort("rp2", at: "3", children: [.nvme("disk", disk: .mib(64))]),
                    .edu("edu", at: "5"),
                ]
            ),
            prepare: {
                try $0.guest.mountDisk(of: "0000:02:00.0")
                try $0.script("echo kept >/mnt/file")
                try $0.plug(.pcieToPCIBridge("bridge"), behind: "rp1")
            },
            expectation: .disturbs([]),
            afterwards: {
                try $0.script(
                    "echo 3 >/proc/sys/vm/drop_caches; [ \"$(cat /mnt/file)\" = kept ]; touch /mnt/other; sync"
                )
            }
        ),
        Scenario(
            name: "VFs are in the way",
            topology: switchWithVFs,
            prepare: { try crowdVFs($0.guest) },
            expectation: .refused(reason: "protected", naming: ["0000:03:00.0", "it has 2 VFs enabled"])
        ),
        Scenario(
            name: "VFs are in the way, and may be stopped",
            topology: switchWithVFs,
            prepare: { try crowdVFs($0.guest) },
            arguments: "--allow-disturb 03:00.0",
            expectation: .disturbs(["0000:03:00.0", "0000:03:00.1", "0000:03:00.2", "0000:04:00.0"]),
            afterwards: {
                try $0.script("[ $(cat /sys/bus/pci/devices/0000:03:00.0/sriov_numvfs) = 2 ]")
                try $0.script("[ -e /sys/bus/pci/devices/0000:03:00.2 ]; ! dmesg | grep 'left SR-IOV enabled'")
            }
        ),
    ]
}
