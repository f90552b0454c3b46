// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What a kernel holds, as flat numbers: enough to judge a state, and cheap to take.
///
/// Functions have numbers: those of the topology that the twin was made from keep their positions there; functions that
/// come later get the next ones. Numbers stay when functions are removed, found again or renumbered.
public struct TwinSummary: Sendable {
    /// Resource indices per function.
    public static let width = 17

    /// Per function: the kernel knows it.
    public internal(set) var isKnown: [Bool]
    /// Per function: it is a VF.
    public internal(set) var isVirtual: [Bool]
    /// Per function and index (`number * width + index`): the bytes that the kernel holds, 0 without an address.
    public internal(set) var sizes: [UInt64]
    /// Per function and index: the first address where `sizes` is not 0.
    public internal(set) var starts: [UInt64]
    /// Per function: a bit for each BAR that is implemented and has no address.
    public internal(set) var lacking: [UInt32]
    /// Per function: a bit for each of those BARs that the kernel forgot (`reset_resource`).
    public internal(set) var wiped: [UInt32]
    /// Per function: a bit for each BAR with an address that a bridge above does not forward.
    public internal(set) var unreachable: [UInt32]
    /// Per function: a bit for each BAR or ROM whose size in the kernel is not the size in hardware.
    public internal(set) var inflated: [UInt32]
    /// Per bridge: a bit for each window (0 I/O, 1 memory, 2 prefetchable) that the kernel holds and the registers do not.
    public internal(set) var diverging: [UInt8]
    /// Per function: the bus range behind it, or nil.
    public internal(set) var buses: [BusRange?]
    /// Per function: the number of enabled VFs.
    public internal(set) var enabledVFs: [Int32]
    /// Equal for equal states, registers of bridges included; differs for others but for chance.
    public internal(set) var key: UInt64 = 0
    /// Functions outside of this list are as they were when counting began, ascending; nil: any function may differ.
    public internal(set) var touched: [Int]?
    /// Per function: its part of `key`.
    var keys: [UInt64]

    /// The number of functions.
    public var count: Int { isKnown.count }
}

extension LinuxTwin {
    /// What the kernel holds now.
    /// - Complexity: O(number of resources + BARs x depth).
    public func summary() -> TwinSummary {
        let count = Int(state.devices.count)
        let width = TwinSummary.width
        var summary = TwinSummary(
            isKnown: Array(repeating: false, count: count),
            isVirtual: Array(repeating: false, count: count),
            sizes: Array(repeating: 0, count: count * width),
            starts: Array(repeating: 0, count: count * width),
            lacking: Array(repeating: 0, count: count),
            wiped: Array(repeating: 0, count: count),
            unreachable: Array(repeating: 0, count: count),
            inflated: Array(repeating: 0, count: count),
            diverging: Array(repeating: 0, count: count),
            buses: Array(repeating: nil, count: count),
            enabledVFs: Array(repeating: 0, count: count),
            keys: Array(repeating: 0, count: count)
        )
        var windows = KnownWindows(count: count)
        for device in 0..<state.devices.count where state.devices[device].exists {
            look(at: device, &summary, &windows)
        }
        return summary
    }

    /// Takes a summary from which `update(_:)` goes on.
    ///
    /// - Parameter countsTouched: whether `touched` is counted from here.
    /// - Returns: what the kernel holds now.
    public mutating func beginSummary(countsTouched: Bool) -> TwinSummary {
        var summary = summary()
        if countsTouched { summary.touched = [] }
        state.forgetChanges()
        return summary
    }

    /// Brings a summary of an earlier state of this twin up to date.
    ///
    /// - Parameter summary: what `beginSummary(countsTouched:)` or the last call gave.
    /// - Complexity: that of a summary of the functions that operations touched since, and of those below bridges among
    ///   them.
    public mutating func update(_ summary: inout TwinSummary) {
        defer { state.forgetChanges() }
        guard summary.count == Int(state.devices.count) else { return summary = self.summary() }
        let changed = changedFunctions(since: summary)
        guard !changed.isEmpty else { return }
        var windows = KnownWindows(count: summary.count)
        for device in changed {
            summary.forget(Int(device))
            if state.devices[device].exists { look(at: device, &summary, &windows) }
        }
        guard let known = summary.touched else { return }
        var isTouched = [Bool](repeating: false, count: summary.count)
        for i in known { isTouched[i] = true }
        for device in changed { isTouched[Int(device)] = true }
        summary.touched = isTouched.indices.filter { isTouched[$0] }
    }

    /// The functions of which something changed since the marks were taken away, and those below bridges among them, whose
    /// way to the root may have changed.
    private func changedFunctions(since summary: TwinSummary) -> [Int32] {
        var isChanged = [Bool](repeating: false, count: summary.count)
        var result: [Int32] = []
        func add(_ device: Int32) {
            guard !isChanged[Int(device)] else { return }
            isChanged[Int(device)] = true
            result.append(device)
        }
        state.devices.forEachChanged(add)
        state.registers.forEachChanged(add)
        state.resources.forEachChanged { if state.owners[$0] != none { add(state.owners[$0]) } }
        // Bus numbers belong to nobody.
        for device in 0..<state.devices.count where state.devices[device].exists {
            let below = state.devices[device].subordinate
            if (below == none ? nil : state.busRange(below)) != summary.buses[Int(device)] { add(device) }
        }
        // By the way up, which written numbers can part from the way down.
        for device in 0..<state.devices.count where state.devices[device].exists && !isChanged[Int(device)] {
            var bus = state.devices[device].bus
            for _ in 0..<256 where bus != none {
                let above = state.buses[bus].bridge
                guard above != none else { break }
                if isChanged[Int(above)] {
                    add(device)
                    break
                }
                // Of those with lower numbers it is known already that nothing above them changed.
                if above < device, state.devices[above].exists { break }
                bus = state.devices[above].bus
            }
        }
        return result
    }

    private func look(at device: Int32, _ summary: inout TwinSummary, _ windows: inout KnownWindows) {
        let held = state.devices[device]
        let d = Int(device)
        let first = state.facts[device].firstResource
        summary.isKnown[d] = true
        summary.isVirtual[d] = held.isVirtualFunction
        summary.enabledVFs[d] = held.enabledVFs
        // A mixing step of FNV-1a over words, which is defined modulo 2^64.
        var key: UInt64 = 0xcbf2_9ce4_8422_2325
        func mix(_ value: UInt64) { key = (key ^ value ^ value >> 29) &* 0x100_0000_01b3 }
        mix(UInt64(UInt32(bitPattern: device)) << 32 | UInt64(UInt32(bitPattern: held.bus)))
        if held.subordinate != none, let range = state.busRange(held.subordinate) {
            summary.buses[d] = range
            mix(UInt64(range.first.rawValue) << 8 | UInt64(range.last.rawValue))
        }
        mix(UInt64(state.buses[held.bus].number) << 16 | UInt64(held.isBound ? 1 : 0))
        for index in 0..<state.facts[device].resourceCount {
            let node = state.resources[first &+ index]
            guard node.flags != 0 || node.parent != none else { continue }
            let at = d * TwinSummary.width + Int(index)
            if node.parent != none {
                summary.sizes[at] = node.size
                summary.starts[at] = node.start
            }
            mix(UInt64(index) << 32 | UInt64(node.flags))
            mix(node.start)
            mix(node.end)
        }
        if state.facts[device].headerLayout == 1 {
            let r = state.registers[device]
            mix(UInt64(r.primary) | UInt64(r.secondary) << 8 | UInt64(r.subordinate) << 16 | UInt64(r.command) << 24)
            mix(UInt64(r.ioBase) | UInt64(r.ioLimit) << 8 | UInt64(r.ioBaseUpper) << 16 | UInt64(r.ioLimitUpper) << 32)
            mix(
                UInt64(r.memoryBase) | UInt64(r.memoryLimit) << 16 | UInt64(r.prefetchBase) << 32
                    | UInt64(r.prefetchLimit) << 48
            )
            mix(UInt64(r.prefetchBaseUpper) | UInt64(r.prefetchLimitUpper) << 32)
            if held.subordinate != none {
                let forwarded = ForwardedRanges(r, state.facts[device])
                windows.ranges[d] = forwarded
                for n in Int32(0)..<3 where state.resources[first &+ 13 &+ n].parent != none {
                    let node = state.resources[first &+ 13 &+ n]
                    let offset = state.offset(of: first &+ 13 &+ n, on: held.bus)
                    let isSame = forwarded.isExactly(Int(n), node.start &- offset, node.end &- offset)
                    if !isSame { summary.diverging[d] |= 1 << UInt8(n) }
                }
            }
        }
        if !held.isVirtualFunction { lookAtBARs(of: device, &summary, &windows) }
        // Parts are added up, so that one can be taken out again: each is mixed well before (the finalizer of SplitMix64).
        key = (key ^ key >> 30) &* 0xbf58_476d_1ce4_e5b9
        key = (key ^ key >> 27) &* 0x94d0_49bb_1331_11eb
        key ^= key >> 31
        summary.keys[d] = key
        summary.key &+= key
    }

    private func lookAtBARs(of device: Int32, _ summary: inout TwinSummary, _ windows: inout KnownWindows) {
        let d = Int(device)
        let first = state.facts[device].firstResource
        for bar in 0..<Int32(6) {
            let size = state.registers[device].sizes[Int(bar)]
            guard size > 0, state.facts[device].bars[Int(bar)].flags != 0 else { continue }
            let node = state.resources[first &+ bar]
            let bit: UInt32 = 1 << UInt32(bar)
            if node.parent != none {
                if node.size > size { summary.inflated[d] |= bit }
                if !isForwarded(first &+ bar, to: device, &windows) { summary.unreachable[d] |= bit }
            } else if node.flags == 0 {
                summary.lacking[d] |= bit
                summary.wiped[d] |= bit
            } else if node.assignment(of: bar).lacksAddress {
                summary.lacking[d] |= bit
            }
        }
        let rom = state.resources[first &+ 6]
        if rom.parent != none, state.registers[device].romSize > 0, rom.size > state.registers[device].romSize {
            summary.inflated[d] |= 1 << 6
        }
    }

    private func isForwarded(_ resource: Int32, to device: Int32, _ windows: inout KnownWindows) -> Bool {
        let node = state.resources[resource]
        let bus = state.devices[device].bus
        // Behind a bridge that the kernel has forgotten nothing is told of the way up.
        guard bus != none else { return false }
        var bridge = state.buses[bus].bridge
        if bridge != none, !state.translates {
            // What lies in a window that gets through does so too.
            let window = node.parent &- state.facts[bridge].firstResource &- 13
            if window >= 0, window < 3, isForwarded(window: window, of: bridge, &windows) { return true }
        }
        let offset = state.offset(of: resource, on: bus)
        let base = node.start &- offset
        let last = node.end &- offset
        while bridge != none {
            if !state.devices[bridge].isTransparent {
                let known = windows.ranges[Int(bridge)] ?? ForwardedRanges(state.registers[bridge], state.facts[bridge])
                windows.ranges[Int(bridge)] = known
                guard known.contains(base, last, isIO: node.flags & Flag.io != 0) else { return false }
            }
            guard state.devices[bridge].bus != none else { return false }
            bridge = state.buses[state.devices[bridge].bus].bridge
        }
        return true
    }

    /// Whether a window is forwarded whole, by its bridge and by all above.
    private func isForwarded(window n: Int32, of bridge: Int32, _ windows: inout KnownWindows) -> Bool {
        let slot = Int(bridge) * 3 + Int(n)
        if windows.verdicts[slot] != 0 { return windows.verdicts[slot] == 1 }
        var answer = true
        if !state.devices[bridge].isTransparent {
            let node = state.resources[state.facts[bridge].firstResource &+ 13 &+ n]
            let known = windows.ranges[Int(bridge)] ?? ForwardedRanges(state.registers[bridge], state.facts[bridge])
            windows.ranges[Int(bridge)] = known
            answer = known.contains(node.start, node.end, isIO: node.flags & Flag.io != 0)
        }
        if answer { answer = isForwarded(state.facts[bridge].firstResource &+ 13 &+ n, to: bridge, &windows) }
        windows.verdicts[slot] = answer ? 1 : 2
        return answer
    }
}

extension TwinSummary {
    /// Takes out what is said of a function, as if the kernel did not know it.
    fileprivate mutating func forget(_ i: Int) {
        isKnown[i] = false
        isVirtual[i] = false
        for at in i * Self.width..<(i + 1) * Self.width {
            sizes[at] = 0
            starts[at] = 0
        }
        lacking[i] = 0
        wiped[i] = 0
        unreachable[i] = 0
        inflated[i] = 0
        diverging[i] = 0
        buses[i] = nil
        enabledVFs[i] = 0
        key &-= keys[i]
        keys[i] = 0
    }

    /// The functions that may be other than they were when counting began, ascending.
    public var candidates: [Int] { touched ?? Array(0..<count) }
}

extension TwinState {
    /// Takes the marks of changes away.
    fileprivate mutating func forgetChanges() {
        devices.forgetChanges()
        registers.forgetChanges()
        resources.forgetChanges()
    }
}

/// What was found out of bridges' registers while a summary is taken.
private struct KnownWindows {
    /// Per function: what its registers forward, once somebody asked.
    var ranges: [ForwardedRanges?]
    /// Per bridge and window: 0 not known, 1 forwarded to the root bus, 2 not.
    var verdicts: [UInt8]

    init(count: Int) {
        ranges = Array(repeating: nil, count: count)
        verdicts = Array(repeating: 0, count: count * 3)
    }
}

/// What a bridge's registers forward: bus addresses, inclusive at both ends; closed where the base is above the limit.
struct ForwardedRanges {
    private var io: (base: UInt64, last: UInt64)
    private var memory: (base: UInt64, last: UInt64)
    private var prefetchable: (base: UInt64, last: UInt64)

    init(_ held: FunctionRegisters, _ facts: FunctionFacts) {
        io = (UInt64(held.ioBase) << 8, UInt64(held.ioLimit) << 8 | (facts.hasIO1K ? 0x3ff : 0xfff))
        if facts.hasIO32 {
            io.base |= UInt64(held.ioBaseUpper) << 16
            io.last |= UInt64(held.ioLimitUpper) << 16
        }
        if !facts.hasIOWindow { io = (1, 0) }
        memory = (UInt64(held.memoryBase) << 16, UInt64(held.memoryLimit) << 16 | 0xf_ffff)
        prefetchable = (UInt64(held.prefetchBase) << 16, UInt64(held.prefetchLimit) << 16 | 0xf_ffff)
        if facts.hasPrefetch64 {
            prefetchable.base |= UInt64(held.prefetchBaseUpper) << 32
            prefetchable.last |= UInt64(held.prefetchLimitUpper) << 32
        }
        if !facts.hasPrefetchWindow { prefetchable = (1, 0) }
    }

    /// Whether window `n` (0 I/O, 1 memory, 2 prefetchable) is open and this range.
    func isExactly(_ n: Int, _ base: UInt64, _ last: UInt64) -> Bool {
        let window = n == 0 ? io : n == 1 ? memory : prefetchable
        return window.base == base && window.last == last
    }

    func contains(_ base: UInt64, _ last: UInt64, isIO: Bool) -> Bool {
        func holds(_ window: (base: UInt64, last: UInt64)) -> Bool {
            window.base <= window.last && window.base <= base && last <= window.last
        }
        return isIO ? holds(io) : holds(memory) || holds(prefetchable)
    }
}

// Numbers and single registers.
extension LinuxTwin {
    /// The number of the function at an address, or nil when the kernel knows none there.
    public func number(of address: FunctionAddress) -> Int? { position(of: address).map { Int($0) } }

    /// The address of a function by number, or nil when the kernel does not know it.
    public func address(ofNumber number: Int) -> FunctionAddress? {
        guard number >= 0, number < Int(state.devices.count), state.devices[Int32(number)].exists else { return nil }
        return state.address(Int32(number))
    }

    /// The bus that a function sits on, or nil when the kernel does not know it.
    public func bus(ofNumber number: Int) -> BusNumber? { address(ofNumber: number)?.bus }

    /// What the kernel would write to the window registers of a bridge (`__pci_setup_bridge`), as dwords or words at their
    /// offsets; empty for a function that is no bridge.
    public func windowRegisters(ofNumber number: Int) -> [(offset: Int, width: Int, value: UInt32)] {
        let device = Int32(truncatingIfNeeded: number)
        guard address(ofNumber: number) != nil, state.devices[device].subordinate != none else { return [] }
        var copy = state
        copy.records = false
        copy.programBridge(state.devices[device].subordinate)
        var result: [(offset: Int, width: Int, value: UInt32)] = []
        func add(_ offset: Int, _ width: Int) {
            guard let value = copy.readRegister(device, at: offset) else { return }
            result.append((offset, width, width == 2 ? value & 0xffff : value))
        }
        if state.facts[device].hasIOWindow {
            add(0x1c, 2)
            if state.facts[device].hasIO32 { add(0x30, 4) }
        }
        add(0x20, 4)
        if state.facts[device].hasPrefetchWindow {
            add(0x24, 4)
            if state.facts[device].hasPrefetch64 {
                add(0x28, 4)
                add(0x2c, 4)
            }
        }
        return result
    }

    /// An aligned register of 1, 2 or 4 bytes in a function's configuration space; nil for a function that the kernel does
    /// not know, and beyond what was read.
    public func register(of address: FunctionAddress, at offset: Int, width: Int) -> UInt32? {
        guard let device = position(of: address) else { return nil }
        return register(ofNumber: Int(device), at: offset, width: width)
    }

    /// The same for a function by number: it need not be looked for.
    public func register(ofNumber number: Int, at offset: Int, width: Int) -> UInt32? {
        guard width == 1 || width == 2 || width == 4, offset >= 0, offset % width == 0, offset + width <= 4096,
            number >= 0, number < Int(state.devices.count), state.devices[Int32(number)].exists
        else { return nil }
        let device = Int32(number)
        if let value = state.readRegister(device, at: offset & ~3) {
            let part = value >> UInt32((offset & 3) * 8)
            return width == 4 ? part : part & ((1 << UInt32(width * 8)) - 1)
        }
        let original = state.facts[device].original
        guard original != none else { return nil }
        let config = originals[Int(original)].config
        switch width {
        case 1: return config.byte(offset).map(UInt32.init)
        case 2: return config.word(offset).map(UInt32.init)
        default: return config.long(offset)
        }
    }
}
