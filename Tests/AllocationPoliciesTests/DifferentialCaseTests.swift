// SPDX-License-Identifier: GPL-2.0-or-later

import DifferentialLaboratory
import Foundation
import PCITopology
import Testing

@testable import AllocationPolicies

/// Differences that were found once between the twin and a kernel: the twin is held against what that kernel did.
@Suite struct DifferentialCaseTests {
    private static var directories: [String] {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/Fixtures/differential"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        return names.sorted().map { root + "/" + $0 }
    }

    @Test("kept cases agree", arguments: directories)
    func agrees(_ directory: String) throws {
        let kept = try DifferentialCase(directory: directory)
        let differences = try kept.differences()
        #expect(differences.isEmpty, "\(directory): \(differences.prefix(12).joined(separator: "\n"))")
    }

    /// A kept case whose windows /proc/ioports does not show, read anew where the kernel stood before its last two steps.
    @Test("a window that was placed in a released window is read as placed")
    func windowInReleasedWindow() throws {
        let path = try #require(Self.directories.first { $0.hasSuffix("/window-in-released-window-6.16") })
        let kept = try DifferentialCase(directory: path)
        func at(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }
        let card = { (text: String) in try #require(LabCard(text)).profile }
        let root = TwinOperation.rescanBus(segment: 0, bus: BusNumber(0))
        var twin = try LinuxTwin(kept.start, behaviour: .linux6_16)
        for operation: TwinOperation in [
            .hotAdd(port: try at("0000:06:02.0"), card: try card("vga:32M"), method: .pciehp),
            .remove(try at("0000:00:03.0")), root,
            .hotAdd(port: try at("0000:06:00.0"), card: try card("vga:4M"), method: .pciehp),
        ] { _ = try twin.perform(operation) }
        let shown = try twin.topology()
        let window = shown[try at("0000:06:00.0")]?.resource(.ioWindow)
        #expect(window?.assignment == AddressRange(first: 0x1000, last: 0x1fff).map(Resource.Assignment.unclaimed))
        var reread = try LinuxTwin(shown, behaviour: .linux6_16)
        for operation: TwinOperation in [.remove(try at("0000:06:02.0")), .rescanDevice(try at("0000:05:00.0"))] {
            _ = try twin.perform(operation)
            _ = try reread.perform(operation)
        }
        let ends = try (twin.topology().functions.map(\.lines), reread.topology().functions.map(\.lines))
        #expect(ends.0 == ends.1)
        let line = try #require(reread.topology()[try at("0000:06:02.0")]?.lines[.ioWindow])
        #expect(line.range(of: .ioWindow) == AddressRange(first: 0xa000, last: 0xafff))
    }

    @Test("there are cases")
    func exist() {
        #expect(!Self.directories.isEmpty)
    }
}
