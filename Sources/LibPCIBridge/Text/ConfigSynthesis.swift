// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Puts together the configuration space that text describes, for functions of which no hex dump is there.
///
/// Only what text told is written; the rest of the header reads zero, as registers that concern nobody here do. Where
/// the text shows no capabilities the list leads beyond the bytes that are there, so that it counts as not read to its
/// end rather than as empty.
struct ConfigSynthesis {
    private var bytes: [UInt8]
    private let facts: TextFunction
    /// CPU address minus bus address of an address, by kind of space.
    private let offset: (UInt64, Bool) -> Int64

    private let prefetchableWidth: Int?

    /// - Parameters:
    ///   - facts: what the text tells.
    ///   - prefetchableWidth: the width of the prefetchable window where the text does not tell it, 0 for a bridge that has
    ///     none, or nil.
    ///   - offset: CPU address minus bus address of an address, by kind of space.
    init(_ facts: TextFunction, prefetchableWidth: Int? = nil, offset: @escaping (UInt64, Bool) -> Int64) {
        self.facts = facts
        self.prefetchableWidth = prefetchableWidth
        self.offset = offset
        let knowsAll = facts.showsCapabilities == true
        let isExpress = facts.express != nil || !facts.extendedCapabilities.isEmpty
        let hasVFs = facts.sriov?.totalVFs != nil
        bytes = Array(
            repeating: 0,
            count: knowsAll ? (isExpress ? 4096 : 256) : hasVFs ? 4096 : isExpress ? 0x80 : 0x40
        )
    }

    /// The bytes.
    mutating func make() -> ConfigSpace {
        header()
        bars()
        if facts.headerLayout == 1 { bridge() }
        if facts.showsCapabilities == true { listed() } else { partial() }
        return ConfigSpace(bytes)
    }

    private mutating func put8(_ value: UInt8, _ at: Int) {
        if at >= 0, at < bytes.count { bytes[at] = value }
    }

    private mutating func put16(_ value: UInt16, _ at: Int) {
        put8(UInt8(value & 0xff), at)
        put8(UInt8(value >> 8), at + 1)
    }

    private mutating func put32(_ value: UInt32, _ at: Int) {
        put16(UInt16(value & 0xffff), at)
        put16(UInt16(value >> 16), at + 2)
    }

    private mutating func header() {
        put16(facts.vendor ?? 0xffff, 0x00)
        put16(facts.device ?? 0xffff, 0x02)
        var command: UInt16 = 0
        if facts.decodesIO == true { command |= 1 }
        if facts.decodesMemory == true { command |= 2 }
        put16(command, 0x04)
        // The capability list exists, or nobody can tell; without capabilities in full text there is none.
        let hasList = facts.showsCapabilities != true || !facts.capabilities.isEmpty
        put16(hasList ? 0x10 : 0, 0x06)
        put8(facts.revision ?? 0, 0x08)
        put8(facts.programmingInterface ?? 0, 0x09)
        put16(facts.classWord ?? 0xff00, 0x0a)
        put8(facts.headerLayout ?? 0, 0x0e)
        if facts.headerLayout ?? 0 == 0 {
            put16(facts.subsystemVendor ?? 0, 0x2c)
            put16(facts.subsystemDevice ?? 0, 0x2e)
        }
    }

    private func busAddress(_ start: UInt64?, isIO: Bool) -> UInt64 {
        guard let start else { return 0 }
        // Two's complement: bus address = CPU address - offset modulo 2^64.
        return start &- UInt64(bitPattern: offset(start, isIO))
    }

    private static func register(_ resource: ResourceFacts, _ address: UInt64) -> UInt32 {
        let low = UInt32(truncatingIfNeeded: address)
        if resource.flags.contains(.io) { return low & ~3 | 1 }
        var bits: UInt32 = 0
        if resource.flags.contains(.memory64) { bits |= 4 }
        if resource.flags.contains(.prefetchable) { bits |= 8 }
        return low & ~0xf | bits
    }

    private mutating func bars() {
        for resource in facts.resources where !resource.isLeftOut {
            let address =
                resource.state == .virtual ? 0 : busAddress(resource.start, isIO: resource.flags.contains(.io))
            if resource.index.isROM {
                // The copy in RAM is in no register.
                guard !resource.flags.contains(.fixed) else { continue }
                put32(UInt32(truncatingIfNeeded: address) & ~0x7ff, facts.headerLayout == 1 ? 0x38 : 0x30)
            } else if resource.index.isBAR {
                let at = 0x10 + 4 * Int(resource.index.rawValue)
                put32(Self.register(resource, address), at)
                if resource.flags.contains(.memory64), resource.index.rawValue < 5 {
                    put32(UInt32(truncatingIfNeeded: address >> 32), at + 4)
                }
            }
        }
    }

    private mutating func bridge() {
        guard let bridge = facts.bridge else { return }
        put8(bridge.primary?.rawValue ?? facts.address.bus.rawValue, 0x18)
        put8(bridge.secondary?.rawValue ?? 0, 0x19)
        put8(bridge.subordinate?.rawValue ?? bridge.secondary?.rawValue ?? 0, 0x1a)
        ioWindow(bridge.io)
        let memory = bridge.memory?.range.map { busRange($0, isIO: false) }
        put16(memory.map { UInt16(truncatingIfNeeded: $0.first >> 16) & 0xfff0 } ?? 0xfff0, 0x20)
        put16(memory.map { UInt16(truncatingIfNeeded: $0.last >> 16) & 0xfff0 } ?? 0, 0x22)
        prefetchableWindow(bridge.prefetchable)
    }

    private func busRange(_ range: AddressRange, isIO: Bool) -> (first: UInt64, last: UInt64) {
        let shift = UInt64(bitPattern: offset(range.first, isIO))
        // Two's complement, as above.
        return (range.first &- shift, range.last &- shift)
    }

    private mutating func ioWindow(_ window: WindowFacts?) {
        let open = window?.range.map { busRange($0, isIO: true) }
        // Where the text does not say, a window of 32 bits can do whatever one of 16 can.
        let isWide = (open?.last ?? 0) > 0xffff || window?.width != 16
        let type: UInt8 = isWide ? 1 : 0
        put8(UInt8(truncatingIfNeeded: (open?.first ?? 0xf000) >> 8) & 0xf0 | type, 0x1c)
        put8(UInt8(truncatingIfNeeded: (open?.last ?? 0) >> 8) & 0xf0 | type, 0x1d)
        if isWide, let open {
            put16(UInt16(truncatingIfNeeded: open.first >> 16), 0x30)
            put16(UInt16(truncatingIfNeeded: open.last >> 16), 0x32)
        }
    }

    private mutating func prefetchableWindow(_ window: WindowFacts?) {
        let open = window?.range.map { busRange($0, isIO: false) }
        let width = window?.width ?? prefetchableWidth
        // A window that is not there reads zero.
        if open == nil, width == 0 { return }
        let isWide = (open?.last ?? 0) > 0xffff_ffff || width == 64
        let type: UInt16 = isWide ? 1 : 0
        put16(UInt16(truncatingIfNeeded: (open?.first ?? 0xfff0_0000) >> 16) & 0xfff0 | type, 0x24)
        put16(UInt16(truncatingIfNeeded: (open?.last ?? 0) >> 16) & 0xfff0 | type, 0x26)
        if isWide, let open {
            put32(UInt32(truncatingIfNeeded: open.first >> 32), 0x28)
            put32(UInt32(truncatingIfNeeded: open.last >> 32), 0x2c)
        }
    }

    // MARK: Capabilities

    /// Only what the log told: a PCI Express and an SR-IOV capability. The standard list ends in a pointer into the header,
    /// where no capability can stand, so that it counts as not read to its end.
    private mutating func partial() {
        // SR-IOV is an extended capability, which only PCI Express functions have; older kernels do not name those.
        let hasVFs = facts.sriov?.totalVFs != nil
        let isExpress = facts.express != nil || hasVFs
        put8(isExpress ? 0x40 : 0x04, facts.headerLayout == 2 ? 0x14 : 0x34)
        if isExpress {
            put8(0x10, 0x40)
            put8(0x04, 0x41)
            if facts.express == nil {
                let type: ExpressPortType = facts.address.bus == BusNumber(0) ? .integratedEndpoint : .endpoint
                put16(2 | UInt16(type.rawValue) << 4, 0x42)
            }
            express(at: 0x40)
        }
        guard let sriov = facts.sriov, sriov.totalVFs != nil else { return }
        let place = sriov.offset.flatMap { $0 >= 0x100 && $0 <= 0xf80 && $0 % 4 == 0 ? Int($0) : nil } ?? 0x160
        if place != 0x100 { put32(1 << 16 | UInt32(place) << 20, 0x100) }
        put32(0x10 | 1 << 16, place)
        self.sriov(at: place)
    }

    /// The capabilities that the text lists, at their offsets.
    private mutating func listed() {
        let standard = facts.capabilities.filter { $0.offset >= 0x40 && $0.offset <= 0xfc }
        put8(UInt8(truncatingIfNeeded: standard.first?.offset ?? 0), facts.headerLayout == 2 ? 0x14 : 0x34)
        for (i, capability) in standard.enumerated() {
            let at = Int(capability.offset)
            let next = i + 1 < standard.count ? standard[i + 1].offset : 0
            // What lspci does not know by name carries an identifier that nobody decodes here.
            put8(UInt8(truncatingIfNeeded: capability.id > 0xfe ? 0x00 : capability.id), at)
            put8(UInt8(truncatingIfNeeded: next), at + 1)
            if capability.id == 0x10 { express(at: at) }
        }
        let extended = facts.extendedCapabilities.filter { $0.offset >= 0x100 && $0.offset <= 0xffc }
        if let first = extended.first, first.offset != 0x100 {
            // The list begins at 0x100; a null capability leads on to where the text's first one stands.
            put32(1 << 16 | UInt32(first.offset) << 20, 0x100)
        }
        for (i, capability) in extended.enumerated() {
            let at = Int(capability.offset)
            let next = i + 1 < extended.count ? UInt32(extended[i + 1].offset) : 0
            put32(UInt32(capability.id == 0xffff ? 0 : capability.id) | 1 << 16 | next << 20, at)
            switch capability.id {
            case 0x10: sriov(at: at)
            case 0x15: resizable(facts.resizableBARs, at: at)
            case 0x24: resizable(facts.resizableVFBARs, at: at)
            default: break
            }
        }
        for (at, value) in facts.settings { put16(value, Int(at)) }
    }

    private mutating func express(at offset: Int) {
        guard let express = facts.express else { return }
        let isPort = express.portType == .rootPort || express.portType == .downstreamPort
        var flags: UInt16 = 2
        flags |= UInt16(express.portType?.rawValue ?? 0) << 4
        // A slot that pciehp drives is implemented even if no text says so.
        if express.hasSlot == true { flags |= 0x100 }
        put16(flags, offset + 2)
        if isPort {
            var slot: UInt32 = UInt32(truncatingIfNeeded: express.slotNumber ?? 0) << 19
            if express.hasAttentionButton == true { slot |= 1 }
            if express.hasPowerControl == true { slot |= 2 }
            if express.isSurpriseCapable == true { slot |= 0x20 }
            if express.isHotPlugCapable == true { slot |= 0x40 }
            put32(slot, offset + 0x14)
            put16(express.isCardPresent == true ? 0x40 : 0, offset + 0x1a)
        }
        if express.supportsARIForwarding == true { put32(0x20, offset + 0x24) }
        if express.isARIForwardingEnabled == true { put16(0x20, offset + 0x28) }
    }

    private mutating func sriov(at offset: Int) {
        guard let sriov = facts.sriov else { return }
        var control: UInt16 = 0
        if sriov.isEnabled == true { control |= 0x9 }
        if sriov.isARICapableHierarchy == true { control |= 0x10 }
        put16(control, offset + 0x08)
        func word(_ value: Int?) -> UInt16 { UInt16(truncatingIfNeeded: value ?? 0) }
        put16(word(sriov.initialVFs), offset + 0x0c)
        put16(word(sriov.totalVFs), offset + 0x0e)
        put16(word(sriov.numVFs), offset + 0x10)
        put16(word(sriov.firstOffset), offset + 0x14)
        put16(word(sriov.stride), offset + 0x16)
        put16(sriov.deviceID ?? 0, offset + 0x1a)
        put32(UInt32(truncatingIfNeeded: (sriov.systemPageSize ?? 0x1000) >> 12), offset + 0x20)
        for resource in facts.resources where resource.index.isVFBAR {
            let at = offset + 0x24 + 4 * (Int(resource.index.rawValue) - 7)
            let address = busAddress(resource.start, isIO: false)
            put32(Self.register(resource, address), at)
            if resource.flags.contains(.memory64), resource.index.rawValue < 12 {
                put32(UInt32(truncatingIfNeeded: address >> 32), at + 4)
            }
        }
    }

    private mutating func resizable(_ entries: [ResizableBAR], at offset: Int) {
        for (i, entry) in entries.prefix(6).enumerated() {
            put32(UInt32(truncatingIfNeeded: entry.supportedSizes << 4), offset + 4 + 8 * i)
            var control = UInt32(entry.bar & 7) | UInt32(entry.currentExponent & 0x3f) << 8
            control |= UInt32(truncatingIfNeeded: entry.supportedSizes >> 28) << 16
            if i == 0 { control |= UInt32(min(entries.count, 6)) << 5 }
            put32(control, offset + 8 + 8 * i)
        }
    }
}
