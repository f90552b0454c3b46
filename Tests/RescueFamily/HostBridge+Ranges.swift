// SPDX-License-Identifier: GPL-2.0-or-later

package import PCITopology

extension HostBridge {
    /// The host bridge of segment 0 that decodes I/O from 0x1000 to `io` and these ranges of memory, with the buses 00 to
    /// `lastBus`.
    package init(io: UInt64, memory: [ClosedRange<UInt64>], lastBus: UInt8) {
        let ranges = [(0x1000...io, ResourceFlags.io)] + memory.map { ($0, .memory) }
        self.init(
            segment: 0,
            busRange: BusRange(first: BusNumber(0), last: BusNumber(lastBus)) ?? BusRange(BusNumber(0)),
            apertures: ranges.compactMap { range, flags in
                AddressRange(first: range.lowerBound, last: range.upperBound).map { Aperture(range: $0, flags: flags) }
            },
            source: .kernelLog
        )
    }
}
