// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// How a record is written down. Addresses and registers are hexadecimal text: a double loses 64-bit integers.

extension MachineRecord: Codable {
    private enum Key: String, CodingKey {
        case origin, kernel, functions, buses, slots, deviceOrder, iomem, ioports, firmwareMap, kernelLog
        case resourceAlignment, privileges, gaps, nativeHotPlugPorts
    }

    private struct Kernel: Codable {
        var release: String?
        var commandLine: String?
        var architecture: String?
        var hardwareDescription: String?
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
        let description = try kernel?.hardwareDescription.map { text in
            guard let known = HardwareDescription(rawValue: text) else {
                throw c.wrong(.kernel, "expected acpi, device-tree or opal, found \"\(text)\"")
            }
            return known
        }
        self.init(
            origin: origin,
            kernel: KernelIdentity(
                release: kernel?.release,
                commandLine: kernel?.commandLine,
                architecture: kernel?.architecture,
                hardwareDescription: description
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
        func addresses(_ key: Key) throws -> [FunctionAddress]? {
            try c.decodeIfPresent([String].self, forKey: key)?.map {
                guard let address = FunctionAddress(parsing: $0) else {
                    throw c.wrong(key, "expected an address like 0000:00:1f.2, found \"\($0)\"")
                }
                return address
            }
        }
        deviceOrder = try addresses(.deviceOrder) ?? []
        nativeHotPlugPorts = try addresses(.nativeHotPlugPorts)
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
            Kernel(
                release: kernel.release,
                commandLine: kernel.commandLine,
                architecture: kernel.architecture,
                hardwareDescription: kernel.hardwareDescription?.rawValue
            ),
            forKey: .kernel
        )
        try c.encode(functions, forKey: .functions)
        try c.encode(buses, forKey: .buses)
        try c.encode(slots, forKey: .slots)
        try c.encode(deviceOrder.map(\.description), forKey: .deviceOrder)
        try c.encodeIfPresent(nativeHotPlugPorts?.map(\.description), forKey: .nativeHotPlugPorts)
        try c.encodeIfPresent(iomem.map(Self.lines), forKey: .iomem)
        try c.encodeIfPresent(ioports.map(Self.lines), forKey: .ioports)
        try c.encodeIfPresent(firmwareMap, forKey: .firmwareMap)
        try c.encodeIfPresent(kernelLog, forKey: .kernelLog)
        try c.encodeIfPresent(resourceAlignment, forKey: .resourceAlignment)
        try c.encodeIfPresent(privileges, forKey: .privileges)
        try c.encode(gaps.map { Gap(code: $0.code, detail: $0.detail) }, forKey: .gaps)
    }
}
