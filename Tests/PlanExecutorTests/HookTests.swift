// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// Hooks that note what they are told.
private final class NotingHooks: StopHooks {
    var names = ["10-storage", "20-network"]
    var ends: [String: HookEnd] = [:]
    var error: HookError?
    var calls: [(program: String, notice: HookNotice, writesBefore: Int)] = []
    var writes: () -> Int = { 0 }

    func programs() throws -> [String] {
        if let error { throw error }
        return names
    }

    func run(_ program: String, _ notice: HookNotice, within limit: Duration) -> HookEnd {
        calls.append((program, notice, writes()))
        return notice.phase == .before ? ends[program] ?? HookEnd(.done) : HookEnd(.done)
    }
}

/// Keeps what it is told of renamed functions.
private final class NotingLog: AuditLog {
    var renamings: [Renaming] = []
    func mark(_ line: String) {}
    func note(_ record: AuditRecord) {}
    func renamed(_ renamings: [Renaming]) { self.renamings += renamings }
}

@Suite("Hooks before and after a stop")
struct HookTests {
    private let bench = Bench()
    private let hooks = NotingHooks()

    private var applier: Applier {
        var applier = bench.applier
        let bench = bench
        hooks.writes = { bench.machine.trace.count }
        applier.hooks = hooks
        return applier
    }

    @Test func everyFunctionIsToldOfBeforeAndAfter() throws {
        var events: [ApplyEvent] = []
        let report = try applier.apply(Fake.renumber(bench.original)) { events.append($0) }
        #expect(report.verdict == .done)
        // Two endpoints below the switch, two hooks each, before and after.
        let before = hooks.calls.filter { $0.notice.phase == .before }
        #expect(before.map(\.program) == ["10-storage", "20-network", "10-storage", "20-network"])
        #expect(
            before.map(\.notice.address.description) == Array(repeating: "0000:03:00.0", count: 2)
                + Array(repeating: "0000:04:00.0", count: 2)
        )
        #expect(before.allSatisfy { $0.writesBefore == 0 && $0.notice.result == nil })
        #expect(before[0].notice.driver == "edu" && before[2].notice.driver == nil)
        let after = hooks.calls.filter { $0.notice.phase == .after }
        #expect(after.count == 4)
        #expect(
            after.allSatisfy { $0.writesBefore == report.writes && $0.notice.result == "done" && $0.notice.isPresent }
        )
        #expect(after[0].notice.oldAddress == before[0].notice.address)
        #expect(after[0].notice.address == Fake.at(Fake.endpoint, bench.machine.state))
        #expect(after[0].notice.address != after[0].notice.oldAddress)
        #expect(Set(hooks.calls.map(\.notice.apply)).count == 1)
        let told = events.filter { if case .hook = $0 { true } else { false } }
        #expect(told.count == 8)
    }

    @Test func aVetoLeavesEverythingAsItIs() throws {
        hooks.ends["20-network"] = HookEnd(.refused, detail: "exit status 1: in use")
        let report = try applier.apply(Fake.grow(bench.original))
        #expect(report.line == "APPLY: failed reason=vetoed")
        #expect(report.exitStatus == 4)
        #expect(report.sentence.contains("the hook 20-network does not let 0000:03:00.0 be stopped"))
        #expect(bench.machine.trace.isEmpty)
        #expect(bench.disk.files[Journal.unfinishedName] == nil)
        // Whoever let go of a device takes it back.
        #expect(hooks.calls.contains { $0.notice.phase == .after && $0.program == "10-storage" })
        #expect(try Recovery(bench.applier).run().reason == "nothing-to-do")
    }

    @Test(arguments: [HookEnd.Result.timedOut, .failed])
    func aHookThatCannotAnswerIsAVeto(_ result: HookEnd.Result) throws {
        hooks.ends["10-storage"] = HookEnd(result, detail: "no answer")
        let report = try applier.apply(Fake.grow(bench.original))
        #expect(report.reason == "vetoed" && report.exitStatus == 4)
        #expect(bench.machine.trace.isEmpty)
    }

    @Test func hooksThatAreNotSafeStopTheApply() throws {
        hooks.error = HookError(description: "hooks are not run: /x: expected owner 0, found 1000")
        let report = try applier.apply(Fake.grow(bench.original))
        #expect(report.line == "APPLY: failed reason=unsafe-hook")
        #expect(report.exitStatus == 4)
        #expect(bench.machine.trace.isEmpty && hooks.calls.isEmpty)
    }

    @Test func aRecoveryTellsThatTheApplyHasEnded() throws {
        #expect(throws: SimulatedCrash.self) {
            try applier.apply(Fake.grow(bench.original)) { event in
                if case .stepReached(0, _) = event { bench.clock.crashAt = bench.clock.moments + 1 }
            }
        }
        bench.clock.crashAt = nil
        let before = hooks.calls.map(\.notice.apply)
        hooks.calls = []
        let report = try Recovery(applier).run()
        #expect(report.exitStatus == 0)
        #expect(hooks.calls.count == 4)
        #expect(hooks.calls.allSatisfy { $0.notice.phase == .after && $0.notice.result == "rolled-back" })
        #expect(hooks.calls.first?.notice.apply == before.first)
    }

    @Test func whoIsUnboundIsToldOf() throws {
        _ = try applier.apply(Fake.resize(bench.original))
        #expect(Set(hooks.calls.map(\.notice.address)) == [Fake.at(Fake.otherEndpoint, bench.original)])
    }

    @Test func newAddressesAreAnnounced() throws {
        let log = NotingLog()
        var applier = applier
        applier.audit = log
        var events: [ApplyEvent] = []
        _ = try applier.apply(Fake.renumber(bench.original)) { events.append($0) }
        let now = Fake.at(Fake.endpoint, bench.machine.state)
        let one = try #require(log.renamings.first { $0.new == now })
        #expect(one.old.description == "0000:03:00.0")
        #expect(one.properties.hasPrefix("PCI_REBALANCE_ADDRESS=\(now)\nPCI_REBALANCE_OLD_ADDRESS=0000:03:00.0\n"))
        let told = events.compactMap { if case .renamed(let renaming) = $0 { renaming } else { nil } }
        #expect(told == log.renamings)
        guard case .ends = events.last else { return #expect(Bool(false), "the end comes last") }
        #expect(log.renamings.allSatisfy { $0.namedBy.isEmpty })
        // What keeps its address is not told of.
        let other = Fake.at(Fake.otherEndpoint, bench.original)
        #expect(!log.renamings.contains { $0.old == other })
        let named = Bench()
        let words = [
            AddressWord(word: "a guest", address: one.old, place: "/a.xml"),
            AddressWord(word: "root=", address: one.old), AddressWord(word: "a guest", address: other, place: "/b.xml"),
        ]
        log.renamings = []
        applier = named.applier
        applier.audit = log
        let predictor = FakePredictor(named.machine)
        predictor.addressWords = words
        _ = try applier.apply(Fake.renumber(named.original), predictor: predictor)
        #expect(log.renamings.first { $0.old == one.old }?.namedBy == ["a guest in /a.xml", "the boot word root="])
        #expect(log.renamings.filter { $0.old != one.old }.allSatisfy { $0.namedBy.isEmpty })
        let same = Bench()
        let quiet = NotingLog()
        applier = same.applier
        applier.audit = quiet
        _ = try applier.apply(Fake.grow(same.original))
        #expect(quiet.renamings.isEmpty)
    }

    @Test func aSerialNumberReadsAsToolsWriteIt() {
        let path = TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [0x10, 0])
        let address = FunctionAddress(bus: BusNumber(3), devfn: 0)
        let renaming = Renaming(old: address, new: address, path: path, serial: 0x0011_2233_4455_6677)
        #expect(renaming.serialText == "00-11-22-33-44-55-66-77")
        #expect(
            renaming.properties.hasSuffix(
                "PCI_REBALANCE_PATH=0000:00:02.0/00.0\nPCI_REBALANCE_SERIAL=00-11-22-33-44-55-66-77\n"
            )
        )
    }

    @Test func filesForUdevSayTheLatest() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/renamed"
        func address(_ bus: UInt8) -> FunctionAddress { FunctionAddress(bus: BusNumber(bus), devfn: 0) }
        let place = TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [0x10, 0])
        let files = RenamingFiles(path: path)
        files.write([Renaming(old: address(3), new: address(4), path: place)])
        files.write([Renaming(old: address(4), new: address(5), path: place)])
        #expect(try FileManager.default.contentsOfDirectory(atPath: path) == ["0000:05:00.0"])
        let text = try String(contentsOfFile: path + "/0000:05:00.0", encoding: .utf8)
        #expect(text.contains("PCI_REBALANCE_OLD_ADDRESS=0000:04:00.0\n"))
        // A directory that others may write, or a link in its place, is left alone.
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: directory.path)
        files.write([Renaming(old: address(3), new: address(4), path: place)])
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["renamed"])
    }
}

/// A directory that goes with its owner.
private final class TemporaryDirectory {
    let path = NSTemporaryDirectory() + "pci-rebalance-hooks-\(UUID().uuidString)"

    init() throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        chmod(path, 0o755)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

@Suite("Hooks in a directory")
struct HookDirectoryTests {
    private let directory: TemporaryDirectory
    private let hooks: HookDirectory
    private let notice = HookNotice(
        phase: .before,
        apply: "abc-1",
        address: FunctionAddress(bus: BusNumber(3), devfn: 0),
        oldAddress: FunctionAddress(bus: BusNumber(3), devfn: 0),
        path: TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [0x10, 0]),
        driver: "edu"
    )

    init() throws {
        directory = try TemporaryDirectory()
        hooks = HookDirectory(path: directory.path)
    }

    private func put(_ name: String, _ text: String, mode: mode_t = 0o755) throws {
        let path = "\(directory.path)/\(name)"
        try Data("#!/bin/sh\n\(text)\n".utf8).write(to: URL(fileURLWithPath: path))
        chmod(path, mode)
    }

    private func run(_ name: String, within limit: Duration = .seconds(20)) -> HookEnd {
        hooks.run(name, notice, within: limit)
    }

    @Test func executablesRunInTheOrderOfTheirNames() throws {
        for name in ["20-b", "10-c", "Z", "a.sh"] { try put(name, "exit 0") }
        try put("README", "no program", mode: 0o644)
        for name in [".hidden", "10-c~", "10-c.dpkg-old", "with space", "x.bak"] { try put(name, "exit 0") }
        #expect(try hooks.programs() == ["10-c", "20-b", "Z", "a.sh"])
        #expect(try HookDirectory(path: directory.path + "/absent").programs().isEmpty)
    }

    @Test func theyAreToldByWordsAndEnvironment() throws {
        try put(
            "10-tell",
            "echo \"$*|$PCI_REBALANCE_PHASE $PCI_REBALANCE_ADDRESS $PCI_REBALANCE_DRIVER $PCI_REBALANCE_APPLY\""
        )
        #expect(run("10-tell") == HookEnd(.done, detail: "before 0000:03:00.0 edu abc-1|before 0000:03:00.0 edu abc-1"))
        // Nothing of this process: no variables, no open files, no input.
        try put(
            "20-clean",
            "env | grep -v -e ^PCI_ -e ^PATH= -e ^LC_ALL= -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=; cat; ls /proc/self/fd | tr '\\n' ' '; pwd"
        )
        let end = run("20-clean")
        #expect(end.result == .done)
        #expect(end.detail == "0 1 2 3 /", "the directory that ls reads, and nothing else")
    }

    @Test func whatTheyAnswerIsTold() throws {
        try put("10-veto", "echo 'still mounted' >&2; exit 3")
        #expect(run("10-veto") == HookEnd(.refused, detail: "exit status 3: still mounted"))
        try put("20-killed", "kill -9 $$")
        #expect(run("20-killed").result == .failed)
        try Data("no program".utf8).write(to: URL(fileURLWithPath: directory.path + "/30-text"))
        chmod(directory.path + "/30-text", 0o755)
        #expect(run("30-text").result == .refused)
        #expect(run("40-absent").result == .failed)
    }

    @Test func controlBytesDoNotReachTheTerminal() throws {
        try put("10-loud", "printf '\\033]0;title\\007\\302\\233 31m\\377'; head -c 100000 /dev/zero; exit 1")
        let end = run("10-loud")
        #expect(end.result == .refused)
        #expect(end.detail == end.detail.printable)
        #expect(end.detail.hasPrefix("exit status 1: ?]0;title?"))
    }

    @Test func aHookThatHangsIsKilledWithWhatItStarted() throws {
        let mark = directory.path + "/alive"
        try put("10-hang", "(sleep 1; touch \(mark)) & sleep 60")
        let start = ContinuousClock.now
        #expect(run("10-hang", within: .milliseconds(300)).result == .timedOut)
        #expect(ContinuousClock.now - start < .seconds(10))
        // One that leaves something behind which keeps its output open has ended all the same.
        try put("20-daemon", "sleep 3 & exit 0")
        #expect(run("20-daemon", within: .seconds(20)).result == .done)
        usleep(1_500_000)
        #expect(!FileManager.default.fileExists(atPath: mark))
    }

    @Test func whatOthersCouldHaveChangedIsNotRun() throws {
        try put("10-good", "exit 0")
        #expect(try hooks.programs() == ["10-good"])
        for mode: mode_t in [0o775, 0o757, 0o777] {
            chmod(directory.path + "/10-good", mode)
            #expect(throws: HookError.self) { try hooks.programs() }
            #expect(run("10-good").result == .failed)
        }
        chmod(directory.path + "/10-good", 0o755)
        for mode: mode_t in [0o775, 0o757, 0o1777] {
            chmod(directory.path, mode)
            #expect(throws: HookError.self) { try hooks.programs() }
        }
        chmod(directory.path, 0o755)
        try FileManager.default.createSymbolicLink(
            atPath: directory.path + "/20-link",
            withDestinationPath: "/bin/true"
        )
        #expect(throws: HookError.self) { try hooks.programs() }
        try FileManager.default.removeItem(atPath: directory.path + "/20-link")
        #expect(mkfifo(directory.path + "/20-fifo", 0o755) == 0)
        #expect(throws: HookError.self) { try hooks.programs() }
    }

    @Test func aDirectoryReachedByALinkOrBelowOneThatOthersMayWriteIsRefused() throws {
        let inner = directory.path + "/hooks.d"
        try FileManager.default.createDirectory(atPath: inner, withIntermediateDirectories: false)
        chmod(inner, 0o755)
        #expect(try HookDirectory(path: inner).programs().isEmpty)
        try FileManager.default.createSymbolicLink(atPath: directory.path + "/link", withDestinationPath: inner)
        #expect(throws: HookError.self) { try HookDirectory(path: directory.path + "/link").programs() }
        chmod(directory.path, 0o775)
        #expect(throws: HookError.self) { try HookDirectory(path: inner).programs() }
    }

    @Test(.enabled(if: geteuid() == 0)) func whatBelongsToSomebodyElseIsNotRun() throws {
        try put("10-theirs", "exit 0")
        chown(directory.path + "/10-theirs", 65_534, 65_534)
        #expect(throws: HookError.self) { try hooks.programs() }
        chown(directory.path + "/10-theirs", 0, 0)
        #expect(try hooks.programs() == ["10-theirs"])
        chown(directory.path, 65_534, 65_534)
        #expect(throws: HookError.self) { try hooks.programs() }
    }
}
