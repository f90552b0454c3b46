// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import LibPCIBridge

/// The kernel's parsers of command line words, at their limits.
@Suite("words on the kernel command line")
struct BootWordRuleTests {
    private func findings(_ line: String, _ release: String? = nil, _ architecture: String? = "x86_64") -> [BootWords
        .Finding]
    {
        BootWords(line, kernel: KernelIdentity(release: release, architecture: architecture)).findings
    }

    @Test("every word with a value that it takes is taken, by itself on the newest kernel")
    func known() {
        let plain = [
            "off", "nomsi", "noats", "noaer", "earlydump", "realloc", "nodomains", "noari", "notph",
            "pcie_bus_tune_off",
            "pcie_bus_safe", "pcie_bus_perf", "pcie_bus_peer2peer", "pcie_scan_all", "bfsort", "nobfsort", "bios",
            "nobios", "biosirq", "conf1", "conf2", "nommconf", "check_enable_amd_mmconf", "noacpi", "noearly",
            "usepirqmask", "rom", "norom", "nobar", "use_crs", "nocrs", "use_e820", "no_e820", "big_root_window",
            "routeirq", "skip_isa_align", "noioapicquirk", "ioapicreroute", "noioapicreroute",
        ]
        let valued = [
            "realloc=on", "realloc=off", "cbiosize=4K", "cbmemsize=64M", "resource_alignment=12@0000:00:01.0",
            "ecrc=bios", "ecrc=off", "ecrc=on", "hpiosize=4096", "hpmmiosize=2M", "hpmmioprefsize=0x10000000",
            "hpmemsize=1G", "hpbussize=255", "disable_acs_redir=0000:00:01.0", "config_acs=x", "pirqaddr=0xf0000",
            "irqmask=0xf00", "lastbus=0377",
        ]
        for word in plain + valued { #expect(findings("pci=\(word)", "7.2.0") == [], "\(word)") }
        for word in [
            "pcie_ports=compat", "pcie_ports=native", "pcie_ports=dpc-native", "pcie_ports=auto", "pcie_aspm=off",
            "pcie_aspm=force", "pcie_port_pm=off", "pcie_port_pm=force", "pcie_pme=nomsi",
        ] {
            #expect(findings(word) == [], "\(word)")
        }
        #expect(findings("pci=assign-busses").map(\.code) == [.risky])
    }

    @Test(
        "a word is known from its release on, and not a release before",
        arguments: [
            ("notph", "6.13", "6.12"), ("hpmmiosize=1M", "5.5", "5.4"), ("hpmmioprefsize=1M", "5.5", "5.4"),
            ("hpbussize=1", "4.8", "4.7"), ("disable_acs_redir=0000:00:01.0", "4.19", "4.18"),
            ("config_acs=x", "6.11", "6.10"),
            ("use_e820", "5.19", "5.18"), ("no_e820", "5.19", "5.18"), ("big_root_window", "4.16", "4.15"),
        ]
    )
    func since(word: String, first: String, before: String) {
        #expect(findings("pci=\(word)", first + ".0-amd64") == [])
        let found = findings("pci=\(word)", before + ".300")
        #expect(found.map(\.code) == [.unsupported])
        #expect(found.first?.detail == "is known from \(first) on; this kernel is older")
        #expect(findings("pci=\(word)", nil) == [] && findings("pci=\(word)", "main") == [])
    }

    @Test("words of x86 are none elsewhere; where the architecture is not told nothing is said")
    func architecture() {
        for word in ["nocrs", "assign-busses", "norom", "irqmask=1", "skip_isa_align"] {
            #expect(findings("pci=\(word)", nil, "aarch64").contains { $0.detail == "is known on x86 only" }, "\(word)")
            #expect(!findings("pci=\(word)", nil, nil).contains { $0.code == .unsupported })
            #expect(!findings("pci=\(word)", nil, "x86_64").contains { $0.code == .unsupported })
        }
        for word in ["realloc", "hpiosize=1", "pcie_bus_safe"] {
            #expect(findings("pci=\(word)", nil, "riscv64") == [])
        }
    }

    @Test("sizes as memparse reads them: decimal, hexadecimal, octal, one letter for the unit")
    func memparse() throws {
        let table: [(String, UInt64, String)] = [
            ("0", 0, ""), ("12", 12, ""), ("0x1f", 0x1f, ""), ("0X1F", 0x1f, ""), ("010", 8, ""), ("018", 1, "8"),
            ("1K", 1 << 10, ""), ("1k", 1 << 10, ""), ("2M", 2 << 20, ""), ("3g", 3 << 30, ""), ("1T", 1 << 40, ""),
            ("1P", 1 << 50, ""), ("1E", 1 << 60, ""), ("1MB", 1 << 20, "B"), ("1MiB", 1 << 20, "iB"),
            ("1.5G", 1, ".5G"),
            ("5x", 5, "x"), ("16G", 16 << 30, ""),
        ]
        for (text, size, rest) in table {
            let found = try #require(BootWords.memparse(Array(text.utf8)[...]), "\(text)")
            #expect(found.0 == size && found.1.string == rest, "\(text)")
        }
        for text in ["", "x", "M", "0x", "99999999999999999999"] {
            #expect(BootWords.memparse(Array(text.utf8)[...]) == nil, "\(text)")
        }
    }

    @Test("values that the kernel reads otherwise than they look")
    func badValues() {
        let table: [(String, String, String?)] = [
            ("hpmmiosize=lots", "has no number, which the kernel reads as 0", nil),
            ("hpmmiosize=", "has no number, which the kernel reads as 0", nil),
            ("hpmmiosize=1.5G", "is read as 1 bytes: the kernel knows no fractions and ignores the rest", nil),
            ("hpmmiosize=1Mx", "is read as 1M, and the rest (x) is ignored", nil),
            ("hpbussize=x", "has no number, which the kernel reads as 0", nil),
            ("hpbussize=256", "is more than 255, for which the kernel takes its default of 1", "hpbussize=255"),
            ("realloc=1", "is neither on nor off, and changes nothing", "realloc=on"),
            ("ecrc=always", "is none of bios, off, on, and changes nothing", nil),
            ("noatsx", "is read as noats, and the rest is ignored", "noats"),
            ("pcie_bus_safe=1", "is read as pcie_bus_safe, and the rest is ignored", "pcie_bus_safe"),
            (
                "resource_alignment=x@0000:00:01.0",
                "x@0000:00:01.0: expected order@device, order a decimal exponent of two", nil
            ),
            (
                "resource_alignment=64@0000:00:01.0",
                "64@0000:00:01.0: the order is an exponent of two and at most 63; page size is taken", nil
            ),
            ("resource_alignment=20@x", "20@x: expected a device like 0000:03:00.0 or pci:vendor:device", nil),
        ]
        for (word, detail, suggestion) in table {
            let found = findings("pci=\(word)")
            #expect(found.map(\.code) == [.badValue], "\(word)")
            #expect(found.first?.detail == detail && found.first?.suggestion == suggestion, "\(word)")
        }
        for word in [
            "hpmmiosize=1M", "hpmmiosize=1MB", "hpmmiosize=1MiB", "hpmmiosize=1Mb", "hpbussize=255",
            "resource_alignment=63@0000:00:01.0", "resource_alignment=0000:00:01.0/00.0;20@pci:8086:1",
        ] {
            #expect(findings("pci=\(word)") == [], "\(word)")
        }
    }

    @Test("words in quotation marks are one; blanks and line ends part parameters")
    func split() {
        func names(_ line: String) -> [String] { BootWords(line).words.map(\.text) }
        #expect(names("pci=nomsi\tpci=noaer\npci=norom") == ["nomsi", "noaer", "norom"])
        #expect(names("\"pci=nomsi,noaer\" quiet") == ["nomsi", "noaer"])
        #expect(names("x=\"pci=nomsi pci=noaer\"") == [])
        #expect(names("pci=,,nomsi,") == ["nomsi"])
        #expect(names("") == [] && names("pci=") == [])
    }

    @Test("what was taken back later: a size by both sizes, a word by itself")
    func overridden() {
        func taken(_ line: String) -> [String] {
            findings(line).filter { $0.code == .overridden }.map { "\($0.word.text): \($0.detail)" }
        }
        #expect(
            taken("pci=hpmmiosize=1M,hpmmioprefsize=2M,hpmemsize=3M") == [
                "hpmmiosize=1M: is taken back by hpmemsize, which comes later and sets both sizes",
                "hpmmioprefsize=2M: is taken back by hpmemsize, which comes later and sets both sizes",
            ]
        )
        #expect(taken("pci=hpmemsize=3M,hpmmiosize=1M") == [])
        #expect(taken("pci=hpiosize=1,hpmemsize=3M") == [])
        #expect(taken("pci=hpiosize=1 pci=hpiosize=2") == ["hpiosize=1: is taken back by a later hpiosize"])
        #expect(taken("pci=realloc,realloc") == [])
    }

    @Test("words nobody knows: what was meant, by the table, then by few letters, else nothing")
    func unknown() throws {
        let table: [(String, String?)] = [
            ("hpmem=1M", "hpmemsize=1M"), ("hpio=1", "hpiosize=1"), ("hpbus=3", "hpbussize=3"), ("reassign", "realloc"),
            ("noe820", "no_e820"), ("bigrootwindow", "big_root_window"), ("nomsj", "nomsi"), ("xyzzy", nil),
        ]
        for (word, meant) in table {
            let found = try #require(findings("pci=\(word)").first, "\(word)")
            #expect(found.code == .unknown && found.suggestion == meant, "\(word)")
        }
        let cut = try #require(findings("pci=resource_alignment=20@0000:00:01.0,0000:00:02.0").first)
        #expect(cut.code == .badValue)
        #expect(cut.suggestion == "resource_alignment=20@0000:00:01.0;0000:00:02.0")
        let override = findings("pcie_acs_override=downstream")
        #expect(override.map(\.detail) == ["comes from a patch that is in no stock kernel; a stock kernel ignores it"])
        #expect(findings("pcie_xyz=1").map(\.detail) == ["is no parameter of the kernel, which ignores it"])
        #expect(findings("pcie_scan_all").map(\.suggestion) == ["pci=pcie_scan_all"])
        #expect(findings("pciehp.pciehp_debug=1") == [] && findings("pcie_x.y=1") == [])
    }

    @Test("letters that have to change, with two neighbours exchanged as one, up to a limit")
    func distance() {
        func distance(_ a: String, _ b: String, _ limit: Int) -> Int? {
            editDistance(Array(a.utf8), Array(b.utf8), limit: limit)
        }
        let table: [(String, String, Int)] = [
            ("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 1), ("abc", "acb", 1),
            ("abc", "abc", 0), ("abcd", "acbd", 1), ("abcd", "badc", 2), ("a", "b", 1),
        ]
        for (a, b, expected) in table {
            #expect(distance(a, b, expected) == expected && distance(b, a, expected) == expected, "\(a) \(b)")
            if expected > 0 { #expect(distance(a, b, expected - 1) == nil, "\(a) \(b)") }
        }
        let long = String(repeating: "x", count: 64)
        #expect(distance(long, long, 0) == 0 && distance(long + "x", long + "x", 0) == nil)
    }

    @Test("the nearest of what is known: a third of its letters may differ, the first of the nearest wins")
    func nearest() {
        let known = ["plan", "apply", "triage", "Tree"]
        let table: [(String, String?)] = [
            ("plan", "plan"), ("PLAN", "plan"), ("pln", "plan"), ("aply", "apply"), ("tree", "Tree"), ("tre", "Tree"),
            ("traige", "triage"), ("xxxxxx", nil), ("", nil),
        ]
        for (word, expected) in table { #expect(Spelling.nearest(to: word, among: known) == expected, "\(word)") }
        #expect(Spelling.nearest(to: "x", among: []) == nil)
        #expect(Spelling.nearest(to: "ab", among: ["ac", "ad"]) == "ac")
    }
}
