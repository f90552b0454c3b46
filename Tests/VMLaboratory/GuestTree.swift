// SPDX-License-Identifier: GPL-2.0-or-later

/// One line of a function's sysfs file `resource`: a range, inclusive at both ends, and the kernel's flags.
public struct GuestResource: Sendable, Hashable, CustomStringConvertible {
    /// The first address.
    public var start: UInt64
    /// The last address.
    public var end: UInt64
    /// The kernel's flag word; the constants are `IORESOURCE_IO`, `IORESOURCE_MEM` and so on.
    public var flags: UInt64

    /// True for a line of zeros: nothing there, or a resource that the kernel has given up.
    public var isEmpty: Bool { start == 0 && end == 0 && flags == 0 }
    /// True if there is a resource and it has an address.
    public var isAssigned: Bool { flags != 0 && start != 0 && end >= start }

    /// The three words as sysfs prints them, without leading zeros.
    public var description: String {
        "0x\(String(start, radix: 16)) 0x\(String(end, radix: 16)) 0x\(String(flags, radix: 16))"
    }

    init?(_ line: some StringProtocol) {
        let words = line.split(separator: " ").compactMap { word in
            word.hasPrefix("0x") ? UInt64(word.dropFirst(2), radix: 16) : nil
        }
        guard words.count == 3 else { return nil }
        (start, end, flags) = (words[0], words[1], words[2])
    }
}

extension VirtualMachine {
    /// The addresses of all functions that the guest's kernel knows, in order.
    public func functions() throws -> [String] {
        try run("ls /sys/bus/pci/devices").checked().lines.sorted()
    }

    /// The resources of every function, by address, one per line of its sysfs file `resource`.
    public func resources() throws -> [String: [GuestResource]] {
        var resources: [String: [GuestResource]] = [:]
        for line in try run("cd /sys/bus/pci/devices && grep '' */resource").checked().lines {
            guard let slash = line.firstIndex(of: "/"), let colon = line[slash...].firstIndex(of: ":"),
                let resource = GuestResource(line[line.index(after: colon)...])
            else { throw LaboratoryError(.protocol, "expected a line of a resource file, found '\(line)'") }
            resources[String(line[..<slash]), default: []].append(resource)
        }
        return resources
    }

    /// The resources of one function, as `0000:03:00.0`; index 0 to 5 are BARs, 6 the ROM.
    public func resources(of address: String) throws -> [GuestResource] {
        guard let found = try resources()[address] else {
            throw LaboratoryError(.command, "expected the function \(address), the guest has none")
        }
        return found
    }

    /// The bus numbers in a bridge's registers: primary, secondary, subordinate.
    public func busNumbers(of bridge: String) throws -> [UInt8] {
        Array(try configuration(of: bridge).dropFirst(0x18).prefix(3))
    }

    /// A function's configuration space.
    public func configuration(of address: String) throws -> [UInt8] {
        try pullFile("/sys/bus/pci/devices/\(address)/config")
    }

    /// Writes bytes into a function's configuration space.
    public func writeConfiguration(of address: String, at offset: Int, _ bytes: [UInt8]) throws {
        let file = "/sys/bus/pci/devices/\(address)/config"
        let script = "dd of=\(file) bs=\(bytes.count) seek=\(offset) oflag=seek_bytes conv=notrunc"
        try run(script, input: bytes).checked()
    }

    /// Makes a file system on the disk of an NVMe controller and mounts it: a function that must not be disturbed.
    ///
    /// - Returns: The disk's device node.
    /// - Throws: ``LaboratoryError`` if the controller has no disk.
    @discardableResult
    public func mountDisk(of controller: String, at directory: String = "/mnt") throws -> String {
        let script = """
            modprobe nvme && modprobe crc32c_generic 2>/dev/null; modprobe ext4 || exit 1
            for try in 1 2 3 4 5 6 7 8 9 10; do
                for disk in /sys/bus/pci/devices/\(controller)/nvme/*/nvme*n1; do
                    [ -b "/dev/${disk##*/}" ] && break 2
                done
                sleep 0.3
            done
            mkdir -p '\(directory)'
            mke2fs "/dev/${disk##*/}" >/dev/null && mount -t ext4 "/dev/${disk##*/}" '\(directory)' && echo "/dev/${disk##*/}"
            """
        return try output(script).split(separator: "\n").last.map(String.init) ?? ""
    }

    /// Removes a function and all below it (`echo 1 > remove`).
    public func remove(_ address: String) throws {
        try run("echo 1 >/sys/bus/pci/devices/\(address)/remove").checked()
    }

    /// Rescans every root bus.
    public func rescan() throws {
        try run("echo 1 >/sys/bus/pci/rescan").checked()
    }

    /// Rescans the bus that a function sits on.
    public func rescan(device address: String) throws {
        try run("echo 1 >/sys/bus/pci/devices/\(address)/rescan").checked()
    }

    /// Rescans a bus, as `0000:01`; if it is empty, the windows of the bridge above are resized.
    public func rescan(bus: String) throws {
        try run("echo 1 >/sys/class/pci_bus/\(bus)/rescan").checked()
    }
}
