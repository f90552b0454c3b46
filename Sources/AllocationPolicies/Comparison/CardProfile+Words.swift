// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

// Cards by a word: a name of `named`, or a family with an argument.
extension CardProfile {
    /// The families that `init(word:)` reads beside `named`, with what each stands for.
    public static let families: [(word: String, meaning: String)] = [
        ("testdev:SIZE", "QEMU's pci-testdev: 4K memory, 256 bytes I/O, SIZE prefetchable"),
        ("gpu:SIZE", "a display card: 16M memory, SIZE and 32M prefetchable, 128 bytes I/O, and a sound function"),
        ("pci-bridge", "a PCIe-to-PCI bridge with nothing behind it"),
        ("switch:N", "a switch with N hot-plug downstream ports"),
        ("mem:S,pref:S,io:S", "one function with a BAR of each kind that is given"),
    ]

    /// Every word that `init(word:)` reads, as a list for messages.
    public static var words: String { (named.map(\.name) + families.map(\.word)).joined(separator: ", ") }

    /// The card that `word` names: `nvme`, `gpu-16g`, `testdev:1G`, `pci-bridge`, `switch:4`, `mem:16M,pref:1G,io:256`.
    ///
    /// Sizes are powers of two.
    /// - Throws: `CardWordError` for a word that is none of these.
    public init(word: String) throws(CardWordError) {
        if let known = CardProfile.named(word) {
            self = known
            return
        }
        let parts = word.split(separator: ":", maxSplits: 1).map(String.init)
        let argument = parts.count == 2 ? parts[1] : nil
        switch (parts.first ?? "", argument) {
        case ("testdev", let size): self = .testDevice(word, try Self.size(size, of: word))
        case ("gpu", let size): self = .gpu(word, try Self.size(size, of: word))
        case ("pci-bridge", nil): self = .bridgeToPCI(word)
        case ("switch", let count):
            guard let ports = count.flatMap({ UInt8($0) }), (1...32).contains(ports) else {
                throw CardWordError("expected switch:N with 1 to 32 ports, found \(word)")
            }
            self = .packetSwitch(
                name: word,
                downstream: (0..<ports).map { CardProfile.downstreamPort(device: $0, isHotPlug: true) }
            )
        case ("mem", _), ("pref", _), ("io", _): self = try Self.card(listing: word)
        default: throw CardWordError("expected a card (\(Self.words)), found \(word)")
        }
    }

    private static func testDevice(_ name: String, _ size: UInt64) -> CardProfile {
        CardProfile(
            name: name,
            functions: [
                CardFunction(
                    identity: Function.Identity(vendor: 0x1b36, device: 0x0005, classCode: 0x00ff00),
                    bars: [
                        .memory(0, 4096), .io(1, 256), .memory(2, size, is64Bit: true, isPrefetchable: true),
                    ],
                    portType: nil
                )
            ]
        )
    }

    private static func bridgeToPCI(_ name: String) -> CardProfile {
        CardProfile(
            name: name,
            functions: [
                CardFunction(
                    identity: Function.Identity(vendor: 0x1b36, device: 0x000e, classCode: 0x060400),
                    bars: [.memory(0, 256, is64Bit: true)],
                    portType: .bridgeToPCI,
                    bridge: CardBridge()
                )
            ]
        )
    }

    private static func card(listing word: String) throws(CardWordError) -> CardProfile {
        var sizes: [String: UInt64] = [:]
        for part in word.split(separator: ",") {
            let pair = part.split(separator: ":", maxSplits: 1).map(String.init)
            guard pair.count == 2, ["mem", "pref", "io"].contains(pair[0]), sizes[pair[0]] == nil else {
                throw CardWordError("expected mem:SIZE, pref:SIZE or io:SIZE once each, found \(part)")
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

    private static func size(_ text: String?, of word: String) throws(CardWordError) -> UInt64 {
        guard let text, let size = ByteCount(parsing: text)?.rawValue, size > 0, size & (size - 1) == 0 else {
            throw CardWordError("expected a size that is a power of two in \(word), for example 256M")
        }
        return size
    }
}

/// Why a word names no card.
public struct CardWordError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A lower-case sentence with what was expected and found.
    public let description: String

    init(_ description: String) { self.description = description }
}
