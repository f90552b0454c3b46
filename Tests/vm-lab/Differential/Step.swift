// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import VMLaboratory

/// One thing that is done to the guest and to the twin alike.
struct Step {
    var text: String
    var operations: [TwinOperation]
    /// The shell script for the guest, or a card to plug.
    var script: String?
    var card: (device: Device, bus: String)?
    /// QEMU's name of a card to take out.
    var unplugged: String?
}

/// Chooses steps that make sense for the tree as it is.
struct StepChooser {
    var chance: Chance
    private var serial = 0
    /// QEMU's names of ports by the address at boot; buses below are found by these.
    private let hotPlug: HotPlugMethod
    private let ports: [TopologyPath: String]
    /// What was plugged: QEMU's name of the card by that of its port.
    private var cards: [String: String] = [:]

    init(seed: UInt64, ports: [TopologyPath: String], hotPlug: HotPlugMethod) {
        chance = Chance(seed: seed ^ 0x5eed)
        self.ports = ports
        self.hotPlug = hotPlug
    }

    private func sysfs(_ address: FunctionAddress) -> String { "/sys/bus/pci/devices/\(address)" }

    mutating func next(_ topology: Topology) -> Step {
        for _ in 0..<20 {
            if let step = attempt(topology) { return step }
        }
        return rescan()
    }

    private func rescan() -> Step {
        Step(text: "rescan", operations: [.rescan], script: "echo 1 >/sys/bus/pci/rescan")
    }

    /// Functions that may be removed: all behind or at bridges, and endpoints that the lab put on the root bus.
    private func removable(_ topology: Topology) -> [Function] {
        topology.functions.filter { f in
            if f.isVirtual { return false }
            if f.parent != nil { return true }
            return f.address.bus != BusNumber(0) || f.isBridge
        }
    }

    private mutating func attempt(_ topology: Topology) -> Step? {
        switch Int.random(in: 0..<100, using: &chance) {
        case 0..<22:
            guard let f = chance.one(of: removable(topology)) else { return nil }
            return Step(
                text: "remove \(f.address)",
                operations: [.remove(f.address)],
                script: "echo 1 >\(sysfs(f.address))/remove"
            )
        case 22..<42: return rescan()
        case 42..<48:
            guard let f = chance.one(of: removable(topology)) else { return nil }
            return Step(
                text: "rescan device \(f.address)",
                operations: [.rescanDevice(f.address)],
                script: "echo 1 >\(sysfs(f.address))/rescan"
            )
        case 48..<64: return rescanBus(topology)
        case 64..<74: return plug(topology)
        case 74..<80: return renumber(topology)
        case 80..<87: return window(topology)
        case 87..<93: return alignment(topology)
        case 93..<95: return driver(topology)
        case 95..<97: return unplug(topology)
        default: return clearCommand(topology)
        }
    }

    private mutating func rescanBus(_ topology: Topology) -> Step? {
        let bridges = topology.functions.indices.filter { topology.functions[$0].bridge?.busRange != nil }
        let empty = bridges.filter { topology.children(of: $0).isEmpty }
        guard let i = chance.one(of: empty.isEmpty || chance.happens(20) ? bridges : empty),
            let bus = topology.functions[i].bridge?.busRange?.first
        else { return nil }
        let segment = topology.functions[i].address.segment
        let name = "\(bareHex(UInt64(segment), width: 4)):\(bus)"
        return Step(
            text: "rescan bus \(name)",
            operations: [.rescanBus(segment: segment, bus: bus)],
            script: "echo 1 >/sys/class/pci_bus/\(name)/rescan"
        )
    }

    /// A card for an empty hot-plug port that nothing was plugged into before.
    private mutating func plug(_ topology: Topology) -> Step? {
        let candidates = topology.functions.indices.filter { i in
            let f = topology.functions[i]
            guard f.isHotPlugBridge, f.bridge?.busRange != nil, topology.children(of: i).isEmpty,
                let name = ports[topology.path(of: i)]
            else { return false }
            // The firmware's tables tell the ACPI driver of slots at root ports only.
            let isHeard = hotPlug == .pciehp || topology.parent(of: i) == nil
            return cards[name] == nil && f.use.driver == "pcieport" && isHeard
        }
        guard let i = chance.one(of: candidates), let name = ports[topology.path(of: i)] else { return nil }
        serial += 1
        cards[name] = "card\(serial)"
        let port = topology.functions[i].address
        let device: Device
        let card: CardProfile
        if chance.happens(20) {
            device = .edu("card\(serial)")
            card = LabCards.edu
        } else {
            let size: UInt64? = chance.happens(90) ? chance.power(12...31) : nil
            device = .testDevice("card\(serial)", memory: size.map { MemorySize(bytes: $0) })
            card = LabCards.testDevice(size ?? 0)
        }
        return Step(
            text: "plug \(card.name) behind \(port)",
            operations: [.hotAdd(port: port, card: card, method: hotPlug)],
            card: (device, name)
        )
    }

    /// Takes out a card that was plugged and that the kernel knows.
    private mutating func unplug(_ topology: Topology) -> Step? {
        let candidates = topology.functions.indices.filter { i in
            let f = topology.functions[i]
            guard hotPlug == .pciehp, f.use.driver == "pcieport", let name = ports[topology.path(of: i)] else {
                return false
            }
            return cards[name] != nil && topology.children(of: i).count == 1
        }
        guard let i = chance.one(of: candidates), let name = ports[topology.path(of: i)],
            let card = cards.removeValue(forKey: name)
        else { return nil }
        let port = topology.functions[i].address
        return Step(text: "unplug \(card) behind \(port)", operations: [.unplug(port: port)], unplugged: card)
    }

    private func writeWord(_ address: FunctionAddress, _ offset: Int, _ bytes: [UInt8]) -> String {
        let octal = bytes.map { "\\\(String($0, radix: 8).leftPadded(3))" }.joined()
        return "printf '\(octal)' | dd of=\(sysfs(address))/config bs=\(bytes.count) seek=\(offset) oflag=seek_bytes"
            + " conv=notrunc 2>/dev/null"
    }

    /// Bus numbers written into a bridge with nothing below, then its removal.
    private mutating func renumber(_ topology: Topology) -> Step? {
        let bridges = topology.functions.indices.filter { i in
            topology.functions[i].isBridge && topology.functions[i].bridge?.busRange != nil
        }
        guard let i = chance.one(of: bridges) else { return nil }
        let address = topology.functions[i].address
        let outer: BusRange?
        if let parent = topology.parent(of: i) {
            outer = topology.functions[parent].bridge?.busRange
        } else {
            outer = topology.hostBridges[topology.host(of: i)].busRange
        }
        guard let outer, outer.count > 1 else { return nil }
        // Numbers that no bus outside this bridge holds.
        let taken = topology.functions.indices.filter { $0 != i && !topology.subtree(of: i).contains($0) }.compactMap {
            topology.functions[$0].address.segment == address.segment ? topology.functions[$0].bridge?.busRange : nil
        }
        let inside = (outer.first.rawValue...outer.last.rawValue).dropFirst().filter { number in
            !taken.contains { $0.first.rawValue <= number && number <= $0.last.rawValue } || chance.happens(0)
        }
        guard let first = chance.one(of: inside) else { return nil }
        var last = first
        let wanted = Int.random(in: 0...10, using: &chance)
        while Int(last - first) < wanted, inside.contains(last + 1) { last += 1 }
        let primary: UInt8 = chance.happens(90) ? address.bus.rawValue : 0
        var operations: [TwinOperation] = topology.children(of: i).map { .remove(topology.functions[$0].address) }
        var script = topology.children(of: i).map { "echo 1 >\(sysfs(topology.functions[$0].address))/remove" }
        operations.append(
            .setBusNumbers(
                address,
                primary: BusNumber(primary),
                secondary: BusNumber(first),
                subordinate: BusNumber(last)
            )
        )
        script.append(writeWord(address, 0x18, [primary, first, last]))
        operations.append(.remove(address))
        script.append("echo 1 >\(sysfs(address))/remove")
        return Step(
            text: "renumber \(address) to \(bareHex(UInt64(first)))-\(bareHex(UInt64(last))) and remove it",
            operations: operations,
            script: script.joined(separator: "; ")
        )
    }

    /// A window opened or closed by hand, then the bridge's removal.
    private mutating func window(_ topology: Topology) -> Step? {
        guard let f = chance.one(of: removable(topology).filter { $0.isBridge }) else { return nil }
        let isMemory = chance.happens(50)
        let range: AddressRange?
        if chance.happens(40) {
            range = nil
        } else {
            let first: UInt64 = isMemory ? 0xc000_0000 : 0x4_0000_0000
            range = AddressRange(first: first, size: (chance.power(0...9) + (chance.happens(30) ? 3 : 0)) << 20)
        }
        let base = range?.first ?? 0xfff0_0000
        let limit = range?.last ?? 0
        func bytes(_ value: UInt64, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
        }
        let words = bytes(base >> 16 & 0xfff0, 2) + bytes(limit >> 16 & 0xfff0, 2)
        var script: [String]
        if isMemory {
            script = [writeWord(f.address, 0x20, words)]
        } else {
            script = [
                writeWord(f.address, 0x24, words + bytes(base >> 32, 4)),
                writeWord(f.address, 0x2c, bytes(limit >> 32, 4)),
            ]
        }
        script.append("echo 1 >\(sysfs(f.address))/remove")
        return Step(
            text: "\(isMemory ? "memory" : "prefetchable") window of \(f.address) := "
                + "\(range.map(\.description) ?? "closed"), remove it",
            operations: [.writeWindow(f.address, isMemory ? .memory : .prefetchable, range), .remove(f.address)],
            script: script.joined(separator: "; ")
        )
    }

    private mutating func alignment(_ topology: Topology) -> Step? {
        guard chance.happens(70), let f = chance.one(of: removable(topology)) else {
            return Step(
                text: "no alignment requests",
                operations: [.resourceAlignment("")],
                script: "echo >/sys/bus/pci/resource_alignment"
            )
        }
        let order = UInt64.random(in: 12...28, using: &chance)
        let text = "\(order)@\(f.address)"
        return Step(
            text: "alignment \(text)",
            operations: [.resourceAlignment(text)],
            script: "echo '\(text)' >/sys/bus/pci/resource_alignment"
        )
    }

    private mutating func driver(_ topology: Topology) -> Step? {
        let ports = topology.functions.filter { $0.isBridge && $0.capabilities.express != nil && $0.parent == nil }
        guard let f = chance.one(of: ports) else { return nil }
        if f.use.driver == "pcieport" {
            return Step(
                text: "unbind \(f.address)",
                operations: [.unbind(f.address)],
                script: "echo \(f.address) >/sys/bus/pci/drivers/pcieport/unbind"
            )
        }
        return Step(
            text: "bind \(f.address)",
            operations: [.bind(f.address)],
            script: "echo \(f.address) >/sys/bus/pci/drivers/pcieport/bind; true"
        )
    }

    private mutating func clearCommand(_ topology: Topology) -> Step? {
        let candidates = removable(topology).filter { !$0.isBridge && $0.use.driver == nil }
        guard let f = chance.one(of: candidates) else { return nil }
        return Step(
            text: "command of \(f.address) := 0",
            operations: [.setCommand(f.address, [])],
            script: writeWord(f.address, 4, [0, 0])
        )
    }
}

/// The cards that QEMU can plug, as a twin needs them.
enum LabCards {
    static let edu = CardProfile(
        name: "edu",
        functions: [
            CardFunction(
                identity: Function.Identity(vendor: 0x1234, device: 0x11e8, classCode: 0x00ff00),
                bars: [.memory(0, 1 << 20)],
                portType: nil
            )
        ]
    )

    static func testDevice(_ size: UInt64) -> CardProfile {
        var bars: [CardBAR] = [.memory(0, 4096), .io(1, 256)]
        if size > 0 { bars.append(.memory(2, size, is64Bit: true, isPrefetchable: true)) }
        return CardProfile(
            name: "testdev \(ByteCount(size))",
            functions: [
                CardFunction(
                    identity: Function.Identity(vendor: 0x1b36, device: 0x0005, classCode: 0x00ff00),
                    bars: bars,
                    portType: nil
                )
            ]
        )
    }
}

extension String {
    fileprivate func leftPadded(_ width: Int) -> String {
        count >= width ? self : String(repeating: "0", count: width - count) + self
    }
}
