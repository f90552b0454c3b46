// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import Testing

/// fit, compare, map, cmdline and report, driven end to end.
@Suite("The other commands")
struct ToolTests {
    static let boot = FixtureTests.fixture("first-light-6.12/boot.snapshot.json")
    static let failed = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")

    @Test(
        "fit: now, after a plan, never",
        arguments: [
            (["--profile", "nvme"], Int32(0), "FIT: now"),
            (["--pref", "1G"], 3, "FIT: after-plan"),
            (["--mem", "16G"], 2, "FIT: never"),
        ]
    )
    func fit(wish: [String], status: Int32, verdict: String) throws {
        let result = try run(Command.path, ["fit", "02:01.0", "-q", "--from", Self.boot, "--json"] + wish)
        #expect(result.status == status)
        let text = try run(Command.path, ["fit", "02:01.0", "--from", Self.boot] + wish)
        #expect(text.status == status)
        #expect(text.output.split(separator: "\n").last.map(String.init) == verdict)
    }

    @Test(
        "fit says what makes no sense",
        arguments: [["7f:00.0", "--pref", "1G"], ["00:1f.2", "--pref", "1G"], ["02:01.0"]]
    )
    func fitUsage(arguments: [String]) throws {
        #expect(try run(Command.path, ["fit", "--from", Self.boot] + arguments).status == 64)
    }

    @Test("compare: tables that fit the page, the same figures in every form")
    func compare() throws {
        let text = try Command.run("compare", "-v", "--from", Self.failed)
        #expect(text.status == 0)
        for name in ["today", "seabios", "edk2", "coreboot", "u-boot", "freebsd"] {
            #expect(text.output.contains(name), "\(name)")
        }
        let csv = try Command.run("compare", "--csv", "--policies", "today,seabios", "--from", Self.failed)
        #expect(csv.output.hasPrefix("figure,today,seabios"))
        #expect(try Command.run("compare", "--policies", "nobody", "--from", Self.failed).status == 64)
    }

    @Test("compare: policies with platforms and words, and words that nobody knows")
    func policyWords() throws {
        func status(_ word: String) throws -> Int32 {
            try Command.run("compare", "--policies", word, "--from", Self.failed).status
        }
        for word in [
            "linux-6.12@arm64-dt", "linux-7.2@powernv", "linux-6.1@pseries", "linux-6.1+realloc", "linux-7.2+nocrs",
            "linux-6.12@x86-acpi+realloc=off+hpmmiosize=16M", "optimal", "movable",
        ] {
            #expect(try status(word) == 0, "\(word)")
        }
        for word in [
            "linux-2.4", "linux-6.12@vax", "linux-6.12@", "linux-6.12+", "linux-6.12+bogus",
            "linux-6.12@arm64-dt@arm64-dt",
            "linux-7.2@arm64-acpi+nocrs", "linux-6.12@powernv+nocrs", "seabios+realloc", ",",
        ] {
            #expect(try status(word) == 64, "\(word)")
        }
    }

    @Test("compare: a kernel without a platform in its word says which one it runs as")
    func platforms() throws {
        let words = ["compare", "-q", "--policies", "linux-6.12,linux-7.2,linux-7.2@arm64-acpi", "--from", Self.failed]
        #expect(try Command.run(words).output.contains("\nlinux-6.12, linux-7.2: runs as x86-acpi\n"))
        #expect(try Command.run(words + ["--json"]).output.contains("\"linux-7.2: runs as x86-acpi\""))
    }

    @Test("compare: where two policies part, in words and as a document")
    func explain() throws {
        let text = try Command.run("compare", "--explain", "seabios", "ovmf", "--from", Self.failed)
        #expect(text.status == 0)
        #expect(text.output.hasPrefix("seabios and ovmf part at 0000:01:00.0 (bridge), pref window"))
        #expect(text.output.contains("decisions that differ: "))
        let same = try Command.run("compare", "--explain", "seabios", "seabios", "--from", Self.failed)
        #expect(same.output == "seabios and seabios agree in everything\n")
        let json = try Command.run("compare", "--explain", "ovmf", "edk2", "--json", "--from", Self.failed)
        #expect(json.output.contains("pci-rebalance.parting/1"))
        for words in [["--explain", "seabios"], ["--explain", "seabios", "nobody"], ["--explain", "a", "b", "c"]] {
            #expect(try run(Command.path, ["compare", "--from", Self.failed] + words).status == 64, "\(words)")
        }
    }

    /// A log whose one aperture is too small for the one BAR: SeaBIOS and EDK2 give up.
    static let tooSmall = """
        [    6.1] pci_bus 0000:00: root bus resource [mem 0xc0000000-0xc0ffffff window]
        [    6.1] pci 0000:00:02.0: [1b36:0005] type 00 class 0x00ff00
        [    6.3] pci 0000:00:02.0: BAR 0 [mem 0x00000000-0x01ffffff]
        [    6.4] pci 0000:00:02.0: BAR 0 [mem size 0x02000000]: failed to assign

        """

    @Test("compare and map: a policy that gives up says so, and two of them do not agree")
    func halted() throws {
        func output(_ arguments: String...) throws -> String {
            let result = try Command.run(arguments + ["-q", "--from", "-"], input: Self.tooSmall)
            #expect(result.status == 0, "\(result.errors)")
            return result.output
        }
        let both = try output("compare", "--explain", "seabios", "seabios-1.16")
        #expect(both.hasPrefix("seabios halts: out of 32-bit address space\nseabios-1.16 halts: out of "))
        #expect(!both.contains("agree"))
        let one = try output("compare", "--explain", "coreboot", "seabios")
        #expect(one.hasPrefix("seabios halts: out of 32-bit address space\n"))
        #expect(!one.contains("coreboot halts"))
        for second in ["coreboot", "seabios-1.16"] {
            let json = try output("compare", "--explain", "seabios", second, "--json")
            #expect(json.contains("\"out of 32-bit address space\""))
            if SchemaTests.canValidate { try SchemaTests().validate(json, "parting") }
        }
        let table = try output("compare", "--policies", "seabios,seabios-1.16")
        #expect(table.contains("halts"))
        #expect(!table.contains("agree"))
        let json = try output("compare", "--policies", "seabios,coreboot", "--json")
        if SchemaTests.canValidate { try SchemaTests().validate(json, "comparison") }
        let map = try output("map", "--ascii", "--policies", "seabios")
        #expect(map.contains("seabios (gives up: out of 32-bit address space)"))
    }

    @Test("compare and map: apertures that the input does not tell are unknown, and a warning says so")
    func unknownApertures() throws {
        let file = FixtureTests.fixture("C25-rk3399/lspci.txt")
        let commands = [
            ["compare", "-v", "--policies", "today,coreboot"], ["compare", "-v", "--explain", "today", "coreboot"],
            ["map", "--ascii", "--policies", "coreboot"],
        ]
        for command in ["--policies", "--explain"] {
            let words = command == "--explain" ? ["today", "coreboot"] : ["today,coreboot"]
            let brief = try Command.run(["compare", command] + words + ["--from", file])
            #expect(brief.status == 8)
            #expect(brief.output.hasPrefix("cannot tell what another policy would make of this machine\n"))
            #expect(brief.output.contains("the apertures of root bus 0000:00 are not told"))
            #expect(brief.output.contains("what would tell: sudo dmesg"))
            #expect(!brief.output.contains("coreboot"))
        }
        for command in commands {
            let said = try Command.run(command + ["--from", file])
            #expect(said.status == (command[0] == "compare" ? 8 : 0))
            #expect(
                said.errors.contains(
                    "warning: the apertures of root bus 0000:00 are not told: all policies but today follow from what "
                        + "was told alone; what would tell: sudo dmesg > dmesg.txt; sudo cat /proc/iomem > iomem.txt\n"
                )
            )
            #expect(!said.output.contains("has no apertures"))
            let quiet = try Command.run(command + ["-q", "--from", file])
            #expect(!quiet.errors.contains("apertures"))
        }
        let table = try Command.run("compare", "-q", "-v", "--policies", "today,coreboot", "--from", file)
        #expect(table.output.contains("the apertures of root bus 0000:00 are not known"))
        let known = try Command.run("compare", "--policies", "today", "--from", Self.boot)
        #expect(!known.errors.contains("apertures"))
    }

    @Test("compare: what the kernel would do with the next card")
    func nextCard() throws {
        let file = FixtureTests.fixture("three-root-ports-6.12/boot.snapshot.json")
        let csv = try Command.run(
            "compare",
            "--csv",
            "--policies",
            "today,seabios",
            "--plug",
            "nvme",
            "--plug",
            "testdev:64G",
            "--from",
            file
        )
        let rows = csv.output.split(separator: "\r\n").filter { $0.hasPrefix("plug ") }
        #expect(rows.contains { $0.contains(" nvme,0,0") }, "\(rows)")
        #expect(rows.contains { $0.contains("testdev") && !$0.hasSuffix(",0,0") }, "\(rows)")
        let none = try Command.run("compare", "--csv", "--policies", "today", "--plug", "none", "--from", file)
        #expect(!none.output.contains("plug "))
        #expect(try Command.run("compare", "--port", "77:00.0", "--from", file).status == 64)
        #expect(try Command.run("compare", "--plug", "teapot", "--from", file).status == 64)
    }

    @Test("map: on the terminal, as a drawing, as a page, before and after")
    func map() throws {
        let ascii = try Command.run("map", "--ascii", "--from", Self.failed)
        #expect(ascii.status == 0)
        #expect(ascii.output.utf8.allSatisfy { $0 < 0x80 })
        let directory = try TemporaryDirectory()
        let drawing = try Command.run("map", "--after", "-o", directory.path("a.svg"), "--from", Self.failed)
        #expect(drawing.status == 0)
        #expect(try String(contentsOfFile: directory.path("a.svg"), encoding: .utf8).contains("</svg>"))
        let page = try Command.run(
            "map",
            "--policies",
            "seabios,edk2",
            "-o",
            directory.path("a.html"),
            "--from",
            Self.failed
        )
        #expect(page.status == 0)
        #expect(try String(contentsOfFile: directory.path("a.html"), encoding: .utf8).contains("seabios"))
        #expect(try Command.run("map", "-o", "a.png", "--from", Self.failed).status == 64)
    }

    @Test("cmdline: good words, and one that does not exist")
    func cmdline() throws {
        #expect(try Command.run("cmdline", "pci=realloc", "--from", Self.boot).status == 0)
        let bad = try Command.run("cmdline", "pci=hpmemprefsize=1G", "--from", Self.boot)
        #expect(bad.status == 3)
        #expect(bad.output.contains("hpmmioprefsize"))
    }

    @Test("a report holds all sections and is read like the machine")
    func report() throws {
        let directory = try TemporaryDirectory()
        let file = directory.path("report.txt")
        #expect(try Command.run("report", "-o", file, "--from", Self.failed).status == 0)
        let text = try String(contentsOfFile: file, encoding: .utf8)
        for section in ["versions", "check", "tree", "plan", "triage", "kernel log", "/proc/iomem", "snapshot"] {
            #expect(text.contains("\n== \(section) ==\n"), "\(section)")
        }
        for command in ["tree", "check", "plan"] {
            let direct = try Command.run(command, "-q", "--json", "--from", Self.failed)
            let replayed = try Command.run(command, "-q", "--json", "--from", file)
            #expect(direct.output == replayed.output)
            #expect(direct.status == replayed.status)
        }
        try directory.write(String(text.prefix(2000)), "cut.txt")
        #expect(try Command.run("check", "--from", directory.path("cut.txt")).status == 65)
    }

    @Test("a kernel log and a listing alone are enough to see the failure")
    func texts() throws {
        let log = """
            [    6.1] pci_bus 0000:00: root bus resource [mem 0xc0000000-0xfebfffff window]
            [    6.1] pci 0000:00:02.0: [1b36:000c] type 01 class 0x060400
            [    6.2] pci 0000:00:02.0: PCI bridge to [bus 01]
            [    6.3] pci 0000:01:00.0: [1b36:0005] type 00 class 0x00ff00
            [    6.3] pci 0000:01:00.0: BAR 2 [mem 0x00000000-0x3fffffff 64bit pref]
            [    6.4] pci 0000:01:00.0: BAR 2 [mem size 0x40000000 64bit pref]: can't assign; no space
            [    6.4] pci 0000:01:00.0: BAR 2 [mem size 0x40000000 64bit pref]: failed to assign

            """
        let result = try Command.run("check", "-q", "--json", "--from", "-", input: log)
        #expect(result.status == 3)
        #expect(result.output.contains("\"address\": \"0000:01:00.0\""))
    }
}
