// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// A resource as the kernel prints it (`%pR`): `[mem 0xfe800000-0xfe800fff 64bit pref]`, `[io size 0x0100]`.
struct ResourceText {
    var isIO: Bool
    var range: AddressRange?
    var size: UInt64?
    var is64Bit: Bool
    var isPrefetchable: Bool
    var isWindow: Bool

    /// Reads the first bracket of `text` that holds a resource.
    init?(_ text: TextBytes) {
        guard let open = text.find("[") else { return nil }
        var rest = text[(open + 1)...]
        if rest.take("mem") { isIO = false } else if rest.take("io") { isIO = true } else { return nil }
        rest.skipBlanks()
        if rest.take("size ") {
            guard let value = rest.takePrefixedHex() else { return nil }
            size = value
        } else {
            guard let first = rest.takePrefixedHex(), rest.take("-"), let last = rest.takePrefixedHex() else {
                return nil
            }
            range = AddressRange(first: first, last: last)
            size = range?.size
        }
        let tail = rest.before("]")
        is64Bit = tail.has("64bit")
        isPrefetchable = tail.has("pref")
        isWindow = tail.has("window")
    }

    /// Reads `[0x…-0x…]` or `[mem 0x…-0x…]` at the front of `text`.
    static func bareRange(_ text: TextBytes) -> AddressRange? {
        var rest = text
        guard rest.take("[") else { return nil }
        _ = rest.take("mem ") || rest.take("io ")
        rest.skipBlanks()
        guard let first = rest.takePrefixedHex(), rest.take("-"), let last = rest.takePrefixedHex() else { return nil }
        return AddressRange(first: first, last: last)
    }

    /// The flags of an aperture of this text.
    var windowFlags: ResourceFlags {
        var flags: ResourceFlags = isIO ? .io : .memory
        if is64Bit { flags.insert(.memory64) }
        if isPrefetchable { flags.insert(.prefetchable) }
        if isWindow { flags.insert(.window) }
        return flags
    }

    /// The flags of a BAR of this text, as the kernel forms them.
    func barFlags(isROM: Bool) -> ResourceFlags {
        if isIO { return [.io, .sizeAlign, ResourceFlags(rawValue: 1)] }
        var flags: ResourceFlags = [.memory, .sizeAlign]
        if isROM { return flags.union([.prefetchable, .readOnly]) }
        if is64Bit { flags.formUnion([.memory64, ResourceFlags(rawValue: 4)]) }
        if isPrefetchable { flags.formUnion([.prefetchable, ResourceFlags(rawValue: 8)]) }
        return flags
    }

    /// The bridge window that holds this kind of space.
    var window: ResourceIndex { isIO ? .ioWindow : isPrefetchable ? .prefetchableWindow : .memoryWindow }
}
