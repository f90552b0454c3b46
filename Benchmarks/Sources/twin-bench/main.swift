// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology

/// What the twin costs on a tree of at least 4,096 functions: the median of some runs of each operation, per kernel.
///
///     twin-bench [RUNS]

/// One root port with a switch of `ports` downstream ports, each with an endpoint of eight functions.
func rootPort(_ device: UInt8, ports: UInt8) -> CardProfile {
    func endpoint(_ function: UInt8) -> CardFunction {
        CardFunction(
            devfn: function,
            identity: Function.Identity(vendor: 0x1234, device: 1, classCode: 0x020000),
            bars: [
                .memory(0, 1 << 14), .io(1, 32),
                .memory(2, 1 << (16 + UInt64(function)), is64Bit: true, isPrefetchable: true),
            ],
            romSize: function == 0 ? 0x10000 : 0
        )
    }
    let downstream = (0..<ports).map { slot in
        CardProfile.downstreamPort(device: slot, isHotPlug: slot % 2 == 0, children: (0..<8).map(endpoint))
    }
    let upstream = CardProfile.packetSwitch(downstream: downstream).functions[0]
    let port = CardFunction(
        devfn: device,
        identity: Function.Identity(vendor: 0x1b36, device: 0x000c, classCode: 0x060400),
        bars: [.memory(0, 4096)],
        portType: .rootPort,
        bridge: CardBridge(isHotPlug: true, forwardsARI: true, children: [upstream])
    )
    return CardProfile(name: "root port", functions: [port])
}

/// Three segments, each with its own apertures and thirty root ports.
func machine(_ behaviour: KernelBehaviour) throws -> LinuxTwin {
    var hosts: [HostBridge] = []
    var cards: [(host: Int, card: CardProfile)] = []
    for segment in 0..<3 as Range<UInt32> {
        let base = UInt64(segment)
        let apertures = [
            AddressRange(first: 0x1000 + base * 0x5000, size: 0x5000).map { Aperture(range: $0, flags: .io) },
            AddressRange(first: 0x8000_0000 + base << 28, size: 1 << 28).map { Aperture(range: $0, flags: .memory) },
            AddressRange(first: 1 << 40 + base << 38, size: 1 << 38).map { Aperture(range: $0, flags: .memory) },
        ].compactMap { $0 }
        hosts.append(
            HostBridge(
                segment: segment,
                busRange: BusRange(first: BusNumber(0), last: BusNumber(0xff)) ?? BusRange(BusNumber(0)),
                apertures: apertures,
                source: .kernelLog
            )
        )
        for port in 0..<30 as Range<UInt8> {
            cards.append((Int(segment), rootPort((port + 1) << 3, ports: 5)))
        }
    }
    var platform = Platform()
    platform.hotPlugBuses = 1
    var twin = try LinuxTwin(hostBridges: hosts, cards: cards, behaviour: behaviour, platform: platform)
    twin.recordsEvents = false
    try twin.perform(.boot(platform))
    return twin
}

func median(_ runs: Int, _ body: () throws -> Void) rethrows -> Double {
    let clock = ContinuousClock()
    var times: [Double] = []
    for _ in 0..<runs {
        let began = clock.now
        try body()
        times.append(began.duration(to: clock.now) / .microseconds(1) / 1000)
    }
    times.sort()
    return times[times.count / 2]
}

func show(_ milliseconds: Double) -> String {
    let hundredths = Int(milliseconds * 100 + 0.5)
    let digits = "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
    return String(repeating: " ", count: max(0, 9 - digits.count)) + digits
}

let runs = CommandLine.arguments.count > 1 ? max(1, Int(CommandLine.arguments[1]) ?? 21) : 21
for behaviour in KernelBehaviour.presets {
    let booted = try machine(behaviour)
    let topology = try booted.topology()
    print("\(behaviour.name): \(topology.functions.count) functions, medians of \(runs) in ms")
    let ports = topology.functions.filter { $0.parent == nil }.map(\.address)
    // A copy shares its tables until the first write: what copying costs is part of every operation here, as it is in a
    // search.
    let idle = try median(runs) {
        var twin = booted
        try twin.perform(.rescan)
    }
    let one = try median(runs) {
        var twin = booted
        try twin.perform(.remove(ports[7]))
        try twin.perform(.rescan)
    }
    let all = try median(runs) {
        var twin = booted
        for port in ports { try twin.perform(.remove(port)) }
        try twin.perform(.rescan)
    }
    let boot = try median(runs) {
        var twin = booted
        try twin.perform(.boot(booted.platform))
    }
    let out = try median(runs) { _ = try booted.topology() }
    let into = try median(runs) { _ = try LinuxTwin(topology, behaviour: behaviour) }
    print("  \(show(idle))  global rescan, nothing to do")
    print("  \(show(one))  one root port of 47 functions removed, global rescan")
    print("  \(show(all))  everything removed, global rescan finds and places it all")
    print("  \(show(boot))  boot")
    print("  \(show(into))  twin from a topology")
    print("  \(show(out))  topology from a twin")
}
