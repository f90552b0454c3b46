// SPDX-License-Identifier: GPL-2.0-or-later

internal import ArgumentParser
internal import VMLaboratory

/// What is to be booted, as typed.
struct MachineOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "The topology, a name that 'vm-lab list' prints.")
    var topology = "first-light"

    @Option(
        name: .shortAndLong,
        help: "The kernel: 6.1, 6.12 or 7.",
        transform: { text in
            guard let kernel = Kernel(rawValue: text) else {
                throw ValidationError("expected 6.1, 6.12 or 7, found '\(text)'")
            }
            return kernel
        }
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
        )
    }
}

/// What happens to the guest before the command, as typed.
struct HotPlugOptions: ParsableArguments {
    @Option(
        name: .customLong("plug"),
        help: "A card to plug into the running guest first: BUS=SIZE, a test device of that size, for example d2=1G."
    )
    var cards: [String] = []

    /// Plugs the cards one after another.
    func apply(to machine: VirtualMachine) throws {
        for (number, card) in cards.enumerated() {
            let words = card.split(separator: "=", maxSplits: 1).map(String.init)
            guard words.count == 2 else { throw ValidationError("expected BUS=SIZE, found '\(card)'") }
            let device = Device(
                "pci-testdev",
                "plugged\(number + 1)",
                properties: [.init("membar", .number(try size(words[1])))]
            )
            try machine.hotPlug(device, behind: words[0])
        }
    }

    private func size(_ text: String) throws -> UInt64 {
        let units: [Character: UInt64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30]
        let unit = text.last.flatMap { units[$0] }
        guard let count = UInt64(unit == nil ? text : String(text.dropLast())),
            case let (bytes, overflow) = count.multipliedReportingOverflow(by: unit ?? 1), !overflow
        else { throw ValidationError("expected a size as 16M, found '\(text)'") }
        return bytes
    }
}
