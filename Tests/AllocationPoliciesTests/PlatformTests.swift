// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// Words of a kernel command line, architectures, releases: each read with the value that it states and no other.
@Suite("Platforms and releases")
struct PlatformTests {
    private func platform(_ words: String, _ preset: Platform.Preset = .x86) -> Platform {
        Platform(preset, commandLine: words)
    }

    @Test("numbers as memparse reads them: decimal, hexadecimal, one letter of size, the rest ignored")
    func memparse() {
        for (text, value) in [
            ("0", 0), ("7", 7), ("0x10", 16), ("0X1f", 31), ("1k", 1 << 10), ("1K", 1 << 10), ("2m", 2 << 20),
            ("3M", 3 << 20), ("4g", 4 << 30), ("5G", 5 << 30), ("1t", 1 << 40), ("1T", 1 << 40), ("0x2k", 2 << 10),
            ("8kB", 8 << 10), ("9x", 9), ("", nil), ("k", nil), ("0x", nil), ("-1", nil), ("1f", 1),
        ] as [(String, UInt64?)] {
            #expect(Platform.memparse(Substring(text)) == value, "\(text)")
        }
    }

    @Test("each word sets its own field and leaves the others")
    func words() {
        let plain = platform("")
        #expect(plain == Platform(.x86) && plain.bindsPortDriver && plain.hotPlugBuses == 1)
        #expect(plain.hotPlugIO == 256 && plain.hotPlugMemory == 2 << 20 && plain.hotPlugPrefetchable == 2 << 20)
        func changed(_ change: (inout Platform) -> Void) -> Platform {
            var copy = plain
            change(&copy)
            return copy
        }
        let table: [(String, Platform)] = [
            ("pci=realloc", changed { $0.reallocation = .on }), ("pci=realloc=on", changed { $0.reallocation = .on }),
            ("pci=realloc=off", changed { $0.reallocation = .off }), ("pci=realloc=maybe", plain),
            ("pci=assign-busses", changed { $0.renumbersAllBuses = true }),
            ("pci=rom", changed { $0.assignsROMs = true }), ("pci=nocrs", changed { $0.ignoresApertures = true }),
            ("pci=noari", changed { $0.ignoresARI = true }),
            ("pci=pcie_scan_all", changed { $0.scansAllDevices = true }),
            ("pcie_ports=compat", changed { $0.bindsPortDriver = false }), ("pcie_ports=native", plain),
            ("pci=hpiosize=4k", changed { $0.hotPlugIO = 0x1000 }),
            ("pci=hpmmiosize=16M", changed { $0.hotPlugMemory = 16 << 20 }),
            ("pci=hpmmioprefsize=1G", changed { $0.hotPlugPrefetchable = 1 << 30 }),
            (
                "pci=hpmemsize=3M",
                changed {
                    $0.hotPlugMemory = 3 << 20
                    $0.hotPlugPrefetchable = 3 << 20
                }
            ),
            ("pci=hpbussize=255", changed { $0.hotPlugBuses = 255 }), ("pci=hpbussize=256", plain),
            ("pci=hpmmiosize=", plain),
            ("pci=resource_alignment=20@00:01.0", changed { $0.alignmentRequests = "20@00:01.0" }),
            ("realloc hpiosize=4k", plain), ("xpci=realloc", plain),
            (
                "quiet pci=noari,rom pci=nocrs ro",
                changed {
                    $0.ignoresARI = true
                    $0.assignsROMs = true
                    $0.ignoresApertures = true
                }
            ),
        ]
        for (words, expected) in table { #expect(platform(words) == expected, "\(words)") }
        #expect(!platform("pci=nocrs", .arm64ACPI).ignoresApertures)
    }

    @Test("a kernel that does not reallocate by itself does so on request alone")
    func reallocation() {
        var kernel = KernelIdentity(architecture: "x86_64")
        #expect(Platform(kernel, commandLine: nil).reallocation == .automatic)
        kernel.reallocatesByItself = true
        #expect(Platform(kernel, commandLine: nil).reallocation == .automatic)
        kernel.reallocatesByItself = false
        #expect(Platform(kernel, commandLine: "ro quiet").reallocation == .off)
        #expect(Platform(kernel, commandLine: "pci=realloc").reallocation == .on)
    }

    @Test("a word that changes nothing is none that a platform acts on")
    func known() {
        for word in [
            "realloc", "realloc=off", "assign-busses", "rom", "nocrs", "noari", "pcie_scan_all", "hpiosize=256",
            "hpmmiosize=2M", "hpmmioprefsize=2M", "hpmemsize=2M", "hpbussize=1", "resource_alignment=00:01.0",
        ] {
            #expect(Platform.knows(word, on: .x86), "\(word)")
        }
        for word in ["noacpi", "hpiosize=", "hpbussize", ""] { #expect(!Platform.knows(word, on: .x86), "\(word)") }
        #expect(!Platform.knows("nocrs", on: .riscvDT))
    }

    @Test("architectures: by the name of uname -m and what describes the hardware")
    func architectures() {
        for (name, description, preset) in [
            ("x86_64", nil, .x86), ("i686", nil, .x86), ("aarch64", nil, .arm64ACPI), ("arm64", .acpi, .arm64ACPI),
            ("aarch64", .deviceTree, .arm64DT), ("loongarch64", nil, .loongArch), ("riscv64", nil, .riscvDT),
            ("riscv64", .acpi, .riscvACPI), ("riscv32", nil, .riscvDT), ("ppc64le", nil, .pseries),
            ("ppc64", .opal, .powernv), ("ppc64", .deviceTree, .pseries), ("mips64", nil, .mips),
            ("armv7l", nil, .arm64DT),
            ("s390x", nil, .x86), ("s390x", .deviceTree, .arm64DT), (nil, nil, .x86),
        ] as [(String?, HardwareDescription?, Platform.Preset)] {
            #expect(Platform.Preset(architecture: name, hardwareDescription: description) == preset, "\(name ?? "-")")
        }
    }

    @Test("what each platform does: who takes over, the least addresses, numbering, windows read")
    func presets() {
        struct Row {
            var boot: Platform.BootMethod
            var readsWindows: Bool
            var renumbers: Bool
            var avoidsISA: Bool
            var io: UInt64
            var memory: UInt64
        }
        let table: [Platform.Preset: Row] = [
            .x86: Row(
                boot: .survey,
                readsWindows: true,
                renumbers: false,
                avoidsISA: true,
                io: 0x1000,
                memory: 0x1000_0000
            ),
            .arm64ACPI: Row(
                boot: .rootBus,
                readsWindows: false,
                renumbers: false,
                avoidsISA: false,
                io: 0x1000,
                memory: 0
            ),
            .arm64Preserve: Row(
                boot: .rootBus,
                readsWindows: false,
                renumbers: false,
                avoidsISA: false,
                io: 0x1000,
                memory: 0
            ),
            .arm64DT: Row(
                boot: .hostProbe,
                readsWindows: false,
                renumbers: true,
                avoidsISA: false,
                io: 0x1000,
                memory: 0
            ),
            .arm64ProbeOnly: Row(
                boot: .hostProbe,
                readsWindows: false,
                renumbers: false,
                avoidsISA: false,
                io: 0x1000,
                memory: 0
            ),
            .riscvDT: Row(boot: .hostProbe, readsWindows: false, renumbers: true, avoidsISA: false, io: 4, memory: 16),
            .riscvACPI: Row(boot: .rootBus, readsWindows: false, renumbers: true, avoidsISA: false, io: 4, memory: 16),
            .loongArch: Row(
                boot: .loongArch,
                readsWindows: false,
                renumbers: false,
                avoidsISA: false,
                io: 0x4000,
                memory: 0x2000_0000
            ),
            .powernv: Row(
                boot: .powerPCReassign,
                readsWindows: true,
                renumbers: false,
                avoidsISA: false,
                io: 0x1000,
                memory: 0x1000_0000
            ),
            .pseries: Row(
                boot: .powerPCSurvey,
                readsWindows: true,
                renumbers: false,
                avoidsISA: true,
                io: 0x1000,
                memory: 0x1000_0000
            ),
            .mips: Row(boot: .once, readsWindows: false, renumbers: true, avoidsISA: true, io: 0, memory: 0),
        ]
        for preset in Platform.Preset.allCases {
            let platform = Platform(preset)
            guard let row = table[preset] else {
                Issue.record("no line for \(preset)")
                continue
            }
            #expect(platform.boot == row.boot && platform.readsBridgeWindows == row.readsWindows, "\(preset)")
            #expect(
                platform.renumbersAllBuses == row.renumbers && platform.avoidsISAAliases == row.avoidsISA,
                "\(preset)"
            )
            #expect(platform.minimumIO == row.io && platform.minimumMemory == row.memory, "\(preset)")
            #expect(platform.hasISARules == (preset == .x86) && platform.preset == preset)
            #expect(platform.preservesConfiguration == (preset == .arm64Preserve))
            #expect(platform.probesOnly == (preset == .arm64ProbeOnly))
            #expect(platform.hasPartitionableEndpoints == (preset == .powernv))
            #expect(platform.leastBARAlignment == (preset == .powernv ? 0x1000 : 0))
            #expect(platform.forbidsVFs == (preset == .pseries))
            #expect(platform.showsBusPorts == [.powernv, .pseries].contains(preset))
        }
    }

    // MARK: Releases

    @Test("a release: series, points, and whose tree it is of")
    func releases() throws {
        for (text, major, minor, points, tree) in [
            ("6.12.5", 6, 12, 5...5, .stable), ("6.12", 6, 12, 0...0, .stable), ("7.0-rc3", 7, 0, 0...0, .other),
            ("6.1.0-34-amd64", 6, 1, 135...135, .debian), ("6.1.0-35-cloud-amd64", 6, 1, 137...137, .debian),
            ("6.1.0-33-amd64", 6, 1, 0...134, .debian), ("6.1.0-56-amd64", 6, 1, 192...192, .debian),
            ("6.1.0-57-amd64", 6, 1, 192...Int.max, .debian), ("5.10.0-36-686", 5, 10, 244...244, .debian),
            ("5.10.0-35-armmp", 5, 10, 0...243, .debian), ("6.12.9+bpo-amd64", 6, 12, 9...9, .debian),
            ("5.15.0-91-generic", 5, 15, 0...0, .ubuntu), ("6.8.0-1010-aws", 6, 8, 0...0, .ubuntu),
            ("5.14.0-427.el9.x86_64", 5, 14, 0...0, .redHat), ("6.11.4-301.fc41.x86_64", 6, 11, 4...4, .fedora),
            ("6.4.0-150600.23.7-default", 6, 4, 0...0, .suse), ("6.8.12-4-pve", 6, 8, 12...12, .proxmox),
            ("6.6.31+rpt-rpi-v8", 6, 6, 31...31, .raspberryPi), ("6.6.1-elephant", 6, 6, 1...1, .other),
        ] as [(String, Int, Int, ClosedRange<Int>, KernelRelease.Tree)] {
            let release = try #require(KernelRelease(text), "\(text)")
            #expect(release.series == .init(major, minor) && release.points == points, "\(text)")
            #expect(release.tree == tree, "\(text)")
        }
        for text in ["", "6", "x.1", "6.x", ".", "rolling"] { #expect(KernelRelease(text) == nil, "\(text)") }
        #expect(KernelRelease.Series(5, 10) < .init(6, 1) && KernelRelease.Series(6, 1) < .init(6, 12))
    }

    @Test("a set keeps the first of equal behaviours, in order; what is filtered away leaves no empty set")
    func sets() {
        var twin = KernelBehaviour.linux6_1
        twin.name = "another name"
        let set = BehaviourSet(
            .init(.linux6_1, reason: "a"),
            others: [.init(twin, reason: "b"), .init(.linux7_2, reason: "c"), .init(.linux7_2, reason: "d")],
            judgement: .carried
        )
        #expect(set.candidates.map(\.reason) == ["a", "c"] && set.first == .linux6_1 && set.isJudged)
        #expect(set.filter { $0 == .linux7_2 }?.candidates.map(\.reason) == ["c"])
        #expect(set.filter { _ in false } == nil)
        #expect(!BehaviourSet(.init(.linux6_1, reason: ""), judgement: .none).isJudged)
    }

    @Test("the switches that differ are named, each by its own")
    func switches() {
        let changes: [(String, (inout KernelBehaviour) -> Void)] = [
            ("oldWindowSizeIsLowerBound", { $0.oldWindowSizeIsLowerBound.toggle() }),
            ("relaxedTail", { $0.relaxedTail.toggle() }), ("headAlignment", { $0.headAlignment.toggle() }),
            ("optionalSplit", { $0.optionalSplit.toggle() }), ("alignmentOrders", { $0.alignmentOrders += 1 }),
            ("resizeRelease", { $0.resizeRelease = .noFile }), ("distributesAtBoot", { $0.distributesAtBoot.toggle() }),
            ("vfRoomIsCounted", { $0.vfRoomIsCounted.toggle() }),
            ("readsAbsentWindows", { $0.readsAbsentWindows.toggle() }),
        ]
        for (name, change) in changes {
            var other = KernelBehaviour.linux6_12
            change(&other)
            #expect(other.switches(differingFrom: .linux6_12) == [name])
        }
        #expect(Set(KernelBehaviour.switchNames).count == KernelBehaviour.switchNames.count)
    }
}
