// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import LibPCIBridge

/// Each code of triage with a text that has it, and the nearest text that has not; sizes and ranges in words.
@Suite("codes of triage")
struct TriageRuleTests {
    /// The beginning of a boot with a root port that leads to bus 01, and a card there.
    private static let boot = """
        [    0.000000] Linux version 6.12.1
        [    0.100000] PCI host bridge to bus 0000:00
        [    0.100001] pci_bus 0000:00: root bus resource [bus 00-ff]
        [    0.100002] pci_bus 0000:00: root bus resource [io  0x1000-0xffff window]
        [    0.100003] pci_bus 0000:00: root bus resource [mem 0x80000000-0x8fffffff window]
        [    0.200000] pci 0000:00:01.0: [8086:1901] type 01 class 0x060400 PCIe Root Port

        """
    private static let port = """
        [    0.200001] pci 0000:00:01.0: PCI bridge to [bus 01]
        [    0.200002] pci 0000:00:01.0:   bridge window [mem 0x80000000-0x800fffff]
        [    0.200003] pci 0000:01:00.0: [10de:1b80] type 00 class 0x030000 PCIe Endpoint

        """

    private func groups(_ lines: String, port: String = Self.port) -> [Triage.Group] {
        Triage(Self.boot + port + lines).groups
    }

    private func only(_ lines: String, port: String = Self.port) throws -> Triage.Group {
        let groups = groups(lines, port: port)
        #expect(groups.count == 1, "\(groups.map(\.code))")
        return try #require(groups.first)
    }

    @Test(
        "what a BAR that has no address means, by what it is",
        arguments: [
            ("0000:01:00.0: BAR 0 [mem size 0x01000000]", "bar-unassigned", "fatal"),
            ("0000:01:00.0: BAR 0 [mem size 0x01000000 64bit pref]", "bar-unassigned", "fatal"),
            ("0000:01:00.0: ROM [mem size 0x00080000 pref]", "rom", "harmless"),
            ("0000:01:00.0: VF BAR 0 [mem size 0x00080000 64bit]", "vf-bar-unassigned", "degraded"),
            ("0000:00:01.0: BAR 0 [mem size 0x00004000]", "bridge-bar-unassigned", "harmless"),
        ]
    )
    func byKind(what: String, code: String, severity: String) throws {
        let group = try only("[    1.0] pci \(what): can't assign; no space\n")
        #expect(group.code == code && group.severity.rawValue == severity)
        // Placed at a later try it is no failure.
        let address = what.prefix { $0 != "[" }
        let later = try only(
            "[    1.0] pci \(what): can't assign; no space\n"
                + "[    2.0] pci \(address)[mem 0x80000000-0x80003fff]: assigned\n"
        )
        #expect(later.severity == .harmless && later.code == (code == "rom" ? "rom" : "bar-placed-later"))
        #expect(later.summary.contains("0x80000000-0x80003fff"))
        // Refused again afterwards it is one again.
        let again = try only(
            "[    1.0] pci \(address)[mem 0x80000000-0x80003fff]: assigned\n"
                + "[    2.0] pci \(what): can't assign; no space\n"
        )
        #expect(again.code == code)
    }

    @Test("an I/O BAR is needed by a function that has nothing else")
    func ioBAR() throws {
        let line = "[    1.0] pci 0000:01:00.0: BAR 1 [io  size 0x0100]: can't assign; no space\n"
        #expect(try only(line).severity == .fatal)
        let memory = "[    0.3] pci 0000:01:00.0: BAR 0 [mem 0x80000000-0x80003fff]\n"
        let group = try only(memory + line)
        #expect(group.code == "io-bar-unassigned" && group.severity == .harmless)
        #expect(group.summary.hasPrefix("256 bytes of I/O space could not be given"))
    }

    @Test("sizes in words: bytes below 1 KiB, else the largest unit that divides")
    func sizes() {
        let table: [(UInt64, String)] = [
            (0, "0 bytes"), (1, "1 bytes"), (1023, "1023 bytes"), (1024, "1K"), (1536, "\(ByteCount(1536))"),
            (2048, "2K"), (1 << 20, "1M"), (3 << 19, "1536K"), (1 << 30, "1G"), (1 << 40, "1T"), (5 << 39, "2560G"),
            (99_999 << 10, "99999K"), (100_001 << 10, "\(ByteCount(100_001 << 10))"),
        ]
        for (size, text) in table { #expect(TriageJudge.text(ByteCount(size)) == text) }
    }

    @Test("the cause: the window above and its size; where it is large enough, who lies in it and what is left")
    func windowAbove() throws {
        let small = try only("[    1.0] pci 0000:01:00.0: BAR 0 [mem size 0x01000000]: can't assign; no space\n")
        #expect(small.cause == "the mem window of 0000:00:01.0 above it is 1M (0x80000000-0x800fffff)")
        #expect(small.nextStep == "pci-rebalance plan --place 0000:01:00.0")
        // The window holds 1 MiB, half of it is taken at its beginning; 1 MiB is as large as the window.
        let taken = "[    0.3] pci 0000:01:00.0: BAR 1 [mem 0x80000000-0x8007ffff]\n"
        let full = try only(taken + "[    1.0] pci 0000:01:00.0: BAR 0 [mem size 0x00100000]: can't assign; no space\n")
        #expect(
            full.cause
                == "the mem window of 0000:00:01.0 above it is 1M (0x80000000-0x800fffff); 0000:01:00.0 BAR 1 (512K) "
                + "lies in it, and the largest aligned block left is 512K"
        )
        // What would fit into the rest is no matter of who lies there.
        let fits = try only(taken + "[    1.0] pci 0000:01:00.0: BAR 0 [mem size 0x00080000]: can't assign; no space\n")
        #expect(fits.cause == "the mem window of 0000:00:01.0 above it is 1M (0x80000000-0x800fffff)")
    }

    @Test("the cause: windows that failed as well, up to the host bridge and what it has")
    func chain() throws {
        let port = """
            [    0.200001] pci 0000:00:01.0: PCI bridge to [bus 01]
            [    0.200003] pci 0000:01:00.0: [10de:1b80] type 00 class 0x030000 PCIe Endpoint

            """
        func cause(_ size: String) throws -> String? {
            groups(
                "[    1.0] pci 0000:00:01.0: bridge window [mem size \(size)]: can't assign; no space\n"
                    + "[    1.1] pci 0000:01:00.0: BAR 0 [mem size \(size)]: can't assign; no space\n",
                port: port
            ).first { $0.code == "bar-unassigned" }?.cause
        }
        let front = "the mem window of 0000:00:01.0 above it could not be assigned either: "
        // The aperture has 256 MiB.
        #expect(
            try cause("0x20000000") == front + "the host bridge's largest aperture is 256M (0x80000000-0x8fffffff)"
        )
        #expect(
            try cause("0x10000000")?.hasPrefix(front + "the kernel found no room in the host bridge's apertures")
                == true
        )
        let held =
            "[    0.3] pci 0000:00:02.0: [8086:0001] type 00 class 0xff0000\n"
            + "[    0.3] pci 0000:00:02.0: BAR 0 [mem 0x80000000-0x80ffffff]\n"
        let group = groups(
            held + "[    1.0] pci 0000:00:01.0: bridge window [mem size 0x10000000]: can't assign; no space\n"
                + "[    1.1] pci 0000:01:00.0: BAR 0 [mem size 0x10000000]: can't assign; no space\n",
            port: port
        ).first { $0.code == "bar-unassigned" }
        #expect(group?.cause == front + "the host bridge's apertures have no free block of that size left")
    }

    @Test(
        "a window that fails: fatal with a device that goes without, else a reserve, of a port with and without cards"
    )
    func windows() throws {
        let window = "[    1.0] pci 0000:00:01.0: bridge window [mem size 0x00200000]: can't assign; no space\n"
        let port = "[    0.200001] pci 0000:00:01.0: PCI bridge to [bus 01]\n"
        let card = "[    0.200003] pci 0000:01:00.0: [10de:1b80] type 00 class 0x030000 PCIe Endpoint\n"
        let empty = try only(window, port: port)
        #expect(empty.code == "reserve-left-out" && empty.severity == .harmless)
        #expect(empty.summary == "no room to reserve 2M of memory behind this empty port")
        #expect(empty.nextStep == "pci-rebalance fit 0000:00:01.0, before a card is plugged in there")
        let served = try only(window, port: port + card)
        #expect(served.code == "reserve-left-out" && served.summary.hasSuffix("everything behind it has its place"))
        let bar = "[    1.1] pci 0000:01:00.0: BAR 0 [mem size 0x00200000]: can't assign; no space\n"
        let lost = try #require(groups(window + bar, port: port + card).first { $0.resource == "mem window" })
        #expect(lost.code == "window-unassigned" && lost.severity == .fatal)
        #expect(lost.summary == "2M of memory could not be given, and 0000:01:00.0 behind it goes without")
        #expect(lost.nextStep == "pci-rebalance plan --place 0000:01:00.0")
        let second =
            "[    0.3] pci 0000:01:00.1: [10de:10f0] type 00 class 0x040300\n"
            + "[    1.2] pci 0000:01:00.1: BAR 0 [mem size 0x00004000]: can't assign; no space\n"
        let both = try #require(groups(second + window + bar, port: port + card).first { $0.resource == "mem window" })
        #expect(both.summary.hasSuffix("and 0000:01:00.0 and 1 more behind it goes without"))
        // A prefetchable BAR may lie in the memory window, a memory BAR not in the prefetchable one.
        let wide =
            "[    1.0] pci 0000:00:01.0: bridge window [mem size 0x00200000 64bit pref]: can't assign; no space\n"
        let other = try #require(groups(wide + bar, port: port + card).first { $0.resource == "pref window" })
        #expect(other.code == "reserve-left-out")
        let pref = "[    1.1] pci 0000:01:00.0: BAR 0 [mem size 0x00200000 64bit pref]: can't assign; no space\n"
        #expect(groups(window + pref, port: port + card).contains { $0.code == "window-unassigned" })
        let io = "[    1.0] pci 0000:00:01.0: bridge window [io  size 0x1000]: can't assign; no space\n"
        #expect(try only(io, port: port + card).code == "io-window-unused")
        let ioBAR = "[    1.1] pci 0000:01:00.0: BAR 1 [io  size 0x0080]: can't assign; no space\n"
        let missed = try #require(groups(io + ioBAR, port: port + card).first { $0.resource == "io window" })
        #expect(missed.code == "io-window-missed" && missed.severity == .degraded)
    }

    @Test("a window that was released, asked for larger, and has its old place again was not enlarged")
    func notEnlarged() throws {
        let lines = """
            [    1.0] pci 0000:00:01.0: bridge window [mem 0x80000000-0x800fffff]: releasing
            [    1.1] pci 0000:00:01.0: bridge window [mem size 0x00400000]: can't assign; no space
            [    1.2] pci 0000:00:01.0: bridge window [mem 0x80000000-0x800fffff]: assigned

            """
        let group = try only(lines)
        #expect(group.code == "window-not-enlarged" && group.severity == .degraded)
        #expect(group.summary == "could not be enlarged to 4M; it has 1M (0x80000000-0x800fffff) again")
        // At another place, or no larger, it was placed later.
        for (from, to) in [
            (
                "1.2] pci 0000:00:01.0: bridge window [mem 0x80000000-0x800fffff]",
                "1.2] pci 0000:00:01.0: bridge window [mem 0x80100000-0x801fffff]"
            ), ("0x00400000", "0x00100000"),
        ] {
            #expect(try only(lines.replacing(from, with: to)).code == "window-placed-later", "\(to)")
        }
    }

    @Test("a resize that was refused keeps the old size; one that was not is no failure")
    func resize() throws {
        let lines = """
            [    1.0] pci 0000:01:00.0: BAR 0 [mem 0x80000000-0x8007ffff]: releasing
            [    1.1] pci 0000:01:00.0: BAR 0 [mem size 0x00800000]: can't assign; no space
            [    1.2] pci 0000:01:00.0: BAR 0 [mem 0x80000000-0x8007ffff]: assigned

            """
        let group = try only(lines)
        #expect(group.code == "resize-refused" && group.severity == .degraded)
        #expect(group.summary == "was to be resized to 8M, and the kernel found no room; it has its 512K again")
        #expect(group.nextStep == "pci-rebalance plan --resize 0000:01:00.0:0=8M")
        let same = lines.replacing("0x00800000", with: "0x00080000")
        #expect(try only(same).code == "bar-placed-later")
    }

    @Test("legacy ports end below 0x1000; above, an address that is not claimed is fatal")
    func notClaimed() throws {
        func code(_ range: String) throws -> Triage.Group {
            try only("[    1.0] pci 0000:01:00.0: BAR 2 [\(range)]: not claimed; can't enable device\n")
        }
        #expect(try code("io  0x0ff8-0x0fff").code == "legacy-ports" && code("io  0x0ff8-0x0fff").severity == .fatal)
        #expect(try code("io  0x1000-0x1007").code == "bar-not-claimed")
        #expect(try code("mem 0x00000ff8-0x00000fff").code == "bar-not-claimed")
        let outside = try code("mem 0x90000000-0x900fffff")
        #expect(outside.severity == .fatal && outside.cause == "it lies outside the windows of the bridge above it")
        #expect(outside.summary.hasPrefix("has an address at 0x90000000-0x900fffff that the kernel did not accept"))
        let inside = try code("mem 0x80000000-0x800fffff")
        #expect(
            inside.cause == "something else holds its addresses, or its driver came before the kernel had claimed them"
        )
        let zero = try code("mem 0x00000000-0x000fffff")
        #expect(zero.summary.hasPrefix("has no address, and the kernel refuses to enable") && zero.cause == nil)
        let shared = try only(
            "[    0.3] pci 0000:01:00.0: BAR 1 [mem 0x90000000-0x900fffff]\n"
                + "[    1.0] pci 0000:01:00.0: BAR 2 [mem 0x90080000-0x9017ffff]: not claimed; can't enable device\n"
        )
        #expect(
            shared.cause
                == "BAR 1 of the same function lies there as well (0x90000000-0x900fffff), as boot firmware left them"
        )
        let later = try only(
            "[    1.0] pci 0000:01:00.0: BAR 2 [mem 0x90000000-0x900fffff]: not claimed; can't enable device\n"
                + "[    2.0] pci 0000:01:00.0: BAR 2 [mem 0x80000000-0x800fffff]: assigned\n"
        )
        #expect(later.code == "claimed-later" && later.severity == .harmless)
        #expect(later.summary.hasPrefix("had an address that the kernel did not accept when its driver came"))
    }

    @Test("firmware's address that was refused: another, none, or left as it is")
    func claims() throws {
        let line =
            "[    1.0] pci 0000:01:00.0: BAR 0 [mem 0x90000000-0x900fffff]: can't claim; no compatible bridge window\n"
        let failed = try only(line)
        #expect(
            failed.code == "claim-failed" && failed.severity == .degraded && failed.nextStep == "pci-rebalance check"
        )
        #expect(failed.cause == "it lies outside the window of the bridge above it, where firmware left it")
        let placed = try only(line + "[    2.0] pci 0000:01:00.0: BAR 0 [mem 0x80000000-0x800fffff]: assigned\n")
        #expect(placed.code == "claimed-elsewhere" && placed.severity == .harmless)
        let conflict = try only(
            "[    1.0] pci 0000:01:00.0: BAR 0 [mem 0x90000000-0x900fffff]: can't claim; address conflict with x [mem 1]\n"
        )
        #expect(conflict.cause == "something else holds its addresses")
        for (word, code) in [
            ("0x080020", "left-to-firmware"), ("0x060000", "left-to-firmware"), ("0x080100", "claim-failed"),
            ("0x060100", "claim-failed"),
        ] {
            let left = try only(
                "[    0.3] pci 0000:00:02.0: [8086:0001] type 00 class \(word)\n"
                    + line.replacing("0000:01:00.0", with: "0000:00:02.0")
            )
            #expect(left.code == code, "\(word)")
            #expect(left.cause?.contains("what the host bridge decodes") == true)
        }
    }

    @Test("bus numbers: cut, refused, outside, exhausted, renumbered, and those kept for cards to come")
    func buses() throws {
        let table: [(String, String, String)] = [
            (
                "pci_bus 0000:01: busn_res: can not insert [bus 01-ff] under [bus 00-3f] (conflicts with (null) [bus 00-3f])",
                "bus-range-refused", "harmless"
            ),
            (
                "pci_bus 0000:07: busn_res: can not insert [bus 07-ff] under [bus 00-3f] (conflicts with (null) [bus 00-3f])",
                "bus-refused", "degraded"
            ),
            (
                "pci 0000:00:01.0: devices behind bridge are unusable because [bus 02] cannot be assigned for them",
                "buses-outside", "fatal"
            ),
            ("pci 0000:00:01.0: No bus number available for hot-added bridge", "buses-exhausted", "fatal"),
            (
                "pci 0000:00:01.0: bridge configuration invalid ([bus 00-00]), reconfiguring", "buses-renumbered",
                "harmless"
            ),
            (
                "pcieport 0000:00:01.0: pciehp: Hotplug bridge without secondary bus, ignoring", "slot-without-bus",
                "fatal"
            ),
        ]
        for (line, code, severity) in table {
            let group = try only("[    1.0] \(line)\n")
            #expect(group.code == code && group.severity.rawValue == severity, "\(line) \(group.code)")
        }
        let refused =
            "[    1.0] pci_bus 0000:01: busn_res: can not insert [bus 01-ff] under [bus 00-3f] (conflicts with "
            + "(null) [bus 00-3f])\n"
        func cut(_ end: String) throws -> Triage.Group {
            try only(refused + "[    1.1] pci_bus 0000:01: busn_res: [bus 01-ff] end is updated to \(end)\n")
        }
        #expect(try cut("3f").code == "bus-range-cut" && cut("01").code == "bus-range-cut")
        #expect(try cut("40").code == "bus-refused")
        // With buses of the segment that cannot be reached, an overlap is fatal.
        let unreachable =
            "[    1.2] pci 0000:00:01.0: devices behind bridge are unusable because [bus 02] cannot be assigned "
            + "for them\n"
        let overlap = try #require(groups(refused + unreachable).first { $0.code == "bus-refused" })
        #expect(overlap.severity == .fatal)
    }

    @Test("what a rest of bus numbers is for: nothing is on them, or somebody is")
    func busReserve() throws {
        let line = "[    1.0] pci 0000:00:01.0: bridge has subordinate 01 but max busn 05\n"
        let empty = try only(line)
        #expect(empty.code == "bus-reserve-left-out" && empty.severity == .harmless)
        #expect(empty.summary.contains("(up to 05)"))
        for bus in ["02", "05"] {
            let used = "[    0.9] pci 0000:\(bus):00.0: [8086:1572] type 00 class 0x020000\n"
            #expect(groups(used + line).contains { $0.code == "buses-outside" && $0.severity == .fatal }, "\(bus)")
        }
        let beyond = "[    0.9] pci 0000:06:00.0: [8086:1572] type 00 class 0x020000\n"
        #expect(groups(beyond + line).contains { $0.code == "bus-reserve-left-out" })
        let fewer = line.replacing("max busn 05", with: "max busn 01")
        #expect(try only(fewer).code == "buses-outside")
    }

    @Test("messages about devices, virtual functions and host bridges")
    func others() throws {
        let table: [(String, String, String)] = [
            ("pci 0000:01:00.0: not enough MMIO resources for SR-IOV", "vf-memory", "degraded"),
            ("igb 0000:01:00.0: SR-IOV: bus number out of range", "vf-bus-range", "degraded"),
            ("igb 0000:01:00.0: can't enable 8 VFs (bus 03 out of range of [bus 01-02])", "vf-bus-range", "degraded"),
            ("nvme 0000:01:00.0: can't enable device: x", "cannot-enable", "fatal"),
            ("amdgpu 0000:01:00.0: Failed to resize BAR 0 (-28).", "resize-refused", "degraded"),
            ("pci 0000:01:00.0: BAR 0: error updating (high 0x80000000 != 0)", "bar-unusable", "degraded"),
            (
                "pci 0000:01:00.0: BAR 0 [mem 0x400000000-0x4ffffffff 64bit]: can't handle BAR larger than 4GB (size 1)",
                "bar-unusable", "degraded"
            ),
            ("pci 0000:00:01.0: can't handle bridge window above 4GB (bus address 0x1)", "window-unusable", "degraded"),
            (
                "pci 0000:00:01.0: bridge window [mem 0x80000000-0x800fffff]: was not released (still contains assigned "
                    + "resources)", "pinned", "degraded"
            ),
            (
                "pci 0000:00:01.0: Assigned bridge window [mem 0x80000000-0x800fffff] to [bus 01] cannot fit 0x200000 required "
                    + "for 0000:01:00.0 bridging to [bus 02]", "relaxed-sizing", "harmless"
            ),
            (
                "pci 0000:00:01.0: bridge window [mem 0x80000000-0x800fffff]: failed to add optional 100000",
                "optional-left-out", "harmless"
            ),
            (
                "pci 0000:01:00.0: BAR 0 [mem 0x90000000-0x900fffff]: initial BAR value 0x0 invalid",
                "bar-value-invalid",
                "harmless"
            ),
            ("vfio-pci 0000:01:00.0: BAR 0: can't reserve [mem 0x80000000-0x800fffff]", "bar-in-use", "degraded"),
            (
                "pci_bus 0000:00: Some PCI device resources are unassigned, try booting with pci=realloc", "summary",
                "harmless"
            ),
            (
                "PCI: Ignoring host bridge window [mem 0x1-0x2] due to conflict with PCI Bus 0000:00",
                "firmware-overlap",
                "harmless"
            ),
        ]
        for (line, code, severity) in table {
            let group = try only("[    1.0] \(line)\n")
            #expect(group.code == code && group.severity.rawValue == severity, "\(line): \(group.code)")
        }
    }

    @Test("the kernel's summary is a problem only beside something that is needed and lost")
    func summary() throws {
        let line = "[    3.0] pci_bus 0000:00: Some PCI device resources are unassigned, try booting with pci=realloc\n"
        let lost = "[    1.0] pci 0000:01:00.0: BAR 0 [mem size 0x01000000]: can't assign; no space\n"
        let group = try #require(groups(lost + line).first { $0.code == "summary" })
        #expect(group.severity == .degraded && group.nextStep?.hasPrefix("see the groups above") == true)
        let rom = "[    1.0] pci 0000:01:00.0: ROM [mem size 0x00080000 pref]: can't assign; no space\n"
        let harmless = try #require(groups(rom + line).first { $0.code == "summary" })
        #expect(harmless.severity == .harmless && harmless.nextStep == nil)
        #expect(harmless.summary.hasSuffix("nothing that is needed, by this log"))
    }

    @Test("who pins a window: the BARs of its kind and the windows on the bus below, at most three by name")
    func pins() throws {
        let pinned =
            "[    1.0] pci 0000:00:01.0: bridge window [mem 0x80000000-0x800fffff]: was not released (still contains "
            + "assigned resources)\n"
        var bars = ""
        for n in 0..<3 { bars += "[    0.3] pci 0000:01:00.0: BAR \(n) [mem 0x8000\(n)000-0x8000\(n)fff]\n" }
        #expect(try only(bars + pinned).cause == "held by 0000:01:00.0 BAR 0, 0000:01:00.0 BAR 1, 0000:01:00.0 BAR 2")
        bars += "[    0.3] pci 0000:01:00.0: BAR 3 [mem 0x80003000-0x80003fff]\n"
        #expect(try only(bars + pinned).cause?.contains("BAR 2 and 1 more") == true)
        let other =
            "[    0.3] pci 0000:01:00.0: BAR 1 [mem 0x80000000-0x80000fff 64bit pref]\n"
            + "[    0.3] pci 0000:01:00.0: BAR 3 [io  0x2000-0x20ff]\n"
            + "[    0.3] pci 0000:01:00.0: ROM [mem 0x80010000-0x8001ffff pref]\n"
        #expect(try only(other + pinned).cause == nil)
    }

    @Test("lines are counted, sorted worst first, and those that are alike told together after three")
    func output() {
        var text = Self.boot + Self.port
        for device in 2..<8 {
            text += "[    0.5] pci 0000:00:0\(device).0: [8086:0001] type 00 class 0xff0000\n"
            text += "[    1.0] pci 0000:00:0\(device).0: BAR 0 [mem size 0x20000000]: can't assign; no space\n"
            text += "[    1.0] pci 0000:00:0\(device).0: BAR 0 [mem size 0x20000000]: failed to assign\n"
        }
        for device in 2..<8 {
            text += "[    1.1] pci 0000:00:0\(device).0: ROM [mem size 0x00010000 pref]: can't assign; no space\n"
        }
        let triage = Triage(text)
        let lines = triage.lines()
        #expect(lines.first == "18 failing lines in 12 groups: 6 fatal, 0 degraded, 6 harmless")
        #expect(triage.failingLines == 18 && triage.count(of: .fatal) == 6)
        #expect(lines.filter { $0.hasPrefix("FATAL    0000:00:0") }.count == 3)
        #expect(
            lines.contains(
                "FATAL    3 more like it (bar-unassigned, 6 lines): 0000:00:05.0 BAR 0, 0000:00:06.0 BAR 0, "
                    + "0000:00:07.0 BAR 0"
            )
        )
        #expect(
            lines.contains(
                "harmless expansion ROMs: read at boot only, drivers do without (6 lines: 0000:00:02.0 0000:00:03.0 "
                    + "0000:00:04.0 0000:00:05.0 and 2 more)"
            )
        )
        let verbose = triage.lines(isVerbose: true)
        #expect(verbose.filter { $0.hasPrefix("FATAL    ") }.count == 6)
        #expect(verbose.filter { $0.hasPrefix("         log:   ") }.count == 12)
    }

    @Test("a driver's report without an address counts with the one that has it")
    func driverReports() throws {
        let named = "[    2.0] NVRM: BAR1 is 0M @ 0x0 (PCI:0000:01:00.0)\n"
        let nameless = "[    2.1] NVRM: The NVIDIA device is invalid\n"
        let group = try only(named + nameless)
        #expect(group.code == "driver-reports-no-bar" && group.severity == .fatal && group.lineCount == 2)
        #expect(group.address?.description == "0000:01:00.0")
        // By itself it is about the only display of NVIDIA that the log finds, if there is one.
        #expect(try only(nameless).address?.description == "0000:01:00.0" && only(nameless).lineCount == 1)
        let other = Self.port.replacing("10de:", with: "1002:")
        #expect(try only(nameless, port: other).address == nil)
    }
}
