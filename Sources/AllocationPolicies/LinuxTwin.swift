// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What a Linux kernel would do to a machine: hardware registers and kernel state, changed by operations the way that
/// kernel changes them.
///
/// A value: copy it to try something else. Prediction is exact for the kernels behind the presets of `KernelBehaviour`.
public struct LinuxTwin: Sendable {
    var state: TwinState
    /// The functions that the twin was made from, with what it does not model.
    var originals: [Function]
    var kernel: KernelIdentity
    var gaps: [ReadingGap]
    /// The blockers as they were given, to hand on.
    var givenBlockers: [Blocker]

    /// The behaviour that the twin follows.
    public var behaviour: KernelBehaviour { state.behaviour }

    /// The platform that the twin runs on.
    public var platform: Platform { state.platform }

    /// The string in force in /sys/bus/pci/resource_alignment.
    public var alignmentRequests: String { state.alignmentRequests }

    /// Whether functions that are found are offered to drivers: /sys/bus/pci/drivers_autoprobe.
    public var probesDrivers: Bool { state.probesDrivers }

    /// Whether operations record events; switch it off where only the outcome counts.
    public var recordsEvents: Bool {
        get { state.records }
        set { state.records = newValue }
    }

    /// Carries out an operation and gives what the kernel does, in the order of its log.
    ///
    /// What the kernel itself would refuse is an event, not an error.
    ///
    /// - Throws: `TwinError` when the operation names something that is not there or makes no sense for it; the twin is
    ///   unchanged then.
    /// - Complexity: one walk of the affected subtree per try; O(n log n) for n resources that need a place.
    @discardableResult
    public mutating func perform(_ operation: TwinOperation) throws(TwinError) -> [TwinEvent] {
        state.events.removeAll(keepingCapacity: true)
        try carryOut(operation)
        let events = state.events
        state.events = []
        return events
    }

    private mutating func carryOut(_ operation: TwinOperation) throws(TwinError) {
        switch operation {
        case .remove(let address):
            let device = try known(address)
            try expectNoVFsLeft(device)
            state.removeDevice(device)
        case .rescan:
            for host in state.hosts where host.rootBus != none { state.rescan(host.rootBus) }
        case .rescanDevice(let address): state.rescan(state.devices[try known(address)].bus)
        case .rescanBus(let segment, let number):
            let bus = state.findBus(Int(number.rawValue), segment: segment)
            guard bus != none else { throw TwinError(.noSuchBus, "expected a bus \(number), found none") }
            state.rescanBus(bus)
        case .hotAdd(let port, let card, let method): try hotAdd(card, behind: try known(port), method)
        case .hotAddOnBus(let segment, let number, let card, let method):
            let bus = state.findBus(Int(number.rawValue), segment: segment)
            guard bus != none else { throw TwinError(.noSuchBus, "expected a bus \(number), found none") }
            try hotAdd(card, onBus: bus, method)
        case .unplug(let port):
            let bridge = try knownBridge(port)
            state.unconfigureSlot(behind: bridge)
            state.pull(behind: bridge)
        case .resourceAlignment(let text): state.alignmentRequests = text
        case .resizeBAR(let address, let bar, let exponent):
            let device = try resizable(address, bar)
            state.resize(device, bar: bar, exponent: exponent)
        case .setVFs(let address, let number):
            let device = try known(address)
            guard state.facts[device].totalVFs > 0 else {
                throw TwinError(.badArgument, "expected a function with SR-IOV, \(address) has none")
            }
            state.setVFs(device, number)
        case .bind(let address): state.bind(try known(address))
        case .unbind(let address): state.unbind(try known(address))
        case .setEnabled(let address, let on): try setEnabled(try known(address), on)
        case .setAutoprobe(let on): state.probesDrivers = on
        case .boot(let platform):
            state.platform = platform
            state.boot()
        case .writeConfig, .setBusNumbers, .writeWindow, .setCommand, .setResizableBAR: try write(operation)
        }
    }

    /// `enable_store`: refused while a driver is bound.
    private mutating func setEnabled(_ device: Int32, _ on: Bool) throws(TwinError) {
        if state.devices[device].isBound {
            return state.note(.refused(state.address(device), .busy, "a driver is bound"))
        }
        if on {
            state.enable(device)
        } else if state.isEnabled(device) {
            state.disable(device)
        } else {
            state.note(.refused(state.address(device), .io, "the function is not enabled"))
        }
    }

    private mutating func hotAdd(_ card: CardProfile, behind port: Int32, _ method: HotPlugMethod) throws(TwinError) {
        guard state.isBridge(port) else {
            throw TwinError(.notABridge, "expected a port, \(state.address(port)) is no bridge")
        }
        guard state.facts[port].firstChild == none else {
            throw TwinError(.occupied, "expected an empty slot, something is behind \(state.address(port))")
        }
        try expectSensible(card)
        state.insert(card, parent: port, host: state.facts[port].host)
        guard method != .unnoticed else { return }
        let bus = state.devices[port].subordinate
        guard bus != none else {
            return state.note(.refused(state.address(port), .noDevice, "the port has no bus"))
        }
        configureSlot(onBus: bus, device: 0, method)
    }

    private mutating func hotAdd(_ card: CardProfile, onBus bus: Int32, _ method: HotPlugMethod) throws(TwinError) {
        try expectSensible(card)
        let bridge = state.buses[bus].bridge
        let host = state.buses[bus].host
        var there = bridge == none ? state.hosts[Int(host)].firstFunction : state.facts[bridge].firstChild
        while there != none {
            if let taken = card.functions.first(where: { $0.devfn >> 3 == state.facts[there].devfn >> 3 }) {
                throw TwinError(
                    .occupied,
                    "expected a free device number, device \(taken.devfn >> 3) of the bus is there already"
                )
            }
            there = state.facts[there].nextSibling
        }
        guard let device = card.functions.map({ $0.devfn >> 3 }).min() else { return }
        state.insert(card, parent: bridge, host: host)
        configureSlot(onBus: bus, device: device, method)
    }

    /// Lets a hot-plug driver find what is in a slot.
    private mutating func configureSlot(onBus bus: Int32, device: UInt8, _ method: HotPlugMethod) {
        switch method {
        case .pciehp: state.configureSlot(onBus: bus, device: device)
        case .acpiphp: state.enableACPISlot(onBus: bus, device: device)
        case .unnoticed: break
        }
    }

    private func expectSensible(_ card: CardProfile) throws(TwinError) {
        guard card.isSensible else {
            throw TwinError(
                .badArgument,
                "card \(card.name): expected BAR indexes 0 to 5 and sizes that are powers of two"
            )
        }
    }

    /// The function that the kernel knows at an address.
    func known(_ address: FunctionAddress) throws(TwinError) -> Int32 {
        if let device = position(of: address) { return device }
        throw TwinError(.noSuchFunction, "expected a function at \(address), the kernel knows none there")
    }

    /// Where VFs are left enabled, what stays depends on who still holds what: nothing is predicted, and nobody should.
    private func expectNoVFsLeft(_ device: Int32) throws(TwinError) {
        let isBound = state.devices[device].isBound
        if state.devices[device].enabledVFs > 0, state.facts[device].driverLeavesVFs || !isBound {
            throw TwinError(
                .badArgument,
                "expected no VFs at \(state.address(device)), "
                    + (isBound
                        ? "whose driver leaves them enabled when it is removed" : "which has no driver to end them")
                    + "; found \(state.devices[device].enabledVFs): write 0 to sriov_numvfs first"
            )
        }
        let below = state.devices[device].subordinate
        guard below != none else { return }
        var child = state.buses[below].lastDevice
        while child != none {
            try expectNoVFsLeft(child)
            child = state.devices[child].previous
        }
    }

    private func knownBridge(_ address: FunctionAddress) throws(TwinError) -> Int32 {
        let device = try known(address)
        guard state.isBridge(device) else {
            throw TwinError(.notABridge, "expected a bridge, \(address) is none")
        }
        return device
    }

    func resizable(_ address: FunctionAddress, _ bar: Int) throws(TwinError) -> Int32 {
        let device = try known(address)
        guard (0...5).contains(bar), state.facts[device].bars[bar].resizable != 0 else {
            throw TwinError(.badArgument, "expected a resizable BAR, BAR \(bar) of \(address) is none")
        }
        return device
    }

    /// The number of the function at an address, or nil.
    func position(of address: FunctionAddress) -> Int32? {
        let bus = state.findBus(Int(address.bus.rawValue), segment: address.segment)
        guard bus != none else { return nil }
        var device = state.buses[bus].firstDevice
        while device != none {
            if state.devices[device].devfn == address.devfn { return device }
            device = state.devices[device].next
        }
        return nil
    }
}

extension CardProfile {
    /// Whether every BAR has an index in range and a size that is a power of two.
    var isSensible: Bool { functions.allSatisfy(\.isSensible) }
}

extension CardFunction {
    fileprivate var isSensible: Bool {
        let all = bars + (sriov?.bars ?? [])
        return all.allSatisfy { bar in
            (0...5).contains(bar.index) && (!bar.is64Bit || bar.index < 5) && bar.size > 0
                && bar.size & (bar.size - 1) == 0 && bar.size >= (bar.isIO ? 4 : 16)
        }
            && (romSize == 0 || romSize & (romSize - 1) == 0)
            && (bridge?.children.allSatisfy(\.isSensible) ?? true)
    }
}

extension LinuxTwin {
    /// The sysfs file `resource` of a function, one element per index: 13, for a bridge with a bus 17; nil when the kernel
    /// does not know the function.
    public func resourceLines(of address: FunctionAddress) -> [ResourceLine]? {
        guard let device = position(of: address) else { return nil }
        return resourceLines(ofDevice: device)
    }

    /// The sysfs file `resource` of a device by index (`resource_show`).
    func resourceLines(ofDevice device: Int32) -> [ResourceLine] {
        let shape = state.fileShape
        let first = state.facts[device].firstResource
        return (0..<shape.lineCount(hasBus: state.devices[device].subordinate != none)).map { line in
            guard let name = shape.numbering.index(ofLine: line) else { return .zero }
            let index = Int32(name.rawValue)
            guard index < state.facts[device].resourceCount else { return .zero }
            let held = state.resources[first &+ index]
            // From 7.0 windows without a place are shown as zeros.
            if state.behaviour.closedWindowsKeepFlags, index >= 13, held.flags & (Flag.unset | Flag.disabled) != 0 {
                return .zero
            }
            // Ports are shown as the bus sees them (`pci_resource_to_user` of powerpc).
            let offset =
                state.platform.showsBusPorts && held.flags & Flag.io != 0
                ? state.offset(of: first &+ index, on: state.devices[device].bus) : 0
            return ResourceLine(
                start: held.start &- offset,
                end: held.end &- offset,
                flags: ResourceFlags(rawValue: UInt64(held.flags))
            )
        }
    }

    /// Every function that the kernel knows, in ascending address order.
    public var addresses: [FunctionAddress] {
        (0..<state.devices.count).filter { state.devices[$0].exists }.map { state.address($0) }.sorted()
    }

    /// The number of functions that are plugged in and that the kernel does not know, VFs not counted.
    ///
    /// Removed ones, and those behind unreachable bus numbers: a reading of the machine would not show them.
    public var unknownFunctionCount: Int {
        (0..<state.devices.count).count { device in
            let facts = state.facts[device]
            return !state.devices[device].exists && facts.isPresent && facts.physicalFunction == none
        }
    }

    /// The bus range that the kernel holds for the bridge at an address, or nil.
    public func busRange(of address: FunctionAddress) -> BusRange? {
        guard let device = position(of: address), state.devices[device].subordinate != none else { return nil }
        return state.busRange(state.devices[device].subordinate)
    }

    /// The kernel's enable count of the function at an address, or nil.
    public func enableCount(of address: FunctionAddress) -> Int? {
        position(of: address).map { Int(state.devices[$0].enableCount) }
    }
}
