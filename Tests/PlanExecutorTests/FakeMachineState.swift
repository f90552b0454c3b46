// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// A device of the fake machine: what the hardware holds and, apart from it, what the kernel holds.
struct FakeDevice {
    /// Device and function numbers from the root bus down.
    var hops: [UInt8]
    var ids: UInt32
    /// BAR sizes by index; non-prefetchable 32-bit memory.
    var bars: [Int: UInt64]
    var isBridge = false
    /// Buses that a bridge asks for beyond its own.
    var spareBuses: UInt8 = 0
    var preferredDriver: String?
    /// Whether the driver takes the device only when the administrator says so.
    var isBoundByChoice = false
    /// The function whose VF this is; a VF is there while its function has it enabled.
    var physical: [UInt8]?
    /// Whether the hardware is in its slot.
    var isPresent = true
    var config = [UInt8](repeating: 0, count: 256)

    // What the kernel holds.
    var isKnown = false
    var driver: String?
    var driverOverride: String?
    var lines = [ResourceLine](repeating: .zero, count: 13)
    var buses: BusRange?

    var path: TopologyPath { TopologyPath(segment: 0, rootBus: BusNumber(0), hops: hops) }
}

/// Hardware and kernel of a small machine with one root bus: enough to lose devices in every way that matters.
struct FakeMachineState {
    var devices: [FakeDevice] = []
    var alignment = ""
    static let aperture: ClosedRange<UInt64> = 0x8000_0000...0x8fff_ffff
    /// The bridge whose window registers a rescan will not write, though the kernel's tree has the window.
    var bridgeWithStuckRegisters: [UInt8]?
    /// Whether this kernel gives addresses from the top of a window down.
    var placesHigh = false
    /// Whether this kernel never lets a window grow.
    var neverGrows = false

    static let memoryFlags = ResourceFlags(rawValue: 0x40200)
    static let windowFlags = ResourceFlags(rawValue: 0x200)

    // MARK: Building

    mutating func add(_ hops: [UInt8], ids: UInt32, bars: [Int: UInt64] = [:], bridge: Bool = false, driver: String?) {
        var device = FakeDevice(hops: hops, ids: ids, bars: bars, isBridge: bridge, preferredDriver: driver)
        if bridge { device.lines = Array(repeating: .zero, count: 17) }
        device.config[0] = UInt8(ids >> 16 & 0xff)
        device.config[1] = UInt8(ids >> 24)
        device.config[2] = UInt8(ids & 0xff)
        device.config[3] = UInt8(ids >> 8 & 0xff)
        device.config[0x0e] = bridge ? 1 : 0
        device.config[0x06] = 0x10
        device.config[0x34] = 0x40
        device.config[0x40] = 0x10
        if bridge {
            device.config[0x20] = 0xf0
            device.config[0x21] = 0xff
            // A downstream or root port with a slot, version 2.
            device.config[0x42] = hops.count == 1 ? 0x42 : 0x62
            device.config[0x43] = 0x01
            device.config[0x54] = 0x40
        } else {
            device.config[0x42] = 0x02
        }
        devices.append(device)
        devices.sort { $0.path < $1.path }
    }

    func index(_ hops: [UInt8]) -> Int? { devices.firstIndex { $0.hops == hops } }

    func parent(_ i: Int) -> Int? { index(Array(devices[i].hops.dropLast())) }

    func children(_ i: Int?) -> [Int] {
        let hops = i.map { devices[$0].hops } ?? []
        return devices.indices.filter {
            devices[$0].hops.count == hops.count + 1 && devices[$0].hops.starts(with: hops)
        }
    }

    func address(_ i: Int) -> FunctionAddress {
        let bus = parent(i).flatMap { devices[$0].buses?.first } ?? BusNumber(0)
        return FunctionAddress(bus: bus, devfn: devices[i].hops.last ?? 0)
    }

    func known(_ address: FunctionAddress) -> Int? {
        devices.indices.first { devices[$0].isKnown && self.address($0) == address }
    }

    var tree: TreeState {
        TreeState(
            devices.indices.filter { devices[$0].isKnown }.map {
                let d = devices[$0]
                return FunctionState(
                    address: address($0),
                    path: d.path,
                    ids: d.ids,
                    lines: d.lines,
                    busRange: d.buses
                )
            }
        )
    }

    // MARK: Registers

    mutating func set(_ i: Int, _ offset: Int, _ value: UInt64, bytes: Int) {
        for k in 0..<bytes { devices[i].config[offset + k] = UInt8(truncatingIfNeeded: value >> UInt64(8 * k)) }
    }

    func get(_ i: Int, _ offset: Int, bytes: Int) -> UInt64 {
        (0..<bytes).reduce(0) { $0 | UInt64(devices[i].config[offset + $1]) << UInt64(8 * $1) }
    }

    /// What a read of configuration space gives, presence detection included.
    func config(_ i: Int) -> ConfigSpace {
        guard devices[i].isPresent else { return ConfigSpace(Array(repeating: 0xff, count: 256)) }
        var bytes = devices[i].config
        if devices[i].isBridge, children(i).contains(where: { devices[$0].isPresent }) { bytes[0x5a] |= 0x40 }
        return ConfigSpace(bytes)
    }

    private mutating func writeWindow(_ i: Int) {
        guard devices[i].hops != bridgeWithStuckRegisters else { return }
        let line = devices[i].lines[14]
        if line == .zero {
            set(i, 0x20, 0x0000_fff0, bytes: 4)
        } else {
            set(i, 0x20, line.start >> 16 & 0xfff0 | (line.end >> 16 & 0xfff0) << 16, bytes: 4)
        }
    }

    /// Whether the device answers at the addresses that the kernel shows: every register on the way agrees.
    func works(_ i: Int) -> Bool {
        let device = devices[i]
        guard device.isKnown, device.isPresent else { return false }
        for (bar, _) in device.bars {
            let line = device.lines[bar]
            guard line.isPlacedForTests, get(i, 0x10 + 4 * bar, bytes: 4) == line.start,
                device.config[4] & 2 != 0
            else { return false }
            var above = parent(i)
            while let bridge = above {
                let registers = BridgeRegisters(ConfigSpace(devices[bridge].config))
                guard let range = registers?.memory.range, range.contains(line.start), range.contains(line.end),
                    devices[bridge].config[4] & 2 != 0
                else { return false }
                above = parent(bridge)
            }
        }
        return device.preferredDriver == device.driver
    }

    // MARK: Writes

    /// Does a write as the kernel would; gives the error number when it refuses.
    mutating func perform(_ write: SystemWrite) -> Int32? {
        let notThere: Int32 = 2
        switch write {
        case .remove(let address):
            guard let i = known(address) else { return notThere }
            remove(i)
        case .rescanBus(_, let bus):
            if bus == BusNumber(0) {
                rescan(below: nil, grows: false)
            } else {
                guard let i = devices.indices.first(where: { devices[$0].isKnown && devices[$0].buses?.first == bus })
                else { return notThere }
                rescan(below: i, grows: !children(i).contains { devices[$0].isKnown })
            }
        case .rescanDevice(let address):
            guard let i = known(address) else { return notThere }
            rescan(below: parent(i), grows: false)
        case .rescanAll: rescan(below: nil, grows: false)
        case .config(let address, let offset, let width, let mask, let value):
            guard let i = known(address) else { return notThere }
            let old = UInt32(get(i, offset, bytes: width))
            set(i, offset, UInt64(old & ~mask | value), bytes: width)
        case .resizeBAR(let address, let bar, let exponent):
            guard let i = known(address), devices[i].bars[bar] != nil else { return notThere }
            guard devices[i].driver == nil else { return 16 }
            return resize(i, bar, 1 << UInt64(20 + exponent))
        case .resourceAlignment(let text): alignment = text
        case .unbindDriver(let address):
            guard let i = known(address) else { return notThere }
            devices[i].driver = nil
        case .probeDriver(let address):
            guard let i = known(address) else { return notThere }
            bind(i)
        case .driverOverride(let address, let driver):
            guard let i = known(address) else { return notThere }
            devices[i].driverOverride = driver
        case .sriovNumVFs(let address, let count):
            guard let i = known(address), !virtualFunctions(i).isEmpty else { return notThere }
            return enable(i, count)
        case .slotPower: return notThere
        }
        return nil
    }

    // MARK: VFs

    /// The VFs that a function can have, in order.
    func virtualFunctions(_ i: Int) -> [Int] { devices.indices.filter { devices[$0].physical == devices[i].hops } }

    /// How many VFs a function has.
    func enabledVFs(_ i: Int) -> Int { virtualFunctions(i).count { devices[$0].isPresent } }

    /// Adds VFs to a function, none of them enabled.
    mutating func addVFs(_ count: Int, of hops: [UInt8], ids: UInt32) {
        for k in 1...count {
            let own = Array(hops.dropLast()) + [(hops.last ?? 0) + UInt8(k)]
            add(own, ids: ids, driver: nil)
            guard let i = index(own) else { continue }
            devices[i].physical = hops
            devices[i].isPresent = false
            // A VF has no ids of its own to read.
            for k in 0..<4 { devices[i].config[k] = 0xff }
        }
    }

    /// As the kernel does it: the driver enables them, and another number only from none.
    private mutating func enable(_ i: Int, _ count: Int) -> Int32? {
        let all = virtualFunctions(i)
        guard count <= all.count else { return 34 }
        guard devices[i].driver != nil else { return 2 }
        guard count == 0 || enabledVFs(i) == 0 else { return 16 }
        for (k, virtual) in all.enumerated() {
            devices[virtual].isPresent = k < count
            devices[virtual].isKnown = k < count
        }
        return nil
    }

    private mutating func remove(_ i: Int) {
        for virtual in virtualFunctions(i) {
            devices[virtual].isPresent = false
            devices[virtual].isKnown = false
        }
        for child in children(i) where devices[child].isKnown { remove(child) }
        devices[i].isKnown = false
        devices[i].driver = nil
        devices[i].driverOverride = nil
        devices[i].buses = nil
        devices[i].lines = Array(repeating: .zero, count: devices[i].lines.count)
    }

    private mutating func resize(_ i: Int, _ bar: Int, _ size: UInt64) -> Int32? {
        let old = devices[i].lines[bar]
        devices[i].lines[bar] = .zero
        guard let range = free(size, alignment: size, below: parent(i)) else {
            devices[i].lines[bar] = old
            return 28
        }
        devices[i].bars[bar] = size
        place(i, bar, range)
        return nil
    }

    /// A card is pulled out without a word to the kernel; pciehp then removes it.
    mutating func unplug(_ hops: [UInt8]) {
        for i in devices.indices where devices[i].hops.starts(with: hops) { devices[i].isPresent = false }
        if let i = index(hops), devices[i].isKnown { remove(i) }
    }

    // MARK: Rescan

    private mutating func rescan(below top: Int?, grows: Bool) {
        var found: [Int] = []
        find(top, &found)
        if grows, !neverGrows, let top, !found.isEmpty {
            let need = need(of: top)
            let line = devices[top].lines[14]
            if need > (line == .zero ? 0 : line.end - line.start + 1) {
                devices[top].lines[14] = .zero
                if let range = free(need, alignment: alignment(of: top), below: parent(top)) {
                    devices[top].lines[14] = ResourceLine(start: range.0, end: range.1, flags: Self.windowFlags)
                }
                writeWindow(top)
            } else {
                writeWindow(top)
            }
        }
        for i in found { assign(i) }
        for i in found { bind(i) }
    }

    private mutating func find(_ bridge: Int?, _ found: inout [Int]) {
        for i in children(bridge) where devices[i].isPresent {
            if !devices[i].isKnown {
                if let bridge, devices[bridge].buses == nil { continue }
                devices[i].isKnown = true
                if devices[i].isBridge { number(i) }
                found.append(i)
            }
            if devices[i].isBridge, devices[i].buses != nil { find(i, &found) }
        }
    }

    /// Keeps numbers found in the registers when they are sane, else takes the next free ones.
    private mutating func number(_ i: Int) {
        let outer = parent(i).map { devices[$0].buses } ?? BusRange(first: BusNumber(0), last: BusNumber(255))
        guard let outer else { return }
        var taken = outer.first.rawValue
        for sibling in children(parent(i)) where sibling != i {
            if devices[sibling].isKnown, let buses = devices[sibling].buses { taken = max(taken, buses.last.rawValue) }
        }
        let primary = UInt8(get(i, 0x18, bytes: 1))
        if let range = BusRange(
            first: BusNumber(UInt8(get(i, 0x19, bytes: 1))),
            last: BusNumber(UInt8(get(i, 0x1a, bytes: 1)))
        ), primary == outer.first.rawValue, range.first > outer.first, outer.contains(range),
            !children(parent(i)).contains(where: { devices[$0].isKnown && devices[$0].buses?.overlaps(range) == true })
        {
            devices[i].buses = range
            return
        }
        func depth(_ k: Int) -> Int {
            1 + Int(devices[k].spareBuses)
                + children(k).filter { devices[$0].isBridge && devices[$0].isPresent }.reduce(0) { $0 + depth($1) }
        }
        let first = Int(taken) + 1
        let last = min(Int(outer.last.rawValue), first + depth(i) - 1)
        guard first <= last, let range = BusRange(first: BusNumber(UInt8(first)), last: BusNumber(UInt8(last))) else {
            return
        }
        devices[i].buses = range
        set(i, 0x18, UInt64(outer.first.rawValue), bytes: 1)
        set(i, 0x19, UInt64(first), bytes: 1)
        set(i, 0x1a, UInt64(last), bytes: 1)
    }

    private func size(_ i: Int, _ bar: Int) -> UInt64 {
        let size = devices[i].bars[bar] ?? 0
        guard let entry = alignment.split(separator: "@").first, let order = UInt64(entry), order < 40,
            alignment.hasSuffix(address(i).description)
        else { return size }
        return max(size, 1 << order)
    }

    /// The alignment of a bridge's window: that of the largest BAR below, at least 1 MiB.
    private func alignment(of i: Int) -> UInt64 {
        var result: UInt64 = 1 << 20
        for child in children(i) where devices[child].isPresent {
            result = max(result, alignment(of: child), devices[child].bars.keys.map { size(child, $0) }.max() ?? 1)
        }
        return result
    }

    private func need(of i: Int) -> UInt64 {
        var total: UInt64 = 0
        var sizes: [(size: UInt64, alignment: UInt64)] = []
        for child in children(i) where devices[child].isPresent {
            if devices[child].isBridge { sizes.append((need(of: child), alignment(of: child))) }
            for bar in devices[child].bars.keys.sorted() { sizes.append((size(child, bar), size(child, bar))) }
        }
        for entry in sizes { total = (alignUp(total, entry.alignment) ?? 0) + entry.size }
        return max(alignUp(total, 1 << 20) ?? 0, 2 << 20)
    }

    private mutating func assign(_ i: Int) {
        if devices[i].isBridge {
            if devices[i].buses != nil, let range = free(need(of: i), alignment: alignment(of: i), below: parent(i)) {
                devices[i].lines[14] = ResourceLine(start: range.0, end: range.1, flags: Self.windowFlags)
            }
            writeWindow(i)
        }
        for bar in devices[i].bars.keys.sorted() {
            let bytes = size(i, bar)
            if let range = free(bytes, alignment: bytes, below: parent(i)) { place(i, bar, range) }
        }
    }

    private mutating func place(_ i: Int, _ bar: Int, _ range: (UInt64, UInt64)) {
        devices[i].lines[bar] = ResourceLine(start: range.0, end: range.1, flags: Self.memoryFlags)
        set(i, 0x10 + 4 * bar, range.0, bytes: 4)
    }

    /// First fit in the window of the bridge, or in the aperture.
    private func free(_ size: UInt64, alignment: UInt64, below bridge: Int?) -> (UInt64, UInt64)? {
        var outer = AddressRange(first: Self.aperture.lowerBound, last: Self.aperture.upperBound)
        if let bridge {
            let line = devices[bridge].lines[14]
            guard line != .zero else { return nil }
            outer = AddressRange(first: line.start, last: line.end)
        }
        var taken: [AddressRange] = []
        for i in children(bridge) where devices[i].isKnown {
            for line in devices[i].lines where line != .zero {
                AddressRange(first: line.start, last: line.end).map { taken.append($0) }
            }
        }
        let gaps = outer?.subtracting(taken) ?? []
        for gap in placesHigh ? gaps.reversed() : gaps {
            if placesHigh, gap.last - gap.first >= size - 1 {
                let start = (gap.last - (size - 1)) / alignment * alignment
                if start >= gap.first { return (start, start + size - 1) }
                continue
            }
            if let start = alignUp(gap.first, alignment), start <= gap.last, gap.last - start >= size - 1 {
                return (start, start + size - 1)
            }
        }
        return nil
    }

    private mutating func bind(_ i: Int) {
        guard let driver = devices[i].preferredDriver, devices[i].driver == nil,
            devices[i].driverOverride == driver || !devices[i].isBoundByChoice
        else { return }
        guard devices[i].isBridge || devices[i].bars.keys.allSatisfy({ devices[i].lines[$0].isPlacedForTests }) else {
            return
        }
        devices[i].driver = driver
        devices[i].config[4] |= 0x06
    }
}

extension ResourceLine {
    var isPlacedForTests: Bool { flags.contains(.memory) && start != 0 }
}
