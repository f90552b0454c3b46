// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// The parts of the advice for kernel words, each at its limits.
@Suite("kernel words of an advice")
struct BootWordTests {
    private typealias Machine = WriteMachine
    private static let port = FunctionAddress(bus: BusNumber(2), devfn: 8)
    private static let platform = Platform(architecture: "x86_64", commandLine: nil)

    private func set(_ change: (inout BootWordSet) -> Void) -> BootWordSet {
        var set = BootWordSet()
        change(&set)
        return set
    }

    @Test("each word with its value, in a fixed order; sizes as short as they are exact")
    func words() {
        let all = set {
            $0.reallocates = true
            $0.renumbers = true
            $0.released = Self.port
            $0.sizes = [.prefetchable: 3 << 30, .memory: (1 << 20) + (1 << 10), .io: 0x3000, .buses: 8]
        }
        #expect(
            all.words == [
                "realloc", "assign-busses", "resource_alignment=0000:02:01.0", "hpiosize=12K", "hpmmiosize=1025K",
                "hpmmioprefsize=3G", "hpbussize=8",
            ]
        )
        #expect(all.count == 7)
        #expect(BootWordSet().words == [] && BootWordSet().count == 0)
        let single: [((inout BootWordSet) -> Void, String)] = [
            ({ $0.reallocates = true }, "realloc"), ({ $0.renumbers = true }, "assign-busses"),
            ({ $0.released = Self.port }, "resource_alignment=0000:02:01.0"),
            ({ $0.sizes[.io] = 1 }, "hpiosize=1"), ({ $0.sizes[.buses] = 1024 }, "hpbussize=1024"),
        ]
        for (change, word) in single { #expect(set(change).words == [word] && set(change).count == 1) }
    }

    @Test("a size in the largest unit that divides it")
    func exactText() {
        let table: [(UInt64, String)] = [
            (0, "0"), (1, "1"), (1023, "1023"), (1024, "1K"), (1025, "1025"), (1536, "1536"), (2048, "2K"),
            ((1 << 20) - 1024, "1023K"), (1 << 20, "1M"), ((1 << 20) + 1, "1048577"), ((1 << 20) + 1024, "1025K"),
            ((1 << 30) - (1 << 20), "1023M"), (1 << 30, "1G"), ((1 << 30) + (1 << 20), "1025M"), (1 << 40, "1024G"),
        ]
        for (size, text) in table { #expect(ByteCount(size).exactText == text) }
    }

    @Test("what each word changes of a platform, and nothing else")
    func applied() {
        let platform = Self.platform
        var expected = platform
        #expect(BootWordSet().applied(to: platform) == platform)
        expected.reallocation = .on
        #expect(set { $0.reallocates = true }.applied(to: platform) == expected)
        expected = platform
        expected.renumbersAllBuses = true
        #expect(set { $0.renumbers = true }.applied(to: platform) == expected)
        expected = platform
        expected.alignmentRequests = "0000:02:01.0"
        #expect(set { $0.released = Self.port }.applied(to: platform) == expected)
        expected = platform
        expected.hotPlugIO = 0x2000
        expected.hotPlugMemory = 3 << 20
        expected.hotPlugPrefetchable = 5 << 20
        expected.hotPlugBuses = 0xff
        let sizes: [BootWordSet.Size: UInt64] = [
            .io: 0x2000, .memory: 3 << 20, .prefetchable: 5 << 20, .buses: 0xff,
        ]
        #expect(set { $0.sizes = sizes }.applied(to: platform) == expected)
        // The kernel takes a count beyond 255 for its default.
        #expect(set { $0.sizes = [.buses: 0x100] }.applied(to: platform).hotPlugBuses == 1)
    }

    @Test("steps and what a kernel starts from")
    func sizes() {
        var platform = Self.platform
        platform.hotPlugIO = 11
        platform.hotPlugMemory = 12
        platform.hotPlugPrefetchable = 13
        platform.hotPlugBuses = 14
        let table: [(BootWordSet.Size, String, UInt64, UInt64)] = [
            (.prefetchable, "hpmmioprefsize", 1 << 20, 13), (.memory, "hpmmiosize", 1 << 20, 12),
            (.io, "hpiosize", 4096, 11), (.buses, "hpbussize", 1, 14),
        ]
        #expect(table.map(\.0) == BootWordSet.Size.allCases)
        for (size, word, step, initial) in table {
            #expect(size.word == word && size.step == step && size.initial(platform) == initial)
        }
        // drivers/pci/pci.c: 256 bytes of I/O, 2 MiB of memory of each kind, one bus.
        let usual = BootWordSet.Size.allCases.map { $0.initial(Self.platform) }
        #expect(usual == [2 << 20, 2 << 20, 256, 1])
    }

    @Test("fewer words before more, numbering anew last, releasing a port after the rest of the same count")
    func choices() {
        func texts(_ choices: [(set: BootWordSet, sized: [BootWordSet.Size])]) -> [String] {
            choices.map { ($0.set.words + $0.sized.map(\.word)).joined(separator: " ") }
        }
        func keeping(_ choices: [(set: BootWordSet, sized: [BootWordSet.Size])]) -> [String] {
            texts(choices.filter { !$0.set.sizes.values.contains(0) })
        }
        let none = BootWordSet.choices(of: [], releasing: [], on: Self.platform)
        #expect(
            texts(none) == [
                "realloc", "hpiosize=0", "hpmmiosize=0", "hpmmioprefsize=0", "realloc hpiosize=0",
                "realloc hpmmiosize=0", "realloc hpmmioprefsize=0", "hpiosize=0 hpmmiosize=0 hpmmioprefsize=0",
                "realloc hpiosize=0 hpmmiosize=0 hpmmioprefsize=0",
            ]
        )
        let memory = BootWordSet.choices(of: [.memory], releasing: [Self.port], on: Self.platform)
        let released = "resource_alignment=0000:02:01.0"
        #expect(
            keeping(memory) == [
                "realloc", released, "hpmmiosize", "realloc \(released)", "realloc hpmmiosize",
                "\(released) hpmmiosize",
                "realloc \(released) hpmmiosize",
            ]
        )
        let buses = keeping(BootWordSet.choices(of: [.buses], releasing: [], on: Self.platform))
        #expect(
            buses == [
                "realloc", "hpbussize", "realloc hpbussize", "assign-busses", "realloc assign-busses",
                "assign-busses hpbussize", "realloc assign-busses hpbussize",
            ]
        )
        var platform = Self.platform
        platform.reallocation = .on
        platform.renumbersAllBuses = true
        #expect(keeping(BootWordSet.choices(of: [.buses], releasing: [], on: platform)) == ["hpbussize"])
        // What a kernel keeps nothing of anyway is not withheld.
        platform.hotPlugIO = 0
        platform.hotPlugPrefetchable = 0
        #expect(texts(BootWordSet.choices(of: [], releasing: [], on: platform)) == ["hpmmiosize=0"])
    }

    @Test("a command line is taken apart: what the advice decides, what stays, and the rest")
    func parameter() {
        let parameter = BootParameter(
            "quiet pci=noaer,realloc=off,hpmemsize=8M pci=hpiosize=4K root=/dev/sda pci=nommconf"
        )
        #expect(parameter.decided == ["realloc=off", "hpmemsize=8M", "hpiosize=4K"])
        #expect(parameter.others == ["noaer", "nommconf"])
        #expect(parameter.rest == "quiet pci=noaer root=/dev/sda pci=nommconf")
        #expect(parameter.present == "pci=noaer,nommconf,realloc=off,hpmemsize=8M,hpiosize=4K")
        for word in [
            "realloc", "assign-busses", "resource_alignment=20@pci:8086:9c22", "hpiosize=1", "hpmmiosize=1",
            "hpmmioprefsize=1", "hpmemsize=1", "hpbussize=1",
        ] { #expect(BootParameter("pci=\(word)").decided == [word], "\(word)") }
        for word in ["reallocate", "hpbussizes=1", "noacpi", "hp"] {
            #expect(BootParameter("pci=\(word)").others == [word], "\(word)")
        }
        let none = BootParameter(nil)
        #expect(none.present == nil && none.rest == "" && none.decided == [] && none.others == [])
        #expect(BootParameter("quiet xpci=realloc").present == nil)
        #expect(BootParameter("pci=realloc").rest == "")
    }

    @Test("what goals need in all: bytes of each kind are summed, bus numbers are the most that one needs")
    func needs() throws {
        let machine = try Machine(enabledVFs: 0)
        func need(_ goals: [BootGoal]) -> BootNeed { BootNeed(goals, machine.topology) }
        let room = Headroom(io: ByteCount(0x100), memory: ByteCount(5), prefetchable: ByteCount(7), buses: 3)
        let other = Headroom(io: ByteCount(0x200), memory: ByteCount(50), prefetchable: ByteCount(70), buses: 2)
        var found = need([.plan(.reserve(Machine.full, room))])
        #expect(found.bytes == [.io: 0x100, .memory: 5, .prefetchable: 7] && found.buses == 3)
        found = need([.plan(.reserve(Machine.full, room)), .plan(.reserve(Machine.empty, other))])
        #expect(found.bytes == [.io: 0x300, .memory: 55, .prefetchable: 77] && found.buses == 3)
        #expect(need([.plan(.reserve(Machine.full, Headroom()))]).bytes.isEmpty)
        let huge = Headroom(memory: ByteCount(.max))
        #expect(
            need([.plan(.reserve(Machine.full, huge)), .plan(.reserve(Machine.full, room))]).bytes[.memory] == .max
        )
        found = need([.plan(.resize(Machine.card, bar: 2, size: ByteCount(1 << 29)))])
        #expect(found.bytes == [.prefetchable: 1 << 29] && found.buses == 0)
        #expect(need([.plan(.resize(Machine.card, bar: 2, size: nil))]).bytes == [.prefetchable: 64 << 20])
        #expect(need([.plan(.resize(Machine.card, bar: 0, size: ByteCount(1 << 21)))]).bytes == [.memory: 1 << 21])
        #expect(need([.plan(.resize(Machine.card, bar: 5, size: ByteCount(1 << 21)))]).bytes.isEmpty)
        #expect(need([.plan(.virtualFunctions(Machine.card, count: 4))]).buses == 1)
        for goal in [Goal.compact, .located(Machine.card, bar: 0, address: 0)] {
            #expect(need([.plan(goal)]).bytes.isEmpty && need([.plan(goal)]).buses == 0)
        }
        // Every bridge without a bus number wants one.
        #expect(need([.plan(.everythingRequired)]).buses == 0)
        var without = machine.topology
        without.update(Machine.full) { $0.bridge?.busRange = nil }
        without.update(Machine.empty) { $0.bridge?.busRange = nil }
        #expect(BootNeed([.plan(.everythingRequired)], without).buses == 2)
        #expect(BootNeed([.plan(.place(Machine.card)), .plan(.reserve(Machine.root, room))], without).buses == 3)
        let card = CardProfile.endpoint(memory: 3 << 20, prefetchable: 1 << 30, io: 32)
        found = need([.card(port: Machine.empty, card)])
        #expect(found.bytes == [.io: 0x1000, .memory: 3 << 20, .prefetchable: 1 << 30] && found.buses == 0)
        #expect(BootGoal.card(port: Machine.empty, card).address == Machine.empty)
        #expect(BootGoal.plan(.place(Machine.card)).address == Machine.card)
        #expect(BootGoal.plan(.everythingRequired).address == nil)
    }
}

/// The advice on a made-up machine, its sentences recomputed from windows and numbers.
@Suite("advice on a made-up machine")
struct BootAdviceSentenceTests {
    private typealias Machine = WriteMachine
    private static let mib: UInt64 = 1 << 20

    private func advice(
        _ goals: [BootGoal],
        _ commandLine: String? = nil,
        in topology: Topology,
        budget: Int = 40
    ) throws -> BootAdvice {
        try BootAdvice(topology, goals: goals, behaviour: .linux6_12, commandLine: commandLine, budget: budget)
    }

    /// A machine that a boot leaves as it is.
    private func settled() throws -> Topology {
        let machine = try Machine(enabledVFs: 0)
        var twin = try LinuxTwin(machine.topology, behaviour: .linux6_12)
        twin.recordsEvents = false
        try twin.perform(.boot(Platform(machine.topology.kernel, commandLine: nil)))
        return try twin.topology()
    }

    @Test("room below a port, at what there is and one granule beyond; the shortage in bytes")
    func reserve() throws {
        let topology = try settled()
        let i = try #require(topology.position(of: Machine.empty))
        let memory = try #require(topology.functions[i].resource(.memoryWindow)?.range)
        let prefetchable = try #require(topology.functions[i].resource(.prefetchableWindow)?.range)
        let io = try #require(topology.functions[i].resource(.ioWindow)?.range)
        let buses = try #require(topology.functions[i].bridge?.busRange)
        func asItIs(_ room: Headroom) throws -> BootAdvice.Outcome {
            try advice([.plan(.reserve(Machine.empty, room))], in: topology).asItIs
        }
        // Nobody is below: a power of two that fills the window is there, twice as much is not.
        for (range, name, room) in [
            (memory, "mem window", { Headroom(memory: ByteCount($0)) }),
            (prefetchable, "pref window", { Headroom(prefetchable: ByteCount($0)) }),
            (io, "io window", { Headroom(io: ByteCount($0)) }),
        ] as [(AddressRange, String, (UInt64) -> Headroom)] {
            let size = range.clampedSize
            #expect(try asItIs(room(size)).isGood, "\(name) \(size)")
            let outcome = try asItIs(room(2 * size))
            #expect(!outcome.isGood && outcome.lost == [] && outcome.missing.count == 1)
            let sentence = outcome.missing.first ?? ""
            #expect(sentence.hasPrefix("0000:02:01.0 "))
            #expect(
                sentence.hasSuffix(
                    "has \(ByteCount(size)) free (block \(ByteCount(size))), \(ByteCount(2 * size)) wanted"
                )
            )
        }
        #expect(try asItIs(Headroom(buses: buses.count - 1)).isGood)
        #expect(
            try asItIs(Headroom(buses: buses.count)).missing
                == ["0000:02:01.0 has \(buses.count - 1) bus numbers free, \(buses.count) wanted"]
        )
        let both = try asItIs(Headroom(memory: ByteCount(2 * memory.clampedSize), buses: buses.count))
        #expect(both.missing.count == 2 && both.complaint == both.missing[0])
    }

    @Test("the smallest size that holds, rounded to the word's step; one step less does not")
    func smallest() throws {
        let topology = try settled()
        let wanted = 5 * Self.mib
        let found = try advice(
            [.plan(.reserve(Machine.empty, Headroom(memory: ByteCount(wanted))))],
            in: topology,
            budget: 1500
        )
        let best = try #require(found.best)
        let word = try #require(best.words.first { $0.hasPrefix("hpmmiosize=") })
        let size = try #require(ByteCount(parsing: String(word.dropFirst(11)))).rawValue
        #expect(size >= wanted && size % Self.mib == 0)
        #expect(found.isChange && found.parameter == "pci=\(best.words.joined(separator: ","))")
        #expect(found.smaller.contains { $0.words.contains("hpmmiosize=\(ByteCount(size - Self.mib).exactText)") })
        for outcome in found.smaller { #expect(!outcome.isGood, "\(outcome.words)") }
    }

    @Test("where a BAR lies after the boot is said, and where it should lie is reached only there")
    func located() throws {
        let topology = try settled()
        let bar = try #require(ResourceIndex.bar(0))
        let start = try #require(topology[Machine.card]?.resource(bar)?.range?.first)
        func asItIs(_ address: UInt64) throws -> BootAdvice.Outcome {
            try advice([.plan(.located(Machine.card, bar: 0, address: address))], in: topology).asItIs
        }
        #expect(try asItIs(start).isGood)
        #expect(try asItIs(start + Self.mib).missing == ["0000:03:00.0 BAR 0 lies at 0x\(bareHex(start))"])
    }

    @Test("VFs: as many as there is room for; more than the card has is refused")
    func virtualFunctions() throws {
        let topology = try settled()
        func found(_ count: Int) throws -> BootAdvice.Outcome {
            try advice([.plan(.virtualFunctions(Machine.card, count: count))], in: topology).asItIs
        }
        #expect(try found(4).isGood)
        let error = #expect(throws: TwinError.self) { try found(5) }
        #expect(error?.description.contains("0000:03:00.0 offers 4 VFs, asked for are 5") == true)
    }

    @Test("a resize names the sizes on offer, and whether the size can be had")
    func resize() throws {
        let topology = try settled()
        func found(_ bar: Int, _ size: UInt64?) throws -> BootAdvice.Outcome {
            try advice([.plan(.resize(Machine.card, bar: bar, size: size.map { ByteCount($0) }))], in: topology).asItIs
        }
        #expect(try found(2, 64 * Self.mib).isGood)
        // The VF BARs of the card lie in the same window, which so is not released.
        #expect(try found(2, 512 * Self.mib).missing == ["0000:03:00.0 BAR 2 cannot be made 512M"])
        var error = #expect(throws: TwinError.self) { try found(2, 16 * Self.mib) }
        // 0x3e0 in the capability offers 2^25 to 2^29 bytes.
        #expect(
            error?.description.contains(
                "BAR 2 of 0000:03:00.0 cannot be 16M, expected one of 32M, 64M, 128M, 256M, 512M"
            )
                == true
        )
        error = #expect(throws: TwinError.self) { try found(0, Self.mib) }
        #expect(error?.description.contains("expected a resizable BAR, BAR 0 of 0000:03:00.0 is none") == true)
    }

    @Test("goals that no boot reaches, and ports that are none, are refused by name")
    func refusals() throws {
        let topology = try settled()
        let nobody = FunctionAddress(bus: BusNumber(0x30), devfn: 0)
        let card = CardProfile.endpoint(memory: 1 << 20)
        let table: [(BootGoal, String)] = [
            (.plan(.compact), "closer packing is none"),
            (.plan(.restore(SavedLayout(fingerprint: 0, places: []))), "an older layout is none"),
            (.plan(.place(nobody)), "expected a function at 0000:30:00.0, found none"),
            (.card(port: Machine.card, card), "expected a port, 0000:03:00.0 is no bridge"),
        ]
        for (goal, text) in table {
            let error = #expect(throws: TwinError.self) { try advice([goal], in: topology) }
            #expect(error?.description.contains(text) == true, "\(text)")
        }
    }

    @Test("what a boot is told to write: in place of the old parameter, added, or taken out")
    func edits() throws {
        let topology = try settled()
        let goal = BootGoal.plan(.reserve(Machine.empty, Headroom(memory: ByteCount(5 * Self.mib))))
        let added = try advice([goal], in: topology, budget: 1500)
        let new = try #require(added.parameter)
        #expect(added.edit == "write \(new)")
        #expect(
            added.instructions.map(\.loader) == [
                "GRUB", "grubby", "systemd-boot", "rpm-ostree", "NixOS", "Raspberry Pi", "device tree",
            ]
        )
        #expect(added.instructions[1].text == "grubby --update-kernel=ALL --args=\"\(new)\"")
        #expect(added.instructions[3].text == "rpm-ostree kargs --append-if-missing=\"\(new)\"")
        let changed = try advice([goal], "pci=noaer", in: topology, budget: 1500)
        let other = try #require(changed.parameter)
        #expect(other.hasPrefix("pci=noaer,") && changed.presentParameter == "pci=noaer")
        #expect(changed.edit == "write \(other) in place of pci=noaer")
        #expect(
            changed.instructions[1].text
                == "grubby --update-kernel=ALL --remove-args=\"pci=noaer\" --args=\"\(other)\""
        )
        #expect(
            changed.instructions[3].text
                == "rpm-ostree kargs --delete-if-present=\"pci=noaer\" --append-if-missing=\"\(other)\""
        )
        let good = try advice([.plan(.everythingRequired)], in: topology)
        #expect(good.asItIs.isGood && !good.isChange && good.edit == nil && good.instructions.isEmpty)
    }
}
