// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import Testing
internal import VMLaboratory

/// Who drives a slot decides what becomes of a card: what the tool says in the guest against what the kernel then does.
@Suite("slot drivers on real kernels")
struct SlotDriverTests {
    /// A machine, where a card goes, and who notices it.
    struct Condition: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var topology: MachineTopology
        var words: [String] = []
        /// The slot as `simulate` takes it.
        var place: String
        /// QEMU's bus and the address on it.
        var bus: String
        var at: String?
        var card: MemorySize
        /// The bridge whose driver `tree` names, or nil for the root bus.
        var port: String?
        var driver: String
        /// A rescan that finds what nobody noticed.
        var rescan: String?
    }

    static let conditions = [
        Condition(
            testDescription: "acpiphp, no room",
            topology: .firstLightACPI,
            place: "0000:02:01.0",
            bus: "d2",
            card: .gib(1),
            port: "0000:02:01.0",
            driver: "acpiphp"
        ),
        Condition(
            testDescription: "acpiphp, room",
            topology: .firstLightACPI,
            place: "0000:02:01.0",
            bus: "d2",
            card: .mib(1),
            port: "0000:02:01.0",
            driver: "acpiphp"
        ),
        Condition(
            testDescription: "pciehp",
            topology: .firstLight,
            place: "0000:02:01.0",
            bus: "d2",
            card: .gib(1),
            port: "0000:02:01.0",
            driver: "pciehp"
        ),
        Condition(
            testDescription: "nobody, with pcie_ports=compat",
            topology: .firstLight,
            words: ["pcie_ports=compat"],
            place: "0000:02:01.0",
            bus: "d2",
            card: .mib(16),
            port: "0000:02:01.0",
            driver: "nobody",
            rescan: "0000:04"
        ),
        Condition(
            testDescription: "a free device number of i440fx's root bus",
            topology: .rootBusSlots,
            place: "0000:00:06",
            bus: "pci.0",
            at: "6",
            card: .mib(64),
            driver: "acpiphp"
        ),
        Condition(
            testDescription: "a bridge that has a card takes another",
            topology: .rootBusSlots,
            place: "0000:01:02",
            bus: "bridge",
            at: "2",
            card: .mib(1),
            port: "0000:00:05.0",
            driver: "acpiphp"
        ),
    ]

    /// Every condition on every kernel with `PCI_REBALANCE_VM_CASES=all` (`make vm-test-all`); without it each on one.
    static let matrix = conditions.enumerated().flatMap { number, condition in
        let kernels = RepairTests.areAllCasesAsked ? Kernel.allCases : [Kernel.allCases[number % Kernel.allCases.count]]
        return kernels.map { (condition, $0) }
    }

    @Test("the slot's driver is named, and a hot-add ends as predicted", arguments: matrix)
    func prediction(condition: Condition, kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try VirtualMachine(
            condition.topology,
            kernel: kernel,
            options: VirtualMachine.Options(kernelArguments: condition.words)
        )
        #expect(try driver(condition.port, guest) == condition.driver)

        let size = ByteCount(condition.card.bytes).description
        let hotAdd = "--op hotadd \(condition.place) testdev:\(size)"
        let before = try shown(guest)
        let predicted = try predicted(hotAdd, guest)
        if condition.rescan != nil { #expect(predicted == before) }

        let device = Device.testDevice("plugged", memory: condition.card, at: condition.at)
        try guest.hotPlug(device, behind: condition.bus)
        #expect(try shown(guest) == predicted)
        guard let bus = condition.rescan else { return }
        try guest.rescan(bus: bus)
        try guest.waitUntilQuiet()
        let names = { (lines: [String]) in lines.map { $0.prefix { $0 != " " } } }
        #expect(names(try shown(guest)) == names(before), "the slot's power is off, a rescan finds nothing")

        // Slot Control of QEMU's downstream port, whose PCI Express capability is at 0x90: power on.
        try guest.writeConfiguration(of: condition.place, at: 0xa8, [0, 0])
        let powered = try self.predicted("\(hotAdd) --op rescan-bus \(bus)", guest)
        #expect(powered.count == before.count + 1)
        try guest.rescan(bus: bus)
        try guest.waitUntilQuiet()
        #expect(try shown(guest) == powered)
    }

    /// The driver that `tree` names for a bridge, or for the root bus.
    private func driver(_ port: String?, _ guest: VirtualMachine) throws -> String? {
        let tree = try document("tree", guest)
        func word(_ value: JSONTree?) -> String? { if case .string(let text)? = value { text } else { nil } }
        guard let port else {
            guard case .array(let hosts)? = tree["hostBridges"] else { return nil }
            return word(hosts.first?["slotDriver"])
        }
        guard case .array(let functions)? = tree["functions"] else { return nil }
        return word(functions.first { word($0["address"]) == port }?["bridge"]?["slotDriver"])
    }

    /// Address and resource lines of every function, a line each, as the tool predicts them.
    private func predicted(_ operations: String, _ guest: VirtualMachine) throws -> [String] {
        let simulation = try document("simulate \(operations)", guest)
        guard case .array(let functions)? = simulation["functions"] else { return [] }
        return functions.compactMap { function -> String? in
            guard case .string(let address)? = function["address"], case .array(let lines)? = function["resource"]
            else {
                return nil
            }
            let texts = lines.compactMap { if case .string(let text) = $0 { text } else { nil } }
            return ([address] + texts).joined(separator: " ")
        }
        .sorted()
    }

    /// The same as the guest's kernel shows it.
    private func shown(_ guest: VirtualMachine) throws -> [String] {
        let script = "cd /sys/bus/pci/devices; for d in *; do echo $d $(cat $d/resource); done"
        return try guest.run(script).output.split(separator: "\n").map(String.init).sorted()
    }

    private func document(_ command: String, _ guest: VirtualMachine) throws -> JSONTree {
        let result = try guest.run("pci-rebalance \(command) -q --json", timeout: .seconds(60))
        #expect(result.status == 0, "\(command): \(result.errors)")
        return try JSONParser.parse(result.standardOutput, limits: .record)
    }
}
