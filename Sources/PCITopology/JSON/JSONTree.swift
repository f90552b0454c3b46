// SPDX-License-Identifier: GPL-2.0-or-later

/// A JSON document as read: what `JSONParser` makes of text.
///
/// Only what the documents of this project use: numbers are integers; anything with a fraction, an exponent or more
/// than 63 bits is refused by the parser. Larger numbers travel as hexadecimal strings.
public enum JSONTree: Hashable, Sendable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// An integer.
    case integer(Int64)
    /// A string.
    case string(String)
    /// An array.
    case array([JSONTree])
    /// An object; no key occurs twice.
    case object([JSONMember])

    /// The kind in one word, for messages.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a truth value"
        case .integer: "an integer"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }

    /// The value of `key` when this is an object that has it.
    /// - Complexity: O(number of members).
    public subscript(key: String) -> JSONTree? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.key == key }?.value
    }
}

/// A key of a JSON object with its value.
public struct JSONMember: Hashable, Sendable {
    /// The key.
    public var key: String
    /// The value.
    public var value: JSONTree

    /// Creates a member.
    public init(key: String, value: JSONTree) {
        self.key = key
        self.value = value
    }
}

/// Why a text is not an acceptable JSON document.
public struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The place: `line 2, column 17` of a text (columns are bytes), or the path to a value such as `steps[2].writes[0].address`.
    public var place: String
    /// What was expected and found, a lower-case sentence.
    public var reason: String

    /// Creates an error.
    public init(place: String, reason: String) {
        self.place = place
        self.reason = reason
    }

    /// The place and the reason.
    public var description: String { place.isEmpty ? reason : "\(place): \(reason)" }
}

/// Text from a document as messages may show it: printable ASCII only, at most 40 characters.
package func shown(_ text: String) -> String {
    var result = ""
    for byte in text.utf8.prefix(40) {
        result.append(byte >= 0x20 && byte < 0x7f ? Character(Unicode.Scalar(byte)) : "?")
    }
    return text.utf8.count > 40 ? result + "..." : result
}
