// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// Windows that have to be larger than what is below them for a while.
///
///     00:02.0 -> 01:00.0 -+- 02:00.0 -> 03:00.0 4 GiB, 03:00.1 16 KiB
///     00:1f.0, protected  `- 02:01.0 -> 04:00.0 4 GiB, 04:00.1 16 KiB
@Suite("slack in windows", .enabled(if: !oracleWords.isEmpty))
struct SlackTests {
    private static func large(_ device: UInt8, exponent: UInt64) -> CardFunction {
        let identity = Function.Identity(vendor: 0x1b36, device: 5, classCode: 0x00ff00)
        return CardFunction(
            devfn: device << 3,
            identity: Function.Identity(vendor: 0x104c, device: 0x8233, classCode: 0x060400),
            portType: .downstreamPort,
            bridge: CardBridge(
                isHotPlug: true,
                children: [
                    CardFunction(
                        devfn: 0,
                        identity: identity,
                        bars: [
                            .memory(0, 4096), .io(1, 256),
                            .memory(2, 1 << exponent, is64Bit: true, isPrefetchable: true),
                        ],
                        portType: .endpoint
                    ),
                    CardFunction(
                        devfn: 1,
                        identity: identity,
                        bars: [.memory(1, 4096), .memory(4, 0x4000, is64Bit: true, isPrefetchable: true)],
                        portType: .endpoint,
                        driver: "virtio-pci"
                    ),
                ]
            )
        )
    }

    /// The machine as SeaBIOS leaves it, after the root port was removed and found again.
    private func machine(_ behaviour: KernelBehaviour, exponent: UInt64) throws -> Topology {
        let port = CardFunction(
            devfn: 2 << 3,
            identity: Function.Identity(vendor: 0x1b36, device: 0x000c, classCode: 0x060400),
            bars: [.memory(0, 4096)],
            portType: .rootPort,
            bridge: CardBridge(
                isHotPlug: true,
                children: [
                    CardFunction(
                        identity: Function.Identity(vendor: 0x104c, device: 0x8232, classCode: 0x060400),
                        portType: .upstreamPort,
                        bridge: CardBridge(
                            children: [
                                Self.large(0, exponent: exponent), Self.large(1, exponent: exponent),
                            ]
                        )
                    )
                ]
            )
        )
        let platformDevice = CardFunction(
            devfn: 0x1f << 3,
            identity: Function.Identity(vendor: 0x8086, device: 0x2918, classCode: 0x060100),
            bars: [.memory(5, 4096)],
            portType: nil
        )
        let apertures = [
            AddressRange(first: 0x0d00, last: 0xffff).map { Aperture(range: $0, flags: .io) },
            AddressRange(first: 0x4000_0000, last: 0xafff_ffff).map { Aperture(range: $0, flags: .memory) },
            AddressRange(first: 0x1_0000_0000, last: 0x8_ffff_ffff).map { Aperture(range: $0, flags: .memory) },
        ]
        let host = HostBridge(
            segment: 0,
            busRange: try #require(BusRange(first: BusNumber(0), last: BusNumber(255))),
            apertures: apertures.compactMap { $0 },
            source: .kernelLog
        )
        let platform = Platform(architecture: "x86_64", commandLine: nil)
        var twin = try LinuxTwin(
            hostBridges: [host],
            cards: [port, platformDevice].map { (0, CardProfile(name: "card", functions: [$0])) },
            behaviour: behaviour,
            platform: platform
        )
        try twin.perform(.boot(platform))
        let firmware = SeaBIOSPolicy().allocate(ResourceDemand(try twin.topology()))
        twin = try LinuxTwin(try firmware.applied(to: twin.topology()), behaviour: behaviour, platform: platform)
        try twin.perform(.boot(platform))
        let root = try #require(FunctionAddress(parsing: "0000:00:02.0"))
        try twin.perform(.remove(root))
        try twin.perform(.rescanBus(segment: 0, bus: BusNumber(0)))
        var topology = try twin.topology()
        topology.update(try #require(FunctionAddress(parsing: "0000:00:1f.0"))) {
            $0.use.evidence.append(
                UseEvidence(code: "platform", detail: "it is the ISA bridge", isProtected: true, weight: 1000)
            )
        }
        return topology
    }

    @Test("two large BARs behind one switch come back, nothing beside the port is touched", arguments: [31, 32, 33])
    func twoLarge(exponent: UInt64) throws {
        let behaviour = try #require(KernelBehaviour.presets.first { $0.name == "linux-7.2" })
        let topology = try machine(behaviour, exponent: exponent)
        let lost = topology.findings().contains { $0.severity == .problem }
        #expect(lost, "this kernel leaves room for one of the two")
        let plan = try Planner(topology: topology, behaviour: behaviour).plan(goals: [.everythingRequired])
        #expect(plan.verdict.answer == .act && plan.verdict.reason != "partly", "\(plan.verdict.line)")
        #expect(plan.proof == .optimal)
        let endpoints = Set(plan.disturbed.filter { $0.weight > 0 }.map(\.address.description))
        #expect(endpoints == ["0000:03:00.0", "0000:03:00.1", "0000:04:00.0", "0000:04:00.1"])
        let after = try Planner(topology: topology, behaviour: behaviour).topology(after: plan)
        #expect(after.findings().allSatisfy { $0.severity == .note })
    }
}
