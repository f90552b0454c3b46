// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Why a problem cannot be read: an index that leads nowhere, a number that is none.
public struct ProblemError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A lower-case sentence that says what was expected and found.
    public let description: String

    init(_ description: String) { self.description = description }
}

extension Problem {
    /// Checks every index and number.
    ///
    /// - Throws: `ProblemError` for the first element that is wrong: an index out of range or into another host bridge, a
    ///   cycle among bridges, a key that appears twice, an alignment or granule that is no power of two, a size of 0, a
    ///   size that is no multiple of its alignment, sizes that add up to more than 2^61.
    /// - Complexity: O(n log n).
    public func validate() throws(ProblemError) {
        try validateBridges()
        try validateDevices()
        try validateRequests()
        for host in hosts {
            for isIO in [false, true] {
                let ranges = host.apertures.filter { ($0.kind == .io) == isIO }.map(\.range).sorted()
                for (a, b) in zip(ranges, ranges.dropFirst()) where a.overlaps(b) {
                    throw ProblemError("apertures \(a) and \(b) of host bridge \(host.label) overlap")
                }
            }
        }
    }

    private func validateBridges() throws(ProblemError) {
        var keys: Set<UInt64> = []
        for bridge in bridges {
            guard hosts.indices.contains(bridge.host) else {
                throw ProblemError(
                    "bridge \(bridge.label) is below host \(bridge.host), expected 0 to \(hosts.count - 1)"
                )
            }
            guard keys.insert(bridge.key).inserted || hosts.count > 1 else {
                throw ProblemError("key \(bridge.key) of bridge \(bridge.label) appears twice")
            }
            if let d = bridge.device, !devices.indices.contains(d) {
                throw ProblemError("bridge \(bridge.label) is device \(d), expected 0 to \(devices.count - 1)")
            }
            var above = bridge.parent
            var depth = 0
            while let p = above {
                depth += 1
                guard bridges.indices.contains(p), bridges[p].host == bridge.host, depth <= 256 else {
                    throw ProblemError("the bridges above \(bridge.label) do not lead to a root bus")
                }
                above = bridges[p].parent
            }
            for window in bridge.windows where window.granule == 0 || window.granule & (window.granule - 1) != 0 {
                throw ProblemError("\(bridge.label) \(window.kind.word) has granule \(window.granule), no power of two")
            }
        }
    }

    private func validateDevices() throws(ProblemError) {
        for device in devices {
            guard hosts.indices.contains(device.host) else {
                throw ProblemError(
                    "device \(device.label) is below host \(device.host), expected 0 to \(hosts.count - 1)"
                )
            }
            guard let b = device.bridge else { continue }
            guard bridges.indices.contains(b), bridges[b].host == device.host else {
                throw ProblemError("device \(device.label) is below bridge \(b), which its host bridge does not have")
            }
        }
    }

    private func validateRequests() throws(ProblemError) {
        var total: UInt64 = 0
        for request in requests {
            guard hosts.indices.contains(request.host) else {
                throw ProblemError(
                    "request \(request.label) is below host \(request.host), expected 0 to \(hosts.count - 1)"
                )
            }
            if let b = request.bridge, !bridges.indices.contains(b) || bridges[b].host != request.host {
                throw ProblemError("request \(request.label) is below bridge \(b), which its host bridge does not have")
            }
            guard request.alignment > 0, request.alignment & (request.alignment - 1) == 0 else {
                throw ProblemError("request \(request.label) has alignment \(request.alignment), no power of two")
            }
            guard request.size > 0, request.size % request.alignment == 0 else {
                throw ProblemError(
                    "request \(request.label) has size \(request.size), expected a multiple of \(request.alignment)"
                )
            }
            for size in request.alternatives where size == 0 || size & (size - 1) != 0 {
                throw ProblemError("request \(request.label) has alternative size \(size), no power of two")
            }
            for d in request.holders where !devices.indices.contains(d) || devices[d].host != request.host {
                throw ProblemError(
                    "request \(request.label) is held by device \(d), which its host bridge does not have"
                )
            }
            let (sum, overflow) = total.addingReportingOverflow(max(request.size, request.alignment))
            guard !overflow, sum <= 1 << 61 else {
                throw ProblemError("the sizes of all requests add up to more than 2^61")
            }
            total = sum
        }
    }
}
