// SPDX-License-Identifier: GPL-2.0-or-later

internal import FoundationEssentials
internal import Glibc
internal import PCITopology

/// A record on disk: one self-contained JSON document of the schema `pci-rebalance.snapshot/1`.
///
/// Keys are sorted and the same record always gives the same bytes.
public struct SnapshotFile: Sendable {
    /// The schema that this version writes and reads.
    public static let schema = "pci-rebalance.snapshot/1"
    /// The largest document that is read, in bytes.
    public static let maximumSize = 64 << 20

    /// The file.
    public var path: String

    /// Creates a snapshot at `path`.
    public init(path: String) { self.path = path }

    /// Reads the record.
    /// - Throws: `ReadError`: `unavailable` without such a file, `badInput` when it is too large, not JSON, of another
    ///   schema, or holds values that make no record; the description says where.
    public func read() throws(ReadError) -> MachineRecord {
        do {
            return try Self.decode(fileBytes(path, limit: Self.maximumSize))
        } catch {
            throw ReadError(error.code, path: path, errno: error.errno, Self.located(error, in: path))
        }
    }

    private static func located(_ error: ReadError, in path: String) -> String {
        error.description.contains(path) ? error.description : "\(path): \(error.description)"
    }

    /// Writes the record, readable by its owner only: it names devices and their use. See `OutputFile`.
    /// - Throws: `ReadError` when the file cannot be written.
    public func write(_ record: MachineRecord) throws(ReadError) {
        try OutputFile.write(try Self.encode(record), to: path, privacy: .owner)
    }

    private struct Document: Codable {
        var record: MachineRecord

        enum Key: String, CodingKey { case schema }

        init(_ record: MachineRecord) { self.record = record }

        init(from decoder: any Decoder) throws {
            let c = try decoder.container(keyedBy: Key.self)
            let schema = try c.decode(String.self, forKey: .schema)
            guard schema == SnapshotFile.schema else {
                throw c.wrong(.schema, "expected \"\(SnapshotFile.schema)\", found \"\(schema)\"")
            }
            record = try MachineRecord(from: decoder)
        }

        func encode(to encoder: any Encoder) throws {
            var c = encoder.container(keyedBy: Key.self)
            try c.encode(SnapshotFile.schema, forKey: .schema)
            try record.encode(to: encoder)
        }
    }

    /// The record that the bytes of a document hold.
    /// - Throws: `ReadError` with code `badInput`; the description says where.
    public static func decode(_ bytes: [UInt8]) throws(ReadError) -> MachineRecord {
        guard bytes.count <= maximumSize else {
            throw ReadError(
                .badInput,
                "snapshot too large: expected at most \(maximumSize) bytes, found \(bytes.count)"
            )
        }
        do {
            return try JSONDecoder().decode(Document.self, from: Data(bytes)).record
        } catch {
            if let fault = JSONSyntax.fault(in: bytes) { throw ReadError(.badInput, "not a JSON document: \(fault)") }
            throw ReadError(.badInput, describe(error))
        }
    }

    private static func describe(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return "not a snapshot: \(error)" }
        func place(_ context: DecodingError.Context) -> String {
            var text = ""
            for key in context.codingPath {
                if let index = key.intValue {
                    text += "[\(index)]"
                } else {
                    text += (text.isEmpty ? "" : ".") + key.stringValue
                }
            }
            return text.isEmpty ? "the document" : text
        }
        switch error {
        case .keyNotFound(let key, let context):
            return "snapshot: expected \"\(key.stringValue)\" in \(place(context)), found none"
        case .typeMismatch(let type, let context):
            return "snapshot: expected \(word(for: type)) at \(place(context)), found another type"
        case .valueNotFound(let type, let context):
            return "snapshot: expected \(word(for: type)) at \(place(context)), found null"
        case .dataCorrupted(let context):
            if context.codingPath.isEmpty {
                let detail = context.underlyingError.map { "\($0)" } ?? context.debugDescription
                return "not a JSON document: \(Self.excerpt(detail))"
            }
            return "snapshot: \(place(context)): \(excerpt(context.debugDescription))"
        @unknown default:
            return "not a snapshot"
        }
    }

    /// A message that may quote the input, cut to a line.
    private static func excerpt(_ text: String) -> String {
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        return line.count > 200 ? line.prefix(200) + "…" : line
    }

    private static func word(for type: any Any.Type) -> String {
        switch type {
        case is String.Type: "text"
        case is Int.Type: "a whole number"
        case is Bool.Type: "true or false"
        default: "\(type)".hasPrefix("Array") ? "a list" : "an object"
        }
    }

    /// The bytes of the document that holds `record`.
    /// - Throws: `ReadError` when a value cannot be written as JSON.
    public static func encode(_ record: MachineRecord) throws(ReadError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        do {
            return Array(try encoder.encode(Document(record))) + [0x0a]
        } catch {
            throw ReadError(.badInput, "cannot write the record as JSON: \(error)")
        }
    }
}
