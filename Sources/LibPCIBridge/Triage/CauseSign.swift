// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// A message of the kernel log that points to a cause outside the address space: a link that does not come up, power,
/// errors on the link, a driver that gives up.
public struct CauseSign: Hashable, Sendable {
    /// Where to look.
    public enum Area: String, Hashable, Sendable, CaseIterable {
        /// The link does not come up, or went down.
        case link
        /// The device does not come back from reset or from a low power state.
        case power
        /// Errors on the link (AER, bus errors).
        case errors
        /// Requests that access control refused.
        case isolation
        /// DMA, the IOMMU, interrupts.
        case dma
        /// The driver itself, its firmware, or the order in which drivers come.
        case driver
        /// The expansion ROM, which the driver wants and does not find.
        case rom
        /// The device: the kernel had no address for it at first and gave it one later.
        case device

        /// What to look at, a sentence without its first capital and full stop.
        public var advice: String {
            switch self {
            case .link: "the link: slot, cable, clock, reset line and the PHY's driver"
            case .power: "power and reset of the device"
            case .errors: "errors on the link: cable, riser, link speed"
            case .isolation:
                "requests that access control (ACS) refused: the device, its driver or its power saving, not the link"
            case .dma: "DMA, the IOMMU or interrupts"
            case .driver: "the driver, its firmware, or the order in which drivers come"
            case .rom:
                "the card's ROM, which its driver wants: on bare metal firmware shows it, a guest gets it as a file from the "
                    + "hypervisor"
            case .device:
                "the device, its link or its driver, and in which order they came: it had no address that the kernel "
                    + "accepts when its driver came, and has one now"
            }
        }
    }

    /// Where to look.
    public var area: Area
    /// The function that the message names, or nil.
    public var address: FunctionAddress?
    /// The message as the kernel printed it.
    public var message: String

    /// The area that a message speaks of, or nil for every other message.
    static func area(of text: TextBytes) -> Area? {
        for (area, phrases) in phrases where phrases.contains(where: { text.has($0) }) { return area }
        return nil
    }

    /// Wordings of drivers/pci and of its controllers' drivers, and those that drivers share.
    private static let phrases: [(Area, [StaticString])] = [
        (
            .link,
            [
                "Phy link never came up", "link never came up", "PCIe link down", "Link Fail", "link is not up",
                "link up timeout", "Link never came up", "Link down", "link down", "Slot(", "broken device, retraining",
                "Data Link Layer Link Active not set", "failed to bring link up",
            ]
        ),
        (
            .power,
            [
                "not ready", "can't change power state", "Unable to change power state", "device inaccessible",
                "efused to change power state", "Power fault", "device lost from bus",
            ]
        ),
        (.isolation, ["ACSViol"]),
        (.errors, ["error message received", "PCIe Bus Error", "AER: Corrected error", "AER: Uncorrected"]),
        (.rom, ["Unable to locate a BIOS ROM", "Invalid PCI ROM header signature"]),
        (.dma, ["swiotlb buffer is full", "No usable DMA", "can't allocate MSI", "DMA mask"]),
        (
            .driver,
            [
                "probe failed", "failed with error", "Direct firmware load", "ring test failed",
                "deferred probe pending", "probe deferral", "*ERROR*", "Fatal error during GPU init",
            ]
        ),
    ]

    /// The signs in a log, the first of each area and function, at most eight.
    ///
    /// Messages that only say that a slot is empty or filled are none.
    /// - Complexity: O(number of bytes).
    public static func signs(in log: [String]) -> [CauseSign] {
        var result: [CauseSign] = []
        for line in log where result.count < 8 {
            let bytes = Array(line.utf8)[...]
            guard let message = LogTextLine(bytes)?.message, let area = area(of: message), TriageLine(message) == nil
            else { continue }
            if message.has("Slot("), !message.has("Link Down"), !message.has("Cannot train link") { continue }
            let address = LogTextReader.takeSubject(message)?.address
            guard isOfPCI(message, address) else { continue }
            if result.contains(where: { $0.area == area && $0.address == address }) { continue }
            result.append(CauseSign(area: area, address: address, message: message.string))
        }
        return result
    }

    private static func isOfPCI(_ message: TextBytes, _ address: FunctionAddress?) -> Bool {
        address != nil || message.before(":").has("pci")
    }
}
