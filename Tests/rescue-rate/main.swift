// SPDX-License-Identifier: GPL-2.0-or-later

// rescue-rate [SEEDS] [FIRST]: random failed hot-adds, how many are rescued, and at what price.

internal import AllocationPolicies
internal import Glibc
internal import RescueFamily

let words = CommandLine.arguments.dropFirst()
let seeds = words.first.flatMap { UInt64($0) } ?? 600
let first = words.dropFirst().first.flatMap { UInt64($0) } ?? 1
var isSound = true
for behaviour in KernelBehaviour.presets {
    let rate = try RescueRate(behaviour, seeds: first..<(first + seeds))
    for line in rate.lines { print(line) }
    isSound = isSound && rate.faults.isEmpty
}
exit(isSound ? 0 : 1)
