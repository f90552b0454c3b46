// SPDX-License-Identifier: GPL-2.0-or-later

import Testing

/// Groups, routes and settings as a person reads them.
@Suite("Isolation in words")
struct IsolationTextTests {
    private static func port(_ address: String, _ kind: String, _ buses: (Int, Int, Int), _ id: String, acs: String?)
        -> String
    {
        var text = """
            \(address) PCI bridge [0604]: Device [\(id)] (prog-if 00 [Normal decode])
            \tControl: I/O+ Mem+ BusMaster+
            \tIOMMU group: \(buses.1)
            \tBus: primary=0\(buses.0), secondary=0\(buses.1), subordinate=0\(buses.2), sec-latency=0
            \tCapabilities: [40] Express (v2) \(kind), IntMsgNum 0
            \t\tDevCtl:\tCorrErr- NonFatalErr- FatalErr- UnsupReq-
            \t\t\tRlxdOrd+ ExtTag- PhantFunc- AuxPwr- NoSnoop+
            \t\t\tMaxPayload 256 bytes, MaxReadReq 512 bytes
            \tCapabilities: [100 v2] Advanced Error Reporting

            """
        if let acs {
            text += """
                \tCapabilities: [150 v1] Access Control Services
                \t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-
                \t\tACSCtl:\t\(acs)

                """
        }
        return text + "\n"
    }

    private static func card(_ address: String, group: Int) -> String {
        """
        \(address) Ethernet controller [0200]: Device [8086:1572]
        \tControl: I/O- Mem+ BusMaster+
        \tIOMMU group: \(group)
        \tCapabilities: [a0] Express (v2) Endpoint, IntMsgNum 0
        \t\tDevCtl:\tCorrErr- NonFatalErr- FatalErr- UnsupReq-
        \t\t\tMaxPayload 256 bytes, MaxReadReq 4096 bytes
        \tCapabilities: [1d0 v1] Address Translation Service (ATS)
        \t\tATSCap:\tInvalidate Queue Depth: 00
        \t\tATSCtl:\tEnable+, Smallest Translation Unit: 00


        """
    }

    private static let on = "SrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-"
    private static let off = "SrcValid+ TransBlk- ReqRedir- CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-"

    /// A switch of three ports of which one redirects and one has no ACS, two root ports with ACS off in part and without,
    /// a card below each. Whether the upstream port is one of several functions stands in no listing.
    private static func listing(lastGroup: Int = 8) -> String {
        port("0000:00:02.0", "Root Port (Slot+)", (0, 1, 6), "1b36:000c", acs: on)
            + port("0000:00:03.0", "Root Port (Slot+)", (0, 7, 7), "1b36:000c", acs: off)
            + port("0000:00:04.0", "Root Port (Slot+)", (0, 8, 8), "1b36:000c", acs: nil)
            + port("0000:01:00.0", "Upstream Port", (1, 2, 6), "104c:8232", acs: nil)
            + port("0000:02:00.0", "Downstream Port (Slot+)", (2, 3, 3), "104c:8233", acs: on)
            + port("0000:02:01.0", "Downstream Port (Slot+)", (2, 4, 4), "104c:8233", acs: off)
            + port("0000:02:02.0", "Downstream Port (Slot+)", (2, 6, 6), "104c:8233", acs: nil)
            + card("0000:03:00.0", group: 11) + card("0000:04:00.0", group: 4) + card("0000:06:00.0", group: 6)
            + card("0000:07:00.0", group: 7) + card("0000:08:00.0", group: lastGroup)
    }

    @Test("tree -v: who shares the group and why, whose requests go across the switch, what is switched on")
    func tree() throws {
        let text = try Command.run("tree", "-v", "--from", "-", input: Self.listing()).output.replacing(
            #/\n */#,
            with: " "
        )
        for line in [
            "IOMMU group 7 with 0000:00:03.0: 0000:00:03.0 has ACS with ReqRedir off",
            "IOMMU group 8 with 0000:00:04.0: 0000:00:04.0 has no ACS",
            "requests to siblings: across the switch from below 0000:02:01.0, 0000:02:02.0; by way of the root complex from "
                + "below 0000:02:00.0",
            "ACS \(Self.off); AER; payload 256 bytes, read requests 512", "no ACS; AER",
            "ATS on; payload 256 bytes, read requests 4096",
        ] { #expect(text.contains(line), "\(line)") }
        #expect(!text.contains("IOMMU group 11 with"), "a card by itself has nothing to explain")
        #expect(!(try Command.run("tree", "--from", "-", input: Self.listing()).output.contains("ACS")))
    }

    @Test("check -v: groups of several functions; a group that is another than the rule makes is said to be")
    func check() throws {
        let text = try Command.run("check", "-v", "--from", "-", input: Self.listing()).output.replacing(
            #/\n */#,
            with: " "
        )
        #expect(text.contains("IOMMU group 7: 0000:00:03.0, 0000:07:00.0: 0000:00:03.0 has ACS with ReqRedir off"))
        #expect(text.contains("0000:01:00.0: requests to siblings: across the switch"))
        #expect(!text.contains("not what the kernel's rule"))
        let other = try Command.run("check", "-v", "--from", "-", input: Self.listing(lastGroup: 9)).output
            .replacing(#/\n */#, with: " ")
        #expect(
            other.contains("IOMMU groups of 0000:00:04.0, 0000:08:00.0: not what the kernel's rule makes of their ACS")
        )
    }

    @Test("a listing without the settings tells no settings")
    func untold() throws {
        let lines = Self.listing().split(separator: "\n", omittingEmptySubsequences: false)
        let short = lines.filter { !$0.hasPrefix("\t\t") }.joined(separator: "\n")
        let text = try Command.run("tree", "-v", "--from", "-", input: short).output.replacing(#/\n */#, with: " ")
        #expect(text.contains("ACS not read") && !text.contains("payload") && !text.contains("ATS on"))
        #expect(
            text.contains("across the switch from below 0000:02:02.0; not told from below 0000:02:00.0, 0000:02:01.0")
        )
    }
}
