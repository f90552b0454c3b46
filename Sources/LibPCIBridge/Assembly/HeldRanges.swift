// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Which ranges of PCI functions the kernel holds: the nodes of /proc/iomem and /proc/ioports that bear the name of a
/// function (BARs) or of a bus (windows).
struct HeldRanges {
    private enum Owner: Hashable {
        case function(FunctionAddress)
        case bus(UInt32, BusNumber)
    }

    private struct Key: Hashable {
        var owner: Owner
        var range: AddressRange
    }

    private var nodes: Set<Key> = []
    /// Whether the text names PCI at all; without that nobody can tell what is held.
    private(set) var isKnown = false

    /// Takes the nodes of `text`; nil or zeroed text gives unknown.
    init(_ text: IomemText?) {
        guard let text, !text.isZeroed else { return }
        nodes.reserveCapacity(text.nodes.count)
        for node in text.nodes {
            if let address = functionName(node.name) {
                nodes.insert(Key(owner: .function(address), range: node.range))
                isKnown = true
            } else if let bus = IomemText.bus(named: node.name) {
                nodes.insert(Key(owner: .bus(bus.segment, bus.bus), range: node.range))
                isKnown = true
            }
        }
    }

    func holds(_ range: AddressRange, of address: FunctionAddress) -> Bool {
        nodes.contains(Key(owner: .function(address), range: range))
    }

    func holds(_ range: AddressRange, ofBus bus: BusNumber, segment: UInt32) -> Bool {
        nodes.contains(Key(owner: .bus(segment, bus), range: range))
    }
}

/// The address that a node's name states (`0000:00:1f.2`), or nil for another name.
func functionName(_ name: String) -> FunctionAddress? {
    let count = name.utf8.count
    guard count >= 12, count <= 16 else { return nil }
    return FunctionAddress(parsing: name)
}
