// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import LibPCIBridge
import PCITopology
import TestSupport
import Testing

/// Compressed files and archives of tar, as people attach them.
@Suite("Archives and compressed files")
struct ArchiveTests {
    /// Runs a program and expects it to succeed.
    private func shell(_ command: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-ec", command]
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(command)")
    }

    private func temporary() throws -> URL {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("archive-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        return url
    }

    @Test(
        "a tree of sysfs reads the same from the archive as from the directory",
        arguments: [
            ("ustar", "", ""), ("gnu", "gzip", ".gz"), ("pax", "xz -T1", ".xz"), ("gnu", "zstd -q", ".zst"),
            ("posix", "bzip2", ".bz2"),
        ]
    )
    func sysfs(format: String, filter: String, ending: String) throws {
        var shape = SysfsShape.temporary()
        defer { shape.remove() }
        GeneratedMachine.write(hosts: 1, to: &shape)
        let folder = try temporary()
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("machine.tar\(ending)").path
        let pack = filter.isEmpty ? "cat" : filter
        // ustar holds no name beyond 255 bytes, which none of these is.
        try shell(
            "tar -C '\(shape.path)/..' --format=\(format) -cf - \"$(basename '\(shape.path)')\" | \(pack) > '\(file)'"
        )
        let input = try RecordedInput(paths: [file])
        let directory = try SysfsDirectoryReader(path: shape.path).read()
        #expect(input.record.functions == directory.functions)
        #expect(input.record.buses == directory.buses)
        #expect(input.record.gaps == directory.gaps)
        #expect(input.kinds.count == 1 && input.kinds[0].hasSuffix("tar sysfs"))
    }

    @Test("an archive of texts is read as the texts in it")
    func texts() throws {
        let folder = try temporary()
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("report.tgz").path
        let fixture = TextFixtures.directory.appendingPathComponent("R2").path
        try shell("tar -C '\(fixture)' -czf '\(file)' dmesg.txt lspci.txt NOTE.md")
        let input = try RecordedInput(paths: [file])
        #expect(try TopologyAssembler(input.record).topology() == TextFixtures.topology("R2"))
        #expect(input.kinds == ["gzip tar dmesg", "gzip tar lspci"])
    }

    @Test("a text behind a link of the same archive is read like the others")
    func textBehindALink() throws {
        let folder = try temporary()
        defer { try? FileManager.default.removeItem(at: folder) }
        let fixture = TextFixtures.directory.appendingPathComponent("R2").path
        try shell(
            """
            cd '\(folder.path)'
            ln -s elsewhere logs; tar -cf report.tar logs; rm logs
            mkdir logs; cp '\(fixture)/dmesg.txt' '\(fixture)/lspci.txt' logs; tar -rf report.tar logs/dmesg.txt logs/lspci.txt
            """
        )
        let input = try RecordedInput(paths: [folder.appendingPathComponent("report.tar").path])
        #expect(input.kinds == ["tar dmesg", "tar lspci"])
        #expect(try TopologyAssembler(input.record).topology() == TextFixtures.topology("R2"))
    }

    @Test("a compressed text and a compressed snapshot are read as if they were not")
    func compressed() throws {
        let folder = try temporary()
        defer { try? FileManager.default.removeItem(at: folder) }
        let snapshot = TextFixtures.directory.appendingPathComponent("first-light-6.12/boot.snapshot.json").path
        let log = TextFixtures.directory.appendingPathComponent("R9/dmesg.txt").path
        try shell("cd '\(folder.path)' && gzip -c '\(snapshot)' > s.gz && xz -c '\(log)' > d.xz")
        let record = try RecordedInput(paths: [folder.appendingPathComponent("s.gz").path]).record
        #expect(try record == SnapshotFile(path: snapshot).read())
        let text = try RecordedInput(paths: [folder.appendingPathComponent("d.xz").path])
        #expect(text.kinds == ["xz dmesg"])
        #expect(try text.record == RecordedInput(paths: [log]).record)
    }

    @Test("what is damaged, empty or of no use is named, not read halfway")
    func damage() throws {
        let folder = try temporary()
        defer { try? FileManager.default.removeItem(at: folder) }
        let log = TextFixtures.directory.appendingPathComponent("R9/dmesg.txt").path
        try shell(
            """
            cd '\(folder.path)'
            gzip -c '\(log)' | head -c 300 > cut.gz
            printf 'hello' | gzip > hello.gz
            printf 'hello' > hello.txt; tar -cf hello.tar hello.txt
            tar -cf cut.tar hello.txt; head -c 700 cut.tar > short.tar
            """
        )
        for (name, words) in [
            ("cut.gz", "is damaged: gzip could not unpack it"), ("hello.gz", "is not in a recognised format"),
            ("hello.tar", "is an archive that holds nothing known"),
            ("short.tar", "is an archive that holds nothing known"),
        ] {
            let path = folder.appendingPathComponent(name).path
            let error = #expect(throws: ReadError.self, "\(name)") { try RecordedInput(paths: [path]) }
            #expect(
                error?.code == .badInput && error?.description.contains(words) == true,
                "\(error?.description ?? name)"
            )
        }
    }

    /// Tar fills a file of sysfs up to the size that was stated; nobody read those zeros.
    @Test("registers that nobody could read stay unknown when an archive fills them with zeros")
    func padding() throws {
        var shape = SysfsShape.temporary()
        defer { shape.remove() }
        GeneratedMachine.write(hosts: 1, to: &shape)
        let whole = try SysfsDirectoryReader(path: shape.path).read()
        let one = try #require(whole.functions.first { ($0.config.word(6) ?? 0) & 0x10 != 0 && $0.config.count > 64 })
        let config = "\(shape.path)/sys/bus/pci/devices/\(one.address)/config"
        let padded = Array(one.config.bytes[..<64]) + [UInt8](repeating: 0, count: one.config.count - 64)
        try Data(padded).write(to: URL(fileURLWithPath: config))
        let again = try SysfsDirectoryReader(path: shape.path).read()
        let function = try #require(again.functions.first { $0.address == one.address })
        #expect(function.config.count == 64)
        #expect(again.gaps.contains { $0.code == "config-64-bytes" })
    }
}
