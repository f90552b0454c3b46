// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import ResourceSolver

/// One generated instance as `generate.py` writes it, a JSON object per line.
///
/// `family` A: minimal span from scratch; B: one kind of memory with devices in place; C: bus numbers. Lengths are in
/// units of 2^`unitLog` bytes (numbers for C); ranges are half-open.
struct Instance: Codable {
    struct Leaf: Codable {
        var bridge: Int
        var size: Int
        var align: Int
        var device: Int
        var cur: Int
        /// Family C: the leaf is the bus number of `bridge`.
        var header: Bool?
    }
    struct Device: Codable {
        /// -1: must not move.
        var weight: Int
        var bridge: Int
    }
    var name: String
    var family: String
    var unitLog: Int
    var granule: Int
    var low: Int
    var high: Int
    /// Parent bridge of every bridge, -1 on the root bus.
    var bridges: [Int]
    var leaves: [Leaf]
    var devices: [Device]
    /// How many copies to lay side by side, one per host bridge; 1 when absent.
    var copies: Int?

    /// The instance as a problem.
    func problem(rule: DisturbanceRule = .movable) -> Problem {
        let unit = UInt64(unitLog)
        let kind: Problem.WindowKind = family == "C" ? .bus : .prefetchable
        var problem = Problem(rule: rule)
        for host in 0..<(copies ?? 1) {
            let firstBridge = problem.bridges.count
            let firstDevice = problem.devices.count
            let range = AddressRange(first: UInt64(low) << unit, last: (UInt64(high) << unit) - 1)
            problem.hosts.append(
                Problem.Host(
                    label: "\(host)",
                    apertures: family == "C" ? [] : range.map { [Problem.Aperture(.prefetchable, $0)] } ?? [],
                    busNumbers: family == "C" ? range : nil
                )
            )
            for (b, parent) in bridges.enumerated() {
                problem.bridges.append(
                    Problem.Bridge(
                        key: UInt64(b),
                        label: "b\(b)",
                        host: host,
                        parent: parent < 0 ? nil : firstBridge + parent,
                        windows: [Problem.Window(kind, granule: UInt64(granule) << unit)]
                    )
                )
            }
            for (d, device) in devices.enumerated() {
                problem.devices.append(
                    Problem.Device(
                        key: UInt64(d),
                        label: "d\(d)",
                        host: host,
                        bridge: device.bridge < 0 ? nil : firstBridge + device.bridge,
                        weight: device.weight < 0 ? nil : device.weight
                    )
                )
            }
            for (l, leaf) in leaves.enumerated() {
                problem.requests.append(
                    Problem.Request(
                        key: UInt64(l),
                        label: "r\(l)",
                        host: host,
                        bridge: leaf.bridge < 0 ? nil : firstBridge + leaf.bridge,
                        kind: family == "C" ? (leaf.header == true ? .busHeader : .busRoom) : .prefetchable,
                        size: UInt64(leaf.size) << unit,
                        alignment: UInt64(leaf.align) << unit,
                        current: leaf.cur < 0 ? nil : UInt64(leaf.cur) << unit,
                        holders: [firstDevice + leaf.device]
                    )
                )
            }
        }
        return problem
    }
}
