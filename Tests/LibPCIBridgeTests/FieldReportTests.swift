// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import LibPCIBridge

/// Kinds of reports as people paste them, each with what may be said of it and no more.
@Suite("Reports from the field") struct FieldReportTests {
    private func assessment(_ text: String) throws -> Assessment {
        let record = TextEvidence(text).record
        return Assessment(record, try TopologyAssembler(record).topology())
    }

    private func only(_ text: String) throws -> Triage.Group {
        let groups = Triage(text).groups
        #expect(groups.count == 1, "\(groups.map(\.code))")
        return try #require(groups.first)
    }

    // MARK: Drivers that report

    private static let listing = """
        00:06.0 3D controller: NVIDIA Corporation Device 20f5 (rev a1)
        \tFlags: fast devsel, IRQ 10
        \tMemory at c4000000 (32-bit, non-prefetchable) [size=16M]
        \tMemory at 41000000000 (64-bit, prefetchable) [size=32G]
        \tMemory at 40800000000 (64-bit, non-prefetchable) [size=32M]

        """
    private static let report = """
        [    9.100000] NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:
                       NVRM: BAR2 is 0M @ 0x0 (PCI:0000:00:06.0)
        [    9.100100] NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:
                       NVRM: BAR3 is 0M @ 0x0 (PCI:0000:00:06.0)

        """

    @Test("a driver's report of a BAR without address, and what the listing shows, make one answer")
    func driverReports() throws {
        let alone = try only(Self.report)
        #expect(alone.code == "driver-reports-no-bar" && alone.severity == .fatal && alone.lineCount == 4)
        #expect(alone.summary == "its driver gives up, because BAR 2, BAR 3 has no address")
        #expect(try assessment(Self.report).verdict == .problems)
        let beside = try only(Self.listing + Self.report)
        #expect(beside.code == "driver-report-contradicted" && beside.severity == .degraded)
        let checked = try assessment(Self.listing + Self.report)
        #expect(checked.verdict == .healthy)
        #expect(checked.findings.map(\.code) == [.kernelReport] && checked.findings.map(\.severity) == [.note])
        let lacking = Self.listing.replacing("at 41000000000", with: "at <unassigned>")
        #expect(Triage(lacking + Self.report).groups.map(\.code) == ["driver-reports-no-bar"])
    }

    @Test("what a driver says of a BAR that the kernel could not place counts with that BAR")
    func foldedReports() throws {
        let kernel = """
            pci 0004:01:00.0: BAR 0 [mem size 0x00400000 64bit]: can't assign; no space
            pci 0004:01:00.0: BAR 0 [mem size 0x00400000 64bit]: failed to assign
            """
        let driver = """

            wlan_pci 0004:01:00.0: BAR 0 [??? 0x00000000 flags 0x20000000]: can't assign; bogus alignment
            wlan_pci 0004:01:00.0: failed to assign pci resource: -22
            """
        let triage = Triage(kernel + driver)
        #expect(triage.unclassified.isEmpty)
        let group = try only(kernel + driver)
        #expect(group.code == "bar-unassigned" && group.lineCount == 4)
        #expect(group.summary == "wants 4M of memory and has none: its driver cannot work")
        let finding = try #require(try assessment(kernel + driver).findings.first)
        #expect(finding.sentence.hasPrefix("BAR 0 [mem size 0x00400000 64bit] has no address"))
    }

    // MARK: Alignments

    @Test("a range without alignment is no window above 4 GiB, and makes no bridge of a function")
    func ranges() throws {
        let chipset = "lpc_ich 0000:00:1f.0: BAR 13: [io  0x0800-0x087f] has bogus alignment"
        let group = try only(chipset)
        #expect(group.code == "not-placed-by-kernel" && group.severity == .harmless)
        #expect(group.summary.contains("0x800-0x87f"))
        #expect(TextEvidence(chipset).functions.allSatisfy { $0.bridge == nil })
        #expect(try only("i915 0000:00:02.0: BAR 6: [??? 0x00000000 flags 0x2] has bogus alignment").code == "rom")
    }

    @Test(
        "a BAR that is larger than the kernel's table is missing, in both wordings",
        arguments: [
            "pci 0000:05:00.0: disabling BAR 1: [mem 0x00000000-0x7ffffffff 64bit pref] (bad alignment 0x800000000)",
            "pci 0000:05:00.0: BAR 1 [mem size 0x800000000 64bit pref]: disabling; bad alignment 0x800000000",
        ]
    )
    func tables(line: String) throws {
        let group = try only(line)
        #expect(group.code == "bar-too-large" && group.severity == .fatal && group.resource == "BAR 1")
        #expect(try assessment(line).verdict == .problems)
    }

    @Test("a register that takes no size is a bug of firmware, not a lack of room")
    func registersWithoutSize() throws {
        let old = "pci 0000:ff:0b.0: [Firmware Bug]: reg 0x10: invalid BAR (can't size)"
        let new = "pci 0000:03:00.0: [Firmware Bug]: BAR 2: invalid; can't size"
        #expect(try only(old).code == "bar-cannot-size" && only(old).resource == "BAR 0")
        #expect(try only(new).severity == .degraded && only(new).resource == "BAR 2")
        let identity = "pci 0000:03:00.0: [8086:2fe0] type 00 class 0x088000\n"
        #expect(try only(identity + new).severity == .harmless)
    }

    @Test("a register that reads all ones is a device that does not answer")
    func silentRegisters() throws {
        let lines = """
            pci 10000:01:00.0: [8086:0a54] type 00 class 0x010802 PCIe Endpoint
            pci 10000:01:00.0: BAR 0 [mem 0xf8020000-0xf8023fff 64bit]: assigned
            pci 10000:01:00.0: BAR 0: error updating (0xf8020004 != 0xffffffff)
            """
        #expect(try only(lines).code == "bar-not-answering" && only(lines).severity == .fatal)
        #expect(try assessment(lines).findings.map(\.severity) == [.problem])
        let other = lines.replacing("0xffffffff)", with: "0x00020004)")
        #expect(try only(other).code == "bar-unusable" && only(other).severity == .degraded)
    }

    @Test("nothing is said of what is behind a port where the log ends before it was looked for")
    func portsOfCutLogs() throws {
        let lines = """
            pci_bus 10000:e0: root bus resource [bus e0-ff]
            pci 10000:e0:06.0: [8086:a74d] type 01 class 0x060400 PCIe Root Port
            pci 10000:e0:06.0: PCI bridge to [bus e1]
            """
        #expect(try assessment(lines).emptyPorts.isEmpty)
    }

    @Test("logs of ESXi are named, and told what would tell")
    func esxi() throws {
        let text = "2024-01-05T10:00:00.000Z cpu7:2097999)WARNING: PCI: 453: 0000:5e:00.0: Failed to add BAR[1] (MEM64)"
        #expect(ForeignText(Array(text.utf8)) == .esxi)
    }

    // MARK: Functions of which little is told

    @Test("the first function of a root bus may be a port, whose own BARs nobody misses")
    func firstFunctions() throws {
        let lines = "pci 0001:00:00.0: BAR 0: failed to assign [mem size 0x20000000]"
        #expect(try only(lines).code == "bar-owner-untold")
        #expect(Triage(lines).verdict == .cannotTell)
        #expect(try assessment(lines).verdict == .cannotTell)
        let other = lines.replacing(":00:00.0", with: ":00:02.0")
        #expect(try only(other).code == "bar-unassigned")
        #expect(try assessment(other).verdict == .problems)
        let card = "pci 0001:00:00.0: [1af4:1041] type 00 class 0x020000\n"
        #expect(try only(card + lines).code == "bar-unassigned")
    }

    @Test("claims that failed are told by check as by triage, and a later address ends them")
    func claims() throws {
        let lines = """
            pci 0000:00:1f.5: can't claim BAR 0 [mem 0xfe020000-0xfe020fff]: no compatible bridge window
            pci 0000:00:12.0: BAR 2 [io  0xe200-0xe23f]: can't claim; address conflict with PCI Bus 0000:01 [io  0xe000-0xefff]
            """
        #expect(Triage(lines).groups.map(\.code) == ["claim-untold", "claim-untold"])
        let findings = try assessment(lines).findings
        #expect(findings.map(\.code) == [.barUnclaimed, .barUnclaimed])
        #expect(findings.map { $0.address.description } == ["0000:00:12.0", "0000:00:1f.5"])
        #expect(findings.allSatisfy { $0.severity == .note && $0.causes.first?.hasPrefix(Assessment.ownWords) == true })
        let later = "\npci 0000:00:1f.5: BAR 0: assigned [mem 0x90000000-0x90000fff]"
        #expect(try assessment(lines + later).findings.map { $0.address.description } == ["0000:00:12.0"])
        let boot = "Linux version 6.1.0\nPCI host bridge to bus 0000:00\n"
        let identity = "pci 0000:00:1f.5: [8086:a324] type 00 class 0x0c8000\n"
        let first = lines.prefix { $0 != "\n" }
        #expect(Triage(boot + identity + first).groups.map(\.code) == ["claim-failed"])
    }

    @Test("claims of kernels before 3.14 name a range, and kind and size tell which resource it is")
    func oldClaims() throws {
        let claim = "pci 0000:02:00.0: no compatible bridge window for [mem 0xfffe0000-0xffffffff pref]\n"
        let rom = "pci 0000:02:00.0: BAR 6: assigned [mem 0xb1400000-0xb141ffff pref]\n"
        #expect(try only(claim + rom).code == "rom")
        #expect(try only(claim).code == "claim-untold")
        let bar = "pci 0000:02:00.0: reg 10: [mem 0xd0000000-0xd001ffff]\n"
        #expect(try only(bar + claim + rom).address?.description == "0000:02:00.0")
        let collision = "pci 0000:02:00.0: address space collision: [mem 0xfffe0000-0xffffffff pref] already in use\n"
        #expect(try only(collision + rom).code == "rom")
    }

    // MARK: Not claimed

    @Test("legacy ports that are not claimed keep the driver from the device all the same")
    func legacyPorts() throws {
        let line = "pata_x 0000:00:0c.1: BAR 2 [io  0x0170-0x0177]: not claimed; can't enable device"
        #expect(try only(line).severity == .fatal && only(line).nextStep == nil)
        #expect(try assessment(line).verdict == .problems)
        let memory = "x 0000:0e:00.0: BAR 0 [mem 0xfd800000-0xfd80ffff 64bit]: not claimed; can't enable device"
        #expect(try only(memory).cause?.hasSuffix("its driver came before the kernel had claimed addresses") == true)
    }

    // MARK: Causes outside the address space

    @Test(
        "words that point elsewhere",
        arguments: [
            ("xhci_hcd 0000:c2:00.3: Refused to change power state from D0 to D3hot", CauseSign.Area.power),
            ("pci 0000:04:00.0: Refused to change power state, currently in D3", .power),
            ("amdgpu 0000:0a:00.0: amdgpu: Unable to locate a BIOS ROM", .rom),
            ("amdgpu 0000:0a:00.0: Invalid PCI ROM header signature: expecting 0xaa55, got 0xffff", .rom),
        ]
    )
    func signs(line: String, area: CauseSign.Area) throws {
        #expect(CauseSign.signs(in: [line]).map(\.area) == [area])
        let checked = try assessment(line)
        #expect(checked.verdict == .cannotTell && checked.signs.map(\.area) == [area])
    }

    @Test("a ROM is missed where its driver looks for it")
    func roms() throws {
        let line = "amdgpu 0000:0a:00.0: ROM [mem size 0x00020000 pref]: failed to assign\n"
        #expect(try only(line).severity == .harmless)
        #expect(try only(line + "amdgpu 0000:0a:00.0: amdgpu: Unable to locate a BIOS ROM").code == "rom-missed")
        #expect(try only(line + "amdgpu 0000:0b:00.0: amdgpu: Unable to locate a BIOS ROM").code == "rom")
    }

    // MARK: Resizes

    @Test(
        "drivers' words for a refused resize",
        arguments: [
            ("xe 0000:87:00.0: [drm] Failed to resize BAR2 to 8192MiB (-ENOSPC).", "BAR 2", true),
            ("i915 0000:87:00.0: [drm] Failed to resize BAR2 to 8192M (-ENOSPC)", "BAR 2", true),
            ("[drm] Not enough PCI address space for a large BAR.", "device", false),
            ("amdgpu 0000:87:00.0: amdgpu: Problem resizing BAR0 (-16).", "BAR 0", false),
        ]
    )
    func resizes(line: String, resource: String, namesSize: Bool) throws {
        let group = try only(line)
        #expect(group.code == "resize-refused" && group.severity == .degraded && group.resource == resource)
        #expect(group.summary.contains("8G") == namesSize)
        #expect(group.refused == nil, "the kind of the BAR is not told")
    }

    @Test("a driver's words count with the kernel's, whose kind of memory stands")
    func resizesWithKernelLines() throws {
        let kernel = """
            xe 0000:87:00.0: BAR 2 [mem 0xa000000000-0xa00fffffff 64bit pref]: releasing
            xe 0000:87:00.0: BAR 2 [mem size 0x200000000 64bit pref]: can't assign; no space

            """
        let group = try only(kernel + "xe 0000:87:00.0: [drm] Failed to resize BAR2 to 8192MiB (-ENOSPC).\n")
        #expect(group.refused?.flags.contains(.prefetchable) == true && group.lineCount == 2)
        let amd = kernel + "[drm] Not enough PCI address space for a large BAR.\n"
        #expect(try only(amd).lineCount == 2)
    }

    @Test("a refusal that names nobody is of the function whose BARs were released, if there is one")
    func resizesOfNobody() throws {
        let released = """
            amdgpu 0000:0c:00.0: BAR 2 [mem 0x90000000-0x901fffff 64bit pref]: releasing
            amdgpu 0000:0c:00.0: BAR 0 [mem 0x80000000-0x8fffffff 64bit pref]: releasing
            amdgpu 0000:0c:00.0: BAR 0 [mem 0x80000000-0x8fffffff 64bit pref]: assigned
            amdgpu 0000:0c:00.0: BAR 2 [mem 0x90000000-0x901fffff 64bit pref]: assigned

            """
        let refused = "[drm] Not enough PCI address space for a large BAR.\n"
        let group = try only(released + refused)
        #expect(group.address?.description == "0000:0c:00.0" && group.resource == "BAR 0")
        #expect(group.code == "resize-refused" && group.lineCount == 1)
        let other = "amdgpu 0000:0d:00.0: BAR 0 [mem 0xa0000000-0xafffffff 64bit pref]: releasing\n"
        #expect(try only(released + other + refused).address == nil)
    }

    // MARK: Buses

    private static let buses = """
        pci_bus 0002:23: busn_res: can not insert [bus 23-21] under [bus 22-21] (conflicts with (null) [bus 22-21])
        pci_bus 0002:23: busn_res: [bus 23-21] end is updated to 23
        pci_bus 0002:23: busn_res: can not insert [bus 23] under [bus 22-21] (conflicts with (null) [bus 22-21])

        """

    @Test("a bus of which no bridge is told is a bus, and no function is made up for it")
    func busesWithoutBridge() throws {
        let checked = try assessment(Self.buses)
        let finding = try #require(checked.findings.first)
        #expect(finding.isAboutBus && finding.subject == "bus 0002:23")
        #expect(finding.causes.first?.hasPrefix("the bus above has no number left to give on") == true)
        let group = try only(Self.buses)
        #expect(group.address == nil && group.nextStep?.hasPrefix("not told: the bridges above") == true)
    }

    @Test("the line that names the bridge to a bus takes what was said of the bus")
    func busesWithBridge() throws {
        let bridge =
            "pci 0002:22:05.0: devices behind bridge are unusable because [bus 23] cannot be assigned for them\n"
        let group = try only(Self.buses + bridge)
        #expect(group.address?.description == "0002:22:05.0" && group.severity == .fatal && group.lineCount == 3)
        #expect(group.cause?.hasPrefix("the bus above has no number left to give on") == true)
        let checked = try assessment(Self.buses + bridge)
        #expect(checked.verdict == .problems && !checked.findings.contains(where: \.isAboutBus))
    }

    // MARK: The dump of buses

    private static let dump = """
        pci 0002:00:00.0: PCI bridge to [bus 01]
        pci 0002:00:00.0:   bridge window [mem 0x16000000-0x160fffff 64bit pref]
        pci_bus 0002:00: resource 4 [mem 0x16000000-0x160fffff]
        pci_bus 0002:01: resource 2 [mem 0x16000000-0x160fffff 64bit pref]
        """

    @Test("the dump of a root bus tells what its host bridge decodes, unless another line tells more")
    func dumps() throws {
        let evidence = TextEvidence(Self.dump)
        #expect(evidence.roots.map(\.apertures.count) == [1])
        let host = try #require(try evidence.topology().hostBridges.first)
        #expect(host.apertures.map(\.range) == [AddressRange(first: 0x1600_0000, last: 0x160f_ffff)].compactMap { $0 })
        let told =
            "pci_bus 0002:00: root bus resource [mem 0x16000000-0x161fffff] (bus address [0x40000000-0x401fffff])\n"
        let both = TextEvidence(told + Self.dump)
        #expect(both.roots.first?.apertures.map(\.offset) == [0x1600_0000 - 0x4000_0000])
        // Nothing says whether a device tree translates what lies above 4 GiB.
        let high = Self.dump.replacing(
            "resource 4 [mem 0x16000000-0x160fffff]",
            with: "resource 4 [mem 0x600000000-0x60fffffff]"
        )
        #expect(TextEvidence(high).roots.map(\.apertures.count) == [0])
        let firmware = high.replacing("0x60fffffff]", with: "0x60fffffff window]")
        #expect(TextEvidence(firmware).roots.map(\.apertures.count) == [1])
        #expect(TextEvidence("pci_bus 0000:01: resource 1 [mem 0x80000000-0x800fffff]").roots.isEmpty)
    }

    // MARK: Reallocation

    @Test("a kernel that asks for pci=realloc where VF BARs lack an address does not do so by itself")
    func reallocation() throws {
        let lines = """
            Linux version 5.10.9
            PCI host bridge to bus 0000:20
            PCI host bridge to bus 0000:60
            pci 0000:21:00.0: [1000:00ac] type 00 class 0x010700
            pci 0000:21:00.0: reg 0x174: [mem 0x00000000-0x0000ffff 64bit]
            pci 0000:21:00.0: VF(n) BAR0 space: [mem 0x00000000-0x000fffff 64bit] (contains BAR0 for 16 VFs)

            """
        let words = "pci_bus 0000:20: Some PCI device resources are unassigned, try booting with pci=realloc\n"
        func isAutomatic(_ text: String) throws -> Bool? {
            try TextEvidence(text).topology().kernel.reallocatesByItself
        }
        #expect(try isAutomatic(lines + words) == false)
        #expect(try isAutomatic(lines) == nil)
        #expect(try isAutomatic(lines + words.replacing(":20:", with: ":60:")) == nil)
        let placed = "pci 0000:21:00.0: BAR 7: assigned [mem 0x90000000-0x900fffff 64bit]\n"
        #expect(try isAutomatic(lines + placed + words) == nil)
        let does =
            "pci_bus 0000:20: Automatically enabled pci realloc, if you have problem, try booting with pci=realloc=off\n"
        #expect(try isAutomatic(lines + does) == true)
    }

    // MARK: Listings

    @Test("a sentence that begins with an address is no title of lspci")
    func sentences() {
        let text = "06:08.1 failed since it conflicts with 06:08.0:\nso the kernel gave up on 06:08.1.\n"
        #expect(TextEvidence(text).functions.isEmpty)
        #expect(TextEvidence("06:08.1 Class 0c03: 1106:3038 (rev 61)").functions.count == 1)
    }

    private static let board = """
        0001:00:00.0 PCI bridge: Freescale Semiconductor Inc Device 0824 (rev 11) (prog-if 00 [Normal decode])
        \tDevice tree node: /sys/firmware/devicetree/base/pcie@ffe250000/pcie@0
        \tFlags: bus master, fast devsel, latency 0, IRQ 21
        \tMemory at <ignored> (32-bit, non-prefetchable)
        \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0
        \tI/O behind bridge: 00000000-0000ffff [size=64K]
        \tMemory behind bridge: d0000000-dfffffff [size=256M]
        \tPrefetchable memory behind bridge: None

        0001:01:00.0 VGA compatible controller: Advanced Micro Devices, Inc. [AMD/ATI] Device 6611 (prog-if 00 [VGA])
        \tFlags: fast devsel, IRQ 41
        \tMemory at c10000000 (64-bit, prefetchable) [disabled] [size=256M]
        \tMemory at <ignored> (32-bit, non-prefetchable) [disabled]
        \tI/O ports at 1000 [disabled] [size=256]

        """

    @Test("on a board with a device tree windows of a listing are not compared with addresses above 4 GiB")
    func boards() throws {
        let evidence = TextEvidence(Self.board)
        #expect(evidence.kernel.hardwareDescription == .deviceTree)
        let codes = try assessment(Self.board).findings.filter { $0.severity == .problem }
        #expect(!codes.contains { $0.code == .outsideWindow })
        #expect(codes.contains { $0.code == .barWiped && $0.resource == .bar(2) }, "memory that lspci ignores is told")
        let other = Self.board.replacing(
            "\tDevice tree node: /sys/firmware/devicetree/base/pcie@ffe250000/pcie@0\n",
            with: ""
        )
        #expect(try assessment(other).findings.contains { $0.code == .outsideWindow })
    }

    // MARK: Logs that end too early

    private static let scan = """
        [    0.300000] PCI host bridge to bus 0000:40
        [    0.300001] pci_bus 0000:40: root bus resource [mem 0x90000000-0x9fffffff window]
        [    0.300002] pci_bus 0000:40: root bus resource [bus 40-5f]
        [    0.310000] pci 0000:40:01.0: [8086:1234] type 01 class 0x060400 PCIe Root Port
        [    0.310001] pci 0000:40:01.0: PCI bridge to [bus 00]
        [    0.310002] pci 0000:40:01.0:   bridge window [io  0x0000-0x0fff]

        """
    private static let card = """
        [    0.320000] pci 0000:41:00.0: [8086:5678] type 00 class 0x020000 PCIe Endpoint
        [    0.320001] pci 0000:41:00.0: BAR 0 [mem 0x00000000-0x000fffff]
        [    0.320002] pci 0000:41:00.0: BAR 2 [mem 0x00000000-0x0000ffff]

        """

    @Test("a bridge whose reset values are the last that a log says of it has no bus number that is missing")
    func resetValues() throws {
        let cut = try assessment(Self.scan)
        #expect(cut.verdict == .cannotTell && !cut.findings.contains { $0.code == .busMissing })
        // Where the kernel went on to assign, it had none for the port.
        let done = "[    0.400000] pci_bus 0000:40: resource 4 [mem 0x90000000-0x9fffffff window]\n"
        #expect(
            try assessment(Self.scan + done).findings.contains { $0.code == .busMissing && $0.severity == .problem }
        )
    }

    @Test("a BAR that the assignment has not come to where the log ends is not told", arguments: [true, false])
    func midway(isOld: Bool) throws {
        let numbered = Self.scan.replacing("[bus 00]", with: "[bus 41]")
        let card =
            isOld
            ? Self.card.replacing("BAR 0 [", with: "reg 0x10: [").replacing("BAR 2 [", with: "reg 0x18: [") : Self.card
        let first =
            isOld
            ? "[    0.330000] pci 0000:41:00.0: BAR 0: no space for [mem size 0x00100000]\n"
                + "[    0.330001] pci 0000:41:00.0: BAR 0: failed to assign [mem size 0x00100000]\n"
            : "[    0.330000] pci 0000:41:00.0: BAR 0 [mem size 0x00100000]: can't assign; no space\n"
                + "[    0.330001] pci 0000:41:00.0: BAR 0 [mem size 0x00100000]: failed to assign\n"
        func lacking(_ text: String) throws -> [String] {
            try assessment(text).findings.filter { $0.severity == .problem && $0.resource?.isBAR == true }
                .map { "\($0.resource.map { "\($0)" } ?? "")" }
        }
        let text = numbered + card + first
        #expect(try lacking(text) == ["BAR 0"])
        #expect(try assessment(text).unknowns.contains { $0.code == .functionsNotRead })
        // Everything was said before drivers speak and the windows of the buses are listed.
        for end in [
            "[    0.400000] pci_bus 0000:40: resource 4 [mem 0x90000000-0x9fffffff window]\n",
            "[    0.900000] e1000e 0000:41:00.0: enabling device (0000 -> 0002)\n",
        ] {
            #expect(try lacking(text + end) == ["BAR 0", "BAR 2"], "\(end)")
        }
        // What was given to the boot's picture is no assignment.
        let picture = numbered + card + "[    0.330000] pci 0000:41:00.0: BAR 0: assigned to efifb\n"
        #expect(try assessment(picture).verdict == .cannotTell)
    }

    @Test("a line that ends inside its brackets still names the window of a port")
    func cutWindow() throws {
        let port = """
            pci 0000:40:01.0: BAR 8: assigned [mem 0x90000000-0x900fffff]
            pci 0000:40:01.0: BAR 7: no space for [io  size 0x2000]
            pci 0000:40:01.0: BAR 7: failed to assign [io  siz
            """
        let groups = Triage(port).groups
        #expect(groups.allSatisfy { $0.severity != .degraded && !$0.resource.contains("VF") }, "\(groups)")
    }

    // MARK: Prefixes

    @Test(
        "stamps of journald, of dmesg's other formats and of rescue reports are taken off",
        arguments: [
            "[    3.385028] localhost kernel: ", "[   12.000001] dom0 kernel: ", "[  +0,000004] ", "[  +0.000012] ",
            "[Mär12 20:49] ", "2026-11-30T20:49:18,123456+00:00 ", "2026-11-30T20:49:18.123456Z host kernel: ",
        ]
    )
    func prefixes(stamp: String) throws {
        let lines = ["BAR 0: no space for [mem size 0x10000000]", "BAR 0: failed to assign [mem size 0x10000000]"]
        let group = try only(lines.map { "\(stamp)pci 0000:0b:00.0: \($0)\n" }.joined())
        #expect(group.code == "bar-unassigned" && group.lineCount == 2)
        #expect(group.address == FunctionAddress(parsing: "0000:0b:00.0"))
    }

    // MARK: Reports that name little

    @Test("a report that names no device is the only one's that it may be about, else it cannot be told whose it is")
    func nameless() throws {
        let report = "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid\n"
        let one = try assessment(Self.listing + report)
        #expect(one.findings.map(\.address.description) == ["0000:00:06.0"])
        #expect(one.findings.map(\.code) == [.kernelReport])
        let second = Self.listing.replacing("00:06.0", with: "00:07.0").replacing("at c4", with: "at c6")
            .replacing("at 410", with: "at 420").replacing("at 408", with: "at 430")
        let two = try assessment(Self.listing + second + report)
        #expect(two.verdict == .cannotTell && two.unknowns.contains { $0.sentence.contains("calls a BAR invalid") })
        let group = try only(report)
        #expect(group.summary == "its driver gives up: it calls a BAR invalid")
    }

    @Test("no cause is made of a reason that was cut, and who holds ports stands in /proc/ioports")
    func reasons() throws {
        let claim = "pci 0000:00:1f.2: can't claim BAR 5 [mem 0xfe020000-0xfe0207ff]:"
        #expect(try only(claim + " ad").cause == nil)
        #expect(
            try only(claim + " address conflict with Reserved [mem 0xfe000000-0xfe0f").cause
                == "something else holds its addresses"
        )
        let ports = try only("e100 0000:00:03.0: BAR 1: can't reserve [io  0xc040-0xc07f]")
        #expect(ports.nextStep?.contains("/proc/ioports") == true)
        let memory = try only("e100 0000:00:03.0: BAR 0: can't reserve [mem 0xc0400000-0xc0400fff]")
        #expect(memory.nextStep?.contains("/proc/iomem") == true)
        let guest = """
            pci 0000:00:05.0: can't claim BAR 2 [mem 0xb3100000-0xb3100fff 64bit]: address conflict with System RAM [mem 0x00100000-0xf8ffffff]
            pcifront pci-0: Could not claim resource 0000:00:05.0/2! Device offline. Try using e820_host=1 in the guest config.
            PCI host bridge to bus 0000:00
            pci 0000:00:05.0: [10ec:8168] type 00 class 0x020000
            """
        #expect(Triage(guest).groups.contains { $0.nextStep?.hasPrefix("e820_host=1") == true })
        #expect(TextEvidence("0000:00:03.0 (uninitialized): Cannot obtain PCI resources, aborting").functions.isEmpty)
    }

    @Test("a window of no kind is neither a failure of ports or memory nor nothing")
    func windowOfNoKind() throws {
        let text = """
            pcieport 0006:05:00.0: bridge window [??? 0x00002000-0x00002fff flags 0x20080000]: can't assign; no space
            pcieport 0006:05:00.0: bridge window [??? 0x00002000-0x00002fff flags 0x20080000]: failed to assign
            """
        let group = try only(text)
        #expect(group.code == "window-kind-untold" && group.severity == .untold && group.lineCount == 2)
        #expect(Triage(text).verdict == .cannotTell)
    }

    @Test("check names who holds a BAR's addresses where /proc/iomem is beside the log")
    func holders() throws {
        let text = """
            3800000000-38ffffffff : 0000:c4:00.0
              3800000000-3800ffffff : BOOTFB

            vfio-pci 0000:c4:00.0: BAR 0: can't reserve [mem 0x3800000000-0x38ffffffff 64bit pref]
            """
        let finding = try #require(try assessment(text).findings.first)
        #expect(finding.code == .kernelReport && finding.severity == .note)
        #expect(finding.causes.contains { $0.contains("BOOTFB holds 0x3800000000-0x3800ffffff") })
    }

    @Test("that something is unassigned says nothing of what it is where only some lines are here")
    func someUnassigned() throws {
        let line = "pci_bus 0000:00: Some PCI device resources are unassigned, try booting with pci=realloc\n"
        let alone = Triage("pci 0000:01:00.0: BAR 0 [mem 0x20000000-0x200fffff]: assigned\n" + line)
        #expect(alone.groups.map(\.code) == ["summary-untold"] && alone.verdict == .cannotTell)
    }

    @Test("a BAR whose register reads zero beside an address of the kernel is a note, whatever decodes it")
    func virtualBAR() throws {
        let listing = """
            4b:00.0 Serial controller: Some board (prog-if 01 [16450])
            \tControl: I/O- Mem- BusMaster- SpecCycle-
            \tRegion 0: Memory at d1300000 (32-bit, non-prefetchable) [virtual] [size=1M]

            """
        let checked = try assessment(listing)
        #expect(checked.findings.map(\.code) == [.registersDiffer] && checked.findings.map(\.severity) == [.note])
    }

    // MARK: Excerpts

    private static let port = """
        00:1c.4 PCI bridge: Intel Corporation Root Port (rev b1) (prog-if 00 [Normal decode])
        \tFlags: bus master, fast devsel, latency 0
        \tBus: primary=00, secondary=07, subordinate=08, sec-latency=0
        \tI/O behind bridge: None
        \tMemory behind bridge: 90000000-900fffff [size=1M]
        \tPrefetchable memory behind bridge: None
        \tCapabilities: [40] Express Root Port (Slot+), MSI 00

        """

    @Test("a listing of one function says nothing of what is behind it, above it or beside it")
    func excerpts() throws {
        let alone = try assessment(Self.port)
        #expect(alone.verdict == .healthy && alone.unknowns.map(\.code) == [.functionsNotRead])
        #expect(alone.emptyPorts.isEmpty && alone.unknowns[0].sentence.contains("also behind it"))
        let beside =
            Self.port
            + Self.port.replacing("00:1c.4", with: "00:1c.5").replacing("=07", with: "=09")
            .replacing("=08", with: "=0a").replacing("at 900", with: "at 901").replacing(
                "90000000-900f",
                with: "90100000-901f"
            )
        let two = try assessment(beside)
        #expect(two.unknowns.isEmpty && two.emptyPorts.count == 2)
    }

    @Test("no window is denied of a bridge of which a log that forgot the boot names another")
    func windowsOfOneKind() throws {
        let text = """
            pci 0000:05:00.0: BAR 13: no space for [io  size 0x3000]
            pci 0000:05:00.0: BAR 13: failed to assign [io  size 0x3000]
            pci 0000:06:02.0: bridge window [mem 0x00100000-0x000fffff 64bit pref] to [bus 39] add_size 200000
            pci 0000:05:00.0: bridge window [io  0x1000-0x0fff] to [bus 06-39] add_size 3000
            pci 0000:06:02.0: BAR 15: no space for [mem size 0x00200000 64bit pref]
            pci 0000:06:02.0: BAR 15: failed to assign [mem size 0x00200000 64bit pref]
            """
        let group = try #require(Triage(text).groups.first { $0.resource == "pref window" })
        #expect(group.cause?.contains("has no pref window") != true, "\(group.cause ?? "")")
        #expect(group.cause?.contains("is not told") == true, "\(group.cause ?? "")")
    }

    @Test("a range of buses that the kernel refused harms nobody where the functions on it were found")
    func refusedRange() throws {
        let refused =
            "pci_bus 0002:01: busn_res: can not insert [bus 01-ff] under [bus 00-1f] (conflicts with (null) [bus 00-1f])\n"
        #expect(try only(refused).severity == .degraded)
        let found = try only(refused + "pci 0002:01:00.0: [144d:a80a] type 00 class 0x010802\n")
        #expect(found.severity == .harmless && found.code == "bus-range-refused")
    }

    @Test("a log without a message of the kernel's own about a function tells nothing of them, however it was cut")
    func nothingSaid() throws {
        for text in [
            "brcm-pcie fd500000.pcie: link down\n", "pci_bus 0001:00: root bus resource [mem 0x90000000-0x9fffffff]\n",
        ] { #expect(Triage(text).verdict == .cannotTell, "\(text)") }
        // What is missing at the start does not hide what is missing at the end.
        #expect(Triage(Self.card).verdict == .cannotTell)
        #expect(Triage(Self.scan + Self.card).verdict == .cannotTell)
    }

    @Test("code marks and numbers of a list are no part of a message", arguments: ["`", "> `", "  12. ", "> - > `"])
    func marks(mark: String) throws {
        guard mark != "> - > `" else { return #expect(LogTextLine(Array(mark.utf8)[...])?.isMarked != true) }
        let end = mark.hasSuffix("`") ? "`" : ""
        let text = ["no space for", "failed to assign"].map {
            "\(mark)pci 0000:0b:00.0: BAR 0: \($0) [mem size 0x10000000]\(end)\n"
        }.joined()
        #expect(try only(text).code == "bar-unassigned")
    }

    @Test("a request that access control refused is not the link's fault")
    func accessControl() throws {
        let text = "pcieport 0000:80:1b.4:    [21] ACSViol                (First)"
        #expect(CauseSign.signs(in: [text]).map(\.area) == [.isolation])
    }
}
