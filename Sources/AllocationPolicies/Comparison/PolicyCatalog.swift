// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The policies by the words that users write: `seabios`, `ovmf`, `linux-7.2`, `linux-6.12@arm64-dt+realloc`.
public enum PolicyCatalog {
    /// One policy.
    public struct Entry: Hashable, Sendable {
        /// The word: lower case, no spaces.
        public var word: String
        /// What it stands for, one line.
        public var meaning: String
    }

    /// Every word without variations, in the order of tables.
    public static let entries: [Entry] = [
        Entry(word: "today", meaning: "the layout as it stands"),
        Entry(word: "linux-6.1", meaning: "Linux 6.1 booting on the registers as they are"),
        Entry(word: "linux-6.12", meaning: "Linux 6.12 booting on the registers as they are"),
        Entry(word: "linux-7.2", meaning: "Linux 7.2 booting on the registers as they are"),
        Entry(word: "seabios", meaning: "SeaBIOS 1.17.0"),
        Entry(word: "seabios-1.16", meaning: "SeaBIOS 1.16.2"),
        Entry(word: "edk2", meaning: "EDK2 without padding of hot-plug ports"),
        Entry(word: "ovmf", meaning: "EDK2 with OVMF's padding of hot-plug ports"),
        Entry(word: "coreboot", meaning: "coreboot v4 with x86 defaults"),
        Entry(word: "coreboot-high", meaning: "coreboot v4, 64-bit BARs above 4 GiB"),
        Entry(word: "u-boot", meaning: "U-Boot's auto-configuration"),
        Entry(word: "freebsd", meaning: "FreeBSD, all windows closed at first"),
        Entry(word: "freebsd-keep", meaning: "FreeBSD on firmware's layout"),
    ]

    /// The words that may follow a kernel, and what they do: `@` and a platform, `+` and a word of `pci=`.
    public static let variations = [
        Entry(
            word: "@PLATFORM",
            meaning: "boots as that platform does: \(Platform.Preset.allCases.map(\.rawValue).joined(separator: ", "))"
        ),
        Entry(
            word: "+WORD",
            meaning: "with a word of pci=: realloc, realloc=off, nocrs (x86), assign-busses, hpmmiosize=SIZE, …"
        ),
    ]

    /// The policy that `word` stands for on the machine of `topology`, or nil for a word that is not in the catalogue.
    public static func policy(_ word: String, for topology: Topology) -> (any AllocationPolicy)? {
        switch word {
        case "today": PresentPolicy(topology)
        case "seabios": SeaBIOSPolicy(release: .v1_17_0)
        case "seabios-1.16": SeaBIOSPolicy(release: .v1_16_2)
        case "edk2": EDK2Policy(padding: .none)
        case "ovmf": EDK2Policy(padding: .ovmf)
        case "coreboot": CorebootPolicy()
        case "coreboot-high": CorebootPolicy(allowsHigh: true)
        case "u-boot": UBootPolicy()
        case "freebsd": FreeBSDPolicy()
        case "freebsd-keep": FreeBSDPolicy(keepsToday: true)
        default: kernel(word, for: topology)
        }
    }

    /// `linux-6.12`, then optionally `@` and a platform, then any number of `+` and a word of `pci=`.
    private static func kernel(_ word: String, for topology: Topology) -> LinuxBootPolicy? {
        let parts = word.split(separator: "+", omittingEmptySubsequences: false)
        let head = parts[0].split(separator: "@", omittingEmptySubsequences: false)
        guard head.count <= 2, let behaviour = KernelBehaviour.everyPreset.first(where: { $0.name == head[0] }),
            parts.dropFirst().allSatisfy({ !$0.isEmpty && !$0.contains(" ") && !$0.contains(",") })
        else { return nil }
        let words = parts.dropFirst().map { " pci=\($0)" }.joined()
        let platform: Platform
        if head.count == 2 {
            guard let preset = Platform.Preset(rawValue: String(head[1])) else { return nil }
            platform = Platform(preset, commandLine: words)
        } else {
            platform = Platform(topology.kernel, commandLine: (topology.kernel.commandLine ?? "") + words)
        }
        var name = platform.preset.rawValue
        // A word that changes nothing is one that is not known.
        if parts.count > 1 {
            for part in parts.dropFirst() where !Platform.knows(String(part), on: platform.preset) {
                return nil
            }
            name += "+" + parts.dropFirst().joined(separator: "+")
        }
        var policy = LinuxBootPolicy(topology, behaviour: behaviour, platform: platform, platformName: name)
        // Which one it is follows from the input; nobody wrote it.
        if head.count == 1 { policy.notes = ["runs as \(platform.preset.rawValue)"] }
        return policy
    }
}
