// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What a kernel log says about apertures, implemented resources and their sizes.
///
/// Only what the last boot and the last discovery of each function said counts: a line `[8086:2918] type 00` begins a
/// function anew, `PCI host bridge to bus` a host bridge.
struct KernelLogFacts {
    /// The host bridges by segment and root bus, in the order of the log.
    private(set) var hosts: [Host] = []
    /// What the log says about functions.
    private(set) var functions: [FunctionAddress: LoggedFunction] = [:]
    /// The firmware's memory map.
    private(set) var firmwareMap: [FirmwareMapEntry] = []
    /// Whether the allocator avoids E820 entries, or nil when the log does not say.
    private(set) var usesE820: Bool?
    /// The kernel release that the banner names, or nil.
    private(set) var release: String?
    /// Whether a boot releases windows by itself for VF BARs without address; nil where the log does not say.
    private(set) var reallocatesByItself: Bool?
    /// The names of the slots that acpiphp registered.
    private(set) var acpiSlots: Set<String> = []
    /// The segments whose root bus only the dump of buses told.
    private var dumpedRoots: Set<UInt32> = []
    /// What the negotiation before the next host bridge came to.
    private var pendingNativeHotPlug: Bool?

    /// A host bridge as the log describes it.
    struct Host {
        var segment: UInt32
        var rootBus: BusNumber
        var busRange: BusRange?
        /// Whether the kernel had no bus numbers for the root bus and took all that come after it.
        var lacksNumbers = false
        var apertures: [Aperture] = []
        /// Whether firmware left PCI Express hot-plug to the kernel (_OSC), or nil when the log does not say.
        var hasNativeHotPlug: Bool?
    }

    /// A function as the log describes it.
    struct LoggedFunction {
        /// Whether the discovery line was seen: then every BAR that the function has was listed after it.
        var isDiscovered = false
        /// Whether that line names a bridge.
        var isBridge = false
        /// Whether pciehp announced the slot of the port.
        var isDrivenNatively = false
        /// Bits of resource indexes that the log names.
        var implemented: UInt32 = 0
        /// Bits of resource indexes that the kernel called invalid.
        var invalid: UInt32 = 0
        /// Sizes by index, one each, the latest.
        var sizes: [ResourceEvidence.KnownSize] = []
        /// The sizes that the registers showed at discovery, before a resource_alignment request.
        var discovered: [ResourceIndex: ByteCount] = [:]
        /// The size with which a window was last named.
        var windows: [ResourceIndex: ByteCount] = [:]
        /// Bits of the VF BARs that have no address.
        var unplacedVFs: UInt32 = 0
        /// The addresses over which the kernel refused to enable the device, since it never claimed them.
        var refused: [ResourceIndex: AddressRange] = [:]
        /// The addresses that the kernel could not claim, where no later line gives another.
        var unclaimed: [ResourceIndex: AddressRange] = [:]

        mutating func learn(_ index: ResourceIndex, _ text: RangeText) {
            implemented |= 1 << UInt32(index.rawValue)
            if index.isVFBAR {
                let bit: UInt32 = 1 << UInt32(index.rawValue)
                if (text.range?.first ?? 0) == 0 { unplacedVFs |= bit } else { unplacedVFs &= ~bit }
            }
            guard let size = text.size, size.rawValue > 0, !index.isWindow else { return }
            if isDiscovered, discovered[index] == nil, !index.isVFBAR { discovered[index] = size }
            sizes.removeAll { $0.index == index }
            sizes.append(
                ResourceEvidence.KnownSize(
                    index: index,
                    size: size,
                    flags: text.flags.ofBAR(isROM: index.isROM),
                    source: .kernelLog
                )
            )
        }
    }

    /// The CPU address of a bus address, by the apertures of the segment; the same address where none tells otherwise.
    func cpuAddress(of address: UInt64, isIO: Bool, segment: UInt32) -> UInt64 {
        for host in hosts where host.segment == segment {
            for aperture in host.apertures where aperture.isIO == isIO {
                guard aperture.offset != 0, let bus = aperture.busRange, bus.contains(address) else { continue }
                return address &+ UInt64(bitPattern: aperture.offset)  // Two's complement: modulo 2^64.
            }
        }
        return address
    }

    /// Reads the lines of a log in any of the usual prefixes.
    /// - Complexity: O(number of bytes).
    init(_ lines: [String]) {
        for line in lines { read(Array(line.utf8)[...]) }
    }

    private mutating func read(_ line: TextBytes) {
        guard let line = LogTextLine(line)?.message else { return }
        if let subject = LogTextReader.takeSubject(line) {
            // A driver that asks for another size and is refused keeps what it had, as the reader of texts has it.
            if !LogTextReader.isCore(line), LogTextReader.isRefusal(subject.rest) { return }
            readFunction(subject.address, subject.rest.trimmed)
        } else if let rest = line.after("pci_bus ") {
            readBus(rest)
        } else if let rest = line.after("PCI host bridge to bus ") {
            if let bus = BusRecord.parse(rest.trimmed) { beginHost(bus.segment, bus.bus) }
        } else if let rest = line.after("acpiphp: Slot [") {
            acpiSlots.insert(rest.before("]").string)
        } else if let rest = line.after("_OSC: OS now controls [") {
            pendingNativeHotPlug = rest.before("]").words().contains { $0.string == "PCIeHotplug" }
        } else if line.has("_OSC: platform retains control of PCIe features")
            || line.has("PCIe port services disabled")
        {
            pendingNativeHotPlug = false
        } else if let rest = line.after("BIOS-e820: ") {
            readE820(rest)
        } else if line.has("PCI: Using E820 reservations") {
            usesE820 = true
        } else if line.has("PCI: Ignoring E820 reservations") {
            usesE820 = false
        } else if let rest = line.after("Linux version ") {
            // A new boot: whatever was said before is history.
            self = KernelLogFacts([])
            release = rest.words().first?.string
        }
    }

    // MARK: Host bridges

    private mutating func beginHost(_ segment: UInt32, _ bus: BusNumber) {
        hosts.removeAll { $0.segment == segment && $0.rootBus == bus }
        hosts.append(Host(segment: segment, rootBus: bus, hasNativeHotPlug: pendingNativeHotPlug))
        pendingNativeHotPlug = nil
    }

    private mutating func readBus(_ text: TextBytes) {
        if text.has("No busn resource found for root bus"), let bus = BusRecord.parse(text.before(": ")),
            let i = hosts.firstIndex(where: { $0.segment == bus.segment && $0.rootBus == bus.bus })
        {
            hosts[i].lacksNumbers = true
            return
        }
        if text.has("Some PCI device resources are unassigned"), let root = BusRecord.parse(text.before(": ")) {
            // A kernel that does it by itself says so in these cases (`pci_assign_unassigned_root_bus_resources`).
            if hasUnplacedVFs(below: root.segment, root.bus) { reallocatesByItself = false }
            return
        }
        if text.has("Automatically enabled pci realloc") { reallocatesByItself = true }
        if let root = BusResourceText(text) {
            // The dump after the assignment; where the log tells a root bus otherwise, bus addresses included, that counts.
            guard !hosts.contains(where: { $0.segment == root.segment }) else {
                return dumpedRoots.contains(root.segment) ? takeDumped(root) : ()
            }
            guard root.isFirstOfRoot else { return }
            dumpedRoots.insert(root.segment)
            beginHost(root.segment, root.bus)
            return takeDumped(root)
        }
        guard let resource = text.after("root bus resource "), let bus = BusRecord.parse(text.before(": ")) else {
            return
        }
        if !hosts.contains(where: { $0.segment == bus.segment && $0.rootBus == bus.bus }) {
            beginHost(bus.segment, bus.bus)
        }
        guard let i = hosts.firstIndex(where: { $0.segment == bus.segment && $0.rootBus == bus.bus }) else { return }
        if var numbers = resource.after("[bus "), let first = numbers.takeHex(), first <= 0xff {
            let last = numbers.take("-") ? numbers.takeHex() ?? first : first
            if last <= 0xff {
                hosts[i].busRange = BusRange(first: BusNumber(UInt8(first)), last: BusNumber(UInt8(last)))
            }
            return
        }
        guard let parsed = RangeText.first(in: resource)?.resource, let range = parsed.range else { return }
        var offset: Int64 = 0
        if let there = resource.after("(bus address ").flatMap({ RangeText.first(in: $0)?.resource.range }) {
            offset = Int64(bitPattern: range.first &- there.first)  // Two's complement: an offset may be negative.
        }
        let aperture = Aperture(range: range, flags: parsed.flags, offset: offset)
        if !hosts[i].apertures.contains(aperture) { hosts[i].apertures.append(aperture) }
    }

    /// Whether a function below a root bus has a VF BAR without address.
    private func hasUnplacedVFs(below segment: UInt32, _ root: BusNumber) -> Bool {
        let next = hosts.filter { $0.segment == segment && $0.rootBus > root }.map(\.rootBus).min()
        return functions.contains { address, facts in
            facts.unplacedVFs != 0 && address.segment == segment && address.bus >= root
                && (next.map { address.bus < $0 } ?? true)
        }
    }

    private mutating func takeDumped(_ root: BusResourceText) {
        guard let aperture = root.aperture,
            let i = hosts.firstIndex(where: { $0.segment == root.segment && $0.rootBus == root.bus }),
            !hosts[i].apertures.contains(aperture)
        else { return }
        hosts[i].apertures.append(aperture)
    }

    private mutating func readE820(_ text: TextBytes) {
        guard text.starts("[mem "), let range = RangeText.first(in: text)?.resource.range,
            let type = text.after("]")
        else { return }
        firmwareMap.append(FirmwareMapEntry(range: range, type: type.trimmed.string))
    }

    // MARK: Functions

    private mutating func readFunction(_ address: FunctionAddress, _ message: TextBytes) {
        if message.starts("["), message.has("] type ") {
            functions[address] = LoggedFunction(isDiscovered: true, isBridge: message.has("] type 01"))
            return
        }
        if message.starts("pciehp: Slot #") {
            functions[address, default: LoggedFunction()].isDrivenNatively = true
            return
        }
        var rest = message
        if rest.take("reg ") {
            readRegister(address, rest)
        } else if rest.take("VF BAR ") {
            // The discovery line gives one VF's share; the others the whole block.
            guard let number = rest.takeDecimal(), let index = ResourceIndex.vfBAR(Int(clamping: number)) else {
                return
            }
            guard rest.has("contains BAR") || rest.has("assign") else { return note(address, index) }
            learn(address, index, rest)
        } else if rest.take("VF(n) BAR") {
            guard let number = rest.takeDecimal(), let index = ResourceIndex.vfBAR(Int(clamping: number)) else {
                return
            }
            learn(address, index, rest)
        } else if rest.take("can't claim BAR ") {
            guard let number = rest.takeDecimal(), number <= 5, let index = ResourceIndex(Int(number)) else { return }
            noteUnclaimed(address, index, rest)
        } else if rest.take("ROM ") || rest.take("ROM: ") {
            learn(address, .rom, rest)
        } else if rest.take("BAR ") {
            guard let number = rest.takeDecimal(), number <= 16, let named = ResourceIndex(Int(number)) else { return }
            let isBridge = functions[address]?.isBridge == true
            let kind = RangeText.first(in: rest)?.resource.kind
            let index = OldResourceNumber.window(named, kind, isBridge: isBridge).map(ResourceIndex.window) ?? named
            if rest.has("invalid") {
                functions[address, default: LoggedFunction()].invalid |= 1 << UInt32(index.rawValue)
                return
            }
            if !index.isWindow { learn(address, index, rest) }
            if index.isBAR, rest.has("not claimed"), let range = RangeText.first(in: rest)?.resource.range,
                range.first != 0
            {
                functions[address, default: LoggedFunction()].refused[index] = range
            } else if index.isBAR, rest.has("assign") || rest.has("releasing") || rest.has("set to") {
                functions[address]?.refused[index] = nil
                functions[address]?.unclaimed[index] = nil
            }
            if index.isBAR, rest.has("can't claim") { noteUnclaimed(address, index, rest) }
            if index.isWindow {
                note(address, index)
                if let parsed = RangeText.first(in: rest)?.resource { learnWindow(address, index, parsed) }
            }
        } else if rest.take("bridge window "), let parsed = RangeText.take(&rest), let kind = parsed.kind {
            let window = ResourceIndex.window(kind)
            note(address, window)
            learnWindow(address, window, parsed)
        }
    }

    private mutating func readRegister(_ address: FunctionAddress, _ text: TextBytes) {
        var rest = text
        let hasPrefix = rest.take("0x")
        guard let offset = rest.takeHex(), rest.take(": ") || hasPrefix else { return }
        // What lies within a capability is a VF BAR's share only.
        guard let index = ResourceIndex.ofRegister(offset) else { return }
        if rest.has("invalid") {
            functions[address, default: LoggedFunction()].invalid |= 1 << UInt32(index.rawValue)
        } else {
            learn(address, index, rest)
        }
    }

    private mutating func noteUnclaimed(_ address: FunctionAddress, _ index: ResourceIndex, _ text: TextBytes) {
        guard let range = RangeText.first(in: text)?.resource.range, range.first != 0 else { return }
        functions[address, default: LoggedFunction()].unclaimed[index] = range
    }

    private mutating func note(_ address: FunctionAddress, _ index: ResourceIndex) {
        functions[address, default: LoggedFunction()].implemented |= 1 << UInt32(index.rawValue)
    }

    private mutating func learnWindow(_ address: FunctionAddress, _ window: ResourceIndex, _ text: RangeText) {
        guard let size = text.size, size.rawValue > 0 else { return }
        functions[address, default: LoggedFunction()].windows[window] = size
    }

    private mutating func learn(_ address: FunctionAddress, _ index: ResourceIndex, _ text: TextBytes) {
        guard let parsed = RangeText.first(in: text)?.resource else { return }
        functions[address, default: LoggedFunction()].learn(index, parsed)
    }
}
