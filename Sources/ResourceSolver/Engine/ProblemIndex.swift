// SPDX-License-Identifier: GPL-2.0-or-later

/// The elements of a problem per host bridge in key order, parents before children.
struct ProblemIndex {
    private(set) var devices: [[Int]]
    private(set) var bridges: [[Int]]
    private(set) var requests: [[Int]]
    /// Per bridge: the devices on its secondary bus and below, itself excluded.
    private(set) var devicesBelow: [[Int]]
    /// The bridge whose own device a device is.
    private(set) var bridgeOfDevice: [Int: Int] = [:]

    init(_ problem: Problem) {
        devices = Array(repeating: [], count: problem.hosts.count)
        bridges = devices
        requests = devices
        devicesBelow = Array(repeating: [], count: problem.bridges.count)
        for d in problem.devices.indices { devices[problem.devices[d].host].append(d) }
        for r in problem.requests.indices { requests[problem.requests[r].host].append(r) }
        var bridgeDepth = Array(repeating: 0, count: problem.bridges.count)
        for b in problem.bridges.indices {
            bridges[problem.bridges[b].host].append(b)
            var above = problem.bridges[b].parent
            while let p = above {
                bridgeDepth[b] += 1
                above = problem.bridges[p].parent
            }
            if let d = problem.bridges[b].device { bridgeOfDevice[d] = b }
        }
        for h in problem.hosts.indices {
            devices[h].sort { problem.devices[$0].key < problem.devices[$1].key }
            requests[h].sort { problem.requests[$0].key < problem.requests[$1].key }
            bridges[h].sort {
                (bridgeDepth[$0], problem.bridges[$0].key) < (bridgeDepth[$1], problem.bridges[$1].key)
            }
            for d in devices[h] {
                var above = problem.devices[d].bridge
                while let b = above {
                    devicesBelow[b].append(d)
                    above = problem.bridges[b].parent
                }
            }
        }
    }
}
