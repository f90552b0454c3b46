// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology

extension PlanDecoder {
    /// What the document says of groups, routes and settings; nil when it says nothing.
    static func isolationChange(_ fields: inout JSONFields) throws(JSONError) -> IsolationChange? {
        var look = fields
        guard look.optional("isolation") != nil else { return nil }
        var inner = try fields.object("isolation")
        let contradicted = try addresses(&inner, "contradicted")
        let after = try groups(&inner, "groupsAfter")
        let before = try groups(&inner, "groupsBefore")
        let hasGroups = try inner.bool("hasGroups")
        let regroupings = try list(&inner, "regroupings", atMost: PlanDocument.mostFunctions, regrouping)
        let reroutings = try list(&inner, "reroutings", atMost: PlanDocument.mostFunctions, rerouting)
        let settings = try list(&inner, "settings", atMost: 4 * PlanDocument.mostFunctions, setting)
        let untold = try addresses(&inner, "untold")
        try inner.finish()
        return IsolationChange(
            groupsBefore: before,
            groupsAfter: after,
            hasGroups: hasGroups,
            untold: untold,
            contradicted: contradicted,
            regroupings: regroupings,
            reroutings: reroutings,
            settings: settings
        )
    }

    private static func addresses(
        _ fields: inout JSONFields,
        _ key: String
    ) throws(JSONError) -> [FunctionAddress] {
        var result: [FunctionAddress] = []
        for text in try fields.strings(key, atMost: PlanDocument.mostFunctions, bytes: 16) {
            result.append(try address(text, fields, key))
        }
        return result
    }

    private static func groups(_ fields: inout JSONFields, _ key: String) throws(JSONError) -> [[FunctionAddress]] {
        var result: [[FunctionAddress]] = []
        for text in try fields.strings(key, atMost: PlanDocument.mostFunctions, bytes: 1 << 20) {
            var group: [FunctionAddress] = []
            for word in text.split(separator: " ") { group.append(try address(String(word), fields, key)) }
            result.append(group)
        }
        return result
    }

    private static func address(
        _ text: String,
        _ fields: JSONFields,
        _ key: String
    ) throws(JSONError) -> FunctionAddress {
        guard let address = FunctionAddress(parsing: text), address.description == text else {
            throw fields.error(key, "expected an address such as 0000:3a:00.0")
        }
        return address
    }

    private static func regrouping(_ fields: inout JSONFields) throws(JSONError) -> IsolationChange.Regrouping {
        IsolationChange.Regrouping(
            address: try fields.address("address"),
            newAddress: try fields.address("newAddress"),
            joined: try addresses(&fields, "joined"),
            left: try addresses(&fields, "left"),
            isAssigned: try fields.bool("isAssigned")
        )
    }

    private static func rerouting(_ fields: inout JSONFields) throws(JSONError) -> IsolationChange.Rerouting {
        let after = try way(&fields, "after")
        let before = try way(&fields, "before")
        return IsolationChange.Rerouting(
            address: try fields.address("address"),
            newAddress: try fields.address("newAddress"),
            before: before,
            after: after
        )
    }

    private static func way(_ fields: inout JSONFields, _ key: String) throws(JSONError) -> PeerRoutes.Way {
        guard let way = PeerRoutes.Way(rawValue: try fields.string(key, atMost: 32)) else {
            throw fields.error(key, "expected direct, redirected or unknown")
        }
        return way
    }

    private static func setting(_ fields: inout JSONFields) throws(JSONError) -> SettingChange {
        let address = try fields.address("address")
        let after = try fields.optionalString("after", atMost: 256)
        let before = try fields.string("before", atMost: 256)
        guard let kind = SettingChange.Kind(rawValue: try fields.string("kind", atMost: 32)) else {
            throw fields.error("kind", "expected a known setting")
        }
        return SettingChange(address: address, kind: kind, before: before, after: after)
    }
}
