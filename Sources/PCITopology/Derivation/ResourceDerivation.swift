// SPDX-License-Identifier: GPL-2.0-or-later

/// What the kernel's lines, the registers and other evidence together say about a function's resources.
///
/// Pure and quick: readers use it for what a kernel shows, twins for what they predict it would show.
public struct ResourceDerivation {
    private let lines: [ResourceLine]
    private let numbering: ResourceNumbering
    private let config: ConfigSpace
    private let capabilities: Capabilities
    private let isVirtual: Bool
    private let evidence: ResourceEvidence

    /// Takes the evidence together.
    ///
    /// - Parameters:
    ///   - lines: the `resource` lines; empty gives no resources, since registers alone tell no sizes.
    ///   - config: the configuration space as far as it could be read.
    ///   - capabilities: decoded from `config`.
    ///   - isVirtual: whether the function is a VF, whose BAR registers read zero.
    ///   - evidence: what else is known.
    public init(
        lines: [ResourceLine],
        config: ConfigSpace,
        capabilities: Capabilities,
        isVirtual: Bool = false,
        evidence: ResourceEvidence = .none
    ) {
        self.lines = lines
        numbering = ResourceNumbering(lineCount: lines.count)
        self.config = config
        self.capabilities = capabilities
        self.isVirtual = isVirtual
        self.evidence = evidence
    }

    /// The implemented resources in ascending index order.
    /// - Complexity: O(number of lines).
    public func resources() -> [Resource] {
        guard !lines.isEmpty else { return [] }
        var result: [Resource] = []
        let layout = config.headerLayout ?? (ResourceNumbering.showsWindows(lineCount: lines.count) ? 1 : 0)
        appendBARs(first: 0, count: layout == 0 ? 6 : layout == 1 ? 2 : 1, to: &result)
        if let rom = rom() { result.append(rom) }
        appendVFBARs(to: &result)
        if layout == 1 {
            appendWindows(to: &result)
        } else if layout == 2 {
            appendCardBusWindows(to: &result)
        }
        return result
    }

    private func line(_ index: ResourceIndex) -> ResourceLine {
        guard let at = numbering.line(of: index), at < lines.count else { return .zero }
        return lines[at]
    }

    // MARK: BARs

    private func appendBARs(first: Int, count: Int, to result: inout [Resource]) {
        var isUpperHalf = false
        for number in first..<6 {
            guard let index = ResourceIndex.bar(number) else { continue }
            let shown = line(index)
            if ResourceKind(shown.flags) != nil {
                result.append(fromLine(index, shown, alignment: nil))
                isUpperHalf = shown.flags.contains(.memory64)
                continue
            }
            if isUpperHalf {
                isUpperHalf = false
                continue
            }
            guard number < count, !isVirtual else { continue }
            if let bar = forgotten(index, register: config.long(0x10 + 4 * number)) {
                result.append(bar)
                isUpperHalf = bar.flags.contains(.memory64)
            }
        }
    }

    /// A BAR whose line is all zero: nothing, or one that the kernel forgot after a failed assignment.
    private func forgotten(_ index: ResourceIndex, register: UInt32?) -> Resource? {
        guard !evidence.says(evidence.refuted, index) else { return nil }
        let known = evidence.size(of: index)
        let value = register ?? 0
        guard value != .max else { return nil }
        guard value != 0 || known != nil || evidence.says(evidence.implemented, index) else { return nil }
        let rebar = index.isBAR ? capabilities.resizableBARs.first { $0.bar == Int(index.rawValue) } : nil
        if value == 0, known == nil, rebar == nil, !evidence.says(evidence.implemented, index) { return nil }
        if value & ~0xf != 0, known == nil, rebar == nil, isNonCompliant { return nil }
        let flags = value != 0 ? Self.flags(ofRegister: value) : known?.flags ?? Self.flags(ofRegister: 0)
        // A probe measures the register itself; the capability states what it is set to; the log may be old.
        var size = known?.size
        var source = known?.source ?? .unknown
        if known?.source != .probed, let current = rebar?.currentSize {
            size = current
            source = .resizableBAR
        }
        return Resource(
            index: index,
            flags: flags,
            size: size,
            alignment: size,
            assignment: .wiped,
            sizeSource: source
        )
    }

    /// Intel uncore functions whose BAR registers are no BARs (`pci_invalid_bar`).
    private var isNonCompliant: Bool {
        guard config.word(0) == 0x8086, let device = config.word(2) else { return false }
        return [0x2fc0, 0x6f60, 0x6fa0, 0x6fc0, 0xa1ec, 0xa1ed, 0xa26c, 0xa26d].contains(device)
    }

    /// The kernel's flags for a BAR register (`decode_bar`).
    public static func flags(ofRegister value: UInt32) -> ResourceFlags {
        if value & 1 == 1 { return [.io, .sizeAlign, ResourceFlags(rawValue: UInt64(value & 0x3))] }
        var flags: ResourceFlags = [.memory, .sizeAlign, ResourceFlags(rawValue: UInt64(value & 0xf))]
        if value & 8 != 0 { flags.insert(.prefetchable) }
        if value & 6 == 4 { flags.insert(.memory64) }
        return flags
    }

    /// A resource that the kernel shows with flags.
    private func fromLine(_ index: ResourceIndex, _ shown: ResourceLine, alignment: ByteCount?) -> Resource {
        let flags = shown.flags
        let span = shown.end &- shown.start  // Used only where end >= start, or 0 after the check below.
        let size = shown.end >= shown.start && span != .max ? ByteCount(span + 1) : nil
        // Kernels before 2.6.36 print BARs without SIZEALIGN; they are aligned to their size all the same.
        // A VF BAR is aligned to one VF's share, which only TotalVFs tells.
        let isSizeAligned =
            !index.isVFBAR && (flags.contains(.sizeAlign) || (index.isBAR || index.isROM) && !flags.contains(.fixed))
        let natural = flags.contains(.startAlign) ? ByteCount(shown.start) : isSizeAligned ? size : nil
        return Resource(
            index: index,
            flags: flags,
            size: size,
            alignment: alignment ?? natural,
            assignment: assignment(index, shown)
        )
    }

    private func assignment(_ index: ResourceIndex, _ shown: ResourceLine) -> Resource.Assignment {
        let held = evidence.isHeld(index)
        // A window that failed to grow keeps its place and the mark of an unplaced one (`reassign_resources_sorted`).
        let isUnplaced = shown.flags.contains(.startAlign) && held != true
        guard !shown.flags.contains(.unset), !isUnplaced,
            let range = AddressRange(first: shown.start, last: shown.end)
        else { return .unassigned }
        if shown.flags.contains(.disabled) && !index.isROM { return .unassigned }
        // The kernel prints a resource that it released as 0...size-1 without a mark; only where it holds address 0
        // itself (an I/O space that starts there) is 0 an address.
        if shown.start == 0 { return held == true ? .assigned(range) : .unassigned }
        // Fixed ranges (legacy IDE, a shadowed ROM, Enhanced Allocation) stay where they are, claimed or not.
        if shown.flags.contains(.fixed) { return .assigned(range) }
        return held == false ? .unclaimed(range) : .assigned(range)
    }

    // MARK: ROM

    private func rom() -> Resource? {
        let shown = line(.rom)
        if ResourceKind(shown.flags) != nil { return fromLine(.rom, shown, alignment: nil) }
        guard !evidence.says(evidence.refuted, .rom), let known = evidence.size(of: .rom) else { return nil }
        return Resource(
            index: .rom,
            flags: known.flags ?? [.memory, .prefetchable, .readOnly, .sizeAlign],
            size: known.size,
            alignment: known.size,
            assignment: .wiped,
            sizeSource: known.source
        )
    }

    // MARK: VF BARs

    private func appendVFBARs(to result: inout [Resource]) {
        guard numbering == .withVFs, lines.count >= 13 else { return }
        let total = capabilities.sriov?.totalVFs ?? evidence.totalVFs
        var isUpperHalf = false
        for number in 0..<6 {
            guard let index = ResourceIndex.vfBAR(number) else { continue }
            let shown = line(index)
            if ResourceKind(shown.flags) != nil {
                result.append(fromLine(index, shown, alignment: vfAlignment(shown, total)))
                isUpperHalf = shown.flags.contains(.memory64)
                continue
            }
            if isUpperHalf {
                isUpperHalf = false
                continue
            }
            guard let sriov = capabilities.sriov, sriov.totalVFs > 0,
                let bar = forgottenVFBAR(index, number, sriov)
            else { continue }
            result.append(bar)
            isUpperHalf = bar.flags.contains(.memory64)
        }
    }

    /// One VF BAR: the block divided by TotalVFs (`pci_iov_resource_size`).
    private func vfAlignment(_ shown: ResourceLine, _ total: Int?) -> ByteCount? {
        guard let total, total > 0, shown.end >= shown.start, shown.end - shown.start != .max else { return nil }
        let size = shown.end - shown.start + 1
        return size % UInt64(total) == 0 ? ByteCount(size / UInt64(total)) : nil
    }

    private func forgottenVFBAR(_ index: ResourceIndex, _ number: Int, _ sriov: SRIOVCapability) -> Resource? {
        guard !evidence.says(evidence.refuted, index) else { return nil }
        let value = sriov.barRegisters[number]
        let known = evidence.size(of: index)
        guard value != .max, value != 0 || known != nil else { return nil }
        var flags = value != 0 ? Self.flags(ofRegister: value) : known?.flags ?? Self.flags(ofRegister: 0)
        flags.remove(.io)
        var size = known?.size
        var source = known?.source ?? .unknown
        if known?.source != .probed,
            let one = capabilities.resizableVFBARs.first(where: { $0.bar == number })?.currentSize
        {
            let (product, overflow) = one.rawValue.multipliedReportingOverflow(by: UInt64(sriov.totalVFs))
            if !overflow {
                size = ByteCount(product)
                source = .resizableBAR
            }
        }
        let one = size.flatMap {
            $0.rawValue % UInt64(sriov.totalVFs) == 0 ? ByteCount($0.rawValue / UInt64(sriov.totalVFs)) : nil
        }
        return Resource(index: index, flags: flags, size: size, alignment: one, assignment: .wiped, sizeSource: source)
    }

    // MARK: Windows

    private func appendWindows(to result: inout [Resource]) {
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

    private func appendCardBusWindows(to result: inout [Resource]) {
        for raw in 13...16 {
            guard let index = ResourceIndex(raw) else { continue }
            let shown = line(index)
            if ResourceKind(shown.flags) != nil { result.append(fromLine(index, shown, alignment: nil)) }
        }
    }
}
