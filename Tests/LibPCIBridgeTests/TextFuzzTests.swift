// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import LibPCIBridge
import PCITopology
import TestSupport
import Testing

/// Damaged texts: every reader must come to an end, without a trap, whatever it is given.
///
/// `FUZZ_INPUTS` sets the number of inputs for each reader; 300 without it.
@Suite struct TextFuzzTests {
    /// A generator of its own, so that a failing input can be found again.
    private struct Random {
        var numbers: SplitMix64
        mutating func next() -> UInt64 { numbers.next() }
        mutating func below(_ n: Int) -> Int { n <= 0 ? 0 : Int(next() % UInt64(n)) }
    }

    private static let inputs = ProcessInfo.processInfo.environment["FUZZ_INPUTS"].flatMap { Int($0) } ?? 300

    private static let pieces: [[UInt8]] = [
        "ffffffffffffffff", "0x", "-", "[", "]", "(", ")", "00000000000000000000", "18446744073709551615",
        "99999999999999999999",
        "[bus ff-00]", "[bus 00-ff]", "[mem 0xffffffffffffffff-0x0]", "[mem size 0xffffffffffffffff 64bit pref]",
        "[io  0x-0x]",
        " : ", "\n", "\t", "\r\n", "\u{a0}", "ffff:ff:1f.7", "10000:e0:06.0", "BAR 16", "VF BAR 9", "subordinate=00",
        "[size=99999999999999999T]", "[size=1T]", "00: ", "fff0: ff", "PCI bridge to [bus 01-00]",
        "type 01 class 0x060400",
    ].map { Array($0.utf8) }

    private func seeds() -> [[UInt8]] {
        var result: [[UInt8]] = []
        for name in (try? TextFixtures.machines()) ?? [] {
            for path in TextFixtures.paths(name) {
                if let data = FileManager.default.contents(atPath: path) { result.append([UInt8](data)) }
            }
        }
        if let data = FileManager.default.contents(
            atPath: TextFixtures.directory.appendingPathComponent("triage/samples.txt").path
        ) {
            result.append([UInt8](data))
        }
        result.append(
            Array(
                "80000000-febfffff : PCI Bus 0000:00\n  90000000-9fffffff : PCI Bus 0000:01\n    90000000-90ffffff : nvme\n"
                    .utf8
            )
        )
        var hex = "00:00.0 Host bridge\n"
        for row in 0..<256 {
            let offset = bareHex(UInt64(row * 16), width: 2)
            let bytes = (0..<16).map { bareHex(UInt64((row * 7 + $0 * 13) & 0xff), width: 2) }.joined(separator: " ")
            hex += "\(offset): \(bytes)\n"
        }
        result.append(Array(hex.utf8))
        return result
    }

    private func damaged(_ seed: [UInt8], _ random: inout Random) -> [UInt8] {
        // A window of the seed keeps inputs small and reaches every part of it.
        let start = random.below(seed.count)
        var bytes = Array(seed[start..<min(seed.count, start + 1 + random.below(1500))])
        for _ in 0..<(1 + random.below(8)) {
            guard !bytes.isEmpty else { break }
            let at = random.below(bytes.count)
            switch random.below(6) {
            case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
            case 1: bytes.remove(at: at)
            case 2: bytes.insert(contentsOf: Self.pieces[random.below(Self.pieces.count)], at: at)
            case 3: bytes.removeSubrange(at..<min(bytes.count, at + random.below(40)))
            case 4:
                let part = Array(bytes[at..<min(bytes.count, at + random.below(80))])
                bytes.insert(contentsOf: part, at: random.below(bytes.count))
            default:
                // A digit for a digit keeps the form and changes the meaning.
                if let digit = "0123456789abcdef".utf8.randomElement(at: random.below(16)) { bytes[at] = digit }
            }
        }
        return bytes
    }

    @Test func textsNeverTrap() {
        let seeds = seeds()
        #expect(seeds.count > 20)
        var random = Random(numbers: SplitMix64(state: 20_26_11_21))
        var topologies = 0
        var slowest = Duration.zero
        let clock = ContinuousClock()
        for i in 0..<Self.inputs {
            let bytes = damaged(seeds[i % seeds.count], &random)
            let time = clock.measure {
                let evidence = TextEvidence(bytes: bytes)
                if let topology = try? evidence.topology() {
                    topologies += 1
                    _ = Contradictions(topology).findings.count
                }
            }
            slowest = max(slowest, time)
        }
        print("fuzz: \(Self.inputs) texts, \(topologies) topologies, slowest \(slowest)")
        #expect(topologies > 0)
        #expect(slowest < .seconds(2))
    }

    @Test func logsNeverTrap() {
        let seeds = seeds()
        var random = Random(numbers: SplitMix64(state: 7))
        var groups = 0
        for i in 0..<Self.inputs {
            let triage = Triage(bytes: damaged(seeds[i % seeds.count], &random))
            groups += triage.groups.count
            _ = triage.lines()
        }
        #expect(groups > 0)
    }

    @Test func iomemNeverTraps() {
        var random = Random(numbers: SplitMix64(state: 11))
        let seed = seeds()
        var nodes = 0
        for i in 0..<Self.inputs {
            let text = IomemText(bytes: damaged(seed[i % 2 == 0 ? seed.count - 2 : i % seed.count], &random))
            nodes += text.nodes.count
            for (j, node) in text.nodes.enumerated() {
                if let parent = node.parent { #expect(parent < j && text.nodes[parent].range.contains(node.range)) }
            }
        }
        #expect(nodes > 0)
    }

    @Test func commandLinesNeverTrap() {
        var random = Random(numbers: SplitMix64(state: 13))
        let seed = Array(
            "pci=realloc=on,hpmmiosize=64M,hpbussize=0x33,resource_alignment=35@0000:03:00.0;12@pci:8086:9c22 pcie_ports=native"
                .utf8
        )
        var words = 0
        for _ in 0..<Self.inputs {
            words += BootWords(String(decoding: damaged(seed, &random), as: UTF8.self)).words.count
        }
        #expect(words > 0)
    }
}

extension String.UTF8View {
    fileprivate func randomElement(at offset: Int) -> UInt8? {
        offset < count ? self[index(startIndex, offsetBy: offset)] : nil
    }
}

extension TextFuzzTests {
    /// Texts that are well formed and absurd: many thousand of what a machine has a few of.
    @Test(arguments: ["roots", "iomem", "windows", "functions", "released"])
    func absurdTextsAreReadToTheirEnd(_ kind: String) {
        let count = 4_000
        var text = ""
        for i in 0..<count {
            let bus = "\(bareHex(UInt64(i / 256), width: 4)):\(bareHex(UInt64(i % 256), width: 2))"
            switch kind {
            case "roots":
                text +=
                    "pci_bus \(bus): root bus resource [mem 0x80000000-0x8fffffff window] (bus address [0x0-0xfffffff])\n"
                text += "pci \(bus):00.0: reg 0x10: [mem 0x80000000-0x80000fff]\n"
            case "iomem": text += String(repeating: " ", count: 10) + "80000000-8fffffff : PCI Bus \(bus)\n"
            case "windows":
                text += "pci \(bus):00.0: PCI bridge to [bus 00-ff]\n"
                text += "pci \(bus):00.0: bridge window [mem size 0x100000]: can't assign; no space\n"
            case "functions":
                text +=
                    "\(bus):00.0 PCI bridge: x\n\tBus: primary=00, secondary=\(bareHex(UInt64(i % 255 + 1), width: 2)), "
                text += "subordinate=ff, sec-latency=0\n\tMemory behind bridge: 80000000-8fffffff [size=256M]\n"
            default:
                text += "pci \(bus):00.0: [8086:1234] type 00 class 0x020000\n"
                text += "pci_bus \(bus): busn_res: [bus \(bareHex(UInt64(i % 256), width: 2))] is released\n"
            }
        }
        let evidence = TextEvidence(text)
        #expect(evidence.lineCounts.total >= count)
        let answer = Triage(evidence).lines()
        #expect(!answer.isEmpty)
        // Thousands of root buses make a topology as well; the readers' part is the text.
        if kind != "roots", kind != "functions", kind != "windows" { _ = try? evidence.topology() }
    }
}
