// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import VMLaboratory

/// What an action is for the twin and for the guest, at one moment.
struct Effects {
    var operations: [TwinOperation]
    /// For the guest's shell.
    var script: String?
    /// For QEMU.
    var plugged: (devices: [Device], bus: String)?
    var ejected: String?
    /// Hot-plug drivers work in their own threads: there is something to wait for.
    var isSlow = false

    init(_ operation: TwinOperation, _ script: String?) {
        operations = [operation]
        self.script = script
    }
}

extension Action {
    private static func sysfs(_ address: FunctionAddress) -> String { "/sys/bus/pci/devices/\(address)" }

    private static func write(_ address: FunctionAddress, _ offset: Int, _ bytes: [UInt8]) -> String {
        let octal = bytes.map { byte in
            let digits = String(byte, radix: 8)
            return "\\" + String(repeating: "0", count: 3 - digits.count) + digits
        }.joined()
        return "printf '\(octal)' | dd of=\(sysfs(address))/config bs=\(bytes.count) seek=\(offset) oflag=seek_bytes"
            + " conv=notrunc 2>/dev/null"
    }

    private static func littleEndian(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
    }

    /// What the action is in a scene, or nil when what it names is not there.
    func effects(_ scene: Scene, _ machine: MachineTopology) -> Effects? {
        switch self {
        case .rescan: return Effects(.rescan, "echo 1 >/sys/bus/pci/rescan")
        case .autoprobe(let on):
            return Effects(.setAutoprobe(on), "echo \(on ? 1 : 0) >/sys/bus/pci/drivers_autoprobe")
        case .align(let text):
            guard let text = Self.substitute(text, scene) else { return nil }
            return Effects(.resourceAlignment(text), "echo '\(text)' >/sys/bus/pci/resource_alignment")
        default: break
        }
        guard let name = subject, let i = scene.index(name) else { return nil }
        let function = scene.topology.functions[i]
        let address = function.address
        switch self {
        case .remove: return Effects(.remove(address), "echo 1 >\(Self.sysfs(address))/remove")
        case .rescanDevice: return Effects(.rescanDevice(address), "echo 1 >\(Self.sysfs(address))/rescan")
        case .rescanBus:
            guard let bus = function.bridge?.busRange?.first else { return nil }
            let text = "\(bareHex(UInt64(address.segment), width: 4)):\(bus)"
            return Effects(
                .rescanBus(segment: address.segment, bus: bus),
                "echo 1 >/sys/class/pci_bus/\(text)/rescan"
            )
        case .plug(let card, let port):
            guard scene.topology.children(of: i).isEmpty, function.bridge?.busRange != nil else { return nil }
            // The firmware speaks for the first root bus alone; it leaves the ports of others to the kernel.
            let isDeaf = machine.kernelArguments.contains("acpiphp.disable=1")
            let isNative = machine.hotPlug == .native || scene.topology.path(of: i).rootBus != BusNumber(0)
            let method: HotPlugMethod = isNative ? .pciehp : isDeaf ? .unnoticed : .acpiphp
            var effects = Effects(.hotAdd(port: address, card: card.profile, method: method), nil)
            effects.plugged = (card.devices(behind: port), port)
            effects.isSlow = true
            return effects
        case .eject(let port):
            var effects = Effects(.unplug(port: address), nil)
            effects.ejected = LabCard.name(0, behind: port)
            effects.isSlow = true
            return effects
        case .powerOff:
            guard let bus = function.bridge?.busRange?.first else { return nil }
            let slot = "\(bareHex(UInt64(address.segment), width: 4)):\(bus):00"
            var effects = Effects(
                .unplug(port: address),
                "for s in /sys/bus/pci/slots/*; do [ \"$(cat $s/address)\" = \(slot) ] && echo 0 >$s/power; done"
            )
            effects.isSlow = true
            return effects
        case .virtualFunctions(_, let count):
            return Effects(.setVFs(address, count), "echo \(count) >\(Self.sysfs(address))/sriov_numvfs")
        case .enable(_, let on):
            return Effects(.setEnabled(address, on), "echo \(on ? 1 : 0) >\(Self.sysfs(address))/enable")
        case .bind:
            let driver = function.bridge == nil ? "pci-pf-stub" : "pcieport"
            var effects = Effects(.bind(address), "echo \(address) >/sys/bus/pci/drivers/\(driver)/bind")
            effects.isSlow = true
            return effects
        case .unbind:
            let driver = function.bridge == nil ? "pci-pf-stub" : "pcieport"
            return Effects(.unbind(address), "echo \(address) >/sys/bus/pci/drivers/\(driver)/unbind")
        default: return registerEffects(address)
        }
    }

    private func registerEffects(_ address: FunctionAddress) -> Effects? {
        switch self {
        case .writeBuses(_, let primary, let secondary, let subordinate):
            return Effects(
                .setBusNumbers(
                    address,
                    primary: BusNumber(primary),
                    secondary: BusNumber(secondary),
                    subordinate: BusNumber(subordinate)
                ),
                Self.write(address, 0x18, [primary, secondary, subordinate])
            )
        case .writeWindow(_, let window, let first, let last):
            guard let range = AddressRange(first: first, last: last) else { return nil }
            return Effects(
                .writeWindow(address, window.kind, range),
                Self.windowScript(address, window, first, last)
            )
        case .closeWindow(_, let window):
            let first: UInt64 = window == .io ? 0xf000 : 0xfff0_0000
            return Effects(.writeWindow(address, window.kind, nil), Self.windowScript(address, window, first, 0))
        case .writeCommand(_, let value):
            return Effects(
                .setCommand(address, Command(rawValue: value)),
                Self.write(address, 4, Self.littleEndian(UInt64(value), 2))
            )
        case .writeBAR(_, let bar, let value):
            return Effects(
                .writeConfig(address, offset: 0x10 + 4 * bar, width: 4, value: value),
                Self.write(address, 0x10 + 4 * bar, Self.littleEndian(UInt64(value), 4))
            )
        default: return nil
        }
    }

    private static func windowScript(
        _ address: FunctionAddress,
        _ window: Window,
        _ first: UInt64,
        _ last: UInt64
    ) -> String {
        let low = littleEndian(first >> 16 & 0xfff0, 2) + littleEndian(last >> 16 & 0xfff0, 2)
        switch window {
        case .io:
            let upper = littleEndian(first >> 16 & 0xffff, 2) + littleEndian(last >> 16 & 0xffff, 2)
            return write(address, 0x1c, [UInt8(first >> 8 & 0xf0), UInt8(last >> 8 & 0xf0)]) + "; "
                + write(address, 0x30, upper)
        case .memory: return write(address, 0x20, low)
        case .prefetchable:
            return write(address, 0x24, low + littleEndian(first >> 32, 4)) + "; "
                + write(address, 0x2c, littleEndian(last >> 32, 4))
        }
    }

    /// The device that the action speaks of; nil for what concerns the whole machine.
    var subject: String? {
        switch self {
        case .rescan, .align, .autoprobe: nil
        case .remove(let name), .rescanDevice(let name), .rescanBus(let name), .bind(let name), .unbind(let name),
            .writeBuses(let name, _, _, _), .writeWindow(let name, _, _, _), .closeWindow(let name, _),
            .writeCommand(let name, _), .writeBAR(let name, _, _), .enable(let name, _),
            .virtualFunctions(let name, _), .plug(_, let name), .eject(let name), .powerOff(let name):
            name
        }
    }

    /// Puts addresses and paths in the place of `{name}` and `{/name}`.
    private static func substitute(_ text: String, _ scene: Scene) -> String? {
        var result = ""
        var rest = Substring(text)
        while let open = rest.firstIndex(of: "{") {
            result += rest[..<open]
            guard let close = rest[open...].firstIndex(of: "}") else { return nil }
            var name = rest[rest.index(after: open)..<close]
            let isPath = name.first == "/"
            if isPath { name = name.dropFirst() }
            guard let i = scene.index(String(name)) else { return nil }
            result += isPath ? "\(scene.topology.path(of: i))" : "\(scene.topology.functions[i].address)"
            rest = rest[rest.index(after: close)...]
        }
        return result + rest
    }
}

extension Action.Window {
    fileprivate var kind: ResourceKind {
        switch self {
        case .io: .io
        case .memory: .memory
        case .prefetchable: .prefetchable
        }
    }
}
