// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology
import RebalancePlanner

/// What `event` remembers: which plans failed for what, when plans were carried out, and what ports have held.
///
/// It is on the disk before a plan begins, so that a plan that takes the machine down counts as failed after the
/// reboot. It never grows beyond `largestCount` entries of each kind.
public struct EventLedger: Hashable, Sendable {
    /// The file.
    public static let fileName = "events.json"
    /// The schema of the file.
    public static let schema = "pci-rebalance.events/1"
    static let largestCount = 64

    /// Failed attempts at one thing.
    public struct Failure: Hashable, Sendable {
        /// The case, `EventCase.key`.
        public var key: String
        /// How many attempts failed.
        public var count: Int
        /// When the last one began, seconds since 1970.
        public var time: Int64
        /// How it ended, or `begun` for one that has not.
        public var reason: String
    }

    /// The failures, oldest first.
    public private(set) var failures: [Failure] = []
    /// When plans of the last hour began, seconds since 1970, oldest first.
    public private(set) var applies: [Int64] = []

    /// The most that hot-plug ports were seen to hold, those that grew last at the end.
    public private(set) var held: [HeldRoom] = []

    /// Creates an empty ledger.
    public init() {}

    /// The failures at `key`, 0 and up.
    public func failures(of key: String) -> Int { failures.first { $0.key == key }?.count ?? 0 }

    /// The things that are locked out under `policy`.
    public func lockedOut(_ policy: EventPolicy) -> [Failure] { failures.filter { $0.count >= policy.attempts } }

    /// How many plans began within the hour before `time`.
    public func applies(before time: Int64) -> Int {
        // A clock that was set back must not lock anything out for longer than an hour.
        applies.count { $0 <= time && time - $0 < 3600 }
    }

    /// Notes that a plan begins: a failure until the end is noted.
    public mutating func begin(_ key: String, at time: Int64) {
        let count = failures(of: key)
        failures.removeAll { $0.key == key }
        failures.append(Failure(key: key, count: min(count + 1, 1000), time: time, reason: "begun"))
        failures.removeFirst(max(0, failures.count - Self.largestCount))
        applies.removeAll { $0 > time || time - $0 >= 3600 }
        applies.append(time)
        applies.removeFirst(max(0, applies.count - 1000))
    }

    /// Puts a port's room in the place of what was remembered of it.
    mutating func remember(_ room: HeldRoom) {
        held.removeAll { $0.port == room.port }
        held.append(room)
        held.removeFirst(max(0, held.count - Self.largestCount))
    }

    /// Forgets failed attempts and when plans began; what ports have held stays.
    public mutating func forgetFailures() {
        failures = []
        applies = []
    }

    /// Notes how the plan ended.
    public mutating func end(_ key: String, isReached: Bool, reason: String) {
        if isReached {
            failures.removeAll { $0.key == key }
        } else if let i = failures.firstIndex(where: { $0.key == key }) {
            failures[i].reason = reason
        }
    }

    // MARK: File

    /// The ledger on `disk`; an empty one when there is none.
    ///
    /// - Throws: `JournalError`, `damaged` when the file is no ledger.
    public static func read(_ disk: any JournalDisk) throws -> EventLedger {
        guard let text = try disk.read(fileName) else { return EventLedger() }
        do {
            return try decode(text)
        } catch {
            throw JournalError(.damaged, "\(fileName): \(error); event --clear begins a new one")
        }
    }

    /// The ledger in a document, as `event --status --json` prints it.
    public static func decode(_ text: [UInt8]) throws(JSONError) -> EventLedger {
        var ledger = EventLedger()
        var fields = try JSONFields(try JSONParser.parse(text), at: "")
        for tree in try fields.array("applies", atMost: 1000) {
            guard case .integer(let time) = tree, time >= 0 else {
                throw fields.error("applies", "expected times, found \(tree.kind)")
            }
            ledger.applies.append(time)
        }
        for (i, tree) in try fields.array("failures", atMost: largestCount).enumerated() {
            var one = try JSONFields(tree, at: "failures[\(i)]")
            let count = try one.integer("count", in: 1...1000)
            let key = try one.string("key")
            let reason = try one.string("reason")
            let time = try one.integer("time", in: 0...Int64.max)
            ledger.failures.append(Failure(key: key, count: count, time: Int64(time), reason: reason))
            try one.finish()
        }
        // Absent in a ledger of a release that did not remember it.
        if let tree = fields.optional("held") {
            guard case .array(let list) = tree, list.count <= largestCount else {
                throw fields.error("held", "expected at most \(largestCount) ports")
            }
            for (i, tree) in list.enumerated() {
                var one = try JSONFields(tree, at: "held[\(i)]")
                let room = try one.headroom()
                let port = try one.string("port")
                let time = try one.integer("time", in: 0...Int64.max)
                ledger.held.append(HeldRoom(port: port, room: room, time: Int64(time)))
                try one.finish()
            }
        }
        let name = try fields.string("schema", atMost: 64)
        guard name == schema else { throw fields.error("schema", "expected \(schema), found another") }
        try fields.finish()
        return ledger
    }

    /// Writes the ledger durably.
    public func write(_ disk: any JournalDisk) throws {
        let text = document
        try disk.create(Self.fileName, content: text, size: text.count)
    }

    /// The ledger as a document; keys in sorted order.
    public var document: [UInt8] {
        var json = JSONWriter(.indented)
        json.object { json in
            json.array("applies") { json in
                for time in applies { json.value(time) }
            }
            json.array("failures") { json in
                for one in failures {
                    json.object { json in
                        json.field("count", one.count)
                        json.field("key", one.key)
                        json.field("reason", one.reason)
                        json.field("time", one.time)
                    }
                }
            }
            if !held.isEmpty {
                json.array("held") { json in
                    for one in held {
                        json.object { json in
                            json.field("buses", one.room.buses)
                            json.field("io", hex: one.room.io.rawValue)
                            json.field("memory", hex: one.room.memory.rawValue)
                            json.field("port", one.port)
                            json.field("prefetchable", hex: one.room.prefetchable.rawValue)
                            json.field("time", one.time)
                        }
                    }
                }
            }
            json.field("schema", Self.schema)
        }
        return json.document
    }
}
