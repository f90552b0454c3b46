// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Testing

/// What an input does not tell is not made up: neither health, nor a cause, nor an address.
@Suite struct UntoldTests {
    private func run(_ command: String, _ text: String, _ arguments: String...) throws -> (
        status: Int32, output: String
    ) {
        let from = command == "triage" ? ["-"] : ["--from", "-"]
        let result = try Command.run([command] + arguments + from, input: text, environment: ["COLUMNS": ""])
        return (result.status, result.output)
    }

    @Test("why a kernel's behaviour is not known is said once, and every behaviour that it may have")
    func behaviours() throws {
        let listing = "00:02.0 Ethernet controller: Some card\n\tRegion 0: Memory at 90000000 (32-bit) [size=16M]\n"
        let words = try run("check", listing, "-v").output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        #expect(words.components(separatedBy: "the release cannot be read").count == 2)
        for name in ["linux-5.10", "linux-6.1,", "linux-6.12", "linux-7.3"] { #expect(words.contains(name)) }
    }

    private static let host = """
        Linux version 6.12.9-amd64 (build) #1
        Command line: quiet
        ACPI: PCI Root Bridge [PCI0] (domain 0000 [bus 00-fe])
        PCI host bridge to bus 0000:00
        pci_bus 0000:00: root bus resource [io  0x2000-0xffff window]
        pci_bus 0000:00: root bus resource [mem 0x000a0000-0x000bffff window]
        pci_bus 0000:00: root bus resource [mem 0x90000000-0xbfffffff window]
        pci_bus 0000:00: root bus resource [mem 0x4000000000-0x4fffffffff window]
        pci_bus 0000:00: root bus resource [bus 00-fe]

        """

    @Test(
        "triage of a text without a message about PCI cannot tell",
        arguments: [
            "00:02.0 VGA compatible controller: Some GPU\n\tRegion 0: Memory at 90000000 (32-bit) [size=16M]\n",
            "wlan0: associated\nusb 3-1: new high-speed USB device number 4 using xhci_hcd\n",
            "90000000-9fffffff : PCI Bus 0000:00\n  90000000-90ffffff : 0000:00:02.0\n",
        ]
    )
    func triageWithoutLog(_ text: String) throws {
        let result = try run("triage", text)
        #expect(result.status == 8)
        #expect(result.output.hasPrefix("cannot tell: no message of the kernel log about PCI"), "\(result.output)")
        #expect(result.output.contains("sudo dmesg"))
        #expect(try run("triage", text, "--json").output.contains("\"verdict\": \"cannot-tell\""))
    }

    @Test("a piece of a scan says nothing of addresses and bus numbers that the kernel was yet to give")
    func pieceOfScan() throws {
        let scan = """
            pci 0000:05:00.0: bridge configuration invalid ([bus 00-00]), reconfiguring
            pci 0000:06:00.0: [1022:1471] type 01 class 0x060400 PCIe Switch Downstream Port
            pci 0000:06:00.0: PCI bridge to [bus 00]
            pci 0000:06:00.0:   bridge window [mem 0x00000000-0x000fffff]
            pci 0000:06:00.0: bridge configuration invalid ([bus 00-00]), reconfiguring

            """
        let card = """
            pci 0000:07:00.0: [1002:687f] type 00 class 0x030000 PCIe Legacy Endpoint
            pci 0000:07:00.0: BAR 0 [mem 0x00000000-0x0fffffff 64bit pref]

            """
        let check = try run("check", scan + card)
        #expect(check.status == 8, "\(check.output)")
        #expect(check.output.contains("cannot tell: 3 functions, 0 problems"))
        #expect(check.output.contains("ends before the kernel has assigned addresses"))
        // The kernel's own word of the numbers counts.
        let refusal =
            "pci 0000:06:00.0: devices behind bridge are unusable because [bus 07] cannot be assigned for them\n"
        let refused = try run("check", scan + refusal)
        #expect(refused.status == 3)
        #expect(refused.output.contains("problem: 0000:06:00.0"), "\(refused.output)")
    }

    @Test("a kernel log without a word about PCI is a log all the same")
    func logWithoutPCI() throws {
        let log = """
            [    0.903068] nvme nvme0: pci function 0000:01:00.0
            [   17.692035] nvme nvme0: Device not ready; aborting initialisation

            """
        for command in ["check", "plan"] {
            let result = try run(command, log)
            #expect(result.status == 8, "\(command): \(result.output)")
            #expect(result.output.contains("sudo lspci -vvxxx"), "\(result.output)")
        }
        #expect(try run("check", "hello\nworld\n").status == 65)
        #expect(try run("check", "hello\nworld\n[    1.000000] usb 1-1: new device\n").status == 65)
    }

    @Test("a driver's complaint about addresses that something holds does not take them away")
    func heldAddresses() throws {
        let text = """
            0000:02:00.0 Non-Volatile memory controller [0108]: Some Corporation Device [1414:00a9]
            \tKernel modules: nvme
            [    5.861193] nvme 0000:02:00.0: BAR 0: can't reserve [mem 0xf8000000-0xf800ffff 64bit]

            """
        let check = try run("check", text)
        #expect(check.status == 8, "\(check.output)")
        #expect(!check.output.contains("has no address"), "\(check.output)")
        #expect(check.output.contains("held by something else"), "\(check.output)")
    }

    @Test("room beside bridges whose windows are not told is room at most")
    func roomAtMost() throws {
        let log = """
            pci 0000:02:01.0:   bridge window [mem 0x08000000-0x084fffff]
            pci 0000:04:00.0: BAR 2 [mem size 0x00400000 64bit]: can't assign; no space
            pci 0000:04:00.0: BAR 2 [mem size 0x00400000 64bit]: failed to assign
            pci 0000:02:02.0: PCI bridge to [bus 04]
            pci 0000:01:00.0: PCI bridge to [bus 02-04]
            pci 0000:01:00.0:   bridge window [mem 0x08000000-0x089fffff]

            """
        let words = try run("check", log).output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        #expect(words.contains("has at most 10M free: what 0000:02:01.0"), "\(words)")
        #expect(words.contains("hold there is not told"), "\(words)")
    }

    @Test("bus numbers that a CardBus bridge was to have are lost only where something is on them")
    func reservedBuses() throws {
        let log =
            Self.host + """
                pci 0000:00:1c.0: [8086:2448] type 01 class 0x060401
                pci 0000:00:1c.0: PCI bridge to [bus 04-05] (subtractive decode)
                pci 0000:04:03.0: [1180:0476] type 02 class 0x060700
                pci_bus 0000:05: busn_res: [bus 05] end can not be updated to 08
                pci 0000:00:1c.0: bridge has subordinate 05 but max busn 08

                """
        let harmless = try run("triage", log)
        #expect(harmless.status == 0, "\(harmless.output)")
        #expect(harmless.output.contains("harmless bus numbers for cards to come"))
        let used = log + "pci 0000:07:00.0: [1234:5678] type 00 class 0x020000\n"
        let fatal = try run("triage", used)
        #expect(fatal.status == 3 && fatal.output.contains("FATAL    0000:00:1c.0 bus numbers"), "\(fatal.output)")
    }

    @Test("no cause that the log contradicts: an aperture in which nothing lies is not full")
    func causeInApertures() throws {
        let log =
            Self.host + """
                pci 0000:00:11.0: [8086:a1d2] type 00 class 0x010601
                pci 0000:00:11.0: BAR 5 [mem 0x92180000-0x921fffff]
                pci 0000:00:11.0: BAR 5 [mem size 0x00080000]: can't assign; no space
                pci 0000:00:11.0: BAR 5 [mem size 0x00080000]: failed to assign

                """
        let triage = try run("triage", log)
        #expect(triage.output.contains("FATAL    0000:00:11.0 BAR 5"), "\(triage.output)")
        #expect(!triage.output.contains("no free block of that size left"), "\(triage.output)")
        #expect(triage.output.contains("0x90000000-0xbfffffff"), "\(triage.output)")
    }

    @Test("what is free below 1 MiB is no room for a BAR")
    func legacyMemory() throws {
        let log =
            Self.host.replacingOccurrences(
                of: "pci_bus 0000:00: root bus resource [mem 0x4000000000-0x4fffffffff window]\n",
                with: ""
            )
                + """
                pci 0000:00:02.0: [8086:8a52] type 00 class 0x030000
                pci 0000:00:02.0: BAR 0 [mem 0x90000000-0xbfffffff]
                pci 0000:00:15.0: [8086:34e8] type 00 class 0x0c8000
                pci 0000:00:15.0: BAR 0 [mem 0x00000000-0x00000fff 64bit]
                pci 0000:00:15.0: BAR 0 [mem size 0x00001000 64bit]: can't assign; no space
                pci 0000:00:15.0: BAR 0 [mem size 0x00001000 64bit]: failed to assign

                """
        let check = try run("check", log)
        #expect(check.status == 3)
        #expect(!check.output.contains("the host bridge has room"), "\(check.output)")
    }

    @Test("a port that is gone at the end of the log is not one of which the log tells nothing")
    func gonePort() throws {
        let log =
            Self.host + """
                pci 0000:00:1d.0: [8086:9d10] type 01 class 0x060400 PCIe Root Port
                pci 0000:00:1d.0: PCI bridge to [bus 01-10]
                pci 0000:00:1d.0:   bridge window [mem 0x90000000-0x901fffff]
                pci 0000:01:00.0: [8086:1576] type 01 class 0x060400 PCIe Switch Upstream Port
                pci 0000:01:00.0: PCI bridge to [bus 02-10]
                pci 0000:02:02.0: [8086:1576] type 01 class 0x060400 PCIe Switch Downstream Port
                pci 0000:02:02.0: PCI bridge to [bus 03]
                pcieport 0000:02:02.0: bridge window [mem size 0x00200000 64bit pref]: can't assign; no space
                pcieport 0000:02:02.0: bridge window [mem size 0x00200000 64bit pref]: failed to assign
                pci_bus 0000:03: busn_res: [bus 03] is released
                pci_bus 0000:02: busn_res: [bus 02-10] is released

                """
        let triage = try run("triage", log)
        #expect(!triage.output.contains("this log does not tell what is behind it"), "\(triage.output)")
    }

    @Test("ids that a text does not tell are no function that does not answer")
    func idsNotTold() throws {
        let text = """
            00:1c.0 PCI bridge: Some Root Port (prog-if 00 [Normal decode])
            \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0
            \tMemory behind bridge: 90000000-900fffff [size=1M] [32-bit]
            01:00.0 Network controller: Some Adapter
            \tRegion 0: Memory at 90000000 (64-bit, non-prefetchable) [size=8K]

            """
        let check = try run("check", text)
        #expect(!check.output.contains("does not answer"), "\(check.output)")
    }

    @Test("an address that lost a digit names no function")
    func damagedAddress() throws {
        let log =
            Self.host + """
                pci 0000:00:02.0: [8086:9a49] type 00 class 0x030000
                pci 0000:00:02.0: BAR 0 [mem 0x90000000-0x90ffffff 64bit]
                pci 0000:0003.0: [8086:1903] type 00 class 0x118000
                pci 0000:0:04.0: [8086:1903] type 00 class 0x118000
                pci 000:00:05.0: [8086:1903] type 00 class 0x118000

                """
        let check = try run("check", log, "--json")
        for wrong in ["0003:", "0000:03:", "00:04.0", "00:05.0"] {
            #expect(!check.output.contains("\"\(wrong)"), "\(wrong) in \(check.output)")
        }
        #expect(check.status == 8, "\(check.output)")
    }

    @Test("a boot from what a log left ends as the log did: I/O windows, VF BARs of old words, ROMs in a memory window")
    func bootAsRecorded() throws {
        let log =
            Self.host + """
                pci 0000:00:02.0: [8086:9a49] type 00 class 0x030000
                pci 0000:00:02.0: reg 0x10: [mem 0xa0000000-0xa0ffffff 64bit]
                pci 0000:00:02.0: reg 0x344: [mem 0x00000000-0x00ffffff 64bit]
                pci 0000:00:02.0: VF(n) BAR0 space: [mem 0x00000000-0x06ffffff 64bit] (contains BAR0 for 7 VFs)
                pci 0000:00:1c.0: [8086:a33c] type 01 class 0x060400
                pci 0000:01:00.0: [10ec:8168] type 00 class 0x020000
                pci 0000:01:00.0: reg 0x10: [io  0x3000-0x30ff]
                pci 0000:01:00.0: reg 0x18: [mem 0x90000000-0x90003fff 64bit]
                pci 0000:01:00.0: reg 0x30: [mem 0x00000000-0x0000ffff pref]
                pci 0000:00:1c.0: PCI bridge to [bus 01]
                pci 0000:00:1c.0:   bridge window [io  0x3000-0x3fff]
                pci 0000:00:1c.0:   bridge window [mem 0x90000000-0x900fffff]
                pci 0000:00:02.0: BAR 7: assigned [mem 0x4000000000-0x4006ffffff 64bit]
                pci 0000:01:00.0: BAR 6: assigned [mem 0x90010000-0x9001ffff pref]
                pci 0000:00:1c.0: PCI bridge to [bus 01]
                pci 0000:00:1c.0:   bridge window [io  0x3000-0x3fff]
                pci 0000:00:1c.0:   bridge window [mem 0x90000000-0x900fffff]

                """
        let boot = try run("simulate", log, "--op", "boot")
        #expect(boot.status == 0)
        #expect(boot.output.contains("everything as before"), "\(boot.output)")
    }

    @Test("the domain that a VMD makes lies inside the VMD's own BARs and does not move them")
    func bootWithVMD() throws {
        let log =
            Self.host + """
                pci 0000:00:0e.0: [8086:467f] type 00 class 0x010400
                pci 0000:00:0e.0: BAR 0 [mem 0x4002000000-0x4003ffffff 64bit]
                pci 0000:00:0e.0: BAR 2 [mem 0xa4000000-0xa5ffffff]
                pci 0000:00:0e.0: BAR 4 [mem 0x4005100000-0x40051fffff 64bit]
                vmd 0000:00:0e.0: PCI host bridge to bus 10000:e0
                pci_bus 10000:e0: root bus resource [bus e0-ff]
                pci_bus 10000:e0: root bus resource [mem 0xa4000000-0xa5ffffff]
                pci_bus 10000:e0: root bus resource [mem 0x4005102000-0x40051fffff 64bit]
                pci 10000:e0:06.0: [8086:464d] type 01 class 0x060400 PCIe Root Port
                pci 10000:e0:06.0: PCI bridge to [bus e1]
                pci 10000:e0:06.0:   bridge window [mem 0xa4000000-0xa40fffff]
                pci 10000:e1:00.0: [144d:a80a] type 00 class 0x010802 PCIe Endpoint
                pci 10000:e1:00.0: BAR 0 [mem 0xa4000000-0xa4003fff 64bit]
                pci 10000:e0:06.0: bridge window [mem 0xa4000000-0xa40fffff]: assigned
                pci 10000:e1:00.0: BAR 0 [mem 0xa4000000-0xa4003fff 64bit]: assigned
                pci 10000:e0:06.0: PCI bridge to [bus e1]
                pci 10000:e0:06.0:   bridge window [mem 0xa4000000-0xa40fffff]

                """
        let boot = try run("simulate", log, "--op", "boot")
        #expect(boot.output.contains("everything as before"), "\(boot.output)")
    }
}

/// A fragment, a kernel that does otherwise, and a text that compares two boots.
@Suite struct FragmentTests {
    private func run(_ command: String, _ text: String, _ arguments: String...) throws -> (
        status: Int32, output: String
    ) {
        let from = command == "triage" ? ["-"] : ["--from", "-"]
        let result = try Command.run([command] + arguments + from, input: text, environment: ["COLUMNS": "120"])
        return (result.status, result.output)
    }

    @Test("kinds and ids that nobody told are not shown as values")
    func kindNotTold() throws {
        let log = "pci 0000:5e:00.0: BAR 2 [mem size 0x00200000 64bit pref]: can't assign; no space\n"
        let check = try run("check", log)
        #expect(check.status == 3)
        #expect(check.output.contains("problem: 0000:5e:00.0 (kind not told) [bar-"), "\(check.output)")
        let tree = try run("tree", log)
        #expect(tree.output.contains("5e:00.0") && !tree.output.contains("ffff"), "\(tree.output)")
        let slot = try run("check", "pcieport 0000:21:01.0: pciehp: Hotplug bridge without secondary bus, ignoring\n")
        #expect(slot.output.contains("problem: 0000:21:01.0 [kernel-report]"), "\(slot.output)")
    }

    @Test("of failing lines that do not matter check says so, and where to look")
    func harmlessLines() throws {
        let log = """
            pci 0000:09:00.0: [10ee:7024] type 00 class 0x058000 PCIe Endpoint
            pci 0000:09:00.0: BAR 0 [mem 0x00000000-0x0000ffff]
            xdma 0000:09:00.0: BAR 0 [mem 0x00000000-0x0000ffff]: not claimed; can't enable device
            pci 0000:09:00.0: BAR 0 [mem 0x92000000-0x9200ffff]: assigned

            """
        let check = try run("check", log)
        #expect(check.status == 0, "\(check.output)")
        #expect(check.output.contains("1 failing line in the log, and none that matters"), "\(check.output)")
        #expect(check.output.contains("look at the device, its link or its driver"), "\(check.output)")
    }

    /// A card below a switch; the kernel of the log gave its first BAR no place although the prediction does.
    private static let missed = """
        Linux version 6.12.0-test (x@aarch64) (aarch64-linux-gnu-gcc-13) #1 SMP
        Kernel command line: root=/dev/vda quiet
        ACPI: PCI Root Bridge [PCI0] (domain 0000 [bus 00-ff])
        PCI host bridge to bus 0000:00
        pci_bus 0000:00: root bus resource [mem 0x10000000-0x3fffffff window]
        pci_bus 0000:00: root bus resource [mem 0x8000000000-0x80ffffffff window]
        pci_bus 0000:00: root bus resource [bus 00-ff]
        pci 0000:00:01.0: [1b36:000c] type 01 class 0x060400 PCIe Root Port
        pci 0000:00:01.0: PCI bridge to [bus 01]
        pci 0000:00:01.0:   bridge window [mem 0x10000000-0x101fffff]
        pci 0000:00:01.0:   bridge window [mem 0x8000000000-0x80001fffff 64bit pref]
        pci 0000:01:00.0: [1af4:1050] type 00 class 0x038000 PCIe Endpoint
        pci 0000:01:00.0: BAR 2 [mem 0x00000000-0x07ffffff 64bit pref]
        pci 0000:01:00.0: VF BAR 0 [mem 0x00000000-0x001fffff 64bit pref]
        pci 0000:01:00.0: VF BAR 0 [mem 0x00000000-0x007fffff 64bit pref]: contains BAR 0 for 4 VFs
        pci 0000:00:01.0: bridge window [mem 0x8000000000-0x80001fffff 64bit pref]: assigned
        pci 0000:00:01.0: bridge window [mem 0x10000000-0x101fffff]: assigned
        pci 0000:01:00.0: BAR 2 [mem size 0x08000000 64bit pref]: can't assign; no space
        pci 0000:01:00.0: BAR 2 [mem size 0x08000000 64bit pref]: failed to assign
        pci 0000:01:00.0: VF BAR 0 [mem size 0x00800000 64bit pref]: can't assign; no space
        pci 0000:01:00.0: VF BAR 0 [mem size 0x00800000 64bit pref]: failed to assign

        """

    @Test("words that this very boot had, and missed the goal with, reach nothing; what others would do is not told")
    func refutedByThisBoot() throws {
        let cmdline = try run("cmdline", Self.missed, "--kernel", "6.12")
        #expect(cmdline.status == 8, "\(cmdline.output)")
        #expect(cmdline.output.contains("this boot had these words and missed it"), "\(cmdline.output)")
        #expect(!cmdline.output.contains("reaches it\n"), "\(cmdline.output)")
        #expect(try run("cmdline", Self.missed, "--kernel", "6.12", "--json").output.contains("\"isRefuted\": true"))
        // A card that came after the boot proves nothing about the boot.
        let lines = Self.missed.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let isCard = { (line: String) in line.hasPrefix("pci 0000:01:00.0") }
        let later = (lines.filter { !isCard($0) } + lines.filter(isCard)).joined(separator: "\n") + "\n"
        let second = try run("cmdline", later, "--kernel", "6.12")
        #expect(!second.output.contains("this boot had these words"), "\(second.output)")
    }

    @Test("a release that takes another's place for it is no way out")
    func tradedPlaces() throws {
        let log = """
            Linux version 6.19.2 (build@host) (gcc 15) #1 SMP
            Kernel command line: quiet
            PCI host bridge to bus 0000:10
            pci_bus 0000:10: root bus resource [mem 0xa0000000-0xa7ffffff window]
            pci_bus 0000:10: root bus resource [bus 10-11]
            pci 0000:10:01.0: [10b5:8111] type 01 class 0x060400 PCI/PCI-X to PCIe bridge
            pci 0000:10:01.0: PCI bridge to [bus 11]
            pci 0000:11:00.0: [1002:6779] type 00 class 0x030000 PCIe Legacy Endpoint
            pci 0000:11:00.0: BAR 0 [mem 0x00000000-0x07ffffff 64bit pref]
            pci 0000:11:00.0: BAR 2 [mem 0x00000000-0x0001ffff 64bit]
            pci 0000:11:00.0: ROM [mem 0x00000000-0x0001ffff pref]
            pci 0000:10:01.0: bridge window [mem 0xa0000000-0xa7ffffff pref]: assigned
            pci 0000:10:01.0: bridge window [mem size 0x00100000]: can't assign; no space
            pci 0000:10:01.0: bridge window [mem size 0x00100000]: failed to assign
            pci 0000:11:00.0: BAR 0 [mem 0xa0000000-0xa7ffffff 64bit pref]: assigned
            pci 0000:11:00.0: BAR 2 [mem size 0x00020000 64bit]: can't assign; no space
            pci 0000:11:00.0: BAR 2 [mem size 0x00020000 64bit]: failed to assign
            pci 0000:11:00.0: ROM [mem size 0x00020000 pref]: can't assign; no space
            pci 0000:11:00.0: ROM [mem size 0x00020000 pref]: failed to assign

            """
        let plan = try run("plan", log)
        #expect(plan.status == 2, "\(plan.output)")
        #expect(!plan.output.contains("another kernel"), "\(plan.output)")
        let upgrade = try run("upgrade", log)
        #expect(!upgrade.output.contains("this kernel's rule is the obstacle"), "\(upgrade.output)")
        #expect(upgrade.output.contains("would place it and lose something else instead"), "\(upgrade.output)")
    }

    @Test("of a comparison of two logs the newer side counts")
    func newerSide() throws {
        let lost = """
            --- old.txt 2025-11-12
            +++ new.txt 2025-11-12
             PCI host bridge to bus 0000:00
             pci_bus 0000:00: root bus resource [mem 0xa0000000-0xdfffffff window]
             pci_bus 0000:00: root bus resource [bus 00-ff]
             pci 0000:00:03.0: [1102:000b] type 00 class 0x040300 PCIe Endpoint
             pci 0000:00:03.0: BAR 0 [mem 0xdc200000-0xdc20ffff 64bit]
            +pci 0000:00:03.0: BAR 0 [mem size 0x00010000 64bit]: can't assign; no space
            +pci 0000:00:03.0: BAR 0 [mem size 0x00010000 64bit]: failed to assign
            -pci 0000:00:03.0: BAR 0 [mem 0xd6200000-0xd620ffff 64bit]: assigned

            """
        #expect(try run("check", lost).status == 3)
        let assigned = "pci 0000:00:03.0: BAR 0 [mem 0xd6200000-0xd620ffff 64bit]: assigned"
        let placed =
            lost.replacingOccurrences(of: "\n+pci", with: "\n-pci")
            .replacingOccurrences(of: "-\(assigned)", with: "+\(assigned)")
        let check = try run("check", placed)
        #expect(check.status == 0, "\(check.output)")
    }

    @Test("a BAR that is refused its old size, after a larger one, has no place")
    func refusedOldSize() throws {
        let log = """
            PCI host bridge to bus 0000:00
            pci_bus 0000:00: root bus resource [mem 0x90000000-0xbfffffff window]
            pci_bus 0000:00: root bus resource [mem 0x4000000000-0x4fffffffff window]
            pci_bus 0000:00: root bus resource [bus 00-ff]
            pci 0000:00:01.0: [8086:a70d] type 01 class 0x060400 PCIe Root Port
            pci 0000:00:01.0: PCI bridge to [bus 01]
            pci 0000:00:01.0:   bridge window [mem 0x4000000000-0x400fffffff 64bit pref]
            pci 0000:01:00.0: [8086:56a0] type 00 class 0x030000 PCIe Endpoint
            pci 0000:01:00.0: BAR 2 [mem 0x4000000000-0x400fffffff 64bit pref]
            xe 0000:01:00.0: BAR 2 [mem 0x4000000000-0x400fffffff 64bit pref]: releasing
            pcieport 0000:00:01.0: bridge window [mem 0x4000000000-0x400fffffff 64bit pref]: releasing
            pcieport 0000:00:01.0: bridge window [mem size 0x400000000 64bit pref]: can't assign; no space
            xe 0000:01:00.0: BAR 2 [mem size 0x400000000 64bit pref]: can't assign; no space
            xe 0000:01:00.0: BAR 2 [mem size 0x400000000 64bit pref]: failed to assign

            """
        // The larger size alone is refused: the BAR keeps what it had.
        let kept = try run("triage", log)
        #expect(kept.output.contains("DEGRADED 0000:01:00.0 BAR 2"), "\(kept.output)")
        let lost =
            log + """
                xe 0000:01:00.0: BAR 2 [mem size 0x10000000 64bit pref]: can't assign; no space
                xe 0000:01:00.0: BAR 2 [mem size 0x10000000 64bit pref]: failed to assign

                """
        let triage = try run("triage", lost)
        #expect(triage.output.contains("FATAL    0000:01:00.0 BAR 2: wants 256M"), "\(triage.output)")
        let check = try run("check", lost)
        #expect(check.status == 3 && check.output.contains("[bar-"), "\(check.output)")
        #expect(!check.output.contains("keeps the size"), "\(check.output)")
    }

    @Test("firmware's address that the kernel refused is the cause, not the size of a window with room")
    func refusedClaim() throws {
        let log = """
            PCI host bridge to bus 0000:00
            pci_bus 0000:00: root bus resource [mem 0x90000000-0xbfffffff window]
            pci_bus 0000:00: root bus resource [bus 00-ff]
            pci 0000:00:1c.0: [8086:a110] type 01 class 0x060400 PCIe Root Port
            pci 0000:00:1c.0: PCI bridge to [bus 02]
            pci 0000:00:1c.0:   bridge window [mem 0x91000000-0x911fffff]
            pci 0000:02:00.0: [1b4b:9235] type 00 class 0x010601 PCIe Endpoint
            pci 0000:02:00.0: BAR 5 [mem 0xa0010000-0xa00107ff]
            pci 0000:02:00.0: BAR 5 [mem 0xa0010000-0xa00107ff]: can't claim; no compatible bridge window
            pci 0000:02:00.0: BAR 5 [mem size 0x00000800]: can't assign; no space
            pci 0000:02:00.0: BAR 5 [mem size 0x00000800]: failed to assign

            """
        let triage = try run("triage", log)
        #expect(triage.output.contains("cause: the kernel's own words:"), "\(triage.output)")
        #expect(!triage.output.contains("above it is 2M"), "\(triage.output)")
    }

    @Test("/proc/iomem alone does not say that a port is absent")
    func fitOnOwners() throws {
        let text = "90000000-9fffffff : PCI Bus 0000:00\n  90000000-903fffff : PCI Bus 0000:04\n"
        let fit = try run("fit", text, "0000:00:1c.0", "--mem", "1M")
        #expect(fit.status == 8 && fit.output.hasSuffix("FIT: cannot tell\n"), "\(fit.output)")
    }

    @Test("a bridge without told windows does not put a BAR outside of them; the only bridge leads to the only bus")
    func untoldWindows() throws {
        let log = """
            Linux version 6.12.47 (build@host) (aarch64-none-linux-gnu-gcc 13) #1 SMP PREEMPT
            PCI host bridge to bus 0001:00
            pci_bus 0001:00: root bus resource [bus 00-ff]
            pci_bus 0001:00: root bus resource [mem 0x1b00000000-0x1bffffffff] (bus address [0x00000000-0xffffffff])
            pci 0001:00:00.0: [14e4:2712] type 01 class 0x060400 PCIe Root Port
            pci 0001:01:00.0: [15b7:5017] type 00 class 0x010802 PCIe Endpoint
            pci 0001:01:00.0: BAR 0 [mem 0x1b00100000-0x1b00103fff 64bit]
            nvme 0001:01:00.0: BAR 0 [mem 0x1b00100000-0x1b00103fff 64bit]: not claimed; can't enable device

            """
        let check = try run("check", log)
        #expect(check.status == 3, "\(check.output)")
        #expect(!check.output.contains("outside-window"), "\(check.output)")
        let tree = try run("tree", log)
        #expect(tree.output.contains("host bridge 0001:00") && !tree.output.contains("host bridge 0001:01"))
        #expect(tree.output.contains("[bus 01]"), "\(tree.output)")
    }

    @Test("a log that lost characters gives no overlaps and no ranges outside of others, and PowerNV's words are whole")
    func damagedNumbers() throws {
        let whole = """
            Linux version 6.12.9 (build@host) (gcc 14) #1 SMP
            PCI host bridge to bus 0000:00
            pci_bus 0000:00: root bus resource [mem 0x60000000-0x7fffffff window]
            pci_bus 0000:00: root bus resource [bus 00-ff]
            pci 0000:00:02.0: [8086:8a52] type 00 class 0x030000
            pci 0000:00:02.0: BAR 2 [mem 0x7000000-0x7fffffff 64bit pref]
            pci 0000:00:17.0: [8086:34d3] type 00 class 0x010601
            pci 0000:00:17.0: BAR 0 [mem 0x6c126000-0x6c127fff]

            """
        #expect(try run("check", whole).output.contains("[overlap]"))
        let damaged = whole + "pci 000:00:1f.0: BAR 0\npci 0000:0:1f.3: BAR 0\npci 0000:00:1f: BAR 0 [mem 0x6c\n"
        let check = try run("check", damaged)
        #expect(check.status == 8 && check.output.contains("lost characters"), "\(check.output)")
        #expect(!check.output.contains("problem:"), "\(check.output)")
        let power =
            whole.replacingOccurrences(of: "0x7000000-", with: "0x70000000-")
            + (0..<4).map { "pci 000\($0):00     : [PE# 1fe] Secondary bus 0x0000000000000000 associated\n" }.joined()
            + "pci 0000:00:1c.0: disabling bridge window [io  0x0000-0xffffffffffffffff] to [bus 03] (unused)\n"
        #expect(try !run("check", power).output.contains("lost characters"))
    }

    @Test("that what was asked for is there does not say that nothing is missing")
    func askedForIsThere() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("missed-\(UUID().uuidString).log")
        try Self.missed.write(to: path, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: path) }
        let plan = try run("plan", Self.missed, "--restore", path.path)
        #expect(plan.status == 0 && plan.output.hasSuffix("PLAN: none reason=already-there\n"), "\(plan.output)")
        #expect(plan.output.contains("still without a place: 0000:01:00.0 BAR 2"), "\(plan.output)")
        #expect(!plan.output.contains("everything required has its place"))
    }

    @Test("GRUB cuts a word at its semicolon")
    func semicolon() throws {
        let words = "pci=resource_alignment=20@0000:00:01.0;20@0000:01:00.0"
        let result = try Command.run(
            ["cmdline", words, "--from", "-"],
            input: Self.missed,
            environment: ["COLUMNS": "120"]
        )
        #expect(result.output.contains("GRUB ends a command at ;"), "\(result.output)")
        #expect(try !run("cmdline", Self.missed, "--kernel", "6.12").output.contains("GRUB ends a command"))
    }
}
