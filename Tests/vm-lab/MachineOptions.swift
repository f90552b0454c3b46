// SPDX-License-Identifier: GPL-2.0-or-later

internal import ArgumentParser
internal import VMLaboratory

/// What is to be booted, as typed.
struct MachineOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "The topology, a name that 'vm-lab list' prints.")
    var topology = "first-light"

    @Option(
        name: .shortAndLong,
        help: "The kernel: \(Kernel.labels).",
        transform: Kernel.parse
    )
    var kernel = Kernel.linux6_12

    @Option(name: .customLong("file"), help: "A file to put into the guest's /usr/bin (default: the built tool).")
    var files: [String] = []

    @Option(name: .customLong("device"), help: "A further -device for QEMU, for example pci-testdev,bus=d2,membar=1G.")
    var devices: [String] = []

    @Option(name: .customLong("append"), help: "A further kernel parameter.")
    var parameters: [String] = []

    @Flag(help: "Boot the kernel image as packaged instead of decompressed beforehand.")
    var packaged = false

    @Option(
        name: .customLong("late"),
        help: "A card that the kernel finds and firmware did not see: BUS=SIZE; ports then have no power controller."
    )
    var late: [TestCard] = []

    func machine() throws -> MachineTopology {
        guard let machine = MachineTopology.named(topology) else {
            let names = MachineTopology.named.map(\.name).joined(separator: ", ")
            throw ValidationError("expected one of \(names), found '\(topology)'")
        }
        return machine
    }

    var options: VirtualMachine.Options {
        VirtualMachine.Options(
            files: files.isEmpty ? Initramfs.builtTool : files,
            image: packaged ? .packaged : .decompressed,
            kernelArguments: parameters,
            machineArguments: devices.flatMap { ["-device", $0] }
                + (late.isEmpty ? [] : VirtualMachine.withoutPowerControl),
            lateCards: late.enumerated().map { number, card in
                VirtualMachine.LateCard(card.device("late\(number + 1)"), behind: card.bus)
            }
        )
    }
}

/// A test device as typed: the bus that it goes to, and its size, `d2=1G`.
struct TestCard: ExpressibleByArgument {
    var bus: String
    var bytes: UInt64

    init?(argument: String) {
        let words = argument.split(separator: "=", maxSplits: 1)
        guard words.count == 2, let last = words[1].last else { return nil }
        let units: [Character: UInt64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30]
        guard let count = UInt64(units[last] == nil ? words[1] : words[1].dropLast()),
            case let (bytes, overflow) = count.multipliedReportingOverflow(by: units[last] ?? 1), !overflow
        else { return nil }
        bus = String(words[0])
        self.bytes = bytes
    }

    /// The device.
    func device(_ identifier: String) -> Device {
        Device("pci-testdev", identifier, properties: [.init("membar", .number(bytes))])
    }
}

/// What happens to the guest before the command, as typed.
struct HotPlugOptions: ParsableArguments {
    @Option(
        name: .customLong("plug"),
        help: "A card to plug into the running guest first: BUS=SIZE, a test device of that size, for example d2=1G."
    )
    var cards: [TestCard] = []

    /// Plugs the cards one after another.
    func apply(to machine: VirtualMachine) throws {
        for (number, card) in cards.enumerated() {
            try machine.hotPlug(card.device("plugged\(number + 1)"), behind: card.bus)
        }
    }
}
