// SPDX-License-Identifier: GPL-2.0-or-later

/// The tree: every host bridge, every function, everything that is in the way.
///
/// A value. `functions` are in ascending address order; the tree is laid over them by index. A topology is well formed
/// by construction: no address twice, no cycle among bridges, every parent present.
public struct Topology: Hashable, Sendable {
    /// The kernel that runs the machine.
    public var kernel: KernelIdentity
    /// The host bridges in ascending order of segment and root bus.
    public private(set) var hostBridges: [HostBridge]
    /// The functions in ascending address order.
    public private(set) var functions: [Function]
    /// What holds addresses inside the apertures and is not PCI.
    public var blockers: [Blocker]
    /// What could not be read, and what follows from that.
    public var gaps: [ReadingGap]
    /// What names functions by their addresses outside the command line: guests' configurations, rules, links.
    public var namings: [AddressWord] = []

    private var childrenOf: [[Int]]
    private var parentOf: [Int]
    private var rootsOf: [[Int]]
    private var hostOf: [Int]

    /// Lays the tree over functions and host bridges.
    ///
    /// - Throws: `TopologyError` for an address that appears twice, a parent that is missing or is not a bridge, a cycle
    ///   among bridges, two host bridges with the same root bus.
    /// - Complexity: O(n log n).
    public init(
        kernel: KernelIdentity,
        hostBridges: [HostBridge],
        functions: [Function],
        blockers: [Blocker] = [],
        gaps: [ReadingGap] = []
    ) throws(TopologyError) {
        self.kernel = kernel
        self.hostBridges = hostBridges.sorted { ($0.segment, $0.rootBus) < ($1.segment, $1.rootBus) }
        self.functions = functions.sorted { $0.address < $1.address }
        self.blockers = blockers
        self.gaps = gaps
        childrenOf = []
        parentOf = []
        rootsOf = []
        hostOf = []
        try layTree()
    }

    /// The host bridge of a bus without a bridge above it: the one whose root bus it is, else the one in whose range it lies.
    private func host(ofRootBus bus: BusNumber, segment: UInt32) -> Int? {
        func isOwn(_ h: Int) -> Bool { hostBridges[h].segment == segment }
        return hostBridges.indices.first { isOwn($0) && hostBridges[$0].rootBus == bus }
            ?? hostBridges.indices.first { isOwn($0) && hostBridges[$0].busRange.contains(bus) }
    }

    /// Whether the root bus of a host bridge is one that the kernel made up: its number lies among those of another host
    /// bridge, and firmware told nothing of it (`pcibios_fixup_peer_bridges`). It decodes nothing, and cannot be removed.
    public func isMadeUp(host h: Int) -> Bool {
        hostBridges.indices.contains { other in
            other != h && hostBridges[other].segment == hostBridges[h].segment
                && hostBridges[other].busRange.contains(hostBridges[h].rootBus)
        }
    }

    private mutating func layTree() throws(TopologyError) {
        let count = functions.count
        for i in 1..<max(count, 1) where functions[i].address == functions[i - 1].address {
            throw TopologyError(.duplicateAddress, "function \(functions[i].address) appears twice")
        }
        for i in 1..<max(hostBridges.count, 1)
        where hostBridges[i].segment == hostBridges[i - 1].segment
            && hostBridges[i].rootBus == hostBridges[i - 1].rootBus
        {
            throw TopologyError(.duplicateHostBridge, "root bus \(hostBridges[i].rootBus) appears twice in its segment")
        }
        parentOf = Array(repeating: -1, count: count)
        childrenOf = Array(repeating: [], count: count)
        rootsOf = Array(repeating: [], count: hostBridges.count)
        hostOf = Array(repeating: -1, count: count)
        for i in 0..<count {
            guard let parent = functions[i].parent else { continue }
            guard let p = position(of: parent) else {
                throw TopologyError(
                    .missingParent,
                    "function \(functions[i].address) names the bridge \(parent) above it, which is not there"
                )
            }
            guard functions[p].isBridge else {
                throw TopologyError(
                    .parentIsNoBridge,
                    "function \(functions[i].address) names \(parent) above it, which is no bridge"
                )
            }
            parentOf[i] = p
        }
        // A chain longer than the number of functions is a cycle.
        for i in 0..<count {
            var p = parentOf[i]
            var steps = 0
            while p >= 0 {
                steps += 1
                guard steps <= count else {
                    throw TopologyError(.cycle, "the bridges above \(functions[i].address) form a cycle")
                }
                // Most trees are shallow; 256 buses bound any sane depth.
                if steps > 256 {
                    throw TopologyError(
                        .cycle,
                        "more than 256 bridges above \(functions[i].address), expected at most 255"
                    )
                }
                p = parentOf[p]
            }
        }
        let order = (0..<count).sorted { a, b in
            let x = functions[a]
            let y = functions[b]
            switch (x.discoveryOrder, y.discoveryOrder) {
            case (let p?, let q?) where p != q: return p < q
            default: return x.address < y.address
            }
        }
        for i in order {
            if parentOf[i] >= 0 {
                childrenOf[parentOf[i]].append(i)
            } else if let host = host(ofRootBus: functions[i].address.bus, segment: functions[i].address.segment) {
                rootsOf[host].append(i)
                hostOf[i] = host
            } else {
                throw TopologyError(
                    .missingHostBridge,
                    "function \(functions[i].address) has no bridge above it and no host bridge for its bus"
                )
            }
        }
        for i in 0..<count where parentOf[i] >= 0 {
            var top = i
            while parentOf[top] >= 0 { top = parentOf[top] }
            hostOf[i] = hostOf[top]
        }
    }
}

extension Topology {
    /// The index of the function at `address`, or nil.
    /// - Complexity: O(log n).
    public func position(of address: FunctionAddress) -> Int? {
        var low = 0
        var high = functions.count
        while low < high {
            let middle = (low + high) / 2
            if functions[middle].address < address { low = middle + 1 } else { high = middle }
        }
        return low < functions.count && functions[low].address == address ? low : nil
    }

    /// The function at `address`, or nil.
    public subscript(_ address: FunctionAddress) -> Function? { position(of: address).map { functions[$0] } }

    /// Changes one function in place; its address, parent and bridge nature must stay.
    /// - Returns: false, and nothing changed, when there is no such function or the change would alter the tree.
    @discardableResult
    public mutating func update(_ address: FunctionAddress, _ change: (inout Function) -> Void) -> Bool {
        guard let i = position(of: address) else { return false }
        var copy = functions[i]
        change(&copy)
        guard copy.address == address, copy.parent == functions[i].parent, copy.isBridge == functions[i].isBridge else {
            return false
        }
        functions[i] = copy
        return true
    }

    /// The index of the bridge above the function at index `i`, or nil on a root bus.
    public func parent(of i: Int) -> Int? { parentOf[i] >= 0 ? parentOf[i] : nil }

    /// The functions directly below the bridge at index `i`, in the kernel's list order where it is known.
    public func children(of i: Int) -> [Int] { childrenOf[i] }

    /// The functions on the root bus of host bridge `h`, in the kernel's list order where it is known.
    public func roots(of h: Int) -> [Int] { rootsOf[h] }

    /// The index of the host bridge above the function at index `i`.
    public func host(of i: Int) -> Int { hostOf[i] }

    /// The function at index `i` and everything below it, parents first.
    public func subtree(of i: Int) -> [Int] {
        var result = [i]
        var next = 0
        while next < result.count {
            result.append(contentsOf: childrenOf[result[next]])
            next += 1
        }
        return result
    }

    /// The bridges above the function at index `i`, nearest first.
    public func ancestors(of i: Int) -> [Int] {
        var result: [Int] = []
        var p = parentOf[i]
        while p >= 0 {
            result.append(p)
            p = parentOf[p]
        }
        return result
    }

    /// The place of the function at index `i`, independent of bus numbers.
    public func path(of i: Int) -> TopologyPath {
        let chain = [i] + ancestors(of: i)
        let root = functions[chain[chain.count - 1]].address
        let bus = hostOf[i] >= 0 ? hostBridges[hostOf[i]].rootBus : root.bus
        return TopologyPath(
            segment: root.segment,
            rootBus: bus,
            hops: chain.reversed().map { functions[$0].address.devfn }
        )
    }

    /// The bridge whose secondary bus is `bus`, or nil.
    public func bridge(toBus bus: BusNumber, segment: UInt32) -> Int? {
        functions.firstIndex { $0.address.segment == segment && $0.bridge?.busRange?.first == bus }
    }
}

/// Why functions and host bridges do not make a tree.
public struct TopologyError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong.
    public enum Code: String, Hashable, Sendable {
        /// An address appears twice.
        case duplicateAddress
        /// A root bus appears twice.
        case duplicateHostBridge
        /// The bridge above a function is missing.
        case missingParent
        /// The function above is not a bridge.
        case parentIsNoBridge
        /// Bridges above a function form a cycle, or the chain is longer than 256.
        case cycle
        /// No host bridge covers a function's bus.
        case missingHostBridge
    }

    /// What is wrong.
    public let code: Code
    /// A lower-case sentence with what was expected and found.
    public let description: String

    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}

extension Topology {
    /// Whether an aperture covers where RAM is bound to lie, as under `pci=nocrs`, and nothing tells what else is there:
    /// /proc/iomem was not seen, or hides addresses.
    public var hidesMemory: Bool {
        blockers.isEmpty
            && hostBridges.flatMap(\.apertures).contains {
                !$0.isIO && $0.range.first < 0xa_0000 && $0.range.last > 1 << 31
            }
    }
}

/// What tells a kernel which host bridges there are and what they decode.
public enum HardwareDescription: String, Hashable, Sendable {
    /// ACPI tables (_CRS of the root bridges).
    case acpi
    /// A flattened device tree (`ranges` of the host's node).
    case deviceTree = "device-tree"
    /// The device tree of OPAL: POWER on bare metal.
    case opal
}

/// The kernel that runs the machine.
public struct KernelIdentity: Hashable, Sendable {
    /// `uname -r`, or nil when unknown.
    public var release: String?
    /// The kernel command line, or nil when unknown.
    public var commandLine: String?
    /// `uname -m`, or nil when unknown.
    public var architecture: String?
    /// Whether the architecture is one of the x86 family; nil when it is unknown.
    public var isX86: Bool? { architecture.map(Self.isX86) }
    /// What tells the kernel which host bridges there are, or nil when unknown.
    public var hardwareDescription: HardwareDescription?
    /// The string in force in /sys/bus/pci/resource_alignment, or nil when there is none or it is unknown.
    public var resourceAlignment: String?
    /// Whether a boot releases firmware's windows by itself where VF BARs have no address
    /// (`CONFIG_PCI_REALLOC_ENABLE_AUTO`), as the kernel's own words at the end of an assignment tell; nil where none do.
    public var reallocatesByItself: Bool?

    /// Creates an identity.
    public init(
        release: String? = nil,
        commandLine: String? = nil,
        architecture: String? = nil,
        hardwareDescription: HardwareDescription? = nil,
        resourceAlignment: String? = nil
    ) {
        self.release = release
        self.commandLine = commandLine
        self.architecture = architecture
        self.hardwareDescription = hardwareDescription
        self.resourceAlignment = resourceAlignment
    }

    /// Whether a name of `uname -m` is one of the x86 family: `x86_64`, `i686`, …
    public static func isX86(_ architecture: String) -> Bool {
        architecture.hasPrefix("x86") || architecture.hasPrefix("i") && architecture.hasSuffix("86")
    }
}

/// Something that could not be read, and what follows from that.
public struct ReadingGap: Hashable, Sendable {
    /// A stable word: `iomem-zeroed`, `config-64-bytes`, `no-kernel-log`, …
    public var code: String
    /// A sentence for a person.
    public var detail: String

    /// Creates a gap.
    public init(code: String, detail: String) {
        self.code = code
        self.detail = detail
    }
}
