// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import LibPCIBridge
import PCITopology
import Testing

@testable import Reproduction

@Suite("Reproduction")
struct ReproductionTests {
    static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures").path

    static func reproduce(_ files: String...) throws -> Reproduction {
        let record = try RecordedInput(paths: files.map { "\(fixtures)/\($0)" }).record
        let topology = try TopologyAssembler(record).topology()
        let assessment = Assessment(record, topology)
        return Reproduction(
            topology,
            findings: assessment.findings,
            unknowns: assessment.unknowns,
            log: record.kernelLog ?? [],
            behaviour: KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        )
    }

    @Test("a recording of an emulated machine is rebuilt whole", arguments: ["6.1", "6.12", "7"])
    func whole(kernel: String) throws {
        let result = try Self.reproduce("first-light-\(kernel)/failed-hot-add.snapshot.json")
        #expect(result.verdict == .whole, "\(result.reason) \(result.remarks) \(result.leftOut)")
        #expect(result.alsoFails.isEmpty)
        let keys = result.lines.map(\.key)
        #expect(keys.contains("0000:04:00.0 BAR 2 [mem size 0x40000000 64bit pref]"), "\(keys)")
        #expect(keys == result.lines.map(\.reportKey))
        // What was there before is there from the start; what failed is plugged in.
        let machine = try #require(result.machine)
        #expect(machine.arguments.contains { $0.hasPrefix("pci-testdev") && $0.contains("membar=16777216") })
        #expect(machine.plugCommands.filter { $0.hasPrefix("device_add") }.count == 1)
    }

    @Test("a bridge without bus numbers is rebuilt as one", arguments: ["6.1", "6.12", "7"])
    func buses(kernel: String) throws {
        let result = try Self.reproduce("three-root-ports-\(kernel)/failed-hot-add.snapshot.json")
        #expect(result.verdict == .whole)
        #expect(result.lines.map(\.key) == ["0000:01:00.0 bus"])
    }

    @Test("a card from the field fails with the same sizes, and what was replaced is named")
    func field() throws {
        let result = try Self.reproduce("C07/dmesg.txt", "C07/lspci.txt")
        #expect(result.isPredicted)
        #expect(result.verdict == .part)
        #expect(result.reason == "replaced")
        #expect(
            result.lines.map(\.guestText).sorted()
                == ["[mem size 0x02000000 64bit pref]", "[mem size 0x10000000 64bit pref]"]
        )
        #expect(!result.remarks.isEmpty)
    }

    @Test("where nothing fails there is nothing to rebuild")
    func healthy() throws {
        let result = try Self.reproduce("first-light-7/boot.snapshot.json")
        #expect(result.verdict == .nothing)
        #expect(result.machine == nil)
        #expect(result.lines.isEmpty)
    }

    @Test("a machine without BAR sizes cannot be told")
    func unsized() throws {
        let function = Function(
            address: try #require(FunctionAddress(parsing: "0000:00:02.0")),
            identity: Function.Identity(vendor: 0x1234, device: 1),
            resources: [
                Resource(
                    index: try #require(.bar(0)),
                    flags: .memory,
                    size: nil,
                    alignment: nil,
                    assignment: .wiped,
                    sizeSource: .unknown
                )
            ]
        )
        let host = HostBridge(
            segment: 0,
            busRange: BusRange(BusNumber(0)),
            apertures: [],
            source: .unknown
        )
        let topology = try Topology(kernel: KernelIdentity(), hostBridges: [host], functions: [function])
        let finding = Finding(.barWiped, .problem, at: function.address, resource: .bar(0), "BAR 0 has no address")
        let result = Reproduction(topology, findings: [finding], unknowns: [], log: [], behaviour: .linux6_12)
        #expect(result.verdict == .cannotTell)
        #expect(result.reason == "sizes-not-told")
        #expect(result.machine == nil)
    }

    @Test("no word of the script is open to the shell")
    func quoting() {
        #expect(EmulatedMachine.quoted("a'b$(c)") == #"'a'\''b$(c)'"#)
        let script = EmulatedMachine([EmulatedNode(.rootPort(PortReserve(buses: 3)))])
            .script(parameters: ["reserve=0x1,0x2"], expected: [])
        #expect(script.contains("'pcie-root-port,id=d0,bus=pcie.0,addr=2.0,chassis=1,slot=1,bus-reserve=3'"))
        #expect(script.contains("reserve=0x1,0x2'"))
    }

    @Test("sizes of every kind get a device, or more than one, that ask for no less", arguments: 4...36)
    func sizes(exponent: Int) throws {
        let size = UInt64(1) << UInt64(exponent)
        for (flags, limit): (ResourceFlags, UInt64) in [
            (.memory, 1 << 30), ([.memory, .memory64], 1 << 30), ([.memory, .prefetchable], 1 << 28),
            ([.memory, .memory64, .prefetchable], .max),
        ] {
            let index = try #require(ResourceIndex.bar(0))
            let resource = Resource(
                index: index,
                flags: flags,
                size: ByteCount(size),
                alignment: ByteCount(size),
                assignment: .wiped
            )
            let function = Function(
                address: try #require(FunctionAddress(parsing: "0000:00:02.0")),
                identity: Function.Identity(vendor: 0x1234, device: 1),
                resources: [resource]
            )
            let host = HostBridge(segment: 0, busRange: BusRange(BusNumber(0)), apertures: [], source: .unknown)
            let topology = try Topology(kernel: KernelIdentity(), hostBridges: [host], functions: [function])
            var builder = CardBuilder(topology, failing: [ResourceKey(function.address, index)])
            let nodes = builder.endpoint([0], device: 0)
            let built = nodes.flatMap { node in
                node.standIns.compactMap { standIn in node.device.bars.first { $0.index == standIn.bar } }
            }
            #expect(!built.isEmpty, "\(size) \(flags)")
            #expect(built.reduce(0) { $0 + $1.size } >= min(size, limit), "\(size) \(flags)")
            #expect(built.allSatisfy { $0.isPrefetchable == flags.contains(.prefetchable) }, "\(size) \(flags)")
            // What differs is said.
            let isSame = built.count == 1 && built[0].size == size && built[0].is64Bit == flags.contains(.memory64)
            #expect(isSame == builder.notes.isEmpty, "\(size) \(flags) \(builder.notes)")
        }
    }
}
