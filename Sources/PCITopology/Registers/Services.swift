// SPDX-License-Identifier: GPL-2.0-or-later

/// Address Translation Services (PCIe 6.0 §10.5.1): the device asks the IOMMU for addresses and keeps the answers.
public struct AddressTranslation: Hashable, Sendable {
    /// ATS Control, bit 15: translations are asked for.
    public var isEnabled: Bool

    init?(_ config: ConfigSpace, at offset: Int) {
        guard let control = config.word(offset + 6) else { return nil }
        isEnabled = control & 0x8000 != 0
    }
}

/// The Page Request capability (PCIe 6.0 §10.5.2): the device may ask for pages that are not there.
public struct PageRequests: Hashable, Sendable {
    /// Page Request Control, bit 0.
    public var isEnabled: Bool

    init?(_ config: ConfigSpace, at offset: Int) {
        guard let control = config.word(offset + 4) else { return nil }
        isEnabled = control & 1 != 0
    }
}

/// The PASID capability (PCIe 6.0 §7.8.9): requests that name an address space of a process.
public struct ProcessAddressSpaces: Hashable, Sendable {
    /// PASID Control, bit 0.
    public var isEnabled: Bool
    /// Max PASID Width in bits, 0 to 20.
    public var width: Int

    init?(_ config: ConfigSpace, at offset: Int) {
        guard let capability = config.word(offset + 4), let control = config.word(offset + 6) else { return nil }
        isEnabled = control & 1 != 0
        width = Int(capability >> 8 & 0x1f)
    }
}

/// Downstream Port Containment (PCIe 6.0 §7.9.14): a port that shuts its link upon an error below.
public struct PortContainment: Hashable, Sendable {
    /// DPC Control, bits 1:0: the port shuts its link upon fatal errors (1) or upon those and non-fatal ones (2).
    public var isEnabled: Bool

    init?(_ config: ConfigSpace, at offset: Int) {
        guard let control = config.word(offset + 6) else { return nil }
        isEnabled = control & 3 != 0
    }
}

/// What a function's Compute Express Link capabilities tell (CXL 3.1 §8.1: DVSECs of vendor 1e98).
public struct ComputeExpressLink: Hashable, Sendable {
    /// The DVSEC identifiers that are there, in list order: 0 device, 3 port extensions, 7 flex bus port, 8 registers, …
    public var identifiers: [UInt16] = []
    /// The device DVSEC: the function holds memory that the host may use (CXL.mem).
    public var hasMemory = false
    /// The device DVSEC: CXL.mem is switched on.
    public var isMemoryEnabled = false
    /// The ranges of host addresses of the device DVSEC that are marked valid; what HDM decoders decode stands elsewhere.
    public var ranges: [AddressRange] = []

    mutating func take(_ config: ConfigSpace, at offset: Int, identifier: UInt16) {
        identifiers.append(identifier)
        guard identifier == 0, let capability = config.word(offset + 0x0a), let control = config.word(offset + 0x0c)
        else { return }
        hasMemory = capability & 4 != 0
        isMemoryEnabled = control & 4 != 0
        for range in 0..<min(Int(capability >> 4 & 3), 2) {
            let at = offset + 0x18 + 0x10 * range
            guard let sizeHigh = config.long(at), let sizeLow = config.long(at + 4), let baseHigh = config.long(at + 8),
                let baseLow = config.long(at + 12), sizeLow & 3 == 3
            else { continue }
            let size = UInt64(sizeHigh) << 32 | UInt64(sizeLow & 0xf000_0000)
            let base = UInt64(baseHigh) << 32 | UInt64(baseLow & 0xf000_0000)
            if size > 0, let found = AddressRange(first: base, size: size) { ranges.append(found) }
        }
    }
}

/// Whether something is there, with what it says, is not there, or may stand in what was not read.
public enum Told<Value: Hashable & Sendable>: Hashable, Sendable {
    /// It is there.
    case present(Value)
    /// All was read, and it is not there.
    case absent
    /// What would tell was not read.
    case unread

    /// The value, or nil.
    public var value: Value? { if case .present(let value) = self { value } else { nil } }
}

extension Function {
    /// Whether the registers of the function's capabilities were told: read from the device, or spelled out by a text.
    public var areSettingsTold: Bool { knowledge.settings == .seen && !config.isSilent && config.hasHeader }

    /// What was told of a capability.
    ///
    /// - Parameters:
    ///   - value: the decoded capability, or nil.
    ///   - isPresent: whether the list of capabilities names it.
    /// - Returns: the capability, that it is absent, or that nobody read what would tell.
    public func told<Value>(_ value: Value?, isPresent: Bool) -> Told<Value> {
        if let value, areSettingsTold { return .present(value) }
        // A text that names no extended capability of a PCI Express function may have left them out.
        let listsExtended =
            knowledge.registers == .seen || capabilities.express == nil || !capabilities.extended.isEmpty
        return !isPresent && value == nil && capabilities.isComplete && listsExtended && !config.isSilent
            && config.hasHeader ? .absent : .unread
    }

    /// The ACS capability, as far as it was told.
    public var accessControl: Told<AccessControl> { told(capabilities.accessControl, isPresent: capabilities.hasACS) }
}
