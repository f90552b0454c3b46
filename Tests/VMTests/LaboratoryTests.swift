// SPDX-License-Identifier: GPL-2.0-or-later

internal import Testing
internal import VMLaboratory

/// The laboratory itself: what tests may rely on.
@Suite("the laboratory")
struct LaboratoryTests {
    @Test("a topology renders to one -device per device, with buses, chassis and slots")
    func rendering() throws {
        let devices = try MachineTopology.firstLight.arguments().filter { $0.contains("id=") }
        #expect(
            devices == [
                "pcie-root-port,id=rp1,bus=pcie.0,addr=2,chassis=1,slot=1",
                "x3130-upstream,id=up1,bus=rp1",
                "xio3130-downstream,id=d1,bus=up1,addr=0,chassis=2,slot=2",
                "pci-testdev,id=sibling,bus=d1,membar=16777216",
                "xio3130-downstream,id=d2,bus=up1,addr=1,chassis=3,slot=3",
            ]
        )
    }

    @Test("two devices of one name are refused")
    func duplicateNames() {
        let machine = MachineTopology("twice", devices: [.rootPort("rp"), .rootPort("rp")])
        #expect(throws: LaboratoryError.self) { try machine.arguments() }
    }

    @Test(
        "sizes print with the largest unit that divides them",
        arguments: [
            (MemorySize.gib(1), "1G"), (.mib(1536), "1536M"), (.kib(4), "4K"), (MemorySize(bytes: 256), "256"),
            (MemorySize(bytes: 0), "0"), (.gib(.max), "18446744073709551615"),
        ]
    )
    func sizes(size: MemorySize, text: String) {
        #expect(size.description == text)
    }

    @Test("commands: status, both outputs, input, bytes of every value, a large answer, a time-out")
    func commands() throws {
        let kernel = Kernel.linux6_12
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try VirtualMachine(.threeRootPorts, kernel: kernel)
        #expect(guest.release == kernel.release)

        let result = try guest.run("echo out; echo err >&2; exit 42")
        #expect(result.status == 42)
        #expect(result.output == "out\n")
        #expect(result.errors == "err\n")

        let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
        try guest.pushFile(bytes, to: "/tmp/it's here", executable: true)
        #expect(try guest.pullFile("/tmp/it's here") == bytes)
        #expect(try guest.run("test -x \"/tmp/it's here\"").status == 0)

        // More than any buffer between the guest and here holds.
        let large = try guest.run("head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2")
        #expect(large.standardOutput.count == 3_000_000)
        #expect(large.standardOutput.allSatisfy { $0 == UInt8(ascii: "x") })
        #expect(large.errors == "end\n")

        let late = try guest.run("echo begun; sleep 100 & sleep 100", timeout: .seconds(1))
        #expect(late.status == 137)
        #expect(late.output == "begun\n")
        #expect(try guest.run("pidof sleep").status == 1)
        #expect(throws: LaboratoryError.self) { try guest.output("exit 1") }

        // A kernel that panics ends the machine, and the error carries its last words.
        let panic = #expect(throws: LaboratoryError.self) { try guest.run("echo c >/proc/sysrq-trigger") }
        #expect(panic?.code == .machine)
        #expect(panic?.description.contains("sysrq triggered crash") == true)
    }

    @Test("plug, unplug and reset")
    func plugging() throws {
        let kernel = Kernel.linux7
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try VirtualMachine(.threeRootPorts, kernel: kernel)
        let card = "0000:02:00.0"
        try guest.hotPlug(.testDevice("card", memory: .mib(1)), behind: "rp2")
        #expect(barsAreAssigned(try guest.resources(of: card)))
        try guest.deviceDel("card")
        try guest.waitUntil("the function to go") { try !$0.functions().contains(card) }

        try guest.hotPlug(.sharedMemory("shared", size: .mib(2)), behind: "rp3")
        let shared = "0000:03:00.0"
        #expect(try guest.functions().contains(shared))
        try guest.output("touch /tmp/gone; mkdir -p '/var/lib/it is kept'; echo yes >'/var/lib/it is kept/file'")
        try guest.reset(preserving: ["/var/lib/it is kept"])
        #expect(try guest.run("test -e /tmp/gone").status == 1)
        #expect(try guest.output("cat '/var/lib/it is kept/file'") == "yes\n")
        #expect(try guest.functions().contains(shared))

        #expect(throws: LaboratoryError.self) { try guest.qmp("no-such-command") }
        guest.stop()
        #expect(throws: LaboratoryError.self) { try guest.run("true") }
    }

    /// On the other kernels scenarios mount disks and `VirtualFunctionTests` enables VFs.
    @Test("a disk is mounted and virtual functions appear")
    func disksAndVirtualFunctions() throws {
        let kernel = Kernel.linux6_12
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try VirtualMachine(.virtualFunctions, kernel: kernel)
        let disk = try guest.mountDisk(of: "0000:02:00.0")
        #expect(try guest.output("cat /proc/mounts").contains("\(disk) /mnt ext4"))
        try guest.output("echo 2 >/sys/bus/pci/devices/0000:01:00.0/sriov_numvfs")
        #expect(try guest.functions().filter { $0.hasPrefix("0000:01:") }.count == 3)
    }

    @Test("two guests side by side do not know of each other")
    func sideBySide() throws {
        for kernel in [Kernel.linux6_1, .linux7] {
            if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        }
        let first = try VirtualMachine(.firstLight, kernel: .linux6_1)
        let second = try VirtualMachine(.topologyA, kernel: .linux7)
        try first.output("echo first >/tmp/name")
        try second.output("echo second >/tmp/name")
        #expect(try first.output("cat /tmp/name") == "first\n")
        #expect(try second.output("cat /tmp/name") == "second\n")
        first.stop()
        #expect(try second.functions().contains("0000:02:00.0"))
    }

    @Test("a topology that QEMU refuses is an error with QEMU's words")
    func refusal() throws {
        let kernel = Kernel.linux6_12
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let machine = MachineTopology("wrong", devices: [Device("no-such-device", "x")])
        let error = #expect(throws: LaboratoryError.self) { try VirtualMachine(machine, kernel: kernel) }
        #expect(error?.code == .machine)
        #expect(error?.description.contains("no-such-device") == true)
    }

    /// The others are booted by tests of their own.
    @Test(
        "every named topology boots, and every function of it has its BARs",
        arguments: RepairTests.areAllCasesAsked
            ? MachineTopology.named : [.deepSwitches, .switchBelowPort, .conventional, .twoHostBridges]
    )
    func namedTopologies(machine: MachineTopology) throws {
        let kernel = Kernel.linux6_12
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try VirtualMachine(machine, kernel: kernel)
        let resources = try guest.resources()
        #expect(resources.count > 4)
        for (function, lines) in resources.sorted(by: { $0.key < $1.key }) {
            for (index, line) in lines.prefix(6).enumerated() where !line.isEmpty {
                #expect(line.isAssigned, "\(function) BAR \(index): \(line)")
            }
        }
    }
}
