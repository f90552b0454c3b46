// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import LibPCIBridge
internal import PCITopology
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
        try guest.output(script + "echo 1 >/sys/bus/pci/rescan\n", timeout: .seconds(60))
        try guest.waitUntilQuiet()
    }

    private func compare(_ guest: VirtualMachine, _ what: String, _ seen: inout Set<Set<Set<String>>>) throws {
        let topology = try Self.topology(of: guest)
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
        let sizes = try guest.output("stat -c '%n %s' \(devices)/*/config").split(separator: "\n")
        let links = try guest.output("ls -ld \(devices)/*/iommu_group").split(separator: "\n")
        let bytes = try guest.run("cat \(devices)/*/config").checked().standardOutput
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
