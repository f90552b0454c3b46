// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// A q35 machine made of emulated devices, and what is plugged into it while it runs.
public struct EmulatedMachine: Hashable, Sendable {
    /// When what fails comes into its slot.
    public enum Event: String, Hashable, Sendable, CaseIterable {
        /// While the kernel runs; the slot's driver finds it.
        case plug
        /// After firmware has laid out the rest and before the kernel starts, which finds it without addresses.
        case boot
        /// While the kernel runs without drivers for slots; `echo 1 > /sys/bus/pci/rescan` finds it.
        case rescan

        /// Words without which the kernel would not wait for the event.
        var words: [String] { self == .rescan ? ["pcie_ports=compat"] : [] }
    }

    /// The root ports, at devices 2, 3, … of their root bus, those of bus 00 first.
    public let ports: [EmulatedNode]
    /// The root buses by number of the host bridge. Of those beyond bus 00 the apertures are what firmware gives the ports.
    var rootBuses: [UInt8] = [0]
    /// When what fails comes into its slot.
    public let event: Event
    /// Whether the kernel is told to leave alone what is free of the ports, for something that wants ports fails.
    let lacksPorts: Bool

    /// Creates a machine and gives every device its number.
    init(_ ports: [EmulatedNode], event: Event = .plug, lacksPorts: Bool = false) {
        self.event = event
        self.lacksPorts = lacksPorts
        var ports = ports.enumerated().sorted { ($0.element.host, $0.offset) < ($1.element.host, $1.offset) }
            .map(\.element)
        var next = 0
        for i in ports.indices {
            ports[i].devfn = UInt8(truncatingIfNeeded: i + 2) << 3
            ports[i].number(from: &next)
        }
        self.ports = ports
    }

    /// The most root ports that are built: bus 00 has room for more, bus numbers run out sooner.
    public static let maximumPorts = 8

    /// Memory of the guest in MiB: it ends 1 MiB below the configuration space at 0xb0000000, so that the apertures below
    /// 4 GiB are that MiB and what firmware lays windows into.
    public static let memory = 2815

    /// Where memory windows can lie below 4 GiB.
    static let apertures: [(first: UInt64, last: UInt64)] = [(0xaff0_0000, 0xafff_ffff), (0xc000_0000, 0xfebf_ffff)]

    /// QEMU's arguments for machine, chips and devices, one word each, without kernel and channels.
    public var arguments: [String] {
        var result = [
            "-M", "q35", "-cpu", "qemu64", "-m", "\(Self.memory)", "-nodefaults", "-display", "none", "-no-reboot",
            "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
            "-global", "q35-pcihost.pci-hole64-size=0",
            "-global", "xio3130-downstream.power_controller_present=off",
        ]
        // A slot that was empty when firmware ran is off, unless it cannot be.
        if event != .plug { result += ["-global", "pcie-root-port.power_controller_present=off"] }
        // Firmware waits for a key.
        if event == .boot { result += ["-boot", "menu=on,splash-time=60000"] }
        // VFs need it, and it cannot come later.
        for node in ports.flatMap(\.all) where node.device.virtualFunctions > 0 {
            result += ["-device", "nvme-subsys,id=\(node.name)s"]
        }
        for (host, bus) in rootBuses.enumerated().dropFirst() {
            let device = bareHex(UInt64(ports.count + host + 1))
            result += ["-device", "pxb-pcie,id=h\(host),bus=pcie.0,addr=\(device),bus_nr=\(bus)"]
        }
        for port in ports {
            let root = port.host == 0 ? "pcie.0" : "h\(port.host)"
            for command in Self.commands(port, on: root, isPlugged: false) {
                switch command {
                case .object(let text): result += ["-object", text]
                case .device(let text): result += ["-device", text]
                case .handler: break
                }
            }
        }
        return result
    }

    /// The monitor's commands that plug what is plugged later; empty when nothing is.
    ///
    /// At boot the slots' events are cleared afterwards, so that the slot's driver, once there, does not find anew what the
    /// kernel found: one bit at a time, because the emulator takes events that were not set for others.
    /// QEMU lets nothing be plugged below a switch that was itself plugged in, for want of a handler that would tell the
    /// guest. Here the guest stands still and is told by the slot above, so that the machine, which does nothing, may be
    /// the handler.
    /// - Parameter slots: the addresses that firmware gives the ports with slots, by the number of the node.
    /// - Returns: the commands.
    func plugCommands(_ slots: [Int: FunctionAddress]) -> [String] {
        var result: [String] = []
        for node in ports.flatMap(\.all) where !node.plugged.isEmpty {
            let bus = node.name
            // Function 0 comes last: it is the one that makes the slot speak.
            for card in node.plugged.reversed() {
                for command in Self.commands(card, on: bus, isPlugged: true) {
                    switch command {
                    case .object(let text): result.append("object_add \(text)")
                    case .device(let text): result.append("device_add \(text)")
                    case .handler(let name):
                        result.append("qom-set /machine/peripheral/\(name)/\(name) hotplug-handler /machine")
                    }
                }
            }
            if event == .boot, let slot = slots[node.number], let status = node.device.slotStatus {
                // The slot's status register through the ports of configuration mechanism 1.
                let register = UInt64(slot.bus.rawValue) << 16 | UInt64(slot.devfn) << 8 | UInt64(status & ~3)
                result.append("o /w 0xcf8 \(hex(0x8000_0000 | register))")
                for bit in ["0x1", "0x8", "0x100"] { result.append("o /h \(hex(UInt64(0xcfc + status & 3))) \(bit)") }
            }
        }
        return result
    }

    private enum Command {
        case object(String)
        case device(String)
        case handler(String)
    }

    private static func commands(
        _ node: EmulatedNode,
        on bus: String,
        isPlugged: Bool
    ) -> [Command] {
        let name = node.name
        var result: [Command] = []
        var words = [node.device.driver, "id=\(name)", "bus=\(bus)"]
        words.append("addr=\(bareHex(UInt64(node.devfn >> 3))).\(node.devfn & 7)")
        if node.isMultiFunction { words.append("multifunction=on") }
        if node.device.isSlot {
            // A chassis has room for 13 bits of slots, more than a machine has buses.
            words += ["chassis=1", "slot=\(node.number + 1)"]
        }
        words += node.device.properties.map(\.text)
        if node.device.virtualFunctions > 0 { words.append("subsys=\(name)s") }
        if let memory = node.device.memory {
            words.append("\(memory.property)=\(name)m")
            result.append(
                .object("memory-backend-ram,id=\(name)m,size=\(memory.size),share=on,reserve=off")
            )
        }
        result.append(.device(words.joined(separator: ",")))
        if isPlugged, node.device.bridge != nil { result.append(.handler(name)) }
        // In a running machine function 0 closes its device to others.
        for child in isPlugged ? node.children.reversed() : node.children {
            result += commands(child, on: name, isPlugged: isPlugged)
        }
        return result
    }

    /// The chips of a q35 machine without defaults.
    static let chips: [CardProfile] = {
        func function(_ devfn: UInt8, _ device: UInt16, _ classCode: UInt32, _ bars: [CardBAR]) -> CardFunction {
            CardFunction(
                devfn: devfn,
                identity: Function.Identity(vendor: 0x8086, device: device, classCode: classCode),
                bars: bars,
                portType: nil
            )
        }
        return [
            CardProfile(name: "host bridge", functions: [function(0, 0x29c0, 0x060000, [])]),
            CardProfile(
                name: "ICH9",
                functions: [
                    function(0xf8, 0x2918, 0x060100, []),
                    function(0xfa, 0x2922, 0x010601, [.io(4, 32), .memory(5, 4096)]),
                    function(0xfb, 0x2930, 0x0c0500, [.io(4, 64)]),
                ]
            ),
        ]
    }()
}

extension EmulatedNode {
    /// Whether the node is function 0 of a device that has others.
    var isMultiFunction: Bool { devfn & 7 == 0 && hasSiblings }
}
