// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

/// 13 or 17 lines with those of `set`.
private func lines(_ count: Int = 13, _ set: [Int: (UInt64, UInt64, UInt64)] = [:]) -> [ResourceLine] {
    (0..<count).map { i in
        guard let (start, end, flags) = set[i] else { return .zero }
        return ResourceLine(start: start, end: end, flags: ResourceFlags(rawValue: flags))
    }
}

/// A header of the given layout with 32-bit registers at offsets.
private func config(layout: UInt8 = 0, _ registers: [Int: UInt32] = [:], count: Int = 64) -> ConfigSpace {
    var config = ConfigSpace([UInt8](repeating: 0, count: count))
    config.write(0x0005_1b36, at: 0, width: 4)
    config.write(UInt32(layout), at: 0x0e, width: 1)
    for (offset, value) in registers { config.write(value, at: offset, width: 4) }
    return config
}

private func derive(
    _ lines: [ResourceLine],
    _ config: ConfigSpace,
    isVirtual: Bool = false,
    _ evidence: ResourceEvidence = .none
) -> [Resource] {
    ResourceDerivation(
        lines: lines,
        config: config,
        capabilities: Capabilities(config),
        isVirtual: isVirtual,
        evidence: evidence
    ).resources()
}

private func index(_ value: Int) -> ResourceIndex { ResourceIndex(value) ?? .rom }

@Suite("From lines and registers to resources")
struct DerivationTests {
    @Test("assigned, unassigned, not implemented")
    func plain() {
        let r = derive(
            lines(
                13,
                [
                    0: (0xfe80_0000, 0xfe80_0fff, 0x40200), 1: (0, 0xff, 0x40101),
                    2: (0xc000_0000, 0xc0ff_ffff, 0x14220c),
                ]
            ),
            config([0x10: 0xfe80_0000, 0x14: 1, 0x18: 0xc000_000c, 0x1c: 0])
        )
        #expect(r.map(\.index) == [index(0), index(1), index(2)])
        #expect(
            r.map(\.assignment) == [
                .assigned(range(0xfe80_0000, 0xfe80_0fff)), .unassigned, .assigned(range(0xc000_0000, 0xc0ff_ffff)),
            ]
        )
        #expect(r.map(\.size) == [ByteCount(0x1000), ByteCount(0x100), ByteCount(0x100_0000)])
        #expect(r.map(\.alignment) == r.map(\.size))
    }

    @Test("the upper half of a 64-bit BAR is no BAR, whatever its register reads")
    func upperHalf() {
        let r = derive(lines(13, [2: (0x8_0000_0000, 0x8_0fff_ffff, 0x14220c)]), config([0x18: 0xc, 0x1c: 8]))
        #expect(r.map(\.index) == [index(2)])
        // Neither behind a forgotten one.
        let forgotten = derive(lines(), config([0x18: 0xc, 0x1c: 8]))
        #expect(forgotten.map(\.index) == [index(2)])
        #expect(forgotten[0].assignment == .wiped)
        #expect(forgotten[0].flags.rawValue == 0x14220c)
    }

    @Test("UNSET and STARTALIGN mean no address; DISABLED windows are closed")
    func marks() {
        let r = derive(
            lines(
                17,
                [
                    0: (0, 0xfff, 0x2004_0200), 14: (0x10_0000, 0x2f_ffff, 0x8_0200),
                    15: (0x10_0000, 0x1f_ffff, 0x1010_2201),
                ]
            ),
            config(layout: 1, [0x24: 0x0001_fff1])
        )
        #expect(r.map(\.assignment) == [.unassigned, .unassigned, .closed])
        #expect(r[1].alignment == ByteCount(0x10_0000))
        #expect(r[1].size == ByteCount(0x20_0000))
        #expect(r[2].size == .zero)
    }

    @Test("what the kernel holds decides between assigned and unclaimed; fixed ranges stay")
    func held() {
        let l = lines(
            13,
            [
                0: (0x1f0, 0x1f7, 0x110), 4: (0xc000, 0xc00f, 0x40101), 5: (0, 0x1f, 0x40101),
                6: (0xc_0000, 0xd_ffff, 0x212),
            ]
        )
        let c = config([0x20: 0xc001, 0x24: 1])
        #expect(
            derive(l, c).map(\.assignment) == [
                .assigned(range(0x1f0, 0x1f7)), .assigned(range(0xc000, 0xc00f)), .unassigned,
                .assigned(range(0xc_0000, 0xd_ffff)),
            ]
        )
        #expect(
            derive(l, c, ResourceEvidence(held: 0)).map(\.assignment) == [
                .assigned(range(0x1f0, 0x1f7)), .unclaimed(range(0xc000, 0xc00f)), .unassigned,
                .assigned(range(0xc_0000, 0xd_ffff)),
            ]
        )
        // Where I/O space begins at 0 and the kernel holds it, 0 is an address.
        #expect(derive(l, c, ResourceEvidence(held: 1 << 5))[2].assignment == .assigned(range(0, 0x1f)))
    }

    @Test("a register that reads zero is a BAR only when something else says so")
    func zeroRegister() {
        #expect(derive(lines(), config()).isEmpty)
        let size = ResourceEvidence.KnownSize(index: index(0), size: ByteCount(0x4000), flags: nil, source: .kernelLog)
        let r = derive(lines(), config(), ResourceEvidence(sizes: [size]))
        #expect(r.map(\.assignment) == [.wiped])
        #expect(r[0].size == ByteCount(0x4000))
        #expect(r[0].kind == .memory)
        #expect(r[0].sizeSource == .kernelLog)
        #expect(derive(lines(), config(), ResourceEvidence(sizes: [size], refuted: 1)).isEmpty)
        #expect(derive(lines(), config(), ResourceEvidence(implemented: 1)).first?.size == nil)
    }

    @Test("a device that does not answer has no forgotten BARs, nor have functions with no real BARs")
    func notBARs() {
        #expect(derive(lines(), ConfigSpace([UInt8](repeating: 0xff, count: 64))).isEmpty)
        var uncore = config([0x10: 0x1234_5670])
        uncore.write(0x6fa0_8086, at: 0, width: 4)
        #expect(derive(lines(), uncore).isEmpty)
        #expect(derive(lines(), config([0x10: 0x1234_5670])).map(\.assignment) == [.wiped])
        // A bridge has two BARs; the words behind are bus numbers and windows.
        #expect(derive(lines(17), config(layout: 1, [0x18: 0x0002_0100])).map(\.index) == [.memoryWindow])
        #expect(derive(lines(), config([0x10: 8]), isVirtual: true).isEmpty)
    }

    @Test("a probe outranks the capability, the capability outranks the log")
    func sources() {
        var c = config([0x10: 0xc, 0x100: 0x0001_0015, 0x104: 0x0000_ff00, 0x108: 0x0000_0a20], count: 4096)
        c.write(0x10, at: 0x06, width: 2)
        func size(_ source: Resource.SizeSource, _ bytes: UInt64) -> ResourceEvidence.KnownSize {
            ResourceEvidence.KnownSize(index: index(0), size: ByteCount(bytes), flags: nil, source: source)
        }
        #expect(derive(lines(), c).first?.size == ByteCount(1 << 30))
        #expect(derive(lines(), c).first?.sizeSource == .resizableBAR)
        #expect(
            derive(lines(), c, ResourceEvidence(sizes: [size(.kernelLog, 1 << 28)])).first?.size == ByteCount(1 << 30)
        )
        #expect(derive(lines(), c, ResourceEvidence(sizes: [size(.probed, 1 << 28)])).first?.size == ByteCount(1 << 28))
    }

    @Test("a ROM is forgotten only when something else says so")
    func rom() {
        #expect(derive(lines(), config([0x30: 0xffff_0000])).isEmpty)
        #expect(derive(lines(13, [6: (0, 0x1_ffff, 0x4_6200)]), config()).map(\.assignment) == [.unassigned])
        #expect(derive(lines(13, [6: (0, 0, 0x2)]), config()).isEmpty)
    }

    @Test("VF BARs: a block of TotalVFs, aligned to one")
    func virtualFunctions() {
        var registers: [Int: UInt32] = [0x100: 0x0001_0010, 0x108: 0, 0x10c: 0x0008_0008, 0x114: 0x0001_0001]
        registers[0x120] = 1
        registers[0x124] = 0x4
        registers[0x12c] = 0xc
        let c = config(registers, count: 4096)
        let r = derive(lines(13, [7: (0x9000_0000, 0x9001_ffff, 0x140204)]), c)
        #expect(r.map(\.index) == [index(7), index(9)])
        #expect(r[0].size == ByteCount(0x2_0000))
        #expect(r[0].alignment == ByteCount(0x4000))
        #expect(r[1].assignment == .wiped)
        #expect(r[1].size == nil)
        // With 64 bytes the number of VFs comes from sysfs.
        let short = derive(
            lines(13, [7: (0x9000_0000, 0x9001_ffff, 0x140204)]),
            config(),
            ResourceEvidence(totalVFs: 8)
        )
        #expect(short[0].alignment == ByteCount(0x4000))
        #expect(derive(lines(13, [7: (0x9000_0000, 0x9001_ffff, 0x140204)]), config())[0].alignment == nil)
    }

    @Test("kernels without CONFIG_PCI_IOV: windows follow the ROM", arguments: [11, 12])
    func withoutVFs(count: Int) {
        let r = derive(
            lines(count, [7: (0x1000, 0x1fff, 0x100), 8: (0xfe80_0000, 0xfe8f_ffff, 0x200)]),
            config(layout: 1, [0x1c: 0x1111])
        )
        #expect(r.map(\.index) == [.ioWindow, .memoryWindow])
        #expect(r.map(\.size) == [ByteCount(0x1000), ByteCount(0x10_0000)])
        #expect(derive(lines(7, [0: (0x1000, 0x10ff, 0x40101)]), config([0x10: 0x1001])).map(\.index) == [index(0)])
    }

    @Test("the alignment of a window is that of its line where it has no place, the granularity where it has one")
    func windowAlignment() throws {
        let unplaced = derive(lines(17, [14: (0x40_0000, 0x6f_ffff, 0x8_0200)]), config(layout: 1))
        let window = try #require(unplaced.first { $0.index == .memoryWindow })
        #expect(window.assignment == .unassigned && window.size == ByteCount(0x30_0000))
        #expect(window.alignment == ByteCount(0x40_0000))
        // A start that is no power of two is a place.
        let kept = derive(lines(17, [14: (0xfe60_0000, 0xfe8f_ffff, 0x8_0200)]), config(layout: 1))
        let placed = try #require(kept.first { $0.index == .memoryWindow })
        #expect(placed.range == range(0xfe60_0000, 0xfe8f_ffff))
        #expect(placed.alignment == ByteCount(0x10_0000))
    }

    @Test("windows that are not implemented and windows that are closed")
    func windows() {
        // Base registers that read zero are not there; a closed 16-bit I/O window reads 0xf0 0x00.
        #expect(derive(lines(17), config(layout: 1)).map(\.index) == [.memoryWindow])
        let closed = derive(lines(17), config(layout: 1, [0x1c: 0x00f0, 0x24: 0x0001_fff1]))
        #expect(closed.map(\.index) == [.ioWindow, .memoryWindow, .prefetchableWindow])
        #expect(closed.map(\.assignment) == [.closed, .closed, .closed])
        #expect(closed[2].is64Bit)
        // The log spoke of an I/O window.
        #expect(derive(lines(17), config(layout: 1), ResourceEvidence(implemented: 1 << 13)).count == 2)
        // Sticking out of what was sized: an open window at address 0 is a released one.
        let released = derive(lines(17, [13: (0, 0xfff, 0x100)]), config(layout: 1))
        #expect(released[0].assignment == .unassigned)
        #expect(released[0].size == ByteCount(0x1000))
    }

    @Test("extremes do not trap")
    func extremes() {
        let all: UInt64 = .max
        for flags: UInt64 in [0x200, 0x40200, 0x8_0200, 0x100, all] {
            for (start, end) in [(0, all), (all, all), (all, 0), (1, 0), (0, 0)] {
                let r = derive(
                    lines(17, Dictionary(uniqueKeysWithValues: (0..<17).map { ($0, (start, end, flags)) })),
                    config(layout: 1, [0x24: 0x0001_fff1])
                )
                #expect(r.count >= 4)
            }
        }
        #expect(derive([], config()).isEmpty)
        #expect(derive(lines(), ConfigSpace()).isEmpty)
    }
}
