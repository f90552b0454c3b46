// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension LogTextReader {
    /// Reads a message about one function into the last known state.
    mutating func readFunctionMessage(_ text: TextBytes, of address: FunctionAddress) {
        guard let first = text.first else { return }
        switch first {
        case UInt8(ascii: "["): readIdentity(text, of: address)
        case UInt8(ascii: "r"): readRegister(text, of: address)
        case UInt8(ascii: "V") where text.starts("Video device with shadowed ROM at "):
            readShadowedROM(text, of: address)
        case UInt8(ascii: "B"), UInt8(ascii: "R"), UInt8(ascii: "V"): readResource(text, of: address)
        case UInt8(ascii: "l"): readLegacyPorts(text, of: address)
        case UInt8(ascii: "P"): readBridge(text, of: address)
        case UInt8(ascii: "b") where text.starts("bridge configuration invalid "): forgetBuses(of: address)
        case UInt8(ascii: " "), UInt8(ascii: "b"): readWindow(text, of: address)
        case UInt8(ascii: "A"): readNarrowWindow(text, of: address)
        case UInt8(ascii: "c"):
            if text.starts("can't claim BAR ") { readOldClaim(text, of: address) }
            if text.starts("config space:") { beginDump(of: address) }
        case UInt8(ascii: "p"):
            if var rest = text.after("pciehp: Slot #") { readSlot(&rest, of: address) }
        default: break
        }
    }

    // MARK: Identity

    /// Reads `[8086:1901] type 01 class 0x060400 PCIe Root Port`.
    private mutating func readIdentity(_ text: TextBytes, of address: FunctionAddress) {
        var rest = text
        guard rest.take("["), let vendor = rest.takeHex(), rest.take(":"), let device = rest.takeHex(), rest.take("]"),
            vendor <= 0xffff, device <= 0xffff, rest.take(" type "), let layout = rest.takeHex(), layout <= 0xff,
            rest.take(" class "), let number = rest.takePrefixedHex(), number <= 0xff_ffff
        else { return }
        // A function that is found again starts from nothing.
        var function = TextFunction(address: address)
        function.isDiscovered = true
        function.vendor = UInt16(vendor)
        function.device = UInt16(device)
        function.headerLayout = UInt8(layout & 0x7f)
        if number > 0x1ff && number <= 0xffff {
            // Kernels before 2.6.39 print the class word alone.
            function.classWord = UInt16(number)
        } else {
            function.classWord = UInt16(number >> 8)
            function.programmingInterface = UInt8(number & 0xff)
        }
        rest.skipBlanks()
        if let type = Self.portType(rest) {
            var express = ExpressFacts()
            express.portType = type
            function.express = express
        }
        if layout & 0x7f == 1 {
            var bridge = BridgeFacts()
            if function.programmingInterface == 1 { bridge.isSubtractive = true }
            function.bridge = bridge
        }
        replace(address, with: function)
    }

    private static func portType(_ text: TextBytes) -> ExpressPortType? {
        guard text.starts("PCIe ") else { return nil }
        if text.starts("PCIe Root Port") { return .rootPort }
        if text.starts("PCIe Switch Upstream") { return .upstreamPort }
        if text.starts("PCIe Switch Downstream") { return .downstreamPort }
        if text.starts("PCIe Legacy Endpoint") { return .legacyEndpoint }
        if text.starts("PCIe Root Complex Integrated") { return .integratedEndpoint }
        if text.starts("PCIe Root Complex Event") { return .eventCollector }
        if text.starts("PCIe to PCI/PCI-X") { return .bridgeToPCI }
        if text.starts("PCI/PCI-X to PCIe") { return .bridgeToExpress }
        if text.starts("PCIe Endpoint") { return .endpoint }
        return nil
    }

    // MARK: BARs

    /// Reads `reg 0x10: [mem …]`, `reg 10: […]`, and `reg 0x184: […]` of a VF BAR.
    private mutating func readRegister(_ text: TextBytes, of address: FunctionAddress) {
        var rest = text
        guard rest.take("reg ") else { return }
        _ = rest.take("0x")
        guard let offset = rest.takeHex(), rest.take(": "), let resource = RangeText.take(&rest) else { return }
        if let index = ResourceIndex.ofRegister(offset) {
            // Firmware that assigned nothing leaves the bus address 0.
            let start = resource.range?.first
            let isZero = start == 0 || start.map { busAddress(of: $0, resource, address) == 0 } == true
            note(resource, index: index, state: isZero ? .unassigned : nil, of: address)
            if isZero { yetToCome[address, default: []].insert(index) }
            return
        }
        // The register lies in the SR-IOV capability, VF BAR0 at 0x24 of it; capabilities are aligned to four bytes,
        // so only the running number among the VF BARs of this function tells which one it is.
        guard (0x100...0xfff).contains(offset) else { return }
        change(address) { function in
            // VF BAR lines come in ascending order; sizes are one VF's until `contains BARn for N VFs` follows.
            var sriov = function.sriov ?? SRIOVFacts()
            let base = sriov.offset ?? UInt16(offset) &- 0x24  // Offsets start at 0x100, so this does not wrap.
            sriov.offset = base
            function.sriov = sriov
            let number = (Int(offset) - Int(base) - 0x24) / 4
            guard let index = ResourceIndex.vfBAR(number) else { return }
            function.set(
                ResourceFacts(
                    index: index,
                    flags: resource.flags,
                    start: resource.range?.first,
                    size: resource.size,
                    state: resource.range == nil ? .unassigned : .placed
                )
            )
        }
    }

    /// Reads `Video device with shadowed ROM at [mem 0x000c0000-0x000dffff]`: the kernel uses the copy in RAM.
    private mutating func readShadowedROM(_ text: TextBytes, of address: FunctionAddress) {
        guard let resource = RangeText.first(in: text)?.resource else { return }
        noteFixed(resource, index: .rom, of: address)
        // It does so for a display that decodes something.
        change(address) { function in
            if function.decodesIO != true, function.decodesMemory != true { function.decodesMemory = true }
        }
    }

    /// Reads `legacy IDE quirk: reg 0x10: [io  0x01f0-0x01f7]`: ports that the class stands for, whatever the register holds.
    private mutating func readLegacyPorts(_ text: TextBytes, of address: FunctionAddress) {
        guard var rest = text.after("legacy IDE quirk: reg 0x"), let offset = rest.takeHex(),
            let index = ResourceIndex.ofRegister(offset), index.isBAR,
            let resource = RangeText.first(in: rest)?.resource
        else { return }
        noteFixed(resource, index: index, of: address)
    }

    /// Notes a resource that the kernel never moves.
    private mutating func noteFixed(_ resource: RangeText, index: ResourceIndex, of address: FunctionAddress) {
        var fixed = resource
        fixed.flags.insert(.fixed)
        note(fixed, index: index, state: nil, of: address)
    }

    /// The bus address of a CPU address, by the apertures that the log has named.
    private func busAddress(of start: UInt64, _ resource: RangeText, _ address: FunctionAddress) -> UInt64 {
        let offset = offset(of: start, isIO: resource.kind == .io, segment: address.segment)
        // Two's complement: modulo 2^64.
        return start &- UInt64(bitPattern: offset)
    }

    /// Reads `BAR 2 […]`, `BAR 14: assigned […]`, `ROM […]: failed to assign`, `VF BAR 0 […]: contains BAR 0 for 7 VFs` and kin.
    private mutating func readResource(_ text: TextBytes, of address: FunctionAddress) {
        var rest = text
        if rest.take("VF(") {
            readOldVF(rest, of: address)
            return
        }
        let index: ResourceIndex?
        var isOldNumber = false
        if rest.take("VF BAR ") {
            index = rest.takeDecimal().flatMap { Int(exactly: $0) }.flatMap(ResourceIndex.vfBAR)
        } else if rest.take("BAR ") {
            guard let number = rest.takeDecimal(), number <= 16 else { return }
            index = ResourceIndex(Int(number))
            isOldNumber = number > 5
        } else if rest.take("ROM") {
            index = .rom
        } else {
            return
        }
        // What has no alignment is no BAR, or one that the kernel has forgotten: nothing is learnt.
        guard var index, !rest.has("bogus alignment") else { return }
        if rest.take(" ") {
            // From 6.9: the resource, then what happened.
            guard let resource = RangeText.take(&rest) else { return }
            let verdict: TextBytes = rest.take(": ") ? rest : rest.suffix(0)
            apply(verdict, resource, index: index, of: address)
        } else if rest.take(": ") {
            // Up to 6.8: what happened, then the resource.
            let verdict = rest.before("[")
            guard let resource = RangeText.first(in: rest)?.resource else { return }
            if isOldNumber { index = meaning(of: index, resource, of: address) }
            if let kind = index.windowKind {
                applyToWindow(verdict, resource, kind: kind, of: address)
            } else {
                apply(verdict, resource, index: index, of: address)
            }
        }
    }

    /// What an old number means, as far as the log has told until here.
    private mutating func meaning(
        of index: ResourceIndex,
        _ resource: RangeText,
        of address: FunctionAddress
    ) -> ResourceIndex {
        let isBridge = functions[address]?.bridge != nil || hasOldWindowNumbers
        guard let kind = OldResourceNumber.window(index, resource.kind, isBridge: isBridge) else { return index }
        hasOldWindowNumbers = true
        return .window(kind)
    }

    /// Makes windows of what was taken for blocks of virtual functions, where a later line told that this kernel has none
    /// and numbers windows from 7.
    mutating func settleOldNumbers() {
        guard hasOldWindowNumbers else { return }
        for (address, function) in functions where function.resources.contains(where: \.index.isVFBAR) {
            change(address) { function in
                for one in function.resources where one.index.isVFBAR {
                    guard let kind = OldResourceNumber.window(one.index, ResourceKind(one.flags), isBridge: true) else {
                        continue
                    }
                    function.resources.removeAll { $0.index == one.index }
                    var bridge = function.bridge ?? BridgeFacts()
                    let width = Self.width(of: kind, one.flags)
                    if let range = one.range {
                        bridge[kind] = .open(range, width: width)
                    } else {
                        bridge[kind] = one.size.map { .unassigned($0, width: width) }
                    }
                    function.bridge = bridge
                    function.headerLayout = function.headerLayout ?? 1
                }
            }
        }
    }

    /// The width of a window by the flags in its text; nil for I/O.
    private static func width(of kind: ResourceKind, _ flags: ResourceFlags) -> Int? {
        kind == .io ? nil : kind == .prefetchable && flags.contains(.memory64) ? 64 : 32
    }

    private mutating func apply(
        _ verdict: TextBytes,
        _ resource: RangeText,
        index: ResourceIndex,
        of address: FunctionAddress
    ) {
        // From 6.9 on the discovery prints a BAR in the same way, and one that holds nothing at the bus address 0.
        if verdict.isEmpty, index.isBAR, let start = resource.range?.first,
            busAddress(of: start, resource, address) == 0
        {
            note(resource, index: index, state: .unassigned, of: address)
            yetToCome[address, default: []].insert(index)
        } else if verdict.starts("contains BAR") {
            let count = verdict.after(" for ").flatMap { text -> Int? in
                var rest = text
                return rest.takeDecimal().flatMap { Int(exactly: $0) }
            }
            note(resource, index: index, state: nil, vfCount: count, of: address)
        } else if verdict.isEmpty || verdict.starts("assigned") || verdict.starts("old value restored")
            || verdict.starts("set to") || verdict.starts("trying firmware assignment")
        {
            note(resource, index: index, state: nil, of: address)
        } else if verdict.starts("not claimed") {
            // The register holds the address, and the kernel did not accept it; zero is no address.
            let isZero = resource.range?.first == 0
            note(resource, index: index, state: isZero ? .unassigned : .unclaimed, of: address)
        } else if verdict.starts("can't claim") {
            note(resource, index: index, state: .unclaimed, of: address)
        } else if verdict.starts("releasing") || verdict.starts("can't assign") || verdict.starts("no space for")
            || verdict.starts("failed to assign") || verdict.starts("ignoring failure")
        {
            note(resource, index: index, state: .unassigned, of: address)
        }
    }

    private mutating func note(
        _ resource: RangeText,
        index: ResourceIndex,
        state: ResourceFacts.State?,
        vfCount: Int? = nil,
        of address: FunctionAddress
    ) {
        yetToCome[address]?.remove(index)
        change(address) { function in
            let old = function.resource(index)
            var flags = resource.flags
            flags.remove(.disabled)
            let placed = state ?? (resource.range == nil ? .unassigned : .placed)
            let keepsAddress = placed == .placed || placed == .unclaimed
            function.set(
                ResourceFacts(
                    index: index,
                    flags: flags,
                    start: keepsAddress ? resource.range?.first : nil,
                    size: resource.size ?? old?.size,
                    vfCount: vfCount ?? old?.vfCount,
                    state: placed
                )
            )
            if let vfCount, index.isVFBAR {
                var sriov = function.sriov ?? SRIOVFacts()
                sriov.totalVFs = vfCount
                function.sriov = sriov
            }
        }
    }

    /// Reads `VF(n) BAR0 space: [mem …] (contains BAR0 for 7 VFs)`, of which `VF(` is taken.
    private mutating func readOldVF(_ text: TextBytes, of address: FunctionAddress) {
        guard var rest = text.after(") BAR"), let number = rest.takeDecimal(), number < 6,
            let index = ResourceIndex.vfBAR(Int(number)), let open = rest.firstIndex(of: 0x5b)
        else { return }
        rest = rest[open...]
        guard let resource = RangeText.take(&rest) else { return }
        apply(rest.after("(") ?? rest.suffix(0), resource, index: index, of: address)
    }

    /// Reads `can't claim BAR 6 [mem …]: no compatible bridge window`.
    private mutating func readOldClaim(_ text: TextBytes, of address: FunctionAddress) {
        var rest = text
        guard rest.take("can't claim BAR "), let number = rest.takeDecimal(), number <= 16, rest.take(" "),
            let resource = RangeText.take(&rest), let index = ResourceIndex(Int(number))
        else { return }
        let meant = meaning(of: index, resource, of: address)
        guard !meant.isWindow else { return }
        note(resource, index: meant, state: .unclaimed, of: address)
    }

    /// Forgets BARs of which nothing was said since the discovery, when the kernel's assignment goes on behind the log's end:
    /// it names every BAR, whether it gets a place or not (`pci_assign_resource`).
    mutating func forgetWhatIsYetToCome() {
        for (address, indices) in yetToCome where !indices.isEmpty && functions[address]?.isDiscovered == true {
            change(address) { function in
                function.resources.removeAll { indices.contains($0.index) }
                function.untold = indices
                function.isCut = true
            }
        }
    }

    // MARK: Bridges

    /// Forgets the numbers of bridges on whose reset values a log ends: the kernel prints them as it finds the bridge, and
    /// numbers the buses afterwards (`pci_read_bridge_windows`, `pci_scan_bridge_extend`).
    mutating func forgetResetBuses(segment: UInt32) {
        for (address, function) in functions
        where address.segment == segment && function.isDiscovered && function.bridge?.secondary == BusNumber(0) {
            forgetBuses(of: address)
            change(address) { function in
                function.isCut = true
                for kind in ResourceKind.allCases { function.bridge?[kind] = nil }
            }
        }
    }

    /// Reads `bridge configuration invalid ([bus 00-00]), reconfiguring`: the kernel's own numbers replace what the registers
    /// held, and a later line tells them.
    private mutating func forgetBuses(of address: FunctionAddress) {
        change(address) { function in
            function.bridge?.secondary = nil
            function.bridge?.subordinate = nil
        }
    }

    /// Reads `PCI bridge to [bus 02-11]`.
    private mutating func readBridge(_ text: TextBytes, of address: FunctionAddress) {
        var rest = text
        guard rest.take("PCI bridge to "), let buses = RangeText.takeBuses(&rest) else { return }
        change(address) { function in
            var bridge = function.bridge ?? BridgeFacts()
            bridge.primary = address.bus
            bridge.secondary = BusNumber(buses.first)
            bridge.subordinate = BusNumber(buses.last)
            // The windows that are open follow; what was known is from an earlier moment.
            bridge.io = Self.closedUnlessUnassigned(bridge.io)
            bridge.memory = Self.closedUnlessUnassigned(bridge.memory)
            bridge.prefetchable = Self.closedUnlessUnassigned(bridge.prefetchable)
            if rest.starts(" (subtractive decode)") { bridge.isSubtractive = true }
            function.bridge = bridge
            if function.headerLayout == nil { function.headerLayout = 1 }
        }
    }

    private static func closedUnlessUnassigned(_ window: WindowFacts?) -> WindowFacts? {
        if case .open(_, let width) = window { return .closed(width: width) }
        return window
    }

    /// Reads `  bridge window […]` and `bridge window […]: assigned`, `: can't assign; no space` and kin.
    private mutating func readWindow(_ text: TextBytes, of address: FunctionAddress) {
        var rest = text
        rest.skipBlanks()
        guard rest.take("bridge window "), let resource = RangeText.take(&rest), let kind = resource.kind else {
            return
        }
        // A subtractive bridge lists the windows of the bus above it as its own.
        guard !rest.starts(" (subtractive decode)"), !resource.flags.contains(.window) else { return }
        if rest.take(" to ") {
            if let buses = RangeText.takeBuses(&rest) { noteBuses(buses, behind: address) }
            return
        }
        let verdict: TextBytes = rest.take(": ") ? rest : rest.suffix(0)
        applyToWindow(verdict, resource, kind: kind, of: address)
    }

    /// Reads `Assigned bridge window [mem …] to [bus 01-04] cannot fit 0x100000000 required for 0000:02:01.0 bridging to
    /// [bus 03]`.
    private mutating func readNarrowWindow(_ text: TextBytes, of address: FunctionAddress) {
        var rest = text
        guard rest.take("Assigned bridge window "), let resource = RangeText.take(&rest), let kind = resource.kind,
            rest.take(" to "), let buses = RangeText.takeBuses(&rest)
        else { return }
        applyToWindow(rest.suffix(0), resource, kind: kind, of: address)
        noteBuses(buses, behind: address)
        guard var inner = rest.after(" required for "), let below = takeAddress(&inner),
            inner.take(" bridging to "), let numbers = RangeText.takeBuses(&inner)
        else { return }
        noteBuses(numbers, behind: below)
    }

    /// Notes the buses behind a bridge that no line told until here.
    private mutating func noteBuses(_ buses: (first: UInt8, last: UInt8), behind address: FunctionAddress) {
        guard buses.first <= buses.last, functions[address]?.bridge?.secondary == nil else { return }
        change(address) { function in
            var bridge = function.bridge ?? BridgeFacts()
            bridge.secondary = BusNumber(buses.first)
            bridge.subordinate = BusNumber(buses.last)
            function.bridge = bridge
            function.headerLayout = function.headerLayout ?? 1
        }
    }

    private mutating func applyToWindow(
        _ verdict: TextBytes,
        _ resource: RangeText,
        kind: ResourceKind,
        of address: FunctionAddress
    ) {
        let width = Self.width(of: kind, resource.flags)
        change(address) { function in
            var bridge = function.bridge ?? BridgeFacts()
            if verdict.starts("releasing") {
                // What follows may be a new place, or silently the old one; until the log says so it is not known.
                bridge[kind] = nil
            } else if verdict.starts("can't assign") || verdict.starts("no space for")
                || verdict.starts("failed to assign")
            {
                bridge[kind] = resource.size.map { .unassigned($0, width: width) } ?? .closed(width: width)
            } else if verdict.starts("was not released") || verdict.starts("can't claim")
                || verdict.starts("failed to") || verdict.starts("claiming") || verdict.starts("error updating")
            {
                return
            } else if resource.flags.contains(.disabled) {
                bridge[kind] = .closed(width: width)
            } else if let range = resource.range {
                bridge[kind] = .open(range, width: width)
            }
            function.bridge = bridge
            if function.headerLayout == nil { function.headerLayout = 1 }
        }
    }

    /// Reads the slot's capabilities from pciehp's line, of which `Slot #` is taken.
    private mutating func readSlot(_ rest: inout TextBytes, of address: FunctionAddress) {
        let number = rest.takeDecimal().flatMap { Int(exactly: $0) }
        let flags = rest
        change(address) { function in
            var express = function.express ?? ExpressFacts()
            express.slotNumber = number
            express.hasSlot = true
            express.isHotPlugCapable = LspciReader.sign(flags, after: "HotPlug")
            express.isSurpriseCapable = LspciReader.sign(flags, after: "Surprise")
            express.hasPowerControl = LspciReader.sign(flags, after: "PwrCtrl")
            express.hasAttentionButton = LspciReader.sign(flags, after: "AttnBtn")
            function.express = express
        }
    }
}
