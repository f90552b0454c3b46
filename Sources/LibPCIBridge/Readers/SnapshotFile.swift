// SPDX-License-Identifier: GPL-2.0-or-later

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
        try OutputFile.write(Self.encode(record), to: path, privacy: .owner)
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
        let tree: JSONTree
        do {
            tree = try JSONParser.parse(bytes, limits: .record)
        } catch {
            throw ReadError(.badInput, "not a JSON document: \(error)")
        }
        do throws(JSONError) {
            var fields = try JSONFields(tree, at: "")
            let found = try fields.text("schema")
            guard found == schema else { throw fields.error("schema", "expected \(schema), found \(shown(found))") }
            return try MachineRecord(&fields)
        } catch {
            throw ReadError(.badInput, "snapshot: \(error)")
        }
    }

    /// The bytes of the document that holds `record`.
    public static func encode(_ record: MachineRecord) -> [UInt8] {
        var json = JSONWriter(.indented)
        json.object { record.write(to: &$0) }
        return json.document
    }
}
