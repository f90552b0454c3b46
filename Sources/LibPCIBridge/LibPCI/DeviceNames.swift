// SPDX-License-Identifier: GPL-2.0-or-later

import CLibPCIGuard

/// Names of vendors and devices, from libpci's list (`pci.ids`).
///
/// The list is read when the first name is asked for. Not `Sendable`: libpci keeps what it has looked up.
public final class DeviceNames {
    /// What stands for a device, as `lspci` has it.
    public enum Style: Sendable {
        /// Names, and numbers where there is none.
        case names
        /// Numbers (`-n`).
        case numbers
        /// Both (`-nn`).
        case both
    }

    /// What stands for a device.
    public let style: Style
    private let path: String?
    private var isRead = false
    private var list: OpaquePointer?
    /// Why there are no names, or nil.
    public private(set) var fault: String?

    /// Names from the list at `path`, or from libpci's own.
    public init(_ style: Style, path: String? = nil) {
        self.style = style
        self.path = path
    }

    deinit { pci_guard_names_close(list) }

    /// What stands for a device: `Intel Corporation 82574L Gigabit Network Connection`, `8086:10d3`, or the name and then
    /// the numbers in brackets. Nil where names are wanted and the vendor has none; then who prints has something else.
    public func text(vendor: UInt16, device: UInt16) -> String? {
        let numbers = "\(hex4(vendor)):\(hex4(device))"
        switch style {
        case .numbers: return numbers
        case .names: return name(vendor, device)
        case .both: return name(vendor, device).map { "\($0) [\(numbers)]" } ?? numbers
        }
    }

    /// Reads the list; false when there is none, and `fault` says why.
    public func read() -> Bool {
        if !isRead {
            isRead = true
            var error = [CChar](repeating: 0, count: 512)
            list = pci_guard_names_open(path, &error, error.count)
            if list == nil {
                fault = String(decoding: error.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            }
        }
        return list != nil
    }

    private func name(_ vendor: UInt16, _ device: UInt16) -> String? {
        guard read(), let list else { return nil }
        var text = [CChar](repeating: 0, count: 512)
        guard pci_guard_name(list, vendor, device, &text, text.count) == 1 else { return nil }
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    private func hex4(_ number: UInt16) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 4 - digits.count) + digits
    }
}
