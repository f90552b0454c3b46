// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import TestSupport
import Testing

@testable import LibPCIBridge

/// A log beside a listing: functions of the log that the listing lacks are gone, if the listing has most of the others.
@Suite("functions that only the log has")
struct GhostTests {
    /// The functions of a machine of which the log found `logged` and a later listing has the first `listed`.
    private func addresses(logged: Int, listed: Int, logFirst: Bool) throws -> Int {
        let log = (1...logged).map { n in
            let device = String(n, radix: 16)
            let name = "0000:00:\(device.count < 2 ? "0" + device : device).0"
            return """
                [    0.\(100 + n)] pci \(name): [8086:1533] type 00 class 0x020000 PCIe Endpoint
                [    0.\(100 + n)] pci \(name): BAR 0 [mem 0x\(String(0x8000_0000 + n << 20, radix: 16))-0x\
                \(String(0x8000_0000 + n << 20 + 0xf_ffff, radix: 16))]
                """
        }
        let listing = (1...listed).map { n in
            let device = String(n, radix: 16)
            return """
                00:\(device.count < 2 ? "0" + device : device).0 Ethernet controller [0200]: Intel Corporation I210 [8086:1533]
                \tRegion 0: Memory at \(String(0x8000_0000 + n << 20, radix: 16)) (32-bit, non-prefetchable) [size=1M]

                """
        }
        let head = """
            [    0.000000] Linux version 6.12.1
            [    0.090000] PCI host bridge to bus 0000:00
            [    0.090001] pci_bus 0000:00: root bus resource [mem 0x80000000-0x8fffffff window]
            [    0.090002] pci_bus 0000:00: root bus resource [bus 00-ff]

            """
        let folder = temporaryDirectory()
        defer { removeTree(folder) }
        let paths = ["\(folder)/dmesg.txt", "\(folder)/lspci.txt"]
        try Data((head + log.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: paths[0]))
        try Data(listing.joined().utf8).write(to: URL(fileURLWithPath: paths[1]))
        let input = try RecordedInput(paths: logFirst ? paths : paths.reversed())
        return try TopologyAssembler(input.record).topology().functions.count
    }

    @Test(
        "a quarter of eight and more may be gone; of fewer, and of more than a quarter, nobody is taken for gone",
        arguments: [(8, 6, 6), (8, 5, 8), (7, 6, 7), (12, 9, 9), (12, 8, 12), (9, 9, 9)]
    )
    func gone(logged: Int, listed: Int, left: Int) throws {
        for logFirst in [true, false] {
            #expect(try addresses(logged: logged, listed: listed, logFirst: logFirst) == left, "log first: \(logFirst)")
        }
    }
}
