// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
public import VMLaboratory

/// Makes a difference small: leaves out steps, then devices, then kernel words, as long as a guest still differs.
public struct Shrinker {
    let kernel: Kernel
    let places: Places
    let rereadPercent: Int
    /// How many guests were booted.
    public private(set) var trials = 0
    private let deadline: ContinuousClock.Instant

    /// A shrinker that stops looking after some time.
    public init(kernel: Kernel, places: Places, rereadPercent: Int, limit: Duration) {
        self.kernel = kernel
        self.places = places
        self.rereadPercent = rereadPercent
        deadline = .now + limit
    }

    /// The smallest machine and steps that were found, with the outcome of their trial.
    public mutating func shrink(
        _ machine: MachineTopology,
        _ steps: [[Action]]
    ) throws -> (machine: MachineTopology, outcome: Trial.Outcome)? {
        // The steps that were chosen at random must differ when they are written down, too.
        guard var best = try attempt(machine, steps) else { return nil }
        var machine = machine
        var isSmaller = true
        while isSmaller, ContinuousClock.now < deadline {
            isSmaller = try dropSteps(machine, &best)
            if try dropDevices(&machine, &best) { isSmaller = true }
            if try dropWords(&machine, &best) { isSmaller = true }
        }
        return (machine, best)
    }

    private mutating func attempt(_ machine: MachineTopology, _ steps: [[Action]]) throws -> Trial.Outcome? {
        guard ContinuousClock.now < deadline else { return nil }
        trials += 1
        let trial = Trial(
            machine,
            places: places,
            kernel: kernel,
            plan: .fixed(steps),
            rereadPercent: rereadPercent,
            keepsRecording: true
        )
        // A machine that cannot be made is no smaller reproducer.
        guard let outcome = try? trial.run(), outcome.mismatch != nil else { return nil }
        return outcome
    }

    /// Leaves out runs of steps, half of them first, down to single ones.
    private mutating func dropSteps(_ machine: MachineTopology, _ best: inout Trial.Outcome) throws -> Bool {
        var isSmaller = false
        var length = max(1, best.steps.count / 2)
        while length >= 1, !best.steps.isEmpty {
            var start = 0
            while start < best.steps.count {
                var steps = best.steps
                steps.removeSubrange(start..<min(start + length, steps.count))
                if let outcome = try attempt(machine, steps) {
                    best = outcome
                    isSmaller = true
                } else {
                    start += length
                }
            }
            if length == 1 { break }
            length /= 2
        }
        return isSmaller
    }

    /// Leaves out devices with all behind them, the largest parts first.
    private mutating func dropDevices(_ machine: inout MachineTopology, _ best: inout Trial.Outcome) throws -> Bool {
        var isSmaller = false
        var names = machine.devices.flatMap(\.namesBelow)
        while let name = names.first {
            names.removeFirst()
            var smaller = machine
            smaller.devices = machine.devices.compactMap { $0.without(name) }
            guard smaller != machine, let outcome = try attempt(smaller, best.steps) else { continue }
            machine = smaller
            best = outcome
            isSmaller = true
        }
        return isSmaller
    }

    /// Leaves out the kernel's `pci=` options, one at a time.
    private mutating func dropWords(_ machine: inout MachineTopology, _ best: inout Trial.Outcome) throws -> Bool {
        guard let place = machine.kernelArguments.firstIndex(where: { $0.hasPrefix("pci=") }) else { return false }
        var isSmaller = false
        for option in machine.kernelArguments[place].dropFirst(4).split(separator: ",") where option != "earlydump" {
            var smaller = machine
            let options = smaller.kernelArguments[place].dropFirst(4).split(separator: ",").filter { $0 != option }
            smaller.kernelArguments[place] = "pci=" + options.joined(separator: ",")
            guard let outcome = try attempt(smaller, best.steps) else { continue }
            machine = smaller
            best = outcome
            isSmaller = true
        }
        return isSmaller
    }
}

extension Device {
    /// The device's name and those of all behind it, from the top.
    fileprivate var namesBelow: [String] { [identifier] + children.flatMap(\.namesBelow) }

    /// The device without the one of a name, or nil when it is that one.
    fileprivate func without(_ name: String) -> Device? {
        guard identifier != name else { return nil }
        var copy = self
        copy.children = children.compactMap { $0.without(name) }
        return copy
    }
}
