// SPDX-License-Identifier: GPL-2.0-or-later

/// The class words that lspci's names stand for, where it prints names without numbers.
///
/// One name can stand for a whole base class; then the sub-class 0x80 ("other") is given.
/// Source: PCI Code and ID Assignment Specification; the names are those of the ID database.
enum ClassNames {
    /// The class word of `name`, or nil for a name that is not known.
    static func word(_ name: TextBytes) -> UInt16? {
        for entry in table where name.equals(entry.name) { return entry.word }
        return nil
    }

    // The most frequent names stand first, since the table is searched in order.
    private static let table: [(name: StaticString, word: UInt16)] = [
        ("System peripheral", 0x0880), ("PCI bridge", 0x0604), ("USB controller", 0x0c03), ("Host bridge", 0x0600),
        ("Signal processing controller", 0x1180), ("Audio device", 0x0403), ("Ethernet controller", 0x0200),
        ("VGA compatible controller", 0x0300), ("ISA bridge", 0x0601), ("SMBus", 0x0c05),
        ("Communication controller", 0x0780), ("Performance counters", 0x1101), ("Network controller", 0x0280),
        ("Non-Volatile memory controller", 0x0108), ("Serial bus controller", 0x0c80), ("SATA controller", 0x0106),
        ("Memory controller", 0x0580), ("RAM memory", 0x0500), ("PIC", 0x0800), ("RAID bus controller", 0x0104),
        ("Serial controller", 0x0700), ("Unassigned class", 0xff00), ("SD Host controller", 0x0805),
        ("Multimedia audio controller", 0x0401), ("IDE interface", 0x0101), ("IOMMU", 0x0806),
        ("Non-VGA unclassified device", 0x0000), ("VGA compatible unclassified device", 0x0001),
        ("Multimedia controller", 0x0480), ("Multimedia video controller", 0x0400),
        ("Mass storage controller", 0x0180), ("Encryption controller", 0x1080), ("CardBus bridge", 0x0607),
        ("PCMCIA bridge", 0x0605), ("Display controller", 0x0380), ("3D controller", 0x0302),
        ("XGA compatible controller", 0x0301), ("Serial Attached SCSI controller", 0x0107),
        ("SCSI storage controller", 0x0100), ("ATA controller", 0x0105), ("Floppy disk controller", 0x0102),
        ("Universal Flash Storage controller", 0x0109), ("Processing accelerators", 0x1200),
        ("FireWire (IEEE 1394)", 0x0c00), ("Fibre Channel", 0x0c04), ("InfiniBand", 0x0c06),
        ("Infiniband controller", 0x0207), ("Fabric controller", 0x0208), ("Token ring network controller", 0x0201),
        ("IPMI Interface", 0x0c07), ("IPMI SMIC interface", 0x0c07), ("Wireless controller", 0x0d80),
        ("Bluetooth", 0x0d11), ("RF controller", 0x0d10), ("Modem", 0x0703), ("Parallel controller", 0x0701),
        ("Multiport serial controller", 0x0702), ("DMA controller", 0x0801), ("Timer", 0x0802), ("RTC", 0x0803),
        ("PCI Hot-plug controller", 0x0804), ("Generic system peripheral", 0x0880), ("Timing Card", 0x0899),
        ("Keyboard controller", 0x0900), ("Mouse controller", 0x0902), ("Input device controller", 0x0980),
        ("Co-processor", 0x0b40), ("Coprocessor", 0x4000), ("Processor", 0x0b80), ("Bridge", 0x0680),
        ("EISA bridge", 0x0602), ("RACEway bridge", 0x0608), ("Semi-transparent PCI-to-PCI bridge", 0x0609),
        ("CXL", 0x0502), ("FLASH memory", 0x0501), ("Non-Essential Instrumentation", 0x1300),
        ("Signal processing management", 0x1120), ("Communication synchronizer", 0x1110), ("DPIO module", 0x1100),
        ("Intelligent controller", 0x0e80), ("I2O", 0x0e00), ("Unclassified device", 0x0080),
        ("Network and computing encryption device", 0x1000),
    ]
}

/// The capability identifiers that lspci's names stand for.
enum CapabilityNames {
    /// The identifier of a standard capability by the text after its offset, or nil for a name that is not known.
    static func standard(_ text: TextBytes) -> UInt16? {
        for entry in standardTable where text.starts(entry.name) { return entry.id }
        return numbered(text)
    }

    /// The identifier of an extended capability by the text after its offset, or nil for a name that is not known.
    static func extended(_ text: TextBytes) -> UInt16? {
        for entry in extendedTable where text.starts(entry.name) { return entry.id }
        return numbered(text)
    }

    private static func numbered(_ text: TextBytes) -> UInt16? {
        var rest = text
        // `#19` is hexadecimal in every release that prints it.
        if rest.take("#") { return rest.takeHex().flatMap { UInt16(exactly: $0) } }
        if rest.take("Capability ID 0x") || rest.take("Extended Capability ID 0x") {
            return rest.takeHex().flatMap { UInt16(exactly: $0) }
        }
        return nil
    }

    private static let standardTable: [(name: StaticString, id: UInt16)] = [
        ("Null", 0x00), ("MSI-X", 0x11), ("MSI", 0x05), ("Power Management", 0x01), ("Express", 0x10),
        ("Subsystem", 0x0d), ("Vendor Specific Information", 0x09), ("Vital Product Data", 0x03),
        ("PCI Advanced Features", 0x13), ("Debug port", 0x0a), ("SATA HBA", 0x12), ("HyperTransport", 0x08),
        ("PCI-X", 0x07), ("Enhanced Allocation", 0x14), ("AGP3", 0x0e), ("AGP", 0x02), ("Slot ID", 0x04),
        ("CompactPCI hot-swap", 0x06), ("CompactPCI central", 0x0b), ("Hot-plug capable", 0x0c),
        ("Secure device", 0x0f), ("Flattening Portal Bridge", 0x15), ("Message Signalled Interrupts", 0x05),
        ("VirtIO", 0x09),
    ]

    private static let extendedTable: [(name: StaticString, id: UInt16)] = [
        ("Null", 0x00), ("Advanced Error Reporting", 0x01), ("Virtual Channel", 0x02),
        ("Device Serial Number", 0x03), ("Power Budgeting", 0x04), ("Root Complex Link", 0x05),
        ("Root Complex Internal Link", 0x06), ("Root Complex Event Collector", 0x07),
        ("Multi-Function Virtual Channel", 0x08), ("Root Bridge Control Block", 0x0a),
        ("RCRB", 0x0a), ("Vendor Specific Information", 0x0b), ("Access Control Services", 0x0d),
        ("Alternative Routing-ID Interpretation", 0x0e), ("Address Translation Service", 0x0f),
        ("Single Root I/O Virtualization", 0x10), ("Multi-Root I/O Virtualization", 0x11), ("Multicast", 0x12),
        ("Page Request Interface", 0x13), ("Physical Resizable BAR", 0x15), ("Resizable BAR", 0x15),
        ("Dynamic Power Allocation", 0x16), ("Transaction Processing Hints", 0x17),
        ("Latency Tolerance Reporting", 0x18), ("Secondary PCI Express", 0x19), ("Protocol Multiplexing", 0x1a),
        ("Process Address Space ID", 0x1b), ("LN Requester", 0x1c), ("Downstream Port Containment", 0x1d),
        ("L1 PM Substates", 0x1e), ("Precision Time Measurement", 0x1f), ("PCI Express over M_PHY", 0x20),
        ("FRS Queueing", 0x21), ("Readiness Time Reporting", 0x22), ("Designated Vendor-Specific", 0x23),
        ("Virtual Resizable BAR", 0x24), ("Data Link Feature", 0x25), ("Physical Layer 16.0 GT/s", 0x26),
        ("Lane Margining at the Receiver", 0x27), ("Hierarchy ID", 0x28), ("Native PCIe Enclosure Management", 0x29),
        ("Physical Layer 32.0 GT/s", 0x2a), ("Alternate Protocol", 0x2b), ("System Firmware Intermediary", 0x2c),
        ("Shadow Functions", 0x2d), ("Data Object Exchange", 0x2e), ("Device 3", 0x2f),
        ("Integrity & Data Encryption", 0x30), ("Physical Layer 64.0 GT/s", 0x31), ("Flit Logging", 0x32),
        ("Flit Performance Measurement", 0x33), ("Flit Error Injection", 0x34),
    ]
}
