// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

// Certificates as JSON, schema `pci-rebalance.certificate/1`.
extension Certificate {
    /// The schema's name.
    public static let schema = "pci-rebalance.certificate/1"

    private static let most = 4096

    /// The document.
    public var document: [UInt8] {
        var json = JSONWriter()
        json.object {
            $0.field("schema", Self.schema)
            switch claim {
            case .impossible: $0.field("claim", "impossible")
            case .least(let cost):
                $0.field("claim", "least")
                $0.field("cost", cost)
            }
            $0.field("fingerprint", hex: fingerprint, width: 16)
            $0.field("host", host)
            $0.field("highestAddress", hex: highestAddress)
            $0.array("apertures") { json in
                for aperture in apertures {
                    json.object {
                        $0.field("kind", Self.word(aperture.kind))
                        Self.write(aperture.range, to: &$0)
                    }
                }
            }
            $0.key("busNumbers")
            if let busNumbers { $0.object { Self.write(busNumbers, to: &$0) } } else { $0.null() }
            $0.array("bridges") { json in
                for bridge in bridges {
                    json.object {
                        $0.field("function", bridge.function.description)
                        $0.field("parent", bridge.parent)
                        $0.array("windows") { json in
                            for window in bridge.windows {
                                json.object {
                                    $0.field("kind", window.kind.rawValue)
                                    $0.field("granule", hex: window.granule)
                                    Self.write(window.limits, to: &$0)
                                }
                            }
                        }
                    }
                }
            }
            $0.array("devices") { json in
                for device in devices {
                    json.object {
                        $0.field("function", device.function.description)
                        $0.field("weight", device.weight)
                    }
                }
            }
            $0.array("certain") { json in for i in certain { json.value(i) } }
            $0.array("conflicts") { json in
                for members in conflicts {
                    json.array { json in for member in members { member.write(to: &json) } }
                }
            }
        }
        return json.document
    }

    /// The certificate that `text` holds.
    ///
    /// - Throws: `JSONError` where it is no certificate of this schema, or a position in it leads nowhere.
    public init(parsing text: [UInt8]) throws(JSONError) {
        var fields = try JSONFields(try JSONParser.parse(text), at: "")
        let schema = try fields.string("schema")
        guard schema == Self.schema else { throw fields.error("schema", "expected \(Self.schema)") }
        let word = try fields.string("claim", atMost: 16)
        switch word {
        case "impossible": claim = .impossible
        case "least": claim = .least(try fields.integer("cost", in: 0...(1 << 52)))
        default: throw fields.error("claim", "expected impossible or least")
        }
        fingerprint = try fields.hex("fingerprint")
        host = try fields.string("host", atMost: 64)
        highestAddress = nil
        if let tree = fields.optional("highestAddress"), tree != .null {
            highestAddress = try fields.hex("highestAddress")
        }
        apertures = []
        for (n, tree) in try fields.array("apertures", atMost: Self.most).enumerated() {
            var each = try JSONFields(tree, at: "apertures[\(n)]")
            guard let kind = Self.kind(try each.string("kind", atMost: 16)) else {
                throw each.error("kind", "expected io, memory or prefetchable")
            }
            apertures.append(Aperture(kind: kind, range: try Self.range(&each)))
            try each.finish()
        }
        busNumbers = nil
        switch try fields.value("busNumbers") {
        case .null: break
        case let tree:
            var each = try JSONFields(tree, at: "busNumbers")
            busNumbers = try Self.range(&each)
            try each.finish()
        }
        bridges = []
        for (n, tree) in try fields.array("bridges", atMost: Self.most).enumerated() {
            bridges.append(try Self.bridge(tree, n))
        }
        devices = []
        for (n, tree) in try fields.array("devices", atMost: Self.most).enumerated() {
            var each = try JSONFields(tree, at: "devices[\(n)]")
            let function = try each.address("function")
            devices.append(Device(function: function, weight: try each.integer("weight", in: 0...(1 << 40))))
            try each.finish()
        }
        certain = try Self.positions("certain", &fields, below: devices.count)
        conflicts = []
        for (n, tree) in try fields.array("conflicts", atMost: Self.most).enumerated() {
            guard case .array(let elements) = tree, elements.count <= Self.most else {
                throw JSONError(place: "conflicts[\(n)]", reason: "expected an array of at most \(Self.most) members")
            }
            var members: [Member] = []
            for (m, element) in elements.enumerated() {
                members.append(
                    try Member(element, at: "conflicts[\(n)][\(m)]", bridges: bridges.count, devices: devices.count)
                )
            }
            conflicts.append(members)
        }
        try fields.finish()
    }

    private static func bridge(_ tree: JSONTree, _ n: Int) throws(JSONError) -> Bridge {
        var each = try JSONFields(tree, at: "bridges[\(n)]")
        var bridge = Bridge(function: try each.address("function"))
        bridge.parent = try each.optionalInteger("parent", in: 0...Int64(most))
        if let parent = bridge.parent, parent >= n { throw each.error("parent", "expected a bridge before this one") }
        for (w, tree) in try each.array("windows", atMost: 4).enumerated() {
            var window = try JSONFields(tree, at: "bridges[\(n)].windows[\(w)]")
            guard let kind = WindowKind(rawValue: try window.string("kind", atMost: 16)) else {
                throw window.error("kind", "expected io, memory, prefetchable or bus")
            }
            let granule = try powerOfTwo("granule", &window)
            bridge.windows.append(Window(kind: kind, granule: granule, limits: try range(&window)))
            try window.finish()
        }
        try each.finish()
        return bridge
    }

    // MARK: - Parts

    fileprivate static func write(_ range: AddressRange, to json: inout JSONWriter) {
        json.field("first", hex: range.first)
        json.field("last", hex: range.last)
    }

    fileprivate static func range(_ fields: inout JSONFields) throws(JSONError) -> AddressRange {
        let first = try fields.hex("first")
        let last = try fields.hex("last")
        guard let range = AddressRange(first: first, last: last) else {
            throw fields.error("last", "expected at least \(PCITopology.hex(first)), found \(PCITopology.hex(last))")
        }
        return range
    }

    fileprivate static func powerOfTwo(_ key: String, _ fields: inout JSONFields) throws(JSONError) -> UInt64 {
        let value = try fields.hex(key)
        guard value.nonzeroBitCount == 1 else { throw fields.error(key, "expected a power of two") }
        return value
    }

    fileprivate static func positions(
        _ key: String,
        _ fields: inout JSONFields,
        below limit: Int
    ) throws(JSONError) -> [Int] {
        var result: [Int] = []
        for tree in try fields.array(key, atMost: most) {
            guard case .integer(let n) = tree, n >= 0, n < limit else {
                throw fields.error(key, "expected positions below \(limit)")
            }
            result.append(Int(n))
        }
        return result
    }

    private static func word(_ kind: ResourceKind) -> String {
        switch kind {
        case .io: "io"
        case .memory: "memory"
        case .prefetchable: "prefetchable"
        }
    }

    private static func kind(_ word: String) -> ResourceKind? {
        switch word {
        case "io": .io
        case "memory": .memory
        case "prefetchable": .prefetchable
        default: nil
        }
    }
}

extension Certificate.Member {
    fileprivate func write(to json: inout JSONWriter) {
        json.object {
            switch role {
            case .place(let size, let alignment, let limits):
                $0.field("role", "place")
                $0.field("size", hex: size)
                $0.field("alignment", hex: alignment)
                Certificate.write(limits, to: &$0)
            case .stay(let range):
                $0.field("role", "stay")
                Certificate.write(range, to: &$0)
            case .window(let range?):
                $0.field("role", "window")
                Certificate.write(range, to: &$0)
            case .window(nil): $0.field("role", "closed window")
            case .obstacle(let range):
                $0.field("role", "obstacle")
                Certificate.write(range, to: &$0)
            }
            $0.field("kind", kind.rawValue)
            $0.field("label", label)
            if let resource {
                $0.field("function", resource.function.description)
                $0.field("resource", Int(resource.index.rawValue))
            }
            $0.field("bridge", bridge)
            $0.array("holders") { json in for i in holders { json.value(i) } }
        }
    }

    fileprivate init(_ tree: JSONTree, at place: String, bridges: Int, devices: Int) throws(JSONError) {
        var fields = try JSONFields(tree, at: place)
        let word = try fields.string("role", atMost: 16)
        switch word {
        case "place":
            let size = try fields.hex("size")
            guard size > 0 else { throw fields.error("size", "expected at least 1") }
            let alignment = try Certificate.powerOfTwo("alignment", &fields)
            role = .place(size: size, alignment: alignment, limits: try Certificate.range(&fields))
        case "stay": role = .stay(try Certificate.range(&fields))
        case "window": role = .window(try Certificate.range(&fields))
        case "closed window": role = .window(nil)
        case "obstacle": role = .obstacle(try Certificate.range(&fields))
        default: throw fields.error("role", "expected place, stay, window, closed window or obstacle")
        }
        guard let kind = Kind(rawValue: try fields.string("kind", atMost: 16)) else {
            throw fields.error("kind", "expected io, memory, prefetchable, bus or busNumbers")
        }
        self.kind = kind
        label = try fields.string("label", atMost: 256)
        resource = nil
        if let tree = fields.optional("function") {
            guard case .string(let text) = tree, let address = FunctionAddress(parsing: text),
                let index = ResourceIndex(try fields.integer("resource", in: 0...16))
            else { throw fields.error("function", "expected an address such as 0000:3a:00.0") }
            resource = Certificate.ResourceName(function: address, index: index)
        }
        bridge = try fields.optionalInteger("bridge", in: 0...Int64(max(bridges, 1)))
        if let bridge, bridge >= bridges { throw fields.error("bridge", "expected a position below \(bridges)") }
        holders = try Certificate.positions("holders", &fields, below: devices)
        try fields.finish()
    }
}
