// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What every function of a tree has, keyed by place: the measure of "nothing worse than before".
///
/// Two standings of the same machine are compared by place, since addresses and bus numbers may change.
struct Standing {
    /// What one function has.
    struct Entry {
        var address: FunctionAddress
        /// The sizes of resources that have an address; nil for those that have none, or are not implemented.
        var held: [UInt64?]
        /// The number of buses, 0 without.
        var buses: Int
        var isBridge: Bool
    }

    private(set) var entries: [TopologyPath: Entry] = [:]
    /// Everything required that is missing.
    private(set) var missing: Set<Shortfall> = []

    init(_ topology: Topology) {
        entries.reserveCapacity(topology.functions.count)
        for i in topology.functions.indices where !topology.functions[i].isVirtual {
            let function = topology.functions[i]
            var held = [UInt64?](repeating: nil, count: 17)
            for resource in function.resources {
                if let range = resource.range { held[Int(resource.index.rawValue)] = range.clampedSize }
            }
            entries[topology.path(of: i)] = Entry(
                address: function.address,
                held: held,
                buses: function.bridge?.busRange?.count ?? 0,
                isBridge: function.isBridge
            )
        }
        missing = Set(topology.requiredShortfalls)
    }

    /// One thing that is worse than before.
    struct Loss: Hashable, Comparable {
        /// How much it matters.
        enum Grade: Int, Comparable {
            /// Reserve or convenience: an empty port's room, a ROM.
            case remark
            /// A function, a required address or a bus is gone.
            case harm

            static func < (a: Grade, b: Grade) -> Bool { a.rawValue < b.rawValue }
        }

        var grade: Grade
        var address: FunctionAddress
        var text: String

        static func < (a: Loss, b: Loss) -> Bool { (a.address, a.text) < (b.address, b.text) }
    }

    /// What is worse in `later` than in this standing, in address order.
    ///
    /// Harm: a function is gone; a BAR or VF BAR block that had an address has none, or a smaller one; a bridge that had
    /// a bus has none. Remarks: a ROM lost its address; a bridge window or bus range shrank and nothing below lost
    /// anything by it.
    ///
    /// A resource whose size the user asked to change is no loss when it has that size.
    func losses(in later: Standing, asked demands: [Demand] = []) -> [Loss] {
        var result: [Loss] = []
        let asked = Set(demands.filter { $0.isMet(in: later) })
        for (path, before) in entries {
            guard let after = later.entries[path] else {
                result.append(Loss(grade: .harm, address: before.address, text: "\(before.address) is gone"))
                continue
            }
            if before.buses > 0, after.buses == 0 {
                result.append(
                    Loss(grade: .harm, address: before.address, text: "\(before.address) loses its bus")
                )
            } else if after.buses < before.buses {
                result.append(
                    Loss(
                        grade: .remark,
                        address: before.address,
                        text: "\(before.address) keeps \(after.buses) of \(before.buses) bus numbers"
                    )
                )
            }
            for index in 0..<17 {
                guard let had = before.held[index] else { continue }
                let has = after.held[index]
                guard has ?? 0 < had, let name = ResourceIndex(index) else { continue }
                if let has, asked.contains(.size(path, name, has)) { continue }
                let now = has.map { "\(ByteCount($0))" } ?? "none"
                let isHarm = name.isBAR || name.isVFBAR
                result.append(
                    Loss(
                        grade: isHarm ? .harm : .remark,
                        address: before.address,
                        text: "\(before.address) \(name) had \(ByteCount(had)), keeps \(now)"
                    )
                )
            }
        }
        // A shortfall that was not there before is harm even where sizes do not show it (a window that forwards nothing).
        for shortfall in later.missing.subtracting(missing) {
            guard let before = entries[shortfall.path], case .unreachable(let index) = shortfall.kind else { continue }
            result.append(
                Loss(grade: .harm, address: before.address, text: "\(before.address) \(index) becomes unreachable")
            )
        }
        return result.sorted()
    }
}
