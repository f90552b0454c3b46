// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import TestSupport

/// Random machines whose firmware gave too few bus numbers to what is below some root ports; the same for the same seed.
///
/// Root ports with cards, switches, switches behind switches and conventional bridges. Firmware's ranges are right but for
/// one or two root ports, whose last number is too low; the kernel then boots over these registers. In every third machine
/// firmware counts on from that last number, so that the next root port gets one that is in use inside, and what is behind
/// it answers elsewhere.
struct HiddenTree {
    let twin: LinuxTwin
    /// The functions that no reading shows.
    let hidden: Int
    /// The machine as it would be with the right numbers.
    let whole: Topology
    /// All functions.
    var count: Int { whole.functions.count }

    /// The machine of a seed; nil where nothing is hidden.
    init?(seed: UInt64, behaviour: KernelBehaviour) throws {
        var chance = SplitMix64(state: seed &* 0x9e37_79b9_7f4a_7c15)
        let ports = 2 + chance.below(2)
        let starved = 1 + chance.below(ports)
        var cards: [CardProfile] = []
        for device in 1...ports {
            let inside = device == starved ? Self.packetSwitch(&chance, depth: 1) : Self.inside(&chance, depth: 0)
            let port = CardFunction(
                devfn: UInt8(device) << 3,
                identity: Function.Identity(vendor: 0x1b36, device: 0x000c, classCode: 0x060400),
                bars: [.memory(0, 4096)],
                portType: .rootPort,
                bridge: CardBridge(isHotPlug: true, children: inside)
            )
            cards.append(CardProfile(name: "port", functions: [port]))
        }
        let platform = Platform(architecture: "x86_64", commandLine: nil)
        var twin = try LinuxTwin(
            hostBridges: [Self.host()],
            cards: cards.map { (0, $0) },
            behaviour: behaviour,
            platform: platform
        )
        try twin.perform(.boot(platform))
        whole = try twin.topology()
        for i in whole.roots(of: 0) {
            guard let range = whole.functions[i].bridge?.busRange, range.count > 1 else { continue }
            guard whole.functions[i].address.device == UInt8(starved) || chance.below(3) == 0 else { continue }
            let last = range.first.rawValue + UInt8(chance.below(range.count - 1))
            try twin.perform(
                .setBusNumbers(
                    whole.functions[i].address,
                    primary: BusNumber(0),
                    secondary: range.first,
                    subordinate: BusNumber(last)
                )
            )
        }
        if seed % 3 == 0 {
            let roots = whole.roots(of: 0)
            for (i, next) in zip(roots, roots.dropFirst()) {
                guard let claimed = twin.register(of: whole.functions[i].address, at: 0x1a, width: 1), claimed < 255,
                    let range = whole.functions[i].bridge?.busRange, claimed < UInt32(range.last.rawValue)
                else { continue }
                let number = BusNumber(UInt8(claimed + 1))
                try twin.perform(
                    .setBusNumbers(
                        whole.functions[next].address,
                        primary: BusNumber(0),
                        secondary: number,
                        subordinate: number
                    )
                )
                break
            }
        }
        try twin.perform(.boot(platform))
        hidden = twin.unknownFunctionCount
        guard hidden > 0 else { return nil }
        self.twin = twin
    }

    private static func host() -> HostBridge {
        func aperture(_ first: UInt64, _ last: UInt64, _ flags: ResourceFlags) -> Aperture? {
            AddressRange(first: first, last: last).map { Aperture(range: $0, flags: flags) }
        }
        return HostBridge(
            segment: 0,
            busRange: BusRange(first: BusNumber(0), last: BusNumber(255)) ?? BusRange(BusNumber(0)),
            apertures: [
                aperture(0x1000, 0xffff, .io), aperture(0x4000_0000, 0xafff_ffff, .memory),
                aperture(0xc000_0000, 0xfebf_ffff, .memory), aperture(0x1_0000_0000, 0x8_ffff_ffff, .memory),
            ].compactMap { $0 },
            source: .kernelLog
        )
    }

    private static func inside(_ chance: inout SplitMix64, depth: Int) -> [CardFunction] {
        switch chance.below(10) {
        case 0...2: []
        case 3...5 where depth < 3: packetSwitch(&chance, depth: depth + 1)
        default: [endpoint(&chance)]
        }
    }

    private static func packetSwitch(_ chance: inout SplitMix64, depth: Int) -> [CardFunction] {
        let ports = (0..<UInt8(2 + chance.below(3))).map { number in
            CardFunction(
                devfn: number << 3,
                identity: Function.Identity(vendor: 0x104c, device: 0x8233, classCode: 0x060400),
                portType: .downstreamPort,
                bridge: CardBridge(isHotPlug: true, children: inside(&chance, depth: depth))
            )
        }
        return [
            CardFunction(
                identity: Function.Identity(vendor: 0x104c, device: 0x8232, classCode: 0x060400),
                portType: .upstreamPort,
                bridge: CardBridge(children: ports)
            )
        ]
    }

    private static func endpoint(_ chance: inout SplitMix64) -> CardFunction {
        CardFunction(
            identity: Function.Identity(vendor: 0x1b36, device: 5, classCode: 0x00_ff00),
            bars: [
                .memory(0, 4096),
                .memory(2, 1 << UInt64(20 + chance.below(7)), is64Bit: true, isPrefetchable: true),
            ],
            portType: .endpoint,
            driver: chance.below(2) == 0 ? "driver" : nil
        )
    }
}
