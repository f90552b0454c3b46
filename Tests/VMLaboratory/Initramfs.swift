// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation

/// The archive from which a guest runs.
public enum Initramfs {
    /// The `pci-rebalance` that was built next to the running program, as a list of files for a guest; empty if
    /// there is none.
    public static var builtTool: [String] {
        guard let program = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"),
            let end = program.lastIndex(of: "/")
        else { return [] }
        let tool = String(program[..<end]) + "/pci-rebalance"
        return FileManager.default.isExecutableFile(atPath: tool) ? [tool] : []
    }

    /// Packs the files into an archive with the kernel's modules, or finds the one packed before.
    ///
    /// - Parameters:
    ///   - files: Paths of files that go to /usr/bin, with the shared libraries they need.
    ///   - kernel: The kernel whose modules are added.
    ///   - hasModules: Whether they are: unpacking them takes a quarter of a boot.
    /// - Returns: The path of the archive in the cache.
    /// - Throws: ``LaboratoryError`` with the script's own words if a file, a library or busybox is missing.
    public static func pack(_ files: [String], for kernel: Kernel, hasModules: Bool = true) throws -> String {
        try Script.run("pack-initramfs", [hasModules ? kernel.files(.packaged).modules : "/dev/null"] + files)
    }

    /// Debian's udevadm, which is systemd-udevd when called by that name; fetched if it is not there.
    ///
    /// - Throws: ``LaboratoryError`` with the script's own words if it cannot be had.
    public static func udevadm() throws -> String { try Script.run("fetch-udev", []) }
}
