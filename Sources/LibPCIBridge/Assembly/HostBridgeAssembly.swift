// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// The host bridges and their apertures, from the best source that the record has.
struct HostBridgeAssembly {
    let tree: TreePlacement
    let log: KernelLogFacts
    let memory: IomemText?
    let io: IomemText?
    /// The root buses that the kernel made up for functions to which no range of bus numbers that it knows leads.
    private let madeUp: Set<TreePlacement.Root>

    init(tree: TreePlacement, log: KernelLogFacts, memory: IomemText?, io: IomemText?) {
        self.tree = tree
        self.log = log
        self.memory = memory
        self.io = io
        madeUp = Set(tree.roots.filter { Self.isMadeUp($0, tree, log) })
    }

    /// The host bridges in ascending order.
    func hostBridges(of record: MachineRecord) -> [HostBridge] {
        tree.roots.map { root in
            let told = log.hosts.first { $0.segment == root.segment && $0.rootBus == root.bus }
            var host = HostBridge(
                segment: root.segment,
                busRange: busRange(root, told),
                apertures: told?.apertures ?? [],
                source: .kernelLog
            )
            if host.apertures.isEmpty {
                host.apertures =
                    nodes(root, io, flags: [.io, .window]) + nodes(root, memory, flags: [.memory, .window])
                host.source = host.apertures.isEmpty ? .unknown : .iomem
            }
            if host.apertures.isEmpty, let whole = wholeSpaces(record) {
                // How far memory goes is a guess: what needs the apertures cannot be told.
                host.apertures = whole
                host.source = .unknown
            }
            if madeUp.contains(root) {
                // Whatever the log says of it, no cycle to an address goes there.
                host.apertures = []
                host.source = .kernelLog
            }
            host.isTold = isTold(root, record)
            host.isBusRangeTold = told?.busRange != nil || configurationSpaceBuses(root) != nil || madeUp.contains(root)
            return host
        }
    }

    /// Whether a source names `root` as a root bus: the kernel's files, the log, /proc/iomem. A listing names it where it
    /// holds bus 00, which no bridge can lead to, since then every bus without a bridge is a root bus; and where a host
    /// bridge sits on the bus, or the segment is one that VMD makes.
    private func isTold(_ root: TreePlacement.Root, _ record: MachineRecord) -> Bool {
        if record.origin != .text || root.bus == BusNumber(0) || root.segment > 0xffff { return true }
        if log.hosts.contains(where: { $0.segment == root.segment && $0.rootBus == root.bus }) { return true }
        if let memory, !memory.isZeroed,
            memory.busNodes.contains(where: {
                $0.segment == root.segment && $0.bus == root.bus && !memory.isBelowBus($0.node)
            })
        {
            return true
        }
        let onSegment = tree.functions.filter { $0.address.segment == root.segment }
        return onSegment.contains { f in
            f.address.bus == root.bus && f.classCode.map { $0 >> 8 == 0x0600 } == true
                || f.address.bus == BusNumber(0) && f.knowledge?.sources.contains(.listing) == true
        }
    }

    private func nodes(_ root: TreePlacement.Root, _ text: IomemText?, flags: ResourceFlags) -> [Aperture] {
        guard let text, !text.isZeroed else { return [] }
        return ApertureNodes(tree).find(root, in: text).map { Aperture(range: text.nodes[$0].range, flags: flags) }
    }

    /// Whether the kernel made a root bus up: its log found no numbers of firmware's for it and another host bridge has its
    /// number, or a bridge claims it by its registers.
    private static func isMadeUp(_ root: TreePlacement.Root, _ tree: TreePlacement, _ log: KernelLogFacts) -> Bool {
        let others = log.hosts.filter { $0.segment == root.segment && $0.rootBus < root.bus }
        let own = log.hosts.first { $0.segment == root.segment && $0.rootBus == root.bus }
        if own?.lacksNumbers == true, others.contains(where: { $0.busRange?.contains(root.bus) == true }) {
            return true
        }
        return own?.busRange == nil
            && tree.functions.indices.contains { i in
                guard tree.functions[i].address.segment == root.segment, tree.functions[i].address.bus < root.bus,
                    let registers = tree.bridges[i]?.registers
                else { return false }
                return registers.secondary.rawValue != 0 && registers.secondary <= root.bus
                    && root.bus <= registers.subordinate
            }
    }

    private func busRange(_ root: TreePlacement.Root, _ told: KernelLogFacts.Host?) -> BusRange {
        let real = tree.roots.filter { $0 == root || !madeUp.contains($0) }
        let inUse = tree.lastBusInUse(below: root, among: real)
        let next = real.first { $0.segment == root.segment && $0.bus > root.bus }?.bus
        // Next root bus > this one, so it is at least 1.
        let ceiling = next.map { BusNumber($0.rawValue - 1) } ?? BusNumber(0xff)
        var last = inUse
        if let range = told?.busRange {
            last = max(last, range.last)
        } else if let range = configurationSpaceBuses(root) {
            last = max(last, range.last)
        }
        return BusRange(first: root.bus, last: min(last, ceiling)) ?? BusRange(root.bus)
    }

    /// The buses of the memory-mapped configuration space: `PCI ECAM 0000 [bus 00-ff]`, before 6.9 `PCI MMCONFIG …`.
    ///
    /// It tells a host bridge's range only where the segment has no other: several share one mapping.
    private func configurationSpaceBuses(_ root: TreePlacement.Root) -> BusRange? {
        guard !madeUp.contains(root),
            tree.roots.count(where: { $0.segment == root.segment && !madeUp.contains($0) }) == 1
        else { return nil }
        for node in memory?.nodes ?? [] {
            var text = Array(node.name.utf8)[...]
            guard text.take("PCI ECAM ") || text.take("PCI MMCONFIG "), text.takeHex() == UInt64(root.segment),
                text.take(" [bus "), let first = text.takeHex(), text.take("-"), let last = text.takeHex(),
                first <= 0xff,
                last <= 0xff, let range = BusRange(first: BusNumber(UInt8(first)), last: BusNumber(UInt8(last))),
                range.contains(root.bus)
            else { continue }
            return range
        }
        return nil
    }

    /// The whole of both spaces, which x86 gives a root bus without firmware's apertures (`pci=nocrs`, `acpi=off`:
    /// `x86_pci_root_bus_resources`); nil elsewhere, and where /proc/iomem does not show how far addresses go.
    ///
    /// Memory ends where the processor's addresses do, which no file here tells: it is taken to end at the power of two
    /// above all that has an address.
    private func wholeSpaces(_ record: MachineRecord) -> [Aperture]? {
        guard hasNoFirmwareApertures(record), let memory, !memory.isZeroed else { return nil }
        let highest = memory.nodes.map(\.range.last).max() ?? 0
        guard highest > 0, highest >> 52 == 0 else { return nil }
        let end = UInt64.max >> UInt64(max(highest, 0xffff_ffff).leadingZeroBitCount)
        guard let ports = AddressRange(first: 0, last: 0xffff), let addresses = AddressRange(first: 0, last: end) else {
            return nil
        }
        return [Aperture(range: ports, flags: .io), Aperture(range: addresses, flags: .memory)]
    }

    private func hasNoFirmwareApertures(_ record: MachineRecord) -> Bool {
        let words = (record.kernel.commandLine ?? "").split(separator: " ")
        return record.kernel.isX86 == true
            && words.contains { word in
                word == "acpi=off"
                    || word.hasPrefix("pci=") && word.dropFirst(4).split(separator: ",").contains("nocrs")
            }
    }

    /// What the sources of apertures leave open.
    func gaps(of hosts: [HostBridge], record: MachineRecord) -> [ReadingGap] {
        var gaps: [ReadingGap] = []
        if memory?.isZeroed == true || io?.isZeroed == true {
            gaps.append(
                ReadingGap(
                    code: "iomem-zeroed",
                    detail: "/proc/iomem shows zeros only (that takes CAP_SYS_ADMIN): what the kernel holds and what "
                        + "is in the way inside apertures is unknown"
                )
            )
        } else if memory == nil {
            gaps.append(
                ReadingGap(
                    code: "no-iomem",
                    detail: "there is no /proc/iomem: what the kernel holds and what is in the way inside apertures is "
                        + "unknown"
                )
            )
        }
        func names(_ wanted: (HostBridge) -> Bool) -> String? {
            let found = hosts.filter(wanted).map { $0.name }
            if found.isEmpty { return nil }
            return (found.count == 1 ? "root bus " : "root buses ") + found.joined(separator: ", ")
        }
        let isWhole = hasNoFirmwareApertures(record)
        if isWhole, let names = names({ $0.source == .unknown && !$0.apertures.isEmpty }) {
            gaps.append(
                ReadingGap(
                    code: "apertures-derived",
                    detail:
                        "the apertures of \(names) are the whole of both spaces, since firmware's are not used; where "
                        + "memory ends is not told, and is taken from the highest address in /proc/iomem"
                )
            )
        }
        if let names = names({ $0.source == .iomem }) {
            gaps.append(
                ReadingGap(
                    code: "apertures-from-iomem",
                    detail: "the apertures of \(names) are from /proc/iomem: their order in the kernel's list, "
                        + "bus-address offsets and flags are unknown"
                )
            )
        }
        if let names = names({ $0.source == .unknown && $0.apertures.isEmpty }) {
            gaps.append(ReadingGap(code: "no-apertures", detail: "nothing tells the apertures of \(names)"))
        }
        func isMadeUp(_ host: HostBridge) -> Bool { madeUp.contains(.init(segment: host.segment, bus: host.rootBus)) }
        if let names = names(isMadeUp) {
            gaps.append(
                ReadingGap(
                    code: "root-bus-made-up",
                    detail:
                        "firmware tells nothing of \(names): the kernel found functions there to which no bridge of its "
                        + "own leads"
                )
            )
        }
        func isTold(_ host: HostBridge) -> Bool {
            if isMadeUp(host) { return true }
            return log.hosts.contains { $0.segment == host.segment && $0.rootBus == host.rootBus && $0.busRange != nil }
        }
        func isMapped(_ host: HostBridge) -> Bool {
            configurationSpaceBuses(.init(segment: host.segment, bus: host.rootBus)) != nil
        }
        if let names = names({ !isTold($0) && isMapped($0) }) {
            gaps.append(
                ReadingGap(
                    code: "root-bus-range-inferred",
                    detail: "the bus range of \(names) is taken from the configuration space's mapping in /proc/iomem"
                )
            )
        }
        if let names = names({ !isTold($0) && !isMapped($0) }) {
            gaps.append(
                ReadingGap(
                    code: "root-bus-range",
                    detail: "the bus range of \(names) is unknown; it is taken to end at the last bus in use"
                )
            )
        }
        if record.kernelLog == nil {
            gaps.append(
                ReadingGap(
                    code: "no-kernel-log",
                    detail:
                        "the kernel log could not be read: sizes of forgotten BARs, the order of apertures and bus-address "
                        + "offsets may be missing"
                )
            )
        }
        return gaps
    }
}
