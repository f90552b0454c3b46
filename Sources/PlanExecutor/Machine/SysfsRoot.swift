// SPDX-License-Identifier: GPL-2.0-or-later

import CPlanExecutor
import Glibc
import PCITopology

/// An open file, closed when its owner lets go of it.
struct Descriptor: ~Copyable {
    let raw: Int32

    init(_ raw: Int32) { self.raw = raw }

    deinit { _ = close(raw) }
}

/// Why something below the root of sysfs could not be opened.
struct SysfsError: Error {
    var errno: Int32
    var detail: String
    var isMisplaced = false
}

/// Opens what stands below the root of a sysfs, without ever following a link on the way.
///
/// The links that sysfs itself uses (`/sys/bus/pci/devices/X`, `/sys/class/pci_bus/DDDD:BB`) are read as text, checked
/// to lead below `devices/` without a step upwards, and then walked directory by directory.
struct SysfsRoot: ~Copyable {
    private let root: Descriptor
    /// The path as it was given, for messages.
    let path: String

    /// Opens the root; a real one must be a sysfs.
    init(path: String, isReal: Bool) throws(SysfsError) {
        root = try Self.openRoot(path, isReal: isReal)
        self.path = path
    }

    private static func openRoot(_ path: String, isReal: Bool) throws(SysfsError) -> Descriptor {
        let raw = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard raw >= 0 else { throw SysfsError(errno: errno, detail: "cannot open \(path)") }
        let root = Descriptor(raw)
        guard !isReal || is_in_sysfs(raw) == 1 else {
            throw SysfsError(
                errno: 0,
                detail: "expected sysfs at \(path), found another file system",
                isMisplaced: true
            )
        }
        return root
    }

    /// Opens the directory that `names` lead to from the root; no name may be a link.
    func directory(_ names: [String]) throws(SysfsError) -> Descriptor {
        let copy = fcntl(root.raw, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw SysfsError(errno: errno, detail: "cannot duplicate a descriptor") }
        var current = Descriptor(copy)
        for name in names {
            let raw = openat(current.raw, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard raw >= 0 else {
                let code = errno
                throw SysfsError(
                    errno: code,
                    detail: "cannot open \(name) below \(path)",
                    isMisplaced: code == ELOOP || code == ENOTDIR
                )
            }
            current = Descriptor(raw)
        }
        return current
    }

    /// The directory names from `devices` down to what the link `name` in the directory `place` stands for.
    func linkTarget(_ place: [String], _ name: String) throws(SysfsError) -> [String] {
        let directory = try directory(place)
        return try linkTarget(in: directory, depth: place.count, name)
    }

    func linkTarget(
        in directory: borrowing Descriptor,
        depth: Int,
        _ name: String
    ) throws(SysfsError) -> [String] {
        let text = try readLink(directory, name)
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let names = Array(parts.dropFirst(depth))
        guard parts.prefix(depth).allSatisfy({ $0 == ".." }), names.first == "devices", names.last == name,
            names.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." })
        else {
            throw SysfsError(
                errno: 0,
                detail: "expected a link to \(name) below \(path)/devices, found another",
                isMisplaced: true
            )
        }
        return names
    }

    /// The directory of the function at `address`.
    func device(_ address: FunctionAddress) throws(SysfsError) -> Descriptor {
        try directory(linkTarget(["bus", "pci", "devices"], address.description))
    }

    /// The directory of a bus.
    func bus(segment: UInt32, _ bus: BusNumber) throws(SysfsError) -> Descriptor {
        try directory(linkTarget(["class", "pci_bus"], busName(segment: segment, bus)))
    }

    /// The driver bound to the function at `address`, or nil.
    func driverName(_ address: FunctionAddress) throws(SysfsError) -> String? {
        let device = try device(address)
        return try driverName(in: device)
    }

    func driverName(in device: borrowing Descriptor) throws(SysfsError) -> String? {
        let text: String
        do {
            text = try readLink(device, "driver")
        } catch  where error.errno == ENOENT {
            return nil
        }
        guard let name = text.split(separator: "/").last, name != "..", name != "." else { return nil }
        return String(name)
    }

    /// The number of the IOMMU group of a device, or nil for one that has none.
    func iommuGroup(of device: borrowing Descriptor) throws(SysfsError) -> Int? {
        do {
            return Int(try readLink(device, "iommu_group").split(separator: "/").last ?? "")
        } catch  where error.errno == ENOENT {
            return nil
        }
    }

    private func readLink(_ directory: borrowing Descriptor, _ name: String) throws(SysfsError) -> String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { bytes in
            guard let start = bytes.baseAddress else { return -1 }
            return readlinkat(directory.raw, name, start.assumingMemoryBound(to: CChar.self), bytes.count)
        }
        guard count >= 0 else {
            let code = errno
            throw SysfsError(
                errno: code,
                detail: "cannot read the link \(name) below \(path)",
                isMisplaced: code == EINVAL
            )
        }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    /// Opens an attribute of a directory; it must be a regular file and not a link.
    func attribute(_ directory: borrowing Descriptor, _ name: String, _ mode: Int32) throws(SysfsError) -> Descriptor {
        let raw = openat(directory.raw, name, mode | O_NOFOLLOW | O_CLOEXEC)
        guard raw >= 0 else {
            let code = errno
            throw SysfsError(errno: code, detail: "cannot open \(name)", isMisplaced: code == ELOOP)
        }
        let file = Descriptor(raw)
        var status = stat()
        guard fstat(raw, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw SysfsError(errno: 0, detail: "expected \(name) to be a file", isMisplaced: true)
        }
        return file
    }

    /// The bytes of an attribute from `offset`, at most `limit`.
    func read(
        _ directory: borrowing Descriptor,
        _ name: String,
        offset: Int = 0,
        atMost limit: Int = 4096
    ) throws(SysfsError) -> [UInt8] {
        let file = try attribute(directory, name, O_RDONLY)
        var buffer = [UInt8](repeating: 0, count: limit)
        var filled = 0
        while filled < limit {
            let count = buffer.withUnsafeMutableBytes { bytes in
                pread(file.raw, bytes.baseAddress.map { $0 + filled }, limit - filled, offset + filled)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SysfsError(errno: errno, detail: "cannot read \(name)") }
            if count == 0 { break }
            filled += count
        }
        buffer.removeLast(limit - filled)
        return buffer
    }

    /// The text of an attribute without the newline at its end.
    func text(_ directory: borrowing Descriptor, _ name: String) throws(SysfsError) -> String {
        var bytes = try read(directory, name)
        while let last = bytes.last, last == 0x0a || last == 0 { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The names in a directory, unordered.
    func names(_ place: [String]) throws(SysfsError) -> [String] {
        let directory = try directory(place)
        return try names(in: directory)
    }

    func names(in directory: borrowing Descriptor) throws(SysfsError) -> [String] {
        let copy = openat(directory.raw, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { throw SysfsError(errno: errno, detail: "cannot open a directory below \(path)") }
        guard let stream = fdopendir(copy) else {
            let code = errno
            _ = close(copy)
            throw SysfsError(errno: code, detail: "cannot list a directory below \(path)")
        }
        defer { _ = closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}
