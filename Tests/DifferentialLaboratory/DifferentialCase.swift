// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import LibPCIBridge
public import PCITopology
public import VMLaboratory

extension Trial {
    /// What a guest showed from the start to the end of a trial.
    public struct Recording: Sendable {
        /// The reading before the first step.
        var start: MachineRecord
        /// The registers that the firmware left, when the kernel wrote them down.
        var firmware: EarlyDump?
        /// What `pci-state` printed at the start and after each step.
        var states: [[String]]
    }
}

/// A difference that was found once, kept as a case: a machine, steps, and what a kernel did, in one directory.
///
/// | file | holds |
/// | --- | --- |
/// | `case.json` | kernel, machine, places, steps, and the cause in words |
/// | `start.snapshot.json` | the reading before the first step |
/// | `firmware.txt` | the registers that the firmware left, one function a line; may be absent |
/// | `states.txt` | what `pci-state` printed at the start and after each step, each after a line `== N` |
///
/// The twin is held against the record without a machine; `vm-lab replay` holds both against a guest.
public struct DifferentialCase: Sendable {
    /// The schema of `case.json`.
    public static let schema = "pci-rebalance.differential-case/1"

    /// What stands in `case.json`.
    public struct Header: Codable, Sendable {
        /// The schema of this file.
        public var schema = DifferentialCase.schema
        /// The family of the kernel: `6.1`, `6.12`, `7`.
        public var kernel: String
        /// The release that was recorded.
        public var release: String
        /// What the difference was and which kernel function causes it.
        public var cause: String
        /// MiB.
        public var memory: UInt64
        /// `native` or `acpi`.
        public var hotPlug: String
        /// The kernel's parameters beside the laboratory's own.
        public var kernelArguments: [String]
        /// QEMU's arguments that make the devices.
        public var machine: [String]
        /// Where the named devices stand.
        public var places: [String: String]
        /// One step a line, actions separated by `; `.
        public var steps: [String]

        /// Reads `case.json` alone.
        public init(directory: String) throws {
            let bytes = try Data(contentsOf: URL(fileURLWithPath: directory + "/case.json"))
            self = try JSONDecoder().decode(Header.self, from: bytes)
            guard schema == DifferentialCase.schema else {
                throw DifferentialError(
                    "expected the schema \(DifferentialCase.schema) in \(directory), found \(schema)"
                )
            }
        }

        /// Reads a file of several, by name; they are the same on every kernel.
        public static func several(file: String) throws -> [(name: String, header: Header)] {
            let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
            let headers = try JSONDecoder().decode([String: Header].self, from: bytes)
            return headers.map { (name: $0.key, header: $0.value) }.sorted {
                $0.name.compare($1.name, options: .numeric) == .orderedAscending
            }
        }

        init(_ kernel: Kernel, _ cause: String, _ machine: MachineTopology, _ places: Places, _ steps: [[Action]])
            throws
        {
            var arguments = try machine.arguments()
            // Memory and the choice of hot-plug come first and are written apart.
            arguments.removeFirst(machine.hotPlug == .native ? 4 : 2)
            self.kernel = kernel.rawValue
            release = kernel.release ?? ""
            self.cause = cause
            memory = machine.memory.bytes >> 20
            hotPlug = machine.hotPlug == .native ? "native" : "acpi"
            kernelArguments = machine.kernelArguments
            self.machine = arguments
            self.places = places.texts
            self.steps = steps.map { $0.map(\.description).joined(separator: "; ") }
        }

        /// The steps as actions.
        func actions() throws -> [[Action]] {
            try steps.map { line in
                try line.components(separatedBy: "; ").map { text in
                    guard let action = Action(text) else {
                        throw DifferentialError("expected an action, found '\(text)'")
                    }
                    return action
                }
            }
        }

        /// The machine that QEMU shall make.
        public func topology() -> MachineTopology {
            MachineTopology(
                "case",
                memory: .mib(memory),
                hotPlug: hotPlug == "native" ? .native : .acpi,
                kernelArguments: kernelArguments,
                machineArguments: machine
            )
        }

        /// The case on a real kernel, its own unless another is given.
        public func trial(kernel other: Kernel? = nil) throws -> Trial {
            guard let places = Places(places), let kernel = other ?? Kernel(rawValue: kernel) else {
                throw DifferentialError("expected places and a kernel in the case, found others")
            }
            return Trial(
                topology(),
                places: places,
                kernel: kernel,
                plan: .fixed(try actions()),
                rereadPercent: 100,
                keepsRecording: true
            )
        }
    }

    /// What stands in `case.json`.
    public var header: Header
    /// The reading before the first step.
    public var start: Topology
    /// The registers that the firmware left.
    public var firmware: EarlyDump?
    /// What the kernel showed at the start and after each step.
    public var states: [GuestState]

    /// Reads a case.
    public init(directory: String) throws {
        func bytes(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: directory + "/" + name)) }
        header = try Header(directory: directory)
        let record = try SnapshotFile(path: directory + "/start.snapshot.json").read()
        start = try TopologyAssembler(record).topology()
        if FileManager.default.fileExists(atPath: directory + "/firmware.txt") {
            firmware = try EarlyDump(text: String(decoding: try bytes("firmware.txt"), as: UTF8.self))
        }
        var states: [[String]] = []
        for line in String(decoding: try bytes("states.txt"), as: UTF8.self).split(separator: "\n") {
            if line.hasPrefix("== ") {
                states.append([])
            } else if !states.isEmpty {
                states[states.count - 1].append(String(line))
            }
        }
        self.states = try states.map { try GuestState(text: $0) }
    }

    /// Writes a case for a trial's outcome.
    public static func write(
        _ outcome: Trial.Outcome,
        of machine: MachineTopology,
        places: Places,
        kernel: Kernel,
        cause: String,
        to directory: String
    ) throws {
        guard let recording = outcome.recording else { return }
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let header = try Header(kernel, cause, machine, places, outcome.steps)
        try write(header, recording, to: directory)
    }

    /// Writes `case.json` alone, of a machine and steps that were not recorded yet; `record(directory:)` does that.
    public static func sketch(
        _ machine: MachineTopology,
        kernel: Kernel,
        steps: [[Action]],
        cause: String,
        to directory: String
    ) throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try write(Header(kernel, cause, machine, Places(machine), steps), to: directory)
    }

    /// Runs a case on its kernel and writes down what that does now; the twin has no say.
    public static func record(directory: String) throws {
        var header = try Header(directory: directory)
        let outcome = try header.trial().run(isJudged: false)
        header.release = Kernel(rawValue: header.kernel)?.release ?? ""
        // A step that named what was not there was passed over.
        header.steps = outcome.steps.map { $0.map(\.description).joined(separator: "; ") }
        if let recording = outcome.recording { try write(header, recording, to: directory) }
    }

    private static func write(_ header: Header, to directory: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try (try encoder.encode(header) + Data("\n".utf8)).write(to: URL(fileURLWithPath: directory + "/case.json"))
    }

    private static func write(_ header: Header, _ recording: Trial.Recording, to directory: String) throws {
        try write(header, to: directory)
        try SnapshotFile(path: directory + "/start.snapshot.json").write(recording.start)
        if let firmware = recording.firmware {
            try firmware.text.write(toFile: directory + "/firmware.txt", atomically: true, encoding: .utf8)
        }
        var text = ""
        for (number, state) in recording.states.enumerated() {
            text += "== \(number)\n" + state.joined(separator: "\n") + "\n"
        }
        try text.write(toFile: directory + "/states.txt", atomically: true, encoding: .utf8)
    }
}

// Replaying.
extension DifferentialCase {
    private var kernel: Kernel? { Kernel(rawValue: header.kernel) }

    /// How the twin's predictions differ from what the kernel once did; empty when they agree.
    ///
    /// The boot from the firmware's registers, then the steps, from a twin that continues and from one that starts at the
    /// reading.
    public func differences() throws -> [String] {
        guard let kernel, let places = Places(header.places), let first = states.first else {
            throw DifferentialError("expected a kernel, places and a state in the case")
        }
        var result: [String] = []
        var twins = [("read", try LinuxTwin(start, behaviour: kernel.behaviour))]
        if let firmware {
            twins.append(("booted", try TrialRun.boot(start, firmware, kernel.behaviour).0))
        }
        let machine = header.topology()
        let steps = try header.actions()
        for (name, twin) in twins {
            var twin = twin
            var places = places
            result += first.differences(from: try GuestState(twin)).map { "\(name), start: \($0)" }
            for (number, step) in steps.enumerated() where number + 1 < states.count {
                let scene = Scene(try twin.topology(), places)
                for action in step {
                    guard let effects = action.effects(scene, machine) else {
                        result.append("\(name), step \(number + 1): \(action) names what is not there")
                        continue
                    }
                    for operation in effects.operations { try twin.perform(operation) }
                    places.note(action)
                }
                let found = states[number + 1].differences(from: try GuestState(twin))
                result += found.map { "\(name), step \(number + 1): \($0)" }
            }
        }
        return result
    }
}
