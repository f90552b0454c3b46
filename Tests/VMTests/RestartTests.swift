// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner
internal import Testing
internal import VMLaboratory

/// The way over one restart on real kernels: `plan --kexec` programs every register and starts a kernel, which keeps them.
@Suite("restarts keep what was programmed")
struct RestartTests {
    /// Every case and every kernel once; all pairs with `PCI_REBALANCE_VM_CASES=all` (`make vm-test-all`).
    static let matrix = Kernel.allCases.enumerated().flatMap { n, kernel in
        RepairTests.cases.enumerated().filter {
            RepairTests.areAllCasesAsked || $0.offset == n % RepairTests.cases.count
        }
        .map { (kernel, $0.element) }
    }

    @Test("program, restart, compare", arguments: matrix)
    func restart(kernel: Kernel, example: RepairTests.Case) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        var topology = example.topology
        topology.memory = MemorySize(bytes: 1 << 30)
        let image = try kernel.packagedImage()
        let guest = try VirtualMachine(
            topology,
            kernel: kernel,
            options: .init(files: Initramfs.builtTool + ["/usr/bin/setpci", "/usr/bin/cksum", image])
        )
        try guest.hotPlug(example.card, behind: example.port)
        #expect(try guest.run("pci-rebalance check").status == 3)

        let record = try SnapshotFile.decode(guest.run("pci-rebalance snapshot").checked().standardOutput)
        let now = try TopologyAssembler(record).topology()
        let behaviour = KernelBehaviour.preset(forRelease: now.kernel.release ?? "").behaviour
        let plan = try #require(RestartPlan(now, behaviour: behaviour, commandLine: record.kernel.commandLine))
        try guest.run("pci-rebalance plan --kexec -q >/run/restart.sh").checked()

        // Nothing happens before a kernel is loaded, nor before somebody says that all may end.
        let early = try guest.run("sh /run/restart.sh --now")
        #expect(early.status == 1 && early.errors.contains("expected a kernel loaded by kexec -l"), "\(early.errors)")
        try guest.run(
            """
            cd / && find . -xdev ! -path './proc/*' ! -path './sys/*' ! -path './dev/*' ! -path './run/*' | cpio -o -H newc \
            >/run/initrd && kexec -l /usr/bin/\(image.split(separator: "/").last ?? "") --initrd=/run/initrd --reuse-cmdline
            """,
            timeout: .seconds(120)
        ).checked()
        let unasked = try guest.run("sh /run/restart.sh")
        #expect(unasked.status == 1)
        #expect(unasked.errors.contains("everything that runs will be lost"), "\(unasked.errors)")
        #expect(try guest.run("pci-rebalance check").status == 3, "nothing was written")
        let boot = try guest.run("cat /proc/sys/kernel/random/boot_id").checked().output

        try guest.restart(by: "sh /run/restart.sh --now")
        #expect(try guest.run("cat /proc/sys/kernel/random/boot_id").checked().output != boot)
        try guest.expect(plan.after)
        let cured = try guest.run("pci-rebalance check")
        #expect(cured.status == 0, "\(cured.output)\(cured.errors)")
        let checked = try guest.run("bar-check")
        #expect(checked.status == 0, "\(checked.output)\(checked.errors)")
    }
}
