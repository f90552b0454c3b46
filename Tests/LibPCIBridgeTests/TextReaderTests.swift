// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import Testing

@Suite struct TextReaderTests {
    private func address(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    // MARK: lspci

    @Test(
        arguments: [
            ("f000-0fff", nil as UInt64?), ("None", nil), ("[disabled] [16-bit]", nil),
            ("0000f000-00000fff [disabled]", nil),
            ("e000-efff [size=4K] [16-bit]", 0xe000), ("0000e000-0000efff", 0xe000), ("0000e000-0000efff [empty]", nil),
            ("0000e000-0000efff [disabled] [16-bit]", nil),
        ]
    )
    func readsEveryWordingOfAWindow(_ words: String, _ first: UInt64?) throws {
        let evidence = TextEvidence(
            """
            00:1c.0 PCI bridge [0604]: Example [8086:9d10] (rev f1) (prog-if 00 [Normal decode])
            \tBus: primary=00, secondary=01, subordinate=02, sec-latency=0
            \tI/O behind bridge: \(words)
            """
        )
        let bridge = try #require(evidence.functions.first?.bridge)
        let window = try #require(bridge.io)
        #expect(window.range?.first == first)
        #expect(bridge.busRange?.description == "[bus 01-02]")
    }

    @Test func readsBARsOfEveryForm() throws {
        let evidence = TextEvidence(
            """
            0000:01:00.0 VGA compatible controller: Example Card (rev a1) (prog-if 00 [VGA controller])
            \tControl: I/O+ Mem- BusMaster+
            \tRegion 0: Memory at f6000000 (32-bit, non-prefetchable) [size=16M]
            \tRegion 1: Memory at <unassigned> (64-bit, prefetchable) [size=256M]
            \tRegion 3: Memory at <ignored> (64-bit, prefetchable)
            \tRegion 5: I/O ports at e000 [virtual] [size=128]
            \tExpansion ROM at 000c0000 [virtual] [disabled] [size=128K]
            """
        )
        let f = try #require(evidence.functions.first)
        #expect(f.classWord == 0x0300)
        #expect(f.revision == 0xa1)
        #expect(f.vendor == nil)
        #expect(f.decodesIO == true)
        #expect(f.decodesMemory == false)
        #expect(f.resources.map(\.index.rawValue) == [0, 1, 3, 5, 6])
        #expect(f.resources[0].range == AddressRange(first: 0xf600_0000, last: 0xf6ff_ffff))
        #expect(f.resources[1].state == .unassigned)
        #expect(f.resources[1].size == ByteCount(256 << 20))
        #expect(f.resources[2].state == .ignored)
        #expect(f.resources[2].size == nil)
        #expect(f.resources[3].state == .virtual)
        #expect(f.resources[3].flags.contains(.io))
    }

    @Test func readsLinesThatMailSoftwareBroke() throws {
        let evidence = TextEvidence(
            "00:02.0 PCI bridge: Example\nCorporation PCI Express Root Port #1 (rev f1) (prog-if 00 [Normal decode])\n"
                + "\u{a0}   \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0\n"
                + "\u{a0}   \tPrefetchable memory behind bridge: \n00000000c0000000-00000000d1ffffff [size=288M]\n"
        )
        let f = try #require(evidence.functions.first)
        #expect(f.revision == 0xf1)
        #expect(f.bridge?.prefetchable?.range == AddressRange(first: 0xc000_0000, last: 0xd1ff_ffff))
    }

    @Test func readsTheSourceOfAMail() throws {
        let card = """
            [   71.6] pci 0000:04:00.0: [10de:1c03] type 00 class 0x030000
            [   71.6] pci 0000:04:00.0: reg 0x14: [mem 0x00000000-0x0fffffff 64bit pref]
            [   71.6] root=3D is no escape of this log, nor is mode=ab

            """
        let broken = """
            [   71.688544] pci 0000:04:00.0: BAR 1: no space for [mem size 0x10000000 6=
            4bit pref]
            [   71.688546] pci 0000:04:00.0: BAR 1: failed to assign [mem size 0x100000=
            00 64bit pref]

            """
        let address = try #require(FunctionAddress(parsing: "0000:04:00.0"))
        let whole = "BAR 1: failed to assign [mem size 0x10000000 64bit pref]"
        let evidence = TextEvidence(card + broken)
        #expect(evidence.messages.contains { $0.text.hasSuffix(whole) }, "\(evidence.messages)")
        #expect(evidence[address]?.resources.first { $0.index == .bar(1) }?.size == ByteCount(0x1000_0000))
        // Once declared, one cut is enough, and what the encoding escapes is read.
        let declared = TextEvidence(
            "Content-Transfer-Encoding: quoted-printable\r\n" + card
                + "[    0.0] Command line: root=3D/dev/sda pci=3Dre=\r\nalloc\r\n"
        )
        #expect(declared.kernel.commandLine == "root=/dev/sda pci=realloc")
        // Without either an equals sign is one.
        #expect(TextEvidence(card + "[    0.0] Command line: root=3D\n").kernel.commandLine == "root=3D")
    }

    @Test func countsBARsOfShortTextAndSaysSo() throws {
        let evidence = TextEvidence(
            """
            01:00.0 VGA compatible controller: Example
            \tFlags: bus master, fast devsel
            \tMemory at f6000000 (32-bit, non-prefetchable) [size=16M]
            \tMemory at e0000000 (64-bit, prefetchable) [size=256M]
            \tI/O ports at e000 [size=128]
            """
        )
        #expect(evidence.functions.first?.resources.map(\.index.rawValue) == [0, 1, 3])
        #expect(evidence.findings.map(\.code) == [.countedIndex])
    }

    @Test func deniedCapabilitiesAreUnknownNotAbsent() throws {
        let evidence = TextEvidence(
            """
            00:1c.0 PCI bridge [0604]: Example [8086:9d10]
            \tControl: I/O+ Mem+ BusMaster+
            \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0
            \tCapabilities: <access denied>
            """
        )
        let topology = try evidence.topology()
        #expect(topology.functions.first?.capabilities.isComplete == false)
        #expect(topology.gaps.contains { $0.code == "capabilities-denied" })
    }

    // MARK: Hex

    private func dump(_ rows: [String]) -> String {
        "00:00.0 Host bridge: Example\n" + rows.joined(separator: "\n") + "\n"
    }

    @Test func readsRowsOfHex() throws {
        let row = "00: 86 80 00 2f 00 04 10 00 02 00 00 06 10 00 00 00"
        let rest = (1..<16).map {
            "\(bareHex(UInt64($0), width: 1))0: " + Array(repeating: "00", count: 16).joined(separator: " ")
        }
        let evidence = TextEvidence(dump([row] + rest))
        let f = try #require(evidence.functions.first)
        #expect(f.config.count == 256)
        #expect(f.vendor == 0x8086)
        #expect(f.device == 0x2f00)
        #expect(f.classWord == 0x0600)
        #expect(evidence.findings.isEmpty)
        #expect(evidence.lineCounts.hex == 16)
    }

    @Test(arguments: [
        "20: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", "10: 00 00 warning 00", "10: 00 00 00 00",
        "14: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
    ])
    func namesADamagedRow(_ second: String) throws {
        let evidence = TextEvidence(
            dump(["00: 86 80 00 2f 00 04 10 00 02 00 00 06 10 00 00 00", second, "30: 00 00 00 00"])
        )
        #expect(evidence.findings.first?.code == .damagedHexRow)
        #expect((evidence.functions.first?.config.count ?? 0) < 32)
    }

    @Test func sizesOfAHexDumpAreUnknown() throws {
        var bytes = [UInt8](repeating: 0, count: 64)
        bytes[0] = 0x86
        bytes[1] = 0x80
        bytes[4] = 2
        bytes[0x10] = 0x0c
        bytes[0x13] = 0xe0
        bytes[0x0b] = 2
        var rows: [String] = []
        for i in 0..<4 {
            rows.append(
                "\(i)0: " + bytes[(16 * i)..<(16 * i + 16)].map { bareHex(UInt64($0), width: 2) }.joined(separator: " ")
            )
        }
        let topology = try TextEvidence(dump(rows)).topology()
        let bar = try #require(topology.functions.first?.resources.first)
        #expect(bar.size == nil)
        #expect(bar.sizeSource == .unknown)
        #expect(bar.shownRange?.first == 0xe000_0000)
        #expect(topology.gaps.contains { $0.code == "sizes-unknown" })
    }

    // MARK: Kernel log

    private static let prefixes = [
        "", "[    0.500000] ", "[ 0.500000] ", "[    0.500000][    T1] ", "[    0.500000] [      T1] ",
        "<6>[    0.500000] ",
        "kern  :info  : [    0.500000] ", "[Tue Mar 24 07:10:54 2026] ", "[Di Mär 24 07:10:54 2026] ", "[      T1] ",
        "Mär 24 07:10:54 mini kernel: ", "Oct 12 07:10:54 host kernel: [    0.500000] ", "6,123,500000,-;",
        "2024-12-17 22:46:52,123 DEBUG:\t", "2024-03-02T12:00:00+0100 host kernel: ", "> [    0.500000] ",
        "host kernel: ",
        "[    0.500000 <    0.000012>] ", "   [    0.500000] ", "[    0.500000] kernel: ",
    ]

    @Test(arguments: prefixes)
    func takesOffEveryPrefix(_ prefix: String) throws {
        let text = [
            "pci_bus 0000:00: root bus resource [mem 0x80000000-0xfebfffff window]",
            "pci 0000:00:1c.0: [8086:9d10] type 01 class 0x060400",
            "pci 0000:00:1c.0: PCI bridge to [bus 01-02]",
            "pci 0000:00:1c.0:   bridge window [mem 0xdf000000-0xdf0fffff]",
        ]
        let evidence = TextEvidence(text.map { prefix + $0 }.joined(separator: "\n"))
        #expect(evidence.roots.first?.apertures.first?.range.first == 0x8000_0000)
        let bridge = try #require(evidence.functions.first?.bridge)
        #expect(bridge.memory?.range == AddressRange(first: 0xdf00_0000, last: 0xdf0f_ffff))
        #expect(bridge.subordinate == BusNumber(2))
        #expect(evidence.messages.count == 4)
    }

    @Test func linesOfOtherProgramsAreNoMessages() {
        let evidence = TextEvidence("Mär 24 07:10:54 mini gdm[912]: pci 0000:00:1c.0: PCI bridge to [bus 01]\n")
        #expect(evidence.functions.isEmpty)
        #expect(evidence.messages.isEmpty)
    }

    @Test func bothGenerationsTellTheSame() throws {
        let old = TextEvidence(
            """
            pci 0000:01:00.0: [10de:2684] type 00 class 0x030000
            pci 0000:01:00.0: reg 0x10: [mem 0x82000000-0x82ffffff]
            pci 0000:01:00.0: reg 0x14: [mem 0x4000000000-0x400fffffff 64bit pref]
            pci 0000:01:00.0: reg 0x30: [mem 0xfff80000-0xffffffff pref]
            pci 0000:00:01.0: BAR 14: assigned [mem 0x82000000-0x830fffff]
            pci 0000:00:01.0: BAR 13: no space for [io  size 0x1000]
            """
        )
        let new = TextEvidence(
            """
            pci 0000:01:00.0: [10de:2684] type 00 class 0x030000 PCIe Legacy Endpoint
            pci 0000:01:00.0: BAR 0 [mem 0x82000000-0x82ffffff]
            pci 0000:01:00.0: BAR 1 [mem 0x4000000000-0x400fffffff 64bit pref]
            pci 0000:01:00.0: ROM [mem 0xfff80000-0xffffffff pref]
            pci 0000:00:01.0: bridge window [mem 0x82000000-0x830fffff]: assigned
            pci 0000:00:01.0: bridge window [io  size 0x1000]: can't assign; no space
            """
        )
        let a = try address("01:00.0")
        #expect(old[a]?.resources == new[a]?.resources)
        #expect(old[a]?.resources.count == 3)
        let bridge = try address("00:01.0")
        #expect(old[bridge]?.bridge?.memory == new[bridge]?.bridge?.memory)
        #expect(old[bridge]?.bridge?.io == new[bridge]?.bridge?.io)
    }

    @Test func translationsAreReadAndApplied() throws {
        let evidence = TextEvidence(
            """
            pci_bus 0003:00: root bus resource [mem 0x600c180000000-0x600c1fffeffff] (bus address
            [0x80000000-0xfffeffff])
            pci 0003:00:00.0: [1014:04c1] type 01 class 0x060400
            pci 0003:00:00.0: PCI bridge to [bus 01]
            pci 0003:00:00.0:   bridge window [mem 0x600c180000000-0x600c1ffefffff]
            """
        )
        let aperture = try #require(evidence.roots.first?.apertures.first)
        #expect(aperture.busRange?.first == 0x8000_0000)
        let topology = try evidence.topology()
        #expect(topology.functions.first?.bridge?.registers?.memory.base == 0x8000_0000)
        #expect(topology.functions.first?.resource(.memoryWindow)?.range?.first == 0x600c_1800_0000_0)
    }

    @Test func removedBusesLoseTheirFunctions() {
        let evidence = TextEvidence(
            """
            pci 0000:00:07.0: [8086:466e] type 01 class 0x060400
            pci 0000:03:00.0: [8086:15ef] type 01 class 0x060400
            pci_bus 0000:03: busn_res: [bus 03-2c] is released
            """
        )
        #expect(evidence.functions.map(\.address.bus.rawValue) == [0])
    }

    @Test func theLastBootCounts() {
        let evidence = TextEvidence(
            """
            [    0.000000] Linux version 6.1.0-1-amd64 (x)
            [    0.400000] pci 0000:00:1c.0: [8086:9d10] type 01 class 0x060400
            [    0.000000] Linux version 6.12.0-1-amd64 (x)
            [    0.400000] pci 0000:00:1d.0: [8086:9d18] type 01 class 0x060400
            """
        )
        #expect(evidence.kernel.release == "6.12.0-1-amd64")
        #expect(evidence.functions.map { "\($0.address)" } == ["0000:00:1d.0"])
        #expect(evidence.findings.map(\.code) == [.logCutAtStart, .logCutAtEnd, .severalBoots])
    }

    @Test(
        arguments: [
            ("ACPI: PCI Root Bridge [PC00] (domain 0000 [bus 00-7f])", HardwareDescription.acpi),
            ("rockchip-pcie f8000000.pcie: host bridge /pcie@f8000000 ranges:", .deviceTree),
            ("brcm-pcie fd500000.pcie: PCI host bridge to bus 0000:00", .deviceTree),
            ("mvebu-pcie soc:pcie: host bridge /soc/pcie ranges:", .deviceTree),
            ("OF: PCI: host bridge /soc/pcie@fd500000 ranges:", .deviceTree),
            ("acpi PNP0A08:00: host bridge window expanded", nil), ("PCI host bridge to bus 0000:00", nil),
            ("vmd 0000:00:0e.0: PCI host bridge to bus 10000:e0", nil), ("Using PowerNV machine description", .opal),
            ("Using pSeries machine description", nil),
        ] as [(String, HardwareDescription?)]
    )
    func tellsWhatDescribesTheMachine(_ line: String, _ expected: HardwareDescription?) {
        let evidence = TextEvidence("[    0.000000] Linux version 6.1.0 (x)\n[    0.400000] \(line)\n")
        #expect(evidence.kernel.hardwareDescription == expected)
    }

    // MARK: /proc/iomem

    @Test func nestsByRangeWhereIndentationEnds() throws {
        let text = IomemText(
            """
            80000000-febfffff : PCI Bus 0000:00
              90000000-9fffffff : PCI Bus 0000:01
                90000000-9fffffff : PCI Bus 0000:02
                  90000000-9fffffff : PCI Bus 0000:03
                    90000000-97ffffff : PCI Bus 0000:04
                      90000000-93ffffff : PCI Bus 0000:05
                      90000000-90ffffff : 0000:05:00.0
                      90000000-90ffffff : nvme
                      94000000-94ffffff : PCI Bus 0000:06
            fec00000-fec00fff : IOAPIC 0
            """
        )
        #expect(text.nodes.map(\.depth) == [0, 1, 2, 3, 4, 5, 6, 7, 5, 0])
        #expect(text.nodes[7].parent == 6)
        #expect(text.nodes[8].parent == 4)
        #expect(text.busNodes.count == 7)
        #expect(!text.isZeroed)
    }

    @Test func noticesZeroedFiles() {
        let text = IomemText("00000000-00000000 : Reserved\n  00000000-00000000 : PCI Bus 0000:00\n")
        #expect(text.isZeroed)
        #expect(text.nodes[1].parent == 0)
    }

    @Test func oneTextMayHoldEverything() throws {
        let evidence = TextEvidence(
            """
            $ lspci -vv
            00:1c.0 PCI bridge [0604]: Example [8086:9d10]
            \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0

            $ cat /proc/iomem
            80000000-febfffff : PCI Bus 0000:00
              90000000-9fffffff : PCI Bus 0000:01
            0000-0cf7 : PCI Bus 0000:00
            [    0.400000] pci_bus 0000:00: root bus resource [mem 0x80000000-0xfebfffff window]
            """
        )
        #expect(evidence.kinds == ["lspci", "dmesg", "iomem", "ioports"])
        #expect(evidence.iomem.nodes.count == 2)
        #expect(evidence.ioports.nodes.count == 1)
        #expect(try evidence.topology().hostBridges.first?.source == .kernelLog)
    }
}
