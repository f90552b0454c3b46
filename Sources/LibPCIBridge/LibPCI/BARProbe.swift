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
    /// The wiped BARs of `topology` whose size no other source tells, of functions that may be probed.
    static func candidates(_ topology: Topology) -> [(FunctionAddress, [ResourceIndex])] {
        var result: [(FunctionAddress, [ResourceIndex])] = []
        for f in topology.functions where !f.isBridge && !f.isVirtual && f.use.driver == nil {
            guard f.config.headerLayout == 0, let command = f.config.command, f.use.enableCount ?? 0 == 0 else {
                continue
            }
            let indexes = f.resources.filter { r in
                guard r.index.isBAR, r.assignment == .wiped, r.size == nil else { return false }
                return !command.contains(r.kind == .io ? .ioSpace : .memorySpace)
            }
            if !indexes.isEmpty { result.append((f.address, indexes.map(\.index))) }
        }
        return result
    }

    /// Probes the BARs `indexes` of the function at `address`.
    /// - Throws: `ReadError` when decoding turned out to be on, or a register did not take its old value back.
    static func probe(
        _ address: FunctionAddress,
        _ indexes: [ResourceIndex],
        _ access: borrowing RegisterAccess
    ) throws(ReadError) -> [ProbedSize] {
        var result: [ProbedSize] = []
        for index in indexes {
            let offset = 0x10 + 4 * Int(index.rawValue)
            let low = try access.read(address, offset)
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
