// SPDX-License-Identifier: GPL-2.0-or-later

/// What the kernel's lines, the registers and other evidence together say about a function's resources.
///
/// Pure and quick: readers use it for what a kernel shows, twins for what they predict it would show.
public struct ResourceDerivation {
    let lines: [ResourceLine]
    let config: ConfigSpace
    let capabilities: Capabilities
    let isVirtual: Bool
    let evidence: ResourceEvidence

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

    func line(_ index: ResourceIndex) -> ResourceLine { lines[index] }

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
        guard !evidence.says(evidence.refuted, index), !evidence.says(evidence.untold, index) else { return nil }
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
    func fromLine(_ index: ResourceIndex, _ shown: ResourceLine, alignment: ByteCount?) -> Resource {
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
            assignment: shown.assignment(of: index, isHeld: evidence.isHeld(index))
        )
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
}
