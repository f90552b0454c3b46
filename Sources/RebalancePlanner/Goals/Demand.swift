// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// One thing that must hold after a plan, named by place so that it survives renumbering.
enum Demand: Hashable {
    /// The shortfall is gone.
    case cure(Shortfall)
    /// The resource has an address and exactly this many bytes.
    case size(TopologyPath, ResourceIndex, UInt64)
    /// The bridge has at least this many bus numbers.
    case buses(TopologyPath, Int)

    /// The function that the demand is about.
    var path: TopologyPath {
        switch self {
        case .cure(let shortfall): shortfall.path
        case .size(let path, _, _), .buses(let path, _): path
        }
    }

    /// Whether numbers have to be found, not only addresses.
    var wantsBuses: Bool {
        switch self {
        case .cure(let shortfall): shortfall.kind == .bus
        case .size: false
        case .buses: true
        }
    }

    /// Whether the demand is met in `standing`.
    func isMet(in standing: Standing) -> Bool {
        switch self {
        case .cure(let shortfall): !standing.missing.contains(shortfall)
        case .size(let path, let index, let size): standing.entries[path]?.held[Int(index.rawValue)] == size
        case .buses(let path, let count): standing.entries[path].map { $0.buses >= count } ?? false
        }
    }
}
