// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import LibPCIBridge
import PCITopology
import TestSupport
import Testing

/// The number of open descriptors of this process.
private func openDescriptors() -> Int {
    guard let stream = opendir("/proc/self/fd") else { return -1 }
    defer { closedir(stream) }
    var count = 0
    while readdir(stream) != nil { count += 1 }
    return count
}

/// The number of resident pages.
private func residentPages() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return -1 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 128)
    guard fgets(&line, 128, file) != nil else { return -1 }
    let words = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(
        separator: " "
    )
    return words.count > 1 ? Int(words[1]) ?? -1 : -1
}

@Suite("libpci's error exit is contained", .serialized)
struct GuardTests {
    private func thousandTimes(_ body: () throws -> Void) rethrows {
        for _ in 0..<50 { try body() }
        let descriptors = openDescriptors()
        let pages = residentPages()
        for _ in 0..<1000 { try body() }
        // Other tests of this process open files too, hence a margin; a leak would show a thousand.
        #expect(openDescriptors() - descriptors < 100)
        // Other tests of this process take and keep memory as well: a leak would show again with every thousand more,
        // about 4 MB of accesses and far more of tables.
        var growth = residentPages() - pages
        for _ in 0..<5 where growth >= 1024 {
            let pages = residentPages()
            for _ in 0..<1000 { try body() }
            growth = residentPages() - pages
        }
        #expect(growth < 1024)
    }

    @Test("a dump that is not there")
    func missingDump() {
        thousandTimes {
            let error = #expect(throws: ReadError.self) { try ConfigurationAccess.readDump("/nonexistent/dump") }
            #expect(error?.code == .unavailable)
        }
    }

    @Test(
        "a line that libpci does not accept",
        arguments: [
            ("00:00.0 x\n00: 86 80 zz\n", "dump: Malformed line"),
            ("00:00.0 x\nfff: 86 80\n", "dump: At most 4096 bytes of config space are supported"),
            (String(repeating: "x", count: 300) + "\n", "dump: line too long or unterminated"),
        ]
    )
    func badDump(text: String, message: String) {
        let shape = SysfsShape.temporary()
        defer { shape.remove() }
        shape.file("dump", text)
        let path = shape.path + "/dump"
        thousandTimes {
            let error = #expect(throws: ReadError.self) { try ConfigurationAccess.readDump(path) }
            #expect(error?.code == .badInput)
            #expect(error?.description == "\(path): libpci: \(message)")
        }
    }

    @Test("a device whose configuration file went away, and one that never was")
    func vanished() throws {
        var shape = SysfsShape.temporary()
        defer { shape.remove() }
        shape.root(bus: 0)
        var config = [UInt8](repeating: 0, count: 64)
        config[0] = 0x86
        config[1] = 0x80
        shape.function(at("00:01.0"), rootBus: 0, config: config, lines: [])
        shape.function(at("00:02.0"), rootBus: 0, config: config, lines: [])
        unlink(shape.path + "/sys/devices/pci0000:00/0000:00:02.0/config")
        let path = shape.path + "/sys/bus/pci"
        try thousandTimes {
            let readings = try ConfigurationAccess.read([at("00:01.0"), at("00:02.0"), at("7f:1f.7")], sysfsPath: path)
            #expect(readings.map(\.config.count) == [64, 0, 0])
            #expect(readings.map(\.isWarned) == [false, true, true])
        }
    }

    @Test("a good dump")
    func goodDump() throws {
        let shape = SysfsShape.temporary()
        defer { shape.remove() }
        shape.file(
            "dump",
            "00:1f.2 SATA\n00: 86 80 22 29 07 01 10 00 02 01 06 01 00 00 00 00\n\n0001:02:00.0 x\n00: 36 1b\n"
        )
        let path = shape.path + "/dump"
        try thousandTimes {
            let readings = try ConfigurationAccess.readDump(path)
            #expect(readings.map(\.address) == [at("00:1f.2"), at("0001:02:00.0")])
        }
    }

    @Test("single registers: reading past what is readable and writing a read-only file are errors")
    func registers() throws {
        var shape = SysfsShape.temporary()
        defer { shape.remove() }
        shape.root(bus: 0)
        var config = [UInt8](repeating: 0, count: 64)
        config[0] = 0x86
        config[1] = 0x80
        shape.function(at("00:01.0"), rootBus: 0, config: config, lines: [])
        let path = shape.path + "/sys/bus/pci"
        try thousandTimes {
            let access = try RegisterAccess(sysfsPath: path)
            #expect(try access.read(at("00:01.0"), 0, width: 2) == 0x8086)
            #expect(throws: ReadError.self) { try access.read(at("00:01.0"), 0x100) }
            #expect(throws: ReadError.self) { try access.read(at("00:02.0"), 0) }
            #expect(throws: ReadError.self) { try access.write(at("00:02.0"), 0, 1) }
        }
    }
}
