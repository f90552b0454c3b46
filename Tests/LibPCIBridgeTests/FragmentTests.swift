// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import LibPCIBridge

/// What a few lines say, and what they do not: the form in which most reports come.
@Suite("Fragments of logs") struct FragmentTests {
    private func assessment(_ text: String) throws -> Assessment {
        let record = TextEvidence(text).record
        return Assessment(record, try TopologyAssembler(record).topology())
    }

    private static func address(_ segment: UInt32, _ bus: UInt8, _ devfn: UInt8) -> FunctionAddress {
        FunctionAddress(segment: segment, bus: BusNumber(bus), devfn: devfn)
    }

    // MARK: Numbers of resources

    /// A kernel without CONFIG_PCI_IOV, no line of which says that 0001:00:00.0 is a bridge.
    private static let oldNumbers = """
        [    1.9] pci 0001:00:00.0: BAR 0: no space for [mem size 0x20000000]
        [    1.9] pci 0001:00:00.0: BAR 9: assigned [mem 0x800000000-0x80fffffff 64bit pref]
        [    1.9] pci 0001:00:00.0: BAR 8: no space for [mem size 0x02000000]
        [    1.9] pci 0001:00:00.0: BAR 8: failed to assign [mem size 0x02000000]
        [    1.9] pci 0001:00:00.0: BAR 7: no space for [io  size 0x2000]
        [    1.9] pci 0001:02:04.0: BAR 8: assigned [mem 0xf1000000-0xf10fffff]
        [    1.9] pci 0001:01:00.0: BAR 2: no space for [mem size 0x02000000]
        """

    @Test("7 with ports is a window, and with it 8 and 9 of every function of that kernel")
    func oldWindowNumbers() throws {
        let evidence = TextEvidence(Self.oldNumbers)
        let port = try #require(evidence[Self.address(1, 0, 0)])
        let below = try #require(evidence[Self.address(1, 2, 0x20)])
        let hasBlocks = port.resources.contains { $0.index.isVFBAR }
        #expect(port.headerLayout == 1 && !hasBlocks)
        #expect(port.bridge?.prefetchable?.range == AddressRange(first: 0x8_0000_0000, last: 0x8_0fff_ffff))
        #expect(below.bridge?.memory?.range == AddressRange(first: 0xf100_0000, last: 0xf10f_ffff))
        let triage = Triage(evidence)
        let own = triage.groups.first { $0.resource == "BAR 0" }
        let fatal = triage.groups.filter { $0.code == "bar-unassigned" }.map { $0.address?.description }
        #expect(!triage.groups.map(\.code).contains("vf-bar-unassigned"))
        #expect(own?.code == "bridge-bar-unassigned")
        #expect(fatal == ["0001:01:00.0"])
    }

    @Test("7 with memory is a block for virtual functions unless the function is a bridge")
    func oldVFNumbers() {
        let line = "pci 0000:05:00.0: BAR 7: no space for [mem size 0x00100000 64bit]"
        #expect(Triage(line).groups.map(\.code) == ["vf-bar-unassigned"])
        #expect(OldResourceNumber.window(.bar(0) ?? .rom, .io, isBridge: true) == nil)
        let pref = OldResourceNumber.window(ResourceIndex(9) ?? .rom, .prefetchable, isBridge: false)
        #expect(pref == nil)
    }

    // MARK: I/O BARs

    @Test("an I/O BAR counts by what else the function has, and is not judged where that is not told")
    func ioBARs() throws {
        let failure = "pci 0000:06:00.0: BAR 1: no space for [io  size 0x0040]\n"
        let identity = "pci 0000:06:00.0: [9710:9835] type 00 class 0x070002\n"
        let ports = "pci 0000:06:00.0: reg 0x14: [io  0x0000-0x003f]\n"
        let memory = "pci 0000:06:00.0: reg 0x10: [mem 0xe0000000-0xe0003fff]\n"
        #expect(Triage(failure).groups.map(\.code) == ["io-bar-untold"])
        #expect(Triage(failure).verdict == .cannotTell)
        #expect(try assessment(failure).verdict == .cannotTell)
        #expect(Triage(identity + memory + ports + failure).groups.map(\.code) == ["io-bar-unassigned"])
        #expect(Triage(identity + ports + failure).groups.map(\.code) == ["bar-unassigned"])
        #expect(try assessment(identity + ports + failure).verdict == .problems)
    }

    // MARK: Windows

    @Test("what a window is for is said only where everything behind it is told")
    func windowsOfWhichALittleIsTold() throws {
        let alone = "pcieport 0000:40:02.0: bridge window [mem size 0x00200000 64bit pref]: can't assign; no space"
        #expect(Triage(alone).verdict == .cannotTell)
        #expect(try assessment(alone).verdict == .cannotTell)
        let part = """
            pci 0000:41:00.0: BAR 0 [mem 0xb0000000-0xb0003fff]: assigned
            pci 0000:40:02.0: PCI bridge to [bus 41]
            pci 0000:40:02.0:   bridge window [mem 0xb0000000-0xb00fffff]
            \(alone)
            """
        let group = try #require(Triage(part).groups.first)
        #expect(group.code == "window-untold" && !group.summary.contains("everything"))
        let whole = "pci 0000:41:00.0: [1b4b:9230] type 00 class 0x010601 PCIe Endpoint\n" + part
        #expect(Triage(whole).groups.map(\.code) == ["reserve-left-out"])
    }

    @Test("bus numbers stand in the lines about sizes, too")
    func busesOfSizes() {
        let evidence = TextEvidence(
            """
            pci 0000:00:1d.0: bridge window [mem 0x00100000-0x000fffff] to [bus 05-07] add_size 200000 add_align 100000
            pcieport 0000:00:01.0: Assigned bridge window [mem 0xc0000000-0xc00fffff] to [bus 20-22] cannot fit 0x1000000 required for 0000:20:00.0 bridging to [bus 21-22]
            """
        )
        let first = evidence.functions.map { $0.bridge?.busRange?.first.rawValue }
        #expect(first == [0x20, 5, 0x21])
    }

    @Test("a window that was released for more and refused is no reserve, though the log ends there")
    func releasedForMore() throws {
        let log = """
            nouveau 0000:43:00.0: BAR 1 [mem 0x3c00000000-0x3c0fffffff 64bit pref]: releasing
            pcieport 0000:42:00.0: bridge window [mem 0x3c00000000-0x3c0fffffff 64bit pref]: releasing
            pcieport 0000:41:00.0: bridge window [mem 0x3c00000000-0x3c0fffffff 64bit pref]: releasing
            pcieport 0000:40:01.0: Assigned bridge window [mem 0x3c00000000-0x3c17ffffff 64bit pref] to [bus 41-43] cannot fit 0x200000000 required for 0000:41:00.0 bridging to [bus 42-43]
            pcieport 0000:41:00.0: bridge window [mem size 0x200000000 64bit pref]: can't assign; no space
            """
        let group = try #require(Triage(log).groups.first { $0.address?.description == "0000:41:00.0" })
        #expect(group.code == "window-not-enlarged" && group.severity == .degraded)
        #expect(group.cause?.contains("0000:40:01.0") == true, "\(group.cause ?? "")")
    }

    // MARK: Resizing

    @Test("a BAR that was moved for another one and got its place back lost nothing")
    func movedForAnother() {
        let log = """
            radeon 0000:09:00.0: BAR 0: releasing [mem 0xa000000000-0xa00fffffff 64bit pref]
            radeon 0000:09:00.0: BAR 0: no space for [mem size 0x100000000 64bit pref]
            radeon 0000:09:00.0: BAR 2: no space for [mem size 0x00400000 64bit pref]
            radeon 0000:09:00.0: BAR 0: assigned [mem 0xa000000000-0xa00fffffff 64bit pref]
            radeon 0000:09:00.0: BAR 2: assigned [mem 0xa010000000-0xa0103fffff 64bit pref]
            """
        #expect(Triage(log).groups.map(\.code) == ["resize-refused", "bar-placed-later"])
    }

    @Test("the old size refused behind another one leaves no place")
    func oldSizeRefused() {
        var sizes = SizesTried()
        var answers: [Bool] = []
        // The first is refused without that another size was asked for.
        for (size, old) in [(28, 28), (33, 28), (28, 28), (32, nil)] as [(UInt64, UInt64?)] {
            answers.append(sizes.undoes(refusalOf: ByteCount(1 << size), old: old.map { ByteCount(1 << $0) }))
        }
        #expect(answers == [false, false, true, false])
    }

    // MARK: Memory that lspci ignores

    @Test("memory for which the kernel gives no address is a lost BAR, ports are none")
    func ignoredMemory() throws {
        let text = """
            0005:01:00.0 Non-Volatile memory controller: Example (prog-if 02 [NVM Express])
            \tFlags: fast devsel, IRQ 55
            \tMemory at <ignored> (64-bit, non-prefetchable)
            \tI/O ports at <ignored> [disabled]

            """
        let result = try assessment(text)
        #expect(result.verdict == .problems)
        let problems = result.findings.filter { $0.severity == .problem }.map(\.resource)
        #expect(problems == [.bar(0)])
    }

    // MARK: Claims and holders

    @Test("who is in the way stands in the kernel's own words")
    func conflicts() {
        func cause(_ line: String) -> String? { Triage(line).groups.first?.cause }
        let window =
            "pci 0000:00:04.0: can't claim BAR 0 [io  0xc140-0xc15f]: address conflict with PCI Bus 0000:02 [io  0xc000-0xcfff]"
        #expect(cause(window)?.contains("the window to bus 0000:02") == true)
        let other =
            "pci 0000:00:1f.3: BAR 4 [io  0x0400-0x041f]: can't claim; address conflict with ACPI CPU throttle [io  0x0410-0x0415]"
        #expect(cause(other)?.contains("ACPI CPU throttle lies there") == true, "\(cause(other) ?? "")")
        let outside = "pci 0000:0c:00.0: can't claim BAR 0 [mem 0xdf000000-0xdf0fffff]: no compatible bridge window"
        #expect(cause(outside)?.contains("not told") == true)
        #expect(cause(outside)?.contains("host bridge") == false)
    }

    @Test("the boot's picture is named as the holder, with what to do")
    func framebuffer() {
        let text = """
            1800000000-1fffffffff : 0000:2d:00.0
              1800000000-1800ffffff : BOOTFB
            vfio-pci 0000:2d:00.0: BAR 0: can't reserve [mem 0x1800000000-0x1fffffffff 64bit pref]
            """
        let group = Triage(text).groups.first
        #expect(group?.cause?.contains("BOOTFB") == true)
        #expect(group?.nextStep?.contains("simple-framebuffer") == true)
    }

    // MARK: Buses

    @Test(
        "a bus that cannot be reached is a problem for check as for triage, and no step is named that would be refused"
    )
    func hiddenBus() throws {
        let log = "pci_bus 0000:5a: [bus 5a] partially hidden behind bridge 0000:20 [bus 20-2f]"
        let group = try #require(Triage(log).groups.first)
        #expect(group.severity == .fatal && group.nextStep?.contains("plan") == false)
        let result = try assessment(log)
        #expect(result.verdict == .problems)
        #expect(result.findings.first?.address.bus == BusNumber(0x5a))
    }

    // MARK: Other causes

    @Test("what a driver says of a device that lacks room is no other cause")
    func driverWithoutRoom() throws {
        let vfs = """
            ixgbe 0000:81:00.0: not enough MMIO resources for SR-IOV
            ixgbe 0000:81:00.0: probe failed with error -12
            """
        #expect(try assessment(vfs).signs.isEmpty)
        let nameless = """
            pci 0000:0b:00.0: BAR 0 [mem size 0x00400000 64bit]: can't assign; no space
            probe with driver my_pcie_card failed with error -22
            """
        #expect(try assessment(nameless).signs.isEmpty)
        #expect(try assessment("ahci 0000:0b:00.0: probe with driver ahci failed with error -22").signs.count == 1)
    }

    @Test("a host bridge whose link is down says so")
    func linkDown() {
        let log = ["acme-pcie 40000000.pcie: Port 1 link down", "e1000e 0000:00:19.0 eth0: link down"]
        #expect(CauseSign.signs(in: log).map(\.area) == [.link])
    }

    // MARK: Fixed resources

    @Test("ports of a legacy IDE controller and a ROM that was copied to RAM are where the kernel says")
    func fixedResources() throws {
        let evidence = TextEvidence(
            """
            pci 0000:00:0d.0: [10de:0266] type 00 class 0x01018a
            pci 0000:00:0d.0: legacy IDE quirk: reg 0x10: [io  0x01f0-0x01f7]
            pci 0000:00:0d.0: legacy IDE quirk: reg 0x14: [io  0x03f6]
            pci 0000:00:05.0: [10de:0240] type 00 class 0x030000
            pci 0000:00:05.0: reg 0x30: [mem 0xfffe0000-0xffffffff pref]
            pci 0000:00:05.0: Video device with shadowed ROM at [mem 0x000c0000-0x000dffff]
            """
        )
        let topology = try TopologyAssembler(evidence.record).topology()
        let ide = try #require(topology[Self.address(0, 0, 0x68)])
        let display = try #require(topology[Self.address(0, 0, 0x28)])
        #expect(
            ide.resources.map(\.range) == [
                AddressRange(first: 0x1f0, last: 0x1f7), AddressRange(first: 0x3f6, last: 0x3f6),
            ]
        )
        #expect(display.resources.map(\.range) == [AddressRange(first: 0xc0000, last: 0xdffff)])
        let isFixed = display.resources.map(\.isFixed)
        #expect(isFixed == [true])
    }

    // MARK: Records

    @Test(
        "a kernel line in a record of another program is that line",
        arguments: [
            #"time="2024-03-01T10:00:00Z" level=info msg="[   12.400000] LINE\n" name=kata-runtime"#,
            #"{"log":"[   12.400000] LINE\n","stream":"stdout","time":"2024-03-01T10:00:00.1Z"}"#,
            #"{"__REALTIME_TIMESTAMP":"1709287200000000","PRIORITY":"6","MESSAGE":"LINE","_TRANSPORT":"kernel"}"#,
        ]
    )
    func records(wrap: String) {
        let line = "pci 0000:00:07.0: BAR 1: no space for [mem size 0x800000000 64bit pref]"
        let triage = Triage(wrap.replacing("LINE", with: line) + "\n")
        #expect(triage.evidence.messages.map(\.text) == [line])
        #expect(triage.groups.map(\.code) == ["bar-unassigned"])
    }

    @Test("a kernel line that holds a string stays whole")
    func quotedLine() {
        let line = #"pci 0000:00:07.0: BAR 1: no space for [mem size 0x800000 64bit] msg="no""#
        #expect(TextEvidence(line).messages.map(\.text) == [line])
    }

    // MARK: /proc/iomem

    @Test("the aperture of a host bridge in a device tree bears the name of its node, and a bus's name is a window")
    func deviceTreeIomem() {
        let text = IomemText(
            """
            40000000-bfffffff : System RAM
            e0000000-e7ffffff : pcie@20000000
              e0000000-e000ffff : 0003:00:00.0
              e0100000-e03fffff : PCI Bus 0003:01
                e0100000-e01fffff : 0003:01:00.0
            f0000000-f000ffff : pci@f0000000 config
            """
        )
        let shares = text.busShares()
        #expect(shares.map(\.role) == [.aperture, .window])
        #expect(shares.map(\.owner) == ["pcie@20000000", "0003:01"])
        #expect(shares.map(\.depth) == [0, 1])
        #expect(shares.map(\.largestFree) == [ByteCount(64 << 20), ByteCount(2 << 20)])
        #expect(shares[1].holders.map(\.name) == ["0003:01:00.0"])
    }

    // MARK: Other systems

    @Test(
        "what other systems print is named, and nothing is read from it",
        arguments: [
            ("em0@pci0:2:0:0:\tclass=0x020000 rev=0x00 hdr=0x00 vendor=0x8086 device=0x10d3\n", "pciconf"),
            ("PCI\\VEN_1002&DEV_73BF&SUBSYS_0E3A1002 has a problem: CM_PROB_NORMAL_CONFLICT\n", "windows"),
            ("0000:82:00.0\n   Address: 0000:82:00.0\n   VMkernel Name: vmgfx0\n", "esxi"),
            (
                "  *-display UNCLAIMED\n       bus info: pci@0000:03:00.0\n       resources: memory:e0000000-efffffff\n",
                "lshw"
            ),
            ("      Driver Installed: No\n      Slot: Thunderbolt@5,0,0\n", "macOS"),
            ("em0 at pci1 dev 0 function 0 \"Intel 82574L\" rev 0x00: msi\n", "bsd"),
            (
                "/sys/bus/pci/devices/0000:00:02.0/resource:0x00000000f6000000 0x00000000f6ffffff 0x0000000000140204\n",
                "resourceFiles"
            ),
            (
                String(repeating: "0x0000000000000000 0x0000000000000000 0x0000000000000000\n", count: 3),
                "resourceFiles"
            ),
        ]
    )
    func otherSystems(text: String, kind: String) {
        let found = ForeignText(Array(text.utf8)).map { "\($0)" }
        #expect(found == kind)
        #expect(TextEvidence(text).tellsOfNoHardware)
    }

    @Test("prose is of no other system")
    func prose() {
        #expect(ForeignText(Array("My card does not work. What can I do?\n".utf8)) == nil)
        #expect(ForeignText([]) == nil)
    }
}
