// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import LibPCIBridge
internal import PCITopology
internal import PlanExecutor
internal import RebalancePlanner
internal import TestSupport
internal import Testing
internal import VMLaboratory

/// The groups that a kernel with an IOMMU makes of random trees, against the rule.
@Suite("IOMMU groups on real kernels")
struct IsolationTests {
    /// How many trees are looked at in each boot, and how many machines are booted, for each kernel.
    private static let (trees, boots) =
        RepairTests.areAllCasesAsked ? (60, 4) : (6, 1)

    @Test(
        "groups are foretold: switches, ports with and without ACS, cards of several functions, conventional buses",
        arguments: [Kernel.linux6_1, .linux6_12, .linux7]
    )
    func groups(kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        var compared = 0
        var seen: Set<Set<Set<String>>> = []
        for boot in 0..<Self.boots {
            var random = SplitMix64(seed: UInt64(boot) * 1000 + UInt64(kernel.rawValue.utf8.reduce(0) { $0 + Int($1) }))
            let guest = try VirtualMachine(
                Self.machine(&random),
                kernel: kernel,
                options: .init(
                    kernelArguments: ["intel_iommu=on", "initcall_blacklist=shpcd_init"],
                    machineArguments: ["-device", "intel-iommu,intremap=off"]
                )
            )
            try compare(guest, "boot \(boot)", &seen)
            compared += 1
            for tree in 1..<Self.trees {
                try regroup(guest, &random)
                try compare(guest, "boot \(boot), tree \(tree)", &seen)
                compared += 1
            }
            guest.stop()
        }
        print("\(kernel): \(compared) trees compared, \(seen.count) partitions different from each other")
        #expect(compared == Self.trees * Self.boots && seen.count > 1)
    }

    /// Random ACS controls at single root ports, everything below them removed and found again.
    private func regroup(_ guest: VirtualMachine, _ random: inout SplitMix64) throws {
        let topology = try Self.topology(of: guest)
        var script = ""
        for host in topology.hostBridges.indices {
            for port in topology.roots(of: host) where !topology.children(of: port).isEmpty {
                let function = topology.functions[port]
                let siblings = topology.roots(of: host).filter {
                    topology.functions[$0].address.devfn >> 3 == function.address.devfn >> 3
                }
                // Ports of one device keep the groups that they were found with.
                if let acs = function.capabilities.accessControl, siblings.count == 1 {
                    let all = [
                        AccessControls.isolating, [], .isolating.subtracting(.requestRedirect), .upstreamForwarding,
                    ]
                    let control = all[random.below(all.count)].rawValue
                    try guest.writeConfiguration(
                        of: function.address.description,
                        at: Int(acs.offset) + 6,
                        [UInt8(control & 0xff), 0]
                    )
                }
                for child in topology.children(of: port) where !topology.functions[child].isVirtual {
                    script += "echo 1 >/sys/bus/pci/devices/\(topology.functions[child].address)/remove\n"
                }
            }
        }
        try guest.output(script + "echo 1 >/sys/bus/pci/rescan\n", timeout: .seconds(300))
        try guest.waitUntilQuiet(timeout: .seconds(300))
    }

    private func compare(_ guest: VirtualMachine, _ what: String, _ seen: inout Set<Set<Set<String>>>) throws {
        try compare(try Self.topology(of: guest), what, &seen)
    }

    private func compare(_ topology: Topology, _ what: String, _ seen: inout Set<Set<Set<String>>>) throws {
        #expect(topology.functions.allSatisfy { $0.use.iommuGroup != nil }, "\(what): not all have a group")
        let groups = IsolationGroups(topology)
        #expect(!groups.isCertain.contains(false), "\(what): not all is told")
        let wrong = groups.contradicted(by: topology).map { i in
            let function = topology.functions[i]
            let others = groups.others(with: i).map { topology.functions[$0].address.description }
            return "\(function.address) is in group \(function.use.iommuGroup ?? -1), foretold with \(others)"
        }
        #expect(wrong.isEmpty, "\(what)")
        seen.insert(Set(groups.members.map { Set($0.map { topology.functions[$0].address.description }) }))
    }

    /// The functions with registers and groups, read with as few processes as may be: an emulated guest is slow.
    private static func topology(of guest: VirtualMachine) throws -> Topology {
        let devices = "/sys/bus/pci/devices"
        let patience = Duration.seconds(300)
        let sizes = try guest.output("stat -c '%n %s' \(devices)/*/config", timeout: patience).split(separator: "\n")
        let links = try guest.output("ls -ld \(devices)/*/iommu_group", timeout: patience).split(separator: "\n")
        let bytes = try guest.run("cat \(devices)/*/config", timeout: patience).checked().standardOutput
        let order = try guest.output("cat /proc/bus/pci/devices").split(separator: "\n")
        var record = MachineRecord(
            origin: .directory,
            kernel: KernelIdentity(release: guest.release, commandLine: "", architecture: "x86_64")
        )
        var groups: [FunctionAddress: Int] = [:]
        for line in links {
            let parts = line.split(separator: "/")
            guard let at = parts.firstIndex(of: "devices"), at + 1 < parts.count,
                let address = FunctionAddress(parsing: String(parts[at + 1]))
            else { continue }
            groups[address] = parts.last.flatMap { Int($0) }
        }
        var start = 0
        for line in sizes {
            let parts = line.split(whereSeparator: { $0 == "/" || $0 == " " })
            let size = try #require(parts.last.flatMap { Int($0) })
            let address = try #require(FunctionAddress(parsing: String(parts[parts.count - 3])))
            var function = FunctionRecord(address: address)
            function.config = ConfigSpace(Array(bytes[start..<min(start + size, bytes.count)]))
            function.iommuGroup = groups[address]
            record.functions.append(function)
            start += size
        }
        record.deviceOrder = order.compactMap { line in
            UInt16(line.prefix(4), radix: 16).map {
                FunctionAddress(bus: BusNumber(UInt8($0 >> 8)), devfn: UInt8($0 & 0xff))
            }
        }
        return try TopologyAssembler(record).topology()
    }

    // MARK: - Words

    /// Root ports with controls of their own, found anew under words that name them.
    @Test(
        "what disable_acs_redir= and config_acs= set at ports that are found again is foretold",
        arguments: RepairTests.areAllCasesAsked ? Kernel.allCases : [.linux7]
    )
    func words(kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let ports = (2...6).map { "0000:00:0\($0).0" }
        let words =
            "pci=disable_acs_redir=\(ports[0]);\(ports[3]),config_acs=xx1x0@\(ports[1]);1x0@\(ports[2]);0@\(ports[3])"
        let devices = (2...6).map { Device.rootPort("p\($0)", at: "\($0)") }
        let guest = try VirtualMachine(
            MachineTopology("words", devices: devices),
            kernel: kernel,
            options: .init(
                hasModules: false,
                kernelArguments: ["intel_iommu=on", words],
                machineArguments: ["-device", "intel-iommu,intremap=off"]
            )
        )
        defer { guest.stop() }
        var seen: Set<AccessControls> = []
        for control in [AccessControls.isolating, [], [.completionRedirect, .sourceValidation], .upstreamForwarding] {
            var before = try Self.topology(of: guest)
            before.kernel.commandLine = words
            for port in ports {
                let function = FunctionAddress(parsing: port).flatMap { before[$0] }
                let acs = try #require(function?.capabilities.accessControl)
                try guest.writeConfiguration(
                    of: port,
                    at: Int(acs.offset) + 6,
                    [UInt8(control.rawValue), 0]
                )
            }
            before = try Self.topology(of: guest)
            before.kernel.commandLine = words
            let found = before.functions.indices.filter { ports.contains(before.functions[$0].address.description) }
            let (foretold, changes) = before.rediscovered(found, runsIOMMU: true)
            #expect(changes.allSatisfy { $0.after != nil }, "\(changes)")
            let script = ports.map { "echo 1 >/sys/bus/pci/devices/\($0)/remove\n" }.joined()
            try guest.output(script + "echo 1 >/sys/bus/pci/rescan\n", timeout: .seconds(120))
            try guest.waitUntilQuiet()
            let after = try Self.topology(of: guest)
            for i in found {
                let address = foretold.functions[i].address
                let now = after[address]?.capabilities.accessControl?.control
                #expect(
                    now == foretold.functions[i].capabilities.accessControl?.control,
                    "\(kernel) \(address) from \(control)"
                )
                if let now { seen.insert(now) }
            }
        }
        print("\(kernel): \(seen.count) different controls found as foretold")
        // config_acs= came with 6.11: before, ports get one of two.
        #expect(seen.count > (kernel == .linux6_1 ? 1 : 3))
    }

    // MARK: - Whole forests, before and after plans

    /// How many trees are to be looked at on each kernel, on which kernels and from which seed: all of a campaign, or a sample.
    private static let (wantedTrees, forestKernels, firstForest): (Int, [Kernel], Int) = {
        let words = ProcessInfo.processInfo.environment["PCI_REBALANCE_GROUPS"]?.split(separator: ":") ?? []
        guard let count = words.first.flatMap({ Int($0) }) else { return (0, [], 0) }
        let kernel = words.count > 1 ? Kernel(rawValue: String(words[1])) : nil
        return (count, kernel.map { [$0] } ?? Kernel.allCases, words.count > 2 ? Int(words[2]) ?? 0 : 0)
    }()

    /// A tree is one device of a root bus, root ports with everything behind them, of a random shape and with random ACS
    /// controls; it counts once however often it is looked at. Every machine carries a whole forest of them.
    @Test(
        "groups of whole forests are foretold, before a plan is applied and after",
        .enabled(if: wantedTrees > 0, "a campaign: make groups"),
        arguments: forestKernels
    )
    func forests(kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        var tally = ForestTally()
        var seed = Self.firstForest
        repeat {
            try forest(kernel, seed, size: 28, &tally)
            seed += 1
            print("\(kernel), seeds \(Self.firstForest) to \(seed - 1): \(tally)")
        } while tally.trees < Self.wantedTrees
        #expect(tally.trees >= Self.wantedTrees && tally.plans > 0 && tally.treesStopped > 0)
    }

    private func forest(_ kernel: Kernel, _ seed: Int, size: Int, _ tally: inout ForestTally) throws {
        var random = SplitMix64(seed: 77_000 + UInt64(seed))
        let (machine, portsOff) = RandomForest.machine(size: size, &random)
        let guest = try VirtualMachine(
            machine,
            kernel: kernel,
            options: .init(
                hasModules: false,
                kernelArguments: ["intel_iommu=on", "initcall_blacklist=shpcd_init"],
                machineArguments: ["-device", "intel-iommu,intremap=off"],
                bootTimeout: .seconds(400)
            )
        )
        defer { guest.stop() }
        try disturb(guest, &random)
        let what = "\(kernel), forest \(seed)"
        let snapshot = try guest.run("pci-rebalance snapshot -q", timeout: .seconds(400)).checked().standardOutput
        let before = try TopologyAssembler(SnapshotFile.decode(snapshot)).topology()
        try compare(before, "\(what), before")
        tally.take(before, portsWithoutACS: portsOff)

        // Room at some of the empty ports: whoever is beside them must be stopped and found again.
        let empty = before.functions.indices.filter {
            before.functions[$0].isHotPlugBridge && before.children(of: $0).isEmpty
        }
        .shuffled(using: &random).prefix(6)
        let wishes = empty.flatMap { ["--reserve", "\(before.functions[$0].address)=mem:24M"] }
        let document = try PlanningHere.document(snapshot, wishes)
        let plan = try PlanDocument.decode(document)
        tally.note(plan, before)
        guard plan.verdict.answer == .act else { return }
        try guest.pushFile(document, to: "/tmp/plan.json")
        let applied = try guest.run("pci-rebalance apply --yes /tmp/plan.json", timeout: .seconds(600))
        if applied.status != 0 {
            let file = "\(NSTemporaryDirectory())forest-\(kernel)-\(seed).snapshot.json"
            try Data(snapshot).write(to: URL(fileURLWithPath: file))
            Issue.record("\(what), of which \(file) is the record: \(applied.output)\(applied.errors)")
        }
        try guest.waitUntilQuiet(timeout: .seconds(300))
        let after = try Self.topology(of: guest)
        try compare(after, "\(what), after")
        let change = try #require(plan.isolation)
        let shown = Dictionary(grouping: after.functions, by: { $0.use.iommuGroup }).values.map {
            Set($0.map(\.address))
        }
        #expect(Set(shown) == Set(change.groupsAfter.map(Set.init)), "\(what): groups that the plan foretold")
        #expect(change.untold.isEmpty && change.contradicted.isEmpty, "\(what)")
    }

    /// Random controls at half of the ports that are no part of a device of several, what is below them found anew: outer ports
    /// first, since a port that is found gets the kernel's controls.
    private func disturb(_ guest: VirtualMachine, _ random: inout SplitMix64) throws {
        for type in [ExpressPortType.rootPort, .downstreamPort] {
            let topology = try Self.topology(of: guest)
            var script = ""
            for (i, function) in topology.functions.enumerated() {
                guard function.capabilities.express?.portType == type, !function.config.isMultiFunction,
                    let acs = function.capabilities.accessControl, !topology.children(of: i).isEmpty,
                    random.below(2) == 0
                else { continue }
                let all = [AccessControls(), .isolating.subtracting(.requestRedirect), .upstreamForwarding]
                let control = all[random.below(all.count)].rawValue
                script += "config=/sys/bus/pci/devices/\(function.address)/config; "
                script += "printf '\\\(String(control, radix: 8))\\0' | "
                script += "dd of=$config bs=2 seek=\(Int(acs.offset) + 6) oflag=seek_bytes conv=notrunc 2>/dev/null\n"
                for child in topology.children(of: i) {
                    script += "echo 1 >/sys/bus/pci/devices/\(topology.functions[child].address)/remove\n"
                }
            }
            try guest.output(script + "echo 1 >/sys/bus/pci/rescan\n", timeout: .seconds(400))
            try guest.waitUntilQuiet(timeout: .seconds(400))
        }
    }

    private func compare(_ topology: Topology, _ what: String) throws {
        var seen: Set<Set<Set<String>>> = []
        try compare(topology, what, &seen)
    }

    // MARK: - Machines

    /// Root ports, single and of one device, with and without ACS; behind each a card, a switch or a conventional bus.
    private static func machine(_ random: inout SplitMix64) -> MachineTopology {
        var devices: [Device] = []
        var number = 0
        for slot in 2..<8 {
            let isShared = random.below(3) == 0
            for function in 0..<(isShared ? 2 : 1) {
                number += 1
                var port = Device.rootPort(
                    "p\(number)",
                    at: "\(slot).\(function)",
                    children: inside("c\(number)", depth: 0, &random)
                )
                if isShared { port = port.with("multifunction", .flag(true)) }
                if random.below(3) == 0 { port = port.with("disable-acs", .flag(true)) }
                devices.append(port)
            }
        }
        devices.append(.edu("e", at: "10"))
        return MachineTopology("groups", memory: .gib(1), devices: devices)
    }

    private static func inside(_ name: String, depth: Int, _ random: inout SplitMix64) -> [Device] {
        switch random.below(depth == 0 ? 6 : 4) {
        case 0: return [.testDevice(name)]
        case 1:
            return [
                .testDevice(name + "a", at: "0.0").with("multifunction", .flag(true)),
                .testDevice(name + "b", at: "0.1").with("multifunction", .flag(true)),
            ]
        case 2:
            return [
                .nvme(name + "a", at: "0.0").with("multifunction", .flag(true)),
                .nvme(name + "b", at: "0.1").with("multifunction", .flag(true)),
                .nvme(name + "c", at: "0.2").with("multifunction", .flag(true)),
            ]
        case 3:
            let bridge = Device.pciBridge(name + "i", at: "3", children: [.edu(name + "y", at: "2")])
                .with("chassis_nr", .number(UInt64(1 + random.below(250))))
            return [.pcieToPCIBridge(name, children: [.edu(name + "x", at: "1"), bridge])]
        default:
            let ports = (0..<(2 + random.below(2))).map { i in
                Device.downstreamPort("\(name)d\(i)", children: inside("\(name)\(i)", depth: 1, &random))
            }
            return [.upstreamPort(name + "u", children: ports)]
        }
    }
}
