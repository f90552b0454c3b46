// SPDX-License-Identifier: GPL-2.0-or-later

internal import Glibc
public import PCITopology

/// Writes a directory in the shape of sysfs: `sys/bus/pci/devices`, `sys/devices/pci…`, `sys/class/pci_bus`.
///
/// What a reader or `lspci -A linux-sysfs -O sysfs.path=DIR/sys/bus/pci` needs of a function, and nothing else.
public struct SysfsShape {
    /// The directory.
    public let path: String
    /// How many functions were written.
    public private(set) var count = 0

    /// Creates the directory `path` and the frame inside.
    public init(path: String) {
        self.path = path
        for part in ["", "/sys", "/sys/bus", "/sys/bus/pci", "/sys/bus/pci/devices", "/sys/devices", "/sys/class"] {
            mkdir(path + part, 0o755)
        }
        mkdir(path + "/sys/class/pci_bus", 0o755)
    }

    /// Creates a temporary directory.
    public static func temporary() -> SysfsShape { SysfsShape(path: temporaryDirectory()) }

    /// Removes the directory and everything in it.
    public func remove() { removeTree(path) }

    /// Writes a root bus.
    public func root(segment: UInt32 = 0, bus: UInt8) {
        let name = "\(bareHex(UInt64(segment), width: 4)):\(bareHex(UInt64(bus), width: 2))"
        mkdir("\(path)/sys/devices/pci\(name)", 0o755)
        mkdir("\(path)/sys/devices/pci\(name)/pci_bus", 0o755)
        mkdir("\(path)/sys/devices/pci\(name)/pci_bus/\(name)", 0o755)
        symlink("../../devices/pci\(name)/pci_bus/\(name)", "\(path)/sys/class/pci_bus/\(name)")
    }

    /// Writes a file inside the directory, with the directories above it.
    public func file(_ name: String, _ text: String) {
        if let slash = name.lastIndex(of: "/") { makeDirectories(below: path, String(name[..<slash])) }
        write(Array(text.utf8), to: "\(path)/\(name)")
    }

    /// Writes a symbolic link inside the directory, with the directories above it; one that is there is replaced.
    public func link(_ name: String, _ target: String) {
        file(name, "")
        unlink(path + "/" + name)
        symlink(target, path + "/" + name)
    }

    /// Writes a function below the chain of bridges `chain` (from the root bus down), or on root bus `rootBus`.
    public mutating func function(
        _ address: FunctionAddress,
        rootBus: UInt8,
        chain: [FunctionAddress] = [],
        config: [UInt8],
        lines: [ResourceLine],
        attributes: [(String, String)] = []
    ) {
        count += 1
        let segment = bareHex(UInt64(address.segment), width: 4)
        var place = "devices/pci\(segment):\(bareHex(UInt64(rootBus), width: 2))"
        for bridge in chain { place += "/\(bridge)" }
        place += "/\(address)"
        let directory = "\(path)/sys/\(place)"
        makeDirectories(below: path + "/sys", place)
        func word(_ offset: Int) -> UInt64 { UInt64(config[offset]) | UInt64(config[offset + 1]) << 8 }
        let classCode = UInt64(config[9]) | word(10) << 8
        var files: [(String, String)] = [
            ("vendor", hex(word(0), width: 4) + "\n"), ("device", hex(word(2), width: 4) + "\n"),
            ("class", hex(classCode, width: 6) + "\n"), ("revision", hex(UInt64(config[8]), width: 2) + "\n"),
            ("subsystem_vendor", hex(word(0x2c), width: 4) + "\n"),
            ("subsystem_device", hex(word(0x2e), width: 4) + "\n"), ("irq", "0\n"), ("enable", "0\n"),
            ("numa_node", "-1\n"),
            ("resource", lines.map { "\($0)\n" }.joined()),
        ]
        files += attributes
        for (name, text) in files { write(Array(text.utf8), to: "\(directory)/\(name)") }
        write(config, to: directory + "/config")
        symlink("../../../\(place)", "\(path)/sys/bus/pci/devices/\(address)")
        if lines.count == 17 {
            let bus = "\(segment):\(bareHex(UInt64(config[0x19]), width: 2))"
            mkdir("\(directory)/pci_bus", 0o755)
            mkdir("\(directory)/pci_bus/\(bus)", 0o755)
            symlink("../../\(place)/pci_bus/\(bus)", "\(path)/sys/class/pci_bus/\(bus)")
        }
    }
}

private func makeDirectories(below path: String, _ name: String) {
    var at = path
    for part in name.split(separator: "/") {
        at += "/" + part
        mkdir(at, 0o755)
    }
}

/// Creates a fresh directory below the system's directory for temporary files.
public func temporaryDirectory() -> String {
    let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(base)/pci-rebalance-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { return base }
    return String(cString: made)
}

/// Removes `path` and everything in it; symbolic links are removed, not followed.
public func removeTree(_ path: String) {
    if let stream = opendir(path) {
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            var status = stat()
            let inner = path + "/" + name
            guard lstat(inner, &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR { removeTree(inner) } else { unlink(inner) }
        }
        closedir(stream)
    }
    rmdir(path)
}

private func write(_ bytes: [UInt8], to path: String) {
    let fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard fd >= 0 else { return }
    defer { close(fd) }
    var at = 0
    while at < bytes.count {
        let n = bytes.withUnsafeBytes { b in b.baseAddress.map { Glibc.write(fd, $0 + at, bytes.count - at) } ?? -1 }
        if n <= 0 { return }
        at += n
    }
}
