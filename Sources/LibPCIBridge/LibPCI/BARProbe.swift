// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Sizes BARs that the kernel forgot, by writing all ones and reading back.
///
/// Why this is safe where it is done at all. A register may be changed only while the function does not decode it; so
/// the COMMAND bit of that space must already be off, and it is left alone. No driver may be bound, because a driver
/// could switch decoding on at any moment. Bridges are never probed. The kernel has no resource behind a forgotten BAR,
/// so nothing that it hands out can collide. The old value is written back and read again before the next register is
/// touched; a value that does not come back stops the probing of that function and is reported.
/// This is what the kernel itself does when it finds a function (`__pci_read_base`).
enum BARProbe {
    /// The BARs worth probing, of functions that may be probed: forgotten ones whose size no other source tells, and
    /// beside them registers that read zero, which may be forgotten 32-bit memory BARs. A card below a hot-plug port that
    /// shows no resource at all is probed whole.
    static func candidates(_ topology: Topology) -> [(FunctionAddress, [ResourceIndex])] {
        var result: [(FunctionAddress, [ResourceIndex])] = []
        for (i, f) in topology.functions.enumerated() where !f.isBridge && !f.isVirtual && f.use.driver == nil {
            guard f.config.headerLayout == 0, let command = f.config.command, f.use.enableCount ?? 0 == 0,
                !f.lines.isEmpty
            else { continue }
            let isForgetful = f.resources.contains { $0.index.isBAR && $0.assignment == .wiped && $0.size == nil }
            let isHidden =
                f.resources.isEmpty && topology.parent(of: i).map { topology.functions[$0].isHotPlugBridge } == true
            guard isForgetful || isHidden else { continue }
            let indexes = openIndexes(f, command)
            if !indexes.isEmpty { result.append((f.address, indexes)) }
        }
        return result
    }

    private static func openIndexes(_ f: Function, _ command: Command) -> [ResourceIndex] {
        var indexes: [ResourceIndex] = []
        var isUpperHalf = false
        for number in 0..<6 {
            guard let index = ResourceIndex.bar(number) else { continue }
            defer { isUpperHalf = !isUpperHalf && (f.resource(index)?.is64Bit ?? false) }
            guard !isUpperHalf, f.lines[index] == .zero else { continue }
            let isIO = (f.config.long(0x10 + 4 * number) ?? 0) & 1 == 1
            guard f.resource(index)?.size == nil, !command.contains(isIO ? .ioSpace : .memorySpace) else { continue }
            indexes.append(index)
        }
        return indexes
    }

    /// Probes the BARs `indexes` of the function at `address`.
    /// - Throws: `ReadError` when decoding turned out to be on, or a register did not take its old value back.
    static func probe(
        _ address: FunctionAddress,
        _ indexes: [ResourceIndex],
        _ access: borrowing RegisterAccess
    ) throws(ReadError) -> [ProbedSize] {
        var result: [ProbedSize] = []
        var skipped: ResourceIndex?
        for index in indexes where index != skipped {
            let offset = 0x10 + 4 * Int(index.rawValue)
            let low = try access.read(address, offset)
            guard low != .max else { throw ReadError(.unavailable, "\(address) does not answer; not probed") }
            let isIO = low & 1 == 1
            let command = Command(rawValue: UInt16(truncatingIfNeeded: try access.read(address, 4, width: 2)))
            guard !command.contains(isIO ? .ioSpace : .memorySpace) else {
                throw ReadError(.unavailable, "\(address) decodes \(index): expected decoding to be off, not probed")
            }
            let isWide = !isIO && low & 6 == 4 && index.rawValue < 5
            let lowMask = try measure(address, offset, low, access)
            var mask = UInt64(lowMask & (isIO ? ~3 : ~0xf))
            if isWide {
                let high = try access.read(address, offset + 4)
                mask |= UInt64(try measure(address, offset + 4, high, access)) << 32
            } else if mask != 0 {
                // The unimplemented upper bits of a narrow register count as ones; 16-bit I/O registers leave them zero.
                mask |= isIO && mask & 0xffff_0000 == 0 ? 0xffff_ffff_ffff_0000 : 0xffff_ffff_0000_0000
            }
            if isWide || lowMask & 7 == 4 { skipped = ResourceIndex(Int(index.rawValue) + 1) }
            let size = mask == 0 ? 0 : mask & (~mask &+ 1)  // The lowest set bit; two's complement.
            result.append(
                ProbedSize(
                    index: index,
                    size: ByteCount(size),
                    flags: size == 0 ? [] : ResourceDerivation.flags(ofRegister: lowMask)
                )
            )
        }
        return result
    }

    /// Writes all ones to one register and gives what it then holds; the old value is back afterwards.
    private static func measure(
        _ address: FunctionAddress,
        _ offset: Int,
        _ old: UInt32,
        _ access: borrowing RegisterAccess
    ) throws(ReadError) -> UInt32 {
        try access.write(address, offset, .max)
        // A failing read must not keep the old value from coming back.
        let measured: Result<UInt32, ReadError>
        do { measured = .success(try access.read(address, offset)) } catch { measured = .failure(error) }
        try access.write(address, offset, old)
        let now = try access.read(address, offset)
        guard now == old else {
            throw ReadError(
                .unavailable,
                "\(address): register \(hex(UInt64(offset))) expected \(hex(UInt64(old), width: 8)) after probing, "
                    + "found \(hex(UInt64(now), width: 8))"
            )
        }
        return try measured.get()
    }
}
