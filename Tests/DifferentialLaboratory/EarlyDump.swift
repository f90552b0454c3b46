// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The configuration registers as the kernel found them: what `pci=earlydump` writes to its log before it touches a
/// function (`early_dump_pci_device`).
public struct EarlyDump: Sendable, Hashable {
    /// The first 256 bytes of each function's configuration space.
    public private(set) var registers: [FunctionAddress: [UInt8]] = [:]

    /// Reads the dumps of a kernel log; only the first of each function counts.
    public init(log: [String]) {
        var current: FunctionAddress?
        var bytes: [UInt8] = []
        func words(_ line: String) -> [Substring] {
            guard let close = line.firstIndex(of: "]") else { return [] }
            return line[line.index(after: close)...].split(separator: " ")
        }
        for line in log {
            let parts = words(line)
            if parts.count == 4, parts[0] == "pci", parts[2] == "config", parts[3] == "space:" {
                current = FunctionAddress(parsing: parts[1].dropLast())
                bytes = []
                continue
            }
            guard let address = current, parts.count == 17, parts[0].count == 9,
                UInt64(parts[0].dropLast(), radix: 16) == UInt64(bytes.count)
            else {
                current = nil
                continue
            }
            bytes += parts[1...].compactMap { UInt8($0, radix: 16) }
            if bytes.count == 256 {
                if registers[address] == nil { registers[address] = bytes }
                current = nil
            }
        }
    }

    /// The registers of a function at power-on: the dump, then what only the full space holds.
    ///
    /// No firmware of the laboratory writes VF BARs, so they hold what a reset leaves, zero.
    func config(of function: Function) -> ConfigSpace? {
        guard let dump = registers[function.address] else { return nil }
        var config = function.config
        for (i, byte) in dump.enumerated() where i < config.bytes.count { config.bytes[i] = byte }
        if let sriov = function.capabilities.sriov {
            for bar in 0..<6 { config.write(0, at: Int(sriov.offset) + 0x24 + 4 * bar, width: 4) }
        }
        return config
    }

    /// One function a line: its address and 512 hexadecimal digits.
    var text: String {
        registers.sorted { $0.key < $1.key }.map { address, bytes in
            "\(address) " + bytes.map { bareHex(UInt64($0), width: 2) }.joined() + "\n"
        }.joined()
    }

    /// Reads that form.
    init(text: String) throws {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 2, let address = FunctionAddress(parsing: words[0]), words[1].utf8.count == 512 else {
                throw DifferentialError("expected an address and 256 bytes, found '\(line)'")
            }
            let digits = Array(words[1])
            registers[address] = stride(from: 0, to: 512, by: 2).compactMap { i in
                UInt8(String(digits[i...(i + 1)]), radix: 16)
            }
        }
    }
}
