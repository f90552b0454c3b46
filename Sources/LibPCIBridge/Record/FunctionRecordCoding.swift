// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension FunctionRecord: Codable {
    private enum Key: String, CodingKey {
        case address, parent, config, configSize, resource, vendor, device, classCode, revision
        case subsystemVendor, subsystemDevice, driver, enable, numaNode, iommuGroup, removable, untrusted
        case enabledVFs, totalVFs, physicalFunction, bootVGA, probed, use, told
    }

    private struct Evidence: Codable {
        var code: String
        var detail: String
        var protected: Bool
        var weight: Int
    }

    /// Reads a function; `parent` is an address, `root`, or absent when unknown.
    public init(from decoder: any Decoder) throws {
        let c = try decoder.container(keyedBy: Key.self)
        self.init(address: try c.address(.address))
        switch try c.decodeIfPresent(String.self, forKey: .parent) {
        case nil: placement = .unknown
        case "root": placement = .rootBus
        default: placement = .below(try c.address(.parent))
        }
        config = try Self.config(c)
        resource = try c.decodeIfPresent([String].self, forKey: .resource)?.map {
            guard let line = resourceLine($0) else {
                throw c.wrong(.resource, "expected three hexadecimal numbers, found \"\($0)\"")
            }
            return line
        }
        if let resource, resource.count > 24 {
            throw c.wrong(.resource, "expected at most 24 lines, found \(resource.count)")
        }
        vendor = try c.hexIfPresent(.vendor)
        device = try c.hexIfPresent(.device)
        classCode = try c.hexIfPresent(.classCode)
        revision = try c.hexIfPresent(.revision)
        subsystemVendor = try c.hexIfPresent(.subsystemVendor)
        subsystemDevice = try c.hexIfPresent(.subsystemDevice)
        driver = try c.decodeIfPresent(String.self, forKey: .driver)
        enableCount = try c.decodeIfPresent(Int.self, forKey: .enable)
        numaNode = try c.decodeIfPresent(Int.self, forKey: .numaNode)
        iommuGroup = try c.decodeIfPresent(Int.self, forKey: .iommuGroup)
        removable = try c.decodeIfPresent(String.self, forKey: .removable)
        isUntrusted = try c.decodeIfPresent(Bool.self, forKey: .untrusted)
        enabledVFs = try c.decodeIfPresent(Int.self, forKey: .enabledVFs)
        totalVFs = try c.decodeIfPresent(Int.self, forKey: .totalVFs)
        if c.contains(.physicalFunction) { physicalFunction = try c.address(.physicalFunction) }
        isBootVGA = try c.decodeIfPresent(Bool.self, forKey: .bootVGA)
        probed = try c.decodeIfPresent([ProbedSize].self, forKey: .probed) ?? []
        if let told = try c.decodeIfPresent([String].self, forKey: .told) {
            guard let known = FunctionKnowledge(words: told) else {
                throw c.wrong(.told, "expected words such as \"resources partly\", found \(told)")
            }
            knowledge = known
        }
        use = try (c.decodeIfPresent([Evidence].self, forKey: .use) ?? []).map {
            UseEvidence(code: $0.code, detail: $0.detail, isProtected: $0.protected, weight: $0.weight)
        }
    }

    private static func config(_ c: KeyedDecodingContainer<Key>) throws -> ConfigSpace {
        guard let text = try c.decodeIfPresent(String.self, forKey: .config) else { return ConfigSpace() }
        guard var bytes = hexBytes(text) else {
            throw c.wrong(.config, "expected pairs of hexadecimal digits")
        }
        let size = try c.decodeIfPresent(Int.self, forKey: .configSize) ?? bytes.count
        guard (0...4096).contains(size), bytes.count <= size else {
            throw c.wrong(.configSize, "expected \(bytes.count) to 4096 bytes, found \(size)")
        }
        bytes.append(contentsOf: repeatElement(0, count: size - bytes.count))
        return ConfigSpace(bytes)
    }

    /// Writes a function; the zeros at the end of its configuration space are left out.
    public func encode(to encoder: any Encoder) throws {
        var c = encoder.container(keyedBy: Key.self)
        try c.encode(address.description, forKey: .address)
        switch placement {
        case .below(let bridge): try c.encode(bridge.description, forKey: .parent)
        case .rootBus: try c.encode("root", forKey: .parent)
        case .unknown: break
        }
        if config.count > 0 {
            let used = (config.bytes.lastIndex { $0 != 0 } ?? -1) + 1
            try c.encode(hexText(config.bytes[..<used]), forKey: .config)
            try c.encode(config.count, forKey: .configSize)
        }
        try c.encodeIfPresent(resource?.map(\.description), forKey: .resource)
        try c.encodeIfPresent(vendor.map { hex(UInt64($0), width: 4) }, forKey: .vendor)
        try c.encodeIfPresent(device.map { hex(UInt64($0), width: 4) }, forKey: .device)
        try c.encodeIfPresent(classCode.map { hex(UInt64($0), width: 6) }, forKey: .classCode)
        try c.encodeIfPresent(revision.map { hex(UInt64($0), width: 2) }, forKey: .revision)
        try c.encodeIfPresent(subsystemVendor.map { hex(UInt64($0), width: 4) }, forKey: .subsystemVendor)
        try c.encodeIfPresent(subsystemDevice.map { hex(UInt64($0), width: 4) }, forKey: .subsystemDevice)
        try c.encodeIfPresent(driver, forKey: .driver)
        try c.encodeIfPresent(enableCount, forKey: .enable)
        try c.encodeIfPresent(numaNode, forKey: .numaNode)
        try c.encodeIfPresent(iommuGroup, forKey: .iommuGroup)
        try c.encodeIfPresent(removable, forKey: .removable)
        try c.encodeIfPresent(isUntrusted, forKey: .untrusted)
        try c.encodeIfPresent(enabledVFs, forKey: .enabledVFs)
        try c.encodeIfPresent(totalVFs, forKey: .totalVFs)
        try c.encodeIfPresent(physicalFunction?.description, forKey: .physicalFunction)
        try c.encodeIfPresent(isBootVGA, forKey: .bootVGA)
        if !probed.isEmpty { try c.encode(probed, forKey: .probed) }
        if let knowledge, knowledge != .whole { try c.encode(knowledge.words, forKey: .told) }
        if !use.isEmpty {
            try c.encode(
                use.map { Evidence(code: $0.code, detail: $0.detail, protected: $0.isProtected, weight: $0.weight) },
                forKey: .use
            )
        }
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

extension ProbedSize: Codable {
    private enum Key: String, CodingKey { case index, size, flags }

    /// Reads a probed size.
    public init(from decoder: any Decoder) throws {
        let c = try decoder.container(keyedBy: Key.self)
        let number = try c.decode(Int.self, forKey: .index)
        guard let index = ResourceIndex(number) else { throw c.wrong(.index, "expected 0 to 16, found \(number)") }
        let size: UInt64 = try c.hex(.size)
        let flags: UInt64 = try c.hex(.flags)
        self.init(index: index, size: ByteCount(size), flags: ResourceFlags(rawValue: flags))
    }

    /// Writes a probed size.
    public func encode(to encoder: any Encoder) throws {
        var c = encoder.container(keyedBy: Key.self)
        try c.encode(Int(index.rawValue), forKey: .index)
        try c.encode(PCITopology.hex(size.rawValue), forKey: .size)
        try c.encode(PCITopology.hex(flags.rawValue), forKey: .flags)
    }
}
