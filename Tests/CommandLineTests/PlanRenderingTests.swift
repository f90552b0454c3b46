// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import PCITopology
import PlanExecutor
import RebalancePlanner
import TestSupport
import Testing

@testable import pci_rebalance

/// A plan for the failed hot-plug, written by hand: remove the root port, rescan, everything has its place.
func handmadePlan() throws -> Plan {
    let before = TreeState(try TestTree.failedHotPlug.topology())
    let removed = TreeState([])
    let after = TreeState(
        try TestTree()
            .port(
                "00:02.0",
                buses: 1...4,
                .assigned(.ioWindow, 0xc000, size: 0x1000, .io),
                .assigned(.memoryWindow, 0xfe60_0000, size: 0x40_0000),
                .assigned(.prefetchableWindow, 0x1_0000_0000, size: 0x6000_0000, .pref64)
            )
            .port(
                "01:00.0",
                below: "00:02.0",
                buses: 2...4,
                .assigned(.ioWindow, 0xc000, size: 0x1000, .io),
                .assigned(.memoryWindow, 0xfe60_0000, size: 0x40_0000),
                .assigned(.prefetchableWindow, 0x1_0000_0000, size: 0x6000_0000, .pref64)
            )
            .port(
                "02:00.0",
                below: "01:00.0",
                buses: 3...3,
                .assigned(.ioWindow, 0xc000, size: 0x1000, .io),
                .assigned(.memoryWindow, 0xfe60_0000, size: 0x20_0000),
                .assigned(.prefetchableWindow, 0x1_4000_0000, size: 0x100_0000, .pref64)
            )
            .port(
                "02:01.0",
                below: "01:00.0",
                buses: 4...4,
                .assigned(.memoryWindow, 0xfe80_0000, size: 0x20_0000),
                .assigned(.prefetchableWindow, 0x1_0000_0000, size: 0x4000_0000, .pref64)
            )
            .endpoint(
                "03:00.0",
                below: "02:00.0",
                .assigned(.bar0, 0xfe60_0000, size: 0x1000),
                .assigned(.bar1, 0xc000, size: 0x100, .io),
                .assigned(.bar2, 0x1_4000_0000, size: 0x100_0000, .pref64)
            )
            .endpoint(
                "04:00.0",
                below: "02:01.0",
                .assigned(.bar0, 0xfe80_0000, size: 0x1000),
                .unassigned(.bar1, size: 0x100, .io),
                .assigned(.bar2, 0x1_0000_0000, size: 0x4000_0000, .pref64)
            )
            .topology()
    )
    let port = before.functions[0].address
    let pinning = before.functions[4].address
    return Plan(
        verdict: Plan.Verdict(
            .act,
            reason: "unassigned-bars",
            sentence: "0000:04:00.0 gets its 1G of prefetchable memory; one other device is stopped for it."
        ),
        kernelRelease: "6.12.1-test",
        behaviour: "linux-6.12",
        fingerprint: before.fingerprint,
        goals: [.everythingRequired],
        diagnosis: [
            DiagnosisLine(
                code: "wiped",
                address: before.functions[5].address,
                text: "BAR 2 [mem size 0x40000000 64bit pref]: can't assign; no space"
            ),
            DiagnosisLine(
                code: "pin",
                address: pinning,
                text: "0000:03:00.0 BAR 2 (16M) keeps the pref window of 0000:01:00.0 where it is"
            ),
        ],
        disturbed: [
            Disturbance(
                address: pinning,
                newAddress: pinning,
                effect: .moved,
                what: "Unclassified device, no driver",
                weight: 1
            )
        ],
        steps: [
            PlanStep(
                purpose: "Stop everything below the root port, so that its windows are free.",
                preconditions: [.treeAsPredicted, .notInUse(pinning)],
                writes: [.remove(port)],
                after: removed,
                wayBack: [.rescanAll]
            ),
            PlanStep(
                purpose: "Find it again; the kernel sizes every window anew.",
                preconditions: [.treeAsPredicted],
                writes: [.rescanAll],
                after: after,
                registersAfter: [
                    RegisterExpectation(address: port, offset: 0x18, width: 4, mask: 0xff_ffff, value: 0x04_0100)
                ]
            ),
        ],
        before: before,
        after: after,
        proof: .optimal,
        remarks: ["0000:04:00.0 BAR 1 [io  size 0x0100] stays without address; drivers rarely need I/O."]
    )
}

@Suite("Plan rendering")
struct PlanRenderingTests {
    @Test("as text", arguments: [0, 1])
    func text(verbosity: Int) throws {
        let text = PlanText(plan: try handmadePlan(), verbosity: verbosity).render()
        try expectGolden(text, "plan-handmade-v\(verbosity).txt")
        #expect(text.split(separator: "\n").last == "PLAN: act reason=unassigned-bars")
    }

    @Test("as a script")
    func script() throws {
        try expectGolden(PlanScript(plan: try handmadePlan()).render(), "plan-handmade.sh")
    }

    @Test("a shell accepts the script, quotes and newlines in texts included")
    func syntax() throws {
        var plan = try handmadePlan()
        plan.verdict.sentence = "it's `odd` $(touch /nowhere)\nrm -rf /nowhere"
        plan.steps[0].writes.append(.slotPower(slot: "a'b $(c)", on: false))
        let script = PlanScript(plan: plan).render()
        #expect(script.contains("# rm -rf /nowhere\n"))
        #expect(script.contains(#"echo 0 > '/sys/bus/pci/slots/a'\''b $(c)/power'"#))
        #expect(try run("/bin/sh", ["-n"], input: script).status == 0)
    }

    @Test("all scripts pass shellcheck, the restart's on any tree and none without --now")
    func shellcheck() throws {
        let failed = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        let restart = try Command.run("plan", "-q", "--kexec", "--from", failed)
        #expect(restart.status == 0)
        #expect(restart.output.contains("    kept kexec -e\n}\n\nmain \"$@\"\nexit\n"))
        #expect(restart.output.contains("BAR 2 0x0000000"))
        let scripts = [
            restart.output, try Command.run("plan", "-q", "--script", "--from", failed).output,
            PlanScript(plan: try handmadePlan()).render(),
        ]
        for script in scripts {
            #expect(try run("/bin/sh", ["-n"], input: script).status == 0)
            guard FileManager.default.isExecutableFile(atPath: "/usr/bin/shellcheck") else { continue }
            let verdict = try run("/usr/bin/shellcheck", ["-s", "sh", "-"], input: script)
            #expect(verdict.status == 0, "\(verdict.output)")
        }
        // On this machine it stops before it writes anything.
        #expect(try run("/bin/sh", [], input: restart.output).status != 0)
        #expect(try Command.run("plan", "--kexec", "--resize", "04:00.0:2=max", "--from", failed).status == 64)
        #expect(try Command.run("plan", "--kexec", "--script", "--from", failed).status == 64)
    }

    @Test(
        "wishes on groups, routes and places: what is kept is said, and other ways to addresses are not where it cannot be"
    )
    func conditions() throws {
        let failed = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        let pair = ["03:00.0", "04:00.0"]
        let kept = try Command.run(
            ["plan", "--same-switch"] + pair + ["--keep-route"] + pair + ["--keep-group", "00:1f.2", "--from", failed]
        )
        #expect(kept.status == 0)
        let words = kept.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        #expect(words.contains("What stays as it is - 0000:00:1f.2 shares the IOMMU group that there would be with"))
        #expect(
            words.contains("- 0000:03:00.0 and 0000:04:00.0 reach each other across the switch at 0000:01:00.0, by")
        )
        #expect(words.contains("- 0000:03:00.0 and 0000:04:00.0 are both below the switch at 0000:01:00.0"))
        let apart = try Command.run("plan", "--same-switch", "03:00.0", "00:1f.2", "--from", failed)
        #expect(apart.status == 2 && apart.output.hasSuffix("PLAN: impossible reason=no-common-switch\n"))
        #expect(!apart.output.contains("Other ways"))
        let route = try Command.run("plan", "-q", "--keep-route", "03:00.0", "00:1f.2", "--from", failed)
        #expect(route.status == 8 && route.output.hasSuffix("PLAN: unknown reason=route-not-told\n"))
        for wrong in [
            ["--keep-route", "03:00.0"], ["--same-switch", "03:00.0", "04:00.0", "00:1f.2"],
            ["--keep-group", "nobody"],
            ["--keep-group", "7f:00.0"], ["--at", "03:00.0:0"], ["--at", "03:00.0:6=0x1000"], ["--at", "03:00.0:0=0"],
            ["--at", "03:00.0:0=-1"], ["--at", "03:00.0:0=0x10000000000000000"],
        ] { #expect(try Command.run(["plan", "--from", failed] + wrong).status == 64, "\(wrong)") }
        #expect(try Command.run("plan", "--same-switch", "03:00.0", "03:00.0", "--from", failed).status == 65)
        #expect(try Command.run("plan", "--at", "03:00.0:0=0x123", "--from", failed).status == 65)
    }

    @Test("what ports have held is what they get: auto by a ledger in a file, cannot tell by an empty one")
    func reserves() throws {
        let boot = FixtureTests.fixture("first-light-6.12/boot.snapshot.json")
        let held =
            #"{"buses":0,"io":"0x100","memory":"0x1000","port":"0000:00:02.0/00.0/01.0","prefetchable":"0x20000000","time":1}"#
        func plan(_ held: String) throws -> (status: Int32, output: String, errors: String) {
            let ledger = #"{"applies":[],"failures":[],"held":[\#(held)],"schema":"pci-rebalance.events/1"}"#
            return try Command.run(["plan", "-q", "--json", "--reserve", "auto=-", "--from", boot], input: ledger)
        }
        let auto = try plan(held)
        #expect(auto.status == 0, "\(auto.errors)")
        let goals = try PlanDocument.decode(Array(auto.output.utf8)).goals
        let room = Headroom(
            io: ByteCount(0x100),
            memory: ByteCount(0x1000),
            prefetchable: ByteCount(512 << 20)
        )
        #expect(goals == [.reserve(try #require(FunctionAddress(parsing: "02:01.0")), room)])
        #expect(try plan("").status == 8)
        #expect(try plan("7").status == 65)
        #expect(try Command.run("plan", "--reserve", "auto=", "--from", boot).status == 64)
        #expect(try Command.run("plan", "--reserve", "auto=/nonexistent", "--from", boot).status != 0)
    }

    @Test("a refused plan names the other ways")
    func otherWays() throws {
        let failed = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        let refused = try Command.run("plan", "--keep", "03:00.0", "--from", failed)
        #expect(refused.status == 4)
        #expect(refused.output.contains("Other ways\n"))
        let words = refused.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        #expect(words.contains("plan --kexec writes the script"))
        // The plan as JSON and in a file says the same, and the script has it as a comment.
        let plan = try PlanDocument.decode(
            Array(try Command.run("plan", "-q", "--json", "--keep", "03:00.0", "--from", failed).output.utf8)
        )
        #expect(plan.otherWays == [.parameter("pci=realloc"), .kexec(functions: 6)])
        let script = try Command.run("plan", "-q", "--script", "--keep", "03:00.0", "--from", failed)
        #expect(script.status == 4)
        #expect(script.output.contains("# Other ways:\n#   one reboot with pci=realloc on"))
        // What can be reached needs none.
        let whole = try Command.run("plan", "-q", "--json", "--from", failed).output
        #expect(try PlanDocument.decode(Array(whole.utf8)).otherWays == [])
    }

    @Test(
        "where nothing else is left, firmware's setup is named, and a device tree by its own name",
        arguments: [
            (nil, 0xe000_0000...0xefff_ffff, OtherWay.Setting.above4G),
            (nil, 0x60_0000_0000...0x60_1fff_ffff, .largerAperture),
            (.deviceTree, 0xe000_0000...0xefff_ffff, .deviceTree),
        ] as [(HardwareDescription?, ClosedRange<UInt64>, OtherWay.Setting)]
    )
    func firmware(description: HardwareDescription?, window: ClosedRange<UInt64>, setting: OtherWay.Setting) throws {
        var tree = TestTree.failedHotPlug
        tree.kernel.hardwareDescription = description
        tree.apertures.removeAll { !$0.isIO }
        tree.apertures.append(
            Aperture(range: .init(window.lowerBound, window.upperBound), flags: [.memory, .window])
        )
        let planner = Planner(
            topology: try tree.topology(),
            behaviour: KernelBehaviour.preset(forRelease: "6.12.1").behaviour
        )
        let ways = planner.otherWays(to: [.everythingRequired])
        #expect(ways == [.firmware(setting)])
        #expect(OtherWay.Setting.allCases.allSatisfy { !OtherWay.firmware($0).description.hasSuffix(".") })
    }

    @Test("the checksum is that of cksum", arguments: ["", "a", "123456789", String(repeating: "x\n", count: 999)])
    func checksum(text: String) throws {
        let expected = try run("/usr/bin/cksum", [], input: text).output
        #expect(
            expected.trimmingCharacters(in: .newlines) == "\(PlanScript.cksum(Array(text.utf8))) \(text.utf8.count)"
        )
    }

    @Test("changes follow a function through renumbering")
    func renumbering() throws {
        let old = TreeState(
            try TestTree().port("00:02.0", buses: 1...1).endpoint(
                "01:00.0",
                below: "00:02.0",
                .unassigned(.bar0, size: 0x1000)
            ).topology()
        )
        let new = TreeState(
            try TestTree().port("00:02.0", buses: 16...32).endpoint(
                "10:00.0",
                below: "00:02.0",
                .assigned(.bar0, 0xc000_0000, size: 0x1000)
            ).topology()
        )
        let changes = StateChange.changes(from: old, to: new)
        #expect(changes.count == 3)
        #expect(changes.first?.what == .buses(from: old.functions[0].busRange, to: new.functions[0].busRange))
        #expect(changes.dropFirst().first?.what == .renumbered(from: old.functions[1].address))
        #expect(StateChange.changes(from: new, to: new).isEmpty)
    }
}

/// Runs a program to its end.
func run(
    _ program: String,
    _ arguments: [String],
    input: String = "",
    environment: [String: String]? = nil
) throws -> (status: Int32, output: String, errors: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    if let environment { process.environment = environment }
    let standardInput = Pipe()
    let output = try TemporaryFile()
    let errors = try TemporaryFile()
    process.standardInput = standardInput
    process.standardOutput = output.handle
    process.standardError = errors.handle
    try process.run()
    standardInput.fileHandleForWriting.write(Data(input.utf8))
    try standardInput.fileHandleForWriting.close()
    process.waitUntilExit()
    let status = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
    return (status, try output.text(), try errors.text())
}

/// A file that takes what a process writes, gone with the last reference.
final class TemporaryFile {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("pci-rebalance-\(UUID().uuidString)")
    let handle: FileHandle

    init() throws {
        try Data().write(to: url)
        handle = try FileHandle(forWritingTo: url)
    }

    func text() throws -> String { String(decoding: try Data(contentsOf: url), as: UTF8.self) }

    deinit { try? FileManager.default.removeItem(at: url) }
}

/// What the script's `tree` prints for `state`.
func scriptChecksum(_ state: TreeState) -> String { PlanScript.checksum(state) }

/// The part of a script that looks whether a function has come into use, on an imitated /sys and /proc.
@Suite("Plan scripts look for use")
struct PlanScriptUseTests {
    private static let device = "devices/pci0000:00/0000:00:02.0/0000:03:00.0"

    /// What `idle 0000:03:00.0` of the script ends with below `root`.
    private func idle(_ root: String) throws -> (status: Int32, output: String, errors: String) {
        let script = PlanScript(plan: try handmadePlan()).render()
        let lines = script.split(separator: "\n", omittingEmptySubsequences: false)
        // The functions alone; the script's own work begins with the first tree that it expects.
        let functions = try #require(lines.firstIndex { $0.hasPrefix("expect '") })
        #expect(lines.contains("idle 0000:03:00.0"))
        let text = (lines[..<functions] + ["idle 0000:03:00.0 2>&1"]).joined(separator: "\n")
        let moved = text.replacing("/sys/", with: "\(root)/sys/").replacing("/proc/", with: "\(root)/proc/")
        return try run("/bin/sh", ["-c", moved], input: "")
    }

    @Test("a mounted disk, swap, a part of another disk, the default route, a guest: each stops it, others do not")
    func uses() throws {
        let shape = SysfsShape.temporary()
        defer { shape.remove() }
        shape.file("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
        shape.file("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n")
        shape.file("proc/net/route", "Iface Destination Gateway\nlan0 00000000 010200C0\n")
        #expect(try idle(shape.path).status == 0)
        let block = "\(Self.device)/nvme/nvme0/nvme0n1"
        shape.file("sys/\(block)/dev", "259:0\n")
        shape.file("sys/\(block)/nvme0n1p1/dev", "259:1\n")
        for name in ["nvme0n1", "nvme0n1/nvme0n1p1"] {
            shape.link(
                "sys/class/block/\(name.split(separator: "/").last ?? "")",
                "../../\(Self.device)/nvme/nvme0/\(name)"
            )
        }
        shape.file("sys/\(Self.device)/net/eth0/address", "x\n")
        shape.link("sys/class/net/eth0", "../../\(Self.device)/net/eth0")
        shape.link("sys/bus/pci/devices/0000:03:00.0", "../../../\(Self.device)")
        shape.link("sys/\(Self.device)/iommu_group", "../../../kernel/iommu_groups/7")
        shape.link("proc/9/fd/3", "/dev/vfio/8")
        let unused = try idle(shape.path)
        #expect(unused.status == 0, "\(unused.output)")

        func expect(_ words: String, _ name: String, _ text: String, undo: String) throws {
            shape.file(name, text)
            let found = try idle(shape.path)
            #expect(found.status == 1 && found.output.contains("expected 0000:03:00.0 to be idle, found \(words)"))
            shape.file(name, undo)
            #expect(try idle(shape.path).status == 0)
        }
        try expect(
            "nvme0n1p1 mounted",
            "proc/self/mountinfo",
            "22 1 259:1 / /srv rw - xfs /dev/nvme0n1p1 rw\n",
            undo: ""
        )
        try expect("swap on nvme0n1", "proc/swaps", "/dev/nvme0n1 partition 1 0 -2\n", undo: "")
        try expect("the default route on eth0", "proc/net/route", "eth0 00000000 010200C0\n", undo: "eth0 000200C0 0\n")
        shape.file("sys/devices/virtual/net/bond0/upper_bond0.5/x", "")
        shape.link("sys/class/net/bond0", "../../devices/virtual/net/bond0")
        shape.file("sys/\(Self.device)/net/eth0/upper_bond0/x", "")
        try expect("the default route on bond0.5", "proc/net/route", "bond0.5 00000000 010200C0\n", undo: "")
        // A file system with numbers of its own is told by its source, and by its members.
        try expect(
            "nvme0n1p1 mounted",
            "proc/self/mountinfo",
            "22 1 0:31 / /srv rw - btrfs /dev/nvme0n1p1 rw\n",
            undo: ""
        )
        shape.file("sys/fs/btrfs/1-2/devices/nvme0n1", "")
        #expect(try idle(shape.path).output.contains("found nvme0n1 part of a mounted btrfs"))
        removeTree(shape.path + "/sys/fs/btrfs")
        shape.file("sys/\(Self.device)/vfio-dev/vfio3/dev", "511:3\n")
        shape.link("proc/9/fd/4", "/dev/vfio/devices/vfio3")
        #expect(try idle(shape.path).output.contains("found vfio/devices/vfio3 held"))
        shape.link("proc/9/fd/4", "/dev/vfio/devices/vfio4")
        shape.link("proc/9/fd/3", "/dev/vfio/7")
        #expect(try idle(shape.path).output.contains("found its VFIO group 7 held"))
        shape.link("proc/9/fd/3", "/dev/null")
        shape.file("sys/\(block)/holders/dm-0", "")
        #expect(try idle(shape.path).output.contains("found nvme0n1 part of dm-0"))
        removeTree(shape.path + "/sys/\(block)/holders")
        #expect(try idle(shape.path).status == 0)

        // Multipath: what is below the function is a path without number, the disk lies elsewhere.
        let path = "\(Self.device)/nvme/nvme1/nvme1c0n1"
        shape.file("sys/\(path)/hidden", "1\n")
        shape.link("sys/class/block/nvme1c0n1", "../../\(path)")
        shape.file("sys/devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n1/dev", "259:7\n")
        shape.link("sys/class/block/nvme1n1", "../../devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n1")
        let multipath = try idle(shape.path)
        #expect(multipath.status == 0, "\(multipath.output)")
        try expect("nvme1n1 mounted", "proc/self/mountinfo", "22 1 259:7 / /srv rw - xfs /dev/nvme1n1 rw\n", undo: "")
    }
}
