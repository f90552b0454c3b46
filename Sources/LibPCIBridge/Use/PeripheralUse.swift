// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Keyboards, sound, TPM, management controllers, serial consoles, RDMA.
enum PeripheralUse {
    static func read(
        _ sysfs: borrowing Directory,
        _ proc: borrowing Directory,
        commandLine: String?,
        _ findings: inout UseFindings
    ) {
        let scratch = Scratch()
        usb(sysfs, scratch, &findings)
        sound(sysfs, proc, scratch, &findings)
        if let tpm = Directory(in: sysfs, name: "class/tpm") {
            for name in tpm.names() {
                if let path = tpm.link(name) { findings.add(path: path, .vital("tpm", "\(name) is a TPM")) }
            }
        }
        if let interfaces = Directory(in: sysfs, name: "class/ipmi") {
            for name in interfaces.names() {
                if let path = interfaces.link(name) {
                    findings.add(path: path, .vital("bmc", "\(name) talks to the management controller"))
                }
            }
        }
        serialConsoles(sysfs, proc, commandLine, &findings)
        rdma(sysfs, scratch, &findings)
    }

    /// Interfaces of class 3 (HID): protocol 1 is a keyboard, 2 a mouse (HID 1.11 §4.3).
    private static func usb(_ sysfs: borrowing Directory, _ scratch: Scratch, _ findings: inout UseFindings) {
        guard let devices = Directory(in: sysfs, name: "bus/usb/devices") else { return }
        for name in devices.names() where name.contains(":") {
            guard let path = devices.link(name), let interface = Directory(in: devices, name: name),
                interface.text("bInterfaceClass", scratch) == "03"
            else { continue }
            switch interface.text("bInterfaceProtocol", scratch) {
            case "01": findings.add(path: path, .vital("usb-keyboard", "a keyboard is behind this USB controller"))
            case "02": findings.add(path: path, .use("usb-mouse", "a mouse is behind this USB controller", weight: 50))
            default: break
            }
        }
        for name in devices.names() where !name.contains(":") && !name.hasPrefix("usb") {
            guard let path = devices.link(name) else { continue }
            findings.add(path: path, .use("usb-device", "USB devices are behind this controller", weight: 20))
        }
    }

    private static func sound(
        _ sysfs: borrowing Directory,
        _ proc: borrowing Directory,
        _ scratch: Scratch,
        _ findings: inout UseFindings
    ) {
        guard let cards = Directory(in: proc, name: "asound"), let sound = Directory(in: sysfs, name: "class/sound")
        else {
            return
        }
        for card in cards.names() where card.hasPrefix("card") {
            guard Int(card.dropFirst(4)) != nil, let directory = Directory(in: cards, name: card),
                let path = sound.link(card)
            else { continue }
            for stream in directory.names() where stream.hasPrefix("pcm") {
                guard let substreams = Directory(in: directory, name: stream) else { continue }
                for name in substreams.names() where name.hasPrefix("sub") {
                    guard let substream = Directory(in: substreams, name: name),
                        substream.text("status", scratch)?.contains("state: RUNNING") == true
                    else { continue }
                    findings.add(path: path, .use("sound", "\(card) plays or records", weight: 100))
                }
            }
        }
    }

    private static func serialConsoles(
        _ sysfs: borrowing Directory,
        _ proc: borrowing Directory,
        _ commandLine: String?,
        _ findings: inout UseFindings
    ) {
        guard let terminals = Directory(in: sysfs, name: "class/tty") else { return }
        var names: [String] = []
        for word in (commandLine ?? "").split(separator: " ") where word.hasPrefix("console=") {
            names.append(String(word.dropFirst(8).prefix { $0 != "," }))
        }
        if let text = proc.contents("consoles") {
            for line in TextLines(text) { if let name = line.words().first?.string { names.append(name) } }
        }
        for name in names where name != "tty0" && !name.isEmpty && !name.contains("/") {
            guard let path = terminals.link(name) else { continue }
            findings.add(path: path, .vital("serial-console", "\(name) is a console"))
        }
    }

    private static func rdma(_ sysfs: borrowing Directory, _ scratch: Scratch, _ findings: inout UseFindings) {
        guard let devices = Directory(in: sysfs, name: "class/infiniband") else { return }
        for name in devices.names() {
            guard let path = devices.link(name), let ports = Directory(in: devices, name: name + "/ports") else {
                continue
            }
            for port in ports.names() {
                guard let directory = Directory(in: ports, name: port),
                    directory.text("state", scratch)?.contains("ACTIVE") == true
                else { continue }
                findings.add(path: path, .use("rdma", "RDMA port \(name)/\(port) is active", weight: 100))
            }
        }
    }
}
