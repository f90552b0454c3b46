// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// QEMU's q35 machine as the laboratory boots it, with the firmware's values written by hand.
struct Q35 {
    var twin: LinuxTwin

    /// Host bridge, LPC, SATA and SMBus of an ICH9, and the given cards on the root bus.
    init(
        _ behaviour: KernelBehaviour = .linux6_1,
        memory: UInt64 = 0x4000_0000,
        commandLine: String? = nil,
        cards: [CardProfile]
    ) throws {
        let host = HostBridge(
            segment: 0,
            busRange: try #require(BusRange(first: BusNumber(0), last: BusNumber(0xff))),
            apertures: try Self.apertures(memory: memory),
            source: .kernelLog
        )
        let platform = Platform(architecture: "x86_64", commandLine: commandLine)
        twin = try LinuxTwin(
            hostBridges: [host],
            cards: ([.hostBridge, .southBridge] + cards).map { (0, $0) },
            behaviour: behaviour,
            platform: platform
        )
        program([0xfa], bars: [4: 0xe0c0, 5: 0xfea1_0000], command: 3)
        program([0xfb], bars: [4: 0x700], command: 1)
    }

    /// The apertures in the order of the firmware's list.
    static func apertures(memory: UInt64) throws -> [Aperture] {
        func io(_ first: UInt64, _ last: UInt64) throws -> Aperture {
            Aperture(range: try #require(AddressRange(first: first, last: last)), flags: .io)
        }
        func mem(_ first: UInt64, _ last: UInt64) throws -> Aperture {
            Aperture(range: try #require(AddressRange(first: first, last: last)), flags: .memory)
        }
        return [
            try io(0, 0xcf7), try io(0xd00, 0xffff), try mem(0xa0000, 0xbffff),
            try mem(memory, 0xafff_ffff), try mem(0xc000_0000, 0xfebf_ffff),
            try mem(0x1_0000_0000, 0x8_ffff_ffff),
        ]
    }

    /// Writes firmware's values into a function, named by the devfns from the root bus down.
    mutating func program(
        _ path: [UInt8],
        bars: [Int: UInt64] = [:],
        buses: (UInt8, UInt8, UInt8)? = nil,
        io: ClosedRange<UInt64>? = nil,
        mem: ClosedRange<UInt64>? = nil,
        pref: ClosedRange<UInt64>? = nil,
        command: UInt16 = 7
    ) {
        let device = hardware(path)
        guard device != none else { return }
        twin.state.registers[device].command = command
        for (bar, value) in bars { twin.state.registers[device].bars[bar] = value }
        guard twin.state.facts[device].headerLayout == 1 else { return }
        if let buses {
            twin.state.registers[device].primary = buses.0
            twin.state.registers[device].secondary = buses.1
            twin.state.registers[device].subordinate = buses.2
        }
        func write(_ offset: Int, _ value: UInt32) { _ = twin.state.writeRegister(device, at: offset, value) }
        func low(_ range: ClosedRange<UInt64>?) -> UInt32 {
            guard let range else { return 0xfff0 }
            return UInt32(range.lowerBound >> 16 & 0xfff0) | UInt32(range.upperBound & 0xfff0_0000)
        }
        write(0x1c, io.map { UInt32($0.lowerBound >> 8) | UInt32($0.upperBound >> 8 & 0xf0) << 8 } ?? 0xf0)
        write(0x20, low(mem))
        write(0x24, low(pref))
        write(0x28, UInt32((pref?.lowerBound ?? 0) >> 32))
        write(0x2c, UInt32((pref?.upperBound ?? 0) >> 32))
    }

    /// The function at the end of a path of devfns.
    func hardware(_ path: [UInt8]) -> Int32 {
        var level = twin.state.hosts[0].firstFunction
        var found = none
        for devfn in path {
            var this = level
            while this != none, twin.state.facts[this].devfn != devfn { this = twin.state.facts[this].nextSibling }
            found = this
            guard found != none else { return none }
            level = twin.state.facts[found].firstChild
        }
        return found
    }

    /// Starts the kernel.
    mutating func boot() throws { try twin.perform(.boot(twin.platform)) }

    /// Carries out operations one after the other; gives the events of the last.
    @discardableResult
    mutating func run(_ operations: TwinOperation...) throws -> [TwinEvent] {
        var events: [TwinEvent] = []
        for operation in operations { events = try twin.perform(operation) }
        return events
    }

    /// A resource as `first-last`, or `-` when its line is zero.
    func place(_ address: String, _ index: Int) throws -> String {
        let lines = try #require(twin.resourceLines(of: try at(address)), "no function at \(address)")
        let line = lines[index]
        return line.flags.isEmpty ? "-" : "\(bareHex(line.start))-\(bareHex(line.end))"
    }

    /// The windows of a bridge: I/O, memory, prefetchable.
    func windows(_ address: String) throws -> [String] { try (13...15).map { try place(address, $0) } }

    /// The same by the registers, closed ones as `-`.
    func registers(_ address: String) throws -> [String] {
        let topology = try twin.topology()
        let registers = try #require(topology[try at(address)]?.bridge?.registers)
        return [registers.io, registers.memory, registers.prefetchable].map {
            $0.range.map { "\(bareHex($0.first))-\(bareHex($0.last))" } ?? "-"
        }
    }

    /// The kernel's bus range of a bridge, `[01-03]`.
    func buses(_ address: String) throws -> String {
        guard let range = twin.busRange(of: try at(address)) else { return "-" }
        return "\(range.first)-\(range.last)"
    }

    func exists(_ address: String) throws -> Bool { twin.position(of: try at(address)) != nil }

    func at(_ text: String) throws -> FunctionAddress {
        try #require(FunctionAddress(parsing: text), "\(text) is no address")
    }
}

extension CardProfile {
    /// 00:00.0.
    static let hostBridge = CardProfile(
        name: "host bridge",
        functions: [
            CardFunction(
                devfn: 0,
                identity: Function.Identity(vendor: 0x8086, device: 0x29c0, classCode: 0x060000),
                portType: nil
            )
        ]
    )

    /// 00:1f.0, .2, .3.
    static let southBridge = CardProfile(
        name: "ICH9",
        functions: [
            CardFunction(
                devfn: 0xf8,
                identity: Function.Identity(vendor: 0x8086, device: 0x2918, classCode: 0x060100),
                portType: nil
            ),
            CardFunction(
                devfn: 0xfa,
                identity: Function.Identity(vendor: 0x8086, device: 0x2922, classCode: 0x010601),
                bars: [.io(4, 32), .memory(5, 4096)],
                portType: nil,
                driver: "ahci"
            ),
            CardFunction(
                devfn: 0xfb,
                identity: Function.Identity(vendor: 0x8086, device: 0x2930, classCode: 0x0c0500),
                bars: [.io(4, 64)],
                portType: nil
            ),
        ]
    )

    /// `pcie-root-port` at a device of the root bus.
    static func rootPort(_ device: UInt8, isHotPlug: Bool = true, _ children: [CardFunction] = []) -> CardProfile {
        CardProfile(
            name: "root port",
            functions: [
                CardFunction(
                    devfn: device << 3,
                    identity: Function.Identity(vendor: 0x1b36, device: 0x000c, classCode: 0x060400),
                    bars: [.memory(0, 4096)],
                    portType: .rootPort,
                    bridge: CardBridge(isHotPlug: isHotPlug, forwardsARI: true, children: children)
                )
            ]
        )
    }

    /// `pci-testdev` with `membar`.
    static func testDevice(_ size: UInt64) -> CardProfile {
        CardProfile(name: "testdev", functions: [.testDevice(size)])
    }
}

extension CardFunction {
    /// `pci-testdev`: BAR 0 4 KiB, BAR 1 256 bytes of I/O, BAR 2 prefetchable 64-bit memory.
    static func testDevice(_ size: UInt64, device: UInt8 = 0) -> CardFunction {
        var bars: [CardBAR] = [.memory(0, 4096), .io(1, 256)]
        if size > 0 { bars.append(.memory(2, size, is64Bit: true, isPrefetchable: true)) }
        return CardFunction(
            devfn: device << 3,
            identity: Function.Identity(vendor: 0x1b36, device: 0x0005, classCode: 0x00ff00),
            bars: bars,
            portType: nil
        )
    }

    /// `x3130-upstream`.
    static func upstream(_ children: [CardFunction]) -> CardFunction {
        CardFunction(
            identity: Function.Identity(vendor: 0x104c, device: 0x8232, classCode: 0x060400),
            portType: .upstreamPort,
            bridge: CardBridge(children: children)
        )
    }

    /// `xio3130-downstream`.
    static func downstream(_ device: UInt8, isHotPlug: Bool = true, _ children: [CardFunction] = []) -> CardFunction {
        CardFunction(
            devfn: device << 3,
            identity: Function.Identity(vendor: 0x104c, device: 0x8233, classCode: 0x060400),
            portType: .downstreamPort,
            bridge: CardBridge(isHotPlug: isHotPlug, forwardsARI: true, children: children)
        )
    }
}

/// Mebibytes.
func mib(_ count: UInt64) -> UInt64 { count << 20 }
