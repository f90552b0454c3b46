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

    init(_ record: MachineRecord) {
        functions = record.functions.sorted { $0.address < $1.address }
        let kernelBuses = record.buses
        bridges = functions.map { Self.bridge($0, kernelBuses) }
        let known = Set(functions.indices.filter { bridges[$0] != nil }.map { functions[$0].address })
        parents = functions.map { f in
            switch f.placement {
            case .below(let bridge): return bridge
            case .rootBus: return nil
            case .unknown: return self.parentByNumber(f)
            }
        }
        dropOrphans(known)
        findRoots(kernelBuses)
    }

    /// The bridge side of `f`: registers, and the bus range by the kernel's list of buses and the lines it prints.
    private static func bridge(_ f: FunctionRecord, _ buses: [BusRecord]) -> Function.Bridge? {
        let lineCount = f.resource?.count ?? 0
        let layout = f.config.headerLayout
        let showsWindows = ResourceNumbering.showsWindows(lineCount: lineCount)
        guard layout == 1 || layout == 2 || layout == nil && showsWindows else { return nil }
        let registers = BridgeRegisters(f.config)
        let secondaryRegister = f.config.byte(0x19).map { BusNumber($0) }
        let subordinateRegister = f.config.byte(0x1a).map { BusNumber($0) }
        let own = buses.filter { $0.bridge == f.address }
        var secondary: BusNumber?
        if let secondaryRegister, own.contains(where: { $0.bus == secondaryRegister }) {
            secondary = secondaryRegister
        } else if let first = own.map(\.bus).min() {
            // The registers were changed behind the kernel's back.
            secondary = first
        } else if showsWindows || lineCount == 0, let secondaryRegister, secondaryRegister.rawValue != 0 {
            secondary = secondaryRegister
        }
        var range: BusRange?
        if let secondary {
            let last = subordinateRegister ?? secondary
            range = BusRange(first: secondary, last: max(last, secondary))
        }
        return Function.Bridge(
            busRange: range,
            registers: registers,
            isSubtractive: (f.classCode ?? f.config.long(8).map { $0 >> 8 }) == 0x06_0401
        )
    }

    /// The nearest bridge whose bus range covers the function's bus: the one that leads to that very bus, else the one
    /// with the highest secondary bus (a bus of VFs has no bridge of its own).
    private func parentByNumber(_ f: FunctionRecord) -> FunctionAddress? {
        var best: (BusNumber, FunctionAddress)?
        for (i, bridge) in bridges.enumerated() {
            guard let range = bridge?.busRange, functions[i].address.segment == f.address.segment,
                functions[i].address != f.address, range.contains(f.address.bus),
                !range.contains(functions[i].address.bus)
            else { continue }
            if let found = best, found.0 >= range.first { continue }
            best = (range.first, functions[i].address)
        }
        return best?.1
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

    /// The bridges above `i`'s root and the highest bus in use below `root`.
    func lastBusInUse(below root: Root) -> BusNumber {
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
