// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// A resource as kernel messages print it: `[mem 0xfe800000-0xfe9fffff 64bit pref]`, `[io  size 0x1000]`.
///
/// Source: the `%pR` and `%pr` formats of lib/vsprintf.c.
public struct RangeText: Hashable, Sendable {
    /// I/O, memory, prefetchable, 64-bit, window and disabled, as far as the text says.
    public var flags: ResourceFlags
    /// The addresses, or nil when only a size is printed.
    public var range: AddressRange?
    /// The size; nil when neither range nor size is printed, or the range is the whole space.
    public var size: ByteCount?

    /// Takes a resource in brackets off the front of `text`; nil, and nothing taken, for another form.
    static func take(_ text: inout TextBytes) -> RangeText? {
        var rest = text
        guard rest.take("[") else { return nil }
        var flags: ResourceFlags
        if rest.take("io ") || rest.take("port ") {
            flags = .io
        } else if rest.take("mem ") {
            flags = .memory
        } else if rest.take("??? ") {
            flags = []
        } else if rest.starts("0x") {
            // Kernels before 2.6.34 print the space in front of the bracket.
            flags = []
        } else {
            return nil
        }
        rest.skipBlanks()
        var range: AddressRange?
        var size: ByteCount?
        if rest.take("size ") {
            guard let value = rest.takePrefixedHex() else { return nil }
            size = ByteCount(value)
        } else if let first = rest.takePrefixedHex() {
            if rest.take("-") {
                guard let last = rest.takePrefixedHex() else { return nil }
                range = AddressRange(first: first, last: last)
                size = range?.size.map { ByteCount($0) }
                // A range that ends one below its start is how a closed window and an empty resource print.
                if range == nil { flags.insert(.disabled) }
            } else if first > 0 {
                // One port or one byte is printed as its address alone (`resource_string`).
                range = AddressRange(first: first, last: first)
                size = ByteCount(1)
            }
        } else if rest.take("disabled") {
            flags.insert(.disabled)
        } else {
            return nil
        }
        while true {
            rest.skipBlanks()
            if rest.take("]") { break }
            if rest.take("64bit") {
                flags.insert(.memory64)
            } else if rest.take("pref") {
                flags.insert(.prefetchable)
            } else if rest.take("window") {
                flags.insert(.window)
            } else if rest.take("disabled") {
                flags.insert(.disabled)
            } else if rest.take("flags ") {
                guard let word = rest.takePrefixedHex() else { return nil }
                flags = ResourceFlags(rawValue: word)
            } else {
                return nil
            }
        }
        text = rest
        return RangeText(flags: flags, range: range, size: size)
    }

    /// The first resource in `text`, and what follows it: in brackets, or as kernels before 3.14 print what they cannot
    /// assign, `mem pref (size 0x200000)`.
    static func first(in text: TextBytes) -> (resource: RangeText, rest: TextBytes)? {
        if let open = text.firstIndex(of: 0x5b) {
            var rest = text[open...]
            return take(&rest).map { ($0, rest) }
        }
        guard var rest = text.after("(size "), let size = rest.takePrefixedHex() else { return nil }
        let flags: ResourceFlags
        if text.has(" mem pref (") {
            flags = [.memory, .prefetchable]
        } else if text.has(" mem (") {
            flags = .memory
        } else if text.has(" io (") {
            flags = .io
        } else {
            return nil
        }
        return (RangeText(flags: flags, range: nil, size: ByteCount(size)), rest)
    }

    /// Takes `[bus 02-11]` or `[bus 02]` off the front; the numbers may be in descending order (an invalid bridge).
    static func takeBuses(_ text: inout TextBytes) -> (first: UInt8, last: UInt8)? {
        var rest = text
        guard rest.take("[bus ") else { return nil }
        guard let first = rest.takeHex(), first <= 0xff else { return nil }
        var last = first
        if rest.take("-") {
            guard let value = rest.takeHex(), value <= 0xff else { return nil }
            last = value
        }
        guard rest.take("]") else { return nil }
        text = rest
        return (UInt8(first), UInt8(last))
    }

    /// The kind, or nil when the text names no space.
    public var kind: ResourceKind? { ResourceKind(flags) }
}

extension ResourceFlags {
    /// The kernel's flag word for a BAR, a VF BAR or a ROM of this kind of space, register bits included.
    func ofBAR(isROM: Bool) -> ResourceFlags {
        // A fixed ROM is the copy in RAM (`pci_fixup_video`), a fixed port one that the class stands for.
        if contains(.fixed) { return isROM ? [.memory, .fixed, ResourceFlags(rawValue: 2)] : [.io, .fixed] }
        if isROM { return [.memory, .prefetchable, .readOnly, .sizeAlign] }
        if contains(.io) { return [.io, .sizeAlign, ResourceFlags(rawValue: 1)] }
        var result: ResourceFlags = [.memory, .sizeAlign]
        if contains(.memory64) { result.formUnion([.memory64, ResourceFlags(rawValue: 4)]) }
        if contains(.prefetchable) { result.formUnion([.prefetchable, ResourceFlags(rawValue: 8)]) }
        return result
    }
}

/// Takes `DDDD:BB:DD.F` (or `BB:DD.F`) off the front; nil, and nothing taken, for another form.
///
/// Bus and device have two digits, the segment four and more, as every kernel and lspci print them: an address that lost
/// a digit on the way is none, since nobody knows which one.
func takeAddress(_ text: inout TextBytes) -> FunctionAddress? {
    var rest = text
    func number(_ digits: ClosedRange<Int>) -> UInt64? {
        let start = rest.startIndex
        guard let value = rest.takeHex(), digits.contains(rest.startIndex - start) else { return nil }
        return value
    }
    guard let a = number(2...8), rest.take(":") else { return nil }
    let wasShort = rest.startIndex - text.startIndex == 3
    guard let b = number(2...2) else { return nil }
    var segment: UInt64 = 0
    var bus = a
    var device = b
    if rest.take(":") {
        guard rest.startIndex - text.startIndex >= 8, let c = number(2...2) else { return nil }
        segment = a
        bus = b
        device = c
    } else if !wasShort {
        return nil
    }
    guard rest.take("."), let function = rest.first.flatMap(hexDigit), function < 8 else { return nil }
    rest = rest.dropFirst()
    if let next = rest.first, hexDigit(next) != nil { return nil }
    guard segment <= UInt64(UInt32.max), bus <= 0xff, device < 32 else { return nil }
    text = rest
    return FunctionAddress(
        segment: UInt32(segment),
        bus: BusNumber(UInt8(bus)),
        devfn: UInt8(device) << 3 | function
    )
}

/// Takes `DDDD:BB` off the front; nil, and nothing taken, for another form.
func takeBus(_ text: inout TextBytes) -> (segment: UInt32, bus: BusNumber)? {
    var rest = text
    guard let segment = rest.takeHex(), segment <= UInt64(UInt32.max), rest.take(":") else { return nil }
    let start = rest.startIndex
    guard let bus = rest.takeHex(), rest.startIndex - start == 2 else { return nil }
    text = rest
    return (UInt32(segment), BusNumber(UInt8(bus)))
}
