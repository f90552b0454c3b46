// SPDX-License-Identifier: GPL-2.0-or-later

/// The fields of one JSON object, taken out one by one; whatever nobody took is refused.
///
///     var fields = try JSONFields(tree, at: "plan")
///     let kernel = try fields.string("kernel")
///     let steps = try fields.array("steps", atMost: 256)
///     try fields.finish()
public struct JSONFields: Sendable {
    /// The path of the object in its document, for messages; empty for the document itself.
    public let place: String
    private let members: [JSONMember]
    private var isTaken: [Bool]
    private var next = 0

    /// Opens `tree`, which must be an object.
    public init(_ tree: JSONTree, at place: String) throws(JSONError) {
        guard case .object(let members) = tree else {
            throw JSONError(place: place, reason: "expected an object, found \(tree.kind)")
        }
        self.place = place
        self.members = members
        isTaken = Array(repeating: false, count: members.count)
    }

    /// Takes the value of `key` if there is one.
    /// - Complexity: O(1) when fields are taken in the order of the text, O(number of fields) otherwise.
    public mutating func optional(_ key: String) -> JSONTree? {
        guard let index = position(of: key) else { return nil }
        isTaken[index] = true
        next = index + 1
        return members[index].value
    }

    /// Whether there is a value of `key` that is not `null`; nothing is taken.
    /// - Complexity: as `optional(_:)`.
    public func holds(_ key: String) -> Bool {
        position(of: key).map { members[$0].value != .null } ?? false
    }

    private func position(of key: String) -> Int? {
        next < members.count && members[next].key == key ? next : members.firstIndex { $0.key == key }
    }

    /// Takes the value of `key`, which must exist.
    public mutating func value(_ key: String) throws(JSONError) -> JSONTree {
        guard let value = optional(key) else {
            throw JSONError(place: place, reason: "expected a field \(key), found none")
        }
        return value
    }

    /// Takes a string.
    public mutating func string(_ key: String, atMost limit: Int = 4096) throws(JSONError) -> String {
        let tree = try value(key)
        guard case .string(let text) = tree else { throw mismatch(key, "a string", tree) }
        guard text.utf8.count <= limit else {
            throw error(key, "expected at most \(limit) bytes, found \(text.utf8.count)")
        }
        return text
    }

    /// Takes a string or `null`; a field that is absent counts as `null`.
    public mutating func optionalString(_ key: String, atMost limit: Int = 4096) throws(JSONError) -> String? {
        switch optional(key) {
        case nil, .null: return nil
        case .string(let text):
            guard text.utf8.count <= limit else {
                throw error(key, "expected at most \(limit) bytes, found \(text.utf8.count)")
            }
            return text
        case .some(let tree): throw mismatch(key, "a string or null", tree)
        }
    }

    /// Takes an integer within `range`.
    public mutating func integer(_ key: String, in range: ClosedRange<Int64>) throws(JSONError) -> Int {
        let tree = try value(key)
        guard case .integer(let number) = tree else { throw mismatch(key, "an integer", tree) }
        guard range.contains(number) else {
            throw error(key, "expected \(range.lowerBound) to \(range.upperBound), found \(number)")
        }
        return Int(number)
    }

    /// Takes an integer within `range`, or `null`; a field that is absent counts as `null`.
    public mutating func optionalInteger(_ key: String, in range: ClosedRange<Int64>) throws(JSONError) -> Int? {
        switch optional(key) {
        case nil, .null: return nil
        case .integer(let number):
            guard range.contains(number) else {
                throw error(key, "expected \(range.lowerBound) to \(range.upperBound), found \(number)")
            }
            return Int(number)
        case .some(let tree): throw mismatch(key, "an integer or null", tree)
        }
    }

    /// Takes `true` or `false`.
    public mutating func bool(_ key: String) throws(JSONError) -> Bool {
        let tree = try value(key)
        guard case .bool(let flag) = tree else { throw mismatch(key, "true or false", tree) }
        return flag
    }

    /// Takes a string `0x…` of at most 16 hexadecimal digits.
    public mutating func hex(_ key: String, atMost limit: UInt64 = .max) throws(JSONError) -> UInt64 {
        let text = try string(key, atMost: 18)
        guard text.hasPrefix("0x"), let number = parseHex(text.dropFirst(2)) else {
            throw error(key, "expected 0x and at most 16 hexadecimal digits")
        }
        guard number <= limit else { throw error(key, "expected at most \(PCITopology.hex(limit)), found \(text)") }
        return number
    }

    /// Takes the address of a function in its full form, `0000:3a:00.0`.
    public mutating func address(_ key: String) throws(JSONError) -> FunctionAddress {
        let text = try string(key, atMost: 16)
        guard let address = FunctionAddress(parsing: text), address.description == text else {
            throw error(key, "expected an address such as 0000:3a:00.0")
        }
        return address
    }

    /// Takes an array of at most `limit` elements.
    public mutating func array(_ key: String, atMost limit: Int) throws(JSONError) -> [JSONTree] {
        let tree = try value(key)
        guard case .array(let elements) = tree else { throw mismatch(key, "an array", tree) }
        guard elements.count <= limit else {
            throw error(key, "expected at most \(limit) elements, found \(elements.count)")
        }
        return elements
    }

    /// Takes an array of at most `limit` strings of at most `bytes` bytes each.
    public mutating func strings(_ key: String, atMost limit: Int, bytes: Int = 4096) throws(JSONError) -> [String] {
        var result: [String] = []
        for tree in try array(key, atMost: limit) {
            guard case .string(let text) = tree else { throw mismatch(key, "an array of strings", tree) }
            guard text.utf8.count <= bytes else { throw error(key, "expected strings of at most \(bytes) bytes") }
            result.append(text)
        }
        return result
    }

    /// Takes an object.
    public mutating func object(_ key: String) throws(JSONError) -> JSONFields {
        try JSONFields(try value(key), at: path(key))
    }

    /// Refuses the fields that nobody took.
    public func finish() throws(JSONError) {
        guard let index = isTaken.firstIndex(of: false) else { return }
        throw JSONError(place: place, reason: "expected only known fields, found \(shown(members[index].key))")
    }

    /// The path of the field `key`.
    public func path(_ key: String) -> String { place.isEmpty ? key : "\(place).\(key)" }

    /// An error at the field `key`.
    public func error(_ key: String, _ reason: String) -> JSONError { JSONError(place: path(key), reason: reason) }

    private func mismatch(_ key: String, _ expected: String, _ found: JSONTree) -> JSONError {
        error(key, "expected \(expected), found \(found.kind)")
    }
}
