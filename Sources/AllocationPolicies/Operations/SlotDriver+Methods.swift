// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

extension SlotDriver {
    /// The ways in which a card may be noticed, likeliest first; more than one only where the evidence does not tell.
    ///
    /// shpchp configures a slot as pciehp does. What another driver does is not known, nor is what an unknown one does: a
    /// slot that can be hot-plugged is pciehp's or acpiphp's, any other acpiphp's or nobody's.
    public func methods(isHotPlugCapable: Bool) -> [HotPlugMethod] {
        switch self {
        case .pciehp, .shpchp: [.pciehp]
        case .acpiphp: [.acpiphp]
        case .nobody: [.unnoticed]
        case .other: [.pciehp, .acpiphp]
        case .unknown: isHotPlugCapable ? [.pciehp, .acpiphp] : [.unnoticed, .acpiphp]
        }
    }
}

extension Topology {
    /// The ways in which a card behind the bridge at index `i` may be noticed.
    public func hotPlugMethods(behind i: Int) -> [HotPlugMethod] {
        functions[i].use.slotDriver.methods(isHotPlugCapable: functions[i].isHotPlugBridge)
    }
}

extension LinuxTwin {
    /// Plugs a card behind a bridge and sees to it that the kernel knows it: where nobody notices it, or the ACPI driver
    /// drops it again for want of room, the slot is given power and the bus behind the bridge rescanned, as an
    /// administrator would do.
    ///
    /// - Returns: whether a rescan was needed.
    /// - Throws: as `perform`.
    @discardableResult
    public mutating func plug(
        _ card: CardProfile,
        behind port: FunctionAddress,
        _ method: HotPlugMethod
    ) throws(TwinError) -> Bool {
        guard let bus = busRange(of: port)?.first else {
            try perform(.hotAdd(port: port, card: card, method: method))
            return false
        }
        let isBeside = card.functions.allSatisfy { $0.devfn >= 8 }
        if isBeside {
            try perform(.hotAddOnBus(segment: port.segment, bus: bus, card: card, method: method))
        } else {
            try perform(.hotAdd(port: port, card: card, method: method))
        }
        guard method != .pciehp else { return false }
        let isKnown = card.functions.allSatisfy { function in
            position(of: FunctionAddress(segment: port.segment, bus: bus, devfn: function.devfn)) != nil
        }
        guard !isKnown else { return false }
        try perform(.rescanBus(segment: port.segment, bus: bus))
        return true
    }
}

extension CardProfile {
    /// The card with its functions at another device number, 0 to 31.
    public func moved(toDevice device: UInt8) -> CardProfile {
        var copy = self
        for i in copy.functions.indices { copy.functions[i].devfn = (device & 31) << 3 | copy.functions[i].devfn & 7 }
        return copy
    }
}
