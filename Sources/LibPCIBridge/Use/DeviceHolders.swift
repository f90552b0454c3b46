// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Processes that hold devices: VFIO groups, displays, GPUs, raw disks, UIO, BARs mapped from sysfs, and every other node
/// whose class leads to a function.
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
        mapped(scan, sysfs, &findings)
        nodes(scan, sysfs, &findings)
        characterDevices(scan, sysfs, &findings)
        addressSpaces(functions, sysfs, scan, &findings)
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
        /// The first holder of each `resourceN` of sysfs, open or mapped, by path.
        var byResource: [String: String] = [:]
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
                func holder() -> String {
                    var name = "process"
                    if let directory = Directory(in: proc, name: process) {
                        name = directory.text("comm", scratch) ?? name
                    }
                    return "\(name) (\(process))"
                }
                for node in descriptors.links(where: Self.mayMatter) {
                    if Self.isResource(node) {
                        if byResource[node] == nil { byResource[node] = holder() }
                    } else if Self.matters(node), byNode[node] == nil {
                        byNode[node] = holder()
                    }
                }
                // A mapping stays when the descriptor is closed.
                guard let maps = proc.contents(process + "/maps") else { continue }
                for line in TextLines(maps) {
                    guard line.has("/resource"), let start = line.firstIndex(of: UInt8(ascii: "/")) else { continue }
                    let path = line[start...].trimmed.string
                    if Self.isResource(path), byResource[path] == nil { byResource[path] = holder() }
                }
            }
        }

        /// Whether a descriptor may lead to a device node or to a file of sysfs: most lead to sockets, pipes and files.
        private static func mayMatter(_ target: UnsafeBufferPointer<UInt8>) -> Bool {
            if begins(target, "/dev/") { return true }
            guard let slash = target.lastIndex(of: UInt8(ascii: "/")) else { return false }
            return begins(UnsafeBufferPointer(rebasing: target[slash...]), "/resource")
        }

        private static func begins(_ target: UnsafeBufferPointer<UInt8>, _ word: StaticString) -> Bool {
            word.withUTF8Buffer { target.count >= $0.count && target.prefix($0.count).elementsEqual($0) }
        }

        /// `/sys/devices/pci0000:00/0000:00:03.0/resource0`, or its write-combining twin `resource0_wc`.
        private static func isResource(_ path: String) -> Bool {
            guard let name = path.split(separator: "/").last, name.hasPrefix("resource"), path.contains("/pci") else {
                return false
            }
            let number = name.dropFirst(8)
            return number.first?.isNumber == true && (number.count == 1 || number.dropFirst() == "_wc")
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

    /// BARs that a process maps by itself (`pci_mmap_resource_wc` and its like): a driver in user space.
    private static func mapped(_ scan: Scan, _ sysfs: borrowing Directory, _ findings: inout UseFindings) {
        for (path, holder) in scan.byResource.sorted(by: { $0.key < $1.key }) {
            let parts = path.split(separator: "/")
            guard let name = parts.last, let address = parts.dropLast().last.flatMap({ FunctionAddress(parsing: $0) })
            else { continue }
            findings.add(address, .vital("mapped", "\(holder) has its \(name) open or mapped"))
        }
    }

    /// Classes of nodes that are held all the time without harm, or that others here judge better.
    private static let otherClasses: Set<String> = [
        "block", "drm", "graphics", "hidraw", "input", "mem", "misc", "net", "rfkill", "sound", "tty", "usbmisc", "vc",
        "vtconsole",
    ]

    /// Any other node whose class leads to a function: UIO, CXL and DAX devices, accelerators, cameras, watchdogs.
    private static func nodes(_ scan: Scan, _ sysfs: borrowing Directory, _ findings: inout UseFindings) {
        guard !scan.byNode.isEmpty || Directory(in: sysfs, name: "class/uio") != nil,
            let classes = Directory(in: sysfs, name: "class")
        else { return }
        let held = scan.byNode.sorted { $0.key < $1.key }
        for name in classes.names() where !otherClasses.contains(name) {
            guard let members = Directory(in: classes, name: name) else { continue }
            for (node, holder) in held {
                guard let member = node.split(separator: "/").last.map(String.init), let path = members.link(member)
                else { continue }
                findings.add(path: path, .vital(name == "uio" ? "uio" : "open", "\(node) is held by \(holder)"))
            }
            guard name == "uio", scan.isComplete else { continue }
            for member in members.names() where scan.byNode["/dev/" + member] == nil {
                guard let path = members.link(member) else { continue }
                findings.add(path: path, .use("uio-idle", "it is bound to UIO and nobody holds it", weight: 50))
            }
        }
        // DAX devices hang on a bus and have no class.
        guard let dax = Directory(in: sysfs, name: "bus/dax/devices") else { return }
        for name in dax.names() {
            guard let path = dax.link(name) else { continue }
            if let holder = scan.byNode["/dev/" + name] {
                findings.add(path: path, .vital("dax", "/dev/\(name) is held by \(holder)"))
            }
            guard let device = Directory(in: dax, name: name), device.linkName("driver") == "kmem" else { continue }
            findings.add(path: path, .vital("dax", "\(name) is System RAM"))
        }
    }

    /// Character devices that no class leads to, by the kernel's list of all of them (`/sys/dev/char/MAJOR:MINOR`, in whose
    /// `uevent` the name of the node stands): the queues of accelerators (`/dev/dsa/wq0.0`).
    ///
    /// Such a node is how a process gives its address space to a device (`iommu_sva_bind_device`).
    private static func characterDevices(_ scan: Scan, _ sysfs: borrowing Directory, _ findings: inout UseFindings) {
        guard !scan.byNode.isEmpty, let devices = Directory(in: sysfs, name: "dev/char") else { return }
        for name in devices.names() {
            guard let path = devices.link(name), path.contains("/pci"), let device = Directory(in: devices, name: name),
                !otherClasses.contains(device.linkName("subsystem") ?? ""), let uevent = device.contents("uevent")
            else { continue }
            for line in TextLines(uevent) {
                guard line.starts("DEVNAME="), let node = line.after("DEVNAME=")?.string,
                    let holder = scan.byNode["/dev/" + node]
                else { continue }
                for address in findings.endpoints(on: path) {
                    let isSharing = findings.functions[address].map(hasAddressSpaces) == true
                    findings.add(
                        address,
                        isSharing
                            ? .vital(
                                "sva",
                                "/dev/\(node) is held by \(holder), whose address space it may use (PASID is on)"
                            )
                            : .vital("open", "/dev/\(node) is held by \(holder)")
                    )
                }
            }
        }
    }

    /// Address spaces of processes that functions use through PASID: Intel's IOMMU lists them in debugfs
    /// (`intel_iommu_debugfs_create_dev_pasid`, for root only). Where nobody could look at who holds what, a function whose
    /// driver has asked for page faults has users that are not known.
    private static func addressSpaces(
        _ functions: [FunctionRecord],
        _ sysfs: borrowing Directory,
        _ scan: Scan,
        _ findings: inout UseFindings
    ) {
        for f in functions where hasAddressSpaces(f) {
            if let spaces = Directory(in: sysfs, name: "kernel/debug/iommu/intel/\(f.address)") {
                let numbers = spaces.names().compactMap { Int($0) }.filter { $0 > 0 }.sorted()
                if !numbers.isEmpty {
                    let list = numbers.prefix(4).map(String.init).joined(separator: ", ")
                    findings.add(
                        f.address,
                        .vital(
                            "sva",
                            "it uses \(numbers.count) address spaces of others (PASID \(list)\(numbers.count > 4 ? ", …" : ""))"
                        )
                    )
                }
            } else if !scan.isComplete, f.driver != nil, Capabilities(f.config).pageRequests?.isEnabled == true {
                findings.add(
                    f.address,
                    .vital(
                        "sva-untold",
                        "PASID and page requests are on, and which processes share memory with it was not seen"
                    )
                )
            }
        }
    }

    /// Whether requests of the function may name address spaces of processes (PASID is on).
    private static func hasAddressSpaces(_ f: FunctionRecord) -> Bool {
        Capabilities(f.config).processAddressSpaces?.isEnabled == true
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
