// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The policies by the words that users write: `--policies seabios,ovmf,linux-7.2`.
public struct PolicyCatalog: Hashable, Sendable {
    /// One policy.
    public struct Entry: Hashable, Sendable {
        /// The word: lower case, no spaces.
        public var word: String
        /// What it stands for, one line.
        public var meaning: String
    }

    /// Every word, in the order of tables.
    public static let entries: [Entry] = [
        Entry(word: "seabios", meaning: "SeaBIOS 1.17.0"),
        Entry(word: "seabios-1.16", meaning: "SeaBIOS 1.16.2"),
        Entry(word: "edk2", meaning: "EDK2 without padding of hot-plug ports"),
        Entry(word: "ovmf", meaning: "EDK2 with OVMF's padding of hot-plug ports"),
        Entry(word: "coreboot", meaning: "coreboot v4 with x86 defaults"),
        Entry(word: "coreboot-high", meaning: "coreboot v4, 64-bit BARs above 4 GiB"),
        Entry(word: "u-boot", meaning: "U-Boot's auto-configuration"),
        Entry(word: "freebsd", meaning: "FreeBSD, all windows closed at first"),
        Entry(word: "freebsd-keep", meaning: "FreeBSD on firmware's layout"),
        Entry(word: "linux-6.1", meaning: "Linux 6.1 booting on the registers as they are"),
        Entry(word: "linux-6.12", meaning: "Linux 6.12 booting on the registers as they are"),
        Entry(word: "linux-7.2", meaning: "Linux 7.2 booting on the registers as they are"),
        Entry(word: "linux-6.1-anew", meaning: "Linux 6.1 that claims nothing and assigns everything"),
        Entry(word: "linux-6.12-anew", meaning: "Linux 6.12 that claims nothing and assigns everything"),
        Entry(word: "linux-7.2-anew", meaning: "Linux 7.2 that claims nothing and assigns everything"),
    ]

    /// The policy that `word` stands for on the machine of `topology`, or nil for a word that is not in the catalogue.
    public static func policy(_ word: String, for topology: Topology) -> (any AllocationPolicy)? {
        switch word {
        case "seabios": return SeaBIOSPolicy(release: .v1_17_0)
        case "seabios-1.16": return SeaBIOSPolicy(release: .v1_16_2)
        case "edk2": return EDK2Policy(padding: .none)
        case "ovmf": return EDK2Policy(padding: .ovmf)
        case "coreboot": return CorebootPolicy()
        case "coreboot-high": return CorebootPolicy(allowsHigh: true)
        case "u-boot": return UBootPolicy()
        case "freebsd": return FreeBSDPolicy()
        case "freebsd-keep": return FreeBSDPolicy(keepsToday: true)
        default: return kernel(word, for: topology)
        }
    }

    private static func kernel(_ word: String, for topology: Topology) -> (any AllocationPolicy)? {
        let isAnew = word.hasSuffix("-anew")
        let name = isAnew ? String(word.dropLast(5)) : word
        guard let behaviour = KernelBehaviour.presets.first(where: { $0.name == name }) else { return nil }
        var platform = Platform(
            architecture: topology.kernel.architecture,
            commandLine: topology.kernel.commandLine
        )
        if isAnew {
            platform.boot = .rootBus
            platform.readsBridgeWindows = false
        }
        return LinuxBootPolicy(
            topology,
            behaviour: behaviour,
            platform: platform,
            platformName: isAnew ? "anew" : topology.kernel.architecture ?? "x86"
        )
    }
}
