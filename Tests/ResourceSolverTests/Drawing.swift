// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import ResourceSolver

// A small language for problems, taught in one example:
//
//     var p = Drawing(.memory, 0xe000_0000, 0xefff_ffff)   // one host bridge, one aperture
//     let port = p.bridge("00:1c.0", windows: [.memory: (0xe000_0000, 0xe00f_ffff)])
//     let card = p.device("01:00.0", below: port)
//     p.bar(card, 1 << 20, at: 0xe000_0000)
//     let layout = try Solver().smallestChange(p.problem).layout
//
// `bridge` and `device` return indices; a BAR without `at` is unplaced.
struct Drawing {
    var problem: Problem

    init(_ kind: ResourceKind, _ first: UInt64, _ last: UInt64, buses: ClosedRange<UInt64>? = nil) {
        problem = Problem(hosts: [Problem.Host(label: "0000:00")])
        aperture(kind, first, last)
        problem.hosts[0].busNumbers = buses.flatMap { AddressRange(first: $0.lowerBound, last: $0.upperBound) }
    }

    mutating func aperture(_ kind: ResourceKind, _ first: UInt64, _ last: UInt64, offset: Int64 = 0) {
        guard let range = AddressRange(first: first, last: last) else { return }
        problem.hosts[0].apertures.append(Problem.Aperture(kind, range, offset: offset))
    }

    /// A bridge; a window with a current range of (0, 0) is closed.
    mutating func bridge(
        _ label: String,
        below parent: Int? = nil,
        device: Bool = true,
        weight: Int? = 1,
        windows: [Problem.WindowKind: (UInt64, UInt64)],
        frozen: Set<Problem.WindowKind> = []
    ) -> Int {
        let d = device ? self.device(label, below: parent, weight: weight) : nil
        let list = windows.sorted { $0.key < $1.key }.map { kind, range in
            Problem.Window(
                kind,
                current: range == (0, 0) ? nil : AddressRange(first: range.0, last: range.1),
                isFrozen: frozen.contains(kind)
            )
        }
        problem.bridges.append(
            Problem.Bridge(
                key: UInt64(problem.bridges.count),
                label: label,
                parent: parent,
                device: d,
                windows: list
            )
        )
        return problem.bridges.count - 1
    }

    mutating func device(_ label: String, below bridge: Int?, weight: Int? = 1) -> Int {
        problem.devices.append(
            Problem.Device(key: UInt64(problem.devices.count), label: label, bridge: bridge, weight: weight)
        )
        return problem.devices.count - 1
    }

    @discardableResult
    mutating func bar(
        _ device: Int,
        _ size: UInt64,
        _ kind: Problem.Kind = .memory,
        at current: UInt64? = nil,
        name: String = "BAR 0",
        alignment: UInt64? = nil,
        below4G: Bool = false,
        tier: Problem.Tier = .required,
        alternatives: [UInt64] = [],
        currentSize: UInt64? = nil,
        fixed: Bool = false
    ) -> Int {
        problem.requests.append(
            Problem.Request(
                key: UInt64(problem.requests.count),
                label: "\(problem.devices[device].label) \(name)",
                bridge: problem.devices[device].bridge,
                kind: kind,
                size: size,
                alignment: alignment,
                limits: below4G ? AddressRange(first: 0, size: 1 << 32) ?? .all : .all,
                current: current,
                currentSize: currentSize,
                holders: [device],
                tier: tier,
                alternatives: alternatives,
                isFixed: fixed
            )
        )
        return problem.requests.count - 1
    }

    /// Room to keep free behind `bridge`.
    @discardableResult
    mutating func reserve(
        _ bridge: Int,
        _ size: UInt64,
        _ kind: Problem.Kind,
        tier: Problem.Tier,
        alignment: UInt64 = 1 << 20
    ) -> Int {
        problem.requests.append(
            Problem.Request(
                key: UInt64(problem.requests.count),
                label: "\(problem.bridges[bridge].label) reserve",
                bridge: bridge,
                kind: kind,
                size: size,
                alignment: alignment,
                tier: tier
            )
        )
        return problem.requests.count - 1
    }

    /// The secondary bus number of `bridge`, held by `holders`.
    @discardableResult
    mutating func secondary(_ bridge: Int, at current: UInt64?, count: UInt64 = 1, holders: [Int]) -> Int {
        problem.requests.append(
            Problem.Request(
                key: UInt64(problem.requests.count),
                label: "\(problem.bridges[bridge].label) secondary bus",
                bridge: bridge,
                kind: .busHeader,
                size: count,
                alignment: 1,
                current: current,
                currentSize: current == nil ? nil : 1,
                holders: holders
            )
        )
        return problem.requests.count - 1
    }
}
