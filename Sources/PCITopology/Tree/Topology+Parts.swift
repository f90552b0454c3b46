// SPDX-License-Identifier: GPL-2.0-or-later

extension Topology {
    /// The host bridges in groups that share nothing: no segment, no part of an aperture, nobody's address in another's
    /// aperture. What a kernel does below one group changes nothing below another.
    ///
    /// One group where any host bridge's apertures are not known.
    /// - Returns: positions of host bridges, ascending, the groups in the order of their first.
    /// - Complexity: O(resources x apertures).
    public var independentHosts: [[Int]] {
        let all = Array(hostBridges.indices)
        guard hostBridges.allSatisfy({ $0.source == .kernelLog && !$0.apertures.isEmpty }),
            functions.indices.allSatisfy({ host(of: $0) >= 0 })
        else { return all.isEmpty ? [] : [all] }
        var leader = all
        func find(_ h: Int) -> Int {
            var h = h
            while leader[h] != h { h = leader[h] }
            return h
        }
        func join(_ a: Int, _ b: Int) {
            let (a, b) = (find(a), find(b))
            leader[max(a, b)] = min(a, b)
        }
        for a in all {
            for b in all[..<a] {
                let meet = hostBridges[a].apertures.contains { one in
                    hostBridges[b].apertures.contains { $0.isIO == one.isIO && $0.range.overlaps(one.range) }
                }
                if meet || hostBridges[a].segment == hostBridges[b].segment { join(a, b) }
            }
        }
        for i in functions.indices {
            for resource in functions[i].resources {
                guard let range = resource.shownRange else { continue }
                let isIO = resource.flags.contains(.io)
                // The usual case: it lies in an aperture of its own host bridge, which meets no other group's.
                let own = hostBridges[host(of: i)].apertures
                if own.contains(where: { $0.isIO == isIO && $0.range.contains(range) }) { continue }
                for h in all where find(h) != find(host(of: i)) {
                    let isInside = hostBridges[h].apertures.contains { $0.isIO == isIO && $0.range.overlaps(range) }
                    if isInside { join(h, host(of: i)) }
                }
            }
        }
        var groups: [Int: [Int]] = [:]
        for h in all { groups[find(h), default: []].append(h) }
        return groups.keys.sorted().compactMap { groups[$0] }
    }

    /// The tree below some host bridges: their functions, all that is in the way, the same kernel.
    ///
    /// - Parameter hosts: positions of host bridges.
    /// - Returns: the part, or nil when what is left is no tree.
    public func part(ofHosts hosts: [Int]) -> Topology? {
        let isIncluded = Set(hosts)
        var part = try? Topology(
            kernel: kernel,
            hostBridges: hosts.map { hostBridges[$0] },
            functions: functions.indices.filter { isIncluded.contains(host(of: $0)) }.map { functions[$0] },
            blockers: blockers,
            gaps: gaps
        )
        part?.namings = namings
        return part
    }
}
