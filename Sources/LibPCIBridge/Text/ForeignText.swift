// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Output of other systems and programs that speaks of PCI and that no reader here takes for evidence: what it is, and why
/// it does not suffice.
enum ForeignText: CaseIterable {
    /// `pciconf -l` of FreeBSD.
    case pciconf
    /// Windows' names of devices, the device manager's codes.
    case windows
    /// `esxcli hardware pci list` and passthrough messages of ESXi.
    case esxi
    /// `system_profiler SPPCIDataType` of macOS.
    case macOS
    /// `lshw`.
    case lshw
    /// `pcidump` and boot messages of OpenBSD and NetBSD.
    case bsd
    /// `resource` files of sysfs, printed without the other files.
    case resourceFiles

    /// What the bytes of a text are, or nil.
    /// - Complexity: O(number of bytes).
    init?(_ bytes: [UInt8]) {
        let text = bytes[...]
        let found = Self.allCases.first { $0.signs.contains { all in all.allSatisfy { text.has($0) } } }
        if let found {
            self = found
        } else if Self.isResourceFile(bytes) {
            self = .resourceFiles
        } else {
            return nil
        }
    }

    /// What stands in such texts: all words of one of the lists.
    private var signs: [[StaticString]] {
        switch self {
        case .pciconf: [["@pci", "hdr=0x"]]
        case .windows: [["PCI\\VEN_"], ["Code 12)"], ["Get-PnpDevice", "PCI"], ["PCIROOT("]]
        case .esxi:
            [
                ["   Device Class Name:", "   Module ID:"], ["pciPassthru"], ["PCIPassthru"], ["VMkernel Name:"],
                [")WARNING: PCI: "],
            ]
        case .macOS: [["Driver Installed:", "Slot: Thunderbolt"], ["Vendor ID: 0x", "Link Width: x", "Slot:"]]
        case .lshw: [["bus info: pci@"], ["<businfo>pci@"], ["\"businfo\" : \"pci@"]]
        case .bsd: [["at pci", " dev ", " function "], ["Domain /dev/pci"]]
        case .resourceFiles: [["/sys/bus/pci/devices/", "/resource"]]
        }
    }

    /// Whether at least three lines are three numbers of 64 bits each, as in a `resource` file.
    private static func isResourceFile(_ bytes: [UInt8]) -> Bool {
        var count = 0
        for line in TextLines(bytes) {
            let words = line.words()
            guard words.count == 3, words.allSatisfy({ $0.count == 18 && $0.starts("0x") }) else { continue }
            count += 1
            if count == 3 { return true }
        }
        return false
    }

    /// What it is and what it does not tell, one lower-case sentence.
    var explanation: String {
        switch self {
        case .pciconf: "this is the output of FreeBSD's pciconf, and how FreeBSD assigns addresses is not judged here"
        case .windows:
            "this is from Windows, which neither shows windows of bridges nor assigns addresses as Linux does; code 12 "
                + "says that it found no room for a device"
        case .esxi: "this is from ESXi, which shows no windows of bridges and does not assign addresses as Linux does"
        case .macOS:
            "this is from macOS, which shows neither BARs nor windows and does not assign addresses as Linux does"
        case .lshw:
            "this is the output of lshw, which shows addresses that functions have, and neither which BAR has none nor "
                + "the windows of bridges"
        case .bsd: "this is from OpenBSD or NetBSD, and how they assign addresses is not judged here"
        case .resourceFiles:
            "these are resource files of sysfs alone, which say neither what the functions are nor which bus a bridge "
                + "leads to"
        }
    }

    /// The gap that it leaves; another system's has to be read under Linux on the same machine.
    var gap: ReadingGap {
        switch self {
        case .lshw, .resourceFiles: ReadingGap(code: "foreign-text", detail: explanation)
        default:
            ReadingGap(
                code: "foreign-text",
                detail: explanation + "; started from a Linux live medium, this machine would tell"
            )
        }
    }
}
