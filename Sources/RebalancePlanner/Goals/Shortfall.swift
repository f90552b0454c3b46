// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// Something that a function should have and has not: an address for a BAR, a bus for a bridge, a way to its registers.
///
/// Named by place rather than by address, so that it stays comparable when buses are renumbered.
public struct Shortfall: Hashable, Sendable, Comparable {
    /// What is missing.
    public enum Kind: Hashable, Sendable {
        /// The resource has no address.
        case resource(ResourceIndex)
        /// The bridge has no bus behind it.
        case bus
        /// The kernel shows an address, and a bridge above forwards nothing there.
        case unreachable(ResourceIndex)
    }

    /// The function's place in the tree.
    public var path: TopologyPath
    /// What is missing.
    public var kind: Kind

    /// Creates a shortfall.
    public init(path: TopologyPath, kind: Kind) {
        self.path = path
        self.kind = kind
    }

    private var rank: Int {
        switch kind {
        case .bus: 0
        case .resource(let index): 1 + Int(index.rawValue)
        case .unreachable(let index): 32 + Int(index.rawValue)
        }
    }

    /// Orders by place, then missing buses before missing addresses.
    public static func < (a: Shortfall, b: Shortfall) -> Bool {
        a.path != b.path ? a.path < b.path : a.rank < b.rank
    }
}

extension Topology {
    /// Everything required that has no address, no bus, or cannot be reached, in the order of the tree.
    ///
    /// Required are BARs of functions that answer; ROMs, VF BARs and the reserve of empty ports are not.
    /// - Complexity: O(resources x depth).
    public var requiredShortfalls: [Shortfall] {
        var result: [Shortfall] = []
        for i in functions.indices {
            let function = functions[i]
            guard !function.isVirtual else { continue }
            var path: TopologyPath?
            func note(_ kind: Shortfall.Kind) {
                let place = path ?? self.path(of: i)
                path = place
                result.append(Shortfall(path: place, kind: kind))
            }
            if let bridge = function.bridge, bridge.busRange == nil { note(.bus) }
            for resource in function.resources where resource.index.isBAR {
                if resource.lacksAddress {
                    note(.resource(resource.index))
                } else if let range = resource.range, let kind = resource.kind, !isReachable(range, kind: kind, from: i)
                {
                    note(.unreachable(resource.index))
                }
            }
        }
        return result.sorted()
    }

    /// The required shortfalls that are problems, in the order of the tree: without those that `harmlessResources` names.
    /// - Complexity: that of `findings(explains: false)`.
    public var problemShortfalls: [Shortfall] {
        var harmless: Set<Shortfall> = []
        for (i, indexes) in harmlessResources() {
            let path = path(of: i)
            for index in indexes { harmless.insert(Shortfall(path: path, kind: .resource(index))) }
        }
        return requiredShortfalls.filter { !harmless.contains($0) }
    }

    /// Whether the registers of every bridge above function `i` forward `range`; true where registers are unknown.
    func isReachable(_ range: AddressRange, kind: ResourceKind, from i: Int) -> Bool {
        var p = parent(of: i)
        while let bridge = p {
            let function = functions[bridge]
            if let registers = function.bridge?.registers, function.bridge?.isSubtractive != true {
                let offset = self.offset(of: range, host: host(of: bridge), isIO: kind == .io)
                guard let busRange = offset == .min ? nil : range.shifted(by: -offset) else { return false }
                let windows =
                    kind == .io ? [registers.io.range] : [registers.memory.range, registers.prefetchable.range]
                guard windows.contains(where: { $0?.contains(busRange) == true }) else { return false }
            }
            p = parent(of: bridge)
        }
        return true
    }

    /// CPU address minus bus address in the aperture that holds `range`; 0 when no aperture does.
    func offset(of range: AddressRange, host: Int, isIO: Bool) -> Int64 {
        guard hostBridges.indices.contains(host) else { return 0 }
        return hostBridges[host].apertures.first { $0.isIO == isIO && $0.range.contains(range) }?.offset ?? 0
    }
}
