// SPDX-License-Identifier: GPL-2.0-or-later

/// A machine described as a tree of devices, rendered to QEMU's command line.
public struct MachineTopology: Sendable, Hashable {
    /// Who handles hot-plug events of the ports.
    public enum HotPlug: Sendable, Hashable {
        /// The ports themselves and the kernel's pciehp.
        case native
        /// The firmware's ACPI tables and the kernel's acpiphp, QEMU's own default.
        case acpi
    }

    /// The machine that QEMU emulates.
    public enum Board: String, Sendable, Hashable {
        /// PCI Express, Intel's Q35.
        case q35
        /// Conventional PCI, Intel's 440FX: cards sit on the root bus, acpiphp drives its slots.
        case i440fx = "pc"

        /// QEMU's name of the root bus.
        var rootBus: String { self == .q35 ? "pcie.0" : "pci.0" }
    }

    /// The machine that QEMU emulates.
    public var board = Board.q35
    /// The name by which the topology is listed.
    public var name: String
    /// One sentence that says what is there and what it is good for.
    public var summary: String
    /// The guest's memory.
    public var memory: MemorySize
    /// Who handles hot-plug.
    public var hotPlug: HotPlug
    /// Kernel parameters beside the laboratory's own.
    public var kernelArguments: [String]
    /// QEMU arguments beside the laboratory's own.
    public var machineArguments: [String]
    /// The devices on the root bus, in the order in which QEMU makes them.
    public var devices: [Device]

    /// A machine with the given devices; 512 MiB of memory and native hot-plug unless told otherwise.
    public init(
        _ name: String,
        summary: String = "",
        memory: MemorySize = .mib(512),
        hotPlug: HotPlug = .native,
        kernelArguments: [String] = [],
        machineArguments: [String] = [],
        board: Board = .q35,
        devices: [Device] = []
    ) {
        self.board = board
        self.name = name
        self.summary = summary
        self.memory = memory
        self.hotPlug = hotPlug
        self.kernelArguments = kernelArguments
        self.machineArguments = machineArguments
        self.devices = devices
    }

    /// The names of the ports that have nothing behind them, in the order of the walk: where a card can be plugged.
    public var emptyPorts: [String] {
        func walk(_ device: Device) -> [String] {
            let isPort = ["pcie-root-port", "ioh3420", "xio3130-downstream"].contains(device.driver)
            return isPort && device.children.isEmpty ? [device.identifier] : device.children.flatMap(walk)
        }
        return devices.flatMap(walk)
    }

    /// The arguments that make QEMU build this machine: memory, hot-plug and devices.
    ///
    /// Ports get chassis and slot numbers 1, 2, 3... in the order of the walk unless they have been set.
    ///
    /// - Throws: ``LaboratoryError`` if two devices have the same identifier.
    public func arguments() throws -> [String] {
        var arguments = ["-m", "\(memory.bytes >> 20)"]
        if hotPlug == .native, board == .q35 {
            arguments += ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
        }
        var rendering = Rendering()
        for device in devices { try rendering.add(device, on: board.rootBus, index: nil) }
        return arguments + rendering.arguments + machineArguments
    }

    /// The state of one walk over the tree.
    private struct Rendering {
        var arguments: [String] = []
        var identifiers: [String] = []
        var chassis = 0

        mutating func claim(_ identifier: String) throws {
            guard !identifiers.contains(identifier) else {
                throw LaboratoryError(.topology, "expected every device to have its own name, two are \(identifier)")
            }
            identifiers.append(identifier)
        }

        mutating func add(_ device: Device, on bus: String, index: Int?) throws {
            for support in device.support { try add(support) }
            try claim(device.identifier)
            let device = numbered(device, index: index)
            var words = [device.driver, "id=\(device.identifier)", "bus=\(bus)"]
            if let address = device.address { words.append("addr=\(address)") }
            words += device.properties.map { "\($0.name)=\($0.value.onCommandLine)" }
            arguments += ["-device", words.joined(separator: ",")]
            for (index, child) in device.children.enumerated() {
                try add(child, on: device.identifier, index: index)
            }
        }

        /// The device with what its kind needs to be unique: chassis, slot, and a place below an upstream port.
        mutating func numbered(_ device: Device, index: Int?) -> Device {
            var device = device
            switch device.driver {
            case "pcie-root-port", "ioh3420", "xio3130-downstream":
                chassis += 1
                for name in ["chassis", "slot"] where !device.properties.contains(where: { $0.name == name }) {
                    device.properties.append(.init(name, .number(UInt64(chassis))))
                }
                if device.driver == "xio3130-downstream", device.address == nil, let index {
                    device.address = String(index, radix: 16)
                }
            case "pci-bridge":
                chassis += 1
                device.properties.append(.init("chassis_nr", .number(UInt64(chassis))))
            default:
                break
            }
            if let address = device.address, address.contains(".") {
                device = address.hasSuffix(".0") ? device.with("multifunction", .flag(true)) : device
            }
            return device
        }

        mutating func add(_ support: Device.Support) throws {
            switch support {
            case .object(let type, let identifier, let properties):
                try claim(identifier)
                let words = [type, "id=\(identifier)"] + properties.map { "\($0.name)=\($0.value.onCommandLine)" }
                arguments += ["-object", words.joined(separator: ",")]
            case .device(let driver, let identifier, let properties):
                try claim(identifier)
                let words = [driver, "id=\(identifier)"] + properties.map { "\($0.name)=\($0.value.onCommandLine)" }
                arguments += ["-device", words.joined(separator: ",")]
            case .scratchDisk(let identifier, let size):
                try claim(identifier)
                arguments += [
                    "-drive",
                    "if=none,id=\(identifier),format=raw,snapshot=on,"
                        + "file.driver=null-co,file.read-zeroes=on,file.size=\(size.bytes)",
                ]
            }
        }
    }
}
