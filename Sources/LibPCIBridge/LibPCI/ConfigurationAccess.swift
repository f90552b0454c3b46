// SPDX-License-Identifier: GPL-2.0-or-later

internal import CLibPCIGuard
public import PCITopology

/// Reading configuration space through libpci, with libpci's error exit contained.
///
/// Each call is one whole libpci operation: open, read, clean up. Nothing stays open and nothing leaks, whatever
/// libpci thinks of its input.
public enum ConfigurationAccess {
    /// What libpci read of one function.
    public struct Reading: Sendable {
        /// The address.
        public var address: FunctionAddress
        /// The bytes, empty when the function did not answer.
        public var config: ConfigSpace
        /// Whether libpci warned, for example because the file went away.
        public var isWarned: Bool
    }

    /// Reads the configuration space of the functions at `addresses` through libpci's linux-sysfs method.
    ///
    /// - Parameters:
    ///   - addresses: the functions; one that is not there gives an empty reading.
    ///   - sysfsPath: the directory that holds `devices/`; nil for libpci's own, /sys/bus/pci.
    ///   - limit: at most this many bytes each: 64, 256 or 4096.
    /// - Returns: one reading for each address, in order.
    /// - Throws: `ReadError` with code `unavailable` and libpci's message.
    public static func read(
        _ addresses: [FunctionAddress],
        sysfsPath: String? = nil,
        limit: Int = 4096
    ) throws(ReadError) -> [Reading] {
        let places = addresses.map {
            pci_guard_address(segment: $0.segment, bus: $0.bus.rawValue, devfn: $0.devfn)
        }
        var table = pci_guard_table()
        let status = places.withUnsafeBufferPointer { p in
            if let sysfsPath {
                return sysfsPath.withCString {
                    pci_guard_read_sysfs($0, p.baseAddress, p.count, UInt32(clamping: limit), &table)
                }
            }
            return pci_guard_read_sysfs(nil, p.baseAddress, p.count, UInt32(clamping: limit), &table)
        }
        guard status == 0 else {
            throw ReadError(.unavailable, path: sysfsPath ?? "/sys/bus/pci", "libpci: \(message(of: &table))")
        }
        defer { pci_guard_release(&table) }
        return readings(of: table)
    }

    /// Reads every function of a register dump as `lspci -x` writes it, through libpci's dump method.
    ///
    /// - Throws: `ReadError`: `unavailable` without such a file, `badInput` for a line that libpci does not accept.
    public static func readDump(_ path: String) throws(ReadError) -> [Reading] {
        guard case .file = FileKind(path) else { throw .system(2, path: path, doing: "open") }
        var table = pci_guard_table()
        guard path.withCString({ pci_guard_read_dump($0, &table) }) == 0 else {
            throw ReadError(.badInput, path: path, "\(path): libpci: \(message(of: &table))")
        }
        defer { pci_guard_release(&table) }
        return readings(of: table).sorted { $0.address < $1.address }
    }

    private static func readings(of table: pci_guard_table) -> [Reading] {
        let functions = UnsafeBufferPointer(start: table.functions, count: table.function_count)
        let bytes = UnsafeBufferPointer(start: table.bytes, count: table.byte_count)
        return functions.map { f in
            let start = Int(f.offset)
            return Reading(
                address: FunctionAddress(
                    segment: f.address.segment,
                    bus: BusNumber(f.address.bus),
                    devfn: f.address.devfn
                ),
                config: ConfigSpace(Array(bytes[start..<(start + Int(f.count))])),
                isWarned: f.warned != 0
            )
        }
    }

    private static func message(of table: inout pci_guard_table) -> String {
        withUnsafeBytes(of: &table.error) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}

/// An open access to the registers of functions, for single reads and writes. Closes with its life.
public struct RegisterAccess: ~Copyable {
    private let access: OpaquePointer

    /// Opens libpci's linux-sysfs method.
    ///
    /// - Parameter sysfsPath: the directory that holds `devices/`; nil for libpci's own, /sys/bus/pci.
    /// - Throws: `ReadError` with code `unavailable` and libpci's message.
    public init(sysfsPath: String? = nil) throws(ReadError) {
        var message = [CChar](repeating: 0, count: 512)
        let opened = sysfsPath.withOptionalCString { pci_guard_open($0, &message, message.count) }
        guard let opened else {
            throw ReadError(.unavailable, path: sysfsPath ?? "/sys/bus/pci", "libpci: \(text(message))")
        }
        access = opened
    }

    deinit { pci_guard_close(access) }

    /// Reads `width` bytes (1, 2 or 4) at `offset` of the function at `address`.
    /// - Throws: `ReadError` with code `unavailable` when the function does not answer or the offset is not readable.
    public borrowing func read(_ address: FunctionAddress, _ offset: Int, width: Int = 4) throws(ReadError) -> UInt32 {
        var value: UInt32 = 0
        var message = [CChar](repeating: 0, count: 512)
        let status = pci_guard_get(
            access,
            pci_guard_address(segment: address.segment, bus: address.bus.rawValue, devfn: address.devfn),
            UInt32(clamping: offset),
            UInt32(clamping: width),
            &value,
            &message,
            message.count
        )
        guard status == 0 else { throw ReadError(.unavailable, "libpci: \(address): \(text(message))") }
        return value
    }

    /// Writes the low `width` bytes (1, 2 or 4) of `value` at `offset` of the function at `address`.
    /// - Throws: `ReadError` with code `notPermitted` when the write is refused.
    public borrowing func write(
        _ address: FunctionAddress,
        _ offset: Int,
        _ value: UInt32,
        width: Int = 4
    ) throws(ReadError) {
        var message = [CChar](repeating: 0, count: 512)
        let status = pci_guard_put(
            access,
            pci_guard_address(segment: address.segment, bus: address.bus.rawValue, devfn: address.devfn),
            UInt32(clamping: offset),
            UInt32(clamping: width),
            value,
            &message,
            message.count
        )
        guard status == 0 else { throw ReadError(.notPermitted, "libpci: \(address): \(text(message))") }
    }
}

private func text(_ message: [CChar]) -> String {
    String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

extension String? {
    /// Calls `body` with the text as a C string, or with nil.
    fileprivate func withOptionalCString<Result>(_ body: (UnsafePointer<CChar>?) -> Result) -> Result {
        guard let self else { return body(nil) }
        return self.withCString { body($0) }
    }
}
