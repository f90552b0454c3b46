// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// One function of the model as facts and registers.
extension LinuxTwin {
    func read(_ function: Function, number: Int32, _ topology: Topology) -> (FunctionFacts, FunctionRegisters) {
        var facts = FunctionFacts()
        var held = FunctionRegisters()
        let config = function.config
        facts.original = number
        facts.vendor = function.identity.vendor
        facts.device = function.identity.device
        facts.subsystemVendor = function.identity.subsystemVendor
        facts.subsystemDevice = function.identity.subsystemDevice
        facts.classCode = function.identity.classCode
        facts.revision = function.identity.revision
        facts.devfn = function.address.devfn
        facts.headerLayout = config.headerLayout ?? (function.isBridge ? 1 : 0)
        if function.isBridge, facts.headerLayout == 0 { facts.headerLayout = 1 }
        facts.isMultiFunction = config.isMultiFunction || hasSiblingFunctions(function, topology)
        facts.portType = function.capabilities.express.map { $0.portType?.rawValue ?? 0xf } ?? 0xff
        facts.isSlotHotPlug = function.isHotPlugBridge
        if let express = function.capabilities.express { readPort(function, Int(express.offset), &facts) }
        facts.hidesExtendedConfiguration = hidesExtendedConfiguration(function, portType: facts.portType)
        facts.hasARI = function.capabilities.hasARI
        facts.forwardsARI = function.capabilities.express?.supportsARIForwarding ?? false
        held.ariForwarding = function.capabilities.express?.isARIForwardingEnabled ?? false
        held.command = config.command?.rawValue ?? (function.use.driver != nil ? 7 : 0)
        if !function.isVirtual {
            readBARs(function, &facts, &held)
            readSRIOV(function, &facts, &held)
        }
        if function.isBridge { readBridge(function, &facts, &held) }
        facts.driverLeavesVFs = TwinState.leavesVFs(function.use.driver)
        facts.driver = state.driverKind(
            named: function.use.driver,
            portType: facts.portType,
            classCode: facts.classCode
        )
        return (facts, held)
    }

    /// `pci_bridge_child_ext_cfg_accessible`: false as well when too little could be read to know.
    private func hidesExtendedConfiguration(_ function: Function, portType: UInt8) -> Bool {
        guard function.isBridge, function.config.count >= 0x100, !(4...6).contains(portType) else { return false }
        guard let extended = function.capabilities.standard.first(where: { $0.id == 0x07 }) else { return true }
        let clocks266And533: UInt32 = 0xc000_0000
        return (function.config.long(Int(extended.offset) + 4) ?? 0) & clocks266And533 == 0
    }

    /// What the port driver looks at.
    private func readPort(_ function: Function, _ offset: Int, _ facts: inout FunctionFacts) {
        facts.hasErrorReporting = function.capabilities.extended.contains { $0.id == 0x01 }
        facts.hasContainment = function.capabilities.extended.contains { $0.id == 0x1d }
        facts.notifiesBandwidth = (function.config.long(offset + 0x0c) ?? 0) & 1 << 21 != 0
        let speeds = (function.config.long(offset + 0x2c) ?? 0) >> 1 & 0x7f
        facts.hasSeveralSpeeds = speeds.nonzeroBitCount > 1
    }

    /// Whether pciehp drives the slots of each host bridge: it keeps the slots' interrupt on; nil without a slot that tells.
    static func nativeHotPlug(_ topology: Topology) -> [Bool?] {
        var result = [Bool?](repeating: nil, count: topology.hostBridges.count)
        for i in topology.functions.indices where topology.functions[i].isHotPlugBridge {
            let host = topology.host(of: i)
            guard result.indices.contains(host), result[host] != true,
                topology.functions[i].use.driver == "pcieport",
                let isDriven = topology.functions[i].capabilities.express?.isHotPlugInterruptOn
            else { continue }
            result[host] = isDriven
        }
        return result
    }

    private func hasSiblingFunctions(_ function: Function, _ topology: Topology) -> Bool {
        guard function.address.function == 0 else { return true }
        let first = FunctionAddress(
            segment: function.address.segment,
            bus: function.address.bus,
            devfn: function.address.devfn
        )
        return (1..<8).contains { other in
            let address = FunctionAddress(segment: first.segment, bus: first.bus, devfn: first.devfn | UInt8(other))
            guard let sibling = topology[address] else { return false }
            return !sibling.isVirtual
        }
    }

    private func readBARs(_ function: Function, _ facts: inout FunctionFacts, _ held: inout FunctionRegisters) {
        for resource in function.resources {
            // A hardware size: the power of two that the kernel's (perhaps odd) figure fills.
            let size = ((resource.hardwareSize ?? resource.size)?.rawValue ?? 0).roundedUpToPowerOfTwo
            let offset = apertureOffset(resource.shownRange, function)
            if resource.index.isROM, resource.isFixed, resource.shownRange?.first == 0xc0000 {
                facts.hasShadowedROM = true
                continue
            }
            if resource.index.isROM {
                facts.hasROM = size > 0
                held.romSize = size
                let register = function.config.long(function.isBridge ? 0x38 : 0x30)
                held.rom = UInt64((register ?? 0) & 0xffff_f800)
                held.romEnabled = (register ?? 0) & 1 != 0
                if register == nil, let range = resource.shownRange { held.rom = range.first &- offset }
                continue
            }
            guard resource.index.isBAR else { continue }
            let bar = Int(resource.index.rawValue)
            if resource.isFixed {
                // Compatibility-mode IDE is derived from the class again.
                if facts.classCode >> 8 == 0x0101 { continue }
                facts.bars[bar].fixedRange = resource.shownRange
            }
            describe(&facts.bars[bar], resource.flags)
            if facts.bars[bar].kind == .memory64, bar < 5 { facts.bars[bar + 1].kind = .upperHalf }
            held.sizes[bar] = size
            if let low = function.config.long(0x10 + 4 * bar) {
                let isIO = resource.flags.contains(.io)
                var value = UInt64(isIO ? low & ~3 : low & ~0xf)
                if facts.bars[bar].kind == .memory64 {
                    value |= UInt64(function.config.long(0x14 + 4 * bar) ?? 0) << 32
                }
                held.bars[bar] = value
            } else if let range = resource.shownRange {
                held.bars[bar] = range.first &- offset
            }
        }
        for entry in function.capabilities.resizableBARs where (0...5).contains(entry.bar) {
            facts.bars[entry.bar].resizable = entry.supportedSizes
            facts.bars[entry.bar].resizeControl = entry.controlOffset
            if let size = entry.currentSize { held.sizes[entry.bar] = size.rawValue }
        }
    }

    private func describe(_ bar: inout BARFacts, _ flags: ResourceFlags) {
        bar.isPrefetchable = flags.contains(.prefetchable)
        if flags.contains(.io) {
            bar.kind = .io
        } else if flags.contains(.memory) {
            bar.kind = flags.contains(.memory64) ? .memory64 : .memory32
        }
    }

    private func apertureOffset(_ range: AddressRange?, _ function: Function) -> UInt64 {
        guard state.translates, let range else { return 0 }
        for host in state.hosts where host.segment == function.address.segment {
            for (aperture, offset) in zip(host.apertures, host.offsets) {
                let held = state.resources[aperture]
                if held.start <= range.first, range.last <= held.end { return offset }
            }
        }
        return 0
    }

    private func readSRIOV(_ function: Function, _ facts: inout FunctionFacts, _ held: inout FunctionRegisters) {
        guard let sriov = function.capabilities.sriov, sriov.totalVFs > 0, state.fileShape.numbering == .withVFs else {
            return
        }
        facts.totalVFs = UInt16(truncatingIfNeeded: sriov.totalVFs)
        facts.initialVFs = UInt16(truncatingIfNeeded: sriov.initialVFs)
        facts.vfOffset = UInt16(truncatingIfNeeded: sriov.firstOffset)
        facts.vfStride = UInt16(truncatingIfNeeded: sriov.stride)
        facts.vfDevice = sriov.deviceID
        held.vfEnabled = sriov.isEnabled
        held.vfARI = sriov.isARICapableHierarchy
        held.numVFs = UInt16(truncatingIfNeeded: sriov.numVFs)
        for resource in function.resources where resource.index.isVFBAR {
            let bar = Int(resource.index.rawValue) - 7
            describe(&facts.vfBARs[bar], resource.flags)
            if resource.isFixed { facts.vfBARs[bar].fixedRange = resource.shownRange }
            if facts.vfBARs[bar].kind == .memory64, bar < 5 { facts.vfBARs[bar + 1].kind = .upperHalf }
            held.vfSizes[bar] = (resource.size?.rawValue ?? 0) / UInt64(facts.totalVFs)
            guard bar < sriov.barRegisters.count else { continue }
            var value = UInt64(sriov.barRegisters[bar] & ~0xf)
            if facts.vfBARs[bar].kind == .memory64, bar + 1 < sriov.barRegisters.count {
                value |= UInt64(sriov.barRegisters[bar + 1]) << 32
            }
            held.vfBARs[bar] = value
        }
    }

    private func readBridge(_ function: Function, _ facts: inout FunctionFacts, _ held: inout FunctionRegisters) {
        let config = function.config
        facts.hasIOWindow = function.resource(.ioWindow) != nil || (config.word(0x1c) ?? 0) != 0
        facts.hasPrefetchWindow = function.resource(.prefetchableWindow) != nil || (config.long(0x24) ?? 0) != 0
        facts.hasIO32 = facts.hasIOWindow && (config.byte(0x1c) ?? 0) & 0xf == 1
        facts.hasPrefetch64 =
            facts.hasPrefetchWindow
            && (config.hasHeader
                ? (config.byte(0x24) ?? 0) & 0xf == 1
                : function.resource(.prefetchableWindow)?.is64Bit == true)
        // Enhanced Allocation: the second dword of a bridge's capability fixes its bus numbers.
        if let ea = function.capabilities.standard.first(where: { $0.id == 0x14 }) {
            facts.fixedSecondary = config.byte(Int(ea.offset) + 4) ?? 0
            facts.fixedSubordinate = config.byte(Int(ea.offset) + 5) ?? 0
            if facts.fixedSubordinate < facts.fixedSecondary { facts.fixedSecondary = 0 }
        }
        if config.hasHeader, config.headerLayout == 1 {
            readBridgeRegisters(config, &held)
            return
        }
        // No registers were readable: they are taken to say what the kernel holds.
        held.primary = function.address.bus.rawValue
        if let range = function.bridge?.busRange {
            held.secondary = range.first.rawValue
            held.subordinate = range.last.rawValue
        }
        held.ioBase = 0xf0
        held.memoryBase = 0xfff0
        held.prefetchBase = 0xfff0
        for resource in function.resources where resource.index.isWindow {
            guard let range = resource.range else { continue }
            let offset = apertureOffset(range, function)
            let base = range.first &- offset
            let limit = range.last &- offset
            switch resource.index {
            case .ioWindow:
                held.ioBase = UInt8(truncatingIfNeeded: base >> 8) & 0xf0
                held.ioLimit = UInt8(truncatingIfNeeded: limit >> 8) & 0xf0
            case .memoryWindow:
                held.memoryBase = UInt16(truncatingIfNeeded: base >> 16) & 0xfff0
                held.memoryLimit = UInt16(truncatingIfNeeded: limit >> 16) & 0xfff0
            case .prefetchableWindow:
                held.prefetchBase = UInt16(truncatingIfNeeded: base >> 16) & 0xfff0
                held.prefetchLimit = UInt16(truncatingIfNeeded: limit >> 16) & 0xfff0
                held.prefetchBaseUpper = UInt32(truncatingIfNeeded: base >> 32)
                held.prefetchLimitUpper = UInt32(truncatingIfNeeded: limit >> 32)
            default: break
            }
        }
    }

    func readBridgeRegisters(_ config: ConfigSpace, _ held: inout FunctionRegisters) {
        held.primary = config.byte(0x18) ?? 0
        held.secondary = config.byte(0x19) ?? 0
        held.subordinate = config.byte(0x1a) ?? 0
        held.ioBase = (config.byte(0x1c) ?? 0) & 0xf0
        held.ioLimit = (config.byte(0x1d) ?? 0) & 0xf0
        held.ioBaseUpper = config.word(0x30) ?? 0
        held.ioLimitUpper = config.word(0x32) ?? 0
        held.memoryBase = (config.word(0x20) ?? 0) & 0xfff0
        held.memoryLimit = (config.word(0x22) ?? 0) & 0xfff0
        held.prefetchBase = (config.word(0x24) ?? 0) & 0xfff0
        held.prefetchLimit = (config.word(0x26) ?? 0) & 0xfff0
        held.prefetchBaseUpper = config.long(0x28) ?? 0
        held.prefetchLimitUpper = config.long(0x2c) ?? 0
        held.bridgeControl = config.word(0x3e) ?? 0
    }
}
