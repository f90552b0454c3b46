// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// The largest stretch of a host bridge's space that nobody has: what is free between and beside the windows of its root
/// ports. Room inside a window is the port's.
enum FreeStretch: Hashable, CaseIterable {
    /// Memory above 4 GiB, as devices see it.
    case high
    /// Memory below 4 GiB.
    case low
    /// Bus numbers.
    case buses

    /// The size of the stretch below host bridge `host` as a summary shows it: bytes, or bus numbers.
    func size(_ host: Int, _ summary: TwinSummary, _ context: SearchContext) -> UInt64 {
        let bridge = context.topology.hostBridges[host]
        let roots = context.topology.roots(of: host).filter { $0 < summary.count && summary.isKnown[$0] }
        guard self != .buses else {
            var run = 0
            var longest = 0
            for number in bridge.busRange.first.rawValue...bridge.busRange.last.rawValue {
                let isTaken =
                    number == bridge.rootBus.rawValue
                    || roots.contains { summary.buses[$0]?.contains(BusNumber(number)) == true }
                run = isTaken ? 0 : run + 1
                longest = max(longest, run)
            }
            return UInt64(longest)
        }
        var taken = context.topology.blockers.filter { !$0.isIO }.map(\.range)
        for i in roots {
            for index in 0..<TwinSummary.width where context.kind(i, index) != .io {
                if let range = summary.range(i, index) { taken.append(range) }
            }
        }
        var largest: UInt64 = 0
        for aperture in bridge.apertures where !aperture.isIO {
            let isLow = (aperture.busRange ?? aperture.range).first <= UInt64(UInt32.max)
            guard isLow == (self == .low) else { continue }
            for block in FreeRoom(in: aperture.range, taken: taken).blocks { largest = max(largest, block.clampedSize) }
        }
        return largest
    }

    /// The size as a person reads it.
    func text(_ size: UInt64) -> String { self == .buses ? "\(size)" : ByteCount(size).description }

    /// What it is of, in a sentence.
    var name: String {
        switch self {
        case .high: "memory above 4 GiB"
        case .low: "memory below 4 GiB"
        case .buses: "bus numbers"
        }
    }
}

// Packing closer what is below a host bridge.
extension PlanningRun {
    /// The most stages that are measured for one host bridge.
    private static let mostMeasured = 160

    /// Packs what is below each host bridge closer: of the stages that may be tried the one after which the largest free
    /// stretches are largest, none without the largest power of two that it holds; then the least disturbance that reaches as
    /// much.
    mutating func compact() {
        for host in start.context.topology.hostBridges.indices {
            guard let root = start.context.topology.roots(of: host).first else { continue }
            let before = stretches(host, current)
            var best = before
            let wishes = FreeStretch.allCases.map { Demand.stretch(root, $0, .max) }
            var source = StageSource(searchState: current, wanted: wishes)
            source.setsPerBus = 12
            for offer in source.offers().prefix(Self.mostMeasured) {
                var trial = current
                guard isWithinLimit(offer.stopped), trial.carryOut(offer.stage) else { continue }
                let after = stretches(host, trial)
                guard zip(after, before).allSatisfy({ $0 >= FreeRoom.block(of: $1) }),
                    Self.rank(best).lexicographicallyPrecedes(Self.rank(after)),
                    acceptance.accepts(trial, wanted: [])
                else { continue }
                best = after
            }
            guard best != before else { continue }
            let wanted = FreeStretch.allCases.enumerated().map { n, stretch in
                Demand.stretch(root, stretch, max(best[n] > before[n] ? best[n] : 0, FreeRoom.block(of: before[n])))
            }
            guard case .solved(let solution) = search(wanted, budget: Self.oneOfSeveral) else { continue }
            accept(solution, wanted)
            let reached = stretches(host, current)
            for (n, stretch) in FreeStretch.allCases.enumerated() where reached[n] != before[n] {
                assembly.remarks.append(
                    "the largest stretch of \(stretch.name) that nobody has: now \(stretch.text(before[n])), then "
                        + stretch.text(reached[n])
                )
            }
        }
    }

    /// What makes one packing better than another: the powers of two that stretches hold, memory above 4 GiB first; then
    /// bus numbers, then every byte.
    private static func rank(_ sizes: [UInt64]) -> [UInt64] {
        [FreeRoom.block(of: sizes[0]), FreeRoom.block(of: sizes[1]), sizes[2], sizes[0], sizes[1]]
    }

    private func stretches(_ host: Int, _ state: SearchState) -> [UInt64] {
        FreeStretch.allCases.map { $0.size(host, state.summary, state.context) }
    }

    private func isWithinLimit(_ stopped: FunctionSet) -> Bool {
        guard let limit = constraints.maxMoves else { return true }
        return stopped.members.count { start.context.weight[$0] > 0 && !disturbed.contains($0) }
            + disturbed.members.count { start.context.weight[$0] > 0 } <= limit
    }
}
