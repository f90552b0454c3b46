// SPDX-License-Identifier: GPL-2.0-or-later

extension Topology {
    /// Findings about functions of one bus: ranges or bus numbers that two of them share.
    ///
    /// Fixed legacy ranges are left out, and so is what two resources of one function share: hardware does that.
    func appendSiblingFindings(among siblings: [Int], to result: inout [Finding]) {
        guard siblings.count > 1 else { return }
        appendBusOverlaps(among: siblings, to: &result)
        for isIO in [true, false] {
            var ranges: [(range: AddressRange, function: Int, index: ResourceIndex)] = []
            for i in siblings where !functions[i].isVirtual {
                for resource in functions[i].resources
                where resource.flags.contains(.io) == isIO && !resource.isFixed && !resource.index.isROM {
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
