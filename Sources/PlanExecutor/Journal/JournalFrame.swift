// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// The framing of a journal file: a first line with the version, then records of a header line, a payload, a newline.
///
/// The header gives the record's number, the length of the payload and a checksum over the number, the checksum of the
/// record before and the payload, eight hexadecimal digits each. A record that was torn by a crash, or any byte that
/// changed, ends the readable part; what stands before it stays valid.
enum JournalFrame {
    static let version = Array("pci-rebalance journal 1\n".utf8)
    static let headerLength = 27

    /// The state that the next record continues from.
    struct Chain: Hashable {
        var number: UInt32 = 0
        var checksum: UInt32 = 0
        /// The offset of the next record in the file.
        var offset = version.count
    }

    /// The bytes of the next record; `chain` moves past it.
    static func encode(_ payload: [UInt8], _ chain: inout Chain) -> [UInt8] {
        let checksum = checksum(of: payload, chain)
        let header =
            "\(bareHex(UInt64(chain.number), width: 8)) \(bareHex(UInt64(payload.count), width: 8)) "
            + "\(bareHex(UInt64(checksum), width: 8))\n"
        let bytes = Array(header.utf8) + payload + [0x0a]
        // A journal would need 2^32 records for the number to come round.
        chain = Chain(number: chain.number &+ 1, checksum: checksum, offset: chain.offset + bytes.count)
        return bytes
    }

    /// The payloads of the whole records in `file`, and where the next one goes.
    ///
    /// - Returns: nil when the first line is not that of a journal of this version.
    static func decode(_ file: [UInt8]) -> (payloads: [[UInt8]], chain: Chain, isTorn: Bool)? {
        guard file.starts(with: version) else { return nil }
        var chain = Chain()
        var payloads: [[UInt8]] = []
        while let (payload, next) = record(file, chain) {
            payloads.append(payload)
            chain = next
        }
        let isTorn = chain.offset < file.count && file[chain.offset] != 0
        return (payloads, chain, isTorn)
    }

    private static func record(_ file: [UInt8], _ chain: Chain) -> ([UInt8], Chain)? {
        let start = chain.offset
        guard file.count - start > headerLength,
            let number = field(file, start, UInt8(ascii: " ")), number == chain.number,
            let length = field(file, start + 9, UInt8(ascii: " ")),
            let expected = field(file, start + 18, 0x0a)
        else { return nil }
        let body = start + headerLength
        guard Int(length) < file.count - body, file[body + Int(length)] == 0x0a else { return nil }
        let payload = Array(file[body..<body + Int(length)])
        guard checksum(of: payload, chain) == expected else { return nil }
        let next = Chain(number: number &+ 1, checksum: expected, offset: body + Int(length) + 1)
        return (payload, next)
    }

    private static func field(_ file: [UInt8], _ start: Int, _ end: UInt8) -> UInt32? {
        guard file[start + 8] == end else { return nil }
        var value: UInt32 = 0
        for byte in file[start..<start + 8] {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt32(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt32(byte - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return value
    }

    private static func checksum(of payload: [UInt8], _ chain: Chain) -> UInt32 {
        var crc = CRC32()
        crc.mix(chain.number)
        crc.mix(chain.checksum)
        crc.mix(payload)
        return crc.value
    }
}

/// CRC-32 as in IEEE 802.3, reflected, polynomial 0x04c11db7.
struct CRC32 {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xedb8_8320 ^ value >> 1 : value >> 1 }
    }
    private var state: UInt32 = .max

    /// The checksum of what was mixed in so far.
    var value: UInt32 { ~state }

    mutating func mix(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { state = Self.table[Int(UInt8(truncatingIfNeeded: state) ^ byte)] ^ state >> 8 }
    }

    mutating func mix(_ number: UInt32) {
        mix((0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * UInt32($0))) })
    }
}
