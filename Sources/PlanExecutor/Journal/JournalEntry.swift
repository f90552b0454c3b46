// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology
public import RebalancePlanner

/// One record of the journal of an apply.
public enum JournalEntry: Hashable, Sendable {
    /// The first record: who, when, where, and how the functions were.
    case begin(JournalBeginning)
    /// The second record: the plan, with the tree before and after every step.
    case plan(Plan)
    /// The step's preconditions hold; its writes follow.
    case stepBegins(Int)
    /// The write is about to be done; it replaces `saved`.
    case about(WritePosition, SystemWrite, saved: SavedValue?)
    /// The kernel has finished the write.
    case done(WritePosition)
    /// The write failed; the text says how.
    case failed(WritePosition, code: String, detail: String)
    /// The behaviours that the kernel may still have after all that was seen so far, likeliest first.
    case behavioursLeft([String])
    /// The machine shows what was predicted after the step.
    case stepReached(Int)
    /// From here on everything leads back; the slug says why.
    case backBegins(reason: String)
    /// The last record.
    case end(verdict: String, reason: String)
}

/// The first record of a journal.
public struct JournalBeginning: Hashable, Sendable {
    /// The name of this apply.
    public var id: String
    /// The time of the begin, seconds since 1970.
    public var time: Int64
    /// The kernel release.
    public var kernel: String
    /// The boot in which it happened.
    public var bootID: String
    /// How each function was, in address order.
    public var health: [HealthRecord]

    /// Creates a record.
    public init(id: String, time: Int64, kernel: String, bootID: String, health: [HealthRecord]) {
        self.id = id
        self.time = time
        self.kernel = kernel
        self.bootID = bootID
        self.health = health
    }
}

/// How a function was before an apply, beyond its resources.
public struct HealthRecord: Hashable, Sendable {
    /// The address.
    public var address: FunctionAddress
    /// The bound driver, or nil.
    public var driver: String?
    /// The driver that alone may bind the function (`driver_override`), or nil.
    public var driverOverride: String?
    /// The decode bits of COMMAND.
    public var decode: Command
    /// Max_Payload_Size in bytes, or nil.
    public var maxPayloadSize: Int?

    /// Creates a record.
    public init(
        address: FunctionAddress,
        driver: String?,
        driverOverride: String? = nil,
        decode: Command,
        maxPayloadSize: Int?
    ) {
        self.address = address
        self.driver = driver
        self.driverOverride = driverOverride
        self.decode = decode
        self.maxPayloadSize = maxPayloadSize
    }

    /// The record of what was read.
    public init(_ health: FunctionHealth) {
        self.init(
            address: health.address,
            driver: health.driver,
            driverOverride: health.driverOverride,
            decode: health.decode,
            maxPayloadSize: health.maxPayloadSize
        )
    }
}

/// Where in an apply a write stands.
public struct WritePosition: Hashable, Sendable {
    /// Which way the write leads.
    public enum Direction: String, Hashable, Sendable {
        /// A write of a step.
        case forward
        /// A write of a step's recorded way back, or the undoing of one of its writes.
        case back
        /// A write that puts right what the way back left wrong.
        case repair
    }

    /// The index of the step, from 0.
    public var step: Int
    /// The index of the write within the step and direction, from 0.
    public var index: Int
    /// Which way it leads.
    public var direction: Direction

    /// Creates a position.
    public init(step: Int, index: Int, direction: Direction) {
        self.step = step
        self.index = index
        self.direction = direction
    }
}

extension JournalEntry {
    /// The record's payload: compact JSON.
    var payload: [UInt8] {
        var json = JSONWriter(.compact)
        if case .plan(let plan) = self {
            PlanDocument.encode(plan, into: &json)
        } else {
            json.object { self.encode(&$0) }
        }
        return json.document
    }

    private func encode(_ json: inout JSONWriter) {
        switch self {
        case .begin(let begin):
            json.field("entry", "begin")
            json.field("id", begin.id)
            json.field("time", begin.time)
            json.field("kernel", begin.kernel)
            json.field("bootID", begin.bootID)
            json.array("signs") { json in
                for sign in begin.health {
                    json.object {
                        $0.field("address", sign.address.description)
                        $0.field("driver", sign.driver)
                        $0.field("driverOverride", sign.driverOverride)
                        $0.field("decode", sign.decode.rawValue)
                        $0.field("maxPayloadSize", sign.maxPayloadSize)
                    }
                }
            }
        case .plan: break
        case .stepBegins(let step):
            json.field("entry", "step-begins")
            json.field("step", step)
        case .about(let position, let write, let saved):
            json.field("entry", "about")
            json.position(position)
            json.object("write") { $0.systemWrite(write) }
            switch saved {
            case .number(let number): json.field("savedNumber", hex: number)
            case .text(let text): json.field("savedText", text)
            case nil: break
            }
        case .done(let position):
            json.field("entry", "done")
            json.position(position)
        case .failed(let position, let code, let detail):
            json.field("entry", "failed")
            json.position(position)
            json.field("code", code)
            json.field("detail", detail)
        case .behavioursLeft(let names):
            json.field("entry", "behaviours-left")
            json.field("names", names)
        case .stepReached(let step):
            json.field("entry", "step-reached")
            json.field("step", step)
        case .backBegins(let reason):
            json.field("entry", "back-begins")
            json.field("reason", reason)
        case .end(let verdict, let reason):
            json.field("entry", "end")
            json.field("verdict", verdict)
            json.field("reason", reason)
        }
    }

    /// Reads a payload; strict, as every document from a disk.
    init(payload: [UInt8]) throws(JSONError) {
        let tree = try JSONParser.parse(payload, limits: PlanDocument.limits)
        if tree["schema"] != nil {
            self = .plan(try PlanDecoder.plan(tree))
            return
        }
        var fields = try JSONFields(tree, at: "")
        switch try fields.string("entry", atMost: 32) {
        case "begin": self = .begin(try Self.beginning(&fields))
        case "step-begins": self = .stepBegins(try Self.step(&fields))
        case "about":
            let position = try Self.position(&fields)
            var inner = try fields.object("write")
            let write = try WriteDecoder.write(&inner)
            try inner.finish()
            var saved: SavedValue?
            if let text = try fields.optionalString("savedText") {
                saved = .text(text)
            } else if let text = try fields.optionalString("savedNumber", atMost: 18) {
                guard text.hasPrefix("0x"), let number = ByteCount(parsing: text) else {
                    throw fields.error("savedNumber", "expected 0x and at most 16 hexadecimal digits")
                }
                saved = .number(number.rawValue)
            }
            self = .about(position, write, saved: saved)
        case "done": self = .done(try Self.position(&fields))
        case "failed":
            let position = try Self.position(&fields)
            let code = try fields.string("code", atMost: 32)
            self = .failed(position, code: code, detail: try fields.string("detail"))
        case "behaviours-left":
            let names = try fields.strings("names", atMost: PlanDocument.mostBehaviours, bytes: 128)
            self = .behavioursLeft(names)
        case "step-reached": self = .stepReached(try Self.step(&fields))
        case "back-begins": self = .backBegins(reason: try fields.string("reason", atMost: 64))
        case "end":
            let verdict = try fields.string("verdict", atMost: 32)
            self = .end(verdict: verdict, reason: try fields.string("reason", atMost: 64))
        default: throw fields.error("entry", "expected a known entry")
        }
        try fields.finish()
    }

    private static func step(_ fields: inout JSONFields) throws(JSONError) -> Int {
        try fields.integer("step", in: 0...Int64(PlanDocument.mostSteps))
    }

    private static func position(_ fields: inout JSONFields) throws(JSONError) -> WritePosition {
        let step = try step(&fields)
        let index = try fields.integer("index", in: 0...1_000_000)
        guard let direction = WritePosition.Direction(rawValue: try fields.string("direction", atMost: 16)) else {
            throw fields.error("direction", "expected forward, back or repair")
        }
        return WritePosition(step: step, index: index, direction: direction)
    }

    private static func beginning(_ fields: inout JSONFields) throws(JSONError) -> JournalBeginning {
        let id = try fields.string("id", atMost: 64)
        let time = Int64(try fields.integer("time", in: 0...0xff_ffff_ffff))
        let kernel = try fields.string("kernel", atMost: 128)
        let bootID = try fields.string("bootID", atMost: 64)
        var health: [HealthRecord] = []
        for (i, tree) in try fields.array("signs", atMost: PlanDocument.mostFunctions).enumerated() {
            var inner = try JSONFields(tree, at: "signs[\(i)]")
            let address = try inner.address("address")
            let driver = try inner.optionalString("driver", atMost: 256)
            let override = try inner.optionalString("driverOverride", atMost: 64)
            let decode = Command(rawValue: UInt16(try inner.integer("decode", in: 0...3)))
            let payload = try inner.optionalInteger("maxPayloadSize", in: 0...65_536)
            try inner.finish()
            health.append(
                HealthRecord(
                    address: address,
                    driver: driver,
                    driverOverride: override,
                    decode: decode,
                    maxPayloadSize: payload
                )
            )
        }
        return JournalBeginning(id: id, time: time, kernel: kernel, bootID: bootID, health: health)
    }
}

extension JSONWriter {
    fileprivate mutating func position(_ position: WritePosition) {
        field("step", position.step)
        field("index", position.index)
        field("direction", position.direction.rawValue)
    }
}
