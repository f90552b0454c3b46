// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Who drives the slots of a machine, by what a record tells.
///
/// pciehp shows as a service below the port, by its announcement in the log, and by the interrupt that it keeps on in the
/// Slot Control register; acpiphp and shpchp by the slots below /sys/bus/pci/slots, which only hot-plug drivers give a file
/// `adapter`. The kernel's words and the _OSC negotiation tell what may be, and with the list of slots what is not.
struct SlotDriverEvidence {
    private struct Bus: Hashable {
        var segment: UInt32
        var number: BusNumber
    }

    private let log: KernelLogFacts
    /// Ports that pciehp is bound to; nil when nobody looked.
    private let nativePorts: Set<FunctionAddress>?
    /// Buses with a slot that a hot-plug driver made, and which, where a module or the log says so.
    private var slots: [Bus: SlotDriver?] = [:]
    /// Whether the list of slots was read: what is not in it is not there.
    private let areSlotsKnown: Bool
    /// Whether ACPI describes the machine; nil when that is not known.
    private let hasACPI: Bool?
    private let words: [Substring]

    init(_ record: MachineRecord, _ log: KernelLogFacts) {
        self.log = log
        nativePorts = record.nativeHotPlugPorts.map { Set($0) }
        words = (record.kernel.commandLine ?? "").split(separator: " ")
        let acpiOff = words.contains { $0 == "acpi=off" || $0 == "acpi=ht" }
        hasACPI =
            acpiOff
            ? false
            : record.kernel.hardwareDescription.map { $0 == .acpi } ?? (record.kernel.isX86 == true ? true : nil)
        areSlotsKnown =
            record.origin == .live || record.nativeHotPlugPorts != nil
            || record.origin == .directory && !record.slots.isEmpty
        for slot in record.slots where slot.isOccupied != nil || slot.module != nil {
            guard let place = slot.firstFunction else { continue }
            let bus = Bus(segment: place.segment, number: place.bus)
            if let module = slot.module {
                slots[bus] = .some(SlotDriver(moduleName: module))
            } else if log.acpiSlots.contains(slot.name) {
                slots[bus] = .some(.acpiphp)
            } else if slots[bus] == nil {
                slots[bus] = .some(nil)
            }
        }
    }

    /// Who notices a card that is plugged in behind a bridge.
    func driver(behind bridge: Function) -> SlotDriver {
        let number = bridge.bridge?.busRange?.first
        let slot = number.flatMap { slots[Bus(segment: bridge.address.segment, number: $0)] }
        if case .some(.some(let driver)) = slot, driver != .acpiphp || nativePorts?.contains(bridge.address) != true {
            return driver
        }
        switch isNative(bridge) {
        case true?: return .pciehp
        case false?: break
        case nil: return .unknown
        }
        if bridge.use.driver == "shpchp" { return .shpchp }
        if slot != nil { return hasACPI == false ? .other : hasACPI == nil ? .unknown : .acpiphp }
        if number == nil || areSlotsKnown || isACPIDriverOff { return .nobody }
        return .unknown
    }

    /// Who notices a card that is plugged into a root bus.
    func driver(onBus number: BusNumber, segment: UInt32) -> SlotDriver {
        if let slot = slots[Bus(segment: segment, number: number)] {
            return slot ?? (hasACPI == false ? .other : hasACPI == nil ? .unknown : .acpiphp)
        }
        return areSlotsKnown || isACPIDriverOff ? .nobody : .unknown
    }

    /// Whether nobody could use ACPI's description of slots.
    private var isACPIDriverOff: Bool {
        hasACPI == false || words.contains { $0 == "acpiphp.disable" || $0 == "acpiphp.disable=1" }
    }

    /// Whether pciehp drives the slot of a port; nil when nothing tells.
    private func isNative(_ port: Function) -> Bool? {
        if let nativePorts { return nativePorts.contains(port.address) }
        if log.functions[port.address]?.isDrivenNatively == true { return true }
        if words.contains("pcie_ports=compat") { return false }
        // What could be read of the registers: a port without a slot, or whose slot's interrupt is off, is not driven.
        let wasRead = port.config.count > 64 && port.knowledge.registers == .seen
        if wasRead, !port.isHotPlugBridge { return false }
        if wasRead, port.isHotPlugBridge, let isOn = port.capabilities.express?.isHotPlugInterruptOn {
            return port.use.driver == "pcieport" && isOn
        }
        guard port.isHotPlugBridge else { return nil }
        if words.contains("pcie_ports=native") { return true }
        let host = log.hosts.last {
            $0.segment == port.address.segment && $0.rootBus <= port.address.bus
                && ($0.busRange?.contains(port.address.bus) ?? true)
        }
        return host?.hasNativeHotPlug
    }
}
