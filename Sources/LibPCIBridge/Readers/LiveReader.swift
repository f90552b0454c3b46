// SPDX-License-Identifier: GPL-2.0-or-later

internal import Glibc
internal import PCITopology

/// Reads the running machine: configuration space through libpci, the rest from sysfs, procfs and the kernel log.
///
/// Reading changes nothing, except that probing (see `Options.probe`) writes registers of functions that nobody uses and
/// puts them back. A function that vanishes between two reads is left out; whatever could not be read becomes a gap.
public struct LiveReader: Sendable {
    /// Where things are and what to read.
    public struct Options: Sendable {
        /// The root of sysfs.
        public var sysfs: String
        /// The root of procfs.
        public var procfs: String
        /// The root of device files; the kernel log is `kmsg` in it.
        public var devices: String
        /// The root of what runs; udev keeps there what it read from disks.
        public var run: String
        /// The directory above etc/, run/ and dev/, in which files name functions by address; nil reads none of them. They are
        /// read with the evidence of use: plans alone ask for them.
        public var root: String?
        /// Whether to size wiped BARs that nothing else sizes, by writing all ones. Takes root.
        public var probe: Bool
        /// Whether to look for evidence of use, which looks at every descriptor of every process; `readUse(into:)` adds
        /// it to a record that was read without.
        public var readsUse: Bool
        /// Whether to read the kernel log.
        public var readsKernelLog: Bool
        /// The operator's `SSH_CONNECTION`; nil to look for it, in the environment and in that of the processes above.
        public var sshConnection: String?

        /// Creates options for the running machine; everything is read, and nothing is probed.
        public init(
            sysfs: String = "/sys",
            procfs: String = "/proc",
            devices: String = "/dev",
            run: String = "/run",
            root: String? = nil,
            probe: Bool = false,
            readsUse: Bool = true,
            readsKernelLog: Bool = true,
            sshConnection: String? = nil
        ) {
            self.sysfs = sysfs
            self.procfs = procfs
            self.devices = devices
            self.run = run
            self.root = root ?? (sysfs == "/sys" && procfs == "/proc" ? "/" : nil)
            self.probe = probe
            self.readsUse = readsUse
            self.readsKernelLog = readsKernelLog
            self.sshConnection = sshConnection
        }

        /// Whether this is the running machine, not a copy of its files.
        var isRunningMachine: Bool { sysfs == "/sys" && procfs == "/proc" }
    }

    /// Where things are and what to read.
    public var options: Options

    /// Creates a reader; `SSH_CONNECTION` is taken from the environment unless the options name one.
    public init(options: Options = Options()) {
        self.options = options
        if options.sshConnection == nil, let text = getenv("SSH_CONNECTION") {
            self.options.sshConnection = String(cString: text)
        }
    }

    /// Reads the machine.
    ///
    /// - Throws: `ReadError` with code `unavailable` when there is no sysfs with PCI or libpci fails, `notPermitted` when
    ///   the directory may not be listed.
    public func read() throws(ReadError) -> MachineRecord {
        let busPath = options.sysfs + "/bus/pci"
        guard case .directory = FileKind(busPath + "/devices") else {
            throw ReadError(
                .unavailable,
                path: busPath,
                "no PCI in sysfs: expected the directory \(busPath)/devices (is /sys mounted?)"
            )
        }
        var tree = try SysfsTree(path: busPath)
        let entries = try tree.entries()
        let readings = try ConfigurationAccess.read(
            entries.map(\.address),
            sysfsPath: options.isRunningMachine ? nil : busPath
        )
        var record = MachineRecord(origin: .live)
        record.functions = try tree.functions(entries, configs: readings.map(\.config))
        record.slots = tree.slots()
        record.resourceAlignment = tree.resourceAlignment().flatMap { $0.isEmpty ? nil : $0 }
        record.gaps = tree.gaps
        if let directory = try? Directory(path: options.sysfs + "/class/pci_bus") {
            record.buses = busRecords(classDirectory: directory)
        }
        record.addRootBuses(entries)
        readKernel(&record)
        readMaps(&record)
        record.privileges = Privileges.read(procfs: options.procfs, sysfs: options.sysfs)
        record.noteGaps()
        if record.functions.isEmpty {
            record.gaps.append(ReadingGap(code: "empty-bus", detail: "the kernel shows no PCI function"))
        }
        if record.privileges?.isLockedDown == true {
            record.gaps.append(
                ReadingGap(
                    code: "lockdown",
                    detail: "the kernel is locked down: configuration space can be read and not written"
                )
            )
        }
        if options.probe { try probe(&record) }
        if options.readsUse { readUse(into: &record) }
        return record
    }

    /// Adds evidence of use, and what names functions in files, as they are now, to a record that was read without.
    ///
    /// - Complexity: O(open descriptors of all processes + length of the files).
    public func readUse(into record: inout MachineRecord) {
        if let root = options.root, let directory = try? Directory(path: root) {
            FileNamings.read(directory, into: &record)
        }
        UseReader(options: options).read(into: &record)
    }

    private func readKernel(_ record: inout MachineRecord) {
        if options.isRunningMachine {
            var names = utsname()
            if uname(&names) == 0 {
                record.kernel.release = withUnsafeBytes(of: &names.release) { Self.text($0) }
                record.kernel.architecture = withUnsafeBytes(of: &names.machine) { Self.text($0) }
            }
        } else if let proc = try? Directory(path: options.procfs) {
            record.kernel.release = Self.line(proc.contents("sys/kernel/osrelease"))
            record.kernel.architecture = Self.line(proc.contents("sys/kernel/arch"))
        }
        if let sysfs = try? Directory(path: options.sysfs) {
            record.kernel.hardwareDescription = HardwareDescription(sysfs)
            record.nativeHotPlugPorts = nativeHotPlugPorts(sysfs)
        }
        guard let proc = try? Directory(path: options.procfs) else { return }
        record.kernel.commandLine = Self.line(proc.contents("cmdline"))
        if let order = proc.contents("bus/pci/devices") {
            record.deviceOrder = deviceOrder(order, functions: record.functions)
        } else {
            record.gaps.append(
                ReadingGap(
                    code: "no-device-order",
                    detail: "there is no /proc/bus/pci/devices: functions are taken to be listed by address"
                )
            )
        }
    }

    private func readMaps(_ record: inout MachineRecord) {
        if let proc = try? Directory(path: options.procfs) {
            record.iomem = proc.contents("iomem").map { String(decoding: $0, as: UTF8.self) }
            record.ioports = proc.contents("ioports").map { String(decoding: $0, as: UTF8.self) }
        }
        if let directory = try? Directory(path: options.sysfs + "/firmware/memmap") {
            record.firmwareMap = firmwareMap(directory)
        }
        guard options.readsKernelLog else { return }
        switch KernelRingBuffer.read(device: options.devices + "/kmsg") {
        case .success(let lines): record.kernelLog = lines
        case .failure: break  // The assembler says what a record without a log cannot tell.
        }
    }

    private func probe(_ record: inout MachineRecord) throws(ReadError) {
        guard record.privileges?.hasSysAdmin == true, record.privileges?.isLockedDown != true else {
            record.gaps.append(
                ReadingGap(code: "not-probed", detail: "probing BAR sizes takes root and a kernel without lockdown")
            )
            return
        }
        let topology = try TopologyAssembler(record).topology()
        let wanted = BARProbe.candidates(topology)
        guard !wanted.isEmpty else { return }
        let access = try RegisterAccess(sysfsPath: options.isRunningMachine ? nil : options.sysfs + "/bus/pci")
        for (address, indexes) in wanted {
            guard let i = record.functions.firstIndex(where: { $0.address == address }) else { continue }
            do {
                record.functions[i].probed = try BARProbe.probe(address, indexes, access)
            } catch {
                record.gaps.append(ReadingGap(code: "probe-failed", detail: error.description))
            }
        }
    }

    private static func line(_ bytes: [UInt8]?) -> String? { bytes.map { $0[...].trimmedLines.string } }

    private static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}

/// What this process may do.
enum Privileges {
    /// CAP_SYS_ADMIN (include/uapi/linux/capability.h).
    private static let sysAdmin: UInt64 = 1 << 21

    static func read(procfs: String, sysfs: String) -> PrivilegeRecord {
        var capabilities: UInt64 = 0
        if let proc = try? Directory(path: procfs), let status = proc.contents("self/status") {
            for line in TextLines(status) {
                if let value = line.after("CapEff:") {
                    var rest = value.trimmed
                    capabilities = rest.takeHex() ?? 0
                }
            }
        }
        var lockdown: String?
        if let security = try? Directory(path: sysfs + "/kernel/security") {
            lockdown = security.contents("lockdown").map { $0[...].trimmedLines.string }
        }
        return PrivilegeRecord(
            effectiveUser: Int(geteuid()),
            hasSysAdmin: capabilities & sysAdmin != 0,
            lockdown: lockdown
        )
    }
}
