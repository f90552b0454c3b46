// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies

/// Which combination of the known switches does what a kernel was recorded to do.
///
/// A climb from every preset: of all behaviours that differ in one switch the one that explains the most states is taken,
/// as long as it explains more; where none does, two switches at a time are tried.
public struct BehaviourSearch {
    /// What a search found.
    public struct Outcome {
        /// The behaviour that explains most of the record.
        public var behaviour: KernelBehaviour
        /// The preset it was reached from, and each change on the way.
        public var changes: [String]
        /// Recorded states that the behaviour explains.
        public var explained: Int
        /// Recorded states in all, each counted once for every way to make a twin.
        public var states: Int
        /// The first line that it does not explain, with the case and the step; nil when all is explained.
        public var unexplained: String?
        /// Switches on which the record has no say: turned alone, as much is explained.
        public var undecided: [String]
        /// Behaviours that were tried.
        public var trials: Int
    }

    let cases: [(name: String, recorded: DifferentialCase)]
    private var known: [KernelBehaviour: (explained: Int, unexplained: String?)] = [:]

    /// A search over recorded cases of one kernel.
    public init(_ cases: [(name: String, recorded: DifferentialCase)]) { self.cases = cases }

    /// Searches from `presets`; the first of several that explain as much wins.
    public mutating func run(from presets: [KernelBehaviour] = KernelBehaviour.everyPreset) -> Outcome {
        let states = cases.reduce(0) { $0 + $1.recorded.verdictCount }
        var best = presets.first ?? .linux6_1
        var bestChanges = ["from \(best.name)"]
        for preset in presets.sorted(by: { score($0) > score($1) }) {
            var here = preset
            var changes = ["from \(preset.name)"]
            while score(here) < states, let (found, added) = better(than: here) {
                here = found
                changes += added
            }
            if score(here) > score(best) || here.actsLike(best) && changes.count < bestChanges.count {
                best = here
                bestChanges = changes
            }
            if score(best) == states { break }
        }
        let undecided = best.variations.filter { score($0.behaviour) == score(best) }.map(\.change)
        return Outcome(
            behaviour: best,
            changes: bestChanges,
            explained: score(best),
            states: states,
            unexplained: verdict(best).unexplained,
            undecided: undecided,
            trials: known.count
        )
    }

    private mutating func better(than here: KernelBehaviour) -> (KernelBehaviour, [String])? {
        let floor = score(here)
        var found: (KernelBehaviour, [String])?
        var most = floor
        for (change, behaviour) in here.variations where score(behaviour) > most {
            most = score(behaviour)
            found = (behaviour, [change])
        }
        if found != nil { return found }
        for (first, middle) in here.variations {
            for (second, behaviour) in middle.variations where score(behaviour) > most {
                most = score(behaviour)
                found = (behaviour, [first, second])
            }
        }
        return found
    }

    private mutating func score(_ behaviour: KernelBehaviour) -> Int { verdict(behaviour).explained }

    private mutating func verdict(_ behaviour: KernelBehaviour) -> (explained: Int, unexplained: String?) {
        var key = behaviour
        key.name = ""
        if let verdict = known[key] { return verdict }
        var explained = 0
        var unexplained: String?
        for (name, recorded) in cases {
            let (count, line) = recorded.explained(by: behaviour)
            explained += count
            if unexplained == nil, let line { unexplained = "\(name): \(line)" }
        }
        known[key] = (explained, unexplained)
        return (explained, unexplained)
    }
}

extension DifferentialCase {
    /// How many predictions are held against the record: the start and each step, for each way to make the twin.
    var verdictCount: Int { states.count * (firmware == nil ? 1 : 2) }

    /// How many states a behaviour explains before the first line that it does not, and that line.
    func explained(by behaviour: KernelBehaviour) -> (count: Int, unexplained: String?) {
        var count = 0
        var line: String?
        guard let places = Places(header.places), let first = states.first, let steps = try? header.actions() else {
            return (0, "the case cannot be read")
        }
        let machine = header.topology()
        var twins: [(String, () throws -> LinuxTwin)] = [("read", { try LinuxTwin(start, behaviour: behaviour) })]
        if let firmware { twins.append(("booted", { try TrialRun.boot(start, firmware, behaviour).0 })) }
        for (name, make) in twins {
            do {
                var twin = try make()
                var places = places
                guard try agrees(first, twin, "\(name), start", &line) else { continue }
                count += 1
                for (number, step) in steps.enumerated() where number + 1 < states.count {
                    let scene = Scene(try twin.topology(), places)
                    var isKnown = true
                    for action in step {
                        guard let effects = action.effects(scene, machine) else {
                            isKnown = false
                            break
                        }
                        for operation in effects.operations { try twin.perform(operation) }
                        places.note(action)
                    }
                    let step = "\(name), step \(number + 1)"
                    guard isKnown, try agrees(states[number + 1], twin, step, &line) else {
                        if !isKnown, line == nil { line = "\(step): names what is not there" }
                        break
                    }
                    count += 1
                }
            } catch {
                if line == nil { line = "\(name): \(error)" }
            }
        }
        return (count, line)
    }

    private func agrees(_ state: GuestState, _ twin: LinuxTwin, _ place: String, _ line: inout String?) throws -> Bool {
        let differences = state.differences(from: try GuestState(twin))
        guard let first = differences.first else { return true }
        if line == nil { line = "\(place): \(first)" }
        return false
    }
}
