// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Which function sits below which bridge, which buses are root buses, and which bus range each bridge has.
struct TreePlacement {
    /// The functions that have a place, in ascending address order.
    private(set) var functions: [FunctionRecord] = []
    /// The bridge above each function, or nil on a root bus.
    private(set) var parents: [FunctionAddress?] = []
    /// The bridge's side of each function, or nil for an endpoint.
    private(set) var bridges: [Function.Bridge?] = []
    /// The root buses in ascending order.
    private(set) var roots: [Root] = []
    /// What had to be left out.
    private(set) var gaps: [ReadingGap] = []

    /// A root bus.
    struct Root: Hashable, Comparable {
        var segment: UInt32
        var bus: BusNumber
        static func < (a: Root, b: Root) -> Bool { (a.segment, a.bus) < (b.segment, b.bus) }
    }

    /// Places the functions of a record; `hosts` are the host bridges that its log names.
    init(_ record: MachineRecord, hosts: [KernelLogFacts.Host] = []) {
        functions = record.functions.sorted { $0.address < $1.address }
        var busesBelow: [FunctionAddress: [BusNumber]] = [:]
        for bus in record.buses {
            if let bridge = bus.bridge { busesBelow[bridge, default: []].append(bus.bus) }
        }
        var changed = Set<FunctionAddress>()
        bridges = functions.map { Self.bridge($0, busesBelow[$0.address] ?? [], &changed) }
        let leading = LeadingBridges(functions, bridges)
        parents = functions.map { f in
            switch f.placement {
            case .below(let bridge): bridge
            case .rootBus: nil
            case .unknown: leading.bridge(above: f.address)
            }
        }
        if record.origin == .text || !hosts.isEmpty { inferOnlyBridges(record.buses, hosts) }
        dropOrphans(Set(functions.indices.filter { bridges[$0] != nil }.map { functions[$0].address }))
        widen(changed)
        findRoots(record.buses)
    }

    /// The bridge side of `f`: registers, and the bus range by the kernel's list of buses and the lines it prints.
    ///
    /// The kernel shows which bus a bridge leads to, and not where its range ends; that is taken from the subordinate
    /// register as long as the secondary register agrees. Otherwise somebody wrote the registers behind the kernel's back,
    /// and the address goes into `changed`.
    private static func bridge(
        _ f: FunctionRecord,
        _ own: [BusNumber],
        _ changed: inout Set<FunctionAddress>
    ) -> Function.Bridge? {
        let lineCount = f.resource?.count ?? 0
        let layout = f.config.headerLayout
        let showsWindows = ResourceNumbering.showsWindows(lineCount: lineCount)
        guard layout == 1 || layout == 2 || layout == nil && showsWindows else { return nil }
        let secondaryRegister = f.config.byte(0x19).map { BusNumber($0) }
        let subordinateRegister = f.config.byte(0x1a).map { BusNumber($0) }
        var range: BusRange?
        if let first = own.min(), !(secondaryRegister.map { own.contains($0) } ?? false) {
            range = BusRange(first)
            changed.insert(f.address)
        } else if !own.isEmpty || showsWindows || lineCount == 0, let secondaryRegister, secondaryRegister.rawValue != 0
        {
            let last = max(subordinateRegister ?? secondaryRegister, secondaryRegister)
            range = BusRange(first: secondaryRegister, last: last)
        }
        return Function.Bridge(
            busRange: range,
            registers: BridgeRegisters(f.config),
            isSubtractive: (f.classCode ?? f.config.long(8).map { $0 >> 8 }) == 0x06_0401
        )
    }

    /// Gives bridges whose registers were changed the range that the buses below them need.
    private mutating func widen(_ changed: Set<FunctionAddress>) {
        guard !changed.isEmpty else { return }
        let position = Dictionary(functions.indices.map { (functions[$0].address, $0) }) { first, _ in first }
        for i in functions.indices {
            let last = max(functions[i].address.bus, bridges[i]?.busRange?.last ?? BusNumber(0))
            var above = parents[i]
            var steps = 0
            while let address = above, let p = position[address], steps < 256 {
                if changed.contains(address), let range = bridges[p]?.busRange, last > range.last {
                    bridges[p]?.busRange = BusRange(first: range.first, last: last)
                }
                above = parents[p]
                steps += 1
            }
        }
    }

    /// Gives a bridge that nobody told the bus of the one bus to which nothing leads, where no other can: the log names one
    /// host bridge of the segment, whose range holds that bus, and every other bridge's bus is told.
    private mutating func inferOnlyBridges(_ buses: [BusRecord], _ hosts: [KernelLogFacts.Host]) {
        for segment in Set(functions.map(\.address.segment)) {
            let own = hosts.filter { $0.segment == segment }
            guard own.count == 1, let range = own[0].busRange else { continue }
            let here = functions.indices.filter { functions[$0].address.segment == segment }
            let stray = here.filter { i in
                guard case .unknown = functions[i].placement, parents[i] == nil else { return false }
                return functions[i].physicalFunction == nil && functions[i].address.bus != own[0].rootBus
            }
            let open = here.filter { bridges[$0] != nil && bridges[$0]?.busRange == nil }
            guard let bus = stray.first.map({ functions[$0].address.bus }), range.contains(bus), open.count == 1,
                stray.allSatisfy({ functions[$0].address.bus == bus }), functions[open[0]].address.bus < bus,
                !buses.contains(where: { $0.segment == segment && $0.bus == bus && $0.isRoot })
            else { continue }
            let bridge = functions[open[0]].address
            bridges[open[0]]?.busRange = BusRange(bus)
            for i in stray { parents[i] = bridge }
            gaps.append(
                ReadingGap(
                    code: "bridge-inferred",
                    detail: "that \(bridge) leads to bus \(busName(segment: segment, bus)) is inferred: no "
                        + "other bridge of the segment can"
                )
            )
        }
    }

    /// Leaves out functions whose bridge is not in the record, and everything below them.
    private mutating func dropOrphans(_ known: Set<FunctionAddress>) {
        var present = known
        while true {
            let orphans = functions.indices.filter { i in parents[i].map { !present.contains($0) } ?? false }
            if orphans.isEmpty { return }
            for i in orphans {
                let bridge = parents[i]?.description ?? "?"
                gaps.append(
                    ReadingGap(
                        code: "orphan",
                        detail: "\(functions[i].address) sits below \(bridge), which could not be read as a bridge; "
                            + "it is not in the tree"
                    )
                )
            }
            let gone = Set(orphans)
            present.subtract(orphans.map { functions[$0].address })
            let kept = functions.indices.filter { !gone.contains($0) }
            functions = kept.map { functions[$0] }
            parents = kept.map { parents[$0] }
            bridges = kept.map { bridges[$0] }
        }
    }

    private mutating func findRoots(_ buses: [BusRecord]) {
        var found = Set<Root>()
        for bus in buses where bus.isRoot { found.insert(Root(segment: bus.segment, bus: bus.bus)) }
        for (i, f) in functions.enumerated() where parents[i] == nil && f.physicalFunction == nil {
            found.insert(Root(segment: f.address.segment, bus: f.address.bus))
        }
        roots = found.sorted()
    }

    /// Adds root buses that only the kernel log or /proc/iomem name: a host bridge without functions.
    mutating func nameRoots(from log: KernelLogFacts, _ memory: IomemText?) {
        var found = Set(roots)
        for host in log.hosts {
            let root = Root(segment: host.segment, bus: host.rootBus)
            // A host bridge that was removed again leaves its lines in the log.
            if functions.isEmpty { found.insert(root) }
        }
        roots = found.sorted()
    }

    /// The highest bus in use below `root`, up to the next of `roots`.
    func lastBusInUse(below root: Root, among roots: [Root]) -> BusNumber {
        var last = root.bus
        let next = roots.first { $0.segment == root.segment && $0.bus > root.bus }?.bus
        for (i, f) in functions.enumerated() where f.address.segment == root.segment && f.address.bus >= root.bus {
            if let next, f.address.bus >= next { continue }
            last = max(last, f.address.bus)
            if let range = bridges[i]?.busRange { last = max(last, range.last) }
        }
        if let next, last >= next { return BusNumber(next.rawValue - 1) }  // next > root.bus >= 0.
        return last
    }
}

/// For each bus the nearest bridge whose range covers it: the one that leads to that very bus, else the one with the
/// highest secondary bus (a bus of VFs has no bridge of its own).
private struct LeadingBridges {
    private var table: [UInt32: [FunctionAddress?]] = [:]
    private var secondary: [UInt32: [BusNumber]] = [:]

    init(_ functions: [FunctionRecord], _ bridges: [Function.Bridge?]) {
        for (i, bridge) in bridges.enumerated() {
            guard let range = bridge?.busRange, !range.contains(functions[i].address.bus) else { continue }
            let segment = functions[i].address.segment
            for bus in Int(range.first.rawValue)...Int(range.last.rawValue) {
                let best = secondary[segment]?[bus]
                if let best, table[segment]?[bus] != nil, best >= range.first { continue }
                table[segment, default: Array(repeating: nil, count: 256)][bus] = functions[i].address
                secondary[segment, default: Array(repeating: BusNumber(0), count: 256)][bus] = range.first
            }
        }
    }

    func bridge(above address: FunctionAddress) -> FunctionAddress? {
        table[address.segment]?[Int(address.bus.rawValue)]
    }
}
