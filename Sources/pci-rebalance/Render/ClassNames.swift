// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

extension Function.Identity {
    /// What the class code says, in the words of the PCI ID database (PCI Code and ID Assignment Specification).
    var className: String {
        switch classWord {
        // What texts leave out reads as ones.
        case 0xff00 where vendor == .max: "kind not told"
        case 0xff00: "Unassigned class"
        case 0x0000, 0x00ff: "Unclassified device"
        case 0x0001: "VGA compatible unclassified device"
        case 0x0100: "SCSI storage controller"
        case 0x0101: "IDE interface"
        case 0x0104: "RAID bus controller"
        case 0x0105: "ATA controller"
        case 0x0106: "SATA controller"
        case 0x0107: "Serial Attached SCSI controller"
        case 0x0108: "Non-Volatile memory controller"
        case 0x0109: "Universal Flash Storage controller"
        case 0x0180: "Mass storage controller"
        case 0x0200: "Ethernet controller"
        case 0x0207: "Infiniband controller"
        case 0x0208: "Fabric controller"
        case 0x0280: "Network controller"
        case 0x0300: "VGA compatible controller"
        case 0x0302: "3D controller"
        case 0x0380: "Display controller"
        case 0x0400: "Multimedia video controller"
        case 0x0401: "Multimedia audio controller"
        case 0x0403: "Audio device"
        case 0x0480: "Multimedia controller"
        case 0x0500: "RAM memory"
        case 0x0502: "CXL memory device"
        case 0x0580: "Memory controller"
        case 0x0600: "Host bridge"
        case 0x0601: "ISA bridge"
        case 0x0604: "PCI bridge"
        case 0x0607: "CardBus bridge"
        case 0x0680: "Bridge"
        case 0x0700: "Serial controller"
        case 0x0780: "Communication controller"
        case 0x0800: "PIC"
        case 0x0801: "DMA controller"
        case 0x0802: "Timer"
        case 0x0803: "RTC"
        case 0x0805: "SD Host controller"
        case 0x0806: "IOMMU"
        case 0x0807: "Root Complex Event Collector"
        case 0x0880: "System peripheral"
        case 0x0b40: "Co-processor"
        case 0x0c00: "FireWire (IEEE 1394)"
        case 0x0c03: "USB controller"
        case 0x0c05: "SMBus"
        case 0x0c80: "Serial bus controller"
        case 0x0d00...0x0dff: "Wireless controller"
        case 0x1000...0x10ff: "Encryption controller"
        case 0x1101...0x11ff: "Signal processing controller"
        case 0x1200: "Processing accelerators"
        case 0x1300...0x13ff: "Non-Essential Instrumentation"
        default: "Class \(bareHex(UInt64(classWord), width: 4))"
        }
    }

    /// `8086:29c0`, as `lspci -n` prints it; nil where nobody told them, since no function answers with these ids.
    var ids: String? {
        vendor == .max ? nil : "\(bareHex(UInt64(vendor), width: 4)):\(bareHex(UInt64(device), width: 4))"
    }
}
