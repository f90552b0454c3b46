// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import Glibc
import LibPCIBridge
import PCITopology
import PlanExecutor
import RebalancePlanner

/// `event`: the entry for udev and systemd.
struct EventCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "event",
        abstract: "Answer a hot-plug event under the administrator's policy",
        discussion: """
            Started by udev through systemd when a function appears, or by hand. Waits until the kernel has finished \
            with the slot, looks whether anything required is missing, plans, and carries the plan out or only reports \
            it, as the policy says. Without a policy file nothing is ever written.
            """
    )

    @Argument(
        help: ArgumentHelp(
            "The function that appeared, as its directory in sysfs; or a port to look at: a place, slot:NAME, an address.",
            valueName: "function"
        )
    )
    var function: String?

    @Option(help: ArgumentHelp("Read the policy from this file.", valueName: "path"), completion: .file())
    var policy: String?

    @Flag(help: "Only report, whatever the policy says.")
    var dryRun = false

    @Flag(help: "Only show what is locked out: exit status 3 when anything is.")
    var status = false

    @Flag(help: "Forget the failed attempts, so that what was locked out is tried again.")
    var clear = false

    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard !(status && clear) else { throw ValidationError("expected --status or --clear, found both") }
        if let function, !function.hasPrefix("/"), PortName(parsing: function) == nil {
            throw ValidationError(
                "expected a directory in sysfs, a place such as 0000:00:02.0/00.0, slot:NAME or an address, "
                    + "found '\(function)'"
            )
        }
    }

    func run() throws {
        let policy = try PolicyFile.read(self.policy)
        let execution = Execution(output: output, probe: false, planning: nil)
        let observer = execution.observer
        let applier = execution.applier(observer)
        if status { return try showStatus(policy, applier.disk) }
        if clear { return try clearLedger(applier.disk) }
        guard policy.mode != .off else {
            return try end(.nothing("off", "The policy says off."))
        }
        let report: EventReport = try guarded {
            if let address = appeared, try isEcho(address, applier) {
                return .nothing("own-rescan", "\(address) was found by the last apply and is as that predicted.")
            }
            let burst = try EventBurst()
            guard burst.isWorker else {
                return .nothing("coalesced", "Another run is at work and will look once more.")
            }
            Cancellation.listen()
            let run = eventRun(policy, applier, observer)
            var report: EventReport
            repeat {
                report = try run.run(
                    isAskedAgain: burst.takeMark,
                    isCancelled: Cancellation.isAsked,
                    note: { EventText.write($0, output) }
                )
            } while try burst.isWantedAgain() && !Cancellation.isAsked()
            return report
        }
        try end(report)
    }

    /// The function that appeared, when udev named one.
    private var appeared: FunctionAddress? {
        guard let function, function.hasPrefix("/"), let name = function.split(separator: "/").last else { return nil }
        return FunctionAddress(parsing: name)
    }

    private func isEcho(_ address: FunctionAddress, _ applier: Applier) throws -> Bool {
        try EventEcho.isEcho(
            address,
            disk: applier.disk,
            observer: applier.machine.observer,
            now: applier.clock.wallClock()
        )
    }

    private func eventRun(_ policy: EventPolicy, _ applier: Applier, _ observer: SysfsObserver) -> EventRun {
        var policy = policy
        if dryRun { policy = policy.reportingOnly }
        let isQuiet = output.quiet
        // Most events end with nothing missing: who uses what is looked at when there is something to plan.
        let reader = LiveReader(options: LiveReader.Options(readsUse: false))
        var record = MachineRecord(origin: .live)
        var used: Topology?
        var run = EventRun(
            policy: policy,
            applier: applier,
            minuteOfDay: { LocalTime.minuteOfDay },
            readTopology: {
                record = try reader.read()
                used = nil
                return try TopologyAssembler(record).topology()
            },
            // The tree is that of the last reading.
            plan: { _, goals, constraints in
                let topology: Topology
                if let used {
                    topology = used
                } else {
                    reader.readUse(into: &record)
                    topology = try TopologyAssembler(record).topology()
                    observer.remember(Execution.protections(topology))
                    used = topology
                }
                let evidence = KernelChoice.evidence(
                    for: topology,
                    isLive: true,
                    log: record.kernelLog,
                    isQuiet: isQuiet
                )
                return try Planner(topology, evidence).plan(
                    goals: goals,
                    constraints: constraints
                )
            }
        )
        run.began = applier.clock.now() - ProcessAge.now
        run.predictor = { Execution.predictor($0, wish: ($1, $2), log: record.kernelLog) }
        if let function, !function.hasPrefix("/") { run.only = PortName(parsing: function) }
        return run
    }

    private func end(_ report: EventReport) throws {
        EventText.write(report, output)
        guard let status = ExitStatus(rawValue: report.exitStatus), status != .success else { return }
        throw CommandEnd(status)
    }

    // MARK: Ledger

    private func showStatus(_ policy: EventPolicy, _ disk: any JournalDisk) throws {
        let ledger = try guarded { try EventLedger.read(disk) }
        let lockedOut = ledger.lockedOut(policy)
        if output.json {
            try StandardOutput.write(ledger.document)
        } else if !output.quiet {
            var text = ""
            for one in ledger.failures {
                let state = one.count >= policy.attempts ? "locked out" : "failed"
                text += "\(one.key): \(state) after \(one.count) of \(policy.attempts) attempts (\(one.reason))\n"
            }
            for one in ledger.held { text += "\(one.port): has held \(one.room.text)\n" }
            try StandardOutput.write(text.isEmpty ? "nothing has failed\n" : text)
        }
        if !lockedOut.isEmpty { throw CommandEnd(.problems) }
    }

    private func clearLedger(_ disk: any JournalDisk) throws {
        try guarded {
            // A damaged ledger begins anew.
            var ledger = (try? EventLedger.read(disk)) ?? EventLedger()
            ledger.forgetFailures()
            try ledger.write(disk)
        }
        if !output.quiet { Diagnostics.remark("failed attempts are forgotten") }
    }

    private func guarded<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try Execution(output: output, probe: false, planning: nil).guarded(body)
        } catch let error as ReadError {
            throw CommandEnd(error)
        } catch let error as PlanningError {
            throw CommandEnd(.badInput, error.description)
        }
    }
}

/// The policy that the commands use.
enum PolicyFile {
    /// The policy at `path`; without a path the administrator's, or that of a machine without one.
    static func read(_ path: String?) throws(CommandEnd) -> EventPolicy {
        do {
            if let policy = try EventPolicyDocument.read(path ?? EventPolicyDocument.defaultPath) { return policy }
        } catch {
            throw CommandEnd(error.code == .unsafe ? .refused : .badInput, error.description)
        }
        guard let path else { return EventPolicy() }
        throw CommandEnd(.badInput, "\(path): expected a policy, found no file")
    }
}

/// How long this process has existed, what the loader did before our first line included.
enum ProcessAge {
    /// The age; zero where procfs does not tell.
    static var now: Duration {
        var text = [UInt8](repeating: 0, count: 1024)
        let file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return .zero }
        defer { close(file) }
        let count = read(file, &text, text.count)
        guard count > 0 else { return .zero }
        // After the name, which ends with the last parenthesis, the start time is the 20th word, in clock ticks since boot.
        let words =
            String(decoding: text[..<count], as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        let ticks = sysconf(Int32(_SC_CLK_TCK))
        guard words.count > 19, let start = Int64(words[19]), ticks > 0 else { return .zero }
        let now = Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
        return .milliseconds(max(0, now - start * 1000 / Int64(ticks)))
    }
}

/// The clock on the wall.
enum LocalTime {
    /// The minute of the day, 0 to 1439.
    static var minuteOfDay: Int {
        var now = time(nil)
        var parts = tm()
        guard localtime_r(&now, &parts) != nil else { return 0 }
        return Int(parts.tm_hour) * 60 + Int(parts.tm_min)
    }
}
