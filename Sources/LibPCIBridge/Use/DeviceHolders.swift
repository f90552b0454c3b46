// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Processes that hold device nodes: VFIO groups, displays, GPUs, raw disks.
///
/// The list of descriptors of every process is the only place that tells; it takes root. Without it a function bound to
/// vfio-pci counts as held.
enum DeviceHolders {
    static func read(_ sysfs: borrowing Directory, _ proc: borrowing Directory, _ findings: inout UseFindings) {
        let scan = Scan(proc)
        let functions = findings.functions.values.sorted { $0.address < $1.address }
        vfio(functions, sysfs, scan, &findings)
        if let drm = Directory(in: sysfs, name: "class/drm") {
            for name in drm.names() where !name.contains("-") {
                guard let path = drm.link(name), let holder = scan.byNode["/dev/dri/" + name] else { continue }
                findings.add(path: path, .vital("display-client", "/dev/dri/\(name) is held by \(holder)"))
            }
        }
        nvidia(proc, scan, &findings)
        if let block = Directory(in: sysfs, name: "class/block") {
            for (node, holder) in scan.byNode.sorted(by: { $0.key < $1.key }) {
                let name = String(node.dropFirst(5))
                guard !name.contains("/"), block.has(name) else { continue }
                BlockUse.addChain(name, block, .vital("open", "\(node) is held by \(holder)"), &findings)
            }
        }
        if !scan.isComplete {
            findings.gap(
                "holders-unseen",
                "the descriptors of other processes could not be read (that takes root): open disks, displays and VFIO "
                    + "groups are not known"
            )
        }
    }

    /// The descriptors of all processes that lead to device nodes.
    private struct Scan {
        /// The first holder of each node: `qemu-system-x86 (1234)`.
        var byNode: [String: String] = [:]
        /// Whether every process could be looked at.
        var isComplete = true

        init(_ proc: borrowing Directory) {
            let scratch = Scratch()
            for process in proc.names() where Int(process) != nil {
                guard let descriptors = Directory(in: proc, name: process + "/fd") else {
                    // A process that ended meanwhile is no gap; one that may not be looked at is.
                    if let directory = Directory(in: proc, name: process), directory.has("fd") { isComplete = false }
                    continue
                }
                for descriptor in descriptors.names() {
                    guard let node = descriptors.link(descriptor), Self.matters(node), byNode[node] == nil else {
                        continue
                    }
                    var name = "process"
                    if let directory = Directory(in: proc, name: process) {
                        name = directory.text("comm", scratch) ?? name
                    }
                    byNode[node] = "\(name) (\(process))"
                }
            }
        }

        /// Device nodes, without the ones that every process has open.
        private static func matters(_ node: String) -> Bool {
            guard node.hasPrefix("/dev/") else { return false }
            for prefix in ["/dev/null", "/dev/zero", "/dev/full", "/dev/pts/", "/dev/tty", "/dev/shm/", "/dev/urandom"]
            where node.hasPrefix(prefix) { return false }
            return true
        }
    }

    private static func vfio(
        _ functions: [FunctionRecord],
        _ sysfs: borrowing Directory,
        _ scan: Scan,
        _ findings: inout UseFindings
    ) {
        for f in functions where f.driver == "vfio-pci" {
            var nodes: [String] = []
            if let group = f.iommuGroup { nodes += ["/dev/vfio/\(group)", "/dev/vfio/noiommu-\(group)"] }
            if let own = Directory(in: sysfs, name: "bus/pci/devices/\(f.address)/vfio-dev") {
                nodes += own.names().map { "/dev/vfio/devices/" + $0 }
            }
            if let holder = nodes.lazy.compactMap({ scan.byNode[$0] }).first {
                findings.add(f.address, .vital("vfio", "\(holder) holds it through VFIO"))
            } else if scan.isComplete {
                findings.add(f.address, .use("vfio-idle", "it is bound to vfio-pci and nobody holds it", weight: 50))
                continue
            } else {
                findings.add(f.address, .vital("vfio", "it is bound to vfio-pci; who holds it could not be seen"))
                continue
            }
            // The group is the unit of isolation: its members share the guest's fate.
            for member in functions
            where f.iommuGroup != nil && member.iommuGroup == f.iommuGroup && member.address != f.address
                && member.config.headerLayout != 1
            {
                findings.add(
                    member.address,
                    .vital("vfio-group", "it shares an IOMMU group with \(f.address), which a guest holds")
                )
            }
        }
    }

    /// /dev/nvidiaN by the driver's own list: `gpus/0000:3b:00.0/information` has a line `Device Minor: N`.
    private static func nvidia(_ proc: borrowing Directory, _ scan: Scan, _ findings: inout UseFindings) {
        guard let gpus = Directory(in: proc, name: "driver/nvidia/gpus") else { return }
        for name in gpus.names() {
            guard let address = FunctionAddress(parsing: name), let text = gpus.contents(name + "/information") else {
                continue
            }
            for line in TextLines(text) {
                guard let value = line.after("Device Minor:"), let minor = value.trimmed.decimalValue,
                    let holder = scan.byNode["/dev/nvidia\(minor)"]
                else { continue }
                findings.add(address, .vital("gpu-client", "/dev/nvidia\(minor) is held by \(holder)"))
            }
        }
    }
}
