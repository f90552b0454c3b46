// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology

extension MachineRecord {
    /// The record without what tells one machine from another of its kind: device serial numbers, the command line
    /// beyond what concerns PCI, the names of file systems, interfaces and addresses in use.
    ///
    /// Addresses, ids and registers stay: without them nothing could be replayed.
    func anonymized() -> MachineRecord {
        var copy = self
        copy.kernel.commandLine = kernel.commandLine.map(Self.withoutPrivateWords)
        for i in copy.functions.indices {
            copy.functions[i].config = Self.withoutSerialNumber(copy.functions[i].config)
            for j in copy.functions[i].use.indices {
                copy.functions[i].use[j].detail = copy.functions[i].use[j].code
            }
        }
        copy.kernelLog = kernelLog.map { lines in
            lines.map { line in
                guard let start = Self.commandLineStart(line) else { return line }
                return line[..<start] + Self.withoutPrivateWords(String(line[start...]))
            }
        }
        return copy
    }

    private static func withoutPrivateWords(_ line: String) -> String {
        let kept = [
            "pci=", "pcie_", "pci.", "pciehp.", "acpi=", "iommu=", "intel_iommu=", "amd_iommu=", "efi=", "memmap=",
        ]
        return line.split(separator: " ").filter { word in kept.contains { word.hasPrefix($0) } }
            .joined(separator: " ")
    }

    /// Where the kernel's own report of its command line begins in a log line.
    private static func commandLineStart(_ line: String) -> String.Index? {
        let mark = "ommand line: "
        var start = line.startIndex
        while start < line.endIndex {
            if line[start...].hasPrefix(mark) { return line.index(start, offsetBy: mark.count) }
            start = line.index(after: start)
        }
        return nil
    }

    /// The configuration space with the Device Serial Number capability (PCIe 6.0 §7.9.3) zeroed.
    private static func withoutSerialNumber(_ config: ConfigSpace) -> ConfigSpace {
        var copy = config
        for capability in Capabilities(config).extended where capability.id == 0x0003 {
            copy.write(0, at: Int(capability.offset) + 4, width: 4)
            copy.write(0, at: Int(capability.offset) + 8, width: 4)
        }
        return copy
    }
}
