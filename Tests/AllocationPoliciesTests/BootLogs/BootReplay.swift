// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

@testable import AllocationPolicies

/// Rebuilds the input of a boot from its log, boots the twin, and compares where everything ended.
struct BootReplay {
    let log: BootLog
    private(set) var twin: LinuxTwin
    private(set) var differences: [String] = []
    private(set) var compared = 0

    init(_ log: BootLog, behaviour: KernelBehaviour) throws {
        self.log = log
        let hosts = log.roots.map { root in
            HostBridge(
                segment: root.segment,
                busRange: BusRange(first: BusNumber(root.bus), last: BusNumber(max(root.bus, root.last)))
                    ?? BusRange(BusNumber(root.bus)),
                apertures: root.apertures.compactMap { range, _ in
                    guard let addresses = AddressRange(first: range.start, last: range.end) else { return nil }
                    var flags: ResourceFlags = range.isIO ? [.io] : [.memory]
                    if range.isPrefetchable { flags.insert(.prefetchable) }
                    if range.is64 { flags.insert(.memory64) }
                    return Aperture(range: addresses, flags: flags)
                },
                source: .kernelLog
            )
        }
        var blockers: [Blocker] = log.ioBlockers.map {
            Blocker(range: $0, isIO: true, name: "Reserved by a quirk", source: .iomem)
        }
        for (range, kind) in log.firmwareMap {
            if log.usesFirmwareMap {
                blockers.append(Blocker(range: range, isIO: false, name: kind, source: .firmwareMap))
            }
            if kind != "usable" {
                blockers.append(Blocker(range: range, isIO: false, name: "Reserved", source: .iomem))
            }
        }
        blockers += log.reservations.map { Blocker(range: $0, isIO: $1, name: "pnp", source: .iomem) }
        var platform = Platform(architecture: "x86_64", commandLine: log.commandLine)
        platform.reallocation = log.reallocates ? .on : .off
        if let lowest = log.lowestMemory { platform.minimumMemory = lowest }
        twin = try LinuxTwin(
            hostBridges: hosts,
            cards: [],
            blockers: blockers,
            behaviour: behaviour,
            platform: platform
        )
        insertDevices()
        try twin.perform(.boot(platform))
        compare()
    }

    private mutating func insertDevices() {
        var numbers: [FunctionAddress: Int32] = [:]
        for address in log.order {
            guard let device = log.devices[address] else { continue }
            numbers[address] = twin.state.appendFunction(facts(address, device), registers(address, device))
        }
        for address in log.order {
            guard let number = numbers[address] else { continue }
            let above = log.order.first { other in
                guard other.segment == address.segment, let buses = log.devices[other]?.buses else { return false }
                return buses.lowerBound == UInt64(address.bus.rawValue)
            }
            let host = log.roots.firstIndex {
                $0.segment == address.segment && $0.bus <= address.bus.rawValue && address.bus.rawValue <= $0.last
            }
            guard let host else { continue }
            let parent = above.flatMap { numbers[$0] }
            if parent == nil, log.roots[host].bus != address.bus.rawValue { continue }
            twin.state.attach(number, parent: parent ?? none, host: Int32(host))
        }
    }

    private func facts(_ address: FunctionAddress, _ device: BootLog.Device) -> FunctionFacts {
        var made = FunctionFacts()
        made.devfn = address.devfn
        made.classCode = device.classCode
        made.headerLayout = device.header
        made.isMultiFunction = true
        if device.kind.hasPrefix("PCIe") {
            made.portType =
                device.kind.contains("Root Port")
                ? 4
                : device.kind.contains("Upstream")
                    ? 5
                    : device.kind.contains("Downstream") ? 6 : 0
        } else if device.header == 1 || device.vfTotal > 0 {
            made.portType = 7
        }
        made.isSlotHotPlug = device.isHotPlug
        for (index, range) in device.resources {
            switch index {
            case 0...5: describe(&made.bars, index, range)
            case 6: made.hasROM = true
            case 7...12: describe(&made.vfBARs, index - 7, range)
            case 13: made.hasIOWindow = true
            case 15:
                made.hasPrefetchWindow = true
                made.hasPrefetch64 = range.is64
            default: break
            }
        }
        if device.header == 1 {
            // Windows that are closed at the start and open in the end exist too.
            for window in device.finalWindows ?? [] {
                if window.isIO { made.hasIOWindow = true }
                if window.isPrefetchable {
                    made.hasPrefetchWindow = true
                    made.hasPrefetch64 = window.is64
                }
            }
            for (index, range) in device.final {
                if index == 13 { made.hasIOWindow = true }
                if index == 15 {
                    made.hasPrefetchWindow = true
                    if let range { made.hasPrefetch64 = range.is64 }
                }
            }
        }
        made.totalVFs = UInt16(truncatingIfNeeded: device.vfTotal)
        made.vfOffset = 1
        made.vfStride = 1
        return made
    }

    private func describe(_ bars: inout Six<BARFacts>, _ index: Int, _ range: BootLog.Range) {
        bars[index].kind = range.isIO ? .io : range.is64 ? .memory64 : .memory32
        bars[index].isPrefetchable = range.isPrefetchable
        if range.is64, index < 5 { bars[index + 1].kind = .upperHalf }
    }

    private func registers(_ address: FunctionAddress, _ device: BootLog.Device) -> FunctionRegisters {
        var held = FunctionRegisters()
        held.command = 7
        for (index, range) in device.resources {
            switch index {
            case 0...5:
                held.bars[index] = range.start
                held.sizes[index] = range.size
            case 6:
                held.rom = range.start
                held.romSize = range.size
            case 7...12:
                held.vfBARs[index - 7] = range.start
                held.vfSizes[index - 7] = range.size / UInt64(max(device.vfTotal, 1))
            default: break
            }
        }
        guard device.header == 1 else { return held }
        held.primary = address.bus.rawValue
        if let buses = device.buses, !device.isReconfigured {
            held.secondary = UInt8(truncatingIfNeeded: buses.lowerBound)
            held.subordinate = UInt8(truncatingIfNeeded: buses.upperBound)
        }
        held.ioBase = 0xf0
        held.memoryBase = 0xfff0
        held.prefetchBase = 0xfff0
        for index in 13...15 {
            guard let range = device.resources[index] else { continue }
            switch index {
            case 13:
                held.ioBase = UInt8(truncatingIfNeeded: range.start >> 8) & 0xf0
                held.ioLimit = UInt8(truncatingIfNeeded: range.end >> 8) & 0xf0
            case 14:
                held.memoryBase = UInt16(truncatingIfNeeded: range.start >> 16) & 0xfff0
                held.memoryLimit = UInt16(truncatingIfNeeded: range.end >> 16) & 0xfff0
            default:
                held.prefetchBase = UInt16(truncatingIfNeeded: range.start >> 16) & 0xfff0
                held.prefetchLimit = UInt16(truncatingIfNeeded: range.end >> 16) & 0xfff0
                held.prefetchBaseUpper = UInt32(truncatingIfNeeded: range.start >> 32)
                held.prefetchLimitUpper = UInt32(truncatingIfNeeded: range.end >> 32)
            }
        }
        return held
    }

    private mutating func compare() {
        for address in log.order {
            guard let device = log.devices[address] else { continue }
            guard let lines = twin.resourceLines(of: address) else {
                // Functions that the log lists behind numbers that the kernel gave itself.
                differences.append("\(address): not found")
                continue
            }
            for index in 0...12 {
                let firmware = device.resources[index]
                guard firmware != nil || device.final[index] != nil else { continue }
                if index == 6, device.shadowedROM { continue }
                compared += 1
                let line = lines[index]
                let expected: BootLog.Range?
                if let final = device.final[index] { expected = final } else { expected = firmware }
                guard let expected, !expected.isSizeOnly else {
                    if line.start != 0 { differences.append("\(address)[\(index)]: lost, predicted \(line)") }
                    continue
                }
                if expected.start == 0, expected.end == 0 || device.final[index] == nil { continue }
                if line.start != expected.start || line.end != expected.end {
                    differences.append(
                        "\(address)[\(index)]: \(hex(expected.start))-\(hex(expected.end)), predicted \(line)"
                    )
                }
            }
            guard device.header == 1, let windows = device.finalWindows, lines.count > 15 else { continue }
            for index in 13...15 {
                let line = lines[index]
                compared += 1
                let window = windows.first { ($0.isIO ? 13 : $0.isPrefetchable ? 15 : 14) == index }
                let (start, end) = window.map { ($0.start, $0.end) } ?? (0, 0)
                let isOpen = !line.flags.isEmpty && line.end > line.start && line.start != 0
                if window == nil ? isOpen : line.start != start || line.end != end {
                    differences.append("\(address)[\(index)]: \(hex(start))-\(hex(end)), predicted \(line)")
                }
            }
        }
    }
}
