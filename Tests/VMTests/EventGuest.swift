// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import Testing
internal import VMLaboratory

/// A Debian guest with systemd and udev in which the package is installed: what an administrator's machine is.
struct EventGuest {
    let machine: VirtualMachine

    /// The package that `make deb` made, or the one that `PCI_REBALANCE_DEB` names; nil when there is none.
    static var package: String? {
        let environment = ProcessInfo.processInfo.environment
        if let path = environment["PCI_REBALANCE_DEB"] { return path }
        let parts = #filePath.split(separator: "/")
        let directory = "/" + parts.dropLast(3).joined(separator: "/") + "/.build/deb"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return names.sorted().last { $0.hasSuffix("_amd64.deb") && !$0.contains("dbgsym") }.map { "\(directory)/\($0)" }
    }

    /// Why no guest with the package can be had here, or nil.
    static func unavailableReason(_ kernel: Kernel) -> String? {
        if let reason = VirtualMachine.unavailableReason(kernel) { return reason }
        if package == nil, ProcessInfo.processInfo.environment["PCI_REBALANCE_REQUIRE_VM"] != "1" {
            return "there is no package; make deb makes one"
        }
        return nil
    }

    /// Boots, installs the package, and puts a policy in place; nil leaves the one that was installed.
    init(_ kernel: Kernel, topology: MachineTopology = .firstLight, policy: String?) throws {
        let package = try #require(Self.package, "expected a package below .build/deb (make deb), found none")
        machine = try VirtualMachine(topology, kernel: kernel, options: .init(system: .debian, files: [package]))
        try install()
        if let policy { try write(policy: policy) }
    }

    /// Installs the package as an administrator does.
    func install() throws {
        try machine.run("dpkg -i /root/*.deb && udevadm settle", timeout: .seconds(120)).checked()
    }

    /// Replaces the policy.
    func write(policy: String) throws {
        try machine.run(
            "cat >/etc/pci-rebalance/policy.json",
            input: Array("{\"schema\": \"pci-rebalance.policy/1\", \(policy)}\n".utf8)
        ).checked()
    }

    /// What all runs have told the system's journal so far.
    func log() throws -> [String] {
        try machine.run("journalctl -q -o cat -t pci-rebalance", timeout: .seconds(60)).lines
    }

    /// Waits until the journal holds what is looked for.
    func awaitLog(_ what: String, _ isThere: @escaping ([String]) -> Bool) throws -> [String] {
        var lines: [String] = []
        try machine.waitUntil(what, timeout: .seconds(240)) { _ in
            lines = try log()
            return isThere(lines)
        }
        return lines
    }

    /// Waits until no run is under way, or will be, and udev has nothing left to do.
    func awaitIdle() throws {
        let text = """
            udevadm settle && systemctl list-jobs --no-legend | grep -q pci-rebalance && exit 1
            systemctl list-units --no-legend --state=activating,deactivating,reloading 'pci-rebalance*' | grep -q . && exit 1
            exit 0
            """
        var quiet = 0
        try machine.waitUntil("all runs to end", timeout: .seconds(240)) { guest in
            quiet = try guest.run(text, timeout: .seconds(60)).status == 0 ? quiet + 1 : 0
            return quiet == 3
        }
    }

    /// How many runs systemd has started: events that reached the command.
    func runCount() throws -> Int {
        try machine.run("journalctl -q -o cat --unit='pci-rebalance@*' | grep -c '^Starting '").lines.first.flatMap {
            Int($0)
        }
            ?? 0
    }

    /// The processes of user space that stay, by name; workers of udev come and go.
    func processes() throws -> [String] {
        try machine.run(
            "udevadm settle; for p in /proc/[0-9]*; do readlink $p/exe; done | grep -v -e udevadm -e dash -e readlink | sort"
        ).lines.filter { !$0.isEmpty }
    }

    /// Processes of the command, or below one of its units.
    func ownProcesses() throws -> [String] {
        try machine.run(
            """
            for p in /proc/[0-9]*; do
                if readlink $p/exe | grep -q pci-rebalance || grep -q 'pci.*rebalance' $p/cgroup; then readlink $p/exe; fi
            done 2>/dev/null
            """
        ).lines.filter { !$0.isEmpty }
    }

    /// The kilobytes that the state and run directories take.
    func stateSize() throws -> String {
        try machine.output("du -s /var/lib/pci-rebalance /run/pci-rebalance | cut -f 1")
    }

    /// From the kernel's failure to the card's last address, what of that is ours, and about how much that is on a machine
    /// that is not emulated: the same planning, done in the guest and here, tells how many times slower the guest is.
    func timing(_ kernel: Kernel, card: String) throws -> String {
        let log = try machine.kernelLog()
        func time(_ line: String) -> Double? {
            guard line.hasPrefix("["), let end = line.firstIndex(of: "]") else { return nil }
            return Double(line[line.index(after: line.startIndex)..<end].filter { $0 != " " })
        }
        // Complaints of the boot, and of the kernel while it does what we ask for, are another matter.
        let beginning = log.firstIndex { $0.contains("pci-rebalance: apply") && $0.contains(" begins") }
        let failure = log[..<(beginning ?? log.endIndex)].last { line in
            line.contains(card) && (line.contains("can't assign") || line.contains("failed to assign"))
        }.flatMap(time)
        let begin = beginning.flatMap { time(log[$0]) }
        let working = log.last { $0.contains(card) && $0.contains("assigned") }.flatMap(time)
        let end = log.last { $0.contains("pci-rebalance: apply") && $0.contains(" ends") }.flatMap(time)
        let spent = try self.log().last { $0.hasPrefix("took ") } ?? "no time told"
        guard let failure, let begin, let working, let end else {
            return "\(kernel): marks missing in the log; \(spent)"
        }
        func milliseconds(_ seconds: Double) -> Int { Int(seconds * 1000) }
        var text =
            "\(kernel): from the kernel's failure to our first write \(milliseconds(begin - failure)) ms, to the "
            + "working card \(milliseconds(working - failure)) ms, to the end \(milliseconds(end - failure)) ms; \(spent)"
        let words = spent.split(separator: " ")
        if words.suffix(3) == ["of", "our", "own"], let own = words.dropLast(4).last.flatMap({ Double($0) }) {
            let slowness = try slowness()
            text +=
                "; the guest is \(Int(slowness.rounded())) times slower than this machine: about "
                + "\(Int((own / slowness).rounded())) ms there"
        }
        return text
    }

    /// How many times longer the command takes in the guest than here, for the same plan from the same snapshot.
    private func slowness() throws -> Double {
        let snapshot = try machine.run("pci-rebalance snapshot -q | tee /tmp/now.json").checked().standardOutput
        let script = "for i in 1 2 3 4 5 6 7 8 9 10; do $tool plan --from $file -q >/dev/null; done; :"
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("pci-rebalance-\(UUID()).json")
        try Data(snapshot).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let clock = ContinuousClock()
        let there = try clock.measure {
            try machine.run("tool=pci-rebalance file=/tmp/now.json; \(script)", timeout: .seconds(120)).checked()
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", "tool=$0 file=$1; \(script)", try #require(Initramfs.builtTool.first), file.path]
        let here = try clock.measure {
            try process.run()
            process.waitUntilExit()
        }
        return there / here
    }
}
