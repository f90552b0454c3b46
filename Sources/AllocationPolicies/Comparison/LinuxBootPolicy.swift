// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// A Linux kernel that boots on the tree as its registers are: the twin as a policy.
///
/// A kernel does not start from nothing: what firmware left is part of its input, on x86 most of it. The policy
/// therefore holds the tree itself.
public struct LinuxBootPolicy: AllocationPolicy {
    /// The tree with its registers.
    public var topology: Topology
    /// The kernel.
    public var behaviour: KernelBehaviour
    /// The platform.
    public var platform: Platform
    /// The platform's word in the name: `x86-acpi`, `arm64-dt+realloc`, ….
    public var platformName: String
    /// Remarks that every outcome bears.
    public var notes: [String] = []

    /// Creates the policy.
    public init(_ topology: Topology, behaviour: KernelBehaviour, platform: Platform, platformName: String) {
        self.topology = topology
        self.behaviour = behaviour
        self.platform = platform
        self.platformName = platformName
    }

    /// The name.
    public var name: String { "\(behaviour.name) \(platformName)" }

    /// One sentence on what it does.
    public var summary: String {
        platform.boot == .survey || platform.preservesConfiguration
            ? "keeps what firmware placed without conflict and assigns the rest"
            : "assigns everything anew, windows sized bottom-up with reserves for hot-plug ports"
    }

    /// Lays out the tree. A tree that the twin cannot take gives an outcome that says so in `halt`.
    public func allocate(_ demand: ResourceDemand) -> PolicyOutcome {
        do {
            var twin = try LinuxTwin(topology, behaviour: behaviour, platform: platform)
            _ = try twin.perform(.boot(platform))
            var outcome = complete(PolicyOutcome(asIn: try twin.topology(), policy: name, sizes: demand), demand)
            outcome.ignoresApertures = platform.ignoresApertures
            outcome.notes += notes
            return outcome
        } catch {
            var outcome = LayoutDraft(demand).outcome(policy: name, defaultReason: "the twin refused the tree")
            outcome.halt = "\(error)"
            outcome.notes += notes
            return outcome
        }
    }

    /// The outcome with the functions that the kernel did not find, in the demand's order.
    private func complete(_ outcome: PolicyOutcome, _ demand: ResourceDemand) -> PolicyOutcome {
        guard outcome.functions.count < demand.functions.count else { return outcome }
        let found = Dictionary(outcome.functions.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
        var result = outcome
        result.functions = demand.functions.map { function in
            if let entry = found[function.path] { return entry }
            var entry = FunctionOutcome(path: function.path, today: function.today, bus: nil)
            entry.resources = function.requests.map {
                ResourceOutcome($0, range: nil, reason: "the kernel does not find the function")
            }
            return entry
        }
        return result
    }
}
