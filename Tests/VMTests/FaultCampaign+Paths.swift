// SPDX-License-Identifier: GPL-2.0-or-later

internal import TestSupport
internal import VMLaboratory

/// Paths of the journal's model on a real kernel.
extension FaultCampaign {
    /// The switch port behind which nothing is: somebody else takes it away where something is to happen otherwise.
    private static let emptyPort = "0000:00:02.0/00.0/01.0"
    private static let pause = "/tmp/pause"
    private static let mark = "/tmp/fired"

    /// Applies a plan and recovers it, disturbed as a path says; what is not as promised. A second recovery finds nothing to
    /// do.
    func follow(_ path: JournalPath) throws -> [String] {
        var problems: [String] = []
        var isUnfinished = try disturb(command, path.apply, 0, &problems)
        if let fate = path.recovery, isUnfinished {
            isUnfinished = try disturb("pci-rebalance recover", fate, 1, &problems)
        }
        // A port that the kernel did not know lets its card go once it is found again.
        let last = try recover()
        if last.status != 0 { problems.append("expected recovery, found \(last.status): \(last.lines.suffix(24))") }
        if pulled.contains(Self.small), try !machine.pull("small") { problems.append("the card stays in its slot") }
        let again = try recover()
        if again.status != 0 || Self.verdict(again.lines)?.hasSuffix("reason=nothing-to-do") != true {
            problems.append("expected nothing to recover again, found \(again.status): \(again.lines.suffix(24))")
        }
        return problems
    }

    /// Sends the apply a signal after its first write. A shell has what it starts in the background ignore INT and QUIT.
    func signal(_ name: String) throws -> [String] {
        let isPaused = try machine.start(
            "\(Self.preload) FAULT_AFTER=1:\(Self.pause) \(command)",
            pausing: Self.pause
        )
        guard isPaused else { return ["expected a write to wait after"] }
        try machine.guest.run("kill -\(name) $(pidof pci-rebalance)").checked()
        let (status, lines) = try machine.finish(pausing: Self.pause)
        said += lines
        let expected = name == "TERM" ? (5, "APPLY: rolled-back reason=interrupted") : (0, "APPLY: done")
        if status == expected.0, Self.verdict(lines)?.hasPrefix(expected.1) == true { return [] }
        return ["expected \(expected), found \(status):\n" + lines.suffix(24).joined(separator: "\n")]
    }

    /// Runs a command with one of its writes disturbed; whether it left something to recover.
    private func disturb(_ command: String, _ fate: WriteFate, _ which: Int, _ problems: inout [String]) throws -> Bool
    {
        var words = ["FAULT_FIRED=\(Self.mark)"]
        let isOutside = [.otherwise, .cardAppears, .cardGoes].contains(fate.outcome)
        switch fate.outcome {
        case .refused: words.append("FAULT_REFUSE=\(fate.write)")
        case .hangs: words.append("FAULT_HANG=\(fate.write):3 FAULT_PATIENCE=500")
        case .done, .otherwise, .cardAppears, .cardGoes: break
        }
        switch fate.life {
        case .goesOn: if isOutside { words.append("FAULT_AFTER=\(fate.write):\(Self.pause)") }
        case .killedBefore: words.append("FAULT_BEFORE=\(fate.write)")
        case .killedAfter, .powerCut:
            words.append("FAULT_AFTER=\(fate.write)\(isOutside ? ":\(Self.pause)" : "") FAULT_DIE=1")
        }
        try machine.guest.run("rm -f \(Self.mark)").checked()
        let isPaused = try machine.start(
            "\(Self.preload) \(words.joined(separator: " ")) \(command)",
            pausing: Self.pause
        )
        if isPaused { try happen(fate.outcome) }
        let (status, lines) = try machine.finish(pausing: Self.pause)
        said += lines
        let hasFired = try machine.guest.run("test -e \(Self.mark)").status == 0
        if hasFired { if which == 0 { happened.apply += 1 } else { happened.recovery += 1 } }
        let isKilled = hasFired && fate.life != .goesOn
        if isKilled != (status == 137) || !isKilled && ![0, 5, 6, 7].contains(status) {
            problems.append("\(fate): found status \(status):\n" + lines.suffix(24).joined(separator: "\n"))
        }
        if isKilled, fate.life == .powerCut { try machine.cutPower() }
        // A write that hangs outlives its process and keeps the lock: whoever comes too early is told so.
        if isKilled, fate.life != .powerCut, fate.outcome == .hangs { try machine.guest.run("sleep 4").checked() }
        return try machine.guest.run("pci-rebalance recover --status -q").status != 0
    }

    /// What happens beside a write, while the command waits.
    private func happen(_ outcome: WriteOutcome) throws {
        switch outcome {
        case .otherwise:
            guard let port = FaultScenario.address(try machine.moment().topology, Self.emptyPort) else { return }
            try machine.guest.run("echo 1 >/sys/bus/pci/devices/\(port)/remove").checked()
        case .cardAppears:
            guard !isPlugged else { return }
            isPlugged = true
            try machine.guest.hotPlug(Self.card, behind: "d2")
        case .cardGoes:
            guard pulled.isEmpty else { return }
            pulled = [Self.small]
            _ = try machine.pull("small", patience: .seconds(12))
        case .done, .refused, .hangs: break
        }
    }
}
