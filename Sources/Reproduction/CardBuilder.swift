// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
public import PCITopology

/// A BAR of an emulated device that stands for one of the report.
public struct StandIn: Hashable, Sendable {
    /// The BAR of the emulated device; 7 for the block of its VFs.
    public var bar: Int
    /// The function of the report.
    public var address: FunctionAddress
    /// Its resource.
    public var index: ResourceIndex
    /// How the two differ, a clause; nil when they ask for the same.
    public var difference: String?
}

/// An emulated device in its place, with what is behind it.
public struct EmulatedNode: Hashable, Sendable {
    /// The device.
    public var device: EmulatedDevice
    /// Device times 8 plus function on its bus.
    public var devfn: UInt8
    /// The number in the machine, which gives the node its name; set by the machine.
    public internal(set) var number = 0
    /// Whether the device has further functions.
    public var hasSiblings = false
    /// What stands for BARs of the report.
    public var standIns: [StandIn] = []
    /// The bridge of the report that this one stands for, or nil.
    public var bridge: FunctionAddress?
    /// The room that a root port asks firmware for, or nil.
    public var reserve: PortReserve?
    /// The number of the host bridge that a root port belongs to: 0 is the chipset's, each further one a root bus of its own.
    public internal(set) var host = 0
    /// What is behind it when the machine starts.
    public var children: [EmulatedNode] = []
    /// What is plugged in behind it while the machine runs.
    public var plugged: [EmulatedNode] = []

    /// Creates a node.
    public init(_ device: EmulatedDevice, devfn: UInt8 = 0, bridge: FunctionAddress? = nil) {
        self.device = device
        self.devfn = devfn
        self.bridge = bridge
    }

    /// QEMU's name of the device and of the bus behind it.
    public var name: String { "d\(number)" }

    /// Numbers the node and all that is behind it.
    mutating func number(from next: inout Int) {
        number = next
        next += 1
        for i in children.indices { children[i].number(from: &next) }
        for i in plugged.indices { plugged[i].number(from: &next) }
    }

    /// The node and all that is behind it, plugged or not.
    var all: [EmulatedNode] { [self] + (children + plugged).flatMap(\.all) }

    /// The node with all that is behind it from the start, as a twin needs it.
    var function: CardFunction {
        var bridge = device.bridge
        bridge?.children = children.map(\.function)
        return CardFunction(
            devfn: devfn,
            identity: device.identity,
            bars: device.bars,
            portType: device.portType,
            bridge: bridge,
            sriov: device.sriov,
            hasARI: device.virtualFunctions > 0,
            hasErrorReporting: device.bridge != nil
        )
    }
}

/// Turns functions of a report into emulated devices that ask for the same, as far as QEMU has them.
struct CardBuilder {
    let topology: Topology
    /// The resources that have to fail: they are never left out.
    let failing: Set<ResourceKey>
    /// What could not be built as it is, a sentence each.
    private(set) var notes: [String] = []

    init(_ topology: Topology, failing: Set<ResourceKey>) {
        self.topology = topology
        self.failing = failing
    }

    /// The emulated functions for the functions `members` of one device, placed at `device`, functions 0, 1, ….
    mutating func endpoint(_ members: [Int], device: UInt8) -> [EmulatedNode] {
        var nodes: [EmulatedNode] = []
        for i in members { nodes += functions(for: topology.functions[i]) }
        // Blocks of VFs come after the BARs of all functions, as the kernel assigns what it can do without last.
        func isBlock(_ node: EmulatedNode) -> Bool {
            !node.standIns.isEmpty && node.standIns.allSatisfy(\.index.isVFBAR)
        }
        nodes = nodes.filter { !isBlock($0) } + nodes.filter(isBlock)
        if nodes.count > 8 {
            // Those that need not fail go first.
            let needed = nodes.filter { $0.standIns.contains { failing.contains(ResourceKey($0.address, $0.index)) } }
            let name = members.first.map { topology.functions[$0].address.description } ?? "a device"
            notes.append("\(name): \(nodes.count) emulated functions would be needed, a device has room for 8")
            nodes = Array((needed + nodes.filter { !needed.contains($0) }).prefix(8))
        }
        return Self.numbered(nodes, device: device)
    }

    /// The nodes as functions 0, 1, … of one device.
    ///
    /// One with SR-IOV is function 0 only when it is alone: with its ARI capability there, the kernel would look for no
    /// further functions.
    static func numbered(_ nodes: [EmulatedNode], device: UInt8) -> [EmulatedNode] {
        var nodes = nodes.filter { $0.device.virtualFunctions == 0 } + nodes.filter { $0.device.virtualFunctions > 0 }
        for n in nodes.indices {
            nodes[n].devfn = device << 3 | UInt8(truncatingIfNeeded: n)
            nodes[n].hasSiblings = nodes.count > 1
        }
        return nodes
    }

    /// The emulated functions for one function of the report.
    private mutating func functions(for function: Function) -> [EmulatedNode] {
        let bars = function.resources.filter { $0.index.isBAR }
        noteWhatIsLeftOut(function)
        let virtual = blocks(of: function)
        if let known = known(function, bars) { return Self.joined([known], virtual) }
        var left = bars
        var nodes: [EmulatedNode] = []
        func standIn(_ bar: Int, _ resource: Resource, _ difference: String? = nil) -> StandIn {
            StandIn(bar: bar, address: function.address, index: resource.index, difference: difference)
        }
        // A controller has one register BAR and up to two large ones: a frequent shape, kept in one function.
        if let first = left.firstIndex(where: { $0.isPlainMemory && $0.is64Bit }), let size = left[first].bytes {
            let large = left.filter(\.isWidePrefetchable)
            let buffer = large.first { ($0.bytes ?? 0) >= 1 << 20 }
            if large.count <= 1, let device = EmulatedDevice.controller(size, buffer: buffer?.bytes) {
                var node = EmulatedNode(device)
                node.standIns = [standIn(0, left[first])]
                if let buffer { node.standIns.append(standIn(2, buffer)) }
                let taken = Set(node.standIns.map(\.index))
                left.removeAll { taken.contains($0.index) }
                nodes.append(node)
            }
        }
        var hasPorts = false
        for resource in left where resource.isWidePrefetchable {
            guard let size = resource.bytes else { continue }
            let wantsPorts = !hasPorts && left.contains { $0.kind == .io }
            var node = EmulatedNode(wantsPorts ? .testDevice(size) : .sharedMemory(max(size, 4096)))
            node.standIns = [standIn(2, resource, size < 4096 ? "4K instead of \(ByteCount(size))" : nil)]
            if wantsPorts, let io = left.first(where: { $0.kind == .io }) {
                hasPorts = true
                node.standIns.append(standIn(1, io, io.bytes == 256 ? nil : "256 ports"))
            }
            nodes.append(node)
        }
        for resource in left where resource.kind == .prefetchable && !resource.is64Bit {
            guard let size = resource.bytes else { continue }
            if let device = EmulatedDevice.display(min(max(size, 1 << 20), 1 << 28)) {
                var node = EmulatedNode(device)
                let isSame = size >= 1 << 20 && size <= 1 << 28
                node.standIns = [standIn(0, resource, isSame ? nil : "another size than \(ByteCount(size))")]
                nodes.append(node)
            }
        }
        for resource in left where resource.isPlainMemory {
            for (device, difference) in Self.plain(resource) {
                var node = EmulatedNode(device)
                node.standIns = [standIn(0, resource, difference)]
                nodes.append(node)
            }
        }
        let placed = Set(nodes.flatMap(\.standIns).map(\.index))
        for resource in left where resource.kind == .io && !placed.contains(resource.index) {
            // Of ports that work one block will do.
            let isFailing = failing.contains(ResourceKey(function.address, resource.index))
            guard let size = resource.bytes, isFailing || !hasPorts else { continue }
            hasPorts = true
            let device = EmulatedDevice.ports(size)
            let built = device.bars[0].size
            var node = EmulatedNode(device)
            node.standIns = [standIn(0, resource, built == size ? nil : "\(built) ports")]
            nodes.append(node)
        }
        nodes = Self.joined(nodes, virtual)
        if nodes.count > 1 {
            notes.append("\(function.address): its BARs stand in \(nodes.count) functions of one emulated device")
        }
        for n in nodes {
            for standIn in n.standIns {
                guard let difference = standIn.difference else { continue }
                notes.append("\(function.address) \(standIn.index): \(difference)")
            }
        }
        return nodes
    }

    /// What stands for a memory BAR that is not prefetchable, with the difference.
    private static func plain(_ resource: Resource) -> [(EmulatedDevice, String?)] {
        guard let size = resource.bytes else { return [] }
        let width = resource.is64Bit ? "a 32-bit BAR" : nil
        switch size {
        case ...256: return [(.smallest, size == 256 ? width : "256 bytes")]
        case ...4096: return [(.fourKiB, size == 4096 ? width : "4K")]
        case 0x4000 where !resource.is64Bit: return [(.sixteenKiB, nil)]
        case 0x2_0000 where !resource.is64Bit: return [(.network, nil)]
        case 1 << 20 where !resource.is64Bit: return [(.edu, nil)]
        case ...(1 << 20):
            let next = EmulatedDevice.controllerSizes.first { $0 >= size } ?? 1 << 20
            guard let device = EmulatedDevice.controller(next) else { return [] }
            var words: [String] = []
            if next != size { words.append("\(ByteCount(next)) instead of \(ByteCount(size))") }
            if !resource.is64Bit { words.append("a 64-bit BAR") }
            return [(device, words.isEmpty ? nil : words.joined(separator: ", "))]
        case ..<(1 << 24):
            let count = Int(size >> 20)
            let words = "\(count) BARs of 1M instead of one of \(ByteCount(size))"
            return Array(repeating: (.edu, words), count: min(count, 8))
        default:
            let built = min(size, 1 << 30)
            guard let device = EmulatedDevice.frameBuffer(built) else { return [] }
            return [(device, built == size ? width : "\(ByteCount(built)) instead of \(ByteCount(size))")]
        }
    }

    /// The device itself when the report comes from an emulated machine.
    private func known(_ function: Function, _ bars: [Resource]) -> EmulatedNode? {
        func size(_ bar: Int) -> UInt64? { bars.first { $0.index.rawValue == bar }?.bytes }
        let device: EmulatedDevice?
        switch (function.identity.vendor, function.identity.device) {
        case (0x1b36, 0x0005): device = .testDevice(size(2))
        case (0x1af4, 0x1110): device = size(2).map { .sharedMemory($0) }
        case (0x1234, 0x11e8): device = .edu
        case (0x1b36, 0x0010): device = size(0).flatMap { .controller($0, buffer: size(2), memory: size(4)) }
        case (0x1234, 0x1111): device = size(0).flatMap { .display($0) }
        default: device = nil
        }
        guard let device else { return nil }
        let shape = Dictionary(device.bars.map { ($0.index, $0.size) }, uniquingKeysWith: { first, _ in first })
        guard bars.allSatisfy({ shape[Int($0.index.rawValue)] == $0.bytes }) else { return nil }
        var node = EmulatedNode(device)
        node.standIns = bars.map {
            StandIn(bar: Int($0.index.rawValue), address: function.address, index: $0.index, difference: nil)
        }
        return node
    }

    /// Functions and blocks of VFs; a controller whose registers are as large as a physical function's holds one of them.
    private static func joined(_ nodes: [EmulatedNode], _ virtual: [EmulatedNode]) -> [EmulatedNode] {
        var nodes = nodes
        var virtual = virtual
        if let block = virtual.firstIndex(where: { $0.device.virtualFunctions > 0 }),
            let plain = nodes.firstIndex(where: {
                $0.device.driver == virtual[block].device.driver && $0.device.bars == virtual[block].device.bars
            })
        {
            nodes[plain].device = virtual[block].device
            nodes[plain].standIns += virtual[block].standIns
            virtual.remove(at: block)
        }
        return nodes + virtual
    }

    /// The blocks of a function's VFs that fail, each as that of a physical function of its own; as a plain BAR where no
    /// emulated VF has a BAR of the kind or the block is too large. Blocks that have their place are left out.
    private mutating func blocks(of function: Function) -> [EmulatedNode] {
        let all = function.resources.filter { $0.index.isVFBAR }
        let wanted = all.filter { failing.contains(ResourceKey(function.address, $0.index)) }
        if wanted.count < all.count {
            notes.append("\(function.address): its virtual functions that work are left out")
        }
        var nodes: [EmulatedNode] = []
        for resource in wanted {
            guard let size = resource.wanted else { continue }
            let count = (size + EmulatedDevice.sizeOfVF - 1) / EmulatedDevice.sizeOfVF
            var node: EmulatedNode
            var words: [String] = []
            let bar: Int
            if resource.isPlainMemory, count <= EmulatedDevice.maximumVFs {
                node = EmulatedNode(.physicalFunction(Int(count)))
                bar = 7
                let built = count * EmulatedDevice.sizeOfVF
                if built != size { words.append("\(ByteCount(built)) instead of \(ByteCount(size))") }
                if !resource.is64Bit { words.append("a 64-bit BAR") }
                let each = resource.alignment?.rawValue ?? EmulatedDevice.sizeOfVF
                if each != EmulatedDevice.sizeOfVF {
                    words.append("\(count) VFs of \(ByteCount(EmulatedDevice.sizeOfVF)), not of \(ByteCount(each))")
                }
            } else {
                let isPlain = resource.isPlainMemory
                let built = min(max(size.roundedUpToPowerOfTwo, isPlain ? 1 << 24 : 4096), isPlain ? 1 << 30 : 1 << 38)
                guard let device = isPlain ? EmulatedDevice.frameBuffer(built) : .sharedMemory(built) else { continue }
                node = EmulatedNode(device)
                bar = isPlain ? 0 : 2
                words.append("a BAR of \(ByteCount(built)) stands for the block of the VFs")
            }
            let difference = words.isEmpty ? nil : words.joined(separator: ", ")
            node.standIns = [
                StandIn(bar: bar, address: function.address, index: resource.index, difference: difference)
            ]
            if let difference { notes.append("\(function.address) \(resource.index): \(difference)") }
            nodes.append(node)
        }
        return nodes
    }

    private mutating func noteWhatIsLeftOut(_ function: Function) {
        for resource in function.resources where resource.index.isBAR && resource.bytes == nil {
            notes.append("\(function.address) \(resource.index): its size is not told, it is left out")
        }
        for resource in function.resources where resource.index.isBAR && resource.isFixed {
            notes.append("\(function.address) \(resource.index): fixed by the hardware, which no emulated BAR is")
        }
    }
}

/// A resource of a function.
struct ResourceKey: Hashable {
    var address: FunctionAddress
    var index: ResourceIndex

    init(_ address: FunctionAddress, _ index: ResourceIndex) {
        self.address = address
        self.index = index
    }
}

extension Resource {
    /// The size of the hardware when it is told and a power of two.
    var bytes: UInt64? {
        guard let size = (hardwareSize ?? size)?.rawValue, size > 0, size & (size - 1) == 0 else { return nil }
        return size
    }

    /// What it asks for: `bytes`, of VFs the size of the whole block, which need not be a power of two.
    var wanted: UInt64? {
        guard index.isVFBAR else { return bytes }
        return size.map(\.rawValue).flatMap { $0 > 0 ? $0 : nil }
    }

    /// A 64-bit prefetchable memory BAR.
    fileprivate var isWidePrefetchable: Bool { kind == .prefetchable && is64Bit }

    /// A memory BAR that is not prefetchable.
    fileprivate var isPlainMemory: Bool { kind == .memory }
}
