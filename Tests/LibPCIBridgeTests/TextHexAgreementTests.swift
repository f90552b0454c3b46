// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import LibPCIBridge
import PCITopology
import Testing

/// Hex dumps as this module reads them, against what lspci makes of the same file.
@Suite struct TextHexAgreementTests {
    @Test func agreesWithLspciOnEveryHexFile() throws {
        guard TextCorpus.directory != nil, let lspci = Self.lspciPath else { return }
        var files = 0
        var functions = 0
        var values = 0
        for file in TextCorpus.texts() {
            let isHex = file.name.hasSuffix(".hex") || file.name.hasPrefix("pciutils/")
            guard isHex, let directory = TextCorpus.directory else { continue }
            let path = directory.appendingPathComponent(file.name).path
            let ours = TextEvidence(bytes: file.bytes)
            // lspci stops at lines that it does not know, so that it may refuse a file that this module reads.
            guard let shown = try Self.run(lspci, ["-F", path, "-vv", "-nn"]), !shown.isEmpty else { continue }
            let theirs = TextEvidence(bytes: shown)
            #expect(ours.functions.map(\.address) == theirs.functions.map(\.address), "\(file.name)")
            files += 1
            for f in ours.functions {
                guard let other = theirs[f.address], !f.config.isAllOnes else { continue }
                functions += 1
                values += Self.compare(f, other, file.name)
            }
        }
        print("hex agreement: \(files) files, \(functions) functions, \(values) values")
        #expect(files > 50)
        #expect(functions > 500)
    }

    /// Compares bus numbers, windows and capabilities; gives how many values were compared.
    private static func compare(_ ours: TextFunction, _ theirs: TextFunction, _ file: String) -> Int {
        var values = 0
        let place = Comment(rawValue: "\(file) \(ours.address)")
        if let mine = BridgeRegisters(ours.config), let bridge = theirs.bridge, theirs.headerLayout == 1 {
            #expect(bridge.primary == mine.primary, place)
            #expect(bridge.secondary == mine.secondary, place)
            #expect(bridge.subordinate == mine.subordinate, place)
            let isIOThere = ours.config.word(0x1c) != 0
            if let window = bridge.io {
                #expect(window.range == (isIOThere || window.range != nil ? mine.io.range : nil), place)
            }
            if let window = bridge.memory { #expect(window.range == mine.memory.range, place) }
            if let window = bridge.prefetchable { #expect(window.range == mine.prefetchable.range, place) }
            values += 6
        }
        let capabilities = Capabilities(ours.config)
        // lspci prints nothing of a list whose end it cannot find; ours is compared as far as theirs goes.
        let standard = theirs.capabilities.map(\.offset)
        let known = capabilities.standard.map(\.offset)
        #expect(Array(known.prefix(standard.count)) == standard, place)
        for (a, b) in zip(capabilities.standard, theirs.capabilities) where b.id != 0xffff {
            #expect(a.id == b.id, place)
            values += 2
        }
        let extended = theirs.extendedCapabilities
        #expect(Array(capabilities.extended.map(\.offset).prefix(extended.count)) == extended.map(\.offset), place)
        for (a, b) in zip(capabilities.extended, extended) where b.id != 0xffff {
            // lspci prints the same name for both identifiers of Virtual Channel.
            #expect(a.id == b.id || a.id == 0x09 && b.id == 0x02, place)
            values += 2
        }
        if let express = capabilities.express, let shown = theirs.express {
            #expect(express.portType == shown.portType, place)
            if let slot = express.slotCapabilities, let isHotPlug = shown.isHotPlugCapable {
                #expect(slot.contains(.hotPlugCapable) == isHotPlug, place)
                values += 1
            }
            values += 1
        }
        if let sriov = capabilities.sriov, let shown = theirs.sriov {
            #expect(sriov.totalVFs == shown.totalVFs, place)
            #expect(sriov.firstOffset == shown.firstOffset, place)
            #expect(sriov.stride == shown.stride, place)
            values += 3
        }
        for (a, b) in zip(capabilities.resizableBARs, theirs.resizableBARs) {
            #expect(a.bar == b.bar, place)
            #expect(a.currentExponent == b.currentExponent, place)
            values += 2
        }
        return values
    }

    private static let lspciPath: String? = {
        for path in ["/usr/bin/lspci", "/sbin/lspci", "/usr/sbin/lspci"]
        where FileManager.default.isExecutableFile(atPath: path) {
            return path
        }
        print("skipped: lspci is absent")
        return nil
    }()

    private static func run(_ path: String, _ arguments: [String]) throws -> [UInt8]? {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return process.terminationStatus == 0 ? [UInt8](data) : nil
    }
}
