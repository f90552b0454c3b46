// SPDX-License-Identifier: GPL-2.0-or-later

internal import HeapModule

/// Chooses sizes for all requests that have alternatives, jointly: the largest sum that can be placed.
///
/// Sums are tried in descending order; a choice that gives requests with the same alternatives the same sizes in another
/// order is tried too, since their places differ. A choice that is no smaller anywhere than one proved impossible is
/// skipped.
struct SizeChooser {
    private struct Choice: Comparable {
        var sum: UInt64
        var steps: [Int]

        static func < (a: Choice, b: Choice) -> Bool {
            a.sum != b.sum ? a.sum < b.sum : b.steps.lexicographicallyPrecedes(a.steps)
        }
    }

    private let ladders: [[UInt64]]
    /// The most choices that are tried before the smallest sizes are taken.
    private let limit = 3_000

    init(problem: Problem, requests: [Int]) {
        ladders = requests.map { r in
            let request = problem.requests[r]
            return ([request.size] + request.alternatives.filter { $0 < request.size }.sorted(by: >))
        }
    }

    func choose(_ attempt: ([UInt64]) -> HostSolver.Result) -> HostSolver.Result {
        var queue = Heap<Choice>()
        var seen: Set<[Int]> = []
        var impossible: [[Int]] = []
        var isCertain = true
        func push(_ steps: [Int]) {
            guard seen.insert(steps).inserted else { return }
            var sum: UInt64 = 0
            for (ladder, step) in zip(ladders, steps) { sum = sum.addingReportingOverflow(ladder[step]).partialValue }
            queue.insert(Choice(sum: sum, steps: steps))
        }
        push(Array(repeating: 0, count: ladders.count))
        var last: HostSolver.Result = .unknown
        var tried = 0
        while let choice = queue.popMax(), tried < limit {
            let isHopeless = impossible.contains { worse in zip(choice.steps, worse).allSatisfy { $0 <= $1 } }
            if !isHopeless {
                tried += 1
                last = attempt(zip(ladders, choice.steps).map { $0[$1] })
                switch last {
                case .found: return last
                case .impossible: impossible.append(choice.steps)
                case .unknown: isCertain = false
                }
            }
            for i in ladders.indices where choice.steps[i] + 1 < ladders[i].count {
                var next = choice.steps
                next[i] += 1
                push(next)
            }
        }
        if isCertain, queue.isEmpty { return last }
        if case .impossible = last { return .unknown }
        return last
    }
}
