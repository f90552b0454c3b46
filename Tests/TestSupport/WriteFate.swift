// SPDX-License-Identifier: GPL-2.0-or-later

/// What a machine does with a write, in the model of journal and recovery and in the guests that replay its paths.
public enum WriteOutcome: CaseIterable, Hashable, Sendable {
    /// As it was asked.
    case done
    /// With an error.
    case refused
    /// Later than anybody waits.
    case hangs
    /// And something else changes beside it.
    case otherwise
    /// And a card is plugged in.
    case cardAppears
    /// And a card is pulled out.
    case cardGoes
}

/// What becomes of the process at that write.
public enum ProcessLife: CaseIterable, Hashable, Sendable {
    /// It goes on.
    case goesOn
    /// It dies just before.
    case killedBefore
    /// It dies just after.
    case killedAfter
    /// It dies just after, and the machine with it.
    case powerCut
}

/// One write, what the machine does with it, and what becomes of the process.
public struct WriteFate: Hashable, Sendable, CustomStringConvertible {
    /// The write's number, from 1.
    public var write: Int
    /// What the machine does.
    public var outcome: WriteOutcome
    /// What becomes of the process.
    public var life: ProcessLife

    /// Creates one.
    public init(write: Int, outcome: WriteOutcome, life: ProcessLife) {
        self.write = write
        self.outcome = outcome
        self.life = life
    }

    /// The fate in words.
    public var description: String { "write \(write) \(outcome) \(life)" }
}

/// One path: the fate of a write of an apply, and that of one of its recovery.
public struct JournalPath: Hashable, Sendable, CustomStringConvertible {
    /// What happens while the plan is carried out.
    public var apply: WriteFate
    /// What happens while it is recovered, where there is anything to recover; nil for nothing.
    public var recovery: WriteFate?

    /// Both fates in words.
    public var description: String { "\(apply)\(recovery.map { ", recovery \($0)" } ?? "")" }

    /// Path `number` of a spread in which every outcome meets every life within 24 neighbours; of four paths that leave
    /// something to recover, three disturb the recovery too.
    ///
    /// - Parameters:
    ///   - number: from 0.
    ///   - writes: how many writes the plan has, at least 1.
    public init(number: Int, writes: Int) {
        var draw = SplitMix64(seed: UInt64(number))
        func fate(_ pair: Int, _ write: Int) -> WriteFate {
            WriteFate(
                write: write,
                outcome: WriteOutcome.allCases[pair % 6],
                life: ProcessLife.allCases[pair / 6 % 4]
            )
        }
        apply = fate(number, draw.below(writes) + 1)
        // 5 is prime to 24: the second pairs are others than the first, and differ among neighbours.
        recovery = apply.life != .goesOn && number % 4 != 0 ? fate(number * 5 + 3, draw.below(2) + 1) : nil
    }
}
