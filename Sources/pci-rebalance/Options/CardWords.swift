// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology

/// Cards by name, or by what they ask for: `nvme`, `gpu-16g`, `testdev:1G`, `pci-bridge`, `mem:16M,pref:1G,io:256`.
enum CardWords {
    /// The names with what they stand for, for help texts.
    static let names: [(name: String, meaning: String)] = [
        ("testdev:SIZE", "QEMU's pci-testdev: 4K memory, 256 bytes I/O, SIZE prefetchable"),
        ("gpu:SIZE", "a display card: 16M memory, SIZE and 32M prefetchable, 128 bytes I/O"),
        ("pci-bridge", "a PCIe-to-PCI bridge with nothing behind it"),
        ("switch:N", "a switch with N hot-plug downstream ports"),
        ("mem:S,pref:S,io:S", "one function with a BAR of each kind that is given"),
    ]

    /// Everything that may be said, as a list for messages.
    static var all: String { (CardProfile.named.map(\.name) + names.map(\.name)).joined(separator: ", ") }

    /// The card that `word` names.
    static func card(_ word: String) throws(CommandEnd) -> CardProfile {
        if let known = CardProfile.named(word) { return known }
        let parts = word.split(separator: ":", maxSplits: 1).map(String.init)
        let argument = parts.count == 2 ? parts[1] : nil
        switch parts.first ?? "" {
        case "testdev":
            let size = try size(argument, of: word)
            return CardProfile(
                name: word,
                functions: [
                    CardFunction(
                        identity: Function.Identity(vendor: 0x1b36, device: 0x0005, classCode: 0x00ff00),
                        bars: [
                            .memory(0, 4096), .io(1, 256),
                            .memory(2, size, is64Bit: true, isPrefetchable: true),
                        ],
                        portType: nil
                    )
                ]
            )
        case "gpu":
            let size = try size(argument, of: word)
            return CardProfile(
                name: word,
                functions: [
                    CardFunction(
                        identity: Function.Identity(vendor: 0x1234, device: 0x0002, classCode: 0x030000),
                        bars: [
                            .memory(0, 16 << 20), .memory(1, size, is64Bit: true, isPrefetchable: true),
                            .memory(3, 32 << 20, is64Bit: true, isPrefetchable: true), .io(5, 128),
                        ]
                    )
                ]
            )
        case "pci-bridge" where argument == nil:
            return CardProfile(
                name: word,
                functions: [
                    CardFunction(
                        identity: Function.Identity(vendor: 0x1b36, device: 0x000e, classCode: 0x060400),
                        bars: [.memory(0, 256, is64Bit: true)],
                        portType: .bridgeToPCI,
                        bridge: CardBridge()
                    )
                ]
            )
        case "switch":
            guard let argument, let ports = UInt8(argument), (1...32).contains(ports) else {
                throw CommandEnd(.usage, "expected switch:N with 1 to 32 ports, found \(word)")
            }
            return .packetSwitch(
                name: word,
                downstream: (0..<ports).map { CardProfile.downstreamPort(device: $0, isHotPlug: true) }
            )
        case "mem", "pref", "io":
            return try card(listing: word)
        default:
            throw CommandEnd(
                .usage,
                "expected a card (\(all)), found \(word)"
            )
        }
    }

    private static func card(listing word: String) throws(CommandEnd) -> CardProfile {
        var sizes: [String: UInt64] = [:]
        for part in word.split(separator: ",") {
            let pair = part.split(separator: ":", maxSplits: 1).map(String.init)
            guard pair.count == 2, ["mem", "pref", "io"].contains(pair[0]), sizes[pair[0]] == nil else {
                throw CommandEnd(.usage, "expected mem:SIZE, pref:SIZE or io:SIZE once each, found \(part)")
            }
            sizes[pair[0]] = try size(pair[1], of: String(part))
        }
        return .endpoint(
            name: word,
            memory: sizes["mem"] ?? 0,
            prefetchable: sizes["pref"] ?? 0,
            io: sizes["io"] ?? 0
        )
    }

    private static func size(_ text: String?, of word: String) throws(CommandEnd) -> UInt64 {
        guard let text, let size = ByteCount(parsing: text)?.rawValue, size > 0, size & (size - 1) == 0 else {
            throw CommandEnd(.usage, "expected a size that is a power of two in \(word), for example 256M")
        }
        return size
    }
}
