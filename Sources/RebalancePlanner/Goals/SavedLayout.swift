// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// A layout from an older record of the machine: what each function had, named by place.
///
/// Firmware often hands out more at power-on than a kernel does later; after a cable was replugged the old sizes are gone.
/// Addresses themselves cannot be asked for on a running kernel; sizes and counts can.
public struct SavedLayout: Hashable, Sendable {
    /// What one function had.
    public struct Place: Hashable, Sendable {
        /// The place in the tree.
        public var path: TopologyPath
        /// Vendor ID in the high half, device ID in the low half.
        public var ids: UInt32
        /// The sizes of resources that had an address, by the kernel's index 0 to 16; 0 for those without.
        public var sizes: [UInt64]
        /// The number of buses, 0 without.
        public var buses: Int

        /// Creates a record.
        public init(path: TopologyPath, ids: UInt32, sizes: [UInt64], buses: Int) {
            self.path = path
            self.ids = ids
            self.sizes = sizes
            self.buses = buses
        }
    }

    /// The fingerprint of the tree that the layout was taken from (`TreeState.fingerprint`).
    public var fingerprint: UInt64
    /// What each function had, in the order of addresses; VFs are left out.
    public var places: [Place]

    /// Creates a layout.
    public init(fingerprint: UInt64, places: [Place]) {
        self.fingerprint = fingerprint
        self.places = places
    }

    /// The layout of `topology`.
    public init(_ topology: Topology) {
        fingerprint = TreeState(topology).fingerprint
        places = topology.functions.indices.compactMap { i in
            let function = topology.functions[i]
            guard !function.isVirtual else { return nil }
            var sizes = [UInt64](repeating: 0, count: 17)
            for resource in function.resources {
                if let range = resource.range { sizes[Int(resource.index.rawValue)] = range.clampedSize }
            }
            return Place(
                path: topology.path(of: i),
                ids: UInt32(function.identity.vendor) << 16 | UInt32(function.identity.device),
                sizes: sizes,
                buses: function.bridge?.busRange?.count ?? 0
            )
        }
    }
}

/// What a saved layout asks of the tree.
struct RestoreDemands {
    private let context: SearchContext
    private let layout: SavedLayout
    /// A sentence for everything that cannot be asked for.
    private(set) var remarks: [String] = []

    init(_ context: SearchContext, _ layout: SavedLayout) {
        self.context = context
        self.layout = layout
        for place in layout.places where number(place) == nil {
            remarks.append("\(place.path) of the saved layout is not there, or another device is")
        }
    }

    private func number(_ place: SavedLayout.Place) -> Int? {
        guard let i = context.number(at: place.path) else { return nil }
        let identity = context.function(i).identity
        return UInt32(identity.vendor) << 16 | UInt32(identity.device) == place.ids ? i : nil
    }

    /// Adds what must be as it was: BARs and VF BAR blocks; and what should be: windows of empty ports, bus ranges.
    func collect(_ fixed: inout [Demand], _ wishes: inout [Demand]) {
        for place in layout.places {
            guard let i = number(place) else { continue }
            let function = context.function(i)
            for (n, size) in place.sizes.enumerated() where size > 0 {
                guard let index = ResourceIndex(n) else { continue }
                let present = function.resource(index)?.range?.clampedSize ?? 0
                if index.isBAR || index.isVFBAR {
                    let isResizable = function.capabilities.resizableBARs.contains { $0.bar == n }
                    if present == size { continue }
                    fixed.append(isResizable ? .size(i, index, size) : .address(i, index))
                } else if index.isWindow, present < size, function.isHotPlugBridge, context.children[i].isEmpty {
                    wishes.append(.window(i, index, size))
                }
            }
            let present = function.bridge?.busRange?.count ?? 0
            guard place.buses > present else { continue }
            if present == 0 { fixed.append(.bus(i)) }
            wishes.append(.buses(i, place.buses))
        }
    }
}
