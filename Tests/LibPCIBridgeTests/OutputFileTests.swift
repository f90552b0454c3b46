// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import LibPCIBridge
import PCITopology
import TestSupport
import Testing

/// One writer of files: what is no regular file stays what it is, and nobody can prepare a name.
@Suite("Files that are written")
struct OutputFileTests {
    private let bytes = Array("result\n".utf8)

    private func status(_ path: String) -> stat? {
        var found = stat()
        return lstat(path, &found) == 0 ? found : nil
    }

    private func names(_ directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var result: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { result.append(name) }
        }
        return result.sorted()
    }

    private func content(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = fread(&buffer, 1, buffer.count, file)
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    @Test("a device is written to and stays a device, through a link too")
    func device() throws {
        let directory = temporaryDirectory()
        defer { removeTree(directory) }
        symlink("/dev/null", directory + "/link")
        try OutputFile.write(bytes, to: "/dev/null")
        try OutputFile.write(bytes, to: directory + "/link", privacy: .owner)
        #expect((status("/dev/null")?.st_mode ?? 0) & S_IFMT == S_IFCHR)
        #expect((status(directory + "/link")?.st_mode ?? 0) & S_IFMT == S_IFLNK)
        #expect(names(directory) == ["link"])
    }

    @Test("a pipe is written to; one that nobody reads is an error and no wait", .timeLimit(.minutes(1)))
    func pipe() throws {
        let directory = temporaryDirectory()
        defer { removeTree(directory) }
        let path = directory + "/pipe"
        #expect(mkfifo(path, 0o600) == 0)
        let error = #expect(throws: ReadError.self) { try OutputFile.write(bytes, to: path) }
        #expect(error?.description == "\(path): expected a reader, found none")
        let reader = open(path, O_RDONLY | O_NONBLOCK)
        defer { close(reader) }
        try OutputFile.write(bytes, to: path)
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = read(reader, &buffer, buffer.count)
        #expect(count == bytes.count && Array(buffer[..<max(0, count)]) == bytes)
        #expect((status(path)?.st_mode ?? 0) & S_IFMT == S_IFIFO)
    }

    @Test("a name that could be guessed is not used, and what lies there is not touched")
    func preparedName() throws {
        let directory = temporaryDirectory()
        defer { removeTree(directory) }
        symlink(directory + "/victim", directory + "/plan.json.new")
        #expect(mkfifo(directory + "/plan.json.tmp", 0o600) == 0)
        try OutputFile.write(bytes, to: directory + "/plan.json", privacy: .owner)
        #expect(names(directory) == ["plan.json", "plan.json.new", "plan.json.tmp"])
        #expect(content(directory + "/plan.json") == "result\n")
    }

    @Test("modes: a file keeps its own, a private one is its owner's only")
    func modes() throws {
        let directory = temporaryDirectory()
        defer { removeTree(directory) }
        func mode(_ name: String) -> mode_t { (status("\(directory)/\(name)")?.st_mode ?? 0) & 0o777 }
        for name in ["kept", "private"] {
            close(open("\(directory)/\(name)", O_WRONLY | O_CREAT, 0o600))
            chmod("\(directory)/\(name)", 0o640)
        }
        try OutputFile.write(bytes, to: directory + "/kept")
        #expect(mode("kept") == 0o640)
        try OutputFile.write(bytes, to: directory + "/private", privacy: .owner)
        #expect(mode("private") == 0o600)
        try OutputFile.write(bytes, to: directory + "/new-private", privacy: .owner)
        #expect(mode("new-private") == 0o600)
    }

    @Test("a link to a file stays a link, and its file is replaced; a dead link is refused")
    func links() throws {
        let directory = temporaryDirectory()
        defer { removeTree(directory) }
        symlink("real", directory + "/link")
        #expect(throws: ReadError.self) { try OutputFile.write(bytes, to: directory + "/link") }
        #expect(names(directory) == ["link"])
        close(open(directory + "/real", O_WRONLY | O_CREAT, 0o600))
        try OutputFile.write(bytes, to: directory + "/link")
        #expect((status(directory + "/link")?.st_mode ?? 0) & S_IFMT == S_IFLNK)
        #expect(content(directory + "/real") == "result\n")
        #expect(names(directory) == ["link", "real"])
    }

    @Test("a link that somebody else made is refused", .enabled(if: geteuid() == 0))
    func foreignLink() throws {
        let directory = temporaryDirectory()
        defer { removeTree(directory) }
        close(open(directory + "/shadow", O_WRONLY | O_CREAT, 0o600))
        symlink(directory + "/shadow", directory + "/out")
        #expect(lchown(directory + "/out", 12_345, 12_345) == 0)
        let error = #expect(throws: ReadError.self) { try OutputFile.write(bytes, to: directory + "/out") }
        #expect(error?.description.contains("found a link that user 12345 made") == true)
        #expect(content(directory + "/shadow") == "")
    }

    @Test("what cannot be written leaves nothing behind")
    func failures() throws {
        let directory = temporaryDirectory()
        defer { removeTree(directory) }
        #expect(throws: ReadError.self) { try OutputFile.write(bytes, to: directory) }
        #expect(throws: ReadError.self) { try OutputFile.write(bytes, to: directory + "/") }
        #expect(throws: ReadError.self) { try OutputFile.write(bytes, to: directory + "/none/x") }
        #expect(throws: ReadError.self) { try OutputFile.write(bytes, to: "") }
        #expect(names(directory) == [])
        #expect(throws: ReadError.self) { try OutputFile.write(bytes, to: "/dev/full") }
    }
}

/// Inputs that are no files.
@Suite("Pipes and bombs as input")
struct HostileInputTests {
    @Test("a pipe to which nobody writes ends at once, as an input and inside a directory", .timeLimit(.minutes(1)))
    func pipes() throws {
        let directory = temporaryDirectory()
        defer { removeTree(directory) }
        #expect(mkfifo(directory + "/pipe", 0o600) == 0)
        let error = #expect(throws: ReadError.self) { try RecordedInput(paths: [directory + "/pipe"]) }
        #expect(error?.description.contains("it is empty") == true)
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        let attribute = shape.path + "/sys/bus/pci/devices/0000:00:02.0/numa_node"
        unlink(attribute)
        #expect(mkfifo(attribute, 0o600) == 0)
        #expect(try RecordedInput(paths: [shape.path + "/sys"]).record.functions.count == 4)
    }

    @Test("what comes through a pipe is read once and whole", .timeLimit(.minutes(1)))
    func pipeWithContent() throws {
        var ends: [Int32] = [-1, -1]
        #expect(Glibc.pipe(&ends) == 0)
        let text = "[    1.0] pci 0000:01:00.0: BAR 0: no space for [mem size 0x00100000]\n"
        let written = text.withCString { write(ends[1], $0, strlen($0)) }
        #expect(written == text.utf8.count)
        close(ends[1])
        let input = try RecordedInput(paths: ["/dev/fd/\(ends[0])"])
        close(ends[0])
        #expect(input.texts.messages.count == 1)
    }
}
