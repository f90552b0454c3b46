// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// `0002:00: resource 4 [mem 0x16000000-0x160fffff]`: what a bus has when the kernel has assigned addresses
/// (`pci_bus_dump_resources`), of which `pci_bus ` is taken.
///
/// A bus behind a bridge has the bridge's windows, numbered from 0; a root bus has what its host bridge decodes, numbered
/// from 4. The root bus of a segment comes before the buses below it. Bus addresses are not in such lines.
struct BusResourceText {
    /// The segment.
    var segment: UInt32
    /// The bus.
    var bus: BusNumber
    /// The kernel's number of the resource on the bus.
    var number: Int
    /// What the bus has.
    var resource: RangeText

    /// Reads a line; nil for every other one.
    init?(_ text: TextBytes) {
        var rest = text
        guard let bus = takeBus(&rest), rest.take(": resource "), let number = rest.takeDecimal(), number < 64,
            rest.take(" "),
            let resource = RangeText.take(&rest), resource.range != nil
        else { return nil }
        self.segment = bus.segment
        self.bus = bus.bus
        self.number = Int(number)
        self.resource = resource
    }

    /// Whether it is how the list of a root bus begins.
    var isFirstOfRoot: Bool { number == 4 }

    /// The aperture of a root bus; nil for a bridge's window, and above 4 GiB where a device tree may translate: firmware
    /// with ACPI has its ranges printed as windows.
    var aperture: Aperture? {
        guard number >= 4, let range = resource.range, let kind = resource.kind else { return nil }
        guard kind == .io || range.last <= 0xffff_ffff || resource.flags.contains(.window) else { return nil }
        var flags = resource.flags
        flags.remove(.disabled)
        return Aperture(range: range, flags: flags, offset: 0)
    }
}
