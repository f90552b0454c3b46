// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// How a record is written down. Addresses and registers are hexadecimal text: a double loses 64-bit integers.

extension MachineRecord: Codable {
    private enum Key: String, CodingKey {
        case origin, kernel, functions, buses, slots, deviceOrder, iomem, ioports, firmwareMap, kernelLog
        case resourceAlignment, privileges, gaps
    }

    private struct Kernel: Codable {
        var release: String?
        var commandLine: String?
        var architecture: String?
    }

    private struct Gap: Codable {
        var code: String
        var detail: String
    }

    private static func lines(_ text: String) -> [String] {
        text.split(separator: "\n", omittingEmptySubsequences: true).map(String.init)
    }

    private static func text(_ lines: [String]) -> String { lines.map { $0 + "\n" }.joined() }

    /// The largest number of functions that a record may hold.
    public static let maximumFunctions = 16_384

    /// Reads a record; see the JSON schema of snapshots.
    public init(from decoder: any Decoder) throws {
        let c = try decoder.container(keyedBy: Key.self)
        let originText = try c.decode(String.self, forKey: .origin)
        guard let origin = Origin(rawValue: originText) else {
            throw c.wrong(.origin, "expected live, directory or text, found \"\(originText)\"")
        }
        let kernel = try c.decodeIfPresent(Kernel.self, forKey: .kernel)
        self.init(
            origin: origin,
            kernel: KernelIdentity(
                release: kernel?.release,
                commandLine: kernel?.commandLine,
                architecture: kernel?.architecture
            )
        )
        functions = try c.decode([FunctionRecord].self, forKey: .functions)
        guard functions.count <= Self.maximumFunctions else {
            throw c.wrong(.functions, "expected at most \(Self.maximumFunctions) functions, found \(functions.count)")
        }
        functions.sort { $0.address < $1.address }
        for i in 1..<max(functions.count, 1) where functions[i].address == functions[i - 1].address {
            throw c.wrong(.functions, "function \(functions[i].address) appears twice")
        }
        buses = try c.decodeIfPresent([BusRecord].self, forKey: .buses) ?? []
        slots = try c.decodeIfPresent([SlotRecord].self, forKey: .slots) ?? []
        deviceOrder = try (c.decodeIfPresent([String].self, forKey: .deviceOrder) ?? []).map {
            guard let address = FunctionAddress(parsing: $0) else {
                throw c.wrong(.deviceOrder, "expected an address like 0000:00:1f.2, found \"\($0)\"")
            }
            return address
        }
        iomem = try c.decodeIfPresent([String].self, forKey: .iomem).map(Self.text)
        ioports = try c.decodeIfPresent([String].self, forKey: .ioports).map(Self.text)
        firmwareMap = try c.decodeIfPresent([FirmwareMapEntry].self, forKey: .firmwareMap)
        kernelLog = try c.decodeIfPresent([String].self, forKey: .kernelLog)
        resourceAlignment = try c.decodeIfPresent(String.self, forKey: .resourceAlignment)
        privileges = try c.decodeIfPresent(PrivilegeRecord.self, forKey: .privileges)
        gaps = try (c.decodeIfPresent([Gap].self, forKey: .gaps) ?? []).map {
            ReadingGap(code: $0.code, detail: $0.detail)
        }
    }

    /// Writes a record; see the JSON schema of snapshots.
    public func encode(to encoder: any Encoder) throws {
        var c = encoder.container(keyedBy: Key.self)
        try c.encode(origin.rawValue, forKey: .origin)
        try c.encode(
            Kernel(release: kernel.release, commandLine: kernel.commandLine, architecture: kernel.architecture),
            forKey: .kernel
        )
        try c.encode(functions, forKey: .functions)
        try c.encode(buses, forKey: .buses)
        try c.encode(slots, forKey: .slots)
        try c.encode(deviceOrder.map(\.description), forKey: .deviceOrder)
        try c.encodeIfPresent(iomem.map(Self.lines), forKey: .iomem)
        try c.encodeIfPresent(ioports.map(Self.lines), forKey: .ioports)
        try c.encodeIfPresent(firmwareMap, forKey: .firmwareMap)
        try c.encodeIfPresent(kernelLog, forKey: .kernelLog)
        try c.encodeIfPresent(resourceAlignment, forKey: .resourceAlignment)
        try c.encodeIfPresent(privileges, forKey: .privileges)
        try c.encode(gaps.map { Gap(code: $0.code, detail: $0.detail) }, forKey: .gaps)
    }
}

extension FunctionRecord: Codable {
    private enum Key: String, CodingKey {
        case address, parent, config, configSize, resource, vendor, device, classCode, revision
        case subsystemVendor, subsystemDevice, driver, enable, numaNode, iommuGroup, removable, untrusted
        case enabledVFs, totalVFs, physicalFunction, bootVGA, probed, use
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
        if !use.isEmpty {
            try c.encode(
                use.map { Evidence(code: $0.code, detail: $0.detail, protected: $0.isProtected, weight: $0.weight) },
                forKey: .use
            )
        }
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

extension BusRecord: Codable {
    private enum Key: String, CodingKey { case bus, bridge, root }

    /// Reads a bus.
    public init(from decoder: any Decoder) throws {
        let c = try decoder.container(keyedBy: Key.self)
        let text = try c.decode(String.self, forKey: .bus)
        guard let name = Self.parse(Array(text.utf8)[...]) else {
            throw c.wrong(.bus, "expected a bus like 0000:3a, found \"\(text)\"")
        }
        let bridge = c.contains(.bridge) ? try c.address(.bridge) : nil
        let isRoot = try c.decodeIfPresent(Bool.self, forKey: .root) ?? false
        self.init(segment: name.segment, bus: name.bus, bridge: bridge, isRoot: isRoot)
    }

    /// Writes a bus.
    public func encode(to encoder: any Encoder) throws {
        var c = encoder.container(keyedBy: Key.self)
        try c.encode("\(bareHex(UInt64(segment), width: 4)):\(bus)", forKey: .bus)
        try c.encodeIfPresent(bridge?.description, forKey: .bridge)
        if isRoot { try c.encode(true, forKey: .root) }
    }

    /// Reads `DDDD:BB`.
    static func parse(_ text: TextBytes) -> (segment: UInt32, bus: BusNumber)? {
        var rest = text
        guard let segment = rest.takeHex(), segment <= UInt64(UInt32.max), rest.take(":"), let bus = rest.takeHex(),
            bus <= 0xff, rest.isEmpty
        else { return nil }
        return (UInt32(segment), BusNumber(UInt8(bus)))
    }
}

extension FirmwareMapEntry: Codable {
    private enum Key: String, CodingKey { case start, end, type }

    /// Reads an entry.
    public init(from decoder: any Decoder) throws {
        let c = try decoder.container(keyedBy: Key.self)
        let start: UInt64 = try c.hex(.start)
        let end: UInt64 = try c.hex(.end)
        guard let range = AddressRange(first: start, last: end) else {
            throw c.wrong(.end, "expected an end not below the start")
        }
        self.init(range: range, type: try c.decode(String.self, forKey: .type))
    }

    /// Writes an entry.
    public func encode(to encoder: any Encoder) throws {
        var c = encoder.container(keyedBy: Key.self)
        try c.encode(PCITopology.hex(range.first), forKey: .start)
        try c.encode(PCITopology.hex(range.last), forKey: .end)
        try c.encode(type, forKey: .type)
    }
}

extension KeyedDecodingContainer {
    /// The error of a value that has the right JSON type and does not say what it must say.
    func wrong(_ key: Key, _ sentence: String) -> DecodingError {
        DecodingError.dataCorruptedError(forKey: key, in: self, debugDescription: sentence)
    }

    func address(_ key: Key) throws -> FunctionAddress {
        let text = try decode(String.self, forKey: key)
        guard let address = FunctionAddress(parsing: text) else {
            throw wrong(key, "expected an address like 0000:00:1f.2, found \"\(text)\"")
        }
        return address
    }

    func hex<Number: FixedWidthInteger>(_ key: Key) throws -> Number {
        let text = try decode(String.self, forKey: key)
        var rest = Array(text.utf8)[...]
        guard let value = rest.takePrefixedHex(), rest.isEmpty, let number = Number(exactly: value) else {
            throw wrong(key, "expected a hexadecimal number of at most \(Number.bitWidth) bits, found \"\(text)\"")
        }
        return number
    }

    func hexIfPresent<Number: FixedWidthInteger>(_ key: Key) throws -> Number? {
        contains(key) ? try hex(key) : nil
    }
}

/// The line that `text` states, as `ResourceLine(parsing:)` and quicker.
private func resourceLine(_ text: String) -> ResourceLine? {
    var copy = text
    return copy.withUTF8 { bytes in
        guard let lines = resourceLines(bytes), lines.count == 1 else { return nil }
        return lines[0]
    }
}

/// The bytes that pairs of hexadecimal digits state, or nil for anything else.
func hexBytes(_ text: String) -> [UInt8]? {
    var copy = text
    return copy.withUTF8 { digits in
        guard digits.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count / 2)
        var i = 0
        while i < digits.count {
            guard let high = hexDigit(digits[i]), let low = hexDigit(digits[i + 1]) else { return nil }
            bytes.append(UInt8(high) << 4 | UInt8(low))
            i += 2
        }
        return bytes
    }
}

/// Two hexadecimal digits for each byte.
func hexText(_ bytes: ArraySlice<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(unsafeUninitializedCapacity: bytes.count * 2) { buffer in
        var i = 0
        for byte in bytes {
            buffer[i] = digits[Int(byte >> 4)]
            buffer[i + 1] = digits[Int(byte & 15)]
            i += 2
        }
        return i
    }
}
