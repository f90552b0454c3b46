// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import TestSupport
internal import VMLaboratory

/// Chooses actions that make sense for the tree as it is.
struct ActionChooser {
    private var chance: SplitMix64
    private let machine: MachineTopology
    private let emptyPorts: Set<String>

    init(seed: UInt64, machine: MachineTopology) {
        chance = SplitMix64(state: seed ^ 0x5eed)
        self.machine = machine
        emptyPorts = Set(machine.emptyPorts)
    }

    /// The next step: one action, or several that belong together.
    mutating func next(_ scene: Scene, ejectable: Set<String>) -> [Action] {
        for _ in 0..<20 {
            if let step = attempt(scene, ejectable) { return step }
        }
        return [.rescan]
    }

    /// How often each kind of step is tried, of 100.
    private mutating func attempt(_ scene: Scene, _ ejectable: Set<String>) -> [Action]? {
        switch Int.random(in: 0..<100, using: &chance) {
        case 0..<17:
            guard let name = chance.one(of: scene.names) else { return nil }
            return withoutVFs(scene, below: name) + [.remove(name)]
        case 17..<33: return [.rescan]
        case 33..<38: return chance.one(of: scene.names).map { [.rescanDevice($0)] }
        case 38..<52: return rescanBus(scene)
        case 52..<62: return plug(scene)
        case 62..<66: return powerOff(scene, ejectable)
        case 66..<73: return renumber(scene)
        case 73..<81: return window(scene)
        case 81..<87: return alignment(scene)
        case 87..<91: return driver(scene)
        case 91..<93: return [.autoprobe(chance.happens(50))]
        case 93..<97: return virtualFunctions(scene)
        default: return register(scene)
        }
    }

    /// Actions that take the VFs at and below a function away first.
    ///
    /// The stub driver leaves VFs enabled, and a kernel must not lose a physical function that has some.
    private func withoutVFs(_ scene: Scene, below name: String) -> [Action] {
        guard let i = scene.index(name) else { return [] }
        return ([i] + scene.topology.subtree(of: i)).compactMap { j in
            guard (scene.topology.functions[j].use.enabledVFs ?? 0) > 0, let name = scene.name(j) else { return nil }
            return .virtualFunctions(name, 0)
        }
    }

    private func bridges(_ scene: Scene) -> [String] {
        scene.names.filter { scene.function($0)?.bridge?.busRange != nil }
    }

    private mutating func rescanBus(_ scene: Scene) -> [Action]? {
        let all = bridges(scene)
        let empty = all.filter { name in scene.index(name).map { scene.topology.children(of: $0).isEmpty } ?? false }
        return chance.one(of: empty.isEmpty || chance.happens(20) ? all : empty).map { [.rescanBus($0)] }
    }

    /// Ports whose slot the hot-plug driver watches.
    private func slots(_ scene: Scene) -> [String] {
        scene.names.filter { name in
            guard let i = scene.index(name) else { return false }
            let function = scene.topology.functions[i]
            // The firmware's tables tell the ACPI driver of slots at root ports only.
            let isHeard = machine.hotPlug == .native || scene.topology.parent(of: i) == nil
            return function.isHotPlugBridge && function.bridge?.busRange != nil && function.use.driver == "pcieport"
                && isHeard
        }
    }

    private mutating func plug(_ scene: Scene) -> [Action]? {
        let candidates = slots(scene).filter { name in
            guard let i = scene.index(name), scene.topology.children(of: i).isEmpty else { return false }
            return emptyPorts.contains(name) && !scene.places.hasSomething(behind: name)
        }
        guard let port = chance.one(of: candidates) else { return nil }
        return [.plug(card(), port: port)]
    }

    private mutating func size(_ exponents: ClosedRange<UInt64>) -> MemorySize {
        MemorySize(bytes: chance.power(exponents))
    }

    private mutating func card() -> LabCard {
        switch Int.random(in: 0..<100, using: &chance) {
        case 0..<12: return LabCard([.edu])
        case 12..<30: return LabCard([.display(size(20...26))])
        case 30..<36: return LabCard([.network])
        case 36..<46: return LabCard([.upstreamPort])
        case 46..<56: return LabCard([.bridge])
        case 56..<66: return LabCard([.testDevice(size(12...27)), .edu, .testDevice(size(12...27))])
        default: return LabCard([.testDevice(chance.happens(90) ? size(12...31) : nil)])
        }
    }

    /// Takes something out of a slot: by its power, or by QEMU's request for what was plugged.
    private mutating func powerOff(_ scene: Scene, _ ejectable: Set<String>) -> [Action]? {
        let full = slots(scene).filter { name in
            scene.index(name).map { !scene.topology.children(of: $0).isEmpty } ?? false
        }
        if machine.hotPlug == .acpi || chance.happens(10) {
            return chance.one(of: full.filter(ejectable.contains)).map { [.eject(port: $0)] }
        }
        guard let port = chance.one(of: full) else { return nil }
        return withoutVFs(scene, below: port) + [.powerOff(port: port)]
    }

    /// Bus numbers written into a bridge with nothing below, then its removal; or into all bridges of a subtree, from the
    /// bottom up.
    private mutating func renumber(_ scene: Scene) -> [Action]? {
        guard let name = chance.one(of: bridges(scene)), let i = scene.index(name) else { return nil }
        let outer: BusRange?
        if let parent = scene.topology.parent(of: i) {
            outer = scene.topology.functions[parent].bridge?.busRange
        } else {
            outer = scene.topology.hostBridges[scene.topology.host(of: i)].busRange
        }
        guard let outer, outer.count > 1 else { return nil }
        // Numbers that no bus outside this bridge holds.
        let inner = Set(scene.topology.subtree(of: i))
        let taken = scene.topology.functions.indices.filter { $0 != i && !inner.contains($0) }.compactMap {
            scene.topology.functions[$0].address.segment == scene.topology.functions[i].address.segment
                ? scene.topology.functions[$0].bridge?.busRange : nil
        }
        let free = (outer.first.rawValue...outer.last.rawValue).dropFirst().filter { number in
            !taken.contains { $0.first.rawValue <= number && number <= $0.last.rawValue }
        }
        guard let first = chance.one(of: free) else { return nil }
        var last = first
        let wanted = Int.random(in: 0...14, using: &chance)
        while Int(last - first) < wanted, last < 0xff, free.contains(last + 1) { last += 1 }
        let primary: UInt8 = chance.happens(90) ? scene.topology.functions[i].address.bus.rawValue : 0
        var steps = withoutVFs(scene, below: name)
        let isDeep = chance.happens(50)
        rewrite(scene, i, primary: primary, first, last, isDeep: isDeep, into: &steps)
        return steps
    }

    /// Writes the numbers of a bridge and, when `isDeep`, of those below it, deepest first, each followed by its removal.
    private mutating func rewrite(
        _ scene: Scene,
        _ bridge: Int,
        primary: UInt8,
        _ first: UInt8,
        _ last: UInt8,
        isDeep: Bool,
        into steps: inout [Action]
    ) {
        guard let name = scene.name(bridge) else { return }
        var next = first
        for child in scene.topology.children(of: bridge) {
            guard let childName = scene.name(child) else { continue }
            let below = scene.topology.subtree(of: child).filter { scene.topology.functions[$0].isBridge }.count
            if isDeep, scene.topology.functions[child].bridge?.busRange != nil, Int(next) + 1 + below <= Int(last) {
                let slack = chance.happens(30) && Int(next) + 2 + below <= Int(last) ? 1 : 0
                let end = next + 1 + UInt8(below + slack)
                rewrite(scene, child, primary: first, next + 1, end, isDeep: true, into: &steps)
                next = end
            } else {
                steps.append(.remove(childName))
            }
        }
        steps.append(.writeBuses(name, primary: primary, secondary: first, subordinate: last))
        steps.append(.remove(name))
    }

    /// A window opened or closed by hand, then the bridge's removal; sometimes without it.
    private mutating func window(_ scene: Scene) -> [Action]? {
        guard let name = chance.one(of: bridges(scene)) else { return nil }
        let removal = chance.happens(85) ? withoutVFs(scene, below: name) + [.remove(name)] : []
        let window = chance.one(of: [Action.Window.memory, .prefetchable, .prefetchable, .io]) ?? .memory
        // A window that stays claimed and is closed is repaired by some rescans; one that is opened elsewhere would
        // answer for addresses of others.
        if removal.isEmpty || chance.happens(40) { return [.closeWindow(name, window)] + removal }
        switch window {
        case .io:
            let first = UInt64.random(in: 1...13, using: &chance) << 12
            let last = min(first + UInt64.random(in: 1...4, using: &chance) << 12, 0x10000) - 1
            return [.writeWindow(name, .io, first: first, last: last)] + removal
        case .memory, .prefetchable:
            let first: UInt64 = window == .memory ? 0xc000_0000 : 0x4_0000_0000
            let size = (chance.power(0...9) + (chance.happens(30) ? 3 : 0)) << 20
            return [.writeWindow(name, window, first: first, last: first + size - 1)] + removal
        }
    }

    private mutating func alignment(_ scene: Scene) -> [Action]? {
        guard chance.happens(75) else { return [.align("")] }
        var entries: [String] = []
        for _ in 0..<(chance.happens(35) ? 2 : 1) {
            guard let name = chance.one(of: scene.names) else { return nil }
            let order = chance.happens(90) ? "\(Int.random(in: 12...28, using: &chance))@" : ""
            switch Int.random(in: 0..<100, using: &chance) {
            case 0..<55: entries.append("\(order){\(name)}")
            case 55..<80: entries.append("\(order){/\(name)}")
            default:
                guard let identity = scene.function(name)?.identity else { return nil }
                let vendor = bareHex(UInt64(identity.vendor), width: 4)
                entries.append("\(order)pci:\(vendor):\(bareHex(UInt64(identity.device), width: 4))")
            }
        }
        return [.align(entries.joined(separator: ";"))]
    }

    private mutating func driver(_ scene: Scene) -> [Action]? {
        let candidates = scene.names.filter { name in
            guard let function = scene.function(name) else { return false }
            return function.isBridge && function.capabilities.express?.portType != .bridgeToPCI
                && function.capabilities.express != nil
        }
        guard let name = chance.one(of: candidates), let function = scene.function(name) else { return nil }
        if function.use.driver == "pcieport" { return [.unbind(name)] }
        return chance.happens(30) ? [.enable(name, (function.use.enableCount ?? 0) == 0)] : [.bind(name)]
    }

    private mutating func virtualFunctions(_ scene: Scene) -> [Action]? {
        let candidates = scene.names.filter { name in
            guard let function = scene.function(name) else { return false }
            return (function.capabilities.sriov?.totalVFs ?? 0) > 0 && function.use.driver != nil
        }
        guard let name = chance.one(of: candidates), let function = scene.function(name) else { return nil }
        if (function.use.enabledVFs ?? 0) > 0, chance.happens(80) { return [.virtualFunctions(name, 0)] }
        let total = Int(function.capabilities.sriov?.totalVFs ?? 1)
        return [.virtualFunctions(name, Int.random(in: 1...max(1, total), using: &chance))]
    }

    /// Registers of functions without a driver: COMMAND, a BAR, and the enable count.
    private mutating func register(_ scene: Scene) -> [Action]? {
        let candidates = scene.names.filter { name in
            guard let function = scene.function(name) else { return false }
            return !function.isBridge && function.use.driver == nil
        }
        guard let name = chance.one(of: candidates), let function = scene.function(name) else { return nil }
        switch Int.random(in: 0..<3, using: &chance) {
        case 0: return [.writeCommand(name, 0)]
        case 1: return [.writeCommand(name, 0), .writeBAR(name, 0, 0xd000_0000), .remove(name)]
        default: return [.enable(name, (function.use.enableCount ?? 0) == 0)]
        }
    }
}
