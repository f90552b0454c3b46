// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation

/// A kernel that the laboratory can boot: Debian's own package of one suite.
public enum Kernel: String, Sendable, Hashable, CustomStringConvertible {
    /// Bullseye's kernel.
    case linux5_10 = "5.10"
    /// Bookworm's kernel.
    case linux6_1 = "6.1"
    /// Trixie's kernel.
    case linux6_12 = "6.12"
    /// Trixie's backports, as the six that follow.
    case linux6_16 = "6.16"
    case linux6_17 = "6.17"
    case linux6_18 = "6.18"
    /// Of this and the next two the archive has no modules: their guests run without drivers.
    case linux6_19 = "6.19"
    case linux7_0 = "7.0"
    case linux7_1 = "7.1"
    /// Sid's kernel.
    case linux7 = "7"
    /// Trixie's backports.
    case linux7_3 = "7.3"

    /// The kernels of the three suites that people install, with modules; what tests on real kernels run on.
    public static let allCases: [Kernel] = [.linux6_1, .linux6_12, .linux7]

    /// Every kernel of the laboratory, oldest first.
    public static let everyKernel: [Kernel] = [
        .linux5_10, .linux6_1, .linux6_12, .linux6_16, .linux6_17, .linux6_18, .linux6_19, .linux7_0, .linux7_1,
        .linux7, .linux7_3,
    ]

    /// The labels of every kernel, in words: `5.10, 6.1, ... or 7.3`.
    public static let labels: String = {
        let labels = everyKernel.map(\.rawValue)
        return labels.dropLast().joined(separator: ", ") + " or " + (labels.last ?? "")
    }()

    /// The family, as `6.12`.
    public var description: String { rawValue }

    /// How the kernel image is handed to the machine.
    public enum Image: Sendable, Hashable {
        /// The packaged image, which decompresses itself.
        case packaged
        /// The kernel decompressed beforehand, entered through its PVH entry point; 1 to 3 s sooner.
        ///
        /// The one difference that the PCI core can see is that 0x9fc00...0xfffff is one reserved range, so
        /// /proc/iomem shows the legacy aperture inside it (`init_pvh_bootparams`).
        case decompressed
    }

    /// The files of a kernel in the cache.
    struct Files: Sendable {
        var image: String
        var modules: String
        var release: String
    }

    /// The directory in which kernels and initramfs archives are kept: `PCI_REBALANCE_CACHE`, or
    /// `pci-rebalance` in the user's cache directory.
    public static var cacheDirectory: String {
        let environment = ProcessInfo.processInfo.environment
        if let path = environment["PCI_REBALANCE_CACHE"], !path.isEmpty { return path }
        if let path = environment["XDG_CACHE_HOME"], !path.isEmpty { return path + "/pci-rebalance" }
        return (environment["HOME"] ?? "/root") + "/.cache/pci-rebalance"
    }

    private var directory: String { "\(Kernel.cacheDirectory)/kernels/\(rawValue)" }

    /// True if the kernel is in the cache, so that a guest boots without a download.
    public var isCached: Bool { FileManager.default.fileExists(atPath: directory + "/package") }

    /// The kernel's release as `uname -r` prints it, or nil while it is not in the cache.
    public var release: String? {
        guard let text = try? String(contentsOfFile: directory + "/release", encoding: .utf8) else { return nil }
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Downloads the kernel if it is not in the cache.
    ///
    /// - Throws: ``LaboratoryError`` with the script's own words if there is no mirror or no network.
    public func fetch() throws {
        if !isCached { _ = try Script.run("fetch-kernels", [rawValue]) }
    }

    /// Whether the archive had modules for it; without them its guests load no driver.
    public var hasModules: Bool {
        let attributes = try? FileManager.default.attributesOfItem(atPath: directory + "/modules.cpio")
        return (attributes?[.size] as? Int ?? 0) > 100_000
    }

    /// The path of the image as packaged, which is what a running kernel can start.
    ///
    /// - Throws: ``LaboratoryError`` if it cannot be fetched.
    public func packagedImage() throws -> String { try files(.packaged).image }

    /// The files to boot, fetched if necessary; a kernel that could not be decompressed boots as packaged.
    func files(_ kind: Image) throws -> Files {
        try fetch()
        guard let release else {
            throw LaboratoryError(.missing, "expected \(directory)/release, found none; run fetch-kernels --refresh")
        }
        var image = directory + "/vmlinuz"
        let decompressed = directory + "/vmlinux"
        if kind == .decompressed, FileManager.default.fileExists(atPath: decompressed) { image = decompressed }
        return Files(image: image, modules: directory + "/modules.cpio", release: release)
    }
}
