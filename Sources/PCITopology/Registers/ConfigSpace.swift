// SPDX-License-Identifier: GPL-2.0-or-later

/// The configuration space of a function, as far as it could be read.
///
/// 64 bytes without privilege, 256 for a conventional function, 4096 for PCI Express; 0 when nothing could be read.
/// Reads beyond the end give nil rather than a guess.
public struct ConfigSpace: Hashable, Sendable {
    /// The bytes from offset 0, 0 to 4096 of them.
    public var bytes: [UInt8]

    /// Creates a configuration space; bytes past 4096 are dropped.
    public init(_ bytes: [UInt8] = []) {
        self.bytes = bytes.count > 4096 ? Array(bytes[..<4096]) : bytes
    }

    /// The number of bytes that could be read.
    public var count: Int { bytes.count }

    /// Whether the standard header could be read.
    public var hasHeader: Bool { bytes.count >= 64 }

    /// The byte at `offset`, or nil beyond what was read.
    @inlinable
    public func byte(_ offset: Int) -> UInt8? {
        offset >= 0 && offset < bytes.count ? bytes[offset] : nil
    }

    /// The little-endian 16-bit word at `offset`, or nil.
    @inlinable
    public func word(_ offset: Int) -> UInt16? {
        guard let low = byte(offset), let high = byte(offset + 1) else { return nil }
        return UInt16(low) | UInt16(high) << 8
    }

    /// The little-endian 32-bit word at `offset`, or nil.
    @inlinable
    public func long(_ offset: Int) -> UInt32? {
        guard let low = word(offset), let high = word(offset + 2) else { return nil }
        return UInt32(low) | UInt32(high) << 16
    }

    /// Writes the low `width` bytes (1, 2 or 4) of `value` at `offset`; false, and nothing written, beyond the end.
    @discardableResult
    public mutating func write(_ value: UInt32, at offset: Int, width: Int) -> Bool {
        guard offset >= 0, width == 1 || width == 2 || width == 4, offset + width <= bytes.count else { return false }
        for i in 0..<width { bytes[offset + i] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(i))) }
        return true
    }

    /// The COMMAND register (PCI 3.0 §6.2.2), or nil.
    public var command: Command? { word(0x04).map(Command.init(rawValue:)) }

    /// The header layout, bits 6:0 of the header type register; nil when not read.
    public var headerLayout: UInt8? { byte(0x0e).map { $0 & 0x7f } }

    /// Bit 7 of the header type register: the device has several functions.
    public var isMultiFunction: Bool { (byte(0x0e) ?? 0) & 0x80 != 0 }

    /// The registers in the rows of `lspci -xxxx`: offset and sixteen bytes, the last row as far as it was read.
    ///
    /// - Parameter limit: the number of bytes at which the rows end.
    /// - Returns: a line for each row, all of them ended; empty when nothing was read.
    public func rows(upTo limit: Int = .max) -> String {
        var text = ""
        for row in stride(from: 0, to: min(bytes.count, limit), by: 16) {
            text += bareHex(UInt64(row), width: 2) + ":"
            for byte in bytes[row..<min(row + 16, bytes.count)] { text += " " + bareHex(UInt64(byte), width: 2) }
            text += "\n"
        }
        return text
    }

    /// Whether every byte of the header reads all ones: the function does not answer.
    public var isSilent: Bool { bytes.count >= 4 && bytes.prefix(64).allSatisfy { $0 == 0xff } }

    /// Whether vendor and device read all ones: the function does not answer, or is a VF (SR-IOV 1.1 §3.4.1.1).
    public var isAllOnes: Bool {
        bytes.count >= 4 && bytes[0] == 0xff && bytes[1] == 0xff && bytes[2] == 0xff && bytes[3] == 0xff
    }
}

/// The COMMAND register.
public struct Command: OptionSet, Hashable, Sendable {
    /// The register value.
    public let rawValue: UInt16
    /// Creates a register value.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Responds to I/O accesses. The corresponding C constant is `PCI_COMMAND_IO`.
    public static let ioSpace = Command(rawValue: 0x1)
    /// Responds to memory accesses. The corresponding C constant is `PCI_COMMAND_MEMORY`.
    public static let memorySpace = Command(rawValue: 0x2)
    /// May be a bus master. The corresponding C constant is `PCI_COMMAND_MASTER`.
    public static let busMaster = Command(rawValue: 0x4)
}
