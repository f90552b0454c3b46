// SPDX-License-Identifier: GPL-2.0-or-later

extension ResourceDerivation {
    func appendWindows(to result: inout [Resource]) {
        let registers = BridgeRegisters(config)
        let io = line(.ioWindow)
        if ResourceKind(io.flags) != nil || implements(.ioWindow, registers?.io, reads: config.word(0x1c)) {
            result.append(window(.ioWindow, io, closed: [.io], granularity: 0x1000))
        }
        result.append(window(.memoryWindow, line(.memoryWindow), closed: [.memory], granularity: 0x10_0000))
        let pref = line(.prefetchableWindow)
        if ResourceKind(pref.flags) != nil
            || implements(.prefetchableWindow, registers?.prefetchable, reads: config.word(0x24))
        {
            var flags: ResourceFlags = [.memory, .prefetchable]
            if registers?.prefetchable.type == 1 { flags.formUnion([.memory64, ResourceFlags(rawValue: 1)]) }
            result.append(window(.prefetchableWindow, pref, closed: flags, granularity: 0x10_0000))
        }
    }

    /// Whether a window exists that the kernel shows as zeros.
    ///
    /// The kernel decides by writing to the base register (`pci_read_bridge_windows`). From outside: a register that
    /// reads non-zero exists; one that reads all zero would be an open window at address 0, which nobody leaves in
    /// place, so it is not there, unless the kernel log spoke of it. A bridge that was never given a bus was never set up
    /// either: its zeros say nothing, and it is taken to have what nearly every bridge has.
    private func implements(_ index: ResourceIndex, _ register: WindowRegister?, reads value: UInt16?) -> Bool {
        guard !evidence.says(evidence.refuted, index) else { return false }
        if evidence.says(evidence.implemented, index) { return true }
        guard register != nil, let value, value != .max else { return false }
        let wasNeverSetUp = !ResourceNumbering.showsWindows(lineCount: lines.count) && config.byte(0x19) == 0
        return value != 0 || wasNeverSetUp
    }

    private func window(
        _ index: ResourceIndex,
        _ shown: ResourceLine,
        closed flags: ResourceFlags,
        granularity: UInt64
    ) -> Resource {
        guard ResourceKind(shown.flags) != nil, !shown.flags.contains(.disabled), !shown.flags.contains(.unset) else {
            return Resource(
                index: index,
                flags: flags,
                size: .zero,
                alignment: ByteCount(granularity),
                assignment: .closed
            )
        }
        var resource = fromLine(index, shown, alignment: nil)
        // Sized and not placed: start is the alignment and end lies size-1 above it.
        if shown.flags.contains(.startAlign) {
            resource.alignment = ByteCount(resource.range == nil ? shown.start : granularity)
        }
        if resource.alignment == nil { resource.alignment = ByteCount(granularity) }
        if resource.size == .zero || resource.size == nil { resource.assignment = .closed }
        return resource
    }

    func appendCardBusWindows(to result: inout [Resource]) {
        for raw in 13...16 {
            guard let index = ResourceIndex(raw) else { continue }
            let shown = line(index)
            if ResourceKind(shown.flags) != nil { result.append(fromLine(index, shown, alignment: nil)) }
        }
    }
}
