// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// What an apply tells people and programs: the whole text, written down by hand.
@Suite("What an apply tells")
struct ToldTests {
    private static let card = FunctionAddress(bus: BusNumber(0x3a), devfn: 0x09)
    private static let moved = FunctionAddress(bus: BusNumber(0x3b), devfn: 0x09)
    private static let path = TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [0x10, 0x09])
    private static let position = WritePosition(step: 1, index: 2, direction: .back)
    private static let positionJSON =
        "\"direction\":\"back\",\"index\":2,\"step\":1,"
        + "\"write\":{\"address\":\"0000:3a:01.1\",\"operation\":\"remove\"}"

    private static func notice(_ phase: HookNotice.Phase = .after) -> HookNotice {
        HookNotice(phase: phase, apply: "a-1", address: moved, oldAddress: card, path: path, driver: "nvme")
    }

    private static func report() -> ApplyReport {
        var report = ApplyReport(
            .rolledBack,
            reason: "interrupted",
            sentence: "Stopped.",
            exitStatus: 5,
            differences: ["a", "b"],
            remarks: ["r"],
            writes: 3
        )
        report.timeInKernel = .milliseconds(1234)
        report.timeSettling = .milliseconds(567)
        return report
    }

    private static let events: [(event: ApplyEvent, json: String, text: String)] = [
        (
            .begins(id: "a-1", steps: 2, writes: 5),
            "{\"event\":\"begins\",\"id\":\"a-1\",\"schema\":\"pci-rebalance.apply/1\",\"steps\":2,\"writes\":5}",
            "apply a-1: 2 steps, 5 writes"
        ),
        (
            .stepBegins(1, of: 4, purpose: "make room"),
            "{\"event\":\"step-begins\",\"of\":4,\"purpose\":\"make room\",\"step\":1}", "step 2/4: make room"
        ),
        (
            .writeBegins(position, .remove(card)), "{\"event\":\"write-begins\",\(positionJSON)}",
            "  echo 1 > /sys/bus/pci/devices/0000:3a:01.1/remove  (usually below 1 s; a driver may take longer to stop)"
        ),
        (
            .writeDone(position, .remove(card), took: .milliseconds(12)),
            "{\"event\":\"write-done\",\"milliseconds\":12,\(positionJSON)}", "    done in 12 ms"
        ),
        (
            .writeFailed(position, .remove(card), code: "refused", detail: "no"),
            "{\"code\":\"refused\",\"detail\":\"no\",\"event\":\"write-failed\",\(positionJSON)}",
            "    failed (refused): no"
        ),
        (
            .stepReached(1, settledAfter: .milliseconds(300)),
            "{\"event\":\"step-reached\",\"milliseconds\":300,\"step\":1}", "  as predicted; settled after 300 ms"
        ),
        (
            .differs(["x", "y"]), "{\"differences\":[\"x\",\"y\"],\"event\":\"differs\"}",
            "  differs from the prediction:\n    x\n    y"
        ),
        (
            .goesBack(reason: "interrupted"), "{\"event\":\"goes-back\",\"reason\":\"interrupted\"}",
            "going back (interrupted)"
        ),
        (.remark("well"), "{\"event\":\"remark\",\"text\":\"well\"}", "  well"),
        (
            .hook("10-disk", notice(), HookEnd(.refused, detail: "busy"), took: .milliseconds(8)),
            "{\"address\":\"0000:3b:01.1\",\"detail\":\"busy\",\"driver\":\"nvme\",\"event\":\"hook\","
                + "\"hook\":\"10-disk\",\"milliseconds\":8,\"phase\":\"after\",\"result\":\"refused\"}",
            "  hook 10-disk after 0000:3b:01.1: refused after 8 ms (busy)"
        ),
        (
            .hook("10-disk", notice(.before), HookEnd(.done), took: .zero),
            "{\"address\":\"0000:3b:01.1\",\"detail\":\"\",\"driver\":\"nvme\",\"event\":\"hook\","
                + "\"hook\":\"10-disk\",\"milliseconds\":0,\"phase\":\"before\",\"result\":\"done\"}",
            "  hook 10-disk before 0000:3b:01.1: done after 0 ms"
        ),
        (
            .renamed(Renaming(old: card, new: moved, path: path, serial: 0x0102_0304_0506_0708)),
            "{\"event\":\"renamed\",\"new\":\"0000:3b:01.1\",\"old\":\"0000:3a:01.1\","
                + "\"path\":\"0000:00:02.0/01.1\",\"serial\":\"01-02-03-04-05-06-07-08\"}",
            "  renamed: 0000:3a:01.1 is 0000:3b:01.1 now (0000:00:02.0/01.1, serial number 01-02-03-04-05-06-07-08)"
        ),
        (
            .renamed(
                Renaming(old: card, new: moved, path: path, namedBy: ["a guest in /a.xml", "the boot word root="])
            ),
            "{\"event\":\"renamed\",\"namedBy\":[\"a guest in /a.xml\",\"the boot word root=\"],"
                + "\"new\":\"0000:3b:01.1\",\"old\":\"0000:3a:01.1\","
                + "\"path\":\"0000:00:02.0/01.1\",\"serial\":null}",
            "  renamed: 0000:3a:01.1 is 0000:3b:01.1 now (0000:00:02.0/01.1); the old address is named by "
                + "a guest in /a.xml, the boot word root="
        ),
        (
            .renamed(Renaming(old: card, new: moved, path: path)),
            "{\"event\":\"renamed\",\"new\":\"0000:3b:01.1\",\"old\":\"0000:3a:01.1\","
                + "\"path\":\"0000:00:02.0/01.1\",\"serial\":null}",
            "  renamed: 0000:3a:01.1 is 0000:3b:01.1 now (0000:00:02.0/01.1)"
        ),
        (
            .ends(report()),
            "{\"differences\":[\"a\",\"b\"],\"event\":\"ends\",\"exitStatus\":5,\"kernelMilliseconds\":1234,"
                + "\"reason\":\"interrupted\",\"remarks\":[\"r\"],\"sentence\":\"Stopped.\","
                + "\"settlingMilliseconds\":567,\"verdict\":\"rolled-back\",\"writes\":3}",
            "Stopped.\nAPPLY: rolled-back reason=interrupted"
        ),
    ]

    @Test("every event as a line of JSON and as a line for people")
    func everyEvent() {
        for (event, json, text) in Self.events {
            #expect(String(decoding: event.json, as: UTF8.self) == json + "\n")
            #expect(event.description == text)
        }
        var report = Self.report()
        report.found = [FunctionState(address: Self.card, path: Self.path, ids: 1, lines: [], busRange: nil)]
        let json = String(decoding: ApplyEvent.ends(report).json, as: UTF8.self)
        #expect(json.contains("\"exitStatus\":5,\"found\":[\"0000:3a:01.1\"],\"kernelMilliseconds\""))
    }

    @Test("how long a write usually takes is said of removing, rescans and power only")
    func usually() {
        func text(_ write: SystemWrite) -> String { ApplyEvent.writeBegins(Self.position, write).description }
        for write: SystemWrite in [.rescanAll, .rescanBus(segment: 0, bus: BusNumber(1)), .rescanDevice(Self.card)] {
            #expect(text(write) == "  \(write)  (usually 1 to 5 s: drivers start in it)")
        }
        let power = SystemWrite.slotPower(slot: "1", on: true)
        #expect(text(power) == "  \(power)  (usually 1 to 3 s)")
        for write: SystemWrite in [
            .unbindDriver(Self.card), .probeDriver(Self.card), .resourceAlignment(""),
            .sriovNumVFs(Self.card, count: 0),
            .config(Self.card, offset: 4, width: 2, mask: 7, value: 0), .resizeBAR(Self.card, bar: 0, exponent: 1),
        ] { #expect(text(write) == "  \(write)") }
    }

    @Test("the audit log names step and write as people count, the value saved and the result")
    func auditRecord() {
        func record(_ saved: SavedValue?) -> AuditRecord {
            AuditRecord(
                apply: "a-1",
                position: Self.position,
                write: .remove(Self.card),
                saved: saved,
                result: "done",
                took: .milliseconds(41)
            )
        }
        let head = "apply=a-1 step=2 write=3 direction=back op=\"echo 1 > /sys/bus/pci/devices/0000:3a:01.1/remove\""
        #expect(record(nil).line == head + " result=done ms=41")
        #expect(record(.number(0x1f)).line == head + " saved=\"0x1f\" result=done ms=41")
        #expect(record(.text("20@x")).line == head + " saved=\"20@x\" result=done ms=41")
        let fields = record(.number(16)).fields.map { "\($0.name)=\($0.value)" }
        #expect(
            fields == [
                "PCI_REBALANCE_APPLY=a-1", "PCI_REBALANCE_STEP=2", "PCI_REBALANCE_WRITE=3",
                "PCI_REBALANCE_DIRECTION=back",
                "PCI_REBALANCE_OPERATION=echo 1 > /sys/bus/pci/devices/0000:3a:01.1/remove",
                "PCI_REBALANCE_RESULT=done", "PCI_REBALANCE_MILLISECONDS=41", "PCI_REBALANCE_SAVED=0x10",
            ]
        )
        #expect(record(nil).fields.map(\.name).last == "PCI_REBALANCE_MILLISECONDS")
    }

    @Test("how an apply ended: whole, partly, and with devices found, in words and numbers")
    func ends() {
        let state = Fake.machine()
        var plan = Fake.grow(state)
        let one = plan.after.functions[0]
        #expect(plan.isWhole)
        #expect(ApplyEnd(plan, []).reason == "goal-reached")
        #expect(ApplyEnd(plan, []).sentence == "Done: the machine is as the plan predicted.")
        plan.verdict.reason = "partly"
        #expect(!plan.isWhole && ApplyEnd(plan, []).reason == "partly")
        #expect(ApplyEnd(plan, []).sentence.hasSuffix("which reaches a part of what was asked for."))
        #expect(ApplyEnd(plan, [one]).reason == "devices-found")
        #expect(ApplyEnd(plan, [one]).sentence.contains("and 1 function appeared."))
        #expect(ApplyEnd(plan, [one, one]).sentence.contains("and 2 functions appeared."))
        let whole = ApplyEnd(isWhole: true, found: [one], rounds: 1)
        #expect(whole.reason == "goal-reached")
        #expect(whole.sentence == "Done: 1 function appeared, and everything that was asked for has its place.")
        let more = ApplyEnd(isWhole: false, found: [one, one, one], rounds: 2)
        #expect(
            more.reason == "partly" && more.sentence.hasPrefix("Done, in 2 rounds: 3 functions appeared, and a part")
        )
    }

    @Test("what is lost says what was and what is; only what lost its address or room is found by a rescan")
    func losses() throws {
        let bar = try #require(ResourceIndex.bar(0))
        let line = ResourceLine(start: 0x1000, end: 0x1fff, flags: ResourceFlags(rawValue: 0x40200))
        let f = FunctionState(address: Self.card, path: Self.path, ids: 1, lines: [line], busRange: nil)
        let table: [(Loss, String, Bool)] = [
            (.function(f), "0000:3a:01.1 was there, is gone", true),
            (.bus(f), "0000:3a:01.1 had a bus, has none", true),
            (.resource(f, bar, was: line, is: .zero), "0000:3a:01.1 BAR 0 was \(line), is \(ResourceLine.zero)", true),
            (.unreachable(f, "closed"), "closed", true),
            (.driver(f, was: "nvme"), "0000:3a:01.1 had the driver nvme, has none", false),
            (.decode(f, missing: [.memorySpace]), "0000:3a:01.1 lost decode bits 0x2 of COMMAND", false),
            (
                .payload(f, size: 512, above: 256),
                "0000:3a:01.1 may send payloads of 512 bytes, the bridge above takes 256", false
            ),
        ]
        for (loss, text, needsRescan) in table {
            #expect(loss.description == text)
            #expect(loss.needsRescan == needsRescan, "\(text)")
            #expect(loss.function == f)
        }
        let larger = Enlargement(function: f, index: bar, was: ByteCount(4096), size: ByteCount(1 << 20))
        #expect(
            larger.description == "0000:3a:01.1 BAR 0 is taken to need \(ByteCount(1 << 20)), needs \(ByteCount(4096))"
        )
    }

    @Test("what hooks are told: words in their order, and the environment by name")
    func hookNotice() {
        var notice = Self.notice()
        #expect(notice.arguments == ["after", "0000:3b:01.1", "nvme", "a-1"])
        func environment() -> [String] { notice.environment.map { "\($0.name)=\($0.value)" } }
        let names = ["ADDRESS", "APPLY", "DRIVER", "OLD_ADDRESS", "PATH", "PHASE", "PRESENT"]
        let values = ["0000:3b:01.1", "a-1", "nvme", "0000:3a:01.1", "0000:00:02.0/01.1", "after", "1"]
        #expect(environment() == zip(names, values).map { "PCI_REBALANCE_\($0)=\($1)" })
        notice.result = "done"
        notice.isPresent = false
        notice.driver = nil
        #expect(environment().suffix(2) == ["PCI_REBALANCE_PRESENT=0", "PCI_REBALANCE_RESULT=done"])
        #expect(environment()[2] == "PCI_REBALANCE_DRIVER=")
        #expect(notice.arguments[2] == "-")
    }

    @Test("a duration in whole milliseconds: cut, never negative, at most two thousand million")
    func milliseconds() {
        let table: [(Duration, Int)] = [
            (.zero, 0), (.microseconds(999), 0), (.milliseconds(1), 1), (.microseconds(1999), 1), (.seconds(1), 1000),
            (.milliseconds(-1), 0), (.seconds(-1), 0), (.seconds(1_999_999), 1_999_999_000),
            (.seconds(2_000_000), 2_000_000_000), (.seconds(Int64.max), 2_000_000_000),
        ]
        for (duration, expected) in table { #expect(duration.wholeMilliseconds == expected, "\(duration)") }
    }

    @Test("errors that leave no trace are those before the kernel was asked")
    func traces() {
        let codes: [(WriteError.Code, String, Bool)] = [
            (.refused, "refused", false), (.timedOut, "timed-out", false), (.absent, "absent", true),
            (.notPermitted, "not-permitted", true), (.forbidden, "forbidden", true), (.misplaced, "misplaced", true),
        ]
        for (code, text, leavesNoTrace) in codes {
            #expect(code.rawValue == text && code.leavesNoTrace == leavesNoTrace)
        }
        let error = WriteError(.refused, .rescanAll, detail: "no")
        #expect(error.description == "echo 1 > /sys/bus/pci/rescan: no")
    }
}
