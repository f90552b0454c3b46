// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation

/// The archive from which a guest runs.
public enum Initramfs {
    /// The `pci-rebalance` that was built next to the running program, as a list of files for a guest; empty if
    /// there is none. `PCI_REBALANCE_TOOL` in the environment names another build.
    public static var builtTool: [String] {
        if let tool = ProcessInfo.processInfo.environment["PCI_REBALANCE_TOOL"] { return [tool] }
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
    ///   - system: What runs in the guest.
    ///   - hasModules: Whether they are: unpacking them takes a quarter of a boot. A Debian always has them.
    /// - Returns: The path of the archive in the cache.
    /// - Throws: ``LaboratoryError`` with the script's own words if a file, a library or busybox is missing.
    public static func pack(
        _ files: [String],
        for kernel: Kernel,
        system: VirtualMachine.System = .busybox,
        hasModules: Bool = true
    ) throws -> String {
        let modules = try kernel.files(.packaged).modules
        if system == .debian { return try Script.run("pack-debian", [modules] + files) }
        return try Script.run("pack-initramfs", [hasModules ? modules : "/dev/null"] + files)
    }
}
