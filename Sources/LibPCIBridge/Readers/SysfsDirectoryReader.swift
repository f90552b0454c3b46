// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Reads a directory in the shape of sysfs: an unpacked archive, a copy from another machine.
///
/// The directory may be a whole root (`DIR/sys/bus/pci/…`), a copy of /sys (`DIR/bus/pci/…`) or of /sys/bus/pci
/// (`DIR/devices/DDDD:BB:DD.F/{resource,config,vendor,…}`); entries of `devices` may be symbolic links or directories.
/// Beside it may lie what completes the picture, at these places, the first that exists:
///
/// | what | where |
/// | --- | --- |
/// | /proc/iomem, /proc/ioports | `proc/iomem`, `iomem`, `iomem.txt` |
/// | order of the kernel's lists | `proc/bus/pci/devices` |
/// | kernel log | `dmesg.txt`, `dmesg`, `kmsg`, `var/log/dmesg` |
/// | command line | `proc/cmdline`, `cmdline` |
/// | release | `proc/sys/kernel/osrelease`, `osrelease`, `release` |
/// | architecture | `proc/sys/kernel/arch`, `arch` |
/// | ports that pciehp drives | `sys/bus/pci_express/drivers/pciehp/DDDD:BB:DD.F:pcieNNN` |
/// | ACPI, OPAL or device tree | `sys/firmware/acpi/tables`, `sys/firmware/opal`, `sys/firmware/devicetree/base` |
/// | firmware's memory map | `sys/firmware/memmap` |
/// | what names functions by address | `etc`, `run` and `dev` as on the machine (`FileNamings`) |
public struct SysfsDirectoryReader: Sendable {
    /// The directory.
    public var path: String
    /// The archive in which the directory lies, with its path there; nil on disk.
    private var member: (archive: Archive, root: String)?

    /// Creates a reader of `path`.
    public init(path: String) { self.path = path }

    /// Creates a reader of an archive's tree; nil when the archive holds none. `path` stands in messages.
    init?(_ archive: Archive, path: String) {
        guard let root = archive.sysfsRoot else { return nil }
        self.path = path
        member = (archive, root)
    }

    /// Where `devices/` lies below `path`, or nil when the directory has another shape.
    static func busPath(below path: String) -> String? {
        for candidate in ["/sys/bus/pci", "/bus/pci", ""] {
            if case .directory = FileKind(path + candidate + "/devices") { return path + candidate }
        }
        return nil
    }

    /// Reads the directory.
    ///
    /// - Throws: `ReadError` when there is no such directory, it has another shape, or may not be read.
    /// - Complexity: about twelve system calls for each function.
    public func read() throws(ReadError) -> MachineRecord {
        let root = try openRoot()
        guard let place = Self.busPlace(below: root), let bus = Directory(in: root, name: place) else {
            throw ReadError(
                .badInput,
                path: path,
                "\(path) is no sysfs directory: expected devices/, bus/pci/devices/ or sys/bus/pci/devices/ in it"
            )
        }
        var tree = SysfsTree(bus: bus, path: "\(path)/\(place)")
        let entries = try tree.entries()
        var record = MachineRecord(origin: .directory)
        record.functions = try tree.functions(entries, configs: nil)
        record.slots = tree.slots()
        record.resourceAlignment = tree.resourceAlignment().flatMap { $0.isEmpty ? nil : $0 }
        record.gaps = tree.gaps
        readBuses(root, entries, &record)
        readTexts(root, &record)
        FileNamings.read(root, into: &record)
        record.noteGaps()
        return record
    }

    private func openRoot() throws(ReadError) -> Directory {
        guard let member else { return try Directory(path: path) }
        guard let directory = Directory(in: member.archive, path: member.root) else {
            throw ReadError(.badInput, path: path, "\(path) holds no directory \(member.root)")
        }
        return directory
    }

    /// The place below `root` of the directory that holds `devices/`, or nil when `root` has another shape.
    private static func busPlace(below root: borrowing Directory) -> String? {
        ["sys/bus/pci", "bus/pci", "."].first { place in Directory(in: root, name: "\(place)/devices") != nil }
    }

    private func readBuses(_ root: borrowing Directory, _ entries: [SysfsTree.Entry], _ record: inout MachineRecord) {
        for place in ["sys/class/pci_bus", "class/pci_bus"] {
            guard let directory = Directory(in: root, name: place) else { continue }
            record.buses = busRecords(classDirectory: directory)
            break
        }
        record.addRootBuses(entries)
    }

    private func readTexts(_ root: borrowing Directory, _ record: inout MachineRecord) {
        func first(_ names: [String]) -> [UInt8]? {
            for name in names {
                if let bytes = root.contents(name) { return bytes }
            }
            return nil
        }
        func text(_ names: [String]) -> String? {
            first(names).map { String(decoding: $0[...].trimmedLines, as: UTF8.self) }
        }
        record.kernel = KernelIdentity(
            release: text(["proc/sys/kernel/osrelease", "osrelease", "release"]),
            commandLine: text(["proc/cmdline", "cmdline"]),
            architecture: text(["proc/sys/kernel/arch", "arch"])
        )
        if let sysfs = Directory(in: root, name: "sys") {
            record.kernel.hardwareDescription = HardwareDescription(sysfs)
            record.nativeHotPlugPorts = nativeHotPlugPorts(sysfs)
        } else {
            record.nativeHotPlugPorts = nativeHotPlugPorts(root)
        }
        record.iomem = first(["proc/iomem", "iomem", "iomem.txt"]).map { String(decoding: $0, as: UTF8.self) }
        record.ioports = first(["proc/ioports", "ioports", "ioports.txt"]).map { String(decoding: $0, as: UTF8.self) }
        if let order = first(["proc/bus/pci/devices"]) {
            record.deviceOrder = deviceOrder(order, functions: record.functions)
        }
        if let log = first(["dmesg.txt", "dmesg", "kmsg", "var/log/dmesg"]) {
            record.kernelLog = relevantLines(log)
        }
        for place in ["sys/firmware/memmap", "firmware/memmap"] {
            if let directory = Directory(in: root, name: place) {
                record.firmwareMap = firmwareMap(directory)
                break
            }
        }
    }
}

extension MachineRecord {
    /// Adds the root buses that paths of functions name and the bus list lacks.
    mutating func addRootBuses(_ entries: [SysfsTree.Entry]) {
        var known = Set(buses.map { UInt64($0.segment) << 8 | UInt64($0.bus.rawValue) })
        for entry in entries {
            guard let root = entry.root, known.insert(UInt64(root.segment) << 8 | UInt64(root.bus.rawValue)).inserted
            else { continue }
            buses.append(root)
        }
        buses.sort()
    }

    /// Adds the gaps that the record itself shows.
    mutating func noteGaps() {
        let short = functions.filter { $0.config.count == 64 }.count
        if short > 0 {
            gaps.append(
                ReadingGap(
                    code: "config-64-bytes",
                    detail: "the configuration space of \(short) of \(functions.count) functions could be read to 64 "
                        + "bytes only (that takes root): capabilities, slots, SR-IOV and resizable BARs are unknown"
                )
            )
        }
        let silent = functions.filter { $0.config.count == 0 }.count
        if silent > 0 {
            gaps.append(
                ReadingGap(
                    code: "config-unreadable",
                    detail: "the configuration space of \(silent) of \(functions.count) functions could not be read"
                )
            )
        }
    }
}

extension TextBytes {
    /// The text without blanks and line ends around it.
    var trimmedLines: TextBytes {
        var a = startIndex
        var b = endIndex
        while a < b, isBlank(self[a]) || self[a] == 0x0a || self[a] == 0 { a += 1 }
        while b > a, isBlank(self[b - 1]) || self[b - 1] == 0x0a || self[b - 1] == 0 { b -= 1 }
        return self[a..<b]
    }
}

/// The entries of a `firmware/memmap` directory in ascending order.
func firmwareMap(_ directory: borrowing Directory) -> [FirmwareMapEntry] {
    let scratch = Scratch()
    var result: [FirmwareMapEntry] = []
    for name in directory.names() {
        guard let entry = Directory(in: directory, name: name), let start = entry.hexNumber("start", scratch),
            let end = entry.hexNumber("end", scratch), let range = AddressRange(first: start, last: end)
        else { continue }
        result.append(FirmwareMapEntry(range: range, type: entry.text("type", scratch) ?? ""))
    }
    return result.sorted { $0.range < $1.range }
}
