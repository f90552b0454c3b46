// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import VMLaboratory

/// One guest and its twins: boots, predicts, does, compares.
public struct Trial {
    /// What is to be done.
    public enum Plan: Sendable {
        /// So many steps, chosen by a seed as the tree develops.
        case random(seed: UInt64, steps: Int)
        /// The steps written down.
        case fixed([[Action]])
    }

    /// What a trial found.
    public struct Outcome: Sendable {
        /// The steps that were done.
        public var steps: [[Action]] = []
        /// Steps that named what was not there.
        public var skipped = 0
        /// Resource lines that were compared, and how often.
        public var compared = 0
        /// Steps that were also predicted by a twin made anew from a reading of the guest.
        public var rereads = 0
        /// 1 when the trial ended after the boot because the kernel did not find every device.
        public var hidden = 0
        /// 1 when the trial ended at a step for which the twin announced a fault of the kernel.
        public var faults = 0
        /// Whether the boot was predicted from the registers that the firmware left.
        public var bootsCompared = 0
        /// The first difference, if any.
        public var mismatch: Mismatch?
        /// What a regression case needs, when asked for.
        public var recording: Recording?
    }

    /// A prediction that the kernel did not fulfil.
    public struct Mismatch: Sendable {
        /// Which prediction.
        public enum Stage: String, Sendable, Hashable {
            case boot
            case reading = "as read"
            case step
            case reread = "step, read anew"
        }

        /// Which prediction failed.
        public var stage: Stage
        /// One line for each value that differs.
        public var differences: [String]
        /// What the twin did in the step, one event each.
        public var events: [TwinEvent]
        /// The kernel's last words on PCI.
        public var log: [String]
    }

    let machine: MachineTopology
    let places: Places
    let kernel: Kernel
    let plan: Plan
    /// The share of steps that are also predicted from a new reading, 0 to 100.
    let rereadPercent: Int
    let keepsRecording: Bool
    /// Called before each step.
    let report: (([Action]) -> Void)?

    /// A trial of a machine.
    ///
    /// Without `places` the named devices stand where the machine says; a case kept on disk gives them itself.
    public init(
        _ machine: MachineTopology,
        places: Places? = nil,
        kernel: Kernel,
        plan: Plan,
        rereadPercent: Int = 0,
        keepsRecording: Bool = false,
        report: (([Action]) -> Void)? = nil
    ) {
        self.machine = machine
        self.places = places ?? Places(machine)
        self.kernel = kernel
        self.plan = plan
        self.rereadPercent = rereadPercent
        self.keepsRecording = keepsRecording
        self.report = report
    }

    /// Boots the guest and runs the steps, up to the first difference.
    ///
    /// Without `isJudged` it goes on after a difference, to record what the kernel does.
    ///
    /// - Throws: what the laboratory throws when the guest itself does not work.
    public func run(isJudged: Bool = true) throws -> Outcome {
        // The only module that a trial loads is the driver for physical functions.
        let guest = try VirtualMachine(
            machine,
            kernel: kernel,
            options: .init(
                files: [],
                hasModules: machine.hasVirtualFunctions,
                kernelArguments: ["ipv6.disable=1", "loglevel=1"]
            )
        )
        defer { guest.stop() }
        do {
            var run = TrialRun(self, guest, isJudged: isJudged)
            try run.run()
            return run.outcome
        } catch let error as LaboratoryError {
            let last = guest.consoleText.split(separator: "\n").suffix(12).joined(separator: "\n")
            throw DifferentialError("\(error)\n\(last)")
        }
    }
}

/// Something that the laboratory itself could not do.
public struct DifferentialError: Error, CustomStringConvertible {
    /// What went wrong.
    public let description: String

    init(_ description: String) { self.description = description }
}

extension Kernel {
    /// The preset that shall say what this kernel does.
    public var behaviour: KernelBehaviour {
        switch self {
        case .linux5_10: .linux5_10
        case .linux6_1: .linux6_1
        case .linux6_12: .linux6_12
        case .linux6_16: .linux6_16
        case .linux6_17: .linux6_17
        case .linux6_18: .linux6_18
        case .linux6_19: .linux6_19
        case .linux7_0: .linux7_0
        case .linux7_1: .linux7_1
        case .linux7: .linux7_2
        case .linux7_3: .linux7_3
        }
    }
}
