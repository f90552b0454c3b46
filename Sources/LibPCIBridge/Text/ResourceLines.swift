// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// The lines of the sysfs file `resource` that a kernel would print for what text tells of a function.
struct ResourceLines {
    private let facts: TextFunction
    private let evidence: TextEvidence
    private let config: ConfigSpace
    private let translation: TextEvidence.Translation
    private let isForgotten: Bool
    private let held: [HeldKey: ByteCount]

    init(
        _ facts: TextFunction,
        evidence: TextEvidence,
        config: ConfigSpace,
        translation: TextEvidence.Translation,
        isForgotten: Bool,
        held: [HeldKey: ByteCount]
    ) {
        self.held = held
        self.isForgotten = isForgotten
        self.facts = facts
        self.evidence = evidence
        self.config = config
        self.translation = translation
    }

    /// A resource as /proc/iomem or /proc/ioports names it.
    struct HeldKey: Hashable {
        var address: FunctionAddress
        var start: UInt64
        var isIO: Bool
    }

    /// The sizes of the nodes that bear a function's address.
    static func held(_ evidence: TextEvidence) -> [HeldKey: ByteCount] {
        var result: [HeldKey: ByteCount] = [:]
        for (text, isIO) in [(evidence.iomem, false), (evidence.ioports, true)] {
            for node in text.nodes {
                guard let address = FunctionAddress(parsing: node.name), let size = node.range.size else { continue }
                let key = HeldKey(address: address, start: node.range.first, isIO: isIO)
                if result[key] == nil { result[key] = ByteCount(size) }
            }
        }
        return result
    }

    /// The lines, and the resources that have an address whose size no text tells, which have none. The lines are nil
    /// when only registers tell of BARs and no size is known.
    func lines() -> (lines: [ResourceLine]?, unsized: [Resource]) {
        let isBridge = facts.headerLayout == 1 && facts.bridge != nil
        let hasBus = isBridge && (facts.bridge?.secondary?.rawValue ?? 0) != 0
        var lines = Array(repeating: ResourceLine.zero, count: hasBus ? 17 : 13)
        var resources = facts.resources
        if facts.config.count >= 64 { addRegisters(to: &resources) }
        var unsized: [Resource] = []
        var hasSize = false
        for resource in resources {
            let at = Int(resource.index.rawValue)
            guard at < lines.count else { continue }
            if let line = line(of: resource) {
                lines[at] = line
                hasSize = hasSize || resource.index.isBAR && line != .zero
            } else if let start = resource.start, let range = AddressRange(first: start, size: 1) {
                unsized.append(
                    Resource(
                        index: resource.index,
                        flags: resource.flags.ofBAR(isROM: resource.index.isROM),
                        size: nil,
                        alignment: nil,
                        assignment: .assigned(range),
                        sizeSource: .unknown
                    )
                )
            }
        }
        if !unsized.isEmpty, !hasSize, facts.config.count >= 64 { return (nil, []) }
        if hasBus {
            for kind in ResourceKind.allCases { lines[13 + Int(kind.rawValue)] = window(kind) }
        }
        return (lines, unsized)
    }

    /// BARs that the registers show and no text names.
    private func addRegisters(to resources: inout [ResourceFacts]) {
        var isUpperHalf = false
        let count = facts.headerLayout == 0 ? 6 : facts.headerLayout == 1 ? 2 : 0
        for number in 0..<count {
            guard !isUpperHalf, let value = config.long(0x10 + 4 * number), let index = ResourceIndex.bar(number) else {
                isUpperHalf = false
                continue
            }
            guard value != 0, value != .max else { continue }
            let flags = ResourceDerivation.flags(ofRegister: value)
            isUpperHalf = flags.contains(.memory64) && number < 5
            guard !resources.contains(where: { $0.index == index }) else { continue }
            var address = UInt64(value & (flags.contains(.io) ? ~3 : ~0xf))
            if isUpperHalf { address |= UInt64(config.long(0x14 + 4 * number) ?? 0) << 32 }
            let cpu = translation.cpuAddress(
                of: address,
                isIO: flags.contains(.io),
                segment: facts.address.segment
            )
            resources.append(
                ResourceFacts(
                    index: index,
                    flags: flags,
                    start: address == 0 ? nil : cpu,
                    size: size(at: cpu, isIO: flags.contains(.io)),
                    state: address == 0 ? .unassigned : .placed
                )
            )
        }
    }

    /// The size of the node in /proc/iomem or /proc/ioports that begins at `address` and bears the function's name.
    private func size(at address: UInt64, isIO: Bool) -> ByteCount? {
        held[HeldKey(address: facts.address, start: address, isIO: isIO)]
    }

    /// One line; nil when the address is known and the size is not.
    private func line(of resource: ResourceFacts) -> ResourceLine? {
        let flags = resource.flags.ofBAR(isROM: resource.index.isROM)
        var size = resource.size
        if resource.index.isVFBAR, resource.vfCount == nil, let one = size {
            // One VF's share; the kernel shows the block of all.
            guard let total = facts.sriov?.totalVFs, total > 0 else { return resource.start == nil ? .zero : nil }
            let (product, overflow) = one.rawValue.multipliedReportingOverflow(by: UInt64(total))
            size = overflow ? nil : ByteCount(product)
        }
        if size == nil, let start = resource.start {
            size = self.size(at: start, isIO: resource.flags.contains(.io))
        }
        switch resource.state {
        case .placed, .virtual, .unclaimed:
            guard let start = resource.start, start != 0 || resource.flags.contains(.io) && resource.size != nil else {
                return resource.start != nil && size == nil ? .zero : unset(flags, size)
            }
            guard let size else {
                return nil
            }
            guard let range = AddressRange(first: start, size: size.rawValue) else { return .zero }
            return ResourceLine(start: range.first, end: range.last, flags: flags)
        case .unassigned, .ignored:
            // The kernel forgets what it failed to place: the log, which is part of the record, tells the size.
            return isForgotten ? .zero : unset(flags, size)
        }
    }

    private func unset(_ flags: ResourceFlags, _ size: ByteCount?) -> ResourceLine {
        guard let size, size.rawValue > 0 else { return .zero }
        return ResourceLine(start: 0, end: size.rawValue - 1, flags: flags.union(.unset))
    }

    /// A window: what the text says, else what the registers say.
    private func window(_ kind: ResourceKind) -> ResourceLine {
        var flags: ResourceFlags
        var range: AddressRange?
        let told = facts.bridge?[kind]
        if let told { range = told.range }
        let registers = facts.config.count >= 64 ? BridgeRegisters(facts.config) : nil
        switch kind {
        case .io:
            flags = .io
            if told == nil { range = registers?.io.range.flatMap { cpu($0, isIO: true) } }
            let isWide = (registers ?? BridgeRegisters(config))?.io.type == 1
            if isWide || (range?.last ?? 0) > 0xffff { flags.insert(ResourceFlags(rawValue: 1)) }
        case .memory:
            flags = .memory
            if told == nil { range = registers?.memory.range.flatMap { cpu($0, isIO: false) } }
        case .prefetchable:
            flags = [.memory, .prefetchable]
            if told == nil { range = registers?.prefetchable.range.flatMap { cpu($0, isIO: false) } }
            let isWide =
                registers.map { $0.prefetchable.type == 1 } ?? (BridgeRegisters(config)?.prefetchable.type == 1)
            if isWide { flags.formUnion([.memory64, ResourceFlags(rawValue: 1)]) }
        }
        guard var range else { return .zero }
        // Lspci before 3.7 prints windows in bus addresses.
        let isIO = kind == .io
        if told != nil, !translation.covers(range, isIO: isIO, segment: facts.address.segment),
            let moved = translation.range(range, isIO: isIO, segment: facts.address.segment)
        {
            range = moved
        }
        // Registers that read zero are an open window at address 0, which is how one that is not implemented reads.
        if range.first == 0, told == nil, kind != .io || registers?.io.type == 0 { return .zero }
        return ResourceLine(start: range.first, end: range.last, flags: flags)
    }

    private func cpu(_ range: AddressRange, isIO: Bool) -> AddressRange? {
        let first = translation.cpuAddress(of: range.first, isIO: isIO, segment: facts.address.segment)
        // Two's complement: both ends move by the same offset.
        return AddressRange(first: first, last: range.last &+ (first &- range.first))
    }
}
