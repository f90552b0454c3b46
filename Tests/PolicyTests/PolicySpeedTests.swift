// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import PolicyPictures
import Testing

/// A tree of two thousand functions; times are printed, never asserted.
@Suite("Policies on a large tree")
struct PolicySpeedTests {
    /// 16 root ports, each with a switch of 7 ports, each with 16 functions of one 1 MiB and one 64 KiB BAR.
    static func tree() -> SmallTree {
        SmallTree(memory: [0x8000_0000...0xfebf_ffff, 0x10_0000_0000...0x1ff_ffff_ffff]) {
            var bus = 0
            func two(_ value: Int) -> String { bareHex(UInt64(value), width: 2) }
            for root in 1...16 {
                let port = $0.port("00:\(two(root)).0", isHotPlug: true)
                bus += 1
                let up = $0.port("\(two(bus)):00.0", below: port)
                let inner = bus + 1
                bus += 1
                for down in 0..<7 {
                    let downstream = $0.port("\(two(inner)):\(two(down)).0", below: up, isHotPlug: true)
                    bus += 1
                    for function in 0..<16 {
                        $0.endpoint(
                            "\(two(bus)):\(two(function / 8)).\(function % 8)",
                            below: downstream,
                            bars: [.pref64(1 << 20), .mem32(64 << 10)]
                        )
                    }
                }
            }
        }
    }

    @Test("every policy lays it out soundly")
    func large() throws {
        let topology = try Self.tree().topology()
        let demand = ResourceDemand(topology)
        #expect(demand.functions.count == 16 * (2 + 7 + 7 * 16))
        let clock = ContinuousClock()
        for policy in PolicySoundnessTests.policies {
            var outcome = PolicyOutcome(policy: "", functions: [])
            let allocating = clock.measure { outcome = policy.allocate(demand) }
            var metrics = PolicyMetrics(outcome, demand, profiles: [])
            let measuring = clock.measure { metrics = PolicyMetrics(outcome, demand) }
            print("\(policy.name): \(allocating) to allocate, \(measuring) to measure")
            #expect(metrics.violations.allSatisfy { policy is EDK2Policy && $0.contains("io window") })
            #expect(metrics.requiredPlaced + metrics.requiredFailed == 2 * 16 * 7 * 16)
            #expect(metrics.requiredFailed == 0 || policy.name.hasPrefix("coreboot"))
        }
        var page = ""
        let map = AddressMap(try SeaBIOSPolicy().allocate(demand).applied(to: topology), title: "large")
        let drawing = clock.measure { page = HTMLMap().render([map]) }
        print("page of \(page.utf8.count) bytes: \(drawing)")
        #expect(map.segments.count > 4000)
    }
}
