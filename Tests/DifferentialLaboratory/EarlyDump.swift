// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The configuration registers as the kernel found them: what `pci=earlydump` writes to its log before it touches a
/// function (`early_dump_pci_device`), as the guest's `pci-record` collects it.
public struct EarlyDump: Sendable, Hashable {
    /// The first 256 bytes of each function's configuration space.
    public private(set) var registers: [FunctionAddress: [UInt8]] = [:]

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
