// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import LibPCIBridge

/// Parts of a log or of a machine never read healthy, and say what would tell the rest.
@Suite("Texts that show a part") struct CutTextTests {
    private static let boot = """
        [    0.000000] Linux version 6.6.30-made-up (a@b) #1 SMP
        [    0.400000] PCI host bridge to bus 0000:00
        [    0.400001] pci_bus 0000:00: root bus resource [mem 0x90000000-0xdfffffff window]
        [    0.400002] pci_bus 0000:00: root bus resource [bus 00-3f]
        [    0.400003] pci 0000:00:1d.0: [8086:9d18] type 01 class 0x060400
        [    0.400004] pci 0000:02:00.0: [144d:a808] type 00 class 0x010802
        [    0.400005] pci 0000:02:00.0: reg 0x10: [mem 0xdf000000-0xdf003fff 64bit]
        [    0.400006] pci 0000:00:1d.0: PCI bridge to [bus 02]
        [    0.400007] pci 0000:00:1d.0:   bridge window [mem 0xdf000000-0xdf0fffff]
        """
    private static let end = """
        [    0.500000] pci_bus 0000:00: resource 4 [mem 0x90000000-0xdfffffff window]
        [    0.500001] pci_bus 0000:02: resource 1 [mem 0xdf000000-0xdf0fffff]
        [    1.200000] nvme 0000:02:00.0: platform quirk: setting simple suspend
        """

    private func assessment(_ text: String) throws -> Assessment {
        let record = TextEvidence(text).record
        return Assessment(record, try TopologyAssembler(record).topology())
    }

    @Test("a whole log is healthy")
    func whole() throws {
        let text = Self.boot + "\n" + Self.end
        #expect(try assessment(text).verdict == .healthy)
        #expect(Triage(text).verdict == .harmless)
    }

    @Test("a log that ends before the assignment is none")
    func cutAtEnd() throws {
        let found = try assessment(Self.boot)
        #expect(found.verdict == .cannotTell)
        #expect(found.unknowns.contains { $0.code == .logCut && $0.remedies == [.log] })
        #expect(Triage(Self.boot).verdict == .cannotTell)
    }

    /// A board whose firmware assigns nothing, up to where the kernel would begin to.
    private static let bare = """
        [    1.100000] pci_bus 0000:00: root bus resource [mem 0x40000000-0x4fffffff]
        [    1.100100] pci 0000:00:00.0: [1d87:3566] type 01 class 0x060400
        [    1.100200] pci 0000:00:00.0: bridge configuration invalid ([bus 00-00]), reconfiguring
        [    1.100300] pci 0000:01:00.0: [10ec:8125] type 00 class 0x020000
        [    1.100400] pci 0000:01:00.0: reg 0x18: [mem 0x00000000-0x0000ffff 64bit]
        """

    @Test("what has no address where a log ends before the assignment is no problem; what was tried and failed is one")
    func notYetAssigned() throws {
        let found = try assessment(Self.bare)
        #expect(found.findings.filter { $0.severity == .problem }.map(\.sentence) == [])
        let bar = try #require(found.findings.first { $0.code == .barUnassigned })
        #expect(bar.sentence == "BAR 2 [mem size 0x00010000 64bit] has no address, where the log ends")
        #expect(found.verdict == .cannotTell)
        let failure = "\n[    1.200000] pci 0000:01:00.0: BAR 2: failed to assign [mem size 0x00010000 64bit]"
        #expect(try assessment(Self.bare + failure).findings.contains { $0.severity == .problem })
    }

    @Test("a buffer that has forgotten the boot is none", arguments: 3...7)
    func cutAtStart(lines: Int) throws {
        let whole = (Self.boot + "\n" + Self.end).split(separator: "\n")
        let text = whole.dropFirst(lines + 1).joined(separator: "\n")
        let found = try assessment(text)
        // Functions whose discovery is there are told; the rest of the log is not.
        #expect(found.verdict == (lines == 3 ? .healthy : .cannotTell), "\(text)")
        #expect(Triage(text).verdict == (lines < 5 ? .harmless : .cannotTell), "\(text)")
        #expect(found.unknowns.contains { $0.code == .logCut && $0.remedies == [.journal] })
        #expect(Triage(text).lines().last == "what would tell: sudo journalctl -k -b > journal.txt")
    }

    @Test("a listing makes up for what the log has forgotten")
    func listing() throws {
        let listing = """
            00:1d.0 PCI bridge: Vendor Device (prog-if 00 [Normal decode])
            \tControl: I/O+ Mem+ BusMaster+
            \tBus: primary=00, secondary=02, subordinate=02, sec-latency=0
            \tMemory behind bridge: df000000-df0fffff [size=1M]
            02:00.0 Non-Volatile memory controller: Vendor Device (prog-if 02 [NVM Express])
            \tControl: I/O- Mem+ BusMaster+
            \tRegion 0: Memory at df000000 (64-bit, non-prefetchable) [size=16K]
            """
        #expect(try assessment(listing + "\n\n" + Self.end).verdict == .healthy)
    }

    @Test("a function below bridges that nobody tells is healthy as far as seen")
    func withoutBridges() throws {
        let card = """
            43:00.0 VGA compatible controller: Vendor Device (rev c8) (prog-if 00 [VGA controller])
            \tControl: I/O- Mem+ BusMaster+
            \tRegion 0: Memory at 10020000000 (64-bit, prefetchable) [size=256M]
            """
        let port = """
            40:01.1 PCI bridge: Vendor Device (prog-if 00 [Normal decode])
            \tControl: I/O+ Mem+ BusMaster+
            \tBus: primary=40, secondary=41, subordinate=44, sec-latency=0
            \tPrefetchable memory behind bridge: 10020000000-10037ffffff [size=384M]
            """
        for text in [card, port + "\n\n" + card] {
            let found = try assessment(text)
            #expect(found.verdict == .healthy)
            #expect(found.unknowns.contains { $0.code == .bridgesNotTold && !$0.remedies.isEmpty }, "\(found.unknowns)")
        }
    }

    @Test("what keeps a driver from its addresses is told by check as by triage")
    func besideAddresses() throws {
        for text in [
            "vfio-pci 0000:0b:00.0: BAR 3: can't reserve [mem 0xd0000000-0xd1ffffff 64bit pref]",
            "ixgbe 0000:04:00.0: not enough MMIO resources for SR-IOV",
        ] {
            #expect(Triage(text).groups.map(\.severity) == [.degraded])
            #expect(try assessment(text).findings.map(\.code) == [.kernelReport])
            #expect(Triage(text).groups.first?.nextStep?.hasPrefix("pci-rebalance plan") == false)
        }
    }

    @Test("a window that could not grow for a resized BAR is no window that was placed later")
    func restored() {
        let text = """
            pcieport 0000:00:02.0: bridge window [mem 0x800000000-0x80fffffff 64bit pref]: releasing
            pcieport 0000:00:02.0: bridge window [mem size 0x600000000 64bit pref]: can't assign; no space
            pcieport 0000:00:02.0: bridge window [mem 0x800000000-0x80fffffff 64bit pref]: old value restored
            """
        #expect(Triage(text).groups.map(\.code) == ["window-not-enlarged"])
    }

    @Test("two machines in one text are named")
    func machines() {
        let text =
            "[    0.000000] DMI: Maker A, BIOS 1\n" + Self.boot + "\n[    0.000000] DMI: x\n" + Self.boot
            + "\n[    0.000001] DMI: Maker B, BIOS 2\n"
        let finding = TextEvidence(text).findings.first { $0.code == .severalBoots }
        #expect(finding?.detail.contains("Maker A, BIOS 1") == true)
    }
}

@Suite("The tree that lspci -t draws") struct LspciTreeTests {
    private static let text = #"""
        -[0000:00]-+-00.0  Vendor A Host Bridge
                   +-01.0-[01-02]--+-00.0  Vendor B Graphics [Model X] [10de:1e82]
                   |               \-00.1  Vendor B Audio
                   +-1c.0-[03-3a]--
                   +-1d.0-[3b-3e]----00.0-[3c-3e]--+-01.0-[3d]----00.0  Vendor C Storage
                   |                               \-02.0-[3e]--
                   \-1f.0  Vendor A ISA
        """#

    @Test("functions, buses and names")
    func tree() {
        let evidence = TextEvidence(Self.text)
        #expect(
            evidence.functions.map { "\($0.address)" } == [
                "0000:00:00.0", "0000:00:01.0", "0000:00:1c.0", "0000:00:1d.0", "0000:00:1f.0", "0000:01:00.0",
                "0000:01:00.1", "0000:3b:00.0", "0000:3c:01.0", "0000:3c:02.0", "0000:3d:00.0",
            ]
        )
        #expect(evidence.functions.compactMap { $0.bridge?.busRange }.count == 6)
        #expect(evidence[FunctionAddress(parsing: "0000:01:00.0")!]?.device == 0x1e82)
        #expect(evidence[FunctionAddress(parsing: "0000:00:1f.0")!]?.name == "Vendor A ISA")
    }

    @Test("several roots, and a verdict that tells what is missing")
    func roots() throws {
        let text = #"""
            -+-[0000:80]-+-01.0-[81]----00.0  Vendor D
             |           \-02.0  Vendor E
             \-[0000:00]-+-00.0  Vendor A
                         \-1f.0  Vendor B
            """#
        let record = TextEvidence(text).record
        #expect(
            record.functions.map { "\($0.address)" } == [
                "0000:00:00.0", "0000:00:1f.0", "0000:80:01.0", "0000:80:02.0", "0000:81:00.0",
            ]
        )
        let topology = try TopologyAssembler(record).topology()
        #expect(Assessment(record, topology).verdict == .cannotTell)
        #expect(topology.functions.last?.parent == FunctionAddress(parsing: "0000:80:01.0"))
    }

    @Test("it tells the bridges above a function that the log names alone")
    func withLog() {
        let log = "[    9.1] pci 0000:01:00.0: BAR 1: failed to assign [mem size 0x10000000 64bit pref]"
        let triage = Triage(Self.text + "\n\n" + log)
        let step = triage.groups.first?.nextStep
        #expect(step?.hasPrefix("not told: the windows of the bridges above 0000:01:00.0;") == true)
    }
}

@Suite("/proc/iomem alone") struct IomemAloneTests {
    @Test("its nesting tells buses, windows, who lies in them and what is free; the rest is not told")
    func nesting() throws {
        let text = """
            00001000-0009ffff : System RAM
            000a0000-000bffff : PCI Bus 0000:00
            90000000-9fffffff : PCI Bus 0000:00
              90000000-901fffff : PCI Bus 0000:01
                90000000-900fffff : 0000:01:00.0
                  90000000-900fffff : storage
              90200000-902fffff : PCI Bus 0000:02
              98000000-9fffffff : 0000:00:02.0
            """
        let record = TextEvidence(text).record
        let assessment = Assessment(record, try TopologyAssembler(record).topology())
        #expect(assessment.verdict == .cannotTell)
        #expect(
            assessment.ranges.map { String(repeating: "  ", count: $0.depth) + $0.sentence } == [
                "0x90000000-0x9fffffff is an aperture of root bus 0000:00, 256M: in it PCI Bus 0000:01 (2M), "
                    + "PCI Bus 0000:02 (1M), 0000:00:02.0 (128M), largest free block 64M",
                "  0x90000000-0x901fffff is a window to bus 0000:01, 2M: in it 0000:01:00.0 (1M), largest free block 1M",
                "  0x90200000-0x902fffff is a window to bus 0000:02, 1M: nothing lies in it",
            ]
        )
        #expect(IomemText("00000000-00000000 : PCI Bus 0000:00\n  00000000-00000000 : x\n").busShares().isEmpty)
    }
}

@Suite("Wordings of old kernels, and who holds what") struct WordingTests {
    @Test("sizes in parentheses, as before 3.14")
    func parentheses() throws {
        let text = """
            pci 0000:06:00.0: BAR 1: can't assign mem pref (size 0x8000000)
            pci 0000:00:1c.5: BAR 14: can't assign mem (size 0x100000)
            pci 0000:00:1c.5: BAR 13: can't assign io (size 0x1000)
            """
        let triage = Triage(text)
        #expect(triage.groups.map(\.code) == ["bar-unassigned", "window-unassigned", "io-window-untold"])
        #expect(triage.groups.first?.summary.hasPrefix("wants 128M of prefetchable memory") == true)
        let record = TextEvidence(text).record
        let assessment = Assessment(record, try TopologyAssembler(record).topology())
        #expect(assessment.verdict == .problems)
    }

    @Test("resources by number, as before 2.6.30")
    func numbers() {
        let text = """
            PCI: Failed to allocate mem resource #6:10000@c0000000 for 0000:02:00.0
            PCI: Failed to allocate mem resource #1:4000000@d0000000 for 0000:02:00.0
            """
        #expect(Triage(text).groups.map(\.code) == ["bar-unassigned", "rom"])
    }

    @Test("the framebuffer that holds a display's BAR is named by /proc/iomem")
    func holder() {
        let text = """
            [    0.4] pci 0000:0c:00.0: BAR 0: assigned to efifb
            [  101.1] vfio-pci 0000:0c:00.0: BAR 0: can't reserve [mem 0xa0000000-0xafffffff 64bit pref]
            """
        #expect(Triage(text).groups.map(\.code) == ["bar-in-use"])
        #expect(Triage(text).groups.first?.nextStep?.hasPrefix("sudo cat /proc/iomem") == true)
        let ranges = """


            a0000000-bfffffff : PCI Bus 0000:00
              a0000000-afffffff : 0000:0c:00.0
                a0000000-a02fffff : BOOTFB
            """
        #expect(Triage(text + ranges).groups.first?.cause == "by /proc/iomem BOOTFB holds 0xa0000000-0xa02fffff")
    }
}
