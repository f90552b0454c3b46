// SPDX-License-Identifier: GPL-2.0-or-later

internal import Glibc
internal import PCITopology

extension HardwareDescription {
    /// What a sysfs shows: ACPI's tables where there are any (a kernel started by UEFI may have a device tree beside them).
    init?(_ sysfs: borrowing Directory) {
        if sysfs.has("firmware/acpi/tables") {
            self = .acpi
        } else if sysfs.has("firmware/opal") {
            self = .opal
        } else if sysfs.has("firmware/devicetree/base") {
            self = .deviceTree
        } else {
            return nil
        }
    }
}

/// Reads what sysfs shows below one `bus/pci` directory.
///
/// Every file is opened at most once. A function that vanishes between listing and reading is left out and named in
/// `gaps`.
struct SysfsTree: ~Copyable {
    private let bus: Directory
    private let path: String
    private let scratch = Scratch()
    private var vanished: [FunctionAddress] = []
    private var damaged: [FunctionAddress] = []
    private var unreadable: [FunctionAddress] = []

    /// Opens the directory that holds `devices/`.
    init(path: String) throws(ReadError) { self.init(bus: try Directory(path: path), path: path) }

    /// Reads below an open directory that holds `devices/`; `path` stands in messages.
    init(bus: consuming Directory, path: String) {
        self.bus = bus
        self.path = path
    }

    private func devices() throws(ReadError) -> Directory {
        guard let devices = Directory(in: bus, name: "devices") else {
            throw .system(errno, path: path + "/devices", doing: "open directory")
        }
        return devices
    }

    /// One entry of `devices/`, before it is read.
    struct Entry {
        var address: FunctionAddress
        var name: String
        var placement: FunctionRecord.Placement
        /// The root bus that the path names (`pci0000:00`), or nil.
        var root: BusRecord?
    }

    /// The entries of `devices/` in ascending address order.
    /// - Throws: `ReadError` when the directory is missing or unreadable.
    func entries() throws(ReadError) -> [Entry] {
        let devices = try devices()
        var result: [Entry] = []
        for name in devices.names() {
            guard let address = FunctionAddress(parsing: name), name.utf8.count >= 12 else { continue }
            var entry = Entry(address: address, name: name, placement: .unknown)
            if let target = devices.link(name) { Self.place(&entry, target) }
            result.append(entry)
        }
        return result.sorted { $0.address < $1.address }
    }

    /// Takes the bridge above and the root bus from a path like `../../../devices/pci0000:00/0000:00:02.0/0000:01:00.0`.
    private static func place(_ entry: inout Entry, _ target: String) {
        let parts = target.split(separator: "/")
        guard parts.count >= 2, parts[parts.count - 1] == entry.name else { return }
        let above = parts[parts.count - 2]
        if let bridge = FunctionAddress(parsing: above) {
            entry.placement = .below(bridge)
            return
        }
        var text = Array(above.utf8)[...]
        guard text.take("pci"), let bus = BusRecord.parse(text) else { return }
        entry.placement = .rootBus
        entry.root = BusRecord(segment: bus.segment, bus: bus.bus, isRoot: true)
    }

    /// Reads the functions that `entries` name.
    ///
    /// `configs` holds the configuration spaces in the order of `entries` when they were read by other means; nil reads
    /// the files `config`.
    mutating func functions(_ entries: [Entry], configs: [ConfigSpace]?) throws(ReadError) -> [FunctionRecord] {
        let devices = try devices()
        var records: [FunctionRecord] = []
        records.reserveCapacity(entries.count)
        for (i, entry) in entries.enumerated() {
            guard let directory = Directory(in: devices, name: entry.name) else {
                vanished.append(entry.address)
                continue
            }
            var record = FunctionRecord(address: entry.address)
            record.placement = entry.placement
            if let configs {
                record.config = configs[i]
            } else if let bytes = directory.read("config", scratch) {
                record.config = configuration(bytes)
            }
            if let bytes = directory.read("resource", scratch) {
                record.resource = resourceLines(bytes)
                if record.resource == nil { damaged.append(entry.address) }
            } else if !directory.has("class") && !directory.has("vendor") && record.config.count == 0 {
                vanished.append(entry.address)
                continue
            } else {
                unreadable.append(entry.address)
            }
            readIdentity(directory, &record)
            readState(directory, &record)
            records.append(record)
        }
        return records
    }

    /// The bytes of a file `config`. A copy of one that only root may read beyond 64 bytes may be filled up with zeros;
    /// nobody read those, which shows where the status register promises capabilities and there are none.
    private func configuration(_ bytes: UnsafeBufferPointer<UInt8>) -> ConfigSpace {
        let config = ConfigSpace(Array(bytes))
        guard config.count > 64, let status = config.word(0x06), status & 0x10 != 0, config.byte(0x34) ?? 0 >= 0x40,
            bytes.dropFirst(64).allSatisfy({ $0 == 0 })
        else { return config }
        return ConfigSpace(Array(bytes.prefix(64)))
    }

    private func readIdentity(_ directory: borrowing Directory, _ record: inout FunctionRecord) {
        var needsDriver = true
        if let bytes = directory.read("uevent", scratch), bytes.count > 0 {
            needsDriver = false
            var cursor = ByteCursor(bytes)
            while !cursor.isAtEnd {
                let line = cursor.take(upTo: 0x0a)
                if begins(line, "DRIVER=") {
                    record.driver = String(decoding: line[7...], as: UTF8.self)
                } else if begins(line, "PCI_CLASS=") {
                    var value = ByteCursor(UnsafeBufferPointer(rebasing: line[10...]))
                    record.classCode = value.hex().map { UInt32(truncatingIfNeeded: $0 & 0xff_ffff) }
                } else if begins(line, "PCI_ID=") {
                    if let pair = Self.pair(line, from: 7) { (record.vendor, record.device) = pair }
                } else if begins(line, "PCI_SUBSYS_ID=") {
                    if let pair = Self.pair(line, from: 14) {
                        (record.subsystemVendor, record.subsystemDevice) = pair
                    }
                }
            }
        }
        if record.vendor == nil { record.vendor = half(directory.hexNumber("vendor", scratch)) }
        if record.device == nil { record.device = half(directory.hexNumber("device", scratch)) }
        if record.classCode == nil {
            record.classCode = directory.hexNumber("class", scratch).map { UInt32(truncatingIfNeeded: $0 & 0xff_ffff) }
        }
        if record.subsystemVendor == nil {
            record.subsystemVendor = half(directory.hexNumber("subsystem_vendor", scratch))
            record.subsystemDevice = half(directory.hexNumber("subsystem_device", scratch))
        }
        record.revision =
            record.config.byte(8)
            ?? directory.hexNumber("revision", scratch).map { UInt8(truncatingIfNeeded: $0) }
        if needsDriver { record.driver = directory.linkName("driver") }
    }

    private func half(_ value: UInt64?) -> UInt16? { value.map { UInt16(truncatingIfNeeded: $0) } }

    /// Reads `8086:29C0` from byte `start` of `line`.
    private static func pair(_ line: UnsafeBufferPointer<UInt8>, from start: Int) -> (UInt16?, UInt16?)? {
        var cursor = ByteCursor(UnsafeBufferPointer(rebasing: line[start...]))
        var first = ByteCursor(cursor.take(upTo: 0x3a))
        guard let a = first.hex(), let b = cursor.hex() else { return nil }
        return (UInt16(truncatingIfNeeded: a), UInt16(truncatingIfNeeded: b))
    }

    private func readState(_ directory: borrowing Directory, _ record: inout FunctionRecord) {
        record.enableCount = directory.number("enable", scratch)
        record.numaNode = directory.number("numa_node", scratch).flatMap { $0 >= 0 ? $0 : nil }
        record.removable = directory.text("removable", scratch)
        record.isUntrusted = directory.number("untrusted", scratch).map { $0 != 0 }
        record.iommuGroup = directory.linkName("iommu_group").flatMap { Int($0) }
        // Only endpoints have these; bridges are spared the failing calls.
        guard record.config.headerLayout != 1 else { return }
        if let total = directory.number("sriov_totalvfs", scratch) {
            record.totalVFs = total
            record.enabledVFs = directory.number("sriov_numvfs", scratch)
        }
        record.physicalFunction = directory.linkName("physfn").flatMap { FunctionAddress(parsing: $0) }
        if let code = record.classCode, code >> 16 == 3 {
            record.isBootVGA = directory.number("boot_vga", scratch).map { $0 != 0 }
        }
    }

    /// The slots below `slots/`, sorted by name.
    func slots() -> [SlotRecord] {
        guard let directory = Directory(in: bus, name: "slots") else { return [] }
        var result: [SlotRecord] = []
        for name in directory.names() {
            guard let slot = Directory(in: directory, name: name), let address = slot.text("address", scratch) else {
                continue
            }
            result.append(
                SlotRecord(
                    name: name,
                    address: address,
                    isPowered: slot.number("power", scratch).map { $0 != 0 },
                    isOccupied: slot.number("adapter", scratch).map { $0 != 0 },
                    module: slot.linkName("module")
                )
            )
        }
        return result
    }

    /// The text of `resource_alignment`, or nil.
    func resourceAlignment() -> String? {
        bus.text("resource_alignment", scratch)
    }

    /// What could not be read, one gap for each kind of failure.
    var gaps: [ReadingGap] {
        var gaps: [ReadingGap] = []
        func say(_ code: String, _ addresses: [FunctionAddress], _ what: String) {
            guard !addresses.isEmpty else { return }
            gaps.append(ReadingGap(code: code, detail: "\(addresses.listed(8)): \(what)"))
        }
        say(
            "damaged-resource",
            damaged,
            "the file resource does not hold lines of three numbers; resources are unknown"
        )
        say("no-resource", unreadable, "the file resource could not be read; resources are unknown")
        say("vanished", vanished, "went away while being read; not in the tree")
        return gaps
    }
}

/// The ports whose hot-plug service pciehp drives (`0000:00:02.0:pcie004` below `bus/pci_express/drivers/pciehp`),
/// ascending; nil without a directory `bus/pci_express`.
///
/// Without port services (`pcie_ports=compat`) the directory is there and the driver is not.
func nativeHotPlugPorts(_ sysfs: borrowing Directory) -> [FunctionAddress]? {
    guard Directory(in: sysfs, name: "bus/pci_express/drivers") != nil else { return nil }
    guard let driver = Directory(in: sysfs, name: "bus/pci_express/drivers/pciehp") else { return [] }
    return driver.names().compactMap { name in
        guard let cut = name.lastIndex(of: ":"), name[cut...].hasPrefix(":pcie") else { return nil }
        return FunctionAddress(parsing: String(name[..<cut]))
    }
    .sorted()
}

/// The buses that `class/pci_bus` lists, with the bridge above each.
func busRecords(classDirectory: borrowing Directory) -> [BusRecord] {
    var result: [BusRecord] = []
    for name in classDirectory.names() {
        guard let bus = BusRecord.parse(Array(name.utf8)[...]) else { continue }
        var record = BusRecord(segment: bus.segment, bus: bus.bus)
        // ../../devices/pci0000:00/0000:00:02.0/pci_bus/0000:01, and ../../devices/pci0000:00/pci_bus/0000:00 for a root.
        if let target = classDirectory.link(name) {
            let parts = target.split(separator: "/")
            if parts.count >= 3 {
                record.bridge = FunctionAddress(parsing: parts[parts.count - 3])
                record.isRoot = parts[parts.count - 3] == "pci" + name
            }
        }
        result.append(record)
    }
    return result.sorted()
}

/// The addresses of /proc/bus/pci/devices, in its order.
///
/// The file names bus and devfn only, so with several segments an address is found by order of appearance: lines of
/// segments come in the kernel's order, and only a bus that exists in one segment is certain. Others are left out.
func deviceOrder(_ text: [UInt8], functions: [FunctionRecord]) -> [FunctionAddress] {
    var byPlace: [UInt16: [FunctionAddress]] = [:]
    for f in functions {
        byPlace[UInt16(f.address.bus.rawValue) << 8 | UInt16(f.address.devfn), default: []].append(f.address)
    }
    var result: [FunctionAddress] = []
    for line in TextLines(text) {
        var rest = line
        guard let place = rest.takeHex(), place <= 0xffff, let candidates = byPlace[UInt16(place)],
            candidates.count == 1
        else { continue }
        result.append(candidates[0])
    }
    return result
}
