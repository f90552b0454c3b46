// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import ResourceSolver

/// Solves every instance of a file and prints one JSON object per line.
///
///     solver-bench FILE [STEPS]

struct Answer: Codable {
    var name: String
    var status: String
    var cost: Int
    var bound: Int
    var milliseconds: Double
    var peakMiB: Double
    var defects: [String]
}

func peakMiB() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return Double(usage.ru_maxrss) / 1024
}

/// Processor time of this process, in milliseconds.
func processorTime() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return Double(usage.ru_utime.tv_sec) * 1000 + Double(usage.ru_utime.tv_usec) / 1000
        + Double(usage.ru_stime.tv_sec) * 1000 + Double(usage.ru_stime.tv_usec) / 1000
}

func solve(_ instance: Instance, effort: Effort) -> Answer {
    let problem = instance.problem()
    let began = processorTime()
    var answer = Answer(
        name: instance.name,
        status: "undecided",
        cost: -1,
        bound: -1,
        milliseconds: 0,
        peakMiB: 0,
        defects: []
    )
    if instance.family == "A" {
        if let span = Solver(effort: effort).smallestSpan(of: problem, host: 0, space: .memory, startingAt: 0) {
            answer.status = span.isExact ? "optimal" : "feasible"
            answer.cost = Int(span.length >> UInt64(instance.unitLog))
            answer.bound = Int(span.bound >> UInt64(instance.unitLog))
        }
        answer.milliseconds = processorTime() - began
        answer.peakMiB = peakMiB()
        return answer
    }
    let outcome = (try? Solver(effort: effort).smallestChange(problem)) ?? .undecided
    answer.milliseconds = processorTime() - began
    switch outcome {
    case .layout(let layout):
        answer.cost = layout.cost
        switch layout.proof {
        case .optimal:
            answer.status = "optimal"
            answer.bound = layout.cost
        case .within(let bound):
            answer.status = "feasible"
            answer.bound = bound
        }
        answer.defects = LayoutChecker(problem).defects(of: layout)
    case .conflict:
        answer.status = "infeasible"
    case .undecided:
        answer.status = "undecided"
    }
    answer.peakMiB = peakMiB()
    return answer
}

let arguments = CommandLine.arguments
guard arguments.count >= 2, let text = try? String(contentsOfFile: arguments[1], encoding: .utf8) else {
    FileHandle.standardError.write(Data("usage: solver-bench FILE [STEPS]\n".utf8))
    exit(64)
}
let effort = arguments.count > 2 ? Int(arguments[2]).map { Effort(steps: $0) } ?? .standard : .standard
let decoder = JSONDecoder()
let encoder = JSONEncoder()
encoder.outputFormatting = [.sortedKeys]
for line in text.split(separator: "\n") {
    let instance = try decoder.decode(Instance.self, from: Data(line.utf8))
    let answer = solve(instance, effort: effort)
    print(String(decoding: try encoder.encode(answer), as: UTF8.self))
}
