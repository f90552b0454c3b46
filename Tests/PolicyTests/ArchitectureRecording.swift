// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import PCITopology

/// A PCI tree of another architecture before Linux, and what Linux kernels made of it, as
/// `Laboratory/record-architecture-layout` wrote them down.
struct ArchitectureRecording: Sendable {
    var name: String
    /// `arm64-dt`, `powernv`, ….
    var platform: String
    /// The words after the fixed ones on the kernel's command line.
    var words: String
    /// The tree before Linux; bus numbers are firmware's where it gave any, else those of the first kernel.
    var topology: Topology
    var kernels: [Kernel] = []

    /// What one kernel made of the tree.
    struct Kernel: Sendable {
        var release: String
        /// `6.1`, `6.12`, `7`.
        var family: String
        /// By place in the tree: `0000:00/02.0/00.0`.
        var functions: [String: Placed] = [:]
    }

    /// A function as sysfs shows it.
    struct Placed: Sendable {
        var address: FunctionAddress
        /// Secondary and subordinate number of a bridge with a bus.
        var buses: BusRange?
        /// The lines of `resource` that are not all zero.
        var lines: [Int: ResourceLine] = [:]
    }

    /// A line that does not follow the format.
    struct FormatError: Error, CustomStringConvertible {
        var description: String
    }

    /// All recordings, by name; PCI_REBALANCE_ARCHITECTURES names another folder than that of the repository.
    static let all: Result<[ArchitectureRecording], any Error> = Result {
        let given = ProcessInfo.processInfo.environment["PCI_REBALANCE_ARCHITECTURES"]
        let folder =
            given.map { URL(fileURLWithPath: $0) }
            ?? Bundle.module.url(forResource: "Fixtures", withExtension: nil)?.appendingPathComponent("Architectures")
        guard let folder else { return [] }
        return try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            .filter { $0.pathExtension == "txt" }
            .sorted { $0.lastPathComponent < $1.lastPathComponent }
            .map { try ArchitectureRecording($0.lastPathComponent, String(contentsOf: $0, encoding: .utf8)) }
    }
}

extension ArchitectureRecording {
    /// Reads a recording.
    init(_ name: String, _ text: String) throws {
        var reader = ArchitectureReader()
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            guard reader.read(line.split(separator: " ").map(String.init)) else {
                throw FormatError(description: "\(name):\(number + 1): expected a line of a recording, found '\(line)'")
            }
        }
        self.init(
            name: String(name.dropLast(4)),
            platform: reader.platform,
            words: reader.words,
            topology: try reader.topology(),
            kernels: reader.kernels
        )
    }
}

/// The state of reading a recording.
private struct ArchitectureReader {
    var platform = ""
    var words = ""
    var kernels: [ArchitectureRecording.Kernel] = []
    private var hosts: [(segment: UInt32, bus: UInt8, apertures: [Aperture])] = []
    private var blockers: [Blocker] = []
    private var functions: [Draft] = []
    private var positions: [String: Int] = [:]
    private var place = ""

    private struct Draft {
        var place: String
        var identity: Function.Identity
        var resources: [Resource] = []
        var vfBARs: [(bar: Int, flags: ResourceFlags, size: UInt64, address: UInt64)] = []
        var windows: [String]?
        var config = [UInt8](repeating: 0, count: 256)
    }

    private static let kinds: [String: ResourceFlags] = ["io": .io, "mem": .memory]

    /// Reads the words of a line; false when they make no sense.
    mutating func read(_ words: [String]) -> Bool {
        guard let first = words.first, !first.hasPrefix("#") else { return true }
        switch first {
        case "platform": return readPlatform(words)
        case "host": return readHost(words)
        case "aperture": return readAperture(words)
        case "blocker": return readBlocker(words)
        case "function": return readFunction(words)
        case "bar", "vfbar": return readBAR(words)
        case "windows":
            guard !functions.isEmpty else { return false }
            functions[functions.count - 1].windows = Array(words.dropFirst())
            return true
        case "as":
            guard words.count == 2, let model = positions[words[1]], !functions.isEmpty else { return false }
            functions[functions.count - 1].config = functions[model].config
            return true
        case "kernel":
            guard words.count == 4 else { return false }
            kernels.append(ArchitectureRecording.Kernel(release: words[1], family: words[3]))
            return true
        default:
            if first.hasSuffix(":"), kernels.isEmpty { return readRow(words) }
            return kernels.isEmpty ? false : readPlaced(words)
        }
    }

    private func number(_ words: [String], _ i: Int) -> UInt64? { i < words.count ? UInt64(words[i], radix: 16) : nil }

    private mutating func readPlatform(_ words: [String]) -> Bool {
        guard words.count >= 5 else { return false }
        platform = words[1]
        self.words = words.dropFirst(5).joined(separator: " ")
        return true
    }

    private mutating func readHost(_ words: [String]) -> Bool {
        let parts = words.count == 2 ? words[1].split(separator: ":") : []
        guard parts.count == 2, let segment = UInt32(parts[0], radix: 16), let bus = UInt8(parts[1], radix: 16) else {
            return false
        }
        hosts.append((segment, bus, []))
        return true
    }

    private mutating func readAperture(_ words: [String]) -> Bool {
        guard words.count == 7, var flags = Self.kinds[words[1]], !hosts.isEmpty, let first = number(words, 4),
            let last = number(words, 5), let range = AddressRange(first: first, last: last),
            let offset = Int64(words[6], radix: 16)
        else { return false }
        if words[2] == "64" { flags.insert(.memory64) }
        if words[3] == "pref" { flags.insert(.prefetchable) }
        hosts[hosts.count - 1].apertures.append(Aperture(range: range, flags: flags, offset: offset))
        return true
    }

    private mutating func readBlocker(_ words: [String]) -> Bool {
        guard let kind = words.count > 1 ? Self.kinds[words[1]] : nil, let first = number(words, 2),
            let last = number(words, 3), let range = AddressRange(first: first, last: last)
        else { return false }
        let name = words.dropFirst(4).joined(separator: " ")
        blockers.append(Blocker(range: range, isIO: kind == .io, name: name, source: .iomem))
        return true
    }

    private mutating func readFunction(_ words: [String]) -> Bool {
        guard words.count == 8, let vendor = number(words, 3), let device = number(words, 5),
            let code = number(words, 7)
        else { return false }
        positions[words[1]] = functions.count
        functions.append(
            Draft(
                place: words[1],
                identity: Function.Identity(
                    vendor: UInt16(truncatingIfNeeded: vendor),
                    device: UInt16(truncatingIfNeeded: device),
                    classCode: UInt32(truncatingIfNeeded: code)
                )
            )
        )
        return true
    }

    private mutating func readBAR(_ words: [String]) -> Bool {
        guard words.count == (words[0] == "vfbar" ? 7 : 6), !functions.isEmpty, let bar = Int(words[1]),
            var flags = Self.kinds[words[2]], let size = number(words, 5)
        else { return false }
        if words[3] == "64" { flags.insert(.memory64) }
        if words[4] == "pref" { flags.insert(.prefetchable) }
        if words[0] == "vfbar" {
            guard let address = number(words, 6) else { return false }
            functions[functions.count - 1].vfBARs.append((bar, flags, size, address))
            return true
        }
        guard let index = ResourceIndex(bar) else { return false }
        functions[functions.count - 1].resources.append(
            Resource(
                index: index,
                flags: flags,
                size: ByteCount(size),
                alignment: ByteCount(size),
                assignment: .unassigned,
                sizeSource: .probed
            )
        )
        return true
    }

    private mutating func readRow(_ words: [String]) -> Bool {
        guard let row = Int(words[0].dropLast(), radix: 16), words.count == 17, row <= 4080, !functions.isEmpty else {
            return false
        }
        let last = functions.count - 1
        if row >= 256, functions[last].config.count < 4096 {
            functions[last].config += [UInt8](repeating: 0, count: 4096 - functions[last].config.count)
        }
        for (i, word) in words.dropFirst().enumerated() {
            guard let byte = UInt8(word, radix: 16) else { return false }
            functions[last].config[row + i] = byte
        }
        return true
    }

    private mutating func readPlaced(_ words: [String]) -> Bool {
        let last = kernels.count - 1
        if let index = Int(words[0]), let start = number(words, 1), let end = number(words, 2),
            let flags = number(words, 3)
        {
            kernels[last].functions[place]?.lines[index] = ResourceLine(
                start: start,
                end: end,
                flags: ResourceFlags(rawValue: flags)
            )
            return kernels[last].functions[place] != nil
        }
        guard words.count == 2 || words.count == 5, let address = FunctionAddress(parsing: words[1]) else {
            return false
        }
        place = words[0]
        var placed = ArchitectureRecording.Placed(address: address)
        if words.count == 5, let first = UInt8(words[3], radix: 16), let end = UInt8(words[4], radix: 16) {
            placed.buses = BusRange(first: BusNumber(first), last: BusNumber(end))
        }
        kernels[last].functions[place] = placed
        return true
    }

    /// The tree; a function's parent is the place above.
    func topology() throws -> Topology {
        guard let known = kernels.first?.functions else {
            throw ArchitectureRecording.FormatError(description: "expected a kernel, found none")
        }
        var bridges: [HostBridge] = []
        for host in hosts {
            // The kernel's root bus reaches to the next root of the segment.
            let next = hosts.filter { $0.segment == host.segment && $0.bus > host.bus }.map(\.bus).min()
            let last = next.map { $0 - 1 } ?? 255
            let buses = BusRange(first: BusNumber(host.bus), last: BusNumber(last)) ?? BusRange(BusNumber(host.bus))
            bridges.append(
                HostBridge(segment: host.segment, busRange: buses, apertures: host.apertures, source: .kernelLog)
            )
        }
        let addresses = addresses(known)
        return try Topology(
            kernel: KernelIdentity(),
            hostBridges: bridges,
            functions: functions.compactMap { draft in
                addresses[draft.place].map { function(draft, at: $0, addresses) }
            },
            blockers: blockers
        )
    }

    /// Every function's address by the registers above it; where they hold no number, by the kernel's.
    private func addresses(_ known: [String: ArchitectureRecording.Placed]) -> [String: FunctionAddress] {
        var result: [String: FunctionAddress] = [:]
        var owners: [String: String] = [:]
        for draft in functions {
            guard let kernel = known[draft.place]?.address else { continue }
            let above = Self.above(draft.place)
            let secondary = positions[above].map { functions[$0].config[0x19] } ?? 0
            var number = secondary == 0 ? kernel.bus.rawValue : secondary
            // A number that another bridge's bus has already: the bridge's registers do not lead here.
            let key = { (number: UInt8) in "\(kernel.segment):\(number)" }
            if let owner = owners[key(number)], owner != above {
                number = (1...255).last { owners[key(UInt8($0))] == nil }.map(UInt8.init) ?? 255
            }
            owners[key(number)] = above
            result[draft.place] = FunctionAddress(
                segment: kernel.segment,
                bus: BusNumber(number),
                devfn: kernel.devfn
            )
        }
        return result
    }

    private static func above(_ place: String) -> String {
        place.split(separator: "/").dropLast().joined(separator: "/")
    }

    private func function(
        _ draft: Draft,
        at address: FunctionAddress,
        _ addresses: [String: FunctionAddress]
    ) -> Function {
        var config = ConfigSpace(draft.config)
        restoreVFs(draft, &config)
        let capabilities = Capabilities(config)
        var resources = draft.resources
        let total = UInt64(capabilities.sriov?.totalVFs ?? 0)
        for (bar, flags, size, _) in draft.vfBARs {
            guard let index = ResourceIndex(7 + bar) else { continue }
            resources.append(
                Resource(
                    index: index,
                    flags: flags,
                    size: ByteCount(size &* total),
                    alignment: ByteCount(size),
                    assignment: .unassigned,
                    sizeSource: .probed
                )
            )
        }
        var bridge: Function.Bridge?
        if let windows = draft.windows {
            resources.append(closed(.memoryWindow, .memory))
            if windows.contains("io") { resources.append(closed(.ioWindow, .io)) }
            if windows.contains("pref32") { resources.append(closed(.prefetchableWindow, [.memory, .prefetchable])) }
            if windows.contains("pref64") {
                resources.append(closed(.prefetchableWindow, [.memory, .prefetchable, .memory64]))
                // The type nibble, which reads zero until somebody writes the register.
                config.write(UInt32(config.byte(0x24) ?? 0) | 1, at: 0x24, width: 1)
                config.write(UInt32(config.byte(0x26) ?? 0) | 1, at: 0x26, width: 1)
            }
            bridge = Function.Bridge(busRange: nil, registers: BridgeRegisters(config))
        }
        return Function(
            address: address,
            identity: draft.identity,
            config: config,
            resources: resources.sorted { $0.index < $1.index },
            bridge: bridge,
            parent: addresses[Self.above(draft.place)]
        )
    }

    /// Puts the VF BARs' addresses into the SR-IOV capability, whose registers Linux has changed since.
    private func restoreVFs(_ draft: Draft, _ config: inout ConfigSpace) {
        guard let capability = Capabilities(config).extended.first(where: { $0.id == 0x10 }) else { return }
        for entry in draft.vfBARs {
            let offset = Int(capability.offset) + 0x24 + 4 * entry.bar
            var low = UInt32(truncatingIfNeeded: entry.address)
            if entry.flags.contains(.memory64) { low |= 4 }
            if entry.flags.contains(.prefetchable) { low |= 8 }
            config.write(low, at: offset, width: 4)
            if entry.flags.contains(.memory64) {
                config.write(UInt32(truncatingIfNeeded: entry.address >> 32), at: offset + 4, width: 4)
            }
        }
    }

    private func closed(_ index: ResourceIndex, _ flags: ResourceFlags) -> Resource {
        Resource(index: index, flags: flags, size: .zero, alignment: nil, assignment: .closed)
    }
}
