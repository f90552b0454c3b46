// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// Builds a plan from a JSON tree; refuses everything that `PlanDocument.encode` does not write.
enum PlanDecoder {
    static func plan(_ tree: JSONTree) throws(JSONError) -> Plan {
        var fields = try JSONFields(tree, at: "")
        // The schema first: a document of another kind is told so, rather than which of its fields are unknown.
        let schema = try fields.string("schema")
        guard schema == PlanDocument.schema else {
            throw fields.error("schema", "expected \(PlanDocument.schema)")
        }
        let after = try self.tree(fields.value("after"), at: "after")
        let before = try self.tree(fields.value("before"), at: "before")
        let behaviour = try fields.string("behaviour", atMost: 64)
        let outlooks = try optionalList(&fields, "behaviours", outlook)
        let conditions = try optionalList(&fields, "conditions", atMost: 1024, condition)
        let diagnosis = try list(&fields, "diagnosis", atMost: 65_536, diagnosisLine)
        let disturbed = try list(&fields, "disturbed", atMost: PlanDocument.mostFunctions, disturbance)
        let fingerprint = try fields.hex("fingerprint")
        let goals = try list(&fields, "goals", atMost: 1024, goal)
        let isolation = try isolationChange(&fields)
        let kernel = try fields.string("kernel", atMost: 128)
        let otherWays = try list(&fields, "otherWays", atMost: 16, otherWay)
        let proof = try self.proof(fields.object("proof"))
        let remarks = try fields.strings("remarks", atMost: 4096)
        let ruledOut = try optionalList(&fields, "ruledOut", ruledOutBehaviour)
        let steps = try self.steps(&fields, from: before)
        let verdict = try self.verdict(fields.object("verdict"))
        try fields.finish()
        guard fingerprint == before.fingerprint else {
            throw fields.error("fingerprint", "expected the fingerprint of the tree before, found another")
        }
        guard verdict.answer == .act || steps.isEmpty else {
            throw fields.error("steps", "expected no steps beside the verdict \(verdict.answer.rawValue)")
        }
        var plan = Plan(
            verdict: verdict,
            kernelRelease: kernel,
            behaviour: behaviour,
            fingerprint: fingerprint,
            goals: goals,
            diagnosis: diagnosis,
            disturbed: disturbed,
            steps: steps,
            before: before,
            after: after,
            proof: proof,
            remarks: remarks,
            otherWays: otherWays
        )
        plan.outlooks = outlooks
        plan.conditions = conditions
        plan.ruledOut = ruledOut
        plan.isolation = isolation
        return plan
    }

    // MARK: Parts

    static func list<Element>(
        _ fields: inout JSONFields,
        _ key: String,
        atMost limit: Int,
        _ element: (inout JSONFields) throws(JSONError) -> Element
    ) throws(JSONError) -> [Element] {
        var result: [Element] = []
        for (i, tree) in try fields.array(key, atMost: limit).enumerated() {
            var inner = try JSONFields(tree, at: "\(fields.path(key))[\(i)]")
            result.append(try element(&inner))
            try inner.finish()
        }
        return result
    }

    /// A list of behaviours, empty when the field is absent.
    private static func optionalList<Element>(
        _ fields: inout JSONFields,
        _ key: String,
        atMost limit: Int = PlanDocument.mostBehaviours,
        _ element: (inout JSONFields) throws(JSONError) -> Element
    ) throws(JSONError) -> [Element] {
        var look = fields
        guard look.optional(key) != nil else { return [] }
        return try list(&fields, key, atMost: limit, element)
    }

    private static func condition(_ fields: inout JSONFields) throws(JSONError) -> ConditionOutcome {
        let addresses = try fields.strings("addresses", atMost: 2).map { FunctionAddress(parsing: $0) }
        let condition: Condition? =
            switch (
                try fields.string("kind", atMost: 32), addresses.count, addresses.first ?? nil, addresses.last ?? nil
            )
            {
            case ("keep-group", 1, let one?, _): .keepGroup(one)
            case ("keep-route", 2, let one?, let other?): .keepRoute(one, other)
            case ("same-switch", 2, let one?, let other?): .sameSwitch(one, other)
            default: nil
            }
        guard let condition else {
            throw fields.error("kind", "expected keep-group with one address, keep-route or same-switch with two")
        }
        return ConditionOutcome(condition: condition, text: try fields.string("text"))
    }

    private static func outlook(_ fields: inout JSONFields) throws(JSONError) -> BehaviourOutlook {
        let step = try fields.optionalInteger("differsAfterStep", in: 1...Int64(PlanDocument.mostSteps))
        let name = try fields.string("name", atMost: 128)
        guard let outcome = BehaviourOutlook.Outcome(rawValue: try fields.string("outcome", atMost: 32)) else {
            throw fields.error("outcome", "expected a known outcome")
        }
        return BehaviourOutlook(behaviour: name, outcome: outcome, differsAfterStep: step)
    }

    private static func ruledOutBehaviour(_ fields: inout JSONFields) throws(JSONError) -> RuledOutBehaviour {
        RuledOutBehaviour(behaviour: try fields.string("name", atMost: 128), reason: try fields.string("reason"))
    }

    private static func diagnosisLine(_ fields: inout JSONFields) throws(JSONError) -> DiagnosisLine {
        DiagnosisLine(
            code: try fields.string("code", atMost: 64),
            address: try optionalAddress(&fields, "address"),
            text: try fields.string("text")
        )
    }

    private static func optionalAddress(
        _ fields: inout JSONFields,
        _ key: String
    ) throws(JSONError) -> FunctionAddress? {
        guard let text = try fields.optionalString(key, atMost: 16) else { return nil }
        guard let address = FunctionAddress(parsing: text), address.description == text else {
            throw fields.error(key, "expected an address such as 0000:3a:00.0")
        }
        return address
    }

    private static func disturbance(_ fields: inout JSONFields) throws(JSONError) -> Disturbance {
        let address = try fields.address("address")
        guard let effect = Disturbance.Effect(rawValue: try fields.string("effect", atMost: 32)) else {
            throw fields.error("effect", "expected stopped, moved or renumbered")
        }
        return Disturbance(
            address: address,
            newAddress: try fields.address("newAddress"),
            effect: effect,
            what: try fields.string("what"),
            weight: try fields.integer("weight", in: 0...0xffff_ffff),
            uses: try fields.strings("uses", atMost: 4096)
        )
    }

    private static func goal(_ fields: inout JSONFields) throws(JSONError) -> Goal {
        switch try fields.string("kind", atMost: 32) {
        case "everything-required": return .everythingRequired
        case "place": return .place(try fields.address("address"))
        case "resize":
            let address = try fields.address("address")
            let bar = try fields.integer("bar", in: 0...12)
            guard let text = try fields.optionalString("size", atMost: 18) else {
                return .resize(address, bar: bar, size: nil)
            }
            guard text.hasPrefix("0x"), let size = ByteCount(parsing: text) else {
                throw fields.error("size", "expected 0x and at most 16 hexadecimal digits")
            }
            return .resize(address, bar: bar, size: size)
        case "compact": return .compact
        case "at":
            return .located(
                try fields.address("address"),
                bar: try fields.integer("bar", in: 0...5),
                address: try fields.hex("start")
            )
        case "reserve":
            return .reserve(try fields.address("address"), try fields.headroom())
        case "virtual-functions":
            let address = try fields.address("address")
            return .virtualFunctions(address, count: try fields.integer("count", in: 0...65_535))
        case "restore": return .restore(SavedLayout(fingerprint: try fields.hex("fingerprint"), places: []))
        default: throw fields.error("kind", "expected a known goal")
        }
    }

    private static func otherWay(_ fields: inout JSONFields) throws(JSONError) -> OtherWay {
        switch try fields.string("kind", atMost: 32) {
        case "reboot": return .reboot
        case "parameter": return .parameter(try fields.optionalString("parameter", atMost: 2048))
        case "kexec":
            return .kexec(functions: try fields.integer("functions", in: 0...Int64(PlanDocument.mostFunctions)))
        case "firmware":
            guard let setting = OtherWay.Setting(rawValue: try fields.string("setting", atMost: 32)) else {
                throw fields.error("setting", "expected above-4g, larger-aperture or device-tree")
            }
            return .firmware(setting)
        case "kernel":
            let releases = try fields.strings("placedBy", atMost: 64)
            return .kernel(
                placedBy: releases,
                rules: fields.holds("rules") ? try fields.strings("rules", atMost: 64) : []
            )
        default: throw fields.error("kind", "expected reboot, parameter, kexec, kernel or firmware")
        }
    }

    private static func proof(_ fields: consuming JSONFields) throws(JSONError) -> ProofOfLeastDisturbance {
        var fields = fields
        let result: ProofOfLeastDisturbance
        switch try fields.string("kind", atMost: 32) {
        case "optimal": result = .optimal
        case "best-of-searched":
            result = .bestOfSearched(
                cost: try fields.integer("cost", in: 0...0xffff_ffff),
                lowerBound: try fields.integer("lowerBound", in: 0...0xffff_ffff)
            )
        case "not-applicable": result = .notApplicable
        default: throw fields.error("kind", "expected optimal, best-of-searched or not-applicable")
        }
        try fields.finish()
        return result
    }

    private static func verdict(_ fields: consuming JSONFields) throws(JSONError) -> Plan.Verdict {
        var fields = fields
        guard let answer = Plan.Verdict.Answer(rawValue: try fields.string("answer", atMost: 32)) else {
            throw fields.error("answer", "expected act, none, refused or impossible")
        }
        let reason = try fields.string("reason", atMost: 64)
        guard isSlug(reason) else { throw fields.error("reason", "expected lower-case words joined by hyphens") }
        let verdict = Plan.Verdict(answer, reason: reason, sentence: try fields.string("sentence"))
        try fields.finish()
        return verdict
    }

    private static func isSlug(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy {
                ($0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z")) || $0 == UInt8(ascii: "-")
                    || ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9"))
            }
    }

    // MARK: Steps

    private static func steps(_ fields: inout JSONFields, from before: TreeState) throws(JSONError) -> [PlanStep] {
        var state = before
        return try list(&fields, "steps", atMost: PlanDocument.mostSteps) {
            (inner: inout JSONFields) throws(JSONError) -> PlanStep in
            state = try changes(&inner, from: state)
            return PlanStep(
                purpose: try inner.string("purpose"),
                preconditions: try list(&inner, "preconditions", atMost: PlanDocument.mostWrites, precondition),
                writes: try list(&inner, "writes", atMost: PlanDocument.mostWrites, WriteDecoder.write),
                after: state,
                mayAppearBelow: try appearances(&inner, in: state),
                registersAfter: try list(&inner, "registersAfter", atMost: PlanDocument.mostWrites, expectation),
                wayBack: try list(&inner, "wayBack", atMost: PlanDocument.mostWrites, WriteDecoder.write)
            )
        }
    }

    /// The bridges below which functions may appear; absent means none.
    private static func appearances(_ fields: inout JSONFields, in tree: TreeState) throws(JSONError)
        -> [FunctionAddress]
    {
        let key = "mayAppearBelow"
        guard fields.optional(key) != nil else { return [] }
        let known = Set(tree.functions.filter { $0.busRange != nil }.map(\.address))
        var result: [FunctionAddress] = []
        for text in try fields.strings(key, atMost: PlanDocument.mostFunctions, bytes: 16) {
            guard let address = FunctionAddress(parsing: text), address.description == text, known.contains(address)
            else { throw fields.error(key, "expected addresses of bridges that have a bus after the step") }
            if let last = result.last, address <= last {
                throw fields.error(key, "expected addresses in ascending order")
            }
            result.append(address)
        }
        guard !result.isEmpty else { throw fields.error(key, "expected at least one address") }
        return result
    }

    private static func precondition(_ fields: inout JSONFields) throws(JSONError) -> Precondition {
        switch try fields.string("kind", atMost: 32) {
        case "tree-as-predicted": return .treeAsPredicted
        case "present":
            return .present(try fields.address("address"), ids: UInt32(try fields.hex("ids", atMost: 0xffff_ffff)))
        case "bus-is-empty":
            let (segment, bus) = try WriteDecoder.bus(&fields)
            return .busIsEmpty(segment: segment, bus: bus)
        case "bus-is-absent":
            let (segment, bus) = try WriteDecoder.bus(&fields)
            return .busIsAbsent(segment: segment, bus: bus)
        case "not-in-use": return .notInUse(try fields.address("address"))
        default: throw fields.error("kind", "expected a known precondition")
        }
    }

    private static func expectation(_ fields: inout JSONFields) throws(JSONError) -> RegisterExpectation {
        let address = try fields.address("address")
        let (offset, width, mask, value) = try WriteDecoder.register(&fields, offsets: 0...4095)
        return RegisterExpectation(address: address, offset: offset, width: width, mask: mask, value: value)
    }

    // MARK: Trees

    static func tree(_ tree: JSONTree, at place: String) throws(JSONError) -> TreeState {
        var fields = try JSONFields(tree, at: place)
        let functions = try list(&fields, "functions", atMost: PlanDocument.mostFunctions, function)
        try fields.finish()
        try checkOrder(functions, at: fields.path("functions"))
        return TreeState(functions)
    }

    /// Takes the fields `changed` and `gone` and gives the tree that they lead to.
    static func changes(_ fields: inout JSONFields, from base: TreeState) throws(JSONError) -> TreeState {
        let changed = try list(&fields, "changed", atMost: PlanDocument.mostFunctions, function)
        try checkOrder(changed, at: fields.path("changed"))
        var gone: [FunctionAddress] = []
        let known = Set(base.functions.map(\.address))
        for text in try fields.strings("gone", atMost: PlanDocument.mostFunctions, bytes: 16) {
            guard let address = FunctionAddress(parsing: text), address.description == text, known.contains(address)
            else { throw fields.error("gone", "expected addresses of functions that were there") }
            if let last = gone.last, address <= last {
                throw fields.error("gone", "expected addresses in ascending order")
            }
            gone.append(address)
        }
        if !gone.isEmpty, !Set(gone).isDisjoint(with: changed.map(\.address)) {
            throw fields.error("gone", "expected addresses that are not among the changed ones")
        }
        let result = base.applying(gone: gone, changed: changed)
        guard result.functions.count <= PlanDocument.mostFunctions else {
            throw fields.error("changed", "expected at most \(PlanDocument.mostFunctions) functions in all")
        }
        return result
    }

    private static func checkOrder(_ functions: [FunctionState], at place: String) throws(JSONError) {
        for (a, b) in zip(functions, functions.dropFirst()) where a.address >= b.address {
            throw JSONError(place: place, reason: "expected functions in ascending address order")
        }
    }

    private static func function(_ fields: inout JSONFields) throws(JSONError) -> FunctionState {
        let address = try fields.address("address")
        var buses: BusRange?
        if let text = try fields.optionalString("buses", atMost: 5) {
            let parts = text.split(separator: "-", omittingEmptySubsequences: false)
            guard parts.count == 2, let first = busNumber(parts[0]), let last = busNumber(parts[1]),
                let range = BusRange(first: first, last: last)
            else { throw fields.error("buses", "expected a bus range such as 02-1f") }
            buses = range
        }
        let ids = UInt32(try fields.hex("ids", atMost: 0xffff_ffff))
        let pathText = try fields.string("path", atMost: 256)
        guard let path = TopologyPath(parsing: pathText), path.description == pathText else {
            throw fields.error("path", "expected a path such as 0000:00:02.0/00.0")
        }
        guard path.segment == address.segment, path.hops.last == address.devfn else {
            throw fields.error("path", "expected a path to \(address)")
        }
        var wired: TopologyPath?
        if let text = try fields.optionalString("place", atMost: 256) {
            guard let parsed = TopologyPath(parsing: text), parsed.description == text, parsed != path,
                parsed.segment == address.segment, parsed.hops.last == address.devfn
            else { throw fields.error("place", "expected another path to \(address) than that of the kernel's tree") }
            wired = parsed
        }
        var others: [TopologyPath] = []
        let texts = fields.holds("otherPlaces") ? try fields.strings("otherPlaces", atMost: 256, bytes: 256) : []
        for text in texts {
            guard let parsed = TopologyPath(parsing: text), parsed.description == text, parsed != wired ?? path,
                parsed.segment == address.segment, parsed.hops.last == address.devfn, !others.contains(parsed)
            else { throw fields.error("otherPlaces", "expected other paths to \(address)") }
            others.append(parsed)
        }
        let most = Int64(ResourceNumbering.maximumLineCount)
        var lines = Array(repeating: ResourceLine.zero, count: try fields.integer("resourceLines", in: 0...most))
        var last = -1
        for (i, tree) in try fields.array("resources", atMost: 17).enumerated() {
            var inner = try JSONFields(tree, at: "\(fields.path("resources"))[\(i)]")
            let end = try inner.hex("end")
            let flags = try inner.hex("flags")
            let index = try inner.integer("index", in: 0...16)
            lines[try place(index, after: last, of: lines.count, inner)] = ResourceLine(
                start: try inner.hex("start"),
                end: end,
                flags: ResourceFlags(rawValue: flags)
            )
            guard lines[index] != .zero else { throw inner.error("start", "expected a resource that is not all zero") }
            last = index
            try inner.finish()
        }
        var function = FunctionState(
            address: address,
            path: path,
            ids: ids,
            lines: lines,
            busRange: buses,
            place: wired
        )
        function.otherPlaces = others
        return function
    }

    private static func place(
        _ index: Int,
        after last: Int,
        of count: Int,
        _ fields: JSONFields
    ) throws(JSONError) -> Int {
        guard index > last, index < count else {
            throw fields.error("index", "expected ascending indexes below \(count), found \(index)")
        }
        return index
    }

    private static func busNumber(_ text: Substring) -> BusNumber? {
        guard text.utf8.count == 2, let number = UInt8(text, radix: 16), bareHex(UInt64(number), width: 2) == text
        else {
            return nil
        }
        return BusNumber(number)
    }
}

extension JSONFields {
    /// The room below a port that `buses`, `io`, `memory` and `prefetchable` say.
    mutating func headroom() throws(JSONError) -> Headroom {
        Headroom(
            io: ByteCount(try hex("io")),
            memory: ByteCount(try hex("memory")),
            prefetchable: ByteCount(try hex("prefetchable")),
            buses: try integer("buses", in: 0...255)
        )
    }
}
