// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Mounted file systems, swap, and devices that others are built on.
enum BlockUse {
    /// One line of /proc/self/mountinfo.
    private struct Mount {
        var device: String
        var point: String
        var type: String
        var source: String
    }

    static func read(
        _ sysfs: borrowing Directory,
        _ proc: borrowing Directory,
        runPath: String,
        _ findings: inout UseFindings
    ) {
        guard let block = Directory(in: sysfs, name: "class/block") else {
            findings.gap("block-unseen", "sysfs shows no block devices: mounted disks are not known")
            return
        }
        guard let text = proc.contents("self/mountinfo") else {
            findings.gap("mounts-unseen", "/proc/self/mountinfo could not be read: mounted disks are not known")
            return
        }
        // major:minor -> name, from the `dev` files.
        let scratch = Scratch()
        var numbers: [String: String] = [:]
        let names = block.names()
        for name in names {
            if let device = Directory(in: block, name: name), let number = device.text("dev", scratch) {
                numbers[number] = name
            }
        }
        var mounts: [Mount] = []
        // The first process may see mounts that this one's namespace does not.
        for line in TextLines(text + (proc.contents("1/mountinfo") ?? [])) {
            if let mount = Self.mount(line) { mounts.append(mount) }
        }
        mountEvidence(sysfs, block, mounts, numbers, &findings)
        poolEvidence(block, mounts, numbers, runPath, &findings)
        swapEvidence(proc, block, mounts, numbers, &findings)
        loopEvidence(block, names, mounts, numbers, &findings)
        for name in names where isRemote(name, block) {
            findings.gap(
                "network-disk-unseen",
                "/dev/\(name) is a disk on the network: which interface leads to its server is not known"
            )
        }
        for name in names {
            guard let holders = Directory(in: block, name: name + "/holders") else { continue }
            for holder in holders.names() {
                addChain(name, block, .vital("held", "/dev/\(name) is part of /dev/\(holder)"), &findings)
            }
        }
    }

    /// `36 35 98:0 /root /mount rw,noatime master:1 - ext3 /dev/root rw`
    private static func mount(_ line: TextBytes) -> Mount? {
        let words = line.words()
        guard words.count >= 10, let dash = words.firstIndex(where: { $0.equals("-") }), dash + 2 < words.count else {
            return nil
        }
        return Mount(
            device: words[2].string,
            point: unescaped(words[4]),
            type: words[dash + 1].string,
            source: unescaped(words[dash + 2])
        )
    }

    /// mountinfo writes blanks, tabs, line ends and backslashes as `\040` and so on.
    private static func unescaped(_ text: TextBytes) -> String {
        var bytes: [UInt8] = []
        var i = text.startIndex
        while i < text.endIndex {
            if text[i] == 0x5c, i + 3 < text.endIndex {
                let digits = text[(i + 1)...(i + 3)]
                if digits.allSatisfy({ $0 >= 0x30 && $0 <= 0x37 }) {
                    let value = digits.reduce(0) { $0 * 8 + Int($1 - 0x30) }
                    bytes.append(UInt8(truncatingIfNeeded: value))
                    i += 4
                    continue
                }
            }
            bytes.append(text[i])
            i += 1
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func mountEvidence(
        _ sysfs: borrowing Directory,
        _ block: borrowing Directory,
        _ mounts: [Mount],
        _ numbers: [String: String],
        _ findings: inout UseFindings
    ) {
        var seen = Set<String>()
        for mount in mounts {
            if mount.type == "zfs" { continue }
            guard let name = device(of: mount, block, numbers) else { continue }
            // Mounts of the same device by other paths add nothing.
            guard seen.insert(name).inserted else { continue }
            let proof = UseEvidence.vital("mounted", "/dev/\(name) is mounted on \(mount.point)")
            addChain(name, block, proof, &findings)
            guard mount.type == "btrfs" else { continue }
            for member in btrfsMembers(of: name, sysfs) where member != name {
                addChain(
                    member,
                    block,
                    .vital("mounted", "/dev/\(member) belongs to the btrfs mounted on \(mount.point)"),
                    &findings
                )
            }
        }
    }

    /// ZFS takes its disks without holders; what udev read from them tells whose pool they belong to.
    private static func poolEvidence(
        _ block: borrowing Directory,
        _ mounts: [Mount],
        _ numbers: [String: String],
        _ runPath: String,
        _ findings: inout UseFindings
    ) {
        var points: [String: String] = [:]
        for mount in mounts where mount.type == "zfs" {
            let pool = String(mount.source.prefix { $0 != "/" })
            if points[pool] == nil { points[pool] = mount.point }
        }
        guard !points.isEmpty else { return }
        var members: [String: [String]] = [:]
        if let database = try? Directory(path: runPath + "/udev/data") {
            for (number, name) in numbers.sorted(by: { $0.value < $1.value }) {
                guard let text = database.contents("b" + number) else { continue }
                var isMember = false
                var label: String?
                for line in TextLines(text) {
                    if line.equals("E:ID_FS_TYPE=zfs_member") { isMember = true }
                    if line.starts("E:ID_FS_LABEL=") { label = line.after("=")?.string }
                }
                if isMember, let label { members[label, default: []].append(name) }
            }
        }
        for (pool, point) in points.sorted(by: { $0.key < $1.key }) {
            for name in members[pool] ?? [] {
                let proof = UseEvidence.vital(
                    "mounted",
                    "/dev/\(name) belongs to the ZFS pool \(pool), mounted on \(point)"
                )
                addChain(name, block, proof, &findings)
            }
            if members[pool] == nil {
                findings.gap(
                    "zfs-unseen",
                    "the ZFS pool \(pool) is mounted: neither sysfs nor udev tells which disks it is on"
                )
            }
        }
    }

    /// A loop device stands on a file or on another block device, and somebody attached it; who has its file system
    /// mounted in another namespace is not seen otherwise.
    private static func loopEvidence(
        _ block: borrowing Directory,
        _ names: [String],
        _ mounts: [Mount],
        _ numbers: [String: String],
        _ findings: inout UseFindings
    ) {
        for name in names where name.hasPrefix("loop") {
            guard let bytes = block.contents(name + "/loop/backing_file") else { continue }
            let path = String(decoding: bytes, as: UTF8.self).trimmingLineEnd
            if path.hasPrefix("/dev/"), let under = deviceName(path, block) {
                addChain(under, block, .vital("loop", "/dev/\(under) carries /dev/\(name)"), &findings)
            } else if let mount = carrier(of: path, mounts), let under = device(of: mount, block, numbers) {
                addChain(under, block, .vital("loop", "\(path) on /dev/\(under) carries /dev/\(name)"), &findings)
            }
        }
    }

    /// Disks whose other end sysfs does not name: NBD while it is connected, Ceph and DRBD.
    private static func isRemote(_ name: String, _ block: borrowing Directory) -> Bool {
        if name.hasPrefix("nbd") { return !name.contains("p") && block.has(name + "/pid") }
        return (name.hasPrefix("rbd") || name.hasPrefix("drbd")) && block.has(name + "/dev")
    }

    /// The mount that holds a path.
    private static func carrier(of path: String, _ mounts: [Mount]) -> Mount? {
        mounts.filter { isBelow(path, $0.point) }.max { $0.point.utf8.count < $1.point.utf8.count }
    }

    /// The block device of a mount: by number, and by name for file systems with numbers of their own (btrfs).
    private static func device(of mount: Mount, _ block: borrowing Directory, _ numbers: [String: String]) -> String? {
        if let name = numbers[mount.device] { return name }
        guard mount.source.hasPrefix("/dev/") else { return nil }
        return deviceName(mount.source, block)
    }

    /// The block device that a path below /dev names: itself, or the mapping of that name.
    private static func deviceName(_ path: String, _ block: borrowing Directory) -> String? {
        let name = String(path.dropFirst(5))
        if !name.contains("/"), block.has(name) { return name }
        guard name.hasPrefix("mapper/") else { return nil }
        let mapping = String(name.dropFirst(7))
        let scratch = Scratch()
        for candidate in block.names() where candidate.hasPrefix("dm-") {
            if let dm = Directory(in: block, name: candidate + "/dm"), dm.text("name", scratch) == mapping {
                return candidate
            }
        }
        return nil
    }

    private static func btrfsMembers(of name: String, _ sysfs: borrowing Directory) -> [String] {
        guard let btrfs = Directory(in: sysfs, name: "fs/btrfs") else { return [] }
        for uuid in btrfs.names() {
            guard let devices = Directory(in: btrfs, name: uuid + "/devices") else { continue }
            let members = devices.names()
            if members.contains(name) { return members }
        }
        return []
    }

    private static func swapEvidence(
        _ proc: borrowing Directory,
        _ block: borrowing Directory,
        _ mounts: [Mount],
        _ numbers: [String: String],
        _ findings: inout UseFindings
    ) {
        guard let text = proc.contents("swaps") else { return }
        for line in TextLines(text).dropFirst() {
            guard let first = line.words().first else { continue }
            let path = unescaped(first)
            if path.hasPrefix("/dev/"), let name = deviceName(path, block) {
                addChain(name, block, .vital("swap", "/dev/\(name) is swap"), &findings)
            } else if let mount = carrier(of: path, mounts), let name = device(of: mount, block, numbers) {
                addChain(name, block, .vital("swap", "\(path) on /dev/\(name) is swap"), &findings)
            }
        }
    }

    private static func isBelow(_ path: String, _ point: String) -> Bool {
        point == "/" || path == point || path.hasPrefix(point + "/")
    }

    /// Adds evidence to the functions below a block device: directly, through what it is built on (dm, md, bcache), through
    /// the controllers of a multipath NVMe subsystem. Loop devices have evidence of their own.
    static func addChain(
        _ name: String,
        _ block: borrowing Directory,
        _ proof: UseEvidence,
        _ findings: inout UseFindings
    ) {
        var pending = [name]
        var seen = Set(pending)
        while let next = pending.popLast() {
            guard let path = block.link(next) else { continue }
            if findings.add(path: path, proof) { continue }
            // A partition has the slaves of its disk.
            for place in [next + "/slaves", next + "/../slaves"] {
                guard let slaves = Directory(in: block, name: place) else { continue }
                for slave in slaves.names() where seen.insert(slave).inserted { pending.append(slave) }
            }
            // nvme0n1 lies below the subsystem, its partitions one level deeper; the controllers are links beside it.
            for place in [next + "/..", next + "/../.."] where path.contains("/nvme-subsystem/") {
                guard let subsystem = Directory(in: block, name: place) else { continue }
                for controller in subsystem.names() where controller.hasPrefix("nvme") {
                    if let target = subsystem.link(controller) { findings.add(path: target, proof) }
                }
            }
        }
    }
}

extension String {
    /// The text without the line end that attributes of sysfs have.
    fileprivate var trimmingLineEnd: String { hasSuffix("\n") ? String(dropLast()) : self }
}
