// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
public import PCITopology
public import RebalancePlanner

/// Reads the running machine through sysfs: only what the executor compares, and therefore quickly.
public final class SysfsObserver: MachineObserver {
    private let path: String
    private let procPath: String
    private let isReal: Bool
    private let readUses: () throws -> [FunctionAddress: [UseEvidence]]
    private var uses: (read: Duration, byAddress: [FunctionAddress: [UseEvidence]])?

    /// How long one reading of all uses answers for: a plan may ask about a hundred functions at once.
    private static let useLifetime = Duration.seconds(1)

    /// Creates an observer.
    ///
    /// - Parameters:
    ///   - root: where sysfs is mounted.
    ///   - proc: where procfs is mounted.
    ///   - uses: reads the reasons for which functions must not be stopped, all at once; called when an apply begins
    ///     and before steps that ask for it.
    public init(
        root: String = "/sys",
        proc: String = "/proc",
        uses: @escaping () throws -> [FunctionAddress: [UseEvidence]]
    ) {
        path = root
        procPath = proc
        isReal = root == "/sys"
        readUses = uses
    }

    // MARK: Tree

    /// The tree now. A function that vanishes while it is read is left out.
    public func tree() throws -> TreeState {
        try observing {
            let root = try SysfsRoot(path: path, isReal: isReal)
            let place = ["bus", "pci", "devices"]
            let devices = try root.directory(place)
            var functions: [FunctionState] = []
            var claims: [BusRoutes.Claim] = []
            for name in try root.names(in: devices) {
                guard let address = FunctionAddress(parsing: name), address.description == name else { continue }
                do {
                    let names = try root.linkTarget(in: devices, depth: place.count, name)
                    let function = try state(of: address, names, root)
                    functions.append(function)
                    guard function.busRange == nil else { continue }
                    if let claim = try claim(of: address, names, root) { claims.append(claim) }
                } catch let error as SysfsError where Self.meansVanished(error) {
                    continue
                }
            }
            var tree = TreeState(functions)
            tree.setPlaces(claimedBesides: claims)
            return tree
        }
    }

    /// The bus numbers that a bridge without a bus keeps in its registers, and takes cycles for.
    private func claim(
        of address: FunctionAddress,
        _ names: [String],
        _ root: borrowing SysfsRoot
    ) throws -> BusRoutes.Claim? {
        let directory = try root.directory(names)
        guard let kind = try? number(directory, "class", root), kind >> 8 == 0x0604,
            let bytes = try? root.read(directory, "config", atMost: 64)
        else { return nil }
        return BusRoutes.Claim(address, BridgeRegisters(ConfigSpace(bytes)))
    }

    private func state(
        of address: FunctionAddress,
        _ names: [String],
        _ root: borrowing SysfsRoot
    ) throws -> FunctionState {
        let chain = names.compactMap { FunctionAddress(parsing: $0) }
        let directory = try root.directory(names)
        let vendor = try number(directory, "vendor", root)
        let device = try number(directory, "device", root)
        var lines: [ResourceLine] = []
        for line in try root.text(directory, "resource").split(separator: "\n") {
            guard let parsed = ResourceLine(parsing: line) else {
                throw ObservationError("\(address): expected start, end and flags, found another line in resource")
            }
            lines.append(parsed)
        }
        return FunctionState(
            address: address,
            path: TopologyPath(
                segment: address.segment,
                rootBus: chain.first?.bus ?? address.bus,
                hops: chain.isEmpty ? [address.devfn] : chain.map(\.devfn)
            ),
            ids: UInt32(truncatingIfNeeded: vendor) << 16 | UInt32(truncatingIfNeeded: device & 0xffff),
            lines: lines,
            busRange: try busRange(directory, root)
        )
    }

    /// A bridge has a bus when the kernel made one (`pci_bus/`); its last number is known from the registers only.
    private func busRange(_ directory: borrowing Descriptor, _ root: borrowing SysfsRoot) throws -> BusRange? {
        let raw = openat(directory.raw, "pci_bus", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard raw >= 0 else { return nil }
        let buses = Descriptor(raw)
        guard let name = try root.names(in: buses).first, let number = UInt8(name.suffix(2), radix: 16) else {
            return nil
        }
        let first = BusNumber(number)
        let last = UInt8(try root.text(directory, "subordinate_bus_number")) ?? number
        return BusRange(first: first, last: BusNumber(last)) ?? BusRange(first)
    }

    private func number(
        _ directory: borrowing Descriptor,
        _ name: String,
        _ root: borrowing SysfsRoot
    ) throws -> UInt64 {
        let text = try root.text(directory, name)
        guard text.hasPrefix("0x"), let number = UInt64(text.dropFirst(2), radix: 16) else {
            throw ObservationError("expected a hexadecimal number in \(name), found another text")
        }
        return number
    }

    // MARK: Functions

    /// The IOMMU groups by the links of the functions; functions that vanish meanwhile are left out.
    public func iommuGroups() throws -> [FunctionAddress: Int] {
        try observing {
            let root = try SysfsRoot(path: path, isReal: isReal)
            var result: [FunctionAddress: Int] = [:]
            for name in try root.names(["bus", "pci", "devices"]) {
                guard let address = FunctionAddress(parsing: name), address.description == name else { continue }
                do {
                    result[address] = try root.iommuGroup(of: root.device(address))
                } catch let error as SysfsError where Self.meansVanished(error) {
                    continue
                }
            }
            return result
        }
    }

    /// Driver and configuration space; functions that vanish meanwhile are left out.
    public func health(of addresses: [FunctionAddress]) throws -> [FunctionHealth] {
        try observing {
            let root = try SysfsRoot(path: path, isReal: isReal)
            var result: [FunctionHealth] = []
            for address in addresses {
                do {
                    let directory = try root.device(address)
                    result.append(
                        FunctionHealth(
                            address: address,
                            driver: try root.driverName(in: directory),
                            driverOverride: driverOverride(directory, root),
                            config: ConfigSpace(try root.read(directory, "config", atMost: 256))
                        )
                    )
                } catch let error as SysfsError where Self.meansVanished(error) {
                    continue
                }
            }
            return result
        }
    }

    /// The kernel prints `(null)` for none; older ones have no such attribute for what is not a device of its own.
    private func driverOverride(_ directory: borrowing Descriptor, _ root: borrowing SysfsRoot) -> String? {
        guard let text = try? root.text(directory, "driver_override"), WriteRules.isDriverName(text) else { return nil }
        return text
    }

    /// The Device Serial Number.
    public func serialNumber(of address: FunctionAddress) throws -> UInt64? {
        try observing {
            let root = try SysfsRoot(path: path, isReal: isReal)
            let directory = try root.device(address)
            let config = ConfigSpace(try root.read(directory, "config", atMost: 4096))
            guard let place = Capabilities(config).extended.first(where: { $0.id == 0x0003 })?.offset,
                let low = config.long(Int(place) + 4), let high = config.long(Int(place) + 8)
            else { return nil }
            return UInt64(high) << 32 | UInt64(low)
        }
    }

    /// One register.
    public func register(_ address: FunctionAddress, offset: Int, width: Int) throws -> UInt32 {
        try observing {
            let root = try SysfsRoot(path: path, isReal: isReal)
            let directory = try root.device(address)
            let bytes = try root.read(directory, "config", offset: offset, atMost: width)
            guard bytes.count == width else {
                throw ObservationError(
                    "\(address): expected \(width) bytes at \(hex(UInt64(clamping: offset))), found \(bytes.count)"
                )
            }
            return bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }
    }

    /// What `write` is about to replace.
    public func savedValue(before write: SystemWrite) throws -> SavedValue? {
        switch write {
        case .config(let address, let offset, let width, _, _):
            return .number(UInt64(try register(address, offset: offset, width: width)))
        case .resourceAlignment:
            return try observing {
                let root = try SysfsRoot(path: path, isReal: isReal)
                return .text(try root.text(root.directory(["bus", "pci"]), "resource_alignment"))
            }
        case .sriovNumVFs(let address, _):
            return try observing {
                let root = try SysfsRoot(path: path, isReal: isReal)
                return UInt64(try root.text(root.device(address), "sriov_numvfs")).map { .number($0) }
            }
        case .resizeBAR(let address, let bar, _):
            return try observing {
                let root = try SysfsRoot(path: path, isReal: isReal)
                let config = ConfigSpace(try root.read(root.device(address), "config"))
                return Capabilities(config).resizableBARs.first { $0.bar == bar }
                    .map { .number(UInt64(clamping: $0.currentExponent)) }
            }
        case .slotPower(let slot, _):
            guard WriteRules.isSlotName(slot) else { return nil }
            return try observing {
                let root = try SysfsRoot(path: path, isReal: isReal)
                return UInt64(try root.text(root.directory(["bus", "pci", "slots", slot]), "power"))
                    .map { .number($0) }
            }
        case .remove, .rescanBus, .rescanDevice, .rescanAll, .unbindDriver, .probeDriver, .driverOverride:
            return nil
        }
    }

    /// Whether `/sys/class/pci_bus` has the bus.
    public func busExists(segment: UInt32, bus: BusNumber) throws -> Bool {
        try observing {
            let root = try SysfsRoot(path: path, isReal: isReal)
            do {
                _ = try root.linkTarget(["class", "pci_bus"], busName(segment: segment, bus))
                return true
            } catch let error as SysfsError where error.errno == ENOENT {
                return false
            }
        }
    }

    /// Takes over what a reading of the machine that has just ended says of uses, as if it had been asked for here.
    ///
    /// - Parameter evidence: the reasons for which functions must not be stopped, by address.
    public func remember(_ evidence: [FunctionAddress: [UseEvidence]]) {
        uses = (ExecutionClock.system.now(), evidence)
    }

    /// What the reading given at creation says; at most a second old.
    public func protectedUse(of address: FunctionAddress) throws -> [UseEvidence] {
        let now = ExecutionClock.system.now()
        if let uses, now - uses.read < Self.useLifetime { return uses.byAddress[address] ?? [] }
        let fresh = try readUses()
        uses = (now, fresh)
        return fresh[address] ?? []
    }

    // MARK: Machine

    /// Whether the process is root, has `CAP_SYS_ADMIN`, and the kernel lets configuration space be written.
    public func obstacles(writesConfig: Bool) throws -> [String] {
        guard isReal else { return [] }
        var result: [String] = []
        if geteuid() != 0 { result.append("expected user id 0, found \(geteuid())") }
        if let mask = statusField("CapEff").flatMap({ UInt64($0, radix: 16) }), mask >> 21 & 1 == 0 {
            result.append("expected CAP_SYS_ADMIN, found it missing")
        }
        if writesConfig, let text = readText("\(path)/kernel/security/lockdown"), text.contains("["),
            !text.contains("[none]")
        {
            result.append("expected a kernel that lets configuration space be written, found lockdown: \(text)")
        }
        return result
    }

    /// From `/sys/kernel/uevent_seqnum`.
    public func eventCount() -> UInt64 { readText("\(path)/kernel/uevent_seqnum").flatMap { UInt64($0) } ?? 0 }

    /// From `/proc/sys/kernel/osrelease`.
    public func kernelRelease() throws -> String {
        guard let text = readText("\(procPath)/sys/kernel/osrelease") else {
            throw ObservationError("expected the kernel release in \(procPath)/sys/kernel/osrelease, found none")
        }
        return text
    }

    /// From `/proc/sys/kernel/random/boot_id`.
    public func bootID() throws -> String {
        guard let text = readText("\(procPath)/sys/kernel/random/boot_id") else {
            throw ObservationError("expected a boot id in \(procPath)/sys/kernel/random/boot_id, found none")
        }
        return text
    }

    private func statusField(_ name: String) -> String? {
        readText("\(procPath)/self/status")?.split(separator: "\n").first { $0.hasPrefix(name + ":") }
            .map { $0.dropFirst(name.count + 1).filter { $0 != " " && $0 != "\t" } }
    }

    private func readText(_ path: String) -> String? {
        let raw = open(path, O_RDONLY | O_CLOEXEC)
        guard raw >= 0 else { return nil }
        let file = Descriptor(raw)
        var buffer = [UInt8](repeating: 0, count: 16_384)
        let count = buffer.withUnsafeMutableBytes { Glibc.read(file.raw, $0.baseAddress, $0.count) }
        guard count > 0 else { return nil }
        return String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n").joined(separator: "\n")
    }

    private func observing<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as SysfsError {
            let reason = error.errno == 0 ? "" : ": \(String(cString: strerror(error.errno)).lowercased())"
            throw ObservationError(error.detail + reason)
        }
    }

    private static func meansVanished(_ error: SysfsError) -> Bool {
        error.errno == ENOENT || error.errno == ENODEV || error.errno == ENXIO
    }
}
