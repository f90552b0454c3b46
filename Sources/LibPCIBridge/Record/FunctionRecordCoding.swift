// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension FunctionRecord {
    /// Reads a function; `parent` is an address, `root`, or absent when unknown.
    init(_ fields: inout JSONFields) throws(JSONError) {
        self.init(address: try fields.function("address"))
        switch try fields.textIfPresent("parent") {
        case nil: placement = .unknown
        case "root": placement = .rootBus
        default: placement = .below(try fields.function("parent"))
        }
        config = try Self.config(&fields)
        resource = try Self.resource(&fields)
        vendor = try fields.hexIfPresent("vendor")
        device = try fields.hexIfPresent("device")
        classCode = try fields.hexIfPresent("classCode")
        revision = try fields.hexIfPresent("revision")
        subsystemVendor = try fields.hexIfPresent("subsystemVendor")
        subsystemDevice = try fields.hexIfPresent("subsystemDevice")
        driver = try fields.textIfPresent("driver")
        enableCount = try fields.numberIfPresent("enable")
        numaNode = try fields.numberIfPresent("numaNode")
        iommuGroup = try fields.numberIfPresent("iommuGroup")
        removable = try fields.textIfPresent("removable")
        isUntrusted = try fields.boolIfPresent("untrusted")
        enabledVFs = try fields.numberIfPresent("enabledVFs")
        totalVFs = try fields.numberIfPresent("totalVFs")
        physicalFunction = try fields.functionIfPresent("physicalFunction")
        isBootVGA = try fields.boolIfPresent("bootVGA")
        probed = try fields.objects("probed") { f throws(JSONError) in try ProbedSize(&f) }
        if let told = try fields.textsIfPresent("told") {
            guard let known = FunctionKnowledge(words: told) else {
                let found = shown(told.joined(separator: ", "))
                throw fields.error("told", "expected words such as \"resources partly\", found \(found)")
            }
            knowledge = known
        }
        use = try fields.objects("use") { f throws(JSONError) in
            UseEvidence(
                code: try f.text("code"),
                detail: try f.text("detail"),
                isProtected: try f.bool("protected"),
                weight: try f.integer("weight", in: .min ... .max)
            )
        }
    }

    private static func resource(_ fields: inout JSONFields) throws(JSONError) -> [ResourceLine]? {
        guard let texts = try fields.textsIfPresent("resource") else { return nil }
        guard texts.count <= 24 else {
            throw fields.error("resource", "expected at most 24 lines, found \(texts.count)")
        }
        var lines: [ResourceLine] = []
        lines.reserveCapacity(texts.count)
        for text in texts {
            guard let line = resourceLine(text) else {
                throw fields.error("resource", "expected three hexadecimal numbers, found \(shown(text))")
            }
            lines.append(line)
        }
        return lines
    }

    private static func config(_ fields: inout JSONFields) throws(JSONError) -> ConfigSpace {
        guard let text = try fields.textIfPresent("config") else { return ConfigSpace() }
        guard var bytes = hexBytes(text) else {
            throw fields.error("config", "expected pairs of hexadecimal digits")
        }
        let size = try fields.numberIfPresent("configSize") ?? bytes.count
        guard (0...4096).contains(size), bytes.count <= size else {
            throw fields.error("configSize", "expected \(bytes.count) to 4096 bytes, found \(size)")
        }
        bytes.append(contentsOf: repeatElement(0, count: size - bytes.count))
        return ConfigSpace(bytes)
    }

    /// Writes a function; the zeros at the end of its configuration space are left out.
    func write(to json: inout JSONWriter) {
        json.field("address", address.description)
        if let isBootVGA { json.field("bootVGA", isBootVGA) }
        json.fieldIfPresent("classCode", hex: classCode, width: 6)
        if config.count > 0 {
            let used = (config.bytes.lastIndex { $0 != 0 } ?? -1) + 1
            json.field("config", hexText(config.bytes[..<used]))
            json.field("configSize", config.count)
        }
        json.fieldIfPresent("device", hex: device, width: 4)
        if let driver { json.field("driver", driver) }
        if let enableCount { json.field("enable", enableCount) }
        if let enabledVFs { json.field("enabledVFs", enabledVFs) }
        if let iommuGroup { json.field("iommuGroup", iommuGroup) }
        if let numaNode { json.field("numaNode", numaNode) }
        switch placement {
        case .below(let bridge): json.field("parent", bridge.description)
        case .rootBus: json.field("parent", "root")
        case .unknown: break
        }
        if let physicalFunction { json.field("physicalFunction", physicalFunction.description) }
        if !probed.isEmpty { json.objects("probed", probed) { $0.write(to: &$1) } }
        if let removable { json.field("removable", removable) }
        if let resource { json.field("resource", resource.map(\.description)) }
        json.fieldIfPresent("revision", hex: revision, width: 2)
        json.fieldIfPresent("subsystemDevice", hex: subsystemDevice, width: 4)
        json.fieldIfPresent("subsystemVendor", hex: subsystemVendor, width: 4)
        if let knowledge, knowledge != .whole { json.field("told", knowledge.words) }
        if let totalVFs { json.field("totalVFs", totalVFs) }
        if let isUntrusted { json.field("untrusted", isUntrusted) }
        if !use.isEmpty {
            json.objects("use", use) {
                $1.field("code", $0.code)
                $1.field("detail", $0.detail)
                $1.field("protected", $0.isProtected)
                $1.field("weight", $0.weight)
            }
        }
        json.fieldIfPresent("vendor", hex: vendor, width: 4)
    }
}

extension FunctionKnowledge {
    /// What differs from the whole, a word or two each: `source log`, `resources partly`, `width not-seen`.
    var words: [String] {
        var result = sources.map { "source \($0.rawValue)" }
        if resources != .seen { result.append("resources \(resources.rawValue)") }
        if windows != .seen { result.append("windows \(windows.rawValue)") }
        if registers != .seen { result.append("registers \(registers.rawValue)") }
        if settings != .seen || registers != .seen { result.append("settings \(settings.rawValue)") }
        if !isPrefetchableWidthKnown { result.append("width \(Extent.unseen.rawValue)") }
        return result
    }

    /// Reads what `words` wrote; nil for other words.
    init?(words: [String]) {
        self.init()
        var saysSettings = false
        for text in words {
            let parts = text.split(separator: " ", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { return nil }
            if parts[0] == "source" {
                guard let source = Source(rawValue: parts[1]) else { return nil }
                sources.append(source)
                continue
            }
            guard let extent = Extent(rawValue: parts[1]) else { return nil }
            switch parts[0] {
            case "resources": resources = extent
            case "windows": windows = extent
            case "registers": registers = extent
            case "settings":
                settings = extent
                saysSettings = true
            case "width": isPrefetchableWidthKnown = extent == .seen
            default: return nil
            }
        }
        // Records of before made the bytes up without saying so.
        if !saysSettings, registers != .seen { settings = .unseen }
    }
}

extension ProbedSize {
    /// Reads a probed size.
    init(_ fields: inout JSONFields) throws(JSONError) {
        let number = try fields.integer("index", in: .min ... .max)
        guard let index = ResourceIndex(number) else {
            throw fields.error("index", "expected 0 to 16, found \(number)")
        }
        let size = try fields.hex("size")
        self.init(index: index, size: ByteCount(size), flags: ResourceFlags(rawValue: try fields.hex("flags")))
    }

    /// Writes a probed size.
    func write(to json: inout JSONWriter) {
        json.field("flags", hex: flags.rawValue)
        json.field("index", index.rawValue)
        json.field("size", hex: size.rawValue)
    }
}
