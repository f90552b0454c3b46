// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// Where an allocation policy puts everything: the common output of all policies.
///
/// Functions are in the demand's walk order and keyed by their place in the tree, so that outcomes of policies that
/// number buses differently can be laid side by side. Addresses are CPU addresses.
public struct PolicyOutcome: Hashable, Sendable {
    /// The policy's name: `seabios`, `edk2`, `linux 6.1`, `today`, ….
    public var policy: String
    /// One entry per function, in walk order.
    public var functions: [FunctionOutcome]
    /// Why the policy gave up as a whole (a firmware that stops the machine), or nil.
    public var halt: String?
    /// Remarks about the run: an assumption, a step of a degradation ladder.
    public var notes: [String]

    /// Whether the policy hands out addresses without regard to the host bridges' apertures (`pci=nocrs`).
    public var ignoresApertures = false

    /// Creates an outcome.
    public init(policy: String, functions: [FunctionOutcome], halt: String? = nil, notes: [String] = []) {
        self.policy = policy
        self.functions = functions
        self.halt = halt
        self.notes = notes
    }

    /// Why the policy gave up, without the words that say that it did: `out of 32-bit address space`.
    public var haltReason: String? {
        guard let halt else { return nil }
        let words = ["halts: ", "gives up: "].first { halt.hasPrefix($0) } ?? ""
        return String(halt.dropFirst(words.count))
    }

    /// The layout that `topology` shows: today's, or what a simulation predicted.
    ///
    /// - Parameters:
    ///   - topology: the tree.
    ///   - policy: the name to give it.
    ///   - sizes: where a resource of `topology` has no size (wiped by the kernel), its size is looked up here.
    /// - Complexity: O(n log n) in the number of functions.
    public init(asIn topology: Topology, policy: String, sizes: ResourceDemand? = nil) {
        self.init(policy: policy, functions: [])
        let demand = ResourceDemand(topology)
        let given = Dictionary(
            (sizes?.functions ?? []).map { ($0.path, $0.requests) },
            uniquingKeysWith: { first, _ in first }
        )
        for function in demand.functions {
            guard let i = topology.position(of: function.today) else { continue }
            let model = topology.functions[i]
            var outcome = FunctionOutcome(path: function.path, today: function.today, bus: function.today.bus)
            for request in given[function.path] ?? function.requests {
                let resource = model.resource(request.index)
                outcome.resources.append(
                    ResourceOutcome(
                        request,
                        range: resource?.range,
                        reason: resource?.range == nil ? "has no address" : nil
                    )
                )
            }
            if let bridge = model.bridge {
                outcome.buses = bridge.busRange
                for resource in model.resources where resource.index.isWindow {
                    if let range = resource.range, resource.size != .zero {
                        outcome.windows.append(WindowOutcome(index: resource.index, range: range))
                    }
                }
            }
            functions.append(outcome)
        }
    }

    /// The entry of the function at `path`, or nil.
    public subscript(_ path: TopologyPath) -> FunctionOutcome? { functions.first { $0.path == path } }
}

/// Where a policy puts one function.
public struct FunctionOutcome: Hashable, Sendable {
    /// The place in the tree.
    public var path: TopologyPath
    /// The address at present.
    public var today: FunctionAddress
    /// The bus number that the function's bus has under the policy; nil when the policy could not number it.
    public var bus: BusNumber?
    /// BARs, ROM, VF BARs.
    public var resources: [ResourceOutcome] = []
    /// The open windows of a bridge, by index.
    public var windows: [WindowOutcome] = []
    /// The bus range of a bridge, or nil.
    public var buses: BusRange?

    /// Creates an entry without resources.
    public init(path: TopologyPath, today: FunctionAddress, bus: BusNumber?) {
        self.path = path
        self.today = today
        self.bus = bus
    }

    /// The open window at `index`, or nil.
    public func window(_ index: ResourceIndex) -> AddressRange? { windows.first { $0.index == index }?.range }

    /// The range of the resource at `index`, or nil.
    public func range(_ index: ResourceIndex) -> AddressRange? { resources.first { $0.index == index }?.range }
}

/// Where a policy puts one resource.
public struct ResourceOutcome: Hashable, Sendable {
    /// Which resource it is.
    public var index: ResourceIndex
    /// The kind of space it asks for.
    public var kind: ResourceKind
    /// Its size in bytes under the policy (a policy may choose another size of a resizable BAR).
    public var size: UInt64
    /// Whether the function needs it.
    public var isRequired: Bool
    /// The CPU addresses, or nil when it was not placed.
    public var range: AddressRange?
    /// Why it was not placed, a lower-case sentence; nil when it was.
    public var reason: String?

    /// Creates an entry.
    public init(
        index: ResourceIndex,
        kind: ResourceKind,
        size: UInt64,
        isRequired: Bool,
        range: AddressRange?,
        reason: String?
    ) {
        self.index = index
        self.kind = kind
        self.size = size
        self.isRequired = isRequired
        self.range = range
        self.reason = reason
    }

    init(_ request: ResourceRequest, range: AddressRange?, reason: String?) {
        self.init(
            index: request.index,
            kind: request.kind,
            size: range?.size ?? request.size,
            isRequired: request.isRequired,
            range: range,
            reason: reason
        )
    }
}

/// An open window of a bridge.
public struct WindowOutcome: Hashable, Sendable {
    /// Which window, 13 to 15.
    public var index: ResourceIndex
    /// The CPU addresses.
    public var range: AddressRange

    /// Creates an entry.
    public init(index: ResourceIndex, range: AddressRange) {
        self.index = index
        self.range = range
    }
}

/// An allocation policy: how a firmware or an operating system would lay out a tree after a reset.
public protocol AllocationPolicy: Sendable {
    /// The name: `seabios 1.16.2`.
    var name: String { get }
    /// One sentence on what it does.
    var summary: String { get }
    /// The rule by which it takes a decision, one sentence without a capital or a full stop.
    func rule(for decision: LayoutDecision) -> String
    /// Lays out the tree.
    func allocate(_ demand: ResourceDemand) -> PolicyOutcome
}
