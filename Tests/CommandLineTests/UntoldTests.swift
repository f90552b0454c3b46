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
