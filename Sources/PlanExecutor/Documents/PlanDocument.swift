// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology
public import RebalancePlanner

/// Plans as JSON, schema `pci-rebalance.plan/1`.
///
/// A plan file is hostile input: `decode` accepts only what `encode` can produce. Unknown or repeated fields, unknown
/// operations, registers that no plan has business with, addresses that are not in the tree, and anything beyond the
/// limits are refused, with the place in the document.
public enum PlanDocument {
    /// The schema's name.
    public static let schema = "pci-rebalance.plan/1"
    /// The largest file that is read, in bytes.
    public static let largestFile = 16 << 20

    static let limits = JSONLimits(bytes: largestFile, depth: 12, values: 2_000_000, stringBytes: 8192)
    static let mostFunctions = 16_384
    static let mostSteps = 1024
    static let mostWrites = 4096
    static let mostBehaviours = 64

    /// The plan as an indented JSON document with sorted keys.
    public static func encode(_ plan: Plan) -> [UInt8] {
        var json = JSONWriter(.indented)
        encode(plan, into: &json)
        return json.document
    }

    /// Writes the plan as one JSON object.
    public static func encode(_ plan: Plan, into json: inout JSONWriter) {
        json.object { $0.plan(plan) }
    }

    /// The plan that a document holds.
    ///
    /// - Throws: `PlanDocumentError` with the place of the first fault.
    public static func decode(_ document: [UInt8]) throws(PlanDocumentError) -> Plan {
        do {
            return try PlanDecoder.plan(JSONParser.parse(document, limits: limits))
        } catch {
            throw PlanDocumentError(place: error.place, reason: error.reason)
        }
    }
}

/// Why a document is not an acceptable plan.
public struct PlanDocumentError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The place: `byte 17`, or the path to a value such as `steps[2].writes[0].address`.
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
