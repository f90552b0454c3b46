// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// The resources of a function of which only the registers are known: addresses and kinds, no sizes of BARs.
///
/// A BAR whose size nobody tells has `size` nil and stands at a range of one byte, its first.
struct RegisterResources {
    let config: ConfigSpace
    let capabilities: Capabilities
    /// Sizes that other evidence tells.
    let evidence: ResourceEvidence
    /// CPU address of a bus address.
    let cpuAddress: (UInt64, Bool) -> UInt64

    /// The resources in ascending index order; empty when the header was not read.
    func resources() -> [Resource] {
        guard config.hasHeader, !config.isAllOnes, let layout = config.headerLayout, layout < 2 else { return [] }
        var result: [Resource] = []
        var isUpperHalf = false
        for number in 0..<(layout == 0 ? 6 : 2) {
            guard !isUpperHalf, let value = config.long(0x10 + 4 * number), let index = ResourceIndex.bar(number) else {
                isUpperHalf = false
                continue
            }
            guard value != 0, value != .max else { continue }
            let flags = ResourceDerivation.flags(ofRegister: value)
            isUpperHalf = flags.contains(.memory64) && number < 5
            var address = UInt64(value & (flags.contains(.io) ? ~3 : ~0xf))
            if isUpperHalf { address |= UInt64(config.long(0x14 + 4 * number) ?? 0) << 32 }
            result.append(bar(index, flags, address))
        }
        if layout == 1, let bridge = BridgeRegisters(config) {
            if let window = window(.ioWindow, bridge.io, .io, 0x1000, isThere: config.word(0x1c) != 0) {
                result.append(window)
            }
            if let window = window(.memoryWindow, bridge.memory, .memory, 0x10_0000, isThere: true) {
                result.append(window)
            }
            var flags: ResourceFlags = [.memory, .prefetchable]
            if bridge.prefetchable.type == 1 { flags.formUnion([.memory64, ResourceFlags(rawValue: 1)]) }
            let isThere = config.word(0x24) != 0
            if let window = window(.prefetchableWindow, bridge.prefetchable, flags, 0x10_0000, isThere: isThere) {
                result.append(window)
            }
        }
        return result
    }

    private func bar(_ index: ResourceIndex, _ flags: ResourceFlags, _ address: UInt64) -> Resource {
        let rebar = capabilities.resizableBARs.first { $0.bar == Int(index.rawValue) }?.currentSize
        let known = evidence.sizes.first { $0.index == index }
        let size = rebar ?? known?.size
        let source: Resource.SizeSource = rebar != nil ? .resizableBAR : known?.source ?? .unknown
        let isDecoded = config.command?.contains(flags.contains(.io) ? .ioSpace : .memorySpace) == true
        var assignment = Resource.Assignment.unassigned
        let start = cpuAddress(address, flags.contains(.io))
        if address != 0, let range = AddressRange(first: start, size: size?.rawValue ?? 1) {
            assignment = isDecoded ? .assigned(range) : .unclaimed(range)
        }
        return Resource(
            index: index,
            flags: flags,
            size: size,
            alignment: size,
            assignment: assignment,
            sizeSource: source
        )
    }

    private func window(
        _ index: ResourceIndex,
        _ register: WindowRegister,
        _ flags: ResourceFlags,
        _ granularity: UInt64,
        isThere: Bool
    ) -> Resource? {
        guard isThere else { return nil }
        var assignment = Resource.Assignment.closed
        var size = ByteCount.zero
        if let range = register.range, range.first != 0 || index == .ioWindow {
            let first = cpuAddress(range.first, flags.contains(.io))
            // Two's complement: both ends move by the same offset.
            if let moved = AddressRange(first: first, last: range.last &+ (first &- range.first)) {
                assignment = .assigned(moved)
                size = ByteCount(moved.clampedSize)
            }
        }
        return Resource(
            index: index,
            flags: flags,
            size: size,
            alignment: ByteCount(granularity),
            assignment: assignment
        )
    }
}
