// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import RebalancePlanner

/// What planning costs on a machine of 312 functions: every case is a card that was just plugged and did not get all that
/// it needs; the median of some runs of each, per kernel.
///
///     plan-bench [RUNS] [--each]

/// An endpoint of `count` functions with a driver.
func endpoint(_ count: UInt8) -> [CardFunction] {
    (0..<count).map { function in
        CardFunction(
            devfn: function,
            identity: Function.Identity(vendor: 0x1234, device: 1, classCode: 0x020000),
            bars: [
                .memory(0, 1 << 14), .io(1, 32),
                .memory(2, 1 << (16 + UInt64(function)), is64Bit: true, isPrefetchable: true),
            ],
            driver: "driver"
        )
    }
}

/// One root port with a switch of five ports: four with an endpoint of eight functions, one empty.
func rootPort(_ device: UInt8) -> CardProfile {
    let downstream = (0..<5 as Range<UInt8>).map { slot in
        CardProfile.downstreamPort(device: slot, isHotPlug: true, children: slot < 4 ? endpoint(8) : [])
    }
    let port = CardFunction(
        devfn: device << 3,
        identity: Function.Identity(vendor: 0x1b36, device: 0x000c, classCode: 0x060400),
        bars: [.memory(0, 4096)],
        portType: .rootPort,
        bridge: CardBridge(
            isHotPlug: true,
            forwardsARI: true,
            children: [CardProfile.packetSwitch(downstream: downstream).functions[0]]
        )
    )
    return CardProfile(name: "root port", functions: [port])
}

/// Eight such root ports on one host bridge.
func machine(_ behaviour: KernelBehaviour) throws -> Topology {
    let apertures = [
        AddressRange(first: 0x1000, size: 0xf000).map { Aperture(range: $0, flags: .io) },
        AddressRange(first: 0x8000_0000, size: 0x7000_0000).map { Aperture(range: $0, flags: .memory) },
        AddressRange(first: 1 << 40, size: 1 << 38).map { Aperture(range: $0, flags: .memory) },
    ].compactMap { $0 }
    let host = HostBridge(
        segment: 0,
        busRange: BusRange(first: BusNumber(0), last: BusNumber(0xff)) ?? BusRange(BusNumber(0)),
        apertures: apertures,
        source: .kernelLog
    )
    var platform = Platform()
    platform.hotPlugBuses = 1
    var twin = try LinuxTwin(
        hostBridges: [host],
        cards: (1...8).map { (0, rootPort($0)) },
        behaviour: behaviour,
        platform: platform
    )
    try twin.perform(.boot(platform))
    return try twin.topology()
}

func card(_ exponent: UInt64, kind: Int) -> CardProfile {
    let function = CardFunction(
        identity: Function.Identity(vendor: 0x10de, device: 0x2230, classCode: 0x03_0000),
        bars: [.memory(0, 16 << 20), .memory(1, 1 << exponent, is64Bit: true, isPrefetchable: true), .io(5, 128)],
        portType: .endpoint
    )
    guard kind == 1 else { return CardProfile(name: "card", functions: [function]) }
    let ports = (0..<2 as Range<UInt8>).map {
        CardProfile.downstreamPort(device: $0, isHotPlug: false, children: [function])
    }
    return .packetSwitch(name: "switch", downstream: ports)
}

let runs = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 5
/// Every case by itself.
let isDetailed = CommandLine.arguments.contains("--each")
for behaviour in KernelBehaviour.presets {
    let booted = try machine(behaviour)
    let ports = booted.functions.indices.filter { i in
        let function = booted.functions[i]
        return function.isHotPlugBridge && booted.children(of: i).isEmpty && function.bridge?.busRange != nil
    }
    var times: [Double] = []
    var verdicts: [String: Int] = [:]
    var worst = ""
    for (n, port) in ports.enumerated() {
        for kind in 0..<2 {
            for exponent: UInt64 in [28, 31, 34, 39] {
                var twin = try LinuxTwin(booted, behaviour: behaviour)
                let address = booted.functions[port].address
                try twin.perform(.hotAdd(port: address, card: card(exponent, kind: kind), method: .pciehp))
                let broken = try twin.topology()
                guard broken.findings().contains(where: { $0.severity == .problem }) else { continue }
                let clock = ContinuousClock()
                var own: [Double] = []
                for _ in 0..<runs {
                    let began = clock.now
                    let plan = try Planner(topology: broken, behaviour: behaviour).plan(goals: [.everythingRequired])
                    own.append(began.duration(to: clock.now) / .microseconds(1) / 1000)
                    if own.count == 1 { verdicts[plan.verdict.line, default: 0] += 1 }
                }
                own.sort()
                let time = own[own.count / 2]
                if isDetailed {
                    print("  port \(n) \(kind == 0 ? "card" : "switch") 2^\(exponent): \(Int(time * 10) / 10) ms")
                }
                if time >= times.max() ?? 0 {
                    worst = "2^\(exponent) bytes\(kind == 1 ? " twice behind a switch" : "") at port \(n)"
                }
                times.append(time)
            }
        }
    }
    times.sort()
    func show(_ position: Int) -> String {
        let tenths = Int(times[position] * 10 + 0.5)
        return "\(tenths / 10).\(tenths % 10) ms"
    }
    guard !times.isEmpty else { continue }
    print(
        "\(behaviour.name): \(booted.functions.count) functions, \(times.count) failed hot-adds, planning: median "
            + "\(show(times.count / 2)), nine of ten below \(show(times.count * 9 / 10)), longest \(show(times.count - 1)) "
            + "(\(worst))"
    )
    for (line, count) in verdicts.sorted(by: { $0.key < $1.key }) { print("  \(count) x \(line)") }
}
