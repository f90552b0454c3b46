// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Processes that hold device nodes of VFIO groups or of displays.
///
/// The only way to see an open VFIO group is the list of descriptors of every process, which takes root; without that a
/// function bound to vfio-pci counts as held.
enum DeviceHolders {
    static func read(_ sysfs: borrowing Directory, _ proc: borrowing Directory, _ findings: inout UseFindings) {
        let functions = findings.functions.values.sorted { $0.address < $1.address }
        let passedThrough = functions.filter { $0.driver == "vfio-pci" }
        let displays = functions.filter { ($0.classCode ?? 0) >> 16 == 3 && $0.driver != nil }
        guard !passedThrough.isEmpty || !displays.isEmpty else { return }
        let scan = holders(proc)
        vfio(passedThrough, functions, sysfs, scan, &findings)
        guard let drm = Directory(in: sysfs, name: "class/drm") else { return }
        for name in drm.names() where !name.contains("-") {
            guard let path = drm.link(name), let holder = scan.byNode["/dev/dri/" + name] else { continue }
            findings.add(path: path, .vital("display-client", "/dev/dri/\(name) is held by \(holder)"))
        }
    }

    private struct Scan {
        /// The first holder of each node: `qemu-system-x86 (1234)`.
        var byNode: [String: String] = [:]
        var isComplete = true
    }

    private static func holders(_ proc: borrowing Directory) -> Scan {
        var scan = Scan()
        let scratch = Scratch()
        for process in proc.names() where Int(process) != nil {
            guard let descriptors = Directory(in: proc, name: process + "/fd") else {
                // A process that ended meanwhile is no gap; one that may not be looked at is.
                if let directory = Directory(in: proc, name: process), directory.has("fd") { scan.isComplete = false }
                continue
            }
            for descriptor in descriptors.names() {
                guard let node = descriptors.link(descriptor),
                    node.hasPrefix("/dev/vfio/") || node.hasPrefix("/dev/dri/"), scan.byNode[node] == nil
                else { continue }
                var name = "process"
                if let directory = Directory(in: proc, name: process) { name = directory.text("comm", scratch) ?? name }
                scan.byNode[node] = "\(name) (\(process))"
            }
        }
        return scan
    }

    private static func vfio(
        _ passedThrough: [FunctionRecord],
        _ functions: [FunctionRecord],
        _ sysfs: borrowing Directory,
        _ scan: Scan,
        _ findings: inout UseFindings
    ) {
        for f in passedThrough {
            var nodes: [String] = []
            if let group = f.iommuGroup { nodes += ["/dev/vfio/\(group)", "/dev/vfio/noiommu-\(group)"] }
            if let own = Directory(in: sysfs, name: "bus/pci/devices/\(f.address)/vfio-dev") {
                nodes += own.names().map { "/dev/vfio/devices/" + $0 }
            }
            let holder = nodes.lazy.compactMap { scan.byNode[$0] }.first
            if let holder {
                findings.add(f.address, .vital("vfio", "\(holder) holds it through VFIO"))
            } else if !scan.isComplete {
                findings.add(f.address, .vital("vfio", "it is bound to vfio-pci; who holds it could not be seen"))
                findings.gap("vfio-holders", "the descriptors of other processes could not be read (that takes root)")
                continue
            } else {
                findings.add(f.address, .use("vfio-idle", "it is bound to vfio-pci and nobody holds it", weight: 50))
                continue
            }
            // The group is the unit of isolation: its members share the guest's fate.
            for member in functions
            where f.iommuGroup != nil && member.iommuGroup == f.iommuGroup && member.address != f.address {
                guard member.config.headerLayout != 1 else { continue }
                findings.add(
                    member.address,
                    .vital("vfio-group", "it shares an IOMMU group with \(f.address), which a guest holds")
                )
            }
        }
    }
}
