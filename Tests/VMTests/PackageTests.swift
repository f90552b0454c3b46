// SPDX-License-Identifier: GPL-2.0-or-later

internal import Testing
internal import VMLaboratory

/// The package in a Debian with systemd: what it brings, what it enables, what it leaves behind.
@Suite("the package is one that people dare to install")
struct PackageTests {
    @Test("it installs, verifies, recovers when asked, and goes without a trace")
    func life() throws {
        let kernel = Kernel.linux6_12
        if let reason = EventGuest.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let package = try #require(EventGuest.package, "expected a package below .build/deb (make deb), found none")
        let machine = try VirtualMachine(.firstLight, kernel: kernel, options: .init(system: .debian, files: [package]))
        let list = """
            find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/lib/dpkg \\
                -o -path /var/log -o -path /var/tmp -o -path /root -o -path /var/cache \\) -prune -o -print | sort
            """
        let before = try machine.output(list)
        let enabled = "find /etc/systemd /lib/systemd /etc/cron* /etc/init.d -type l | sort"
        let enabledBefore = try machine.run(enabled).output
        try machine.run("dpkg -i /root/*.deb", timeout: .seconds(120)).checked()

        // Nothing that acts is enabled or running.
        #expect(try machine.run(enabled).output == enabledBefore)
        #expect(try machine.run("systemctl list-units --all --no-legend 'pci-rebalance*'").output.isEmpty)
        #expect(
            try machine.output("sed -n 's/.*\"mode\": \"\\(.*\\)\".*/\\1/p' /etc/pci-rebalance/policy.json")
                == "report\n"
        )

        try verify(machine)
        try privileges(machine)
        try recover(machine)

        try machine.run("dpkg --purge pci-rebalance", timeout: .seconds(120)).checked()
        let after = Set(try machine.run(list).lines)
        let existing = Set(before.split(separator: "\n").map(String.init))
        #expect(after.subtracting(existing).isEmpty, "files that stay")
        #expect(existing.subtracting(after).isEmpty, "files of others that went")
        #expect(try machine.run("ls -d /run/pci-rebalance /run/systemd/*/*pci-rebalance* 2>/dev/null").output.isEmpty)
        #expect(try machine.run("systemctl --failed --no-legend | grep pci-rebalance").output.isEmpty)
    }

    /// systemd's and udev's own verdict on what was installed.
    private func verify(_ machine: VirtualMachine) throws {
        let units = "/lib/systemd/system/pci-rebalance@x.service /lib/systemd/system/pci-rebalance-recover.service"
        let unit = try machine.run(
            """
            cp /lib/systemd/system/pci-rebalance@.service /tmp/pci-rebalance@x.service
            systemd-analyze verify --man=no /tmp/pci-rebalance@x.service /lib/systemd/system/pci-rebalance-recover.service
            """,
            timeout: .seconds(120)
        )
        #expect(unit.status == 0 && unit.errors.isEmpty, "\(units): \(unit.errors)")
        let rule = try machine.run("udevadm test /sys/bus/pci/devices/0000:03:00.0 2>&1", timeout: .seconds(60))
        #expect(rule.output.contains("70-pci-rebalance.rules"), "the rule is read")
        #expect(!rule.lines.contains { $0.contains("pci-rebalance.rules:") && $0.contains("nvalid") }, "\(rule.output)")
        for name in ["pci-rebalance@x", "pci-rebalance-recover"] {
            let security = try machine.run("systemd-analyze security --no-pager \(name).service | tail -n 1")
            print("systemd-analyze security \(name): \(security.output)")
            let words = security.output.split(separator: " ").compactMap { Double($0) }
            #expect(words.first.map { $0 < 5.0 } == true, "\(security.output)")
        }
    }

    /// Whoever lacks what writing takes is told what, and nothing is written.
    private func privileges(_ machine: VirtualMachine) throws {
        try machine.hotPlug(EventTests.card, behind: "d2")
        let before = try machine.resources()
        let nobody = try machine.run("setpriv --reuid 65534 --regid 65534 --clear-groups pci-rebalance apply --yes -q")
        #expect(nobody.status == 77, "\(nobody.output)\(nobody.errors)")
        let bounded = try machine.run(
            "setpriv --bounding-set -sys_admin --inh-caps -sys_admin pci-rebalance apply --yes"
        )
        #expect(bounded.status == 77, "\(bounded.output)\(bounded.errors)")
        #expect(bounded.output.contains("CAP_SYS_ADMIN"), "\(bounded.output)")
        #expect(try machine.resources() == before)
    }

    /// A kernel that is locked down refuses writes to configuration space, and that is said before anything is stopped.
    @Test("a plan that a locked-down kernel would refuse is not begun")
    func lockdown() throws {
        let kernel = Kernel.linux6_12
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let machine = try VirtualMachine(
            .threeRootPorts,
            kernel: kernel,
            options: .init(kernelArguments: ["lsm=lockdown"])
        )
        try machine.hotPlug(.pcieToPCIBridge("bridge"), behind: "rp1")
        let before = try machine.resources()
        let plan = try machine.run("pci-rebalance plan -o /tmp/plan.json")
        #expect(plan.status == 0 && plan.output.contains("setpci"), "\(plan.output)")
        // Only now: what speaks for the laboratory in the guest would not be given its ports either.
        let locked = try machine.run(
            """
            mount -t securityfs none /sys/kernel/security 2>/dev/null
            echo integrity >/sys/kernel/security/lockdown && cat /sys/kernel/security/lockdown
            """
        )
        #expect(locked.output.contains("[integrity]"), "\(locked.output)\(locked.errors)")
        let result = try machine.run("pci-rebalance apply /tmp/plan.json")
        #expect(result.status == 77, "\(result.output)\(result.errors)")
        #expect(result.output.contains("lockdown"), "\(result.output)")
        #expect(result.lines.last == "APPLY: failed reason=not-permitted")
        #expect(try machine.resources() == before)
        #expect(try machine.run("ls /var/lib/pci-rebalance").output.isEmpty)
    }

    /// An apply that died is ended by the unit, in its sandbox.
    private func recover(_ machine: VirtualMachine) throws {
        // Killed as soon as its first step is seen to be done.
        let killed = try machine.run(
            """
            pci-rebalance apply --yes --json >/tmp/out 2>&1 &
            until grep -q step-reached /tmp/out; do kill -0 $! || exit 1; done
            kill -9 $!; wait $!
            test -e /var/lib/pci-rebalance/apply.journal
            """,
            timeout: .seconds(120)
        )
        let out = try machine.run("cat /tmp/out").output
        #expect(killed.status == 0, "\(out)")
        #expect(try machine.run("pci-rebalance recover --status -q").status == 3)
        let again = try machine.run("pci-rebalance apply --yes -q")
        #expect(again.status == 75, "\(again.output)\(again.errors)")
        let started = try machine.run("systemctl start pci-rebalance-recover.service", timeout: .seconds(120))
        let log = try machine.run("journalctl -q -o cat -u pci-rebalance-recover").output
        #expect(started.status == 0, "\(started.errors)\(log)")
        #expect(log.contains("APPLY: rolled-back reason=interrupted"), "\(log)")
        #expect(try machine.run("pci-rebalance recover --status -q").status == 0)
        #expect(try machine.resources()[EventTests.sibling]?[0].isAssigned == true)
    }
}
