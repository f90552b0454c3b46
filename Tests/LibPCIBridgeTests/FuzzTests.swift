// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import LibPCIBridge
import PCITopology
import TestSupport
import Testing

/// Changes that are the same in every run.
private struct Mutator {
    var numbers: SplitMix64

    mutating func next(_ bound: Int) -> Int { Int(numbers.next() % UInt64(max(bound, 1))) }

    /// A few bytes changed, taken out, doubled or moved.
    mutating func mutate(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0...next(4) where !bytes.isEmpty {
            let i = next(bytes.count)
            let length = min(1 + next(next(2) == 0 ? 4 : 64), bytes.count - i)
            switch next(5) {
            case 0: bytes[i] = UInt8(next(256))
            case 1: bytes[i] ^= 1 << UInt8(next(8))
            case 2: bytes.removeSubrange(i..<(i + length))
            case 3: bytes.insert(contentsOf: bytes[i..<(i + length)], at: next(bytes.count))
            default: bytes[i] = Array("0f:.-{}[]\"\n, ".utf8)[next(13)]
            }
        }
        return bytes
    }
}

/// How many inputs each reader gets: a few by default, `PCI_REBALANCE_FUZZ=1000000 swift test --filter Fuzz` for long.
private let rounds = getenv("PCI_REBALANCE_FUZZ").flatMap { Int(String(cString: $0)) } ?? 150

@Suite("Damaged input: an error or a tree, never a trap")
struct FuzzTests {
    @Test("snapshots")
    func snapshots() throws {
        let bytes = try SnapshotFile.encode(Fixtures.record("three-root-ports-6.1/boot"))
        var mutator = Mutator(numbers: SplitMix64(state: 1))
        var errors = 0
        for _ in 0..<rounds {
            do {
                _ = try TopologyAssembler(SnapshotFile.decode(mutator.mutate(bytes))).topology()
            } catch {
                #expect(error.code == .badInput)
                errors += 1
            }
        }
        #expect(errors > 0 && errors < rounds)
    }

    @Test(
        "records: registers, lines, texts",
        arguments: ["first-light-7/failed-hot-add", "virtual-functions-7/enabled"]
    )
    func records(name: String) throws {
        let record = try Fixtures.record(name)
        var mutator = Mutator(numbers: SplitMix64(state: 2))
        for _ in 0..<rounds {
            var damaged = record
            for i in damaged.functions.indices where mutator.next(3) == 0 {
                switch mutator.next(5) {
                case 0:
                    let bytes = mutator.mutate(damaged.functions[i].config.bytes)
                    damaged.functions[i].config = ConfigSpace(bytes)
                case 1: damaged.functions[i].resource = nil
                case 2: damaged.functions[i].resource?.removeLast(mutator.next(8))
                case 3: damaged.functions[i].placement = [.unknown, .rootBus, .below(at("00:02.0"))][mutator.next(3)]
                default:
                    let lines = damaged.functions[i].resource ?? []
                    if let line = lines.indices.randomElementBy(&mutator) {
                        let values: [UInt64] = [0, 1, .max, .max - 1, 0xfff, 0x1_0000_0000]
                        damaged.functions[i].resource?[line] = ResourceLine(
                            start: values[mutator.next(6)],
                            end: values[mutator.next(6)],
                            flags: ResourceFlags(rawValue: UInt64(mutator.next(0x4000_0000)))
                        )
                    }
                }
            }
            if mutator.next(2) == 0 {
                damaged.iomem = damaged.iomem.map { String(decoding: mutator.mutate(Array($0.utf8)), as: UTF8.self) }
                damaged.kernelLog = damaged.kernelLog?.map {
                    mutator.next(20) == 0 ? String(decoding: mutator.mutate(Array($0.utf8)), as: UTF8.self) : $0
                }
            }
            if mutator.next(4) == 0 { damaged.buses.removeAll() }
            do {
                let t = try TopologyAssembler(damaged).topology()
                _ = TreeState(t).fingerprint
            } catch {
                #expect(error.code == .badInput)
            }
        }
    }
}

extension Range<Int> {
    fileprivate func randomElementBy(_ mutator: inout Mutator) -> Int? {
        isEmpty ? nil : lowerBound + mutator.next(count)
    }
}
