// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import Testing

/// Linux presets against real kernels of each architecture: registers before, every resource of every function after.
@Suite("Boot layouts of other architectures equal the kernel's own")
struct ArchitectureTests {
    /// The preset that a recorded platform stands for.
    static func preset(_ platform: String) -> Platform.Preset? {
        switch platform {
        case "arm64-uefi-dt": .arm64DT
        case "malta", "malta32": .mips
        default: Platform.Preset(rawValue: platform)
        }
    }

    /// What differs between a kernel's tree and the twin's, as sentences.
    static func differences(_ recording: ArchitectureRecording, _ kernel: ArchitectureRecording.Kernel) throws
        -> [String]
    {
        let behaviour = try #require(KernelBehaviour.presets.first { $0.name.hasPrefix("linux-\(kernel.family)") })
        let preset = try #require(Self.preset(recording.platform))
        var platform = Platform(preset, commandLine: recording.words)
        // Debian builds 6.1 for ppc64el with pages of 64 KiB, later kernels with 4 KiB.
        if preset == .powernv || preset == .pseries, kernel.family == "6.1" {
            platform.pageSize = 0x1_0000
            if preset == .powernv { platform.leastBARAlignment = platform.pageSize }
        }
        var twin = try LinuxTwin(recording.topology, behaviour: behaviour, platform: platform)
        twin.recordsEvents = false
        try twin.perform(.boot(platform))
        var result: [String] = []
        var seen = 0
        for (place, found) in kernel.functions.sorted(by: { $0.key < $1.key }) {
            guard let lines = twin.resourceLines(of: found.address) else {
                result.append("\(place) is at \(found.address), the twin has nothing there")
                continue
            }
            seen += 1
            if twin.busRange(of: found.address) != found.buses {
                let texts = [found.buses, twin.busRange(of: found.address)].map { $0.map { "\($0)" } ?? "none" }
                result.append("\(place) \(found.address): buses \(texts[0]), predicted \(texts[1])")
            }
            for (index, line) in lines.enumerated() where line != found.lines[index] ?? .zero {
                let text = found.lines[index].map { "\($0)" } ?? "zeros"
                result.append("\(place) \(found.address) \(index): \(text), predicted \(line)")
            }
        }
        if seen != twin.addresses.count { result.append("\(seen) functions, predicted \(twin.addresses.count)") }
        return result
    }

    @Test("every recorded tree", arguments: try ArchitectureRecording.all.get().map(\.name))
    func recorded(_ name: String) throws {
        let recording = try #require(try ArchitectureRecording.all.get().first { $0.name == name })
        for kernel in recording.kernels {
            let found = try Self.differences(recording, kernel)
            #expect(found.isEmpty, "\(kernel.release): \(found.joined(separator: "\n"))")
        }
    }
}
