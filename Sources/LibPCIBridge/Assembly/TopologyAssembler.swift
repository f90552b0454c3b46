// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// Makes a topology of a record, and of nothing else.
public struct TopologyAssembler {
    private let record: MachineRecord
    private let log: KernelLogFacts
    private let memory: IomemText?
    private let memoryUse: MemoryUse
    private let io: IomemText?
    private var gaps: [ReadingGap]

    /// Takes a record.
    public init(_ record: MachineRecord) {
        self.record = record
        log = KernelLogFacts(record.kernelLog ?? [])
        memory = record.iomem.map { IomemText($0) }
        memoryUse = MemoryUse(memory)
        io = record.ioports.map { IomemText(bytes: Array($0.utf8)) }
        gaps = record.gaps
    }

    /// The topology that the record shows.
    ///
    /// - Throws: `ReadError` with code `badInput` when the record's functions make no tree.
    /// - Complexity: O(n log n) in the number of functions and of iomem nodes.
    public func topology() throws(ReadError) -> Topology {
        var assembly = self
        return try assembly.assemble()
    }

    private mutating func assemble() throws(ReadError) -> Topology {
        var tree = TreePlacement(record, hosts: log.hosts)
        gaps += tree.gaps
        tree.nameRoots(from: log, memory)
        let slots = SlotDriverEvidence(record, log)
        let functions = makeFunctions(tree, slots)
        let apertures = HostBridgeAssembly(tree: tree, log: log, memory: memory, io: io)
        var hosts = apertures.hostBridges(of: record)
        for h in hosts.indices {
            hosts[h].slotDriver = slots.driver(onBus: hosts[h].rootBus, segment: hosts[h].segment)
        }
        gaps += apertures.gaps(of: hosts, record: record)
        let blockers = BlockerCollection(
            tree: tree,
            hosts: hosts,
            functions: functions,
            memory: memory,
            io: io,
            firmwareMap: record.firmwareMap ?? log.firmwareMap,
            usesE820: log.usesE820
        )
        if let gap = blockers.gap { gaps.append(gap) }
        if let gap = hiddenBARs(functions) { gaps.append(gap) }
        var kernel = record.kernel
        kernel.reallocatesByItself = log.reallocatesByItself
        if kernel.release == nil { kernel.release = log.release }
        kernel.resourceAlignment = record.resourceAlignment
        do {
            var topology = try Topology(
                kernel: kernel,
                hostBridges: hosts,
                functions: functions,
                blockers: blockers.blockers(),
                gaps: gaps
            )
            topology.namings = record.namings
            return topology
        } catch {
            throw ReadError(.badInput, "the functions make no tree: \(error.description)")
        }
    }

    private func makeFunctions(_ tree: TreePlacement, _ slots: SlotDriverEvidence) -> [Function] {
        let heldMemory = HeldRanges(memory)
        let heldIO = HeldRanges(io)
        var order: [FunctionAddress: Int] = [:]
        for (i, address) in record.deviceOrder.enumerated() where order[address] == nil { order[address] = i }
        // An order that lacks functions orders nothing.
        if tree.functions.contains(where: { order[$0.address] == nil }) { order = [:] }
        var slotNames: [FunctionAddress: String] = [:]
        for slot in record.slots {
            if let address = slot.firstFunction { slotNames[address] = slot.name }
        }
        var functions: [Function] = []
        functions.reserveCapacity(tree.functions.count)
        for (i, f) in tree.functions.enumerated() {
            var function = Function(
                address: f.address,
                identity: identity(of: f),
                config: f.config,
                lines: f.resource ?? [],
                bridge: tree.bridges[i],
                parent: tree.parents[i],
                physicalFunction: f.physicalFunction,
                use: use(of: f, slots: slotNames, isBridge: tree.bridges[i] != nil),
                discoveryOrder: order[f.address]
            )
            let evidence = evidence(
                for: f,
                secondary: tree.bridges[i]?.busRange?.first,
                heldMemory: heldMemory,
                heldIO: heldIO
            )
            function.resources = ResourceDerivation(
                lines: function.lines,
                config: f.config,
                capabilities: function.capabilities,
                isVirtual: f.physicalFunction != nil,
                evidence: evidence
            ).resources()
            if f.resource == nil {
                function.resources = RegisterResources(
                    config: f.config,
                    capabilities: function.capabilities,
                    evidence: evidence,
                    cpuAddress: { log.cpuAddress(of: $0, isIO: $1, segment: f.address.segment) }
                ).resources()
            }
            for resource in f.unsized where function.resource(resource.index) == nil {
                let at = function.resources.firstIndex { $0.index > resource.index } ?? function.resources.count
                function.resources.insert(resource, at: at)
            }
            function.knowledge = f.knowledge ?? Self.knowledge(of: f, isBridge: tree.bridges[i] != nil)
            if function.isBridge { function.use.slotDriver = slots.driver(behind: function) }
            if let facts = log.functions[f.address] {
                function.knowledge.refused = facts.refused.keys.filter { index in
                    function.resource(index)?.shownRange == facts.refused[index]
                }
                .sorted()
                for i in function.resources.indices {
                    if case .closed = function.resources[i].assignment {
                        function.resources[i].rememberedSize = facts.windows[function.resources[i].index]
                    }
                    guard let size = function.resources[i].size,
                        let first = facts.discovered[function.resources[i].index],
                        first < size
                    else { continue }
                    function.resources[i].hardwareSize = first
                }
            }
            functions.append(function)
        }
        return functions
    }

    /// How much of a function the kernel's own files told. Of a VF neither registers nor forgotten BARs are asked.
    private static func knowledge(of f: FunctionRecord, isBridge: Bool) -> FunctionKnowledge {
        var result = FunctionKnowledge(sources: [.kernel])
        guard f.physicalFunction == nil else { return result }
        let hasConfig = f.config.count >= 64
        if f.config.isSilent { return result }
        if f.resource == nil { result.resources = hasConfig ? .partly : .unseen }
        // Without registers nobody sees a BAR that the kernel forgot, nor a bridge's numbers.
        if !hasConfig {
            result.registers = f.config.count == 0 ? .unseen : .partly
            if result.resources == .seen { result.resources = .partly }
            if isBridge { result.windows = f.resource == nil ? .unseen : .partly }
        }
        return result
    }

    /// A card below a hot-plug port that shows no resource at all: its BARs may be forgotten, and nothing tells.
    private func hiddenBARs(_ functions: [Function]) -> ReadingGap? {
        let bridges = Set(functions.filter(\.isHotPlugBridge).map(\.address))
        let hidden = functions.filter { f in
            !f.isBridge && !f.isVirtual && f.resources.isEmpty && !f.lines.isEmpty && f.use.driver == nil
                && f.parent.map { bridges.contains($0) } ?? false && log.functions[f.address]?.isDiscovered != true
        }
        guard !hidden.isEmpty else { return nil }
        return ReadingGap(
            code: "maybe-forgotten",
            detail: hidden.map(\.address.description).joined(separator: ", ")
                + ": sysfs shows no resource, and nothing tells whether there is none or the kernel forgot it; probing would"
        )
    }

    private func identity(of f: FunctionRecord) -> Function.Identity {
        var identity = Function.Identity(
            vendor: f.vendor ?? f.config.word(0) ?? 0xffff,
            device: f.device ?? f.config.word(2) ?? 0xffff,
            subsystemVendor: f.subsystemVendor ?? 0,
            subsystemDevice: f.subsystemDevice ?? 0,
            classCode: f.classCode ?? f.config.long(8).map { $0 >> 8 } ?? 0xff_0000,
            revision: f.revision ?? f.config.byte(8) ?? 0
        )
        identity.name = f.name
        return identity
    }

    private func use(of f: FunctionRecord, slots: [FunctionAddress: String], isBridge: Bool) -> Function.Use {
        let slotAddress = FunctionAddress(segment: f.address.segment, bus: f.address.bus, devfn: f.address.devfn & ~7)
        return Function.Use(
            driver: f.driver,
            enableCount: f.enableCount,
            iommuGroup: f.iommuGroup,
            numaNode: f.numaNode,
            removable: f.removable,
            isUntrusted: f.isUntrusted,
            slot: slots[slotAddress],
            enabledVFs: f.enabledVFs,
            evidence: UseWeights.basic(of: f, isBridge: isBridge) + memoryUse.evidence(for: f) + f.use
        )
    }

    private func evidence(
        for f: FunctionRecord,
        secondary: BusNumber?,
        heldMemory: HeldRanges,
        heldIO: HeldRanges
    ) -> ResourceEvidence {
        var evidence = ResourceEvidence(totalVFs: f.totalVFs)
        evidence.held = heldMask(f, secondary, heldMemory, heldIO)
        for probed in f.probed {
            let bit: UInt32 = 1 << UInt32(probed.index.rawValue)
            if probed.size == .zero {
                evidence.refuted |= bit
            } else {
                evidence.sizes.append(
                    ResourceEvidence.KnownSize(
                        index: probed.index,
                        size: probed.size,
                        flags: probed.flags,
                        source: .probed
                    )
                )
            }
        }
        evidence.implemented = f.named
        evidence.untold = f.unsized.reduce(f.ignored) { $0 | 1 << UInt32($1.index.rawValue) }
        // Of a function whose resources nobody told the log's mention of one does not say that the kernel gave it up.
        if let facts = log.functions[f.address], f.knowledge?.resources != .unseen {
            evidence.sizes += facts.sizes
            evidence.implemented |= facts.implemented
            evidence.refuted |= facts.invalid
            for (index, range) in facts.refused where lineRange(f, index) == range {
                evidence.unheld |= 1 << UInt32(index.rawValue)
            }
            // Where nobody tells what the kernel holds, its last word on a claim counts.
            for (index, range) in facts.unclaimed where evidence.held == nil && lineRange(f, index) == range {
                evidence.unheld |= 1 << UInt32(index.rawValue)
            }
            // The log listed every BAR that the kernel found at this address.
            if facts.isDiscovered { evidence.refuted |= ~facts.implemented & 0x3f }
        }
        return evidence
    }

    private func lineRange(_ f: FunctionRecord, _ index: ResourceIndex) -> AddressRange? {
        guard let lines = f.resource,
            let at = ResourceNumbering(lineCount: lines.count).line(of: index), at < lines.count
        else { return nil }
        return AddressRange(first: lines[at].start, last: lines[at].end)
    }

    /// One bit for each resource that stands in iomem or ioports; nil when one of the texts that would tell is missing.
    private func heldMask(
        _ f: FunctionRecord,
        _ secondary: BusNumber?,
        _ heldMemory: HeldRanges,
        _ heldIO: HeldRanges
    ) -> UInt32? {
        guard let lines = f.resource, heldMemory.isKnown || heldIO.isKnown else { return nil }
        var mask: UInt32 = 0
        for (index, line) in lines.byIndex {
            guard let kind = ResourceKind(line.flags), let range = AddressRange(first: line.start, last: line.end)
            else {
                continue
            }
            let held = kind == .io ? heldIO : heldMemory
            var isHeld = !held.isKnown && line.start != 0 || held.holds(range, of: f.address)
            if !isHeld, index.isWindow, let secondary {
                isHeld = held.holds(range, ofBus: secondary, segment: f.address.segment)
            }
            if isHeld { mask |= 1 << UInt32(index.rawValue) }
        }
        return mask
    }
}
