// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology
public import ProofChecker

/// What would be done, why, to whom, and what the machine will look like after every step.
public struct Plan: Hashable, Sendable {
    /// The answer in one word, with its reason.
    public var verdict: Verdict
    /// The kernel that the prediction is made for, `uname -r`.
    public var kernelRelease: String
    /// The name of the behaviour preset that the prediction uses, for example `linux-6.12`.
    public var behaviour: String
    /// The fingerprint of the tree that the plan was made for (`TreeState.fingerprint`).
    public var fingerprint: UInt64
    /// What was asked for.
    public var goals: [Goal]
    /// What is wrong now and who is in the way, in the order of the tree.
    public var diagnosis: [DiagnosisLine]
    /// The functions that the plan stops or moves, in address order.
    public var disturbed: [Disturbance]
    /// The steps, in order; empty unless the verdict is `act`.
    public var steps: [PlanStep]
    /// The tree before the first step.
    public var before: TreeState
    /// The tree that the kernel is predicted to show after the last step.
    public var after: TreeState
    /// How well the plan is known to be the least disturbing one.
    public var proof: ProofOfLeastDisturbance
    /// What the plan leaves unplaced that is optional, and other remarks, a sentence each.
    public var remarks: [String]
    /// What is left where the plan does not reach all that was asked for; empty unless looked for
    /// (`Planner.otherWays`).
    public var otherWays: [OtherWay]
    /// Where the steps lead under each behaviour that the kernel may have, the planned one first; empty where there is one.
    public var outlooks: [BehaviourOutlook] = []
    /// Behaviours that were thought of and that the kernel was seen not to have.
    public var ruledOut: [RuledOutBehaviour] = []
    /// What the steps make of IOMMU groups, of routes between siblings and of settings; nil where nobody could be concerned.
    public var isolation: IsolationChange?
    /// What was asked to stay as it is beside addresses, and is so; empty where nothing was asked for.
    public var conditions: [ConditionOutcome] = []

    /// Why it is impossible, or the least, for `verify`: one for each host bridge that is concerned; empty unless it was
    /// asked for (`Planner.certifies`) and proved.
    public var certificates: [Certificate] = []

    /// Creates a plan.
    public init(
        verdict: Verdict,
        kernelRelease: String,
        behaviour: String,
        fingerprint: UInt64,
        goals: [Goal],
        diagnosis: [DiagnosisLine],
        disturbed: [Disturbance],
        steps: [PlanStep],
        before: TreeState,
        after: TreeState,
        proof: ProofOfLeastDisturbance,
        remarks: [String],
        otherWays: [OtherWay] = []
    ) {
        self.verdict = verdict
        self.kernelRelease = kernelRelease
        self.behaviour = behaviour
        self.fingerprint = fingerprint
        self.goals = goals
        self.diagnosis = diagnosis
        self.disturbed = disturbed
        self.steps = steps
        self.before = before
        self.after = after
        self.proof = proof
        self.remarks = remarks
        self.otherWays = otherWays
    }

    /// Whether the steps, or the machine as it is, have everything that was asked for.
    public var isWhole: Bool {
        switch verdict.answer {
        case .none: true
        case .act: verdict.reason != "partly"
        case .refused, .impossible, .unknown: false
        }
    }

    /// Whether a condition is what stands in the way, so that no other way to addresses helps.
    public var isBarredByCondition: Bool {
        ["condition", "no-common-switch", "no-direct-route"].contains(verdict.reason)
    }

    /// The answer of a planning run.
    public struct Verdict: Hashable, Sendable {
        /// The answer in one word.
        public enum Answer: String, Hashable, Sendable {
            /// The steps reach the goal.
            case act
            /// Nothing needs to be done.
            case none
            /// A way exists and safety forbids it.
            case refused
            /// No way exists.
            case impossible
            /// What the tree tells does not suffice to say.
            case unknown
        }

        /// The answer.
        public var answer: Answer
        /// A stable slug: `unassigned-bars`, `healthy`, `protected`, `mmio-window-too-small`, `bus-exhausted`, …
        public var reason: String
        /// One sentence for a person.
        public var sentence: String

        /// Creates a verdict.
        public init(_ answer: Answer, reason: String, sentence: String) {
            self.answer = answer
            self.reason = reason
            self.sentence = sentence
        }

        /// The last line of text output: `PLAN: act reason=unassigned-bars`.
        public var line: String { "PLAN: \(answer.rawValue) reason=\(reason)" }
    }
}

/// One sentence of the diagnosis.
public struct DiagnosisLine: Hashable, Sendable {
    /// A stable slug: `unassigned`, `wiped`, `no-bus`, `pin`, `collateral`, …
    public var code: String
    /// The function that the sentence is about.
    public var address: FunctionAddress?
    /// The sentence.
    public var text: String

    /// Creates a line.
    public init(code: String, address: FunctionAddress?, text: String) {
        self.code = code
        self.address = address
        self.text = text
    }
}

/// One function that a plan stops or moves.
public struct Disturbance: Hashable, Sendable {
    /// What happens to it.
    public enum Effect: String, Hashable, Sendable {
        /// Removed and found again, at the same addresses and bus numbers.
        case stopped
        /// Removed and found again, at other addresses.
        case moved
        /// Removed and found again, on another bus.
        case renumbered
    }

    /// The address before the plan.
    public var address: FunctionAddress
    /// The address after the plan.
    public var newAddress: FunctionAddress
    /// What happens to it.
    public var effect: Effect
    /// What it is: role, class or name, driver.
    public var what: String
    /// The cost counted for it, 0 and up.
    public var weight: Int
    /// What uses it, a sentence each: why it weighs what it weighs.
    public var uses: [String]

    /// Creates a record.
    public init(
        address: FunctionAddress,
        newAddress: FunctionAddress,
        effect: Effect,
        what: String,
        weight: Int,
        uses: [String] = []
    ) {
        self.address = address
        self.newAddress = newAddress
        self.effect = effect
        self.what = what
        self.weight = weight
        self.uses = uses
    }
}

/// How well a plan is known to be the least disturbing one.
public enum ProofOfLeastDisturbance: Hashable, Sendable {
    /// No sequence of the searched levers costs less, and the solver's lower bound equals the cost.
    case optimal
    /// Every cheaper sequence of the searched levers was simulated and fails; the solver's bound is lower.
    case bestOfSearched(cost: Int, lowerBound: Int)
    /// There was nothing to prove.
    case notApplicable
}

/// What is asked of the planner.
public enum Goal: Hashable, Sendable {
    /// Everything that is required and has no address or bus gets one.
    case everythingRequired
    /// This function, and what is below it, gets all that it requires.
    case place(FunctionAddress)
    /// This BAR gets this size; nil asks for the largest that fits.
    case resize(FunctionAddress, bar: Int, size: ByteCount?)
    /// This BAR lies at this address and nowhere else, as the CPU sees it.
    case located(FunctionAddress, bar: Int, address: UInt64)
    /// Windows and bus numbers lie closer together, so that the largest free stretches are larger.
    case compact
    /// This port keeps at least this much free room below it.
    case reserve(FunctionAddress, Headroom)
    /// This physical function can enable this many VFs.
    case virtualFunctions(FunctionAddress, count: Int)
    /// Everything has again what it had in an older record of the machine.
    case restore(SavedLayout)
}

/// Room to be kept free below a port.
public struct Headroom: Hashable, Sendable {
    /// I/O bytes.
    public var io: ByteCount
    /// Non-prefetchable memory bytes.
    public var memory: ByteCount
    /// Prefetchable memory bytes.
    public var prefetchable: ByteCount
    /// Bus numbers beyond the port's own secondary bus.
    public var buses: Int

    /// Creates a record; nothing asked for by default.
    public init(
        io: ByteCount = .zero,
        memory: ByteCount = .zero,
        prefetchable: ByteCount = .zero,
        buses: Int = 0
    ) {
        self.io = io
        self.memory = memory
        self.prefetchable = prefetchable
        self.buses = buses
    }
}
