// SPDX-License-Identifier: GPL-2.0-or-later

import CPlanExecutor
import Glibc
import PCITopology
public import RebalancePlanner

/// Writes to the running machine through sysfs.
///
/// Attribute names come from a closed list, directory names from PCI addresses, and no link is followed on the way
/// (`SysfsRoot`). Every write happens in a child process, so that one that hangs in the kernel does not hang the tool.
///
/// Needs root with `CAP_SYS_ADMIN` in the initial user namespace; configuration writes also need a kernel that is not
/// locked down (`LOCKDOWN_PCI_ACCESS`).
public final class LiveSystemWriter: SystemWriter {
    private let path: String
    private let isReal: Bool
    private var lateChild: pid_t = 0

    /// Creates a writer.
    ///
    /// - Parameter root: where sysfs is mounted. Anything but `/sys` is taken for a directory of plain files, for tests.
    public init(root: String = "/sys") {
        path = root
        isReal = root == "/sys"
    }

    /// Performs `write`.
    public func perform(_ write: SystemWrite, within limit: Duration) throws {
        if let fault = WriteRules.fault(in: write) { throw WriteError(.forbidden, write, detail: fault) }
        do {
            let root = try SysfsRoot(path: path, isReal: isReal)
            try perform(write, root, milliseconds: limit.wholeMilliseconds)
        } catch let error as SysfsError {
            throw WriteError(code(of: error), write, errno: error.errno, detail: error.detail + reason(error.errno))
        }
    }

    /// Waits for the child that a timeout left behind.
    public func awaitLateWrite(within limit: Duration) -> Bool {
        guard lateChild != 0 else { return true }
        guard await_left_child(lateChild, Int32(clamping: limit.wholeMilliseconds)) == 1 else { return false }
        lateChild = 0
        return true
    }

    // MARK: Where each write goes

    private func perform(_ write: SystemWrite, _ root: borrowing SysfsRoot, milliseconds: Int) throws {
        switch write {
        case .remove(let address):
            try put("1", "remove", in: root.device(address), root, write, milliseconds)
        case .rescanBus(let segment, let bus):
            try put("1", "rescan", in: root.bus(segment: segment, bus), root, write, milliseconds)
        case .rescanDevice(let address):
            try put("1", "rescan", in: root.device(address), root, write, milliseconds)
        case .rescanAll:
            try put("1", "rescan", in: root.directory(["bus", "pci"]), root, write, milliseconds)
        case .config(let address, let offset, let width, let mask, let value):
            try configure(address, offset, width, mask, value, root, write, milliseconds)
        case .resizeBAR(let address, let bar, let exponent):
            try put("\(exponent)", "resource\(bar)_resize", in: root.device(address), root, write, milliseconds)
        case .resourceAlignment(let text):
            try put(text, "resource_alignment", in: root.directory(["bus", "pci"]), root, write, milliseconds)
        case .sriovNumVFs(let address, let count):
            try put("\(count)", "sriov_numvfs", in: root.device(address), root, write, milliseconds)
        case .unbindDriver(let address):
            // A driver that was bound by choice (`driver_override`) does not come back when its function is found anew: what
            // was asked for is so.
            guard let driver = try root.driverName(address) else { return }
            let directory = try root.directory(["bus", "pci", "drivers", driver])
            try put(address.description, "unbind", in: directory, root, write, milliseconds)
        case .probeDriver(let address):
            try put(
                address.description,
                "drivers_probe",
                in: root.directory(["bus", "pci"]),
                root,
                write,
                milliseconds
            )
        case .driverOverride(let address, let driver):
            try put(driver, "driver_override", in: root.device(address), root, write, milliseconds)
        case .slotPower(let slot, let on):
            let directory = try root.directory(["bus", "pci", "slots", slot])
            try put(on ? "1" : "0", "power", in: directory, root, write, milliseconds)
        }
    }

    private func put(
        _ text: String,
        _ attribute: String,
        in directory: borrowing Descriptor,
        _ root: borrowing SysfsRoot,
        _ write: SystemWrite,
        _ milliseconds: Int
    ) throws {
        let file = try root.attribute(directory, attribute, O_WRONLY)
        // The kernel takes an empty line for the empty string; a write of no bytes would not reach the attribute.
        try send(Array((text + "\n").utf8), to: file, offset: -1, write, milliseconds)
    }

    private func configure(
        _ address: FunctionAddress,
        _ offset: Int,
        _ width: Int,
        _ mask: UInt32,
        _ value: UInt32,
        _ root: borrowing SysfsRoot,
        _ write: SystemWrite,
        _ milliseconds: Int
    ) throws {
        let directory = try root.device(address)
        if offset >= 0x100 { try requireResizableBAR(directory, offset, root, write) }
        let file = try root.attribute(directory, "config", O_RDWR)
        var bytes = [UInt8](repeating: 0, count: width)
        let count = bytes.withUnsafeMutableBytes { pread(file.raw, $0.baseAddress, width, offset) }
        guard count == width else {
            throw WriteError(
                count < 0 && (errno == EPERM || errno == EACCES) ? .notPermitted : .absent,
                write,
                errno: count < 0 ? errno : nil,
                detail:
                    "expected \(width) bytes of configuration space at \(hex(UInt64(offset))), found \(max(count, 0))"
            )
        }
        for i in 0..<width {
            let shift = UInt32(8 * i)
            let keep = ~UInt8(truncatingIfNeeded: mask >> shift)
            bytes[i] = bytes[i] & keep | UInt8(truncatingIfNeeded: value >> shift)
        }
        try send(bytes, to: file, offset: Int64(offset), write, milliseconds)
    }

    /// In extended space only the size field of a Resizable BAR may be written, and only while memory decoding is off
    /// (PCIe 6.0 §7.8.6).
    private func requireResizableBAR(
        _ directory: borrowing Descriptor,
        _ offset: Int,
        _ root: borrowing SysfsRoot,
        _ write: SystemWrite
    ) throws {
        let config = ConfigSpace(try root.read(directory, "config"))
        let capabilities = Capabilities(config)
        let entries = capabilities.resizableBARs + capabilities.resizableVFBARs
        guard entries.contains(where: { Int($0.controlOffset) == offset }) else {
            throw WriteError(
                .forbidden,
                write,
                detail: "expected the control register of a resizable BAR at \(hex(UInt64(offset))), found none"
            )
        }
        guard config.command?.contains(.memorySpace) == false else {
            throw WriteError(.refused, write, detail: "expected memory decoding to be off, found it on")
        }
    }

    private func send(
        _ bytes: [UInt8],
        to file: borrowing Descriptor,
        offset: Int64,
        _ write: SystemWrite,
        _ milliseconds: Int
    ) throws {
        let result = write_within(file.raw, bytes, bytes.count, offset, Int32(clamping: milliseconds))
        if result.child != 0 {
            lateChild = result.child
            throw WriteError(
                .timedOut,
                write,
                errno: ETIMEDOUT,
                detail: "not finished after \(milliseconds) ms; process \(result.child) is still writing"
            )
        }
        if result.error != 0 {
            throw WriteError(
                code(of: SysfsError(errno: result.error, detail: "")),
                write,
                errno: result.error,
                detail: "refused" + reason(result.error)
            )
        }
        guard result.written == Int64(bytes.count) else {
            throw WriteError(
                .refused,
                write,
                detail: "expected \(bytes.count) bytes to be taken, found \(result.written)"
            )
        }
    }

    private func code(of error: SysfsError) -> WriteError.Code {
        if error.isMisplaced { return .misplaced }
        switch error.errno {
        case EACCES, EPERM, EROFS: return .notPermitted
        case ENOENT, ENODEV, ENXIO: return .absent
        default: return .refused
        }
    }

    private func reason(_ code: Int32) -> String {
        code == 0 ? "" : ": \(String(cString: strerror(code)).lowercased())"
    }
}

extension Duration {
    /// Whole milliseconds, at least 0, clamped to what `Int32` holds.
    var wholeMilliseconds: Int {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        guard seconds < 2_000_000 else { return 2_000_000_000 }
        return Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
    }
}
