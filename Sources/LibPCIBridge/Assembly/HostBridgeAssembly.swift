// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// The host bridges and their apertures, from the best source that the record has.
struct HostBridgeAssembly {
    let tree: TreePlacement
    let log: KernelLogFacts
    let memory: IomemText?
    let io: IomemText?

    /// The host bridges in ascending order.
    func hostBridges() -> [HostBridge] {
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
            return host
        }
    }

    private func nodes(_ root: TreePlacement.Root, _ text: IomemText?, flags: ResourceFlags) -> [Aperture] {
        guard let text, !text.isZeroed else { return [] }
        return text.busNodes
            .filter { $0.segment == root.segment && $0.bus == root.bus && !text.isBelowBus($0.node) }
            .map { Aperture(range: text.nodes[$0.node].range, flags: flags) }
    }

    private func busRange(_ root: TreePlacement.Root, _ told: KernelLogFacts.Host?) -> BusRange {
        let inUse = tree.lastBusInUse(below: root)
        let next = tree.roots.first { $0.segment == root.segment && $0.bus > root.bus }?.bus
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
    private func configurationSpaceBuses(_ root: TreePlacement.Root) -> BusRange? {
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
        for host in hosts {
            let name = "\(bareHex(UInt64(host.segment), width: 4)):\(host.rootBus)"
            switch host.source {
            case .kernelLog: break
            case .iomem:
                gaps.append(
                    ReadingGap(
                        code: "apertures-from-iomem",
                        detail:
                            "the apertures of root bus \(name) are from /proc/iomem: their order in the kernel's list, "
                            + "bus-address offsets and flags are unknown"
                    )
                )
            case .unknown:
                gaps.append(
                    ReadingGap(
                        code: "no-apertures",
                        detail: "nothing tells the apertures of root bus \(name)"
                    )
                )
            }
            let told = log.hosts.first { $0.segment == host.segment && $0.rootBus == host.rootBus }?.busRange
            if told == nil {
                gaps.append(
                    ReadingGap(
                        code: "root-bus-range",
                        detail: configurationSpaceBuses(.init(segment: host.segment, bus: host.rootBus)) != nil
                            ? "the bus range of root bus \(name) is taken from the configuration space's mapping"
                            : "the bus range of root bus \(name) is unknown; it is taken to end at the last bus in use"
                    )
                )
            }
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
