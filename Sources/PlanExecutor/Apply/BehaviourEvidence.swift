// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import RebalancePlanner

/// The behaviours that a kernel may have after all that is known of it, and what ruled out the rest.
public struct BehaviourEvidence: Hashable, Sendable {
    /// What is left; never empty.
    public private(set) var left: BehaviourSet
    /// What is ruled out, in the order in which it was.
    public private(set) var ruledOut: [RuledOutBehaviour] = []

    /// Everything that a kernel of this release may do.
    public init(forRelease release: String) { self.init(KernelCatalogue.behaviours(forRelease: release)) }

    /// Any set; of a kernel that was judged by itself the likeliest behaviour is the one.
    public init(_ set: BehaviourSet) {
        left =
            set.judgement == .itself
            ? BehaviourSet(set.candidates[0], judgement: .itself, explanation: set.explanation) : set
    }

    /// Whether more than one behaviour was thought of.
    public var isOfSeveral: Bool { left.candidates.count > 1 || !ruledOut.isEmpty }

    /// Drops the behaviours for which `fault` gives a reason. Evidence that would rule out all of them says that none is
    /// known well enough, and drops none.
    public mutating func drop(_ fault: (KernelBehaviour) -> String?) {
        var faults: [RuledOutBehaviour] = []
        let rest = left.filter { behaviour in
            guard let reason = fault(behaviour) else { return true }
            faults.append(RuledOutBehaviour(behaviour: behaviour.name, reason: reason))
            return false
        }
        guard let rest, !faults.isEmpty else { return }
        left = rest
        ruledOut += faults
    }

    /// Learns from the boot that made the present layout.
    public mutating func learn(from boot: BootEvidence) {
        let behaviours = left.behaviours
        guard behaviours.count > 1 else { return }
        let faults = Dictionary(zip(behaviours.map(\.name), boot.faults(of: behaviours))) { a, _ in a }
        drop { (faults[$0.name] ?? nil).map { "the boot log tells that \($0)" } }
    }

    /// Learns from the journal of an earlier apply on the same kernel: what its steps ruled out stays ruled out.
    public mutating func learn(from record: JournalRecord, release: String) {
        guard record.beginning.kernel == release else { return }
        let sets = record.entries.compactMap { entry -> [String]? in
            if case .behavioursLeft(let names) = entry { names } else { nil }
        }
        guard let first = sets.first, let last = sets.last else { return }
        let out = Set(first).subtracting(last)
        drop { out.contains($0.name) ? "apply \(record.beginning.id) saw this kernel do otherwise" : nil }
    }
}
