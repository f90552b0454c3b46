// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import PlanExecutor
internal import RebalancePlanner
internal import Testing
internal import VMLaboratory

/// CXL memory as QEMU emulates it (pxb-cxl, cxl-rp, cxl-type3): what is read of it live, and that plans leave it alone once the
/// host uses it.
///
/// Kernels from 6.3 on want event logs of a memory device that QEMU 7.2 does not have, and leave its driver unbound: 6.1 commits
/// a region's decoders, the others give it addresses only.
@Suite("CXL memory on real kernels")
struct ComputeExpressLinkTests {
    /// What QEMU is told: the memory of the device, the window that firmware keeps for it, the number of its root bus.
    private static let (memory, window, bus) = (UInt64(256) << 20, UInt64(4) << 30, UInt8(0x0c))

    private static func memoryDevice(_ name: String) -> Device {
        let backing = ["\(name)-memory", "\(name)-labels"].map { object in
            Device.Support.object(
                type: "memory-backend-ram",
                identifier: object,
                properties: [.init("size", .number(memory)), .init("share", .flag(true))]
            )
        }
        return Device(
            "cxl-type3",
            name,
            properties: [.init("memdev", .text("\(name)-memory")), .init("lsa", .text("\(name)-labels"))],
            support: backing
        )
    }

    /// A memory device below a CXL host bridge, and another in the place of the window case's card: beside a port behind which
    /// a card of 1 GiB does not fit.
    private static let machine: MachineTopology = {
        var machine = MachineTopology(
            "cxl",
            memory: .gib(1),
            kernelArguments: MachineTopology.withoutSHPC,
            machineArguments: [
                "-machine", "cxl=on,cxl-fmw.0.targets.0=cxl.1,cxl-fmw.0.size=\(window >> 30)G",
                // A kernel that knows of a hypervisor commits no decoders: it cannot flush the caches of the real machine.
                "-cpu", "qemu64,-hypervisor",
            ]
        )
        let ports = [Device.downstreamPort("d1", children: [memoryDevice("beside")]), .downstreamPort("d2")]
        let cxlPort = Device(
            "cxl-rp",
            "cxl-port",
            properties: [.init("port", .number(0)), .init("chassis", .number(200)), .init("slot", .number(200))],
            children: [memoryDevice("behind")]
        )
        machine.devices = [
            .rootPort("rp1", at: "2", children: [.upstreamPort("up1", children: ports)]),
            Device("pxb-cxl", "cxl.1", properties: [.init("bus_nr", .number(UInt64(bus)))], children: [cxlPort]),
        ]
        return machine
    }()

    @Test(
        "facts as QEMU was told; a region protects the memory devices, and the plan that would stop one is refused",
        arguments: RepairTests.areAllCasesAsked ? Kernel.allCases : [.linux6_1]
    )
    func region(kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try VirtualMachine(Self.machine, kernel: kernel, options: .init(bootTimeout: .seconds(400)))
        defer { guest.stop() }
        let loaded = try guest.run(
            "for m in cxl_acpi cxl_pci cxl_mem; do modprobe $m; done; sleep 1; ls /sys/bus/cxl/devices",
            timeout: .seconds(200)
        )
        print("\(kernel): \(loaded.lines.joined(separator: " "))")
        try #require(loaded.output.contains("decoder0.0"), "\(loaded.errors)")
        try guest.hotPlug(.testDevice("card", memory: .gib(1)), behind: "d2")

        let (free, snapshot) = try topology(guest)
        let devices = free.functions.filter { $0.identity.classWord == 0x0502 }
        try #require(devices.count == 2)
        let (beside, behind) = (devices[0].address, devices[1].address)
        #expect(behind.bus == BusNumber(Self.bus + 1) && devices[1].parent?.bus == BusNumber(Self.bus))
        for device in devices {
            let link = try #require(device.capabilities.computeExpressLink)
            #expect(link.hasMemory && device.capabilities.hasExtended(0x2e), "memory, and DOE")
            #expect(link.ranges.map { $0.last - $0.first + 1 } == [Self.memory], "\(link.ranges)")
            #expect(!device.use.evidence.contains { $0.code == "cxl-memory" }, "nothing of it is in use yet")
        }
        let windows = try nodes("CXL Window", guest)
        #expect(windows.map { $0.last - $0.first + 1 } == [Self.window])
        // The card fits once the memory device beside it is stopped.
        let way = try plan(snapshot)
        #expect(way.verdict.answer == .act && way.disturbed.contains { $0.address == beside }, "\(way.verdict.line)")
        // No place in firmware's window is PCI's.
        let inside = try plan(snapshot, ["--at", "\(beside):0=0x\(String(windows[0].first, radix: 16))"])
        #expect(inside.verdict.answer == .impossible, "\(inside.verdict.line)")

        let made = try guest.run(
            """
            cd /sys/bus/cxl/devices
            name=$(cat decoder0.0/create_pmem_region) && echo $name >decoder0.0/create_pmem_region
            echo 1 >$name/interleave_ways; echo 256 >$name/interleave_granularity
            cat /proc/sys/kernel/random/uuid >$name/uuid
            endpoint=$(ls -d endpoint*/decoder*.0 | head -n 1); endpoint=${endpoint##*/}
            [ -z "$endpoint" ] || { echo pmem >$endpoint/mode; echo \(Self.memory) >$endpoint/dpa_size; }
            echo \(Self.memory) >$name/size
            [ -z "$endpoint" ] || { echo $endpoint >$name/target0 && echo 1 >$name/commit; }
            echo committed $(cat $name/commit)
            """,
            timeout: .seconds(120)
        )
        print("\(kernel): \(made.output) \(made.errors)")
        let isCommitted = made.output.contains("committed 1")
        #expect(isCommitted == (kernel == .linux6_1))
        let regions = try nodes("region", guest)
        #expect(regions.map { $0.last - $0.first + 1 } == [Self.memory] && windows[0].contains(regions[0]))
        let (used, after) = try topology(guest)
        for address in [beside, behind] {
            let found = try #require(used[address]).use.evidence.filter(\.isProtected).map(\.detail)
            #expect(found.contains { $0.contains("of CXL memory is in use") }, "\(found)")
            let hasDecoder = found.contains {
                $0.contains("gives \(ByteCount(Self.memory)) of its CXL memory to the host")
            }
            #expect(hasDecoder == (isCommitted && address == behind), "\(found)")
        }
        #expect(
            used.functions.allSatisfy { f in
                [beside, behind].contains(f.address) || !f.use.evidence.contains { $0.code == "cxl-memory" }
            }
        )
        let refused = try plan(after)
        #expect(refused.verdict.line == "PLAN: refused reason=protected")
        #expect(refused.verdict.sentence.contains("\(beside)"), "\(refused.verdict.sentence)")
    }

    @Test(
        "where apertures cover everything, the window that firmware keeps for CXL memory is in the way",
        .enabled(if: RepairTests.areAllCasesAsked, "asked for by make vm-test-all")
    )
    func window() throws {
        let kernel = Kernel.linux6_12
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try VirtualMachine(
            Self.machine,
            kernel: kernel,
            options: .init(kernelArguments: ["pci=nocrs"], bootTimeout: .seconds(400))
        )
        defer { guest.stop() }
        _ = try guest.run("for m in cxl_acpi cxl_pci cxl_mem; do modprobe $m; done", timeout: .seconds(200))
        let windows = try nodes("CXL Window", guest)
        #expect(windows.count == 1)
        let blockers = try topology(guest).topology.blockers.filter { $0.name.hasPrefix("CXL Window") }
        #expect(blockers.map(\.range) == windows)
    }

    /// The ranges of the nodes of /proc/iomem whose names begin so.
    private func nodes(_ name: String, _ guest: VirtualMachine) throws -> [AddressRange] {
        try guest.run("grep ': \(name)' /proc/iomem").lines.compactMap { line in
            let words = line.split(separator: " ")[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
            return words.count == 2 ? AddressRange(first: words[0], last: words[1]) : nil
        }
    }

    private func topology(_ guest: VirtualMachine) throws -> (topology: Topology, snapshot: [UInt8]) {
        let snapshot = try guest.run("pci-rebalance snapshot -q", timeout: .seconds(300)).checked().standardOutput
        return (try TopologyAssembler(SnapshotFile.decode(snapshot)).topology(), snapshot)
    }

    private func plan(_ snapshot: [UInt8], _ wishes: [String] = []) throws -> Plan {
        try PlanDocument.decode(PlanningHere.document(snapshot, wishes))
    }
}
