// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner

/// Machines that lie: recorded ones whose registers, resources and numbers the input changes, under the twin and the
/// planner. Nothing may trap; what is refused is refused with an error.
///
/// Text that a mutation breaks never gets as far as the twin, so the input is no document but a list of changes to one
/// (`Change`), 8 bytes each, after a first byte that picks the machine and a second that picks what is asked.
enum Machines {
    /// The machines that are changed: every snapshot in the directory that `FUZZ_MACHINES` names.
    private static let records: [MachineRecord] = {
        let directory = ProcessInfo.processInfo.environment["FUZZ_MACHINES"] ?? "machines"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        let records = names.sorted().compactMap { try? SnapshotFile(path: "\(directory)/\($0)").read() }
        precondition(!records.isEmpty, "expected snapshots in \(directory), found none")
        return records
    }()

    /// The first of them as it was recorded.
    private static let first = try? TopologyAssembler(records[0]).topology()

    /// One change: where, and which bytes.
    private struct Change {
        var function: Int
        var kind: Int
        var place: Int
        var value: UInt32

        init(_ bytes: ArraySlice<UInt8>) {
            let b = Array(bytes)
            function = Int(b[0])
            kind = Int(b[1])
            place = Int(b[2]) | Int(b[3]) << 8
            value = UInt32(b[4]) | UInt32(b[5]) << 8 | UInt32(b[6]) << 16 | UInt32(b[7]) << 24
        }

        /// Numbers at which sums and shifts break, more often than others.
        var wide: UInt64 {
            switch value & 7 {
            case 0: .max
            case 1: 1 << 63
            case 2: .max >> 1
            case 3: 0xffff_ffff
            case 4: 0
            default: UInt64(value) << UInt64(value >> 3 & 0x3f)
            }
        }
    }

    /// The machine that the input describes.
    private static func topology(_ input: [UInt8]) -> Topology? {
        guard input.count >= 2 else { return nil }
        var record = records[Int(input[0]) % records.count]
        var at = 2
        while at + 8 <= input.count, !record.functions.isEmpty {
            let change = Change(input[at..<at + 8])
            at += 8
            let i = change.function % record.functions.count
            switch change.kind & 7 {
            case 0...3:
                var bytes = record.functions[i].config.bytes
                guard !bytes.isEmpty else { continue }
                let offset = (change.kind & 3 == 0 ? change.place & 0x3f : change.place) % bytes.count
                for k in 0..<min(change.kind >> 3 & 3 | 1, bytes.count - offset) {
                    bytes[offset + k] = UInt8(truncatingIfNeeded: change.value >> UInt32(8 * k))
                }
                record.functions[i].config = ConfigSpace(bytes)
            case 4, 5:
                guard var lines = record.functions[i].resource, !lines.isEmpty else { continue }
                let k = change.place % lines.count
                if change.kind & 1 == 0 { lines[k].start = change.wide } else { lines[k].end = change.wide }
                record.functions[i].resource = lines
            case 6:
                let buses = record.buses.count
                if buses > 0 { record.buses.remove(at: change.place % buses) }
            default: if record.functions.count > 1 { record.functions.remove(at: i) }
            }
        }
        return try? TopologyAssembler(record).topology()
    }

    private static func behaviour(_ topology: Topology) -> KernelBehaviour {
        KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
    }

    /// An operation of those that stages of a plan are made of, as `byte` picks it: the function, then what is done.
    private static func operation(_ byte: UInt8, _ addresses: [FunctionAddress]) -> TwinOperation {
        let address = addresses[Int(byte >> 4) % addresses.count]
        switch byte & 15 {
        case 0...2: return .rescan
        case 3: return .rescanDevice(address)
        case 4: return .rescanBus(segment: 0, bus: BusNumber(byte >> 4))
        case 5...8: return .remove(address)
        case 9:
            let numbers = (BusNumber(byte >> 6), BusNumber(byte >> 5 & 3), BusNumber(byte >> 4))
            return .setBusNumbers(address, primary: numbers.0, secondary: numbers.1, subordinate: numbers.2)
        case 10: return .writeConfig(address, offset: 0x1c, width: 2, value: 0x00f0)
        case 11: return .writeConfig(address, offset: 0x20, width: 4, value: 0xfff0)
        case 12: return .writeConfig(address, offset: 0x18, width: 4, value: 0)
        case 13: return .resourceAlignment("25@\(address)")
        case 14: return .setVFs(address, Int(byte >> 6))
        default: return .hotAdd(port: address, card: .nvme, method: .pciehp)
        }
    }

    /// Every operation on a machine that lies, then as many as the last bytes pick.
    static func twin(_ input: [UInt8]) -> Int32 {
        guard let topology = topology(input), let what = input.dropFirst().first else { return -1 }
        guard var twin = try? LinuxTwin(topology, behaviour: behaviour(topology)) else { return 0 }
        let addresses = topology.functions.map(\.address)
        guard !addresses.isEmpty else { return 0 }
        let address = addresses[Int(what >> 4) % addresses.count]
        let operations: [TwinOperation]
        switch what & 7 {
        case 0: operations = [.remove(address), .rescan]
        case 1: operations = [.boot(Platform(topology.kernel, commandLine: topology.kernel.commandLine))]
        case 2: operations = [.hotAdd(port: address, card: .nvme, method: .pciehp), .unplug(port: address)]
        case 3: operations = [.setVFs(address, 65_535), .setVFs(address, 0), .setVFs(address, 1)]
        case 4: operations = [.resizeBAR(address, bar: Int(what >> 3) % 6, exponent: 43), .rescanDevice(address)]
        case 5: operations = [.resourceAlignment("63@\(address)"), .remove(address), .rescan]
        case 6:
            operations = [
                .setBusNumbers(
                    address,
                    primary: address.bus,
                    secondary: BusNumber(0xff),
                    subordinate: BusNumber(what)
                ), .rescan,
            ]
        default: operations = [.unbind(address), .bind(address), .rescanBus(segment: 0, bus: BusNumber(what))]
        }
        for operation in operations { _ = try? twin.perform(operation) }
        for byte in input.suffix(6) { _ = try? twin.perform(operation(byte, addresses)) }
        if let after = try? twin.topology() { _ = after.findings() }
        return 0
    }

    /// Plans for a machine that lies, with wishes of every size.
    static func planner(_ input: [UInt8]) -> Int32 {
        guard let topology = topology(input), let what = input.dropFirst().first else { return -1 }
        let addresses = topology.functions.map(\.address)
        guard !addresses.isEmpty else { return 0 }
        let address = addresses[Int(what >> 3) % addresses.count]
        let planner = Planner(topology: topology, behaviour: behaviour(topology))
        let size = ByteCount(what & 1 == 0 ? .max : 1 << 63)
        var constraints = Constraints()
        // One input in 32 searches for a while, or asks for a fit, which takes as long; the others see the beginning of a
        // search, for many to be tried. The sum says which: libFuzzer likes what goes far, and would ask for it with most.
        let sum = input.reduce(0, &+)
        let goesOn = sum & 31 == 31
        constraints.workLimit = goesOn ? Constraints.workPerSecond / 100 : 1
        if !goesOn { constraints.simulationBudget = Int(sum & 3) + 1 }
        let goals: [Goal]
        switch what & 7 {
        case 0, 1: goals = [.everythingRequired]
        case 2: goals = [.reserve(address, Headroom(io: size, memory: size, prefetchable: size, buses: 255))]
        case 3: goals = [.reserve(address, Headroom(prefetchable: size))]
        case 4: goals = [.virtualFunctions(address, count: 65_535)]
        case 5: goals = [.resize(address, bar: 0, size: nil), .place(address)]
        case 6:
            goals = [.everythingRequired]
            constraints.highestAddress = size.rawValue
        case _ where !goesOn: goals = [.reserve(address, Headroom(io: size, memory: size))]
        default:
            let question = FitQuestion(
                topology: topology,
                behaviour: behaviour(topology),
                port: address,
                constraints: constraints
            )
            _ = try? question.answer(for: .endpoint(name: "x", memory: 1 << 63, prefetchable: 1 << 63, io: 1 << 63))
            return 0
        }
        if let plan = try? planner.plan(goals: goals, constraints: constraints) {
            precondition(plan.verdict.answer != .act || !plan.steps.isEmpty)
        }
        return 0
    }

    /// What a user types where the libraries read it.
    static func arguments(_ input: [UInt8]) -> Int32 {
        let text = String(decoding: input, as: UTF8.self)
        _ = ByteCount(parsing: text)
        _ = FunctionAddress(parsing: text)
        _ = try? CardProfile(word: text)
        _ = Spelling.nearest(to: text, among: CardProfile.named.map(\.name))
        let words = BootWords(text, topology: first)
        precondition(words.lines().count <= 4 * (words.words.count + words.findings.count) + 1)
        _ = try? PolicyCatalog.policy(text, for: Topology(kernel: KernelIdentity(), hostBridges: [], functions: []))
        return 0
    }
}
