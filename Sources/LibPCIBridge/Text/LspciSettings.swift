// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension LspciReader {
    /// Reads the settings that `lspci -vv` spells out: `ACSCap:`, `ACSCtl:`, `ATSCtl:`, `PRICtl:`, `PASIDCtl:`, and the
    /// lines of `DevCtl:`.
    func readSettings(_ text: TextBytes, of function: inout TextFunction) {
        switch part {
        case .express: readDeviceControl(text, of: &function)
        case .otherCapability: readService(text, of: &function)
        case .head, .sriov, .resizable, .resizableVF: break
        }
    }

    private func readService(_ text: TextBytes, of function: inout TextFunction) {
        guard let capability = function.extendedCapabilities.last, text.count > 7 else { return }
        var rest = text
        switch capability.id {
        case 0x0d:
            if rest.take("ACSCap:") {
                function.settings[capability.offset + 4] = Self.controls(rest).rawValue
            } else if rest.take("ACSCtl:") {
                function.settings[capability.offset + 6] = Self.controls(rest).rawValue
            }
        case 0x0f where rest.take("ATSCtl:"):
            if let isOn = Self.sign(rest, after: "Enable") {
                function.settings[capability.offset + 6] = isOn ? 0x8000 : 0
            }
        case 0x13 where rest.take("PRICtl:"):
            if let isOn = Self.sign(rest, after: "Enable") { function.settings[capability.offset + 4] = isOn ? 1 : 0 }
        case 0x1b where rest.take("PASIDCtl:"):
            if let isOn = Self.sign(rest, after: "Enable") { function.settings[capability.offset + 6] = isOn ? 1 : 0 }
        default: break
        }
    }

    private static func controls(_ text: TextBytes) -> AccessControls {
        text.words().reduce(into: AccessControls()) { result, word in
            guard word.last == 0x2b, let one = AccessControls(name: word.dropLast().string) else { return }
            result.insert(one)
        }
    }

    /// `DevCtl:` begins the register; its flags and sizes stand on the lines that follow, until the next register.
    private func readDeviceControl(_ text: TextBytes, of function: inout TextFunction) {
        guard let place = function.express?.offset, place < 0x100 else { return }
        let at = place + 8
        if text.starts("DevCtl:") { function.settings[at] = function.settings[at] ?? 0 }
        guard function.settings[at] != nil, !text.starts("DevCap"), !text.starts("DevCtl2:") else { return }
        var value = function.settings[at] ?? 0
        func set(_ word: StaticString, _ bit: UInt16) {
            if let isOn = Self.sign(text, after: word) { value = isOn ? value | bit : value & ~bit }
        }
        if text.starts("DevCtl:") || text.starts("RlxdOrd") {
            set("RlxdOrd", 0x10)
            set("ExtTag", 0x100)
            set("NoSnoop", 0x800)
        }
        if text.starts("DevCtl:") || text.starts("MaxPayload ") {
            if let code = Self.sizeCode(text, after: "MaxPayload ") { value = value & ~0xe0 | code << 5 }
            if let code = Self.sizeCode(text, after: "MaxReadReq ") { value = value & ~0x7000 | code << 12 }
        }
        function.settings[at] = value
    }

    /// The code n of a size of 128 · 2^n bytes.
    private static func sizeCode(_ text: TextBytes, after word: StaticString) -> UInt16? {
        guard var rest = text.after(word), let size = rest.takeDecimal(), (128...4096).contains(size),
            size & (size - 1) == 0
        else { return nil }
        return UInt16(size.trailingZeroBitCount - 7)
    }
}
