// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// Whether a function keeps requests of others from passing it sideways, by the kernel's judgement (`pci_acs_enabled` for
/// Source Validation, Request Redirect, Completion Redirect and Upstream Forwarding).
public enum Isolation: Hashable, Sendable {
    /// It does.
    case isolated
    /// It does not.
    case open(Reason)
    /// Its registers were not told.
    case unknown

    /// Why a function does not isolate.
    public enum Reason: Hashable, Sendable {
        /// It has no ACS capability.
        case noCapability
        /// Controls of its ACS capability are off.
        case off(AccessControls)
        /// It is a conventional PCI function, or a bridge to such a bus.
        case conventional
        /// The kernel lists it as one whose ports do not isolate.
        case listed

        /// Why, in words that follow the function's name: `has no ACS`.
        public var text: String {
            switch self {
            case .noCapability: "has no ACS"
            case .off(let controls): "has ACS with \(controls.names.joined(separator: ", ")) off"
            case .conventional: "is conventional PCI"
            case .listed: "is one that the kernel does not trust to isolate"
            }
        }
    }
}

extension Topology {
    /// Whether the kernel takes the function at index `i` for one of several of its device (`pci_dev.multifunction`); nil when
    /// its header was not told.
    ///
    /// Every function says so in its header. One with another number than 0 that does not say so is one of several when it is
    /// found at boot, and is not when it is found later: the kernel notes it (`pci_scan_slot`) only after the function has got
    /// its group. Which of them was the case no file tells. Functions of a listing without bytes are taken to be found at boot.
    func isOneOfSeveral(_ i: Int) -> Bool? {
        let function = functions[i]
        if function.isVirtual { return false }
        if function.knowledge.registers == .seen, function.config.hasHeader {
            return function.config.isMultiFunction ? true : function.address.devfn & 7 == 0 ? false : nil
        }
        let device = function.address
        let hasSibling = functions.contains {
            !$0.isVirtual && $0.address != device && $0.address.segment == device.segment
                && $0.address.bus == device.bus && $0.address.devfn >> 3 == device.devfn >> 3
        }
        return hasSibling ? true : nil
    }

    /// Whether the kernel would take the function at index `i` for one that isolates.
    ///
    /// - Complexity: O(1) where the header was read.
    public func isolation(of i: Int) -> Isolation {
        let function = functions[i]
        // The kernel looks for the ids first.
        guard function.identity.vendor != 0xffff else { return .unknown }
        let isOneOfSeveral = isOneOfSeveral(i)
        let answer = IsolationQuirks.answer(
            function,
            isMultiFunction: isOneOfSeveral ?? false,
            isOnRootBus: parent(of: i) == nil
        )
        switch answer {
        case .isolated: return .isolated
        case .open: return .open(.listed)
        case .isolatedUnderAMDMMU: return hasGroups ? .isolated : .unknown
        case .controlAtEight: return wideControl(function)
        case nil: break
        }
        guard let express = function.capabilities.express else {
            if function.isVirtual { return .isolated }
            return function.config.hasHeader && !function.config.isSilent && function.knowsKind
                ? .open(.conventional) : .unknown
        }
        switch express.portType {
        case .bridgeToPCI, .bridgeToExpress, .eventCollector: return .open(.conventional)
        case .rootPort, .downstreamPort: return byCapability(function)
        case .endpoint, .upstreamPort, .legacyEndpoint, .integratedEndpoint:
            switch isOneOfSeveral {
            case false: return .isolated
            case true: return byCapability(function)
            case nil: return byCapability(function) == .isolated ? .isolated : .unknown
            }
        case nil: return .isolated
        }
    }

    /// Whether any function is in an IOMMU group: the kernel runs an IOMMU, and has switched on ACS where it found it.
    public var hasGroups: Bool { functions.contains { $0.use.iommuGroup != nil } }

    private func byCapability(_ function: Function) -> Isolation {
        switch function.accessControl {
        case .absent: return .open(.noCapability)
        case .unread: return .unknown
        case .present(var control):
            if IsolationQuirks.lacksSourceValidation(function) { control.capabilities.remove(.sourceValidation) }
            let off = control.off(.isolating)
            return off.isEmpty ? .isolated : .open(.off(off))
        }
    }

    private func wideControl(_ function: Function) -> Isolation {
        guard function.knowledge.registers == .seen, let acs = function.capabilities.accessControl,
            let control = function.config.word(Int(acs.offset) + 8)
        else { return .unknown }
        let off = AccessControl(
            offset: acs.offset,
            capabilities: acs.capabilities,
            control: AccessControls(rawValue: control & 0x7f)
        ).off(.isolating)
        return off.isEmpty ? .isolated : .open(.off(off))
    }
}

extension Function {
    /// Whether a missing PCI Express capability means that there is none: the standard list was followed to its end.
    var knowsKind: Bool { knowledge.settings == .seen && (capabilities.isComplete || capabilities.express != nil) }
}
