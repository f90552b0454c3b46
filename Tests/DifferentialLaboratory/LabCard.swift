// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
internal import PCITopology
public import VMLaboratory

/// A card that QEMU can plug into a running machine, as QEMU and as a twin need it.
public struct LabCard: Sendable, Hashable, LosslessStringConvertible {
    /// What one function of the card is.
    public enum Part: Sendable, Hashable {
        /// `pci-testdev` with a 64-bit prefetchable BAR of the given size, or without one.
        case testDevice(MemorySize?)
        /// `edu`: 1 MiB of 32-bit memory.
        case edu
        /// `secondary-vga`: a 32-bit prefetchable BAR of the given size.
        case display(MemorySize)
        /// `e1000e`: four BARs and a ROM.
        case network
        /// `x3130-upstream`, a switch without downstream ports.
        case upstreamPort
        /// `pcie-pci-bridge` with nothing behind it.
        case bridge
    }

    /// The functions 0, 1, … of the card.
    public var parts: [Part]

    /// Creates a card.
    public init(_ parts: [Part]) { self.parts = parts }

    /// `testdev:16M`, `edu`, `vga:16M`, `e1000e`, `switch`, `bridge`; several functions joined by `+`.
    public init?(_ text: String) {
        var parts: [Part] = []
        for word in text.split(separator: "+", omittingEmptySubsequences: false) {
            let words = word.split(separator: ":", maxSplits: 1)
            let size =
                words.count == 2 ? ByteCount(parsing: String(words[1])).map { MemorySize(bytes: $0.rawValue) } : nil
            if words.count == 2, size == nil { return nil }
            switch (words.first, size) {
            case ("testdev", let size): parts.append(.testDevice(size))
            case ("edu", nil): parts.append(.edu)
            case ("vga", let size?): parts.append(.display(size))
            case ("e1000e", nil): parts.append(.network)
            case ("switch", nil): parts.append(.upstreamPort)
            case ("bridge", nil): parts.append(.bridge)
            default: return nil
            }
        }
        self.parts = parts
    }

    /// The form that `init(_:)` reads.
    public var description: String {
        parts.map { part in
            switch part {
            case .testDevice(nil): "testdev"
            case .testDevice(let size?): "testdev:\(size)"
            case .edu: "edu"
            case .display(let size): "vga:\(size)"
            case .network: "e1000e"
            case .upstreamPort: "switch"
            case .bridge: "bridge"
            }
        }.joined(separator: "+")
    }

    /// QEMU's name of one function of the card behind a port.
    static func name(_ part: Int, behind port: String) -> String { "\(port)-card\(part)" }

    /// The devices to plug, function 0 last: it is the one that makes the slot speak.
    func devices(behind port: String) -> [Device] {
        parts.indices.reversed().map { part in
            let name = Self.name(part, behind: port)
            let address = "0.\(part)"
            var device: Device
            switch parts[part] {
            case .testDevice(let size): device = .testDevice(name, memory: size, at: address)
            case .edu: device = .edu(name, at: address)
            case .display(let size): device = .display(name, memory: size, at: address)
            case .network: device = .networkCard(name, at: address)
            case .upstreamPort: device = Device("x3130-upstream", name, at: address)
            case .bridge: device = Device("pcie-pci-bridge", name, at: address)
            }
            if parts.count > 1, part == 0 { device = device.with("multifunction", .flag(true)) }
            return device
        }
    }

    /// The card as a twin needs it.
    public var profile: CardProfile {
        CardProfile(
            name: description,
            functions: parts.indices.map { part in
                var function = Self.function(parts[part])
                function.devfn = UInt8(truncatingIfNeeded: part)
                return function
            }
        )
    }

    private static func function(_ part: Part) -> CardFunction {
        func identity(_ vendor: UInt16, _ device: UInt16, _ classCode: UInt32) -> Function.Identity {
            Function.Identity(vendor: vendor, device: device, classCode: classCode)
        }
        switch part {
        case .testDevice(let size):
            var bars: [CardBAR] = [.memory(0, 4096), .io(1, 256)]
            if let size { bars.append(.memory(2, size.bytes, is64Bit: true, isPrefetchable: true)) }
            return CardFunction(identity: identity(0x1b36, 0x0005, 0x00ff00), bars: bars, portType: nil)
        case .edu:
            return CardFunction(
                identity: identity(0x1234, 0x11e8, 0x00ff00),
                bars: [.memory(0, 1 << 20)],
                portType: nil
            )
        case .display(let size):
            return CardFunction(
                identity: identity(0x1234, 0x1111, 0x038000),
                bars: [.memory(0, size.bytes, isPrefetchable: true), .memory(2, 4096)],
                portType: nil
            )
        case .network:
            return CardFunction(
                identity: identity(0x8086, 0x10d3, 0x020000),
                bars: [.memory(0, 0x20000), .memory(1, 0x20000), .io(2, 32), .memory(3, 0x4000)],
                romSize: 0x40000
            )
        case .upstreamPort:
            return CardFunction(
                identity: identity(0x104c, 0x8232, 0x060400),
                portType: .upstreamPort,
                bridge: CardBridge(),
                hasErrorReporting: true
            )
        case .bridge:
            return CardFunction(
                identity: identity(0x1b36, 0x000e, 0x060400),
                bars: [.memory(0, 256, is64Bit: true)],
                portType: .bridgeToPCI,
                bridge: CardBridge(),
                hasErrorReporting: true
            )
        }
    }
}

extension Device {
    /// A second display adapter: a 32-bit prefetchable BAR 0 of the given size, and BAR 2 of 4 KiB.
    static func display(_ identifier: String, memory: MemorySize, at address: String? = nil) -> Device {
        let size = Property("vgamem_mb", .number(memory.bytes >> 20))
        return Device("secondary-vga", identifier, at: address, properties: [size])
    }
}
