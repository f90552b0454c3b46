// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// One thing that is done to a guest and to its twin alike, by the names of the machine's description.
///
/// The text form is one line: a verb and its words.
public enum Action: Sendable, Hashable {
    case remove(String)
    case rescan
    /// The bus that a function sits on.
    case rescanDevice(String)
    /// The bus behind a bridge.
    case rescanBus(String)
    case plug(LabCard, port: String)
    /// The card behind a port is taken out by QEMU's device_del: an attention button, or a request of the firmware.
    case eject(port: String)
    /// 0 to the slot's file `power`; QEMU then takes out whatever is in the slot.
    case powerOff(port: String)
    case writeBuses(String, primary: UInt8, secondary: UInt8, subordinate: UInt8)
    case writeWindow(String, Window, first: UInt64, last: UInt64)
    case closeWindow(String, Window)
    case writeCommand(String, UInt16)
    /// The low 32 bits of a BAR.
    case writeBAR(String, Int, UInt32)
    /// A string to resource_alignment; `{name}` stands for the function's address, `{/name}` for its path.
    case align(String)
    case bind(String)
    case unbind(String)
    case autoprobe(Bool)
    case enable(String, Bool)
    case virtualFunctions(String, Int)

    /// The windows of a bridge.
    public enum Window: String, Sendable, Hashable {
        case io
        case memory = "mem"
        case prefetchable = "pref"
    }
}

extension Action: LosslessStringConvertible {
    /// A verb and its words.
    public var description: String {
        switch self {
        case .remove(let name): "remove \(name)"
        case .rescan: "rescan"
        case .rescanDevice(let name): "rescan-device \(name)"
        case .rescanBus(let name): "rescan-bus \(name)"
        case .plug(let card, let port): "plug \(card) \(port)"
        case .eject(let port): "eject \(port)"
        case .powerOff(let port): "power-off \(port)"
        case .writeBuses(let name, let primary, let secondary, let subordinate):
            "buses \(name) \(bareHex(UInt64(primary))) \(bareHex(UInt64(secondary))) \(bareHex(UInt64(subordinate)))"
        case .writeWindow(let name, let window, let first, let last):
            "window \(name) \(window.rawValue) \(bareHex(first)) \(bareHex(last))"
        case .closeWindow(let name, let window): "window \(name) \(window.rawValue) closed"
        case .writeCommand(let name, let value): "command \(name) \(bareHex(UInt64(value)))"
        case .writeBAR(let name, let bar, let value): "bar \(name) \(bar) \(bareHex(UInt64(value)))"
        case .align(let text): text.isEmpty ? "align -" : "align \(text)"
        case .bind(let name): "bind \(name)"
        case .unbind(let name): "unbind \(name)"
        case .autoprobe(let on): "autoprobe \(on ? 1 : 0)"
        case .enable(let name, let on): "enable \(name) \(on ? 1 : 0)"
        case .virtualFunctions(let name, let count): "vfs \(name) \(count)"
        }
    }

    /// Reads that form; nil for anything else.
    public init?(_ text: String) {
        let words = text.split(separator: " ").map(String.init)
        func hex(_ index: Int) -> UInt64? { UInt64(words[index], radix: 16) }
        func byte(_ index: Int) -> UInt8? { UInt8(words[index], radix: 16) }
        switch (words.first, words.count) {
        case ("remove", 2): self = .remove(words[1])
        case ("rescan", 1): self = .rescan
        case ("rescan-device", 2): self = .rescanDevice(words[1])
        case ("rescan-bus", 2): self = .rescanBus(words[1])
        case ("plug", 3):
            guard let card = LabCard(words[1]) else { return nil }
            self = .plug(card, port: words[2])
        case ("eject", 2): self = .eject(port: words[1])
        case ("power-off", 2): self = .powerOff(port: words[1])
        case ("buses", 5):
            guard let primary = byte(2), let secondary = byte(3), let subordinate = byte(4) else { return nil }
            self = .writeBuses(words[1], primary: primary, secondary: secondary, subordinate: subordinate)
        case ("window", 4):
            guard let window = Window(rawValue: words[2]), words[3] == "closed" else { return nil }
            self = .closeWindow(words[1], window)
        case ("window", 5):
            guard let window = Window(rawValue: words[2]), let first = hex(3), let last = hex(4) else { return nil }
            self = .writeWindow(words[1], window, first: first, last: last)
        case ("command", 3):
            guard let value = UInt16(words[2], radix: 16) else { return nil }
            self = .writeCommand(words[1], value)
        case ("bar", 4):
            guard let bar = Int(words[2]), let value = UInt32(words[3], radix: 16) else { return nil }
            self = .writeBAR(words[1], bar, value)
        case ("align", 2): self = .align(words[1] == "-" ? "" : words[1])
        case ("bind", 2): self = .bind(words[1])
        case ("unbind", 2): self = .unbind(words[1])
        case ("autoprobe", 2): self = .autoprobe(words[1] == "1")
        case ("enable", 3): self = .enable(words[1], words[2] == "1")
        case ("vfs", 3):
            guard let count = Int(words[2]) else { return nil }
            self = .virtualFunctions(words[1], count)
        default: return nil
        }
    }
}
