// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

extension PolicyOutcome {
    /// The tree as it would stand under the policy: `topology` with the outcome's addresses, windows and bus numbers, in
    /// the model and in the registers.
    ///
    /// A function whose bus has no number is unreachable and left out with everything below it, as are VFs: after a
    /// reset there are none. Two functions that would share an address (bus numbers given twice) leave the second out.
    ///
    /// - Throws: `TopologyError` when `topology` lacks a bridge that the outcome names.
    /// - Complexity: O(n log n).
    public func applied(to topology: Topology) throws(TopologyError) -> Topology {
        var functions: [Function] = []
        var addresses: [TopologyPath: FunctionAddress] = [:]
        var taken: Set<FunctionAddress> = []
        for entry in self.functions {
            guard let bus = entry.bus, let i = topology.position(of: entry.today) else { continue }
            var function = topology.functions[i]
            function.address = FunctionAddress(segment: entry.today.segment, bus: bus, devfn: entry.today.devfn)
            if entry.path.hops.count > 1 {
                let above = TopologyPath(
                    segment: entry.path.segment,
                    rootBus: entry.path.rootBus,
                    hops: Array(entry.path.hops.dropLast())
                )
                guard let parent = addresses[above] else { continue }
                function.parent = parent
            }
            guard taken.insert(function.address).inserted else { continue }
            addresses[entry.path] = function.address
            let host = topology.hostBridges[topology.host(of: i)]
            entry.program(&function, host: host)
            functions.append(function)
        }
        return try Topology(
            kernel: topology.kernel,
            hostBridges: topology.hostBridges,
            functions: functions,
            blockers: topology.blockers,
            gaps: topology.gaps
        )
    }
}

extension FunctionOutcome {
    /// Writes the entry into a function's model and registers.
    fileprivate func program(_ function: inout Function, host: HostBridge) {
        for r in function.resources.indices {
            let index = function.resources[r].index
            if index.isWindow {
                if let range = window(index) {
                    function.resources[r].assignment = .assigned(range)
                    function.resources[r].size = ByteCount(range.clampedSize)
                } else {
                    function.resources[r].assignment = .closed
                    function.resources[r].size = .zero
                }
            } else if let outcome = resources.first(where: { $0.index == index }) {
                function.resources[r].size = ByteCount(outcome.size)
                function.resources[r].assignment = outcome.range.map { .assigned($0) } ?? .unassigned
                if let range = outcome.range { write(range, index, &function, host) }
            }
        }
        if function.bridge != nil {
            function.bridge?.busRange = buses
            writeBridge(&function, host)
            if let registers = BridgeRegisters(function.config) { function.bridge?.registers = registers }
        }
        function.lines = lines(of: function)
        function.use.enabledVFs = function.use.enabledVFs.map { _ in 0 }
    }

    private func bus(_ range: AddressRange, _ host: HostBridge) -> AddressRange {
        guard let offset = host.apertures.first(where: { $0.range.contains(range) })?.offset, offset != .min else {
            return range
        }
        return range.shifted(by: -offset) ?? range
    }

    private func write(_ range: AddressRange, _ index: ResourceIndex, _ function: inout Function, _ host: HostBridge) {
        let first = bus(range, host).first
        let flags = function.resource(index)?.flags ?? []
        let register: Int
        if index.isBAR {
            register = 0x10 + 4 * Int(index.rawValue)
        } else if index.isROM {
            register = function.isBridge ? 0x38 : 0x30
        } else if let sriov = function.capabilities.sriov {
            register = Int(sriov.offset) + 0x24 + 4 * (Int(index.rawValue) - 7)
        } else {
            return
        }
        let type = (function.config.long(register) ?? 0) & (flags.contains(.io) ? 0x3 : index.isROM ? 0x7ff : 0xf)
        function.config.write(UInt32(truncatingIfNeeded: first) | type, at: register, width: 4)
        if flags.contains(.memory64) {
            function.config.write(UInt32(truncatingIfNeeded: first >> 32), at: register + 4, width: 4)
        }
    }

    /// The bus numbers and windows of header layout 1; a closed window has its base above its limit.
    private func writeBridge(_ function: inout Function, _ host: HostBridge) {
        guard function.config.headerLayout == 1 else { return }
        function.config.write(UInt32(bus?.rawValue ?? 0), at: 0x18, width: 1)
        function.config.write(UInt32(buses?.first.rawValue ?? 0), at: 0x19, width: 1)
        function.config.write(UInt32(buses?.last.rawValue ?? 0), at: 0x1a, width: 1)
        if function.resource(.ioWindow) != nil {
            let type = UInt32(function.config.byte(0x1c) ?? 0) & 0xf
            let range = window(.ioWindow).map { bus($0, host) }
            let base = UInt32(truncatingIfNeeded: (range?.first ?? 0xf000) >> 8)
            let limit = UInt32(truncatingIfNeeded: (range?.last ?? 0) >> 8)
            function.config.write(base & 0xf0 | type, at: 0x1c, width: 1)
            function.config.write(limit & 0xf0 | type, at: 0x1d, width: 1)
            function.config.write(UInt32(truncatingIfNeeded: (range?.first ?? 0) >> 16), at: 0x30, width: 2)
            function.config.write(UInt32(truncatingIfNeeded: (range?.last ?? 0) >> 16), at: 0x32, width: 2)
        }
        let memory = window(.memoryWindow).map { bus($0, host) }
        function.config.write(
            UInt32(truncatingIfNeeded: (memory?.first ?? 0xfff0_0000) >> 16) & 0xfff0,
            at: 0x20,
            width: 2
        )
        function.config.write(UInt32(truncatingIfNeeded: (memory?.last ?? 0) >> 16) & 0xfff0, at: 0x22, width: 2)
        if function.resource(.prefetchableWindow) != nil {
            let type = UInt32(function.config.word(0x24) ?? 0) & 0xf
            let range = window(.prefetchableWindow).map { bus($0, host) }
            let first = range?.first ?? 0xfff0_0000
            let last = range?.last ?? 0
            function.config.write(UInt32(truncatingIfNeeded: first >> 16) & 0xfff0 | type, at: 0x24, width: 2)
            function.config.write(UInt32(truncatingIfNeeded: last >> 16) & 0xfff0 | type, at: 0x26, width: 2)
            if type == 1 {
                function.config.write(UInt32(truncatingIfNeeded: first >> 32), at: 0x28, width: 4)
                function.config.write(UInt32(truncatingIfNeeded: last >> 32), at: 0x2c, width: 4)
            }
        }
    }

    /// The sysfs lines that a kernel holding this layout would print.
    private func lines(of function: Function) -> [PCITopology.ResourceLine] {
        let usual = ResourceFileShape.current.lineCount(hasBus: function.bridge?.busRange != nil)
        let count = function.lines.isEmpty ? usual : function.lines.count
        let numbering = ResourceNumbering(lineCount: count)
        return (0..<count).map { line in
            guard let index = numbering.index(ofLine: line), let resource = function.resource(index) else {
                return .zero
            }
            if let range = resource.range {
                return PCITopology.ResourceLine(
                    start: range.first,
                    end: range.last,
                    flags: resource.flags.subtracting([.unset, .disabled])
                )
            }
            if index.isWindow { return .zero }
            let size = resource.size?.rawValue ?? 0
            return size == 0
                ? .zero
                : PCITopology.ResourceLine(start: 0, end: size - 1, flags: resource.flags.union(.unset))
        }
    }
}
