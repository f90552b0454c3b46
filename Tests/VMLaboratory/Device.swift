// SPDX-License-Identifier: GPL-2.0-or-later

/// A device that QEMU shall emulate, with the devices behind it.
public struct Device: Sendable, Hashable {
    /// The value of a device property.
    public enum Value: Sendable, Hashable {
        /// A switch, `on` or `off`.
        case flag(Bool)
        /// A number, for example of bytes.
        case number(UInt64)
        /// Anything else, as QEMU's command line spells it.
        case text(String)

        var onCommandLine: String {
            switch self {
            case .flag(let on): on ? "on" : "off"
            case .number(let number): "\(number)"
            case .text(let text): text.replacing(",", with: ",,")
            }
        }

        var inMonitor: JSONValue {
            switch self {
            case .flag(let on): .bool(on)
            case .number(let number): Int64(exactly: number).map(JSONValue.integer) ?? .string("\(number)")
            case .text(let text): .string(text)
            }
        }
    }

    /// A property and its value.
    public struct Property: Sendable, Hashable {
        /// The name that QEMU knows the property by.
        public var name: String
        /// The value to set.
        public var value: Value

        /// A property with the given name and value.
        public init(_ name: String, _ value: Value) {
            self.name = name
            self.value = value
        }
    }

    /// What a device needs besides itself: an object such as memory, a drive, a subsystem.
    public enum Support: Sendable, Hashable {
        /// A user-creatable object (`-object`, monitor command `object-add`).
        case object(type: String, identifier: String, properties: [Property])
        /// A device that sits on no PCI bus, for example `nvme-subsys`.
        case device(driver: String, identifier: String, properties: [Property])
        /// A disk that reads as zeros and keeps what is written until the machine ends.
        case scratchDisk(identifier: String, size: MemorySize)
    }

    /// QEMU's name of the device, for example `pcie-root-port`.
    public var driver: String
    /// The name by which the bus behind the device, and the monitor, refer to it.
    public var identifier: String
    /// The place on its bus: `2` or `2.1` (hexadecimal); nil lets QEMU choose.
    public var address: String?
    /// The properties to set.
    public var properties: [Property]
    /// What must exist before the device.
    public var support: [Support]
    /// The devices behind a bridge.
    public var children: [Device]

    /// A device of any kind that QEMU knows.
    public init(
        _ driver: String,
        _ identifier: String,
        at address: String? = nil,
        properties: [Property] = [],
        support: [Support] = [],
        children: [Device] = []
    ) {
        self.driver = driver
        self.identifier = identifier
        self.address = address
        self.properties = properties
        self.support = support
        self.children = children
    }

    /// The same device with one property set, or replaced.
    public func with(_ name: String, _ value: Value) -> Device {
        var device = self
        device.properties.removeAll { $0.name == name }
        device.properties.append(Property(name, value))
        return device
    }
}

// MARK: - Bridges

extension Device {
    /// Space that the firmware is asked to leave behind a root port.
    public struct Reserve: Sendable, Hashable {
        /// Bus numbers beyond the port's own.
        public var buses: UInt64?
        /// I/O space.
        public var io: MemorySize?
        /// Non-prefetchable memory.
        public var memory: MemorySize?
        /// Prefetchable memory above 4 GiB.
        public var prefetchable64: MemorySize?
        /// Prefetchable memory below 4 GiB; excludes `prefetchable64`.
        public var prefetchable32: MemorySize?

        /// A reserve of the amounts given; what is nil is left to the firmware.
        public init(
            buses: UInt64? = nil,
            io: MemorySize? = nil,
            memory: MemorySize? = nil,
            prefetchable64: MemorySize? = nil,
            prefetchable32: MemorySize? = nil
        ) {
            self.buses = buses
            self.io = io
            self.memory = memory
            self.prefetchable64 = prefetchable64
            self.prefetchable32 = prefetchable32
        }
    }

    /// A PCIe root port, hot-plug capable unless told otherwise.
    public static func rootPort(
        _ identifier: String,
        at address: String? = nil,
        hotPlug: Bool = true,
        reserve: Reserve = Reserve(),
        children: [Device] = []
    ) -> Device {
        var properties: [Property] = []
        if !hotPlug { properties.append(Property("hotplug", .flag(false))) }
        if let buses = reserve.buses { properties.append(Property("bus-reserve", .number(buses))) }
        if let io = reserve.io { properties.append(Property("io-reserve", .number(io.bytes))) }
        if let memory = reserve.memory { properties.append(Property("mem-reserve", .number(memory.bytes))) }
        if let size = reserve.prefetchable64 { properties.append(Property("pref64-reserve", .number(size.bytes))) }
        if let size = reserve.prefetchable32 { properties.append(Property("pref32-reserve", .number(size.bytes))) }
        return Device("pcie-root-port", identifier, at: address, properties: properties, children: children)
    }

    /// The upstream port of a PCIe switch (x3130); its children are downstream ports.
    public static func upstreamPort(_ identifier: String, children: [Device] = []) -> Device {
        Device("x3130-upstream", identifier, children: children)
    }

    /// A downstream port of a PCIe switch (xio3130), hot-plug capable.
    ///
    /// QEMU cannot plug a downstream port into a running machine.
    public static func downstreamPort(
        _ identifier: String,
        at address: String? = nil,
        children: [Device] = []
    ) -> Device {
        Device("xio3130-downstream", identifier, at: address, children: children)
    }

    /// A PCIe to PCI bridge; with the hot-plug driver of 6.1 boot with `initcall_blacklist=shpcd_init`.
    public static func pcieToPCIBridge(_ identifier: String, children: [Device] = []) -> Device {
        Device("pcie-pci-bridge", identifier, children: children)
    }

    /// A conventional PCI to PCI bridge.
    public static func pciBridge(_ identifier: String, at address: String? = nil, children: [Device] = []) -> Device {
        Device("pci-bridge", identifier, at: address, children: children)
    }

    /// A second host bridge (pxb-pcie) whose root bus has the number `bus`; its children are root ports.
    public static func expanderBridge(_ identifier: String, bus: UInt8, children: [Device] = []) -> Device {
        Device("pxb-pcie", identifier, properties: [Property("bus_nr", .number(UInt64(bus)))], children: children)
    }
}

// MARK: - Endpoints

extension Device {
    /// A device without a driver: BAR 0 of 4 KiB memory, BAR 1 of 256 bytes I/O and, if `memory` is given, a
    /// 64-bit prefetchable BAR 2 of that size.
    public static func testDevice(_ identifier: String, memory: MemorySize? = nil, at address: String? = nil) -> Device
    {
        let size = memory.map { [Property("membar", .number($0.bytes))] } ?? []
        return Device("pci-testdev", identifier, at: address, properties: size)
    }

    /// QEMU's educational device: one 1 MiB memory BAR, conventional PCI.
    public static func edu(_ identifier: String, at address: String? = nil) -> Device {
        Device("edu", identifier, at: address)
    }

    /// Memory shared between guests: a 64-bit prefetchable BAR 2 of the given size.
    public static func sharedMemory(_ identifier: String, size: MemorySize, at address: String? = nil) -> Device {
        let memory = "\(identifier)-memory"
        let backing = Support.object(
            type: "memory-backend-ram",
            identifier: memory,
            properties: [Property("size", .number(size.bytes)), Property("share", .flag(true))]
        )
        let properties = [Property("memdev", .text(memory))]
        return Device("ivshmem-plain", identifier, at: address, properties: properties, support: [backing])
    }

    /// An NVMe controller, with a scratch disk if `disk` is given and SR-IOV if `virtualFunctions` is not 0.
    ///
    /// The guest binds it after `modprobe nvme`.
    public static func nvme(
        _ identifier: String,
        disk: MemorySize? = nil,
        virtualFunctions: UInt64 = 0,
        at address: String? = nil
    ) -> Device {
        var properties = [Property("serial", .text(identifier))]
        var support: [Support] = []
        if let disk {
            support.append(.scratchDisk(identifier: "\(identifier)-disk", size: disk))
            properties.append(Property("drive", .text("\(identifier)-disk")))
        }
        if virtualFunctions > 0 {
            let subsystem = "\(identifier)-subsystem"
            support.append(.device(driver: "nvme-subsys", identifier: subsystem, properties: []))
            // Each virtual function needs two flexible queues and one interrupt of its own.
            properties += [
                Property("subsys", .text(subsystem)),
                Property("sriov_max_vfs", .number(virtualFunctions)),
                Property("sriov_vq_flexible", .number(2 * virtualFunctions)),
                Property("sriov_vi_flexible", .number(virtualFunctions)),
                Property("max_ioqpairs", .number(2 * virtualFunctions + 2)),
                Property("msix_qsize", .number(virtualFunctions + 2)),
            ]
        }
        return Device("nvme", identifier, at: address, properties: properties, support: support)
    }

    /// An Intel 82574 network card without a network; the guest binds it after `modprobe e1000e`.
    public static func networkCard(_ identifier: String, at address: String? = nil) -> Device {
        Device("e1000e", identifier, at: address)
    }
}
