// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
public import PCITopology
import RebalancePlanner

/// Reads policies: JSON of schema `pci-rebalance.policy/1`. What is unknown is refused, so that a misspelt word cannot
/// be mistaken for a permission.
public enum EventPolicyDocument {
    /// The file that `event` reads when none is named.
    public static let defaultPath = "/etc/pci-rebalance/policy.json"
    /// The schema that the field `schema` must name.
    public static let schema = "pci-rebalance.policy/1"

    private static let limits = JSONLimits(bytes: 256 << 10, depth: 8, values: 20_000, stringBytes: 4096)

    /// The policy that `text` holds.
    ///
    /// - Throws: `JSONError` with the place of what is wrong.
    public static func decode(_ text: [UInt8]) throws(JSONError) -> EventPolicy {
        var fields = try JSONFields(try JSONParser.parse(text, limits: limits), at: "")
        var policy = EventPolicy()
        let name = try fields.string("schema", atMost: 64)
        guard name == schema else { throw fields.error("schema", "expected \(schema), found another") }
        _ = fields.optional("comment")
        if let mode = try mode(&fields) { policy.mode = mode }
        for text in try strings(&fields, "hours") {
            guard let hours = DailyHours(parsing: text) else {
                throw fields.error("hours", "expected parts of the day such as 22:00-06:00, found '\(printable(text))'")
            }
            policy.hours.append(hours)
        }
        policy.protect = try names(&fields, "protect")
        policy.allowDisturb = try names(&fields, "allowDisturb")
        policy.maxDisturbed = try fields.optionalInteger("maxDisturbed", in: 0...65_536)
        policy.attempts = try fields.optionalInteger("attempts", in: 1...100) ?? policy.attempts
        policy.appliesPerHour = try fields.optionalInteger("appliesPerHour", in: 1...1000) ?? policy.appliesPerHour
        if let milliseconds = try fields.optionalInteger("quietMilliseconds", in: 50...60_000) {
            policy.quiet = .milliseconds(milliseconds)
        }
        if let seconds = try fields.optionalInteger("settleLimitSeconds", in: 1...600) {
            policy.settleLimit = .seconds(seconds)
        }
        guard policy.quiet < policy.settleLimit else {
            throw fields.error("settleLimitSeconds", "expected more than quietMilliseconds")
        }
        if case .some(let tree) = fields.optional("ports") { policy.ports = try rules(tree, fields.path("ports")) }
        try fields.finish()
        return policy
    }

    /// The policy in the file at `path`, or nil when there is no such file.
    ///
    /// Whoever can write the file decides what is done as root: it must belong to root or to this user, and be writable
    /// by its owner only.
    ///
    /// - Throws: `PlanFileError`, `unsafe` for a file that others can write, `malformed` for one that is no policy.
    public static func read(_ path: String) throws(PlanFileError) -> EventPolicy? {
        let raw = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard raw >= 0 else {
            if errno == ENOENT { return nil }
            throw PlanFileError(.unreadable, path, "cannot open: \(String(cString: strerror(errno)).lowercased())")
        }
        let file = Descriptor(raw)
        var status = stat()
        guard fstat(file.raw, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw PlanFileError(.unsafe, path, "expected a regular file, found another kind")
        }
        guard status.st_uid == 0 || status.st_uid == geteuid() else {
            throw PlanFileError(.unsafe, path, "expected owner 0 or \(geteuid()), found \(status.st_uid)")
        }
        guard status.st_mode & 0o022 == 0 else {
            let mode = String(status.st_mode & 0o7777, radix: 8)
            throw PlanFileError(.unsafe, path, "expected a file that only its owner may write, found mode 0\(mode)")
        }
        var content = [UInt8](repeating: 0, count: limits.bytes + 1)
        var filled = 0
        while filled < content.count {
            let count = content.withUnsafeMutableBytes { buffer in
                Glibc.read(file.raw, buffer.baseAddress.map { $0 + filled }, buffer.count - filled)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw PlanFileError(.unreadable, path, "cannot read: \(String(cString: strerror(errno)).lowercased())")
            }
            if count == 0 { break }
            filled += count
        }
        do {
            return try decode(Array(content[..<filled]))
        } catch {
            throw PlanFileError(.malformed, path, error.description)
        }
    }

    // MARK: Parts

    private static func rules(_ tree: JSONTree, _ place: String) throws(JSONError) -> [PortRule] {
        guard case .array(let elements) = tree else {
            throw JSONError(place: place, reason: "expected an array, found \(tree.kind)")
        }
        guard elements.count <= 1024 else {
            throw JSONError(place: place, reason: "expected at most 1024 rules, found \(elements.count)")
        }
        var rules: [PortRule] = []
        for (i, element) in elements.enumerated() {
            var fields = try JSONFields(element, at: "\(place)[\(i)]")
            var rule = PortRule(port: try portName(try fields.string("port", atMost: 1024), fields, "port"))
            guard !rules.contains(where: { $0.port == rule.port }) else {
                throw fields.error("port", "expected each port once, found \(rule.port) twice")
            }
            _ = fields.optional("comment")
            rule.mode = try mode(&fields)
            switch fields.optional("trusted") {
            case nil, .null: break
            case .bool(let flag): rule.isTrusted = flag
            case .some(let tree): throw fields.error("trusted", "expected true or false, found \(tree.kind)")
            }
            rule.share = try headroom(&fields, "share")
            rule.reserve = try headroom(&fields, "reserve")
            if rule.isTrusted == false, let reserve = rule.reserve {
                let share = rule.share ?? Headroom()
                guard reserve.io <= share.io, reserve.memory <= share.memory,
                    reserve.prefetchable <= share.prefetchable, reserve.buses <= share.buses
                else { throw fields.error("reserve", "expected no more than the share of an untrusted port") }
            }
            try fields.finish()
            rules.append(rule)
        }
        return rules
    }

    private static func mode(_ fields: inout JSONFields) throws(JSONError) -> EventPolicy.Mode? {
        guard let word = try fields.optionalString("mode", atMost: 64) else { return nil }
        guard let mode = EventPolicy.Mode(rawValue: word) else {
            throw fields.error("mode", "expected off, report or apply, found '\(printable(word))'")
        }
        return mode
    }

    private static func headroom(_ fields: inout JSONFields, _ key: String) throws(JSONError) -> Headroom? {
        guard let tree = fields.optional(key), tree != .null else { return nil }
        var room = try JSONFields(tree, at: fields.path(key))
        let result = Headroom(
            io: try size(&room, "io"),
            memory: try size(&room, "mem"),
            prefetchable: try size(&room, "pref"),
            buses: try room.optionalInteger("buses", in: 0...255) ?? 0
        )
        try room.finish()
        return result
    }

    private static func size(_ fields: inout JSONFields, _ key: String) throws(JSONError) -> ByteCount {
        guard let text = try fields.optionalString(key, atMost: 32) else { return .zero }
        guard let size = ByteCount(parsing: text) else {
            throw fields.error(key, "expected a size such as 512M, found '\(printable(text))'")
        }
        return size
    }

    private static func names(_ fields: inout JSONFields, _ key: String) throws(JSONError) -> [PortName] {
        var result: [PortName] = []
        for text in try strings(&fields, key) { result.append(try portName(text, fields, key)) }
        return result
    }

    private static func strings(_ fields: inout JSONFields, _ key: String) throws(JSONError) -> [String] {
        guard let tree = fields.optional(key), tree != .null else { return [] }
        guard case .array(let elements) = tree, elements.count <= 1024 else {
            throw fields.error(key, "expected an array of at most 1024 strings")
        }
        var result: [String] = []
        for element in elements {
            guard case .string(let text) = element else {
                throw fields.error(key, "expected an array of strings, found \(element.kind)")
            }
            result.append(text)
        }
        return result
    }

    private static func portName(_ text: String, _ fields: JSONFields, _ key: String) throws(JSONError) -> PortName {
        guard let name = PortName(parsing: text) else {
            throw fields.error(
                key,
                "expected a place such as 0000:00:02.0/00.0/01.0, slot:NAME or an address, found '\(printable(text))'"
            )
        }
        return name
    }

    private static func printable(_ text: String) -> String {
        String(decoding: text.utf8.prefix(40).map { $0 >= 0x20 && $0 < 0x7f ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }
}
