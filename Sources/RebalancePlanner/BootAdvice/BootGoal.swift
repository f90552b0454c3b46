// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology

/// What the next boot must reach.
public enum BootGoal: Hashable, Sendable {
    /// What a plan may be asked for, but by the boot: everything placed, a size that a later `resourceN_resize` gets,
    /// virtual functions that a later write to `sriov_numvfs` gets, room behind a port.
    case plan(Goal)
    /// This card, plugged into that hot-plug port after the boot, gets all its addresses. What is in the port now is
    /// assumed removed.
    case card(port: FunctionAddress, CardProfile)

    /// The function that the goal is about; nil for the whole tree.
    public var address: FunctionAddress? {
        switch self {
        case .plan(let goal): goal.subject
        case .card(let port, _): port
        }
    }
}

/// Bytes and bus numbers that goals need behind hot-plug ports: where the search for sizes begins.
struct BootNeed {
    /// Bytes by kind: I/O, memory, prefetchable.
    var bytes: [ResourceKind: UInt64] = [:]
    /// Bus numbers behind a port's own.
    var buses = 0

    /// What `goals` need, by sums: alignment and what shares a window are the search's business.
    init(_ goals: [BootGoal], _ topology: Topology) {
        for goal in goals {
            switch goal {
            case .plan(.restore), .plan(.compact), .plan(.located): break
            case .plan(.everythingRequired), .plan(.place): buses = max(buses, missingBuses(topology))
            case .plan(.virtualFunctions): buses = max(buses, 1)
            case .plan(.resize(let address, let bar, let size)):
                guard let resource = ResourceIndex.bar(bar).flatMap({ topology[address]?.resource($0) }) else { break }
                add((size ?? resource.size)?.rawValue ?? 0, resource.kind ?? .prefetchable)
            case .plan(.reserve(_, let room)):
                add(room.io.rawValue, .io)
                add(room.memory.rawValue, .memory)
                add(room.prefetchable.rawValue, .prefetchable)
                buses = max(buses, room.buses)
            case .card(_, let card):
                let reserve = GuestReserve(card)
                add(reserve.io, .io)
                add(reserve.memory, .memory)
                add(reserve.prefetchable, .prefetchable)
                buses = max(buses, reserve.buses)
            }
        }
    }

    private mutating func add(_ size: UInt64, _ kind: ResourceKind) {
        guard size > 0 else { return }
        let (sum, overflow) = (bytes[kind] ?? 0).addingReportingOverflow(size)
        bytes[kind] = overflow ? .max : sum
    }

    /// The bridges that have no bus.
    private func missingBuses(_ topology: Topology) -> Int {
        topology.functions.count { $0.isBridge && $0.bridge?.busRange == nil }
    }
}
