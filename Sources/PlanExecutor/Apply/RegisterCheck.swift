// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// Compares the registers of functions with what the kernel shows of them.
///
/// The two part when a rescan places a window of a bridge that is already enabled: the kernel's tree is right, the
/// registers stay closed, and nothing below can be reached (`pci_setup_bridge` is skipped). Registers hold bus
/// addresses; what lies between them and CPU addresses is learnt from the functions that agree before the first write.
struct RegisterCheck {
    /// Differences CPU address - bus address seen before, modulo 2^64, by segment and space.
    private var offsets: [Space: Set<UInt64>] = [:]

    private struct Space: Hashable {
        let segment: UInt32
        let isIO: Bool
    }

    private struct Register {
        let index: ResourceIndex
        let isIO: Bool
        let base: UInt64
        /// The size, where the register tells it: windows only.
        let size: UInt64?
        /// Whether the register forwards or decodes nothing.
        let isClosed: Bool

        /// Whether a register that tells a size tells that of a line.
        func holdsSize(of line: ResourceLine) -> Bool {
            size.map { $0 == windowEnd(line.end, isIO: isIO) &- line.start } ?? true
        }
    }

    /// Learns from the machine as it is before the first write.
    init(_ tree: TreeState, _ health: [FunctionHealth]) {
        let functions = Dictionary(tree.functions.map { ($0.address, $0) }) { a, _ in a }
        for sign in health {
            guard let function = functions[sign.address] else { continue }
            for register in Self.registers(sign.config) where !register.isClosed {
                guard let line = Self.line(register, function) else { continue }
                guard register.holdsSize(of: line) else { continue }
                // Modulo 2^64: bus addresses may lie above CPU addresses.
                offsets[Space(segment: sign.address.segment, isIO: register.isIO), default: []]
                    .insert(line.start &- register.base)
            }
        }
    }

    /// What a register says otherwise than the kernel.
    struct Difference {
        var address: FunctionAddress
        /// The resource that is about addresses; nil for bus numbers and silence.
        var index: ResourceIndex?
        var sentence: String
    }

    /// What the registers of the functions say otherwise than the kernel, in the order of `health`.
    func differences(_ tree: TreeState, _ health: [FunctionHealth]) -> [Difference] {
        let functions = Dictionary(tree.functions.map { ($0.address, $0) }) { a, _ in a }
        var result: [Difference] = []
        for sign in health {
            guard let function = functions[sign.address] else { continue }
            func differs(_ sentence: String, _ index: ResourceIndex? = nil) {
                result.append(Difference(address: sign.address, index: index, sentence: "\(sign.address) \(sentence)"))
            }
            guard !sign.config.isSilent, sign.config.hasHeader else {
                differs("expected to answer, found all ones")
                continue
            }
            if let range = function.busRange, let registers = BridgeRegisters(sign.config),
                registers.secondary != range.first || registers.subordinate != range.last
            {
                let found = "\(registers.secondary)-\(registers.subordinate)"
                differs("expected bus registers \(range.first)-\(range.last), found \(found)")
            }
            for register in Self.registers(sign.config) {
                guard let line = Self.line(register, function),
                    let known = offsets[Space(segment: sign.address.segment, isIO: register.isIO)], !known.isEmpty
                else { continue }
                let expected = "\(hex(line.start))-\(hex(line.end))"
                if register.isClosed {
                    differs("\(register.index) registers expected to hold \(expected), found closed", register.index)
                } else if !known.contains(line.start &- register.base) || !register.holdsSize(of: line) {
                    let found = hex(register.base)
                    differs("\(register.index) registers expected to hold \(expected), found \(found)", register.index)
                }
            }
        }
        return result
    }

    /// The writes that make the window registers of bridges agree with what the kernel holds, in order.
    ///
    /// - Parameters:
    ///   - tree: what the kernel holds.
    ///   - health: the bridges with their registers; others are passed over, and so are spaces in which it is not known
    ///     what lies between CPU and bus addresses.
    /// - Returns: the writes; none where the registers agree.
    func windowWrites(_ tree: TreeState, _ health: [FunctionHealth]) -> [SystemWrite] {
        let functions = Dictionary(tree.functions.map { ($0.address, $0) }) { a, _ in a }
        var result: [SystemWrite] = []
        for sign in health {
            guard let function = functions[sign.address], function.busRange != nil,
                let registers = BridgeRegisters(sign.config)
            else { continue }
            var wanted: [WindowRegisterValue] = []
            for (index, window) in registers.windows {
                let known = offsets[Space(segment: sign.address.segment, isIO: index == .ioWindow)] ?? []
                guard let offset = known.first, known.count == 1 else { continue }
                let range = function.lines[index].range(of: index).flatMap {
                    AddressRange(first: $0.first &- offset, last: $0.last &- offset)
                }
                // Base 0 is how a bridge comes out of reset, and how a window reads that it has not got.
                if range == nil, window.range == nil || window.base == 0 { continue }
                wanted += WindowRegisterValue.values(of: index, range, isWide: window.type == 1)
            }
            result += WindowRegisterValue.writeOrder(wanted) { register in
                register.width == 2
                    ? UInt32(sign.config.word(register.offset) ?? 0) : sign.config.long(register.offset) ?? 0
            }.map { $0.write(to: sign.address) }
        }
        return result
    }

    /// What keeps transactions from passing between functions and the root, though every address is right, a sentence
    /// each: a bridge above, however far up, that does not decode the space in which the function decodes its BARs, or the
    /// next one that takes smaller payloads than the function sends. A port with nothing below it that decodes needs
    /// nobody above: whoever is enabled there has the bridges enabled first (`pci_enable_bridge`).
    ///
    /// - Parameters:
    ///   - tree: the functions and the bridges above them.
    ///   - health: the registers of both; a bridge of which there are none is passed over.
    ///   - addresses: the functions that are asked about.
    /// - Returns: the sentences, by function in the order of `tree`, from the nearest bridge up.
    static func pathFaults(
        _ tree: TreeState,
        _ health: [FunctionHealth],
        of addresses: Set<FunctionAddress>
    ) -> [String] {
        let places = Dictionary(tree.functions.map { ($0.address, $0.path) }) { a, _ in a }
        var byPlace: [TopologyPath: FunctionHealth] = [:]
        // VFs on a bus of their own share the place of their physical function; they decode by its registers.
        let own = health.filter { $0.config.word(0) != 0xffff }
        for sign in own { places[sign.address].map { byPlace[$0] = sign } }
        let signs = Dictionary(own.map { ($0.address, $0) }) { a, _ in a }
        var result: [String] = []
        for function in tree.functions where addresses.contains(function.address) {
            guard let sign = signs[function.address] else { continue }
            let needed = sign.decode.intersection(function.barSpaces)
            var place = function.path.above
            while let above = place {
                place = above.above
                guard let bridge = byPlace[above] else { continue }
                let missing = needed.subtracting(bridge.decode)
                if !missing.isEmpty {
                    result.append(
                        "\(bridge.address) expected to decode what \(sign.address) below it decodes, found "
                            + "\(hex(UInt64(missing.rawValue))) of COMMAND off"
                    )
                }
                if above == function.path.above, let size = sign.maxPayloadSize, let limit = bridge.maxPayloadSize,
                    size > limit
                {
                    result.append(
                        "\(sign.address) expected to send payloads of at most \(limit) bytes, found \(size)"
                    )
                }
            }
        }
        return result
    }

    private static func line(_ register: Register, _ function: FunctionState) -> ResourceLine? {
        let line = function.lines[register.index]
        guard line.range(of: register.index) != nil, !line.flags.contains(.fixed),
            line.flags.contains(.io) == register.isIO
        else { return nil }
        return line
    }

    /// The address registers of a function. A VF has none of its own: its vendor id reads all ones.
    private static func registers(_ config: ConfigSpace) -> [Register] {
        guard config.hasHeader, config.word(0) != 0xffff else { return [] }
        var result: [Register] = []
        let layout = config.headerLayout ?? 0x7f
        var bar = 0
        let bars = layout == 0 ? 6 : layout == 1 ? 2 : 0
        while bar < bars {
            guard let low = config.long(0x10 + 4 * bar), let index = ResourceIndex.bar(bar) else { break }
            let isIO = low & 1 == 1
            let is64 = !isIO && low & 6 == 4
            var base = UInt64(low & (isIO ? ~3 : ~0xf))
            if is64, let high = config.long(0x14 + 4 * bar) { base |= UInt64(high) << 32 }
            result.append(Register(index: index, isIO: isIO, base: base, size: nil, isClosed: base == 0))
            bar += is64 ? 2 : 1
        }
        if let bridge = BridgeRegisters(config) {
            for (index, window) in bridge.windows {
                let range = window.range
                result.append(
                    Register(
                        index: index,
                        isIO: index == .ioWindow,
                        base: window.base,
                        size: range.map { $0.last - $0.first },
                        isClosed: range == nil
                    )
                )
            }
        }
        return result
    }
}

extension BridgeRegisters {
    /// The windows by the resource that each is.
    fileprivate var windows: [(ResourceIndex, WindowRegister)] {
        [(.ioWindow, io), (.memoryWindow, memory), (.prefetchableWindow, prefetchable)]
    }
}
