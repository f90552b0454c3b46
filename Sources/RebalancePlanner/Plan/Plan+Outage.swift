// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// How long a function is out of service that is removed and found again, estimated in tenths of a second.
enum OutageEstimate {
    /// Finding a function again takes about a tenth of a second, its driver about a second to start.
    static func tenths(hasDriver: Bool) -> Int { hasDriver ? 11 : 1 }
}

extension Plan {
    /// For how long what is stopped will be down, a sentence; nil when nothing is.
    ///
    /// An estimate: drivers start one after the other, and firmware of a card may take longer than any driver.
    public var outage: String? {
        guard !disturbed.isEmpty else { return nil }
        let paths = Set(disturbed.compactMap { before[$0.address]?.path })
        var first: Int?
        var last: Int?
        var state = before
        for (number, step) in steps.enumerated() {
            let (old, new) = TreeState.differingParts(state, step.after)
            let came = new.count { paths.contains($0.path) } - old.count { paths.contains($0.path) }
            if came < 0, first == nil { first = number + 1 }
            if came > 0 { last = number + 1 }
            state = step.after
        }
        guard let first else { return nil }
        let tenths = disturbed.reduce(0) { $0 + OutageEstimate.tenths(hasDriver: $1.hasDriver) }
        let seconds = max(1, (tenths + 9) / 10)
        let end =
            last.map { $0 == first ? "within step \(first)" : "from step \(first) to step \($0)" }
            ?? "from step \(first)"
        return
            "Down \(end), about \(seconds) second\(seconds == 1 ? "" : "s") in all (an estimate: a second for each driver "
            + "to start; firmware of a card may take longer)."
    }
}

extension Disturbance {
    /// Whether a driver has to start again.
    var hasDriver: Bool { !what.hasSuffix("no driver") && !what.contains(", pcieport") }
}
