// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation

/// A running guest: one emulated q35 machine with one of the kernels, a command channel and QEMU's monitor.
///
/// All calls block until they are done or time out. A machine belongs to whoever made it; any number of machines
/// run side by side. The machine ends when it is stopped, when the last reference goes, or when the process that
/// made it ends for any reason.
public final class VirtualMachine {
    /// What runs in the guest beside the kernel.
    public enum System: Sendable {
        /// Busybox and the agent: up in seconds, nothing acts unasked.
        case busybox
        /// A small Debian: systemd as the first process, udev, dpkg; files that end in `.deb` lie in /root.
        case debian
    }

    /// How a machine is started.
    public struct Options: Sendable {
        /// What runs in the guest.
        public var system: System
        /// Files that the guest finds in /usr/bin, with the libraries they need; the built tool by default.
        public var files: [String]
        /// Whether the guest can load modules.
        public var hasModules: Bool
        /// The form of the kernel image.
        public var image: Kernel.Image
        /// Kernel parameters beside the topology's.
        public var kernelArguments: [String]
        /// QEMU arguments beside the topology's.
        public var machineArguments: [String]
        /// Cards that are plugged between firmware and kernel, with the bus of each: firmware never sees them, and the
        /// kernel finds them as they are after power-on. Only behind ports without a power controller.
        public var lateCards: [LateCard]
        /// The longest time that a boot may take.
        public var bootTimeout: Duration

        /// Options with the given differences from the usual.
        public init(
            system: System = .busybox,
            files: [String] = Initramfs.builtTool,
            hasModules: Bool = true,
            image: Kernel.Image = .decompressed,
            kernelArguments: [String] = [],
            machineArguments: [String] = [],
            lateCards: [LateCard] = [],
            bootTimeout: Duration = .seconds(120)
        ) {
            self.system = system
            self.files = files
            self.hasModules = hasModules
            self.image = image
            self.kernelArguments = kernelArguments
            self.machineArguments = machineArguments
            self.lateCards = lateCards
            self.bootTimeout = bootTimeout
        }
    }

    /// QEMU arguments that give ports no power controller, so that what is plugged answers at once.
    public static let withoutPowerControl = ["pcie-root-port", "xio3130-downstream"].flatMap {
        ["-global", "\($0).power_controller_present=off"]
    }

    /// A card that is plugged while firmware waits at its boot menu.
    public struct LateCard: Sendable {
        /// The card.
        public var card: Device
        /// The bus that it goes to.
        public var bus: String

        /// A card and its bus.
        public init(_ card: Device, behind bus: String) {
            self.card = card
            self.bus = bus
        }
    }

    /// The kernel family that runs.
    public let kernel: Kernel
    /// The machine's description.
    public let topology: MachineTopology
    /// The kernel's release as the guest reports it.
    public private(set) var release = ""
    /// The time from starting QEMU to the guest's first word.
    public private(set) var bootDuration: Duration = .zero

    private let process: QemuProcess
    private var requests = 0
    private var console: [UInt8] = []
    private var events: [(name: String, data: JSONValue)] = []

    /// Boots a guest and waits until it takes commands.
    ///
    /// - Throws: ``LaboratoryError`` if the kernel cannot be had, QEMU refuses the topology, or the guest does not
    ///   come up in time; the description then ends with the console's last lines.
    public init(_ topology: MachineTopology, kernel: Kernel, options: Options = Options()) throws {
        let command = try VirtualMachine.command(topology, kernel: kernel, options: options)
        self.kernel = kernel
        self.topology = topology
        let started = ContinuousClock.now
        let deadline = started + options.bootTimeout
        process = try QemuProcess(
            program: command[0],
            arguments: Array(command[1...]) + [
                "-chardev", "socket,id=console,fd=\(QemuProcess.Stream.console.rawValue)", "-serial", "chardev:console",
                "-chardev", "socket,id=agent,fd=\(QemuProcess.Stream.agent.rawValue)", "-serial", "chardev:agent",
                "-chardev", "socket,id=answers,fd=\(QemuProcess.Stream.answers.rawValue)",
                "-device", "isa-debugcon,iobase=0xe9,chardev=answers",
                "-chardev", "socket,id=monitor,fd=\(QemuProcess.Stream.monitor.rawValue)",
                "-mon", "chardev=monitor,mode=control",
            ]
        )
        try greet(deadline)
        if !options.lateCards.isEmpty {
            try awaitFirmware(deadline)
            for late in options.lateCards { try deviceAdd(late.card, behind: late.bus) }
        }
        try awaitReady(deadline)
        bootDuration = ContinuousClock.now - started
    }

    /// Parameters that leave out self-tests, certificates and access control, none of which concerns PCI.
    ///
    /// They save about a quarter of a boot. Modules then load with a note that their signature was not checked. The check of
    /// the timer interrupt panics on a host that is busy for a moment.
    private static let hasteParameters = [
        "no_timer_check", "tsc=reliable", "cryptomgr.notests", "audit=0", "lsm=lockdown,capability", "rodata=off",
        "initcall_blacklist=load_system_certificate_list,crypto_kdf108_init,jent_mod_init,init_encrypted",
    ]

    /// The rate of the time-stamp counter, where this machine knows it for certain.
    ///
    /// The emulation passes the counter through. A guest that has to measure it beside other work gets it wrong now and
    /// then by a factor, and its clock with it. On a machine that is virtual itself /proc/cpuinfo states the counter's rate.
    private static let timeStampRate: [String] = {
        guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8) else { return [] }
        var values: [Substring: Substring] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            let name = parts[0].prefix { $0 != "\t" }
            if values[name] == nil { values[name] = parts[1] }
        }
        let flags = Set((values["flags"] ?? "").split(separator: " "))
        guard flags.isSuperset(of: ["hypervisor", "constant_tsc"]), !flags.contains("aperfmperf"),
            let rate = Double((values["cpu MHz"] ?? "").trimmingCharacters(in: .whitespaces)), rate > 100, rate < 10_000
        else { return [] }
        return ["tsc_early_khz=\(Int(rate * 1000))"]
    }()

    /// The program and arguments that boot a guest, without its serial ports and monitor.
    public static func command(_ topology: MachineTopology, kernel: Kernel, options: Options) throws -> [String] {
        let files = try kernel.files(options.image)
        var topology = topology
        // The Debian root and the archive that it comes from lie in memory.
        if options.system == .debian { topology.memory = MemorySize(bytes: max(topology.memory.bytes, 1 << 30)) }
        let archive = try Initramfs.pack(
            options.files,
            for: kernel,
            system: options.system,
            hasModules: options.hasModules
        )
        let parameters =
            ["console=ttyS0", "quiet", "panic=-1"] + hasteParameters + timeStampRate + topology.kernelArguments
            + options.kernelArguments
        let program = ProcessInfo.processInfo.environment["PCI_REBALANCE_QEMU"] ?? "qemu-system-x86_64"
        return [
            program, "-M", topology.board.rawValue, "-accel", "tcg", "-cpu", "qemu64", "-nodefaults", "-display",
            "none", "-no-reboot",
            "-kernel", files.image, "-initrd", archive, "-append", parameters.joined(separator: " "),
        ] + (try topology.arguments()) + options.machineArguments
            // Firmware then waits that many milliseconds at its boot menu.
            + (options.lateCards.isEmpty ? [] : ["-boot", "menu=on,splash-time=8000"])
    }

    /// Why no guest can be booted here without a download, or nil if one can: a line to skip a test with.
    ///
    /// With `PCI_REBALANCE_REQUIRE_VM=1` in the environment always nil: the test then fails instead of being skipped.
    public static func unavailableReason(_ kernel: Kernel) -> String? {
        if ProcessInfo.processInfo.environment["PCI_REBALANCE_REQUIRE_VM"] == "1" { return nil }
        let environment = ProcessInfo.processInfo.environment
        let path = environment["PATH"] ?? "/usr/bin:/bin"
        let programs = [
            environment["PCI_REBALANCE_QEMU"] ?? "qemu-system-x86_64", environment["BUSYBOX"] ?? "busybox", "cpio",
        ]
        for program in programs {
            let places = program.contains("/") ? [program] : path.split(separator: ":").map { "\($0)/\(program)" }
            guard places.contains(where: { FileManager.default.isExecutableFile(atPath: $0) }) else {
                return "\(program) is not installed"
            }
        }
        return kernel.isCached ? nil : "kernel \(kernel) is not in the cache; run fetch-kernels \(kernel)"
    }

    // MARK: - Commands in the guest

    /// Runs a shell script in the guest.
    ///
    /// - Parameters:
    ///   - script: The script for busybox sh; a non-zero status is a result, not an error.
    ///   - input: What the script reads from its standard input.
    ///   - timeout: After this time the script and all that it started in its session are killed.
    /// - Returns: The exit status and both outputs.
    /// - Throws: ``LaboratoryError`` if the guest itself does not answer, with the console's last lines.
    public func run(
        _ script: String,
        input: [UInt8] = [],
        timeout: Duration = .seconds(60)
    ) throws -> CommandResult {
        requests += 1
        let started = ContinuousClock.now
        let deadline = started + timeout + .seconds(10)
        let script = Array(script.utf8)
        let seconds = max(1, Int((timeout / .seconds(1)).rounded(.up)))
        let payload = script + input
        let header = "\(requests) \(seconds) \(script.count) \(input.count) \(Checksum.crc32(payload))\n"
        try process.send(Array(header.utf8) + payload, to: .agent, deadline: deadline)
        let answer = String(decoding: try awaitLine(.answers, deadline, "the answer to a command"), as: UTF8.self)
        let words = answer.split(separator: " ").compactMap { Int($0) }
        guard words.count == 5, words[0] == requests, words[2] >= 0, words[3] >= 0 else {
            throw LaboratoryError(.protocol, "expected the answer to request \(requests), found '\(answer)'")
        }
        let output = try awaitBytes(words[2], deadline)
        let errors = try awaitBytes(words[3], deadline)
        guard Int(Checksum.crc32(output + errors)) == words[4] else {
            throw LaboratoryError(.protocol, "the answer to request \(requests) arrived damaged")
        }
        return CommandResult(
            status: words[1],
            standardOutput: output,
            standardError: errors,
            duration: ContinuousClock.now - started
        )
    }

    /// Runs a script that has to succeed and returns its output.
    @discardableResult
    public func output(_ script: String, timeout: Duration = .seconds(60)) throws -> String {
        try run(script, timeout: timeout).checked().output
    }

    /// Writes a file in the guest; a new build of a program is better packed and booted.
    public func pushFile(_ contents: [UInt8], to path: String, executable: Bool = false) throws {
        let quoted = VirtualMachine.quoted(path)
        let chunk = 32768
        try run(": >\(quoted)").checked()
        for start in stride(from: 0, to: contents.count, by: chunk) {
            try run("cat >>\(quoted)", input: Array(contents[start..<min(start + chunk, contents.count)])).checked()
        }
        if executable { try run("chmod 755 \(quoted)").checked() }
    }

    /// Reads a file of the guest.
    public func pullFile(_ path: String) throws -> [UInt8] {
        try run("cat \(VirtualMachine.quoted(path))").checked().standardOutput
    }

    /// The kernel's log, one line each, with its time stamps.
    public func kernelLog() throws -> [String] {
        try run("dmesg").checked().lines
    }

    /// A gzipped tar of everything that user space can read about the PCI tree: sys/, proc/, dmesg.txt and
    /// lspci-xxxx.txt.
    public func record() throws -> [UInt8] {
        try run("record", timeout: .seconds(180)).checked().standardOutput
    }

    /// What the guest has written to its console so far.
    public var consoleText: String {
        while (try? process.pump(until: .now)) == true {}
        console += process.takeAll(.console)
        return String(decoding: console, as: UTF8.self)
    }

    private static func quoted(_ path: String) -> String {
        "'" + path.replacing("'", with: "'\\''") + "'"
    }

    // MARK: - The monitor

    /// Executes a command of QEMU's monitor protocol and returns its result.
    ///
    /// - Throws: ``LaboratoryError`` with QEMU's own words if it refuses.
    @discardableResult
    public func qmp(_ command: String, _ arguments: [String: JSONValue] = [:]) throws -> JSONValue {
        requests += 1
        let deadline = ContinuousClock.now + .seconds(60)
        let identifier = JSONValue.integer(Int64(requests))
        let request = JSONValue.object([
            "execute": .string(command), "arguments": .object(arguments), "id": identifier,
        ])
        try process.send(Array((try request.line() + "\n").utf8), to: .monitor, deadline: deadline)
        while true {
            let answer = try JSONValue.parse(try awaitLine(.monitor, deadline, "an answer of the monitor"))
            if let name = answer["event"]?.text {
                events.append((name, answer["data"] ?? .null))
            } else if answer["id"] == identifier {
                if let error = answer["error"] {
                    throw LaboratoryError(.monitor, "\(command): \(error["desc"]?.text ?? "refused")")
                }
                return answer["return"] ?? .null
            }
        }
    }

    /// Plugs a device into a bus of the running machine; the guest is told, nothing is waited for.
    public func deviceAdd(_ device: Device, behind bus: String) throws {
        for support in device.support {
            guard case .object(let type, let identifier, let properties) = support else {
                throw LaboratoryError(.topology, "\(device.driver) with \(support) cannot be plugged, only booted with")
            }
            try qmp("object-add", fields(properties, ["qom-type": .string(type), "id": .string(identifier)]))
        }
        var words: [String: JSONValue] = [
            "driver": .string(device.driver), "id": .string(device.identifier), "bus": .string(bus),
        ]
        if let address = device.address { words["addr"] = .string(address) }
        try qmp("device_add", fields(device.properties, words))
    }

    private func fields(_ properties: [Device.Property], _ words: [String: JSONValue]) -> [String: JSONValue] {
        words.merging(properties.map { ($0.name, $0.value.inMonitor) }) { first, _ in first }
    }

    /// Asks the guest to let a device go and waits until QEMU has taken it out.
    ///
    /// With native hot-plug this presses the slot's attention button; the kernel waits five seconds by design.
    public func deviceDel(_ identifier: String, timeout: Duration = .seconds(30)) throws {
        events.removeAll { $0.name == "DEVICE_DELETED" && $0.data["device"]?.text == identifier }
        try qmp("device_del", ["id": .string(identifier)])
        let deadline = ContinuousClock.now + timeout
        while !events.contains(where: { $0.name == "DEVICE_DELETED" && $0.data["device"]?.text == identifier }) {
            let event = try JSONValue.parse(try awaitLine(.monitor, deadline, "\(identifier) to be unplugged"))
            if let name = event["event"]?.text { events.append((name, event["data"] ?? .null)) }
        }
    }

    /// Plugs a device and waits until the guest is done with it, whether it fitted or not.
    public func hotPlug(_ device: Device, behind bus: String) throws {
        try deviceAdd(device, behind: bus)
        try waitUntilQuiet()
    }

    // MARK: - Waiting

    /// Waits until a condition holds, looking again every 50 ms.
    ///
    /// - Throws: ``LaboratoryError`` naming `what` if it does not hold in time.
    public func waitUntil(
        _ what: String,
        timeout: Duration = .seconds(30),
        _ condition: (VirtualMachine) throws -> Bool
    ) throws {
        let deadline = ContinuousClock.now + timeout
        while try !condition(self) {
            guard ContinuousClock.now < deadline else { throw late(what) }
            try pump(until: .now + .milliseconds(50))
        }
    }

    /// Waits until the PCI tree and the kernel log have not changed for `settle` and no slot is being powered.
    public func waitUntilQuiet(settle: Duration = .milliseconds(300), timeout: Duration = .seconds(60)) throws {
        let deadline = ContinuousClock.now + timeout
        var last: [UInt8]?
        var since = ContinuousClock.now
        while true {
            let asked = ContinuousClock.now
            let result = try run("fingerprint", timeout: timeout).checked()
            let isBusy = result.lines.contains { $0.hasPrefix("busy ") }
            if isBusy || result.standardOutput != last {
                last = result.standardOutput
                since = asked
            }
            if !isBusy, ContinuousClock.now - since >= settle { return }
            guard ContinuousClock.now < deadline else { throw late("the PCI tree to become quiet") }
            try pump(until: .now + .milliseconds(50))
        }
    }

    private func late(_ what: String) -> LaboratoryError {
        LaboratoryError(.timeout, "expected \(what) in time; the console's last lines:\n\(consoleText.suffix(4000))")
    }

    /// Lets the machine's streams flow; if it has ended, the error carries its last words.
    @discardableResult
    private func pump(until deadline: ContinuousClock.Instant) throws -> Bool {
        do {
            return try process.pump(until: deadline)
        } catch {
            let last = consoleText.suffix(4000)
            guard !last.isEmpty, let error = error as? LaboratoryError else { throw error }
            throw LaboratoryError(error.code, "\(error.description); the console's last lines:\n\(last)")
        }
    }

    private func awaitLine(
        _ stream: QemuProcess.Stream,
        _ deadline: ContinuousClock.Instant,
        _ what: String
    ) throws -> [UInt8] {
        while true {
            if let line = process.takeLine(from: stream) { return line }
            console += process.takeAll(.console)
            guard try pump(until: deadline) else { throw late(what) }
        }
    }

    private func awaitBytes(_ count: Int, _ deadline: ContinuousClock.Instant) throws -> [UInt8] {
        while true {
            if let bytes = process.take(count, from: .answers) { return bytes }
            guard try pump(until: deadline) else { throw late("\(count) bytes from the guest") }
        }
    }

    // MARK: - Beginning and end

    private func greet(_ deadline: ContinuousClock.Instant) throws {
        _ = try awaitLine(.monitor, deadline, "the monitor's greeting")
        try qmp("qmp_capabilities")
    }

    /// Waits until firmware has assigned everything: every bridge has its numbers and a function behind one decodes.
    private func awaitFirmware(_ deadline: ContinuousClock.Instant) throws {
        while true {
            var isNumbered = true
            var decodes = false
            func walk(_ device: JSONValue) {
                if let bridge = device["pci_bridge"] {
                    if bridge["bus"]?["secondary"] ?? .integer(0) == .integer(0) { isNumbered = false }
                    for below in bridge["devices"]?.elements ?? [] { walk(below) }
                } else if device["regions"]?.elements?.isEmpty == false {
                    decodes = true
                }
            }
            for bus in try qmp("query-pci").elements ?? [] {
                for device in bus["devices"]?.elements ?? [] { walk(device) }
            }
            // Decoding is switched on function by function; a moment later the last has it.
            if isNumbered, decodes {
                try pump(until: .now + .milliseconds(800))
                return
            }
            guard ContinuousClock.now < deadline else { throw late("firmware to assign addresses") }
            try pump(until: .now + .milliseconds(50))
        }
    }

    private func awaitReady(_ deadline: ContinuousClock.Instant) throws {
        while true {
            let line = String(decoding: try awaitLine(.answers, deadline, "the guest to come up"), as: UTF8.self)
            let words = line.split(separator: " ")
            guard words.first == "READY", words.count == 3 else { continue }
            release = String(words[2])
            return
        }
    }

    /// Resets the machine, as its reset button or a power cut does, and waits until it is up again.
    ///
    /// Devices that were plugged stay plugged and the firmware assigns everything anew. Of the guest's files only
    /// those in the directories `preserving` survive, as they were at that moment: what a disk would have kept.
    public func reset(preserving directories: [String] = [], timeout: Duration = .seconds(120)) throws {
        let names = directories.map { VirtualMachine.quoted(String($0.drop { $0 == "/" })) }.joined(separator: " ")
        let kept = names.isEmpty ? [] : try run("tar -C / -czf - \(names)").checked().standardOutput
        try reset(until: .now + timeout)
        if !kept.isEmpty { try run("tar -C / -xzf -", input: kept).checked() }
    }

    private func reset(until deadline: ContinuousClock.Instant) throws {
        let started = ContinuousClock.now
        try qmp("set-action", ["reboot": "reset"])
        _ = process.takeAll(.answers)
        try qmp("system_reset")
        try awaitReady(deadline)
        try qmp("set-action", ["reboot": "shutdown"])
        bootDuration = ContinuousClock.now - started
    }

    /// Lets a script of the guest start another kernel by kexec, and waits until that is up.
    ///
    /// What the script says goes to the console.
    /// - Throws: ``LaboratoryError`` with the console's last lines if no kernel comes up in time.
    public func restart(by script: String, timeout: Duration = .seconds(180)) throws {
        let deadline = ContinuousClock.now + timeout
        _ = process.takeAll(.answers)
        // The answer must be out before the machine is gone.
        try run("(sleep 1; \(script)) >/dev/console 2>&1 </dev/null &").checked()
        try awaitReady(deadline)
    }

    /// Ends the machine.
    public func stop() {
        process.end()
    }
}
