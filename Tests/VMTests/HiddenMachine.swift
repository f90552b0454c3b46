// SPDX-License-Identifier: GPL-2.0-or-later

internal import LibPCIBridge
internal import PCITopology
internal import TestSupport
internal import VMLaboratory

/// A machine with root ports of which some have fewer bus numbers than there are bridges behind them.
struct HiddenMachine {
    /// What comes after the boot.
    enum Arrival: CustomStringConvertible {
        case nothing
        /// A card is plugged into a port.
        case card(Device, String)
        /// The switch of a root port is taken out and put in again with all that is behind it: its registers know nothing.
        case packetSwitch(String)

        var description: String {
            switch self {
            case .nothing: "as booted"
            case .card(let card, let port): "\(card.driver) plugged into \(port)"
            case .packetSwitch(let port): "switch plugged into \(port)"
            }
        }
    }

    var topology: MachineTopology
    /// The functions that QEMU has beside the chipset's once everything has arrived.
    var functions: Int
    var arrival: Arrival

    /// A root port with five numbers, a switch with two ports, a switch behind the first of them with four ports and two
    /// cards, and a second root port beside it.
    static let switchBehindSwitch: HiddenMachine = {
        let inner = Device.upstreamPort(
            "up2",
            children: [
                .downstreamPort("e1", children: [.sharedMemory("m1", size: .mib(16))]), .downstreamPort("e2"),
                .downstreamPort("e3", children: [.testDevice("t1")]), .downstreamPort("e4"),
            ]
        )
        let outer = Device.upstreamPort(
            "up1",
            children: [
                .downstreamPort("d1", children: [inner]),
                .downstreamPort("d2", children: [.sharedMemory("m2", size: .mib(4))]),
            ]
        )
        return HiddenMachine(
            "switch-behind-switch",
            [
                .rootPort("rp1", at: "2", reserve: .init(buses: 3), children: [outer]),
                .rootPort("rp2", at: "3", children: [.testDevice("t2")]),
            ]
        )
    }()

    private init(_ name: String, _ devices: [Device], arrival: Arrival = .nothing) {
        topology = ScenarioMachine.with(name, devices)
        functions = devices.reduce(0) { $0 + Self.count($1) }
        if case .card(let card, _) = arrival { functions += Self.count(card) }
        self.arrival = arrival
    }

    /// The machine of a seed; the same for the same seed.
    init(seed: UInt64) {
        var draft = Draft(chance: SplitMix64(seed: seed))
        let inside =
            switch draft.chance.below(5) {
            case 0: draft.docks(2 + draft.chance.below(2))
            case 1: draft.shelf()
            default: draft.packetSwitch(1 + draft.chance.below(2))
            }
        var devices = [draft.starvedPort("rp1", at: "2", inside)]
        switch draft.chance.below(5) {
        case 0:
            draft.empty.append("rp2")
            devices.append(.rootPort("rp2", at: "3"))
        case 1: devices.append(.rootPort("rp2", at: "3", children: [draft.card()]))
        case 2: devices.append(draft.starvedPort("rp2", at: "3", draft.packetSwitch(0)))
        default: devices.append(.rootPort("rp2", at: "3", children: [draft.packetSwitch(0)]))
        }
        if draft.chance.below(3) == 0 { devices.append(.rootPort("rp3", at: "4", children: [draft.card()])) }
        var arrival = Arrival.nothing
        switch draft.chance.below(3) {
        case 0: if let port = draft.empty.shuffled(using: &draft.chance).first { arrival = .card(draft.card(), port) }
        case 1: arrival = .packetSwitch("0000:00:02.0")
        default: break
        }
        self.init("hidden-\(seed)", devices, arrival: arrival)
    }

    /// A machine in the making.
    private struct Draft {
        var chance: SplitMix64
        var names = 0
        /// Ports into which a card can be plugged.
        var empty: [String] = []

        mutating func name(_ kind: String) -> String {
            names += 1
            return "\(kind)\(names)"
        }

        /// A root port for which firmware keeps fewer numbers than it needs.
        mutating func starvedPort(_ name: String, at address: String, _ inside: Device) -> Device {
            let reserve = UInt64(1 + chance.below(max(1, HiddenMachine.bridges(inside) - 1)))
            return .rootPort(name, at: address, reserve: .init(buses: reserve), children: [inside])
        }

        mutating func card() -> Device {
            switch chance.below(4) {
            case 0: .testDevice(name("t"))
            case 1: .testDevice(name("t"), memory: .mib(UInt64(1) << UInt64(chance.below(6))))
            case 2: .sharedMemory(name("m"), size: .mib(UInt64(1) << UInt64(chance.below(6))))
            default: .nvme(name("n"))
            }
        }

        mutating func packetSwitch(_ depth: Int) -> Device {
            let ports = (0..<(2 + chance.below(3))).map { _ -> Device in
                let port = name("d")
                switch chance.below(depth == 0 ? 6 : 8) {
                case 0, 1:
                    empty.append(port)
                    return .downstreamPort(port)
                case 2, 3, 4: return .downstreamPort(port, children: [card()])
                case 5: return .downstreamPort(port, children: [conventional(0)])
                default: return .downstreamPort(port, children: [packetSwitch(depth - 1)])
                }
            }
            return .upstreamPort(name("u"), children: ports)
        }

        /// A dock with a card, an empty port and another dock behind it.
        mutating func docks(_ depth: Int) -> Device {
            let next = depth > 0 ? docks(depth - 1) : card()
            var ports = [Device.downstreamPort(name("d"), children: [next])]
            ports.append(.downstreamPort(name("d"), children: [card()]))
            let port = name("d")
            empty.append(port)
            ports.append(.downstreamPort(port))
            return .upstreamPort(name("u"), children: ports.shuffled(using: &chance))
        }

        /// A PCIe to PCI bridge with a card of the old kind, or with bridges below it.
        mutating func conventional(_ depth: Int) -> Device {
            var children: [Device] = []
            if chance.below(2) == 0 { children.append(.testDevice(name("t"), at: "1")) }
            for slot in 0..<depth {
                let card = Device.testDevice(name("t"), memory: .mib(1), at: "1")
                children.append(.pciBridge(name("p"), at: "\(2 + slot)", children: [card]))
            }
            return .pcieToPCIBridge(name("b"), children: children)
        }

        /// A switch with shelves of conventional bridges.
        mutating func shelf() -> Device {
            let ports = (0..<2).map { _ in
                Device.downstreamPort(name("d"), children: [conventional(1 + chance.below(2))])
            }
            return .upstreamPort(name("u"), children: ports)
        }
    }

    /// The functions of a device and of everything behind it.
    private static func count(_ device: Device) -> Int { device.children.reduce(1) { $0 + count($1) } }

    /// The bridges among them.
    private static func bridges(_ device: Device) -> Int {
        let isBridge = ["x3130-upstream", "xio3130-downstream", "pcie-pci-bridge", "pci-bridge"].contains(device.driver)
        return device.children.reduce(isBridge ? 1 : 0) { $0 + bridges($1) }
    }
}

extension VirtualMachine {
    /// Lets arrive what arrives after the boot.
    func admit(_ arrival: HiddenMachine.Arrival) throws {
        switch arrival {
        case .nothing: return
        case .card(let card, let port): try hotPlug(card, behind: port)
        case .packetSwitch(let port):
            // A reset of the link leaves every register below as it is after power-on; the slot's driver, bound anew to a
            // port that the kernel thinks empty, finds what is in it as after any hot-add.
            try run(
                """
                cd /sys/bus/pci/devices/\(port) || exit 1
                for d in 0000:*; do echo 1 >$d/remove; done
                byte() { dd if=config bs=1 skip=62 count=1 2>/dev/null | od -An -tu1; }
                old=$(byte)
                put() { printf "\\\\$(printf %03o $1)" | dd of=config bs=1 seek=62 conv=notrunc 2>/dev/null; }
                put $((old | 64)); sleep 0.1; put $old; sleep 0.2
                drivers=/sys/bus/pci_express/drivers/pciehp
                service=$(ls $drivers | grep "^\(port):") || exit 2
                echo $service >$drivers/unbind
                # Power off, with the indicator still on: QEMU takes out only what both say is out (Slot Control at 6ch).
                printf '\\300\\005' | dd of=config bs=1 seek=108 conv=notrunc 2>/dev/null
                echo $service >$drivers/bind
                """
            ).checked()
            try run("sleep 1").checked()
        }
        try waitUntilQuiet()
    }

    /// Takes bus numbers away from a root port while the machine runs, and has the kernel find everything anew over these
    /// registers: as it would boot over firmware's.
    ///
    /// - Returns: what was done; nil where no root port has any to spare.
    func takeNumbers(_ chance: inout SplitMix64) throws -> String? {
        let snapshot = try run("pci-rebalance snapshot -q", timeout: .seconds(120)).checked().standardOutput
        let tree = try TopologyAssembler(SnapshotFile.decode(snapshot)).topology()
        func below(_ i: Int) -> [Int] { tree.children(of: i).flatMap { [$0] + below($0) } }
        let ports = tree.roots(of: 0).filter { i in
            tree.functions[i].isBridge && (tree.functions[i].bridge?.busRange?.count ?? 0) > 1 && !below(i).isEmpty
        }
        guard !ports.isEmpty, let range = tree.functions[ports[0]].bridge?.busRange else { return nil }
        let chosen = ports[chance.below(ports.count)]
        let own = tree.functions[chosen].bridge?.busRange ?? range
        let last = own.first.rawValue + UInt8(chance.below(own.count - 1))
        var writes: [(address: FunctionAddress, bytes: [UInt8])] = []
        var removed = [chosen]
        let inside = below(chosen).filter { tree.functions[$0].isBridge }
        var words = "\(tree.functions[chosen].address) left with \(Int(last - own.first.rawValue) + 1) numbers"
        switch chance.below(3) {
        case 0: words += ", those inside as they were"
        case 1:
            for i in inside.reversed() { writes.append((tree.functions[i].address, [0, 0, 0])) }
            words += ", none inside"
        default:
            // Firmware counts on from the last number that it gave: the next port gets one that is in use inside.
            guard last < own.last.rawValue,
                let other = tree.roots(of: 0).last(where: { i in
                    i != chosen && tree.functions[i].isBridge && !below(i).contains { tree.functions[$0].isBridge }
                })
            else { break }
            writes.append((tree.functions[other].address, [0, last + 1, last + 1]))
            removed.append(other)
            words += ", the next given to \(tree.functions[other].address)"
        }
        writes.append((tree.functions[chosen].address, [0, own.first.rawValue, last]))
        var script = "cd /sys/bus/pci/devices\n"
        let all = removed.flatMap { below($0) }
        // What has a driver goes first, while its registers can be reached.
        for i in all.reversed() where !tree.functions[i].isBridge {
            script += "echo 1 >\(tree.functions[i].address)/remove\n"
        }
        for (address, bytes) in writes {
            let text = bytes.map { "\\" + String(UInt16($0) | 0o1000, radix: 8).dropFirst() }.joined()
            script += "printf '\(text)' | dd of=\(address)/config bs=1 seek=24 conv=notrunc 2>/dev/null\n"
        }
        for i in removed { script += "echo 1 >\(tree.functions[i].address)/remove\n" }
        script += "echo 1 >/sys/bus/pci/rescan\n"
        try run(script).checked()
        try waitUntilQuiet()
        return words
    }
}
