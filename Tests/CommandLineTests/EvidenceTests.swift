// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Testing

/// Never more than the evidence: pasted texts, each of a kind that tells less than it seems to.
@Suite("Never more than the evidence")
struct EvidenceTests {
    private func check(_ text: String, _ arguments: String...) throws -> (status: Int32, output: String) {
        let result = try Command.run(["check", "-q", "--json", "--from", "-"] + arguments, input: text)
        let shown = try Command.run(["check", "-v", "--from", "-"] + arguments, input: text)
        #expect(shown.status == result.status)
        return (result.status, shown.output)
    }

    private func plan(_ text: String, _ arguments: String...) throws -> (status: Int32, verdict: String, output: String)
    {
        let result = try Command.run(["plan", "--from", "-"] + arguments, input: text)
        return (result.status, result.output.split(separator: "\n").last.map(String.init) ?? "", result.output)
    }

    private func triage(_ text: String) throws -> (status: Int32, output: String) {
        let result = try Command.run("triage", "-", input: text, environment: ["COLUMNS": ""])
        return (result.status, result.output)
    }

    /// A bus 00 with a port, as lspci -vv shows it, and what is behind it.
    private func listing(_ behind: String, windows: String = "\tMemory behind bridge: e0000000-e00fffff [size=1M]\n")
        -> String
    {
        """
        00:00.0 Host bridge [0600]: Example Host [1234:0001]
        \tControl: I/O- Mem+ BusMaster+
        00:03.0 PCI bridge [0604]: Example Port [1234:0002] (prog-if 00 [Normal decode])
        \tControl: I/O+ Mem+ BusMaster+
        \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0

        """ + windows + behind
    }

    // MARK: Nothing understood is not healthy

    @Test("texts that describe no function give the third verdict, status 8, and the commands that would tell")
    func nothing() throws {
        for text in [
            "80000000-dfffffff : PCI Bus 0000:00\n  80000000-8fffffff : PCI Bus 0000:05\n",
            "pcieport 0000:20:01.0: AER: Correctable error message received from 0000:21:00.0\n",
        ] {
            let (status, output) = try check(text)
            #expect(status == 8, "\(output)")
            #expect(output.contains("cannot tell:") && output.contains("sudo lspci -vvxxx"))
            #expect(!output.contains("healthy"))
            let plan = try plan(text)
            #expect(plan.status == 8)
            #expect(plan.verdict.hasPrefix("PLAN: unknown reason="))
        }
    }

    @Test("a listing of names alone is not healthy; with -v it is")
    func names() throws {
        let short = "00:00.0 Host bridge: Example\n00:02.0 Ethernet controller: Example\n"
        #expect(try check(short).status == 8)
        let long = """
            00:00.0 Host bridge: Example
            00:02.0 Ethernet controller: Example
            \tFlags: bus master, fast devsel, latency 0
            \tMemory at f0000000 (32-bit, non-prefetchable) [size=64K]

            """
        let (status, output) = try check(long)
        #expect(status == 0 && output.contains("healthy: 2 functions"), "\(output)")
    }

    @Test("a snapshot of which functions fell out, or have no registers, is not healthy")
    func damagedSnapshot() throws {
        let file = FixtureTests.fixture("first-light-6.12/boot.snapshot.json")
        let text = try String(contentsOfFile: file, encoding: .utf8)
        var document = try #require(
            try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        )
        var functions = try #require(document["functions"] as? [[String: Any]])
        for i in functions.indices where i % 2 == 1 {
            functions[i]["config"] = nil
            functions[i]["configSize"] = nil
        }
        document["functions"] = functions
        let bytes = try JSONSerialization.data(withJSONObject: document, options: .sortedKeys)
        let (status, output) = try check(String(decoding: bytes, as: UTF8.self))
        #expect(status == 8 || status == 3, "\(output)")
        #expect(!output.hasPrefix("healthy") && output.contains("not told:"), "\(output)")
    }

    // MARK: A fragment proves neither a way nor that there is none

    @Test("a card whose bridges nobody told: fatal, a problem, and no word on what is possible")
    func fragment() throws {
        let log = """
            pci 0000:2a:00.0: BAR 2 [mem size 0x10000000 64bit pref]: can't assign; no space
            pci 0000:2a:00.0: BAR 2 [mem size 0x10000000 64bit pref]: failed to assign

            """
        let triage = try triage(log)
        #expect(triage.status == 3 && triage.output.contains("FATAL    0000:2a:00.0 BAR 2"))
        #expect(!triage.output.contains("plan --place"), "the tool itself would not take that step: \(triage.output)")
        let check = try check(log)
        #expect(check.status == 3 && check.output.contains("0000:2a:00.0"))
        let plan = try plan(log)
        #expect(plan.status == 8 && plan.verdict.hasPrefix("PLAN: unknown reason="), "\(plan.output)")
        #expect(plan.output.contains("sudo lspci -vvxxx"))
    }

    @Test("bus numbers that ran out in a fragment: reported, never healthy")
    func busFragment() throws {
        let log = """
            pci 0000:31:01.0: bridge configuration invalid ([bus 00-00]), reconfiguring
            pcieport 0000:31:01.0: pciehp: Hotplug bridge without secondary bus, ignoring

            """
        #expect(try triage(log).output.contains("FATAL    0000:31:01.0 bus numbers"))
        #expect(try check(log).status == 3)
        #expect(try plan(log).verdict.hasPrefix("PLAN: unknown reason="))
    }

    @Test("whether a card fits below a port of which only numbers are told cannot be told")
    func fit() throws {
        let text = """
            00:00.0 Host bridge: Example
            00:04.0 PCI bridge: Example (prog-if 00 [Normal decode])
            \tBus: primary=00, secondary=02, subordinate=02, sec-latency=0

            """
        let result = try Command.run("fit", "00:04.0", "--mem", "16M", "--from", "-", input: text)
        #expect(result.status == 8)
        #expect(result.output.hasSuffix("FIT: cannot tell\n"))
    }

    // MARK: Triage has no harmless default

    @Test("a resize that the kernel refused is degraded, with the window that was too small")
    func refusedResize() throws {
        let log = """
            pci_bus 0000:00: root bus resource [mem 0x4000000000-0x7fffffffff window]
            pci 0000:00:01.0: PCI bridge to [bus 01]
            pci 0000:00:01.0:   bridge window [mem 0x4000000000-0x4017ffffff 64bit pref]
            pci 0000:01:00.0: [1002:73bf] type 00 class 0x030000 PCIe Legacy Endpoint
            pci 0000:01:00.0: BAR 0 [mem 0x4000000000-0x400fffffff 64bit pref]
            amdgpu 0000:01:00.0: BAR 0 [mem 0x4000000000-0x400fffffff 64bit pref]: releasing
            pcieport 0000:00:01.0: bridge window [mem 0x4000000000-0x4017ffffff 64bit pref]: releasing
            pcieport 0000:00:01.0: bridge window [mem size 0x600000000 64bit pref]: can't assign; no space
            pcieport 0000:00:01.0: bridge window [mem size 0x600000000 64bit pref]: failed to assign
            pci 0000:01:00.0: BAR 0 [mem size 0x400000000 64bit pref]: can't assign; no space
            pci 0000:01:00.0: BAR 0 [mem size 0x400000000 64bit pref]: failed to assign
            pci 0000:00:01.0: PCI bridge to [bus 01]
            pci 0000:00:01.0:   bridge window [mem 0x4000000000-0x4017ffffff 64bit pref]
            pci 0000:01:00.0: BAR 0 [mem 0x4000000000-0x400fffffff 64bit pref]: assigned

            """
        let triage = try triage(log)
        #expect(triage.output.contains("DEGRADED 0000:01:00.0 BAR 0: was to be resized to 16G"), "\(triage.output)")
        #expect(triage.output.contains("needed 24G"))
        #expect(!triage.output.contains("harmless reserves"))
        let check = try check(log)
        #expect(check.output.contains("resize-refused"), "\(check.output)")
    }

    @Test("a window that failed above something that nobody described is no reserve")
    func neededWindow() throws {
        let log = """
            pci 0000:06:00.0: [10ee:9038] type 00 class 0x120000 PCIe Endpoint
            pci 0000:06:00.0: BAR 0 [mem 0x00000000-0x001fffff 64bit]
            pcieport 0000:05:08.0: bridge window [mem size 0x00200000]: can't assign; no space
            pcieport 0000:05:08.0: bridge window [mem size 0x00200000]: failed to assign
            pci 0000:06:00.0: BAR 0 [mem size 0x00200000 64bit]: can't assign; no space
            pci 0000:06:00.0: BAR 0 [mem size 0x00200000 64bit]: failed to assign

            """
        let triage = try triage(log)
        #expect(!triage.output.contains("\nharmless"), "\(triage.output)")
        #expect(triage.output.contains("FATAL    0000:06:00.0 BAR 0"))
    }

    @Test("a root port's own BARs are harmless for triage as they are for check; so is a cut bus range")
    func portOwn() throws {
        let log = """
            pci_bus 0001:00: root bus resource [bus 00-1f]
            pci_bus 0001:00: root bus resource [mem 0xf8000000-0xf9ffffff]
            pci 0001:00:00.0: [1d87:3588] type 01 class 0x060400 PCIe Root Port
            pci 0001:00:00.0: BAR 0 [mem 0x00000000-0x3fffffff]
            pci_bus 0001:01: busn_res: can not insert [bus 01-ff] under [bus 00-1f] (conflicts with (null) [bus 00-1f])
            pci_bus 0001:01: busn_res: [bus 01-ff] end is updated to 01
            pci 0001:00:00.0: BAR 0 [mem size 0x40000000]: can't assign; no space
            pci 0001:00:00.0: BAR 0 [mem size 0x40000000]: failed to assign
            pci 0001:00:00.0: PCI bridge to [bus 01]
            rockchip-dw-pcie a40c00000.pcie: Phy link never came up

            """
        let triage = try triage(log)
        #expect(triage.status == 0, "\(triage.output)")
        let check = try check(log)
        #expect(check.status == 0, "\(check.output)")
        #expect(check.output.contains("nothing answers behind 0001:00:00.0"))
        #expect(check.output.contains("Phy link never came up"))
    }

    @Test("an I/O BAR beside memory BARs is rated the same by triage and check, also where none has its place")
    func optionalIO() throws {
        let log = """
            pci_bus 0000:00: root bus resource [mem 0x20000000-0x200fffff]
            pci 0000:00:01.0: [8086:2922] type 00 class 0x010601 conventional PCI endpoint
            pci 0000:00:01.0: BAR 4 [io  0x0000-0x001f]
            pci 0000:00:01.0: BAR 5 [mem 0x00000000-0x000007ff]
            pci 0000:00:01.0: BAR 5 [mem 0x20000000-0x200007ff]: assigned
            pci 0000:00:01.0: BAR 4 [io  size 0x0020]: can't assign; no space
            pci 0000:00:01.0: BAR 4 [io  size 0x0020]: failed to assign

            """
        #expect(try triage(log).status == 0)
        #expect(try check(log).status == 0)
    }

    // MARK: Not claimed is not "has none"

    @Test("an address that the kernel did not accept is named as one; an overlap within the function is a problem")
    func notClaimed() throws {
        let log = """
            pci_bus 0000:00: root bus resource [mem 0x600000000-0x6ffffffff] (bus address [0xc0000000-0x1bfffffff])
            pci 0000:00:00.0: [14e4:2711] type 01 class 0x060400 PCIe Root Port
            pci 0000:00:00.0: PCI bridge to [bus 01]
            pci 0000:00:00.0:   bridge window [mem 0x600000000-0x6008fffff]
            pci 0000:01:00.0: [1106:3483] type 00 class 0x0c0330 PCIe Endpoint
            pci 0000:01:00.0: BAR 0 [mem 0x600000000-0x600000fff 64bit]
            pci 0000:01:00.0: BAR 2 [mem 0x600000000-0x60000ffff 64bit]
            xhci_hcd 0000:01:00.0: BAR 0 [mem 0x600000000-0x600000fff 64bit]: not claimed; can't enable device

            """
        let triage = try triage(log)
        #expect(triage.output.contains("has an address at 0x600000000-0x600000fff that the kernel did not accept"))
        #expect(triage.output.contains("BAR 2 of the same function"), "\(triage.output)")
        let check = try check(log)
        #expect(check.status == 3)
        #expect(check.output.contains("[overlap]") && check.output.contains("[bar-unclaimed]"), "\(check.output)")
        #expect(!check.output.contains("has no address"))
        let plan = try plan(log)
        #expect(!plan.verdict.hasPrefix("PLAN: none"), "\(plan.output)")
    }

    @Test("what was refused first and assigned later is told in order and is no problem")
    func claimedLater() throws {
        let log = """
            pci 0000:07:00.0: [10ee:7021] type 00 class 0x120000 PCIe Endpoint
            pci 0000:07:00.0: BAR 0 [mem 0x00000000-0x0007ffff]
            pci 0000:07:00.0: BAR 0 [mem 0x00000000-0x0007ffff]: not claimed; can't enable device
            pci 0000:07:00.0: BAR 0 [mem 0x91000000-0x9107ffff]: assigned

            """
        let triage = try triage(log)
        #expect(triage.status == 0)
        #expect(triage.output.contains("then the kernel gave it one at 0x91000000"), "\(triage.output)")
        let check = try check(log)
        #expect(check.status == 0 && check.output.contains("healthy as far as seen: 1 function"), "\(check.output)")
        #expect(check.output.contains("is not why"), "\(check.output)")
    }

    // MARK: Values that nobody read

    @Test("ids in brackets are four digits each; a class that is not told is unknown")
    func brackets() throws {
        let text = "00:01.2 PCI bridge: Example [AMD] Bridge [3:0] (prog-if 00 [Normal decode])\n"
        let tree = try Command.run("tree", "--json", "-q", "--from", "-", input: text)
        #expect(!tree.output.contains("\"0x0003\""), "\(tree.output)")
    }

    @Test("a function that does not answer makes no root bus")
    func dead() throws {
        let text = listing(
            "04:00.0 3D controller [0302]: Example [10de:1234] (rev ff) (prog-if ff)\n"
                + "\t!!! Unknown header type 7f\n"
        )
        let (status, output) = try check(text)
        #expect(status == 8, "\(output)")
        #expect(output.contains("0000:04:00.0: does not answer"))
        #expect(!output.contains("partially hidden"))
    }

    @Test("a function below a told bridge that lspci read all ones of is named", arguments: ["", " (prog-if ff)"])
    func silent(interface: String) throws {
        let text = """
            00:00.0 Host bridge: Example
            00:01.0 PCI bridge: Example (prog-if 00 [Normal decode])
            \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0
            01:00.0 3D controller [0302]: Example [10de:1234] (rev ff)\(interface)

            """
        let (status, output) = try check(text)
        #expect(status == 3, "\(output)")
        #expect(output.contains("problem: 0000:01:00.0 (3D controller"))
        #expect(output.contains("[not-answering]"), "\(output)")
        #expect(try check(text.replacing("(rev ff)", with: "(rev a1)")).0 == 8)
    }

    @Test("a VF whose dump has ids of ones answers")
    func virtual() throws {
        let zeroes = ["10", "20", "30"].map { "\($0):" + String(repeating: " 00", count: 16) }
        let dump = ["00: ff ff ff ff 06 04 10 00 01 00 00 02 00 00 00 00"] + zeroes
        let text = """
            00:00.0 Host bridge: Example
            00:03.0 Ethernet controller: Example Virtual Function (rev 01)
            \(dump.joined(separator: "\n"))

            """
        let (_, output) = try check(text)
        #expect(!output.contains("not-answering"), "\(output)")
    }

    @Test("an address wider than its register in a text is no contradiction between kernel and register")
    func busAddresses() throws {
        let text = """
            00:00.0 Host bridge: Example
            00:05.0 SATA controller: Example
            \tControl: I/O+ Mem+ BusMaster+
            \tRegion 5: Memory at e0041001800 (32-bit, non-prefetchable) [size=2K]

            """
        let (status, output) = try check(text)
        #expect(status == 0, "\(output)")
        #expect(!output.contains("register says"))
    }

    @Test("one Region without a size leaves the others of its function")
    func oneSize() throws {
        let text = listing(
            """
            01:00.0 Ethernet controller [0200]: Example [1234:0003]
            \tControl: I/O- Mem+ BusMaster+
            \tRegion 0: Memory at e0000000 (32-bit, non-prefetchable) [size=64K]
            \tRegion 2: Memory at e0040000 (64-bit, non-prefetchable)

            """
        )
        let (status, output) = try check(text)
        #expect(status == 8 && output.contains("sizes are not told"), "\(output)")
        let tree = try Command.run("tree", "-vv", "-q", "--from", "-", input: text)
        #expect(tree.output.contains("e0000000"), "\(tree.output)")
        #expect(try plan(text).verdict.hasPrefix("PLAN: unknown"))
    }

    @Test("ports that lspci ignores are no lost BAR")
    func ignoredPorts() throws {
        let text = """
            00:00.0 Host bridge: Example
            00:06.1 System peripheral: Example
            \tControl: I/O- Mem- BusMaster-
            \tRegion 2: I/O ports at <ignored> [disabled]

            """
        #expect(try check(text).status == 0)
    }

    // MARK: Room that cannot be reached

    @Test("room above 4 GiB is none for what goes through a 32-bit window")
    func unreachableRoom() throws {
        let log = """
            pci_bus 0000:00: root bus resource [mem 0xc0000000-0xcfffffff window]
            pci_bus 0000:00: root bus resource [mem 0x1000000000-0x1fffffffff window]
            pci_bus 0000:00: root bus resource [bus 00-ff]
            pci 0000:00:01.0: [10b5:8112] type 01 class 0x060400 PCIe to PCI/PCI-X bridge
            pci 0000:00:01.0: PCI bridge to [bus 01]
            pci 0000:00:01.0:   bridge window [mem 0xc0000000-0xcfffffff]
            pci 0000:01:00.0: [1002:5b60] type 00 class 0x030000 conventional PCI endpoint
            pci 0000:01:00.0: BAR 0 [mem 0xc0000000-0xcfffffff 64bit]
            pci 0000:01:00.0: BAR 2 [mem 0x00000000-0x0003ffff 64bit]
            pci 0000:01:00.0: BAR 2 [mem size 0x00040000 64bit]: can't assign; no space
            pci 0000:01:00.0: BAR 2 [mem size 0x00040000 64bit]: failed to assign

            """
        let (status, output) = try check(log)
        #expect(status == 3)
        #expect(!output.contains("the host bridge has room:"), "\(output)")
        let line = output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        #expect(line.contains("cannot be reached: the memory window of 0000:00:01.0 can only lie below 4 GiB"))
    }

    // MARK: Machines and boots told apart

    @Test("a log of another boot is left out and named; the verdict does not join them")
    func otherBoot() throws {
        let directory = try TemporaryDirectory()
        let one = """
            Linux version 6.12.1 (a@b) #1
            pci_bus 0000:00: root bus resource [mem 0xc0000000-0xcfffffff window]
            pci 0000:00:02.0: [1234:0003] type 00 class 0x020000
            pci 0000:00:02.0: BAR 0 [mem 0xc0000000-0xc000ffff]

            """
        let other = """
            Linux version 6.6.9 (a@b) #1
            pci_bus 0000:00: root bus resource [mem 0xe0000000-0xefffffff window]
            pci 0000:00:02.0: [1234:0003] type 00 class 0x020000
            pci 0000:00:02.0: BAR 0 [mem size 0x00010000]: can't assign; no space

            """
        try one.write(toFile: directory.path("one"), atomically: true, encoding: .utf8)
        try other.write(toFile: directory.path("other"), atomically: true, encoding: .utf8)
        let result = try Command.run("check", "--from", directory.path("one"), "--from", directory.path("other"))
        #expect(result.status == 8, "\(result.output)")
        #expect(result.output.contains("of two boots: kernel 6.12.1 and kernel 6.6.9"))
    }

    @Test("a log that lost characters says so and is not healthy")
    func damagedLog() throws {
        let log = """
            pci_bus 0000:00: root bus resource [mem 0xc0000000-0xcfffffff window]
            pci 0000:00:02.0: [1234:0003] type 00 class 0x020000
            pci 0000:00:02.0: BAR 0 [mem 0xc0000000-0xc000ffff]
            pci 0000:00:3: [1234:0004] type 00 class 0x020000
            pci 0000:00:02.0: BAR 1 [mem 0xc01-
            pci 000000.04.0: [1234:0005] tpe 00 class 0x020000

            """
        let (status, output) = try check(log)
        #expect(status == 8, "\(output)")
        #expect(output.contains("lost characters"))
    }
}
