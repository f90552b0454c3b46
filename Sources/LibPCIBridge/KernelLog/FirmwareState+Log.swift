// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

extension FirmwareState {
    /// The state that the kernel's own scan at boot shows: every line up to the one behind which it claims and assigns.
    ///
    /// Nil when the log does not hold the whole scan, which begins after the banner and ends at
    /// `PCI: Using ACPI for IRQ routing` (x86; `pcibios_resource_survey` follows), or when the kernel was told to number
    /// every bus anew and so overwrote what firmware had numbered.
    /// - Parameter lines: the log, with or without prefixes; of several boots in it the last counts.
    /// - Complexity: O(number of bytes).
    public init?(kernelLog lines: [String]) {
        var scan = BootScan()
        for line in lines {
            guard let message = LogTextLine(Array(line.utf8)[...])?.message else { continue }
            scan.read(message)
        }
        guard scan.isWhole, !scan.functions.isEmpty else { return nil }
        self.init(scan.functions)
    }
}

/// The functions that a boot found before it gave the first address: they were there when the kernel started.
///
/// A host bridge's whole bus is scanned before anything on it is assigned (`pci_host_probe`, `acpi_pci_root_add` on arm64
/// and RISC-V, `pcibios_init` on powerpc); what is found after the first assignment was plugged in, or found again, later.
public struct FirstScan: Hashable, Sendable {
    /// The functions.
    public private(set) var functions: Set<FunctionAddress> = []

    /// Reads a log; of several boots in it the last counts. Nil where the log does not hold a boot's banner, or shows no
    /// scan of a host bridge.
    /// - Complexity: O(number of bytes).
    public init?(kernelLog lines: [String]) {
        var isInBoot = false
        var scanned: Set<UInt32> = []
        var assigned: Set<UInt32> = []
        for line in lines {
            guard let message = LogTextLine(Array(line.utf8)[...])?.message else { continue }
            if message.starts("Linux version ") {
                self.functions = []
                (isInBoot, scanned, assigned) = (true, [], [])
            }
            guard isInBoot else { continue }
            if let rest = message.after("PCI host bridge to bus "), let bus = BusRecord.parse(rest.trimmed) {
                // Of several host bridges on a segment each is scanned and assigned by itself.
                scanned.insert(bus.segment)
                assigned.remove(bus.segment)
                continue
            }
            guard let subject = LogTextReader.takeSubject(message) else { continue }
            let segment = subject.address.segment
            if subject.rest.starts("["), subject.rest.has("] type ") {
                if scanned.contains(segment), !assigned.contains(segment) {
                    functions.insert(subject.address)
                } else {
                    functions.remove(subject.address)
                }
            } else if subject.rest.has("assign") {
                assigned.insert(segment)
            }
        }
        if functions.isEmpty { return nil }
    }
}

/// Follows a boot's scan through the log.
private struct BootScan {
    var functions: [FunctionAddress: FirmwareState.Registers] = [:]
    /// Whether banner and end were seen, and nothing that hides firmware's state.
    var isWhole = false
    private var isInScan = false

    mutating func read(_ message: TextBytes) {
        if message.starts("Linux version ") {
            self = BootScan()
            isInScan = true
        }
        guard isInScan else { return }
        if message.starts("PCI: Using ACPI for IRQ routing") || message.starts("PCI: pci_cache_line_size") {
            isInScan = false
            isWhole = true
        } else if let words = message.after("ommand line: ") {
            if words.has("assign-busses") { isInScan = false }
        } else if let subject = LogTextReader.takeSubject(message) {
            read(subject.rest, of: subject.address)
        }
    }

    private mutating func read(_ text: TextBytes, of address: FunctionAddress) {
        if text.starts("["), text.has("] type ") {
            functions[address] = FirmwareState.Registers()
            return
        }
        guard var registers = functions[address] else { return }
        var rest = text
        rest.skipBlanks()
        if rest.take("bridge configuration invalid ("), let buses = RangeText.takeBuses(&rest) {
            registers.buses = (BusNumber(buses.first), BusNumber(buses.last))
        } else if rest.take("PCI bridge to "), let buses = RangeText.takeBuses(&rest) {
            // The last print of a scan is the kernel's own number; the first is what the registers held.
            if registers.buses == nil { registers.buses = (BusNumber(buses.first), BusNumber(buses.last)) }
        } else if rest.take("bridge window "), let window = RangeText.take(&rest), let kind = window.kind {
            // A subtractive bridge lists the windows of the bus above it as its own.
            guard rest.isEmpty, !window.flags.contains(.window), let range = window.range else { return }
            if registers.windows[kind] == nil { registers.windows[kind] = range }
        } else if let (index, bar) = Self.bar(rest) {
            registers.bars[index] = bar.range?.first ?? 0
        }
        functions[address] = registers
    }

    /// Reads `BAR 0 [mem …]` (from 6.9) and `reg 0x10: [mem …]`, `VF BAR 0 [mem …]: contains BAR 0 for 7 VFs` and
    /// `VF(n) BAR0 space: [mem …] (contains BAR0 for 7 VFs)`; nil for ROMs and everything else.
    private static func bar(_ text: TextBytes) -> (ResourceIndex, RangeText)? {
        var rest = text
        if rest.take("VF BAR ") || rest.take("VF(n) BAR") {
            guard let number = rest.takeDecimal(), let index = ResourceIndex.vfBAR(Int(clamping: number)) else {
                return nil
            }
            if !rest.take(" space: ") { rest.skipBlanks() }
            guard let range = RangeText.take(&rest), rest.has("contains BAR") else { return nil }
            return (index, range)
        }
        var number: UInt64?
        if rest.take("BAR ") {
            number = rest.takeDecimal()
            guard rest.take(" ") else { return nil }
        } else if rest.take("reg 0x") || rest.take("reg ") {
            guard let index = rest.takeHex().flatMap(ResourceIndex.ofRegister), index.isBAR, rest.take(": ") else {
                return nil
            }
            number = UInt64(index.rawValue)
        }
        guard let number, let index = ResourceIndex.bar(Int(clamping: number)), let range = RangeText.take(&rest),
            rest.isEmpty
        else { return nil }
        return (index, range)
    }
}
