// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

extension AddressMap {
    /// The map with every segment and bridge marked that stands otherwise than in `before`.
    public func marked(against before: AddressMap) -> AddressMap {
        var old: [String: AddressRange] = [:]
        for segment in before.segments {
            if let key = segment.key { old[key] = segment.range }
        }
        var oldBuses: [String: BusRange] = [:]
        for bridge in before.hosts.flatMap(\.buses.bridges) { oldBuses["\(bridge.path)"] = bridge.range }
        var result = self
        for h in result.hosts.indices {
            for a in result.hosts[h].apertures.indices { result.hosts[h].apertures[a].mark(against: old) }
            for a in result.hosts[h].outside.indices { result.hosts[h].outside[a].mark(against: old) }
            for b in result.hosts[h].buses.bridges.indices {
                let bridge = result.hosts[h].buses.bridges[b]
                if let range = oldBuses["\(bridge.path)"], range != bridge.range {
                    result.hosts[h].buses.bridges[b].before = range
                }
            }
        }
        return result
    }

    /// The number of segments that differ from the map that this one was marked against.
    public var changes: Int { segments.filter { $0.mark != .same }.count }
}

extension MapSegment {
    fileprivate mutating func mark(against old: [String: AddressRange]) {
        if let key {
            if let range = old[key] {
                if range != self.range {
                    mark = range.clampedSize == self.range.clampedSize ? .moved : .resized
                    before = range
                }
            } else {
                mark = .new
            }
        }
        for c in children.indices { children[c].mark(against: old) }
    }

    /// The mark as a sign: ◆ moved, ↕ resized, ✚ new; empty for `same`.
    var markSign: String {
        switch mark {
        case .same: ""
        case .moved: "\u{25c6}"
        case .resized: "\u{2195}"
        case .new: "\u{271a}"
        }
    }

    /// The mark in words: `moved from 0xfe000000`, `resized from 2M at 0xfe000000`, `new`; nil for `same`.
    public var markText: String? {
        switch mark {
        case .same: nil
        case .moved: before.map { "moved from \(hex($0.first))" } ?? "moved"
        case .resized: before.map { "resized from \(ByteCount($0.clampedSize)) at \(hex($0.first))" } ?? "resized"
        case .new: "new"
        }
    }
}
