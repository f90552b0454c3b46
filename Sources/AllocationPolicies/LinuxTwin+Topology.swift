// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

// From the twin back to the model.
extension LinuxTwin {
    /// The machine as the kernel holds it now: every function that it knows, with resources, bus ranges and registers.
    ///
    /// Functions that were removed are absent, as they are from sysfs.
    ///
    /// - Throws: `TwinError.badTopology` when the kernel's state is no tree (two buses of one number after hand-written
    ///   bus numbers).
    /// - Complexity: O(n log n).
    public func topology() throws(TwinError) -> Topology {
        var functions: [Function] = []
        var order = 0
        for host in state.hosts where host.rootBus != none { collect(host.rootBus, &order, &functions) }
        let hostBridges = state.hosts.map { host in
            var bridge = HostBridge(
                segment: host.segment,
                busRange: BusRange(first: BusNumber(host.firstBus), last: BusNumber(max(host.firstBus, host.lastBus)))
                    ?? BusRange(BusNumber(host.firstBus)),
                apertures: zip(host.apertures, host.offsets).map { node, offset in
                    let held = state.resources[node]
                    return Aperture(
                        range: state.range(node),
                        flags: ResourceFlags(rawValue: UInt64(held.flags)),
                        offset: Int64(bitPattern: offset)
                    )
                },
                source: .kernelLog
            )
            bridge.slotDriver = host.slotDriver
            return bridge
        }
        var kernel = kernel
        kernel.resourceAlignment = state.alignmentRequests.isEmpty ? nil : state.alignmentRequests
        do {
            return try Topology(
                kernel: kernel,
                hostBridges: hostBridges,
                functions: functions,
                blockers: givenBlockers,
                gaps: gaps
            )
        } catch {
            throw TwinError(.badTopology, error.description)
        }
    }

    private func collect(_ bus: Int32, _ order: inout Int, _ functions: inout [Function]) {
        var device = state.buses[bus].firstDevice
        while device != none {
            functions.append(function(device, order: order))
            order += 1
            device = state.devices[device].next
        }
        // Buses, not bridges: a bus that VFs need has no bridge.
        var child = state.buses[bus].firstChild
        while child != none {
            collect(child, &order, &functions)
            child = state.buses[child].next
        }
    }

    /// The bridge above a bus; for a bus made for VFs that of the bus above it.
    private func bridge(above bus: Int32) -> Int32 {
        var bus = bus
        while bus != none, state.buses[bus].bridge == none, !state.buses[bus].isRoot { bus = state.buses[bus].parent }
        return bus == none ? none : state.buses[bus].bridge
    }

    private func function(_ device: Int32, order: Int) -> Function {
        let facts = state.facts[device]
        let held = state.devices[device]
        let above = bridge(above: held.bus)
        var config: ConfigSpace
        var made: Function
        let physical = facts.physicalFunction
        if facts.original != none {
            made = originals[Int(facts.original)]
            config = made.config
            made.address = state.address(device)
        } else {
            config = state.blankConfig(device)
            let identity = Function.Identity(
                vendor: facts.vendor,
                device: facts.device,
                subsystemVendor: facts.subsystemVendor,
                subsystemDevice: facts.subsystemDevice,
                classCode: facts.classCode,
                revision: facts.revision
            )
            made = Function(address: state.address(device), identity: identity)
            // Nobody read the registers of a card that was made up here, nor of a VF.
            made.knowledge.settings = .unseen
        }
        state.patch(&config, device)
        made.config = config
        made.capabilities = Capabilities(config)
        made.parent = above == none ? nil : state.address(above)
        made.physicalFunction = physical == none ? nil : state.address(physical)
        made.discoveryOrder = order
        made.use.enableCount = Int(held.enableCount)
        if !held.isBound {
            made.use.driver = nil
        } else if made.use.driver == nil {
            made.use.driver = facts.driver == .port ? "pcieport" : facts.driver == .passive ? "vfio-pci" : "driver"
        }
        if facts.totalVFs > 0 { made.use.enabledVFs = Int(held.enabledVFs) }
        made.lines = resourceLines(ofDevice: device)
        made.resources = resources(device)
        if facts.isBridge {
            made.bridge = Function.Bridge(
                busRange: held.subordinate == none ? nil : state.busRange(held.subordinate),
                registers: BridgeRegisters(config),
                isSubtractive: held.isTransparent
            )
        }
        return made
    }

    /// The implemented resources of a function in index order.
    func resources(_ device: Int32) -> [Resource] {
        let facts = state.facts[device]
        var result: [Resource] = []
        for index in 0..<facts.resourceCount {
            guard let name = ResourceIndex(Int(index)) else { continue }
            let node = facts.firstResource &+ index
            let held = state.resources[node]
            let implied = impliedFlags(device, Int(index))
            guard held.flags != 0 || implied != 0 else { continue }
            let flags = held.flags != 0 ? held.flags : implied
            let isWindow = index >= 13
            var assignment = held.assignment(of: index)
            if isWindow, held.parent == none, held.size <= 1 { assignment = .closed }
            // A place in a window that has none itself shows in no resource map.
            if case .assigned(let range) = assignment, held.parent != none, !isRooted(node) {
                assignment = .unclaimed(range)
            }
            let size =
                switch assignment {
                case .closed: UInt64(0)
                case .wiped: hardwareSize(device, Int(index))
                case .assigned, .unclaimed, .unassigned: held.size
                }
            let alignment = index >= 7 && index <= 12 ? state.registers[device].vfSizes[Int(index) - 7] : size
            var resource = Resource(
                index: name,
                flags: ResourceFlags(rawValue: UInt64(flags)),
                size: ByteCount(size),
                alignment: isWindow ? ByteCount(index == 13 ? 0x1000 : 0x10_0000) : ByteCount(alignment),
                assignment: assignment
            )
            let decoded = index <= 6 ? hardwareSize(device, Int(index)) : 0
            if decoded > 0, decoded < size { resource.hardwareSize = ByteCount(decoded) }
            result.append(resource)
        }
        return result
    }

    /// Whether a resource hangs below the whole space of its kind.
    private func isRooted(_ node: Int32) -> Bool {
        var node = node
        while state.resources[node].parent != none { node = state.resources[node].parent }
        return node == TwinState.memoryRoot || node == TwinState.ioRoot
    }

    /// The flags that a register implies where the kernel holds none.
    private func impliedFlags(_ device: Int32, _ index: Int) -> UInt32 {
        let facts = state.facts[device]
        switch index {
        case 0...5:
            guard !state.devices[device].isVirtualFunction, state.registers[device].sizes[index] > 0 else { return 0 }
            let flags = facts.bars[index].flags
            return flags == 0 ? 0 : flags | Flag.sizeAlign
        case 6: return facts.hasROM ? Flag.memory | Flag.prefetch | Flag.readOnly | Flag.sizeAlign : 0
        case 7...12:
            let flags = facts.vfBARs[index - 7].flags
            return flags == 0 ? 0 : flags | Flag.sizeAlign
        case 13: return facts.hasIOWindow ? Flag.io | (facts.hasIO32 ? 1 : 0) : 0
        case 14: return facts.headerLayout == 1 ? Flag.memory : 0
        case 15:
            guard facts.hasPrefetchWindow else { return 0 }
            return Flag.memory | Flag.prefetch | (facts.hasPrefetch64 ? Flag.memory64 | 1 : 0)
        default: return 0
        }
    }

    private func hardwareSize(_ device: Int32, _ index: Int) -> UInt64 {
        switch index {
        case 0...5: state.registers[device].sizes[index]
        case 6: state.registers[device].romSize
        case 7...12: state.registers[device].vfSizes[index - 7] &* UInt64(state.facts[device].totalVFs)
        default: 0
        }
    }
}
