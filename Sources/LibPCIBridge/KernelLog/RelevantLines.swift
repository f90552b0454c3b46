// SPDX-License-Identifier: GPL-2.0-or-later

/// The lines of a kernel log that speak of PCI or of the firmware's memory map, in their order.
///
/// At most 65,536 lines, the first and the last of a longer log: boot tells the apertures, the end what went wrong.
func relevantLines(_ log: [UInt8]) -> [String] {
    var result: [String] = []
    for line in TextLines(log) where isRelevant(line) { result.append(line.string) }
    let limit = 65_536
    guard result.count > limit else { return result }
    return Array(result[..<(limit / 2)] + result[(result.count - limit / 2)...])
}

/// Whether a line of the kernel log matters here.
func isRelevant(_ line: TextBytes) -> Bool {
    line.has("pci") || line.has("PCI") || line.has("e820") || line.has("E820") || line.has("BAR ")
        || line.has("bridge window")
        || line.has("efi: mem") || line.has("Linux version") || line.has("DMI:")
}
