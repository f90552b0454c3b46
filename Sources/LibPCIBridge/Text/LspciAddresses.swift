// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension LspciReader {
    // MARK: BARs, ROM, windows

    /// Reads lines of `Region N:`, `Memory at`, `I/O ports at`, `Expansion ROM at`, `… behind bridge:` and the SR-IOV block's
    /// lines that begin with the same letters.
    mutating func readAddresses(_ text: TextBytes, of function: inout TextFunction) {
        var rest = text
        if rest.take("Region ") {
            guard let number = rest.takeDecimal(), number < 6, rest.take(": ") else { return }
            function.isDescribed = true
            readBAR(rest, number: Int(number), of: &function)
        } else if rest.take("Expansion ROM at ") {
            readROM(rest, of: &function)
        } else if rest.take("I/O behind bridge: ") {
            setWindow(.io, rest, of: &function)
        } else if rest.take("Memory behind bridge: ") {
            setWindow(.memory, rest, of: &function)
        } else if rest.take("Prefetchable memory behind bridge: ") {
            setWindow(.prefetchable, rest, of: &function)
        } else if text.starts("Memory at ") || text.starts("I/O ports at ") || text.starts("[virtual] Memory at ")
            || text.starts("[virtual] I/O ports at ")
        {
            // `lspci -v` does not number the BARs: they are counted, and a gap stays unseen.
            guard part == .head, nextCountedBAR < 6 else { return }
            let number = nextCountedBAR
            noteCounting()
            readBAR(text, number: number, of: &function)
            let isWide = ResourceIndex.bar(number).flatMap { function.resource($0) }?.flags.contains(.memory64) == true
            nextCountedBAR += isWide ? 2 : 1
        } else if rest.take("Initial VFs: ") {
            readVFCounts(text, of: &function)
        } else if rest.take("IOVCtl:") {
            function.sriov?.isEnabled = Self.sign(rest, after: "Enable")
            function.sriov?.isARICapableHierarchy = Self.sign(rest, after: "ARIHierarchy")
        } else if rest.take("IOMMU group: ") {
            function.iommuGroup = rest.takeDecimal().flatMap { Int(exactly: $0) }
        } else if rest.take("Physical Slot: ") {
            function.slot = rest.trimmed.string
        }
    }

    private func readVFCounts(_ text: TextBytes, of function: inout TextFunction) {
        guard part == .sriov else { return }
        func number(_ word: StaticString) -> Int? {
            guard var rest = text.after(word) else { return nil }
            return rest.takeDecimal().flatMap { Int(exactly: $0) }
        }
        function.sriov?.initialVFs = number("Initial VFs: ")
        function.sriov?.totalVFs = number("Total VFs: ")
        function.sriov?.numVFs = number("Number of VFs: ")
    }

    /// Reads `Memory at fe000000 (64-bit, prefetchable) [disabled] [size=16M]` and `I/O ports at e000 [size=128]`.
    private func readBAR(_ text: TextBytes, number: Int, of function: inout TextFunction) {
        let isVF = part == .sriov
        guard let index = isVF ? ResourceIndex.vfBAR(number) : ResourceIndex.bar(number) else { return }
        var rest = text
        var state = ResourceFacts.State.placed
        if rest.take("[virtual] ") { state = .virtual }
        var flags: ResourceFlags
        if rest.take("Memory at ") {
            flags = .memory
        } else if rest.take("I/O ports at ") {
            flags = .io
        } else {
            return
        }
        let start = Self.takeStart(&rest, state: &state)
        if flags == .memory, let open = rest.after("(") {
            let kind = open.before(")")
            if kind.starts("64-bit") { flags.insert(.memory64) }
            if kind.ends(" prefetchable") { flags.insert(.prefetchable) }
        }
        if rest.has("[virtual]") { state = .virtual }
        function.set(
            ResourceFacts(index: index, flags: flags, start: start, size: Self.size(rest), state: state)
        )
    }

    private func readROM(_ text: TextBytes, of function: inout TextFunction) {
        var rest = text
        var state = ResourceFacts.State.placed
        if rest.take("[virtual] ") { state = .virtual }
        let start = Self.takeStart(&rest, state: &state)
        if rest.has("[virtual]") { state = .virtual }
        function.set(
            ResourceFacts(
                index: .rom,
                flags: [.memory, .prefetchable, .readOnly],
                start: start,
                size: Self.size(rest),
                state: state
            )
        )
    }

    /// Takes an address, `<unassigned>`, `<ignored>` or `<invalid-…>` off the front.
    private static func takeStart(_ rest: inout TextBytes, state: inout ResourceFacts.State) -> UInt64? {
        if rest.take("<ignored>") {
            state = .ignored
            return nil
        }
        if rest.take("<") {
            state = .unassigned
            return nil
        }
        return rest.takeHex()
    }

    /// The size in `[size=16M]`, or nil.
    private static func size(_ text: TextBytes) -> ByteCount? {
        guard var rest = text.after("[size=") else { return nil }
        guard let number = rest.takeDecimal() else { return nil }
        let shift: UInt64
        if rest.take("K") {
            shift = 10
        } else if rest.take("M") {
            shift = 20
        } else if rest.take("G") {
            shift = 30
        } else if rest.take("T") {
            shift = 40
        } else {
            shift = 0
        }
        guard rest.take("]"), number <= UInt64.max >> shift, number > 0 else { return nil }
        return ByteCount(number << shift)
    }

    /// Reads a window in every wording: `f000-0fff`, `None`, `[disabled] [16-bit]`, `fe000000-fe0fffff [size=1M] [32-bit]`,
    /// `[empty]`, limit below base.
    private func setWindow(_ kind: ResourceKind, _ text: TextBytes, of function: inout TextFunction) {
        var bridge = function.bridge ?? BridgeFacts()
        let width: Int? = text.has("[16-bit]") ? 16 : text.has("[32-bit]") ? 32 : text.has("[64-bit]") ? 64 : nil
        var rest = text
        var window = WindowFacts.closed(width: width)
        if let first = rest.takeHex() {
            // Without a `-` this is some other wording; with one, a limit below the base means closed.
            guard rest.take("-"), let last = rest.takeHex() else { return }
            if !text.has("[disabled]"), !text.has("[empty]"), let range = AddressRange(first: first, last: last) {
                window = .open(range, width: width)
            }
        } else if !text.starts("None"), !text.starts("["), !text.starts("<") {
            return
        }
        bridge[kind] = window
        function.bridge = bridge
        if function.headerLayout == nil { function.headerLayout = 1 }
    }

    // MARK: Capabilities

    /// Reads `[100 v1] Physical Resizable BAR` and `<access denied>`.
    mutating func readCapability(_ text: TextBytes, of function: inout TextFunction) {
        part = .otherCapability
        var rest = text
        guard rest.take("[") else {
            function.showsCapabilities = false
            return
        }
        function.showsCapabilities = true
        let start = rest.startIndex
        guard let offset = rest.takeHex(), offset < 0x1000 else { return }
        let isExtended = rest.startIndex - start >= 3
        if rest.take(" v") { _ = rest.takeDecimal() }
        guard rest.take("] ") else { return }
        let place = UInt16(offset)
        if isExtended {
            let id = CapabilityNames.extended(rest)
            function.extendedCapabilities.append(CapabilityOffset(id: id ?? 0xffff, offset: place))
            switch id {
            case 0x10:
                part = .sriov
                if function.sriov == nil { function.sriov = SRIOVFacts() }
                function.sriov?.offset = place
            case 0x15: part = .resizable
            case 0x24: part = .resizableVF
            default: break
            }
        } else {
            let id = CapabilityNames.standard(rest)
            function.capabilities.append(CapabilityOffset(id: id ?? 0xffff, offset: place))
            if id == 0x10 {
                part = .express
                var express = function.express ?? ExpressFacts()
                express.offset = place
                express.portType = Self.portType(rest)
                express.hasSlot = Self.sign(rest, after: "(Slot")
                function.express = express
            }
        }
    }

    private static func portType(_ text: TextBytes) -> ExpressPortType? {
        if text.has("Root Complex Integrated Endpoint") { return .integratedEndpoint }
        if text.has("Root Complex Event Collector") { return .eventCollector }
        if text.has("Root Port") { return .rootPort }
        if text.has("Upstream Port") { return .upstreamPort }
        if text.has("Downstream Port") { return .downstreamPort }
        if text.has("PCI-Express to PCI/PCI-X Bridge") || text.has("PCI/PCI-X to") == false && text.has("to PCI") {
            return .bridgeToPCI
        }
        if text.has("to PCI-Express Bridge") { return .bridgeToExpress }
        if text.has("Legacy Endpoint") { return .legacyEndpoint }
        if text.has("Endpoint") { return .endpoint }
        return nil
    }
}
