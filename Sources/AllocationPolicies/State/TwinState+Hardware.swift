// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Putting functions into the machine and taking them out; no kernel is involved.
extension TwinState {
    /// Adds a function with its registers and its share of the resource table; it is not yet below anything.
    mutating func appendFunction(_ function: FunctionFacts, _ held: FunctionRegisters) -> Int32 {
        var function = function
        if function.isBridge {
            function.resourceCount = 17
        } else if function.totalVFs > 0 {
            function.resourceCount = 13
        } else {
            function.resourceCount = 7
        }
        function.firstResource = resources.count
        let device = facts.append(function)
        _ = registers.append(held)
        _ = devices.append(KernelDevice())
        for _ in 0..<function.resourceCount { _ = appendResource(KernelResource(), owner: device) }
        return device
    }

    /// Puts a function behind a bridge, or on a root bus, in order of devfn.
    mutating func attach(_ device: Int32, parent: Int32, host: Int32) {
        facts[device].parent = parent
        facts[device].host = host
        var previous = none
        var next = parent == none ? hosts[Int(host)].firstFunction : facts[parent].firstChild
        while next != none, facts[next].devfn < facts[device].devfn {
            previous = next
            next = facts[next].nextSibling
        }
        facts[device].nextSibling = next
        if previous != none {
            facts[previous].nextSibling = device
        } else if parent == none {
            hosts[Int(host)].firstFunction = device
        } else {
            facts[parent].firstChild = device
        }
    }

    /// Puts a card behind a bridge (or on a root bus), switched off and without addresses.
    mutating func insert(_ card: CardProfile, parent: Int32, host: Int32) {
        insert(card.functions, parent: parent, host: host)
    }

    private mutating func insert(_ functions: [CardFunction], parent: Int32, host: Int32) {
        for function in functions {
            let slot = function.devfn >> 3
            let isMulti = functions.contains { $0.devfn >> 3 == slot && $0.devfn & 7 != 0 }
            let (facts, registers) = make(function, isMultiFunction: isMulti)
            let device = appendFunction(facts, registers)
            attach(device, parent: parent, host: host)
            if let bridge = function.bridge { insert(bridge.children, parent: device, host: host) }
        }
    }

    private func make(_ card: CardFunction, isMultiFunction: Bool) -> (FunctionFacts, FunctionRegisters) {
        var made = FunctionFacts()
        var held = FunctionRegisters()
        made.vendor = card.identity.vendor
        made.device = card.identity.device
        made.subsystemVendor = card.identity.subsystemVendor
        made.subsystemDevice = card.identity.subsystemDevice
        made.classCode = card.identity.classCode
        made.revision = card.identity.revision
        made.devfn = card.devfn
        made.isMultiFunction = isMultiFunction
        made.headerLayout = card.bridge == nil ? 0 : 1
        made.portType = card.portType?.rawValue ?? 0xff
        made.hidesExtendedConfiguration = card.bridge != nil && !(4...6).contains(made.portType)
        made.hasARI = card.hasARI
        made.hasErrorReporting = card.hasErrorReporting
        var offset: UInt16 = 0x208
        for bar in card.bars {
            fill(&made.bars, bar)
            held.sizes[bar.index] = bar.size
            if bar.resizable != 0 {
                made.bars[bar.index].resizable = bar.resizable
                made.bars[bar.index].resizeControl = offset
                offset += 8
            }
        }
        made.hasROM = card.romSize > 0
        held.romSize = card.romSize
        if let bridge = card.bridge {
            made.isSlotHotPlug = bridge.isHotPlug
            made.hasIOWindow = bridge.hasIO
            made.hasIO32 = bridge.hasIO32
            made.hasPrefetchWindow = bridge.hasPrefetchable
            made.hasPrefetch64 = bridge.hasPrefetchable && bridge.hasPrefetchable64
            made.forwardsARI = bridge.forwardsARI
            if bridge.isSubtractive { made.classCode |= 1 }
        }
        if let sriov = card.sriov, fileShape.numbering == .withVFs {
            made.totalVFs = sriov.total
            made.initialVFs = sriov.total
            made.vfOffset = sriov.offset
            made.vfStride = sriov.stride
            made.vfDevice = sriov.device
            for bar in sriov.bars {
                fill(&made.vfBARs, bar)
                held.vfSizes[bar.index] = bar.size
            }
        }
        made.driverLeavesVFs = Self.leavesVFs(card.driver)
        made.driver = driverKind(named: card.driver, portType: made.portType, classCode: made.classCode)
        return (made, held)
    }

    private func fill(_ bars: inout Six<BARFacts>, _ bar: CardBAR) {
        guard (0...5).contains(bar.index) else { return }
        bars[bar.index].kind = bar.isIO ? .io : bar.is64Bit ? .memory64 : .memory32
        bars[bar.index].isPrefetchable = bar.isPrefetchable
        if bar.is64Bit, bar.index < 5 { bars[bar.index + 1].kind = .upperHalf }
    }

    /// Whether a driver leaves VFs enabled when it lets go; others call `pci_disable_sriov`.
    static func leavesVFs(_ driver: String?) -> Bool { driver == "nvme" || driver == "pci-pf-stub" }

    /// What the driver of a name does when it binds.
    ///
    /// Ports get the port driver whatever was bound.
    func driverKind(named name: String?, portType: UInt8, classCode: UInt32) -> DriverKind {
        if portType == 4 || portType == 5 || portType == 6, classCode >> 8 == 0x0604, platform.bindsPortDriver {
            return .port
        }
        switch name {
        case nil: return .none
        case "vfio-pci", "pci-stub", "pci-pf-stub", "pciback", "xen-pciback": return .passive
        default: return .enabling
        }
    }

    /// Takes everything behind a bridge out of the machine.
    mutating func pull(behind bridge: Int32) {
        var child = facts[bridge].firstChild
        facts[bridge].firstChild = none
        while child != none {
            let next = facts[child].nextSibling
            facts[child].isPresent = false
            pull(behind: child)
            child = next
        }
    }
}
