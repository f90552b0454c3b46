// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation

/// A directory of plain files and links in the shape of sysfs.
final class FakeSysfs {
    let root = NSTemporaryDirectory() + "pci-rebalance-sysfs-\(UUID().uuidString)"
    let port = "devices/pci0000:00/0000:00:02.0"
    var endpoint: String { port + "/0000:01:00.0" }

    init() throws {
        try directory("bus/pci/devices")
        try directory("bus/pci/slots/1")
        try directory("bus/pci/drivers/edu")
        try directory("class/pci_bus")
        try file("bus/pci/rescan", "")
        try file("bus/pci/drivers_probe", "")
        try file("bus/pci/resource_alignment", "20@0000:01:00.0\n")
        try file("bus/pci/slots/1/power", "1\n")
        try file("bus/pci/drivers/edu/unbind", "")
        try directory(port + "/pci_bus/0000:01")
        try function(port, "0000:00:02.0", "0x1b36", "0x000c", config: Self.bridgeConfig, lines: 17)
        try file(port + "/secondary_bus_number", "1\n")
        try file(port + "/subordinate_bus_number", "31\n")
        try file(port + "/pci_bus/0000:01/rescan", "")
        try directory(endpoint)
        try function(endpoint, "0000:01:00.0", "0x1234", "0x11e8", config: Self.endpointConfig, lines: 13)
        try file(endpoint + "/resource0_resize", "")
        try file(endpoint + "/sriov_numvfs", "0\n")
        try link(endpoint + "/driver", "../../../../bus/pci/drivers/edu")
        try link("class/pci_bus/0000:01", "../../devices/pci0000:00/0000:00:02.0/pci_bus/0000:01")
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    private func function(
        _ place: String,
        _ name: String,
        _ vendor: String,
        _ device: String,
        config: [UInt8],
        lines: Int
    ) throws {
        try file(place + "/vendor", vendor + "\n")
        try file(place + "/device", device + "\n")
        let zero = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
        let first = "0x00000000fe800000 0x00000000fe8fffff 0x0000000000040200\n"
        try file(place + "/resource", first + String(repeating: zero, count: lines - 1))
        try file(place + "/remove", "")
        try file(place + "/rescan", "")
        try Data(config).write(to: URL(fileURLWithPath: root + "/" + place + "/config"))
        try link("bus/pci/devices/" + name, "../../../" + place)
    }

    func directory(_ path: String) throws {
        try FileManager.default.createDirectory(atPath: root + "/" + path, withIntermediateDirectories: true)
    }

    func file(_ path: String, _ text: String) throws {
        try text.write(toFile: root + "/" + path, atomically: false, encoding: .utf8)
    }

    func link(_ path: String, _ target: String) throws {
        unlink(root + "/" + path)
        try FileManager.default.createSymbolicLink(atPath: root + "/" + path, withDestinationPath: target)
    }

    func text(_ path: String) throws -> String { try String(contentsOfFile: root + "/" + path, encoding: .utf8) }

    func bytes(_ path: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: root + "/" + path)))
    }

    static let bridgeConfig: [UInt8] = {
        var bytes = [UInt8](repeating: 0, count: 256)
        bytes[0x0e] = 1
        bytes[0x18...0x1a] = [0, 1, 31]
        return bytes
    }()

    /// An endpoint with a Resizable BAR capability at 0x100: control register at 0x108, BAR 0, exponent 4.
    static let endpointConfig: [UInt8] = {
        var bytes = [UInt8](repeating: 0, count: 4096)
        bytes[0] = 0x34
        bytes[1] = 0x12
        bytes[4...5] = [0x07, 0x04]
        bytes[0x06] = 0x10
        bytes[0x34] = 0x40
        bytes[0x40] = 0x10
        bytes[0x42] = 0x02
        bytes[0x100...0x103] = [0x15, 0, 1, 0]
        bytes[0x104...0x107] = [0xf0, 0x0f, 0, 0]
        bytes[0x108...0x10b] = [0x20, 0x04, 0, 0]
        return bytes
    }()
}
