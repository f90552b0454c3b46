// SPDX-License-Identifier: GPL-2.0-or-later

extension Topology {
    /// Findings about functions of one bus: ranges or bus numbers that two of them share.
    ///
    /// Fixed legacy ranges are left out; what two resources of one function share is told with the function.
    func appendSiblingFindings(among siblings: [Int], to result: inout [Finding]) {
        guard siblings.count > 1 else { return }
        appendBusOverlaps(among: siblings, to: &result)
        for isIO in [true, false] {
            var ranges: [(range: AddressRange, function: Int, index: ResourceIndex)] = []
            for i in siblings where !functions[i].isVirtual {
                for resource in functions[i].resources
                where resource.flags.contains(.io) == isIO && !resource.isFixed && !resource.index.isROM {
                    // VFs that a text does not call VFs lie inside the VF BARs of their physical function.
                    if resource.index.isVFBAR, resource.size == nil { continue }
                    if let range = resource.range { ranges.append((range, i, resource.index)) }
                }
            }
            ranges.sort { ($0.range, $0.function, $0.index.rawValue) < ($1.range, $1.function, $1.index.rawValue) }
            var highest: (range: AddressRange, function: Int, index: ResourceIndex)?
            for entry in ranges {
                if let before = highest, before.range.overlaps(entry.range), before.function != entry.function {
                    let other = functions[before.function]
                    result.append(
                        Finding(
                            .overlap,
                            .problem,
                            at: functions[entry.function].address,
                            resource: entry.index,
                            related: [other.address],
                            "\(entry.index) \(entry.range) overlaps \(before.index) \(before.range) of \(other.address)"
                        )
                    )
                }
                if highest.map({ $0.range.last < entry.range.last }) ?? true { highest = entry }
            }
        }
    }

    /// Findings about BARs of the function at index `i` that share addresses, held by the kernel or not: only one of them
    /// can answer there, and the kernel claims at most one.
    ///
    /// Left out: fixed ranges, ROMs, windows (a bridge may leave two open over the same range), VF BARs, and BARs whose
    /// size is not known.
    func appendOwnOverlaps(of i: Int, to result: inout [Finding]) {
        let function = functions[i]
        guard !function.isVirtual else { return }
        var taken: [(index: ResourceIndex, range: AddressRange)] = []
        for resource in function.resources
        where resource.index.isBAR && !resource.isFixed && resource.size != nil && resource.size != .zero {
            guard let range = resource.shownRange else { continue }
            let isIO = resource.flags.contains(.io)
            if let other = taken.first(where: {
                $0.range.overlaps(range) && function.resource($0.index)?.flags.contains(.io) == isIO
            }) {
                result.append(
                    Finding(
                        .overlap,
                        .problem,
                        at: function.address,
                        resource: resource.index,
                        "\(resource.index) \(range) overlaps \(other.index) \(other.range) of the same function: "
                            + "only one of them can answer there"
                    )
                )
            }
            taken.append((resource.index, range))
        }
    }

    private func appendBusOverlaps(among siblings: [Int], to result: inout [Finding]) {
        var ranges: [(range: BusRange, function: Int)] = []
        for i in siblings {
            if let range = functions[i].bridge?.busRange { ranges.append((range, i)) }
        }
        ranges.sort { ($0.range, $0.function) < ($1.range, $1.function) }
        var highest: (range: BusRange, function: Int)?
        for entry in ranges {
            if let before = highest, before.range.overlaps(entry.range) {
                result.append(
                    Finding(
                        .busOverlap,
                        .problem,
                        at: functions[entry.function].address,
                        related: [functions[before.function].address],
                        "\(entry.range) overlaps \(before.range) of \(functions[before.function].address)"
                    )
                )
            }
            if highest.map({ $0.range.last < entry.range.last }) ?? true { highest = entry }
        }
    }
}
