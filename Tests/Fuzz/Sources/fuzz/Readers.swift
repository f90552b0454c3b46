// SPDX-License-Identifier: GPL-2.0-or-later

internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner

@testable internal import PlanExecutor

/// The readers of what somebody may have prepared. Each traps when its promise is broken; libFuzzer then has a finding.
enum Readers {
    /// What is accepted can be written again and means the same; offered to a machine that it was not made for, it writes
    /// nothing.
    static func plan(_ input: [UInt8]) -> Int32 {
        guard let plan = try? PlanDocument.decode(input) else { return 0 }
        precondition((try? PlanDocument.decode(PlanDocument.encode(plan))) == plan)
        offer(plan)
        return 0
    }

    /// What is accepted makes a tree, or a clear error.
    static func snapshot(_ input: [UInt8]) -> Int32 {
        guard let record = try? SnapshotFile.decode(input) else { return 0 }
        if let topology = try? TopologyAssembler(record).topology() { _ = topology.findings() }
        return 0
    }

    /// The first byte tells whether the rest is a file, or payloads that get right checksums, a zero byte between two.
    static func journal(_ input: [UInt8]) -> Int32 {
        guard let mode = input.first else { return 0 }
        var file = Array(input.dropFirst())
        if mode & 1 == 1 {
            var chain = JournalFrame.Chain()
            let payloads = file.split(separator: 0, omittingEmptySubsequences: true)
            file = JournalFrame.version
            for payload in payloads { file += JournalFrame.encode(Array(payload), &chain) }
        }
        let disk = MemoryDisk([Journal.unfinishedName: file])
        let machine = EmptyMachine()
        let applier = Applier(
            machine: Machine(writer: machine.writer, observer: machine),
            disk: disk,
            lockPath: "/tmp/pci-rebalance-fuzz.lock",
            audit: SilentAuditLog(),
            clock: EmptyMachine.clock
        )
        _ = try? Recovery(applier).status()
        _ = try? Recovery(applier).run()
        // On a machine without functions there is nothing to write to; looking for what is missing is no write to one.
        for write in machine.writer.trace { precondition(write.address == nil, "\(write)") }
        return 0
    }

    /// What is accepted is within its bounds.
    static func policy(_ input: [UInt8]) -> Int32 {
        guard let policy = try? EventPolicyDocument.decode(input) else { return 0 }
        precondition((1...100).contains(policy.attempts) && (1...1000).contains(policy.appliesPerHour))
        precondition(policy.quiet < policy.settleLimit)
        return 0
    }

    private static func offer(_ plan: Plan) {
        let machine = EmptyMachine()
        let applier = Applier(
            machine: Machine(writer: machine.writer, observer: machine),
            disk: MemoryDisk([:]),
            lockPath: "/tmp/pci-rebalance-fuzz.lock",
            audit: SilentAuditLog(),
            clock: EmptyMachine.clock
        )
        _ = try? applier.apply(plan)
        precondition(machine.writer.trace.isEmpty || plan.before.functions.isEmpty)
    }
}

/// A machine without a single function, and a record of what was written to it.
final class EmptyMachine: MachineObserver {
    let writer = RecordingSystemWriter()

    /// Time that passes only while somebody sleeps.
    static var clock: ExecutionClock {
        var now = Duration.zero
        return ExecutionClock(now: { now }, sleep: { now += $0 }, wallClock: { 0 })
    }

    func tree() throws -> TreeState { TreeState([]) }
    func health(of addresses: [FunctionAddress]) throws -> [FunctionHealth] { [] }
    func register(_ address: FunctionAddress, offset: Int, width: Int) throws -> UInt32 {
        throw ObservationError("there is nothing")
    }
    func savedValue(before write: SystemWrite) throws -> SavedValue? { nil }
    func busExists(segment: UInt32, bus: BusNumber) throws -> Bool { false }
    func protectedUse(of address: FunctionAddress) throws -> [UseEvidence] { [] }
    func obstacles(writesConfig: Bool) throws -> [String] { [] }
    func kernelRelease() throws -> String { "6.12.0" }
    func bootID() throws -> String { "here" }
}

/// A disk in memory.
final class MemoryDisk: JournalDisk {
    private var files: [String: [UInt8]]

    init(_ files: [String: [UInt8]]) { self.files = files }

    var isVolatile: Bool { false }

    func read(_ name: String) throws -> [UInt8]? { files[name] }

    func create(_ name: String, content: [UInt8], size: Int) throws { files[name] = content }

    func write(_ name: String, _ bytes: [UInt8], at offset: Int) throws {
        var file = files[name] ?? []
        file += Array(repeating: 0, count: max(0, offset + bytes.count - file.count))
        file.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        files[name] = file
    }

    func rename(_ name: String, to newName: String) throws { files[newName] = files.removeValue(forKey: name) }
}
