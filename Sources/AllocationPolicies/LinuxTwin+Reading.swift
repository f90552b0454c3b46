// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

// From the model to the twin.
extension LinuxTwin {
    /// Makes the twin of a running machine.
    ///
    /// The platform follows from the topology's architecture and kernel command line. What the model does not know is
    /// taken as absent: a BAR of unknown size is not found again after a removal.
    ///
    /// - Throws: `TwinError`, at present never: what cannot be is left out and noted among the topology's gaps.
    /// - Complexity: O(n log n).
    public init(_ topology: Topology, behaviour: KernelBehaviour) throws(TwinError) {
        try self.init(topology, behaviour: behaviour, platform: Platform(topology))
    }

    /// Makes the twin of a running machine on a given platform.
    ///
    /// - Throws: as `init(_:behaviour:)`.
    public init(_ topology: Topology, behaviour: KernelBehaviour, platform: Platform) throws(TwinError) {
        state = TwinState(behaviour: behaviour, platform: platform)
        originals = topology.functions
        kernel = topology.kernel
        state.alignmentRequests = topology.kernel.resourceAlignment ?? ""
        state.fileShape = ResourceFileShape(topology.functions)
        gaps = topology.gaps
        givenBlockers = topology.blockers
        if platform.ignoresApertures {
            state.platform.minimumMemory = Self.largestGap(topology.blockers) ?? platform.minimumMemory
        }
        readHosts(topology.hostBridges)
        for i in topology.functions.indices {
            let (facts, registers) = read(topology.functions[i], number: Int32(i), topology)
            _ = state.appendFunction(facts, registers)
        }
        let routes = Routes(topology, state.registers)
        for i in topology.functions.indices where !topology.functions[i].isVirtual {
            let parent = routes.bridge(above: topology.functions[i].address) ?? topology.parent(of: i)
            let host = topology.host(of: parent ?? i)
            state.attach(Int32(i), parent: parent.map(Int32.init) ?? none, host: Int32(host))
        }
        let native = Self.nativeHotPlug(topology)
        for host in topology.hostBridges.indices {
            if let isNative = native[host] { state.hosts[host].hasNativeHotPlug = isNative }
            state.hosts[host].slotDriver = topology.hostBridges[host].slotDriver
            state.addRootBus(host: host)
            let bus = state.hosts[host].rootBus
            state.buses[bus].isAdded = true
            readBus(bus, topology.roots(of: host), topology)
        }
        for i in topology.functions.indices where topology.functions[i].isVirtual { readVF(i, topology) }
        for blocker in topology.blockers {
            switch blocker.source {
            case .firmwareMap where !blocker.isIO: state.firmwareMap.append(blocker.range)
            default:
                state.blockers.append(
                    TwinBlocker(range: blocker.range, isIO: blocker.isIO, name: blocker.name)
                )
            }
        }
        state.insertBlockers(early: true)
        state.insertBlockers(early: false)
        if behaviour.closedWindowsKeepFlags { guessHiddenSizes() }
        state.events = []
    }

    /// Makes a machine that has not been started: host bridges and what is plugged into their root buses, switched off.
    ///
    /// - Throws: `TwinError.badArgument` for a card whose BARs make no sense.
    public init(
        hostBridges: [HostBridge],
        cards: [(host: Int, card: CardProfile)],
        blockers: [Blocker] = [],
        behaviour: KernelBehaviour,
        platform: Platform
    ) throws(TwinError) {
        state = TwinState(behaviour: behaviour, platform: platform)
        originals = []
        kernel = KernelIdentity()
        gaps = []
        givenBlockers = blockers
        readHosts(hostBridges)
        for (host, card) in cards {
            guard hostBridges.indices.contains(host), card.isSensible else {
                throw TwinError(.badArgument, "card \(card.name): no such host bridge, or BARs that make no sense")
            }
            state.insert(card, parent: none, host: Int32(host))
        }
        for blocker in blockers {
            switch blocker.source {
            case .firmwareMap where !blocker.isIO: state.firmwareMap.append(blocker.range)
            default:
                state.blockers.append(
                    TwinBlocker(range: blocker.range, isIO: blocker.isIO, name: blocker.name)
                )
            }
        }
    }

    /// Makes the apertures; one that overlaps an earlier one is left out, as the kernel does
    /// (`pci_acpi_root_add_resources`).
    private mutating func readHosts(_ hostBridges: [HostBridge]) {
        for host in hostBridges {
            var nodes: [Int32] = []
            var offsets: [UInt64] = []
            for aperture in host.apertures {
                let root = aperture.isIO ? TwinState.ioRoot : TwinState.memoryRoot
                if state.platform.ignoresApertures, aperture.range.first == 0, aperture.range.last >= 0xffff {
                    // The whole space, which all such host bridges share; it ends where the processor's addresses do.
                    state.resources[root].end = aperture.range.last
                    nodes.append(root)
                    offsets.append(0)
                    continue
                }
                let node = state.appendResource(
                    KernelResource(
                        start: aperture.range.first,
                        end: aperture.range.last,
                        flags: UInt32(truncatingIfNeeded: aperture.flags.rawValue) | Flag.window
                    ),
                    owner: none
                )
                if aperture.isIO, aperture.range.last > state.resources[root].end {
                    // Architectures with memory-mapped I/O spaces have a wider port space.
                    state.resources[root].end = aperture.range.last
                }
                guard state.insert(node, in: root) == none else {
                    gaps.append(
                        ReadingGap(
                            code: "aperture-overlap",
                            detail: "aperture \(aperture.kernelText) overlaps another and is left out of predictions"
                        )
                    )
                    continue
                }
                nodes.append(node)
                offsets.append(UInt64(bitPattern: aperture.offset))
                if aperture.offset != 0 { state.translates = true }
            }
            state.hosts.append(
                TwinHost(
                    segment: host.segment,
                    firstBus: host.busRange.first.rawValue,
                    lastBus: host.busRange.last.rawValue,
                    apertures: nodes,
                    offsets: offsets,
                    hasNativeHotPlug: state.platform.hasNativeHotPlug
                )
            )
        }
    }

    /// The start of the largest hole below 4 GiB in the firmware's map, the lowest of equal ones (`e820_search_gap`).
    ///
    /// The allocator begins there in an aperture that starts at 0 (`pci_mem_start`); nil without a map.
    private static func largestGap(_ blockers: [Blocker]) -> UInt64? {
        let map = blockers.filter { !$0.isIO && $0.source == .firmwareMap }
        guard !map.isEmpty else { return nil }
        var last: UInt64 = 0x1_0000_0000
        var largest: UInt64 = 0x40_0000
        var result: UInt64?
        for entry in map.sorted(by: { $0.range.first > $1.range.first }) {
            let end = entry.range.last &+ 1
            if last > end, last - end >= largest {
                largest = last - end
                result = end
            }
            last = min(last, entry.range.first)
        }
        return result
    }

    /// The kernel's bus list, depth first, with what it holds for each function.
    private mutating func readBus(_ bus: Int32, _ members: [Int], _ topology: Topology) {
        for i in members where !topology.functions[i].isVirtual { readDevice(Int32(i), on: bus, topology) }
        // Windows of the whole bus first: ranges above must be in the tree before those below.
        for i in members where !topology.functions[i].isVirtual { readResources(Int32(i), topology.functions[i]) }
        for i in members {
            let device = Int32(i)
            guard let range = topology.functions[i].bridge?.busRange else { continue }
            let below = state.addBus(range.first.rawValue, below: bus, bridge: device)
            state.insertNumbers(below, first: UInt64(range.first.rawValue), last: UInt64(range.last.rawValue))
            state.buses[below].bridgeControl = state.registers[device].bridgeControl
            state.buses[below].isAdded = true
            if state.devices[device].isTransparent {
                for n in 0..<state.busResourceCount(bus) {
                    let window = state.busResource(bus, n)
                    if window != none, state.resources[window].flags != 0 {
                        state.buses[below].extra.append(window)
                    }
                }
            }
            readBus(below, topology.children(of: i), topology)
        }
    }

    mutating func readDevice(_ device: Int32, on bus: Int32, _ topology: Topology) {
        let function = topology.functions[Int(device)]
        let facts = state.facts[device]
        var held = KernelDevice()
        held.exists = true
        held.bus = bus
        held.devfn = facts.devfn
        held.isAdded = true
        held.classCode = facts.headerLayout == 0 && facts.classCode >> 8 == 0x0604 ? 0 : facts.classCode
        held.isMultiFunction = facts.isMultiFunction
        held.isHotPlugBridge = facts.isSlotHotPlug
        held.isTransparent = facts.headerLayout == 1 && facts.classCode & 0xff == 1
        held.hasIOWindow = facts.hasIOWindow
        held.hasPrefetchWindow = facts.hasPrefetchWindow
        held.hasPrefetchWindow64 = facts.hasPrefetch64
        held.isBound = function.use.driver != nil
        held.enableCount = Int32(
            truncatingIfNeeded: function.use.enableCount ?? (held.isBound && facts.driver != .passive ? 1 : 0)
        )
        held.isBusMaster = state.registers[device].command & 4 != 0
        held.ariEnabled = state.registers[device].ariForwarding
        held.isPhysicalFunction = facts.totalVFs > 0
        state.devices[device] = held
        if held.isPhysicalFunction {
            state.devices[device].maxVFBus = state.highestVFBus(device)
        }
        let last = state.buses[bus].lastDevice
        state.devices[device].previous = last
        if last == none { state.buses[bus].firstDevice = device } else { state.devices[last].next = device }
        state.buses[bus].lastDevice = device
    }

    /// Fills a function's resources and puts those that are held into the tree.
    private mutating func readResources(_ device: Int32, _ function: Function) {
        let first = state.facts[device].firstResource
        for resource in function.resources {
            let index = Int32(resource.index.rawValue)
            guard index < state.facts[device].resourceCount else { continue }
            let node = first &+ index
            let flags = UInt32(truncatingIfNeeded: resource.flags.rawValue)
            // Where the kernel's own line was read, the twin starts from exactly that.
            let line = function.lines[resource.index]
            if line.flags.rawValue != 0 {
                state.resources[node] = KernelResource(
                    start: line.start,
                    end: line.end,
                    flags: UInt32(truncatingIfNeeded: line.flags.rawValue)
                )
                if resource.range != nil {
                    hold(node, of: device)
                } else if case .unclaimed = resource.assignment {
                    holdInUnplaced(node, of: device)
                }
                continue
            }
            switch resource.assignment {
            case .assigned(let range):
                state.resources[node] = KernelResource(
                    start: range.first,
                    end: range.last,
                    flags: flags & ~(Flag.unset | Flag.disabled)
                )
                hold(node, of: device)
            case .unclaimed(let range):
                state.resources[node] = KernelResource(start: range.first, end: range.last, flags: flags)
            case .unassigned:
                let size = resource.size?.rawValue ?? 0
                guard size > 0 else { continue }
                // A released window shows its size, and the next sizing counts it; the mark is as the kernel prints it.
                state.resources[node] = KernelResource(start: 0, end: size &- 1, flags: flags)
            case .closed:
                guard let size = resource.rememberedSize?.rawValue, size > 0, state.behaviour.windowSelectedByType,
                    resource.index == .ioWindow
                else { continue }
                state.resources[node] = KernelResource(start: 0, end: size &- 1, flags: flags | Flag.unset)
            case .wiped:
                // What sizing switched off for its alignment keeps its size without flags (`pbus_size_mem`).
                state.resources[node] = KernelResource(start: line.start, end: line.end, flags: 0)
            }
        }
    }

    /// Links a resource that stands nowhere below a window of its bus that stands nowhere itself and contains it.
    ///
    /// The kernel takes places in windows without asking whether these have one (`pci_bus_alloc_resource`): what it
    /// released for another try starts at 0, and its next sibling takes the least I/O address in it. From then on it counts
    /// as placed.
    private mutating func holdInUnplaced(_ node: Int32, of device: Int32) {
        let bus = state.devices[device].bus
        for n in 0..<state.busResourceCount(bus) {
            let window = state.busResource(bus, n)
            guard window != none, window != node, state.resources[window].parent == none,
                state.resources[window].flags & (Flag.unset | Flag.disabled | Flag.startAlign) == 0,
                (state.resources[window].flags ^ state.resources[node].flags) & (Flag.io | Flag.memory) == 0,
                state.contains(window, node), state.insert(node, in: window) == none
            else { continue }
            return
        }
    }

    /// Links a held resource below the nearest window or aperture that contains it.
    mutating func hold(_ node: Int32, of device: Int32) {
        var bus = state.devices[device].bus
        while bus != none {
            for n in 0..<state.busResourceCount(bus) {
                let window = state.busResource(bus, n)
                guard window != none, window != node, state.resources[window].parent != none,
                    state.contains(window, node)
                else { continue }
                if state.insert(node, in: window) == none { return }
            }
            bus = state.buses[bus].parent
        }
        let root = state.resources[node].flags & Flag.io != 0 ? TwinState.ioRoot : TwinState.memoryRoot
        _ = state.insert(node, in: root)
    }
}
