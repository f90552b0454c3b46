// SPDX-License-Identifier: GPL-2.0-or-later

/// Who notices a card that is plugged into a bus.
///
/// What happens then differs: pciehp lets windows grow and renumbers behind the port, acpiphp takes what is free in the
/// windows as they are, and where nobody listens nothing happens until a rescan.
public enum SlotDriver: String, Hashable, Sendable, CaseIterable {
    /// The PCI Express hot-plug driver.
    case pciehp
    /// The ACPI hot-plug driver.
    case acpiphp
    /// The driver of standard hot-plug controllers in conventional bridges.
    case shpchp
    /// Another driver: rpaphp, pnv_php, ibmphp, …
    case other
    /// Nobody: a card is there, and the kernel does not know until a rescan.
    case nobody
    /// The evidence does not tell.
    case unknown

    /// The driver that a module's name stands for.
    public init(moduleName: String) {
        self = SlotDriver(rawValue: moduleName).flatMap { $0.isModule ? $0 : nil } ?? .other
    }

    private var isModule: Bool {
        switch self {
        case .pciehp, .acpiphp, .shpchp: true
        case .other, .nobody, .unknown: false
        }
    }
}

extension Function {
    /// The lowest device number on the bus behind the bridge that a further card could have, or nil: a PCI Express port
    /// leads to one device, and an empty bus takes any.
    public func freeDevice(among children: [Function]) -> UInt8? {
        guard isBridge, !children.isEmpty else { return nil }
        switch capabilities.express?.portType {
        case .rootPort, .downstreamPort: return nil
        default: break
        }
        let taken = Set(children.filter { !$0.isVirtual }.map(\.address.device))
        return (UInt8(0)..<32).first { !taken.contains($0) }
    }
}

extension Topology {
    /// What an answer about a card behind the bridge at index `i` lacks where nobody told who drives its slot.
    public func slotDriverNotTold(behind i: Int) -> Unknown {
        Unknown(
            .slotDriverNotTold,
            [functions[i].address],
            "who notices a card behind \(functions[i].address), pciehp, acpiphp or nobody, is not told, and the answer "
                + "depends on it",
            [.snapshot]
        )
    }
}
