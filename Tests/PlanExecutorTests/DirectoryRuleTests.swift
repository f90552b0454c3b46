// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// Directories and files that are trusted, or not, byte by byte.
@Suite("trusted directories")
struct DirectoryRuleTests {
    /// A directory that goes with its owner.
    private final class Place {
        let path = NSTemporaryDirectory() + "pci-rebalance-dir-\(UUID().uuidString)"

        init() throws {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            chmod(path, 0o700)
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }

        func put(_ name: String, _ text: String = "#!/bin/sh\nexit 0\n", mode: mode_t = 0o755) throws {
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
            chmod("\(path)/\(name)", mode)
        }

        func bytes(_ name: String) throws -> [UInt8] {
            Array(try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")))
        }

        var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }
    }

    private func mode(_ path: String) -> mode_t {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
    }

    // MARK: The journal's disk

    @Test("a file is created with its content and zeros up to its size, for its owner alone; another is replaced")
    func create() throws {
        let place = try Place()
        let disk = DirectoryJournalDisk(directory: place.path)
        for (content, size) in [([1, 2, 3], 3), ([1, 2, 3], 4), ([], 0), ([9], 65_537), ([7], 131_073), ([1, 2], 1)]
            as [([UInt8], Int)]
        {
            try disk.create("j", content: content, size: size)
            let expected = content + Array(repeating: 0, count: max(0, size - content.count))
            #expect(try place.bytes("j") == expected, "\(content.count) \(size)")
            #expect(try disk.read("j") == expected)
            #expect(mode(place.path + "/j") == 0o600 && place.names == ["j"])
        }
        #expect(try disk.read("other") == nil)
    }

    @Test("bytes are overwritten where they belong, and nothing else; a file that is not there is not made")
    func write() throws {
        let place = try Place()
        let disk = DirectoryJournalDisk(directory: place.path)
        try disk.create("j", content: Array(0..<10), size: 12)
        try disk.write("j", [77, 78], at: 4)
        #expect(try place.bytes("j") == [0, 1, 2, 3, 77, 78, 6, 7, 8, 9, 0, 0])
        try disk.write("j", [79], at: 12)
        #expect(try place.bytes("j").count == 13)
        try disk.write("j", [], at: 0)
        var error = #expect(throws: JournalError.self) { try disk.write("k", [1], at: 0) }
        #expect(error?.code == .unusable && error?.description.contains("cannot open \(place.path)/k") == true)
        error = #expect(throws: JournalError.self) { try disk.rename("k", to: "l") }
        #expect(error?.description.hasPrefix("cannot rename \(place.path)/k to l") == true)
        try disk.create("old", content: [5], size: 1)
        try disk.rename("old", to: "j")
        #expect(try disk.read("j") == [5] && place.names == ["j"])
    }

    @Test("directories are made on the way: the last for its owner alone, and only when something is written")
    func directories() throws {
        let place = try Place()
        let deep = place.path + "/a/b"
        let disk = DirectoryJournalDisk(directory: deep)
        #expect(try disk.read("j") == nil && place.names == [])
        try disk.create("j", content: [1], size: 1)
        #expect(mode(deep) == 0o700 && mode(place.path + "/a") & 0o700 == 0o700 && mode(place.path + "/a") & 0o022 == 0)
        #expect(try DirectoryJournalDisk(directory: deep).read("j") == [1])
    }

    @Test(
        "a directory that group or others may write is refused, one that they may read is not",
        arguments: [
            (mode_t(0o700), true), (0o755, true), (0o720, false), (0o702, false), (0o777, false),
        ]
    )
    func directoryMode(mode: mode_t, isFine: Bool) throws {
        let place = try Place()
        chmod(place.path, mode)
        defer { chmod(place.path, 0o700) }
        if isFine {
            #expect(try DirectoryJournalDisk(directory: place.path).read("j") == nil)
        } else {
            let error = #expect(throws: JournalError.self) { try DirectoryJournalDisk(directory: place.path).read("j") }
            #expect(error?.code == .notPermitted)
            #expect(
                error?.description == "expected \(place.path) to belong to this user and to be writable by no other"
            )
        }
    }

    @Test("what is no file is damage: a directory, a pipe, a link; a directory in place of the directory is unusable")
    func kinds() throws {
        let place = try Place()
        mkdir(place.path + "/d", 0o700)
        #expect(mkfifo(place.path + "/p", 0o600) == 0)
        for name in ["d", "p"] {
            let error = #expect(throws: JournalError.self) {
                try DirectoryJournalDisk(directory: place.path).read(name)
            }
            #expect(error?.code == .damaged, "\(name)")
        }
        symlink(place.path + "/d", place.path + "/l")
        #expect(throws: JournalError.self) { try DirectoryJournalDisk(directory: place.path).read("l") }
        #expect(throws: JournalError.self) { try DirectoryJournalDisk(directory: place.path + "/l").read("j") }
        try place.put("f")
        let error = #expect(throws: JournalError.self) {
            try DirectoryJournalDisk(directory: place.path + "/f").read("j")
        }
        #expect(error?.code == .unusable)
    }

    // MARK: Hooks

    @Test("which names are programs: letters, digits, and three signs; not hidden, and not what packages leave behind")
    func hookNames() throws {
        let place = try Place()
        let good = ["a", "Z", "0", "9z", "_x", "-x", "a.b", "10-bak", "x.backup"]
        let bad = [
            ".a", "a b", "a~", "a+", "ä", "a:b", "a@", "a[", "a`", "a{", "a^", "x.bak", "x.orig", "x.rej", "x.dpkg-old",
            "x.dpkg-new", "x.dpkg-dist", "x.dpkg-tmp", "x.rpmsave", "x.rpmnew",
        ]
        for name in good + bad { try place.put(name) }
        let hooks = HookDirectory(path: place.path)
        let order = good.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
        #expect(try hooks.programs() == order)
        mkdir(place.path + "/dir", 0o755)
        #expect(try hooks.programs() == order)
    }

    @Test(
        "one bit to execute makes a program, whoever it is for",
        arguments: [
            (mode_t(0o700), true), (0o610, true), (0o601, true), (0o600, false), (0o644, false), (0o666, false),
        ]
    )
    func executable(mode: mode_t, isHook: Bool) throws {
        let place = try Place()
        try place.put("10-x", mode: mode)
        #expect(try HookDirectory(path: place.path).programs() == (isHook ? ["10-x"] : []))
    }

    @Test("64 programs are the most, and one more is refused")
    func mostHooks() throws {
        let place = try Place()
        for n in 0..<64 { try place.put("h\(n)") }
        #expect(try HookDirectory(path: place.path).programs().count == 64)
        try place.put("h64")
        let error = #expect(throws: HookError.self) { try HookDirectory(path: place.path).programs() }
        #expect(error?.description == "expected at most 64 executables in \(place.path)")
    }

    @Test("what is not safe is told with its place and its mode")
    func hookFaults() throws {
        let place = try Place()
        try place.put("10-x", mode: 0o775)
        var error = #expect(throws: HookError.self) { try HookDirectory(path: place.path).programs() }
        #expect(
            error?.description
                == "hooks are not run: \(place.path)/10-x: expected that only its owner may write, found mode 0775"
        )
        // One that nobody may execute is nobody's hook, whoever may write it.
        chmod(place.path + "/10-x", 0o664)
        #expect(try HookDirectory(path: place.path).programs() == [])
        chmod(place.path, 0o1777)
        error = #expect(throws: HookError.self) { try HookDirectory(path: place.path).programs() }
        #expect(error?.description.hasSuffix("found mode 01777") == true)
        // Above the directory itself a sticky one that everybody may write, as /tmp is, will do.
        mkdir(place.path + "/in", 0o755)
        #expect(try HookDirectory(path: place.path + "/in").programs() == [])
        chmod(place.path, 0o700)
        symlink("/bin/true", place.path + "/20-l")
        error = #expect(throws: HookError.self) { try HookDirectory(path: place.path).programs() }
        #expect(
            error?.description
                == "hooks are not run: \(place.path)/20-l: expected a regular file, found a link or a special file"
        )
    }

    @Test("how a hook ended, in words: nothing said, the first line said, a signal, the time that it had")
    func hookEnds() throws {
        let place = try Place()
        let address = FunctionAddress(bus: BusNumber(3), devfn: 0)
        let path = TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [0])
        let notice = HookNotice(phase: .before, apply: "a", address: address, oldAddress: address, path: path)
        func run(_ text: String, _ limit: Duration = .seconds(20)) throws -> HookEnd {
            try place.put("10-x", "#!/bin/sh\n\(text)\n")
            return HookDirectory(path: place.path).run("10-x", notice, within: limit)
        }
        #expect(try run("exit 0") == HookEnd(.done))
        #expect(try run("echo one; echo two") == HookEnd(.done, detail: "one"))
        #expect(try run("exit 1") == HookEnd(.refused, detail: "exit status 1"))
        #expect(try run("exit 255") == HookEnd(.refused, detail: "exit status 255"))
        #expect(try run("echo no; exit 7") == HookEnd(.refused, detail: "exit status 7: no"))
        #expect(try run("kill -15 $$") == HookEnd(.failed, detail: "was ended by signal 15"))
        #expect(try run("echo no; kill -9 $$") == HookEnd(.failed, detail: "was ended by signal 9: no"))
        #expect(try run("sleep 5", .milliseconds(100)) == HookEnd(.timedOut, detail: "did not end within 100 ms"))
        let long = try run("printf '%0300d' 0")
        #expect(long.detail == String(repeating: "0", count: 200))
        #expect(
            HookDirectory(path: place.path).run("none", notice, within: .seconds(1))
                == HookEnd(.failed, detail: "\(place.path)/none is gone")
        )
    }

    // MARK: Locks and plans

    @Test("one holds the lock, another finds it busy, and it is free again afterwards")
    func lock() throws {
        let place = try Place()
        let path = place.path + "/in/lock"
        do {
            let first = try ApplyLock(path: path)
            let error = #expect(throws: ApplyLockError.self) { try ApplyLock(path: path) }
            #expect(error == ApplyLockError(isBusy: true, description: "another apply holds \(path)"))
            withExtendedLifetime(first) {}
        }
        #expect(mode(path) == 0o600)
        symlink("/tmp/x", place.path + "/link")
        let error = #expect(throws: ApplyLockError.self) { try ApplyLock(path: place.path + "/link") }
        #expect(error?.isBusy == false && error?.description.hasPrefix("cannot open ") == true)
        let absent = #expect(throws: ApplyLockError.self) { try ApplyLock(path: place.path + "/a/b/lock") }
        #expect(absent?.isBusy == false && absent?.description.hasPrefix("cannot create ") == true)
    }

    @Test("one process works on events, the others leave their mark; the mark is taken once")
    func burst() throws {
        let place = try Place()
        let worker = try EventBurst(directory: place.path)
        #expect(worker.isWorker && !worker.takeMark())
        let other = try EventBurst(directory: place.path)
        #expect(try !other.isWorker && !other.isWantedAgain())
        #expect(place.names == ["event.lock", "event.pending"])
        #expect(worker.takeMark() && !worker.takeMark())
        #expect(try !worker.isWantedAgain() && !worker.isWorker, "nobody asked since")
        let next = try EventBurst(directory: place.path)
        #expect(next.isWorker)
        _ = try EventBurst(directory: place.path)
        #expect(try next.isWantedAgain() && next.isWorker)
    }

    @Test("a policy file: absent is none; a pipe, one that others may write, and one that is too long are refused")
    func policyFile() throws {
        let place = try Place()
        let text = "{\"schema\": \"pci-rebalance.policy/1\"}"
        #expect(try EventPolicyDocument.read(place.path + "/none") == nil)
        try place.put("p", text, mode: 0o644)
        #expect(try EventPolicyDocument.read(place.path + "/p") == EventPolicy())
        for mode: mode_t in [0o664, 0o646] {
            chmod(place.path + "/p", mode)
            let error = #expect(throws: PlanFileError.self) { try EventPolicyDocument.read(place.path + "/p") }
            #expect(error?.description.contains("found mode 0\(String(mode, radix: 8))") == true)
        }
        #expect(throws: PlanFileError.self) { try EventPolicyDocument.read(place.path) }
        try place.put("long", text + String(repeating: " ", count: 256 << 10), mode: 0o600)
        #expect(throws: PlanFileError.self) { try EventPolicyDocument.read(place.path + "/long") }
        let rest = String(repeating: " ", count: (256 << 10) - text.utf8.count)
        try place.put("whole", text + rest, mode: 0o600)
        #expect(try EventPolicyDocument.read(place.path + "/whole") == EventPolicy())
    }
}
