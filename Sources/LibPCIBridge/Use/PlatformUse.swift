// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What ties a function to its addresses or to others beside drivers and processes: memory lent to peers, regions that
/// firmware reserved in the IOMMU, addresses fixed by the hardware, hypervisors that do not follow a move.
enum PlatformUse {
    static func read(_ sysfs: borrowing Directory, _ findings: inout UseFindings) {
        let scratch = Scratch()
        let functions = findings.functions.values.sorted { $0.address < $1.address }
        var regions: [Int: [UseEvidence]] = [:]
        for f in functions where f.config.headerLayout != 1 {
            peerMemory(f, sysfs, scratch, &findings)
            if let group = f.iommuGroup {
                let found = regions[group] ?? reservedRegions(group, sysfs)
                regions[group] = found
                for evidence in found { findings.add(f.address, evidence) }
            }
            if let evidence = bridgeToAnotherHost(f, sysfs) { findings.add(f.address, evidence) }
            if isFixed(f) {
                findings.add(
                    f.address,
                    .use("fixed", "its addresses are fixed by the hardware (Enhanced Allocation)", weight: 50)
                )
            } else if hasFixedLines(f) {
                findings.add(f.address, .use("fixed", "the kernel holds its addresses to be fixed", weight: 50))
            }
        }
        guard let name = hypervisor(sysfs, scratch) else { return }
        for f in functions where f.config.headerLayout != 1 {
            findings.add(
                f.address,
                .vital("hypervisor", "\(name) provides it and may not follow when its addresses change")
            )
        }
    }

    /// One side of a non-transparent bridge: whether its link is up stands in its registers, else the driver says so in
    /// debugfs (`Link Status - Up`, for root only).
    private static func bridgeToAnotherHost(_ f: FunctionRecord, _ sysfs: borrowing Directory) -> UseEvidence? {
        var function = Function(
            address: f.address,
            identity: Function.Identity(
                vendor: f.vendor ?? 0xffff,
                device: f.device ?? 0xffff,
                classCode: f.classCode ?? 0,
                revision: f.revision ?? 0
            ),
            config: f.config
        )
        function.use.driver = f.driver
        guard var link = function.nonTransparentBridge?.link else { return nil }
        if link == .untold, let driver = f.driver,
            let text = Directory(in: sysfs, name: "kernel/debug/\(driver)/\(f.address)")?.contents(
                "info",
                limit: 65_536
            )
        {
            for line in TextLines(text) {
                guard let value = line.after("Link Status -")?.trimmed else { continue }
                if value.starts("Up") { link = .up } else if value.starts("Down") { link = .down }
            }
        }
        switch link {
        case .up: return .vital("ntb", "another host reaches this one through it: its link is up")
        case .down:
            return .use("ntb-down", "it is one side of a bridge to another host, and its link is down", weight: 50)
        case .untold: return function.heldByOtherHost.map { .vital("ntb-untold", $0) }
        }
    }

    /// Memory of the function that the kernel hands to other devices (`p2pmem`, Documentation/driver-api/pci/p2pdma.rst):
    /// what is not available is in somebody's hands.
    private static func peerMemory(
        _ f: FunctionRecord,
        _ sysfs: borrowing Directory,
        _ scratch: Scratch,
        _ findings: inout UseFindings
    ) {
        guard let pool = Directory(in: sysfs, name: "bus/pci/devices/\(f.address)/p2pmem"),
            let size = pool.number("size", scratch), let available = pool.number("available", scratch)
        else { return }
        if available < size {
            let lent = ByteCount(UInt64(size - available))
            findings.add(f.address, .vital("p2pdma", "\(lent) of its memory is lent to other devices (P2PDMA)"))
        } else {
            findings.add(f.address, .use("p2pdma-idle", "its memory is offered to other devices (P2PDMA)", weight: 20))
        }
    }

    /// `0x000000009d000000 0x000000009d7fffff direct`: firmware's own transfers (RMRR, IVMD, IORT RMR) go there through the
    /// functions of the group (Documentation/ABI/testing/sysfs-kernel-iommu_groups). `direct-relaxable` regions are used
    /// only until a driver takes over; `reserved` and `msi` are no transfers.
    private static func reservedRegions(_ group: Int, _ sysfs: borrowing Directory) -> [UseEvidence] {
        guard let directory = Directory(in: sysfs, name: "kernel/iommu_groups/\(group)"),
            let text = directory.contents("reserved_regions")
        else { return [] }
        var result: [UseEvidence] = []
        for line in TextLines(text) {
            let words = line.words()
            guard words.count >= 3, words[2].equals("direct") else { continue }
            let range = "\(words[0].string)-\(words[1].string)"
            result.append(.use("rmrr", "firmware transfers through it, to \(range)", weight: 200))
        }
        return result
    }

    /// Whether the function has the Enhanced Allocation capability (ID 14h, PCI Express Base Specification §7.8.5).
    private static func isFixed(_ f: FunctionRecord) -> Bool {
        guard let status = f.config.word(6), status & 0x10 != 0,
            var offset = f.config.byte(0x34).map({ Int($0 & 0xfc) })
        else { return false }
        for _ in 0..<48 where offset >= 0x40 {
            guard let id = f.config.byte(offset), let next = f.config.byte(offset + 1) else { return false }
            if id == 0x14 { return true }
            offset = Int(next & 0xfc)
        }
        return false
    }

    /// Whether the kernel marks a BAR `IORESOURCE_PCI_FIXED`: legacy IDE and VGA, quirks, Enhanced Allocation.
    private static func hasFixedLines(_ f: FunctionRecord) -> Bool {
        (f.resource ?? []).prefix(6).contains { $0.flags.rawValue & 0x10 != 0 && $0.flags.rawValue & 0x300 != 0 }
    }

    /// The hypervisor by the names that it gives in DMI, where a function that moves is known to be lost.
    private static func hypervisor(_ sysfs: borrowing Directory, _ scratch: Scratch) -> String? {
        guard let dmi = Directory(in: sysfs, name: "class/dmi/id") else { return nil }
        let names = [dmi.text("sys_vendor", scratch), dmi.text("product_name", scratch)].compactMap { $0 }
        for known in ["Cloud Hypervisor", "crosvm"] where names.contains(where: { $0.hasPrefix(known) }) {
            return known
        }
        return nil
    }
}
