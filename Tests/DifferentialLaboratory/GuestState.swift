// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import VMLaboratory

/// What a guest's kernel shows of its tree, as far as a twin predicts it.
public struct GuestState: Equatable, Sendable {
    /// One function: its resource lines, the registers that matter and the enable count.
    struct Function: Equatable {
        var lines: [ResourceLine] = []
        var registers: [String: UInt32] = [:]
        var enableCount = 0
    }

    var functions: [FunctionAddress: Function] = [:]
    /// What `pci-state` printed; empty for a prediction.
    private(set) var text: [String] = []

    /// Asks the guest's `pci-state`.
    init(_ guest: VirtualMachine) throws {
        let text = String(decoding: try guest.packedOutput("pci-state"), as: UTF8.self)
        try self.init(text: text.split(separator: "\n").map(String.init))
    }

    /// Reads what `pci-state` printed.
    public init(text: [String]) throws {
        self.text = text
        var address: FunctionAddress?
        var lines: [ResourceLine] = []
        for line in text {
            let words = line.split(separator: " ")
            switch (words.first, words.count) {
            case ("=", 4):
                guard let found = FunctionAddress(parsing: words[1]) else { throw Self.unexpected(line) }
                address = found
                lines = []
                functions[found] = Function(enableCount: Int(words[2]) ?? 0)
            case ("r", 5):
                guard let index = Int(words[1]), index >= lines.count,
                    let resource = ResourceLine(parsing: words[2...].map { "0x\($0)" }.joined(separator: " "))
                else { throw Self.unexpected(line) }
                lines += Array(repeating: .zero, count: index - lines.count) + [resource]
            case ("n", 2):
                guard let address, let count = Int(words[1]), count >= lines.count else { throw Self.unexpected(line) }
                functions[address]?.lines = lines + Array(repeating: .zero, count: count - lines.count)
            case ("c", 2):
                guard let address, let bytes = Self.bytes(words[1]) else { throw Self.unexpected(line) }
                functions[address]?.registers = Self.registers(ConfigSpace(bytes))
            default:
                throw Self.unexpected(line)
            }
        }
    }

    private static func unexpected(_ line: String) -> DifferentialError {
        DifferentialError("expected a line of pci-state, found '\(line)'")
    }

    private static func bytes(_ digits: Substring) -> [UInt8]? {
        let values = digits.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard values.count == digits.utf8.count, values.count % 2 == 0 else { return nil }
        return stride(from: 0, to: values.count, by: 2).map { UInt8(values[$0] << 4 | values[$0 + 1]) }
    }

    /// What a twin says of the same machine.
    public init(_ twin: LinuxTwin) throws {
        let topology = try twin.topology()
        for function in topology.functions {
            functions[function.address] = Function(
                lines: twin.resourceLines(of: function.address) ?? [],
                registers: Self.registers(function.config),
                enableCount: function.use.enableCount ?? 0
            )
        }
    }

    /// The registers that operations change, by name.
    static func registers(_ config: ConfigSpace) -> [String: UInt32] {
        var result: [String: UInt32] = [:]
        result["command"] = UInt32(config.command?.rawValue ?? 0) & 7
        let isBridge = config.headerLayout == 1
        for bar in 0..<(isBridge ? 2 : 6) { result["bar\(bar)"] = config.long(0x10 + 4 * bar) }
        guard isBridge else { return result }
        result["buses"] = config.long(0x18).map { $0 & 0xffffff }
        result["io"] = UInt32(config.word(0x1c) ?? 0)
        result["ioUpper"] = config.long(0x30)
        result["memory"] = config.long(0x20)
        result["pref"] = config.long(0x24)
        result["prefBaseUpper"] = config.long(0x28)
        result["prefLimitUpper"] = config.long(0x2c)
        result["control"] = UInt32(config.word(0x3e) ?? 0)
        return result
    }

    /// The number of values that a comparison looks at.
    var size: Int { functions.values.reduce(0) { $0 + $1.lines.count } }

    /// How the guest differs from a prediction, one line for each value.
    public func differences(from predicted: GuestState) -> [String] {
        var result: [String] = []
        for address in Set(functions.keys).union(predicted.functions.keys).sorted() {
            guard let found = functions[address] else {
                result.append("\(address): predicted, not there")
                continue
            }
            guard let expected = predicted.functions[address] else {
                result.append("\(address): there, not predicted")
                continue
            }
            if found.lines.count != expected.lines.count {
                result.append("\(address): \(found.lines.count) resource lines, predicted \(expected.lines.count)")
            }
            for (i, (x, y)) in zip(found.lines, expected.lines).enumerated() where x != y {
                result.append("\(address)[\(i)]: \(x), predicted \(y)")
            }
            for name in found.registers.keys.sorted() where found.registers[name] != expected.registers[name] {
                let x = UInt64(found.registers[name] ?? 0)
                let y = UInt64(expected.registers[name] ?? 0)
                result.append("\(address) \(name): \(hex(x)), predicted \(hex(y))")
            }
            if found.enableCount != expected.enableCount {
                result.append("\(address) enable: \(found.enableCount), predicted \(expected.enableCount)")
            }
        }
        return result
    }
}
