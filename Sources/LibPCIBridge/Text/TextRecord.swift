// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

extension TextEvidence {
    /// The record of the machine that the text describes, from which a topology is assembled as from a live reading.
    ///
    /// Functions with a hex dump keep its bytes. For the others the configuration space is put together from what the
    /// text tells. The lines of the `resource` file are made from addresses and sizes where all of them are known; where
    /// a size is not known there are none, and the resources carry no size. What is missing stands in `gaps`.
    /// - Complexity: O(functions times roots + nodes).
    public var record: MachineRecord {
        var record = MachineRecord(origin: .text, kernel: kernel)
        record.iomem = iomem.nodes.isEmpty ? nil : iomem.fileText(width: 8)
        record.ioports = ioports.nodes.isEmpty ? nil : ioports.fileText(width: 4)
        record.kernelLog = messages.isEmpty ? nil : messages.map(\.line)
        let busOf = Translation(roots)
        var withoutSizes: [FunctionAddress] = []
        var withoutDump = 0
        let failed = failedInLog
        let held = ResourceLines.held(self)
        var slotNames = Set<String>()
        let widths = PrefetchableWidths(self)
        let placeless = self.placeless
        for facts in functions where !placeless.contains(facts.address) {
            var f = FunctionRecord(address: facts.address)
            f.vendor = facts.vendor
            f.device = facts.device
            f.name = facts.vendor == nil ? facts.name : nil
            f.subsystemVendor = facts.subsystemVendor
            f.subsystemDevice = facts.subsystemDevice
            f.classCode = facts.classWord.map { UInt32($0) << 8 | UInt32(facts.programmingInterface ?? 0) }
            f.revision = facts.revision
            f.driver = facts.driver
            f.numaNode = facts.numaNode
            f.iommuGroup = facts.iommuGroup
            f.totalVFs = facts.sriov?.totalVFs
            f.enabledVFs = facts.sriov?.isEnabled == true ? facts.sriov?.numVFs : facts.sriov == nil ? nil : 0
            if facts.config.count >= 16, !facts.config.isAllOnes {
                f.config = facts.config
            } else if facts.isSilent {
                // What lspci saw of it.
                f.config = ConfigSpace(Array(repeating: 0xff, count: 64))
            } else {
                withoutDump += 1
                let width = widths.width(of: facts) ?? (facts.express != nil ? 64 : 32)
                var synthesis = ConfigSynthesis(facts, prefetchableWidth: width) {
                    busOf.offset(of: $0, isIO: $1, segment: facts.address.segment)
                }
                f.config = synthesis.make()
            }
            let lines = ResourceLines(
                facts,
                evidence: self,
                config: f.config,
                translation: busOf,
                isForgotten: failed.contains(facts.address),
                held: held
            )
            let made = lines.lines()
            f.resource = made.lines
            f.unsized = made.unsized
            for resource in facts.resources where resource.isLeftOut {
                f.ignored |= 1 << UInt32(resource.index.rawValue)
            }
            for index in facts.untold where facts.resource(index) == nil { f.ignored |= 1 << UInt32(index.rawValue) }
            for one in facts.resources where one.isNamedOnly { f.named |= 1 << UInt32(one.index.rawValue) }
            f.knowledge = knowledge(of: facts, isWhole: made.lines != nil && made.unsized.isEmpty, widths)
            if f.resource == nil || !made.unsized.isEmpty { withoutSizes.append(facts.address) }
            record.functions.append(f)
            if let slot = facts.slot {
                let a = facts.address
                let place = "\(busName(segment: a.segment, a.bus)):\(bareHex(UInt64(a.device), width: 2))"
                if slotNames.insert(slot).inserted {
                    record.slots.append(SlotRecord(name: slot, address: place))
                }
            }
        }
        if !placeless.isEmpty {
            let names = placeless.sorted().map(\.description).joined(separator: ", ")
            record.gaps.append(
                ReadingGap(
                    code: "no-place",
                    detail: "\(names): does not answer, and no bridge is told that leads there; not in the tree"
                )
            )
        }
        record.gaps += gaps(withoutDump: withoutDump, withoutSizes: withoutSizes)
        if functions.isEmpty, let detail = addressesOnly {
            record.gaps.append(ReadingGap(code: "addresses-only", detail: detail))
        }
        return record
    }

    /// Whether all that is known of functions is from the kernel log.
    var isLogAlone: Bool { lineCounts.lspci == 0 && lineCounts.hex == 0 }

    /// What /proc/iomem and /proc/ioports name where nothing else is told: owners of addresses, no BARs and no bridges.
    private var addressesOnly: String? {
        guard !iomem.nodes.isEmpty || !ioports.nodes.isEmpty else { return nil }
        let file = iomem.nodes.isEmpty ? "/proc/ioports" : "/proc/iomem"
        if iomem.isZeroed || iomem.nodes.isEmpty && ioports.isZeroed {
            return
                "\(file) was read without root and shows no addresses; it names owners, and no BARs, bridges or what "
                + "has no address"
        }
        let owners = Set((iomem.nodes + ioports.nodes).compactMap { FunctionAddress(parsing: $0.name) }).count
        let windows = (iomem.busNodes + ioports.busNodes).count
        return
            "\(file) alone names \(owners) function\(owners == 1 ? "" : "s") and \(windows) window\(windows == 1 ? "" : "s") "
            + "that have addresses; which BAR, which bridge, "
            + "and what has no address are not in it"
    }

    /// The functions that do not answer and that no bridge leads to: their bus is no root bus for that.
    private var placeless: Set<FunctionAddress> {
        let silent = functions.filter { $0.doesNotAnswer || $0.config.isAllOnes }
        return Set(
            silent.filter { one in
                let bus = one.address.bus
                guard bus != BusNumber(0) else { return false }
                return !functions.contains { other in
                    other.address.segment == one.address.segment
                        && (other.bridge?.busRange?.contains(bus) == true && other.bridge?.secondary != BusNumber(0)
                            || other.address.bus == bus && !silent.contains { $0.address == other.address })
                }
            }
            .map(\.address)
        )
    }

    /// How much the texts told of a function.
    private func knowledge(of facts: TextFunction, isWhole: Bool, _ widths: PrefetchableWidths) -> FunctionKnowledge {
        let hasDump = facts.hasDump
        var result = FunctionKnowledge()
        if hasDump { result.sources.append(.registers) }
        if facts.isListed { result.sources.append(.listing) }
        if facts.isDiscovered || !facts.isListed && !hasDump { result.sources.append(.log) }
        // lspci says `[virtual]` of a BAR whose register reads zero.
        let hasEmptyRegister =
            facts.headerLayout != 1 && facts.resources.contains { $0.state == .virtual && $0.index.isBAR }
        result.registers = hasDump ? .seen : hasEmptyRegister ? .partly : .unseen
        result.settings = hasDump || facts.tellsSettings ? .seen : .unseen
        if facts.isDescribed || facts.isDiscovered || hasDump {
            result.resources = isWhole && (!facts.isCut || facts.isDescribed || hasDump) ? .seen : .partly
        } else {
            result.resources = facts.resources.isEmpty ? .unseen : .partly
        }
        let isBridge = facts.headerLayout == 1 || facts.bridge != nil || facts.classWord == 0x0604
        guard isBridge, facts.headerLayout != 2 else { return result }
        result.windows = facts.windowKnowledge
        if result.windows == .partly, result.resources == .unseen { result.resources = .partly }
        result.isPrefetchableWidthKnown =
            hasDump || facts.isDescribed || facts.bridge?.prefetchable?.width != nil || widths.width(of: facts) != nil
        return result
    }

    /// The functions of which the log says that something could not be assigned.
    private var failedInLog: Set<FunctionAddress> {
        var result = Set<FunctionAddress>()
        for message in messages {
            let bytes = Array(message.text.utf8)[...]
            guard let subject = LogTextReader.takeSubject(bytes),
                subject.rest.has("failed to assign") || subject.rest.has("no space")
            else { continue }
            result.insert(subject.address)
        }
        return result
    }

    /// The topology that the text describes.
    ///
    /// - Throws: `ReadError` with code `badInput` when nothing about PCI functions was recognised, or when they make no tree.
    public func topology() throws(ReadError) -> Topology {
        guard !functions.isEmpty else {
            throw ReadError(
                .badInput,
                "no PCI function in the text: expected lspci output or a boot log, found \(kinds.joined(separator: ", "))"
            )
        }
        return try TopologyAssembler(record).topology()
    }

    private func gaps(withoutDump: Int, withoutSizes: [FunctionAddress]) -> [ReadingGap] {
        var gaps: [ReadingGap] = []
        if withoutDump > 0 {
            gaps.append(
                ReadingGap(
                    code: "config-from-text",
                    detail: "the configuration space of \(withoutDump) functions is put together from text; registers "
                        + "that text does not show are not known"
                )
            )
        }
        if let first = withoutSizes.first {
            let others = withoutSizes.count > 1 ? " and \(withoutSizes.count - 1) more functions" : ""
            gaps.append(
                ReadingGap(
                    code: "sizes-unknown",
                    detail: "the sizes of BARs of \(first)\(others) are not known: registers tell addresses only; add "
                        + "lspci -vv, the kernel log or /proc/iomem"
                )
            )
        }
        if functions.contains(where: { $0.showsCapabilities == false }) {
            gaps.append(
                ReadingGap(
                    code: "capabilities-denied",
                    detail: "lspci was not run as root: hot-plug slots, SR-IOV and resizable BARs are not known"
                )
            )
        } else if functions.contains(where: { $0.config.count < 256 && $0.showsCapabilities == nil }) {
            gaps.append(
                ReadingGap(
                    code: "capabilities-unknown",
                    detail:
                        "the text shows no capabilities of some functions: hot-plug slots, SR-IOV and resizable BARs "
                        + "are not known there"
                )
            )
        }
        if functions.contains(where: { $0.sriov?.totalVFs != nil && $0.sriov?.stride == nil && $0.config.count < 256 })
        {
            gaps.append(
                ReadingGap(
                    code: "sriov-partial",
                    detail:
                        "the log tells how many VFs there can be and their BARs; offset and stride, which decide their bus "
                        + "numbers, are not known"
                )
            )
        }
        for finding in findings {
            switch finding.code {
            case .severalBoots, .damagedHexRow, .difference:
                gaps.append(ReadingGap(code: finding.code.rawValue, detail: finding.detail))
            case .severalMachines: gaps.append(ReadingGap(code: "several-machines", detail: finding.detail))
            case .severalBootsJoined: gaps.append(ReadingGap(code: "several-boots-joined", detail: finding.detail))
            case .logCutAtStart, .logCutAtEnd:
                // A listing shows what is, whatever the log has forgotten.
                guard isLogAlone else { continue }
                gaps.append(ReadingGap(code: finding.code.rawValue, detail: finding.detail))
            case .damagedLog: gaps.append(ReadingGap(code: "damaged-log", detail: finding.detail))
            default: break
            }
        }
        return gaps
    }

    /// How wide the prefetchable windows of bridges are of which the text does not show one: a log prints only windows
    /// that are open or failed, and a bridge without such a line may have either.
    ///
    /// The same device elsewhere in the tree tells; a PCI Express port of a log is taken to be as wide as every other
    /// port of which the texts tell, and 64 bits where none does (PCI Express Base Specification 6.0 §7.5.1.3.9 asks for
    /// them).
    struct PrefetchableWidths {
        private var byDevice: [UInt32: Int] = [:]
        private var byVendor: [UInt16: Int] = [:]
        private var hasNarrowPort = false
        private let byPlacement: PlacementWidths

        init(_ evidence: TextEvidence) {
            byPlacement = PlacementWidths(evidence)
            for facts in evidence.functions {
                guard let width = facts.bridge?.prefetchable?.width else { continue }
                if facts.express != nil, width == 32 { hasNarrowPort = true }
                guard let vendor = facts.vendor, let device = facts.device else { continue }
                let key = UInt32(vendor) << 16 | UInt32(device)
                byDevice[key] = max(byDevice[key] ?? 0, width)
                // One narrow bridge of a vendor, and the others tell nothing.
                byVendor[vendor] = min(byVendor[vendor] ?? width, width)
            }
        }

        /// The width in bits, 0 for a bridge without such a window, or nil when nothing tells.
        func width(of facts: TextFunction) -> Int? {
            if let width = facts.bridge?.prefetchable?.width { return width }
            if let width = byPlacement[facts.address] { return width }
            if let vendor = facts.vendor, let device = facts.device,
                let width = byDevice[UInt32(vendor) << 16 | UInt32(device)]
            {
                return width
            }
            if facts.express != nil, !hasNarrowPort { return 64 }
            return facts.vendor.flatMap { byVendor[$0] } == 64 ? 64 : nil
        }
    }

    /// CPU address minus bus address, by the apertures that the log tells.
    struct Translation {
        private let roots: [RootFacts]

        init(_ roots: [RootFacts]) { self.roots = roots.filter { $0.apertures.contains { $0.offset != 0 } } }

        /// The offset at a CPU address.
        func offset(of address: UInt64, isIO: Bool, segment: UInt32) -> Int64 {
            for root in roots where root.segment == segment {
                for aperture in root.apertures where aperture.isIO == isIO && aperture.range.contains(address) {
                    return aperture.offset
                }
            }
            return 0
        }

        /// The CPU addresses of bus addresses; nil when no aperture covers them.
        func range(_ bus: AddressRange, isIO: Bool, segment: UInt32) -> AddressRange? {
            for root in roots where root.segment == segment {
                for aperture in root.apertures where aperture.isIO == isIO {
                    guard let held = aperture.busRange, held.contains(bus) else { continue }
                    return bus.shifted(by: aperture.offset)
                }
            }
            return nil
        }

        /// Whether an aperture covers these CPU addresses.
        func covers(_ cpu: AddressRange, isIO: Bool, segment: UInt32) -> Bool {
            roots.contains { root in
                root.segment == segment && root.apertures.contains { $0.isIO == isIO && $0.range.contains(cpu) }
            }
        }

        /// The CPU address of a bus address.
        func cpuAddress(of address: UInt64, isIO: Bool, segment: UInt32) -> UInt64 {
            for root in roots where root.segment == segment {
                for aperture in root.apertures where aperture.isIO == isIO {
                    guard let bus = aperture.busRange, bus.contains(address) else { continue }
                    // Two's complement: CPU address = bus address + offset modulo 2^64.
                    return address &+ UInt64(bitPattern: aperture.offset)
                }
            }
            return address
        }
    }
}

extension IomemText {
    /// The nodes as the kernel prints them, indented to a depth of eight.
    func fileText(width: Int) -> String {
        var text = ""
        for node in nodes {
            text += String(repeating: " ", count: 2 * min(node.depth, 8))
            text +=
                "\(bareHex(node.range.first, width: width))-\(bareHex(node.range.last, width: width)) : \(node.name)\n"
        }
        return text
    }
}

extension TextFunction {
    /// Whether the text says that the function does not answer, or its dump is of ones alone; that of a VF has ids of ones.
    fileprivate var isSilent: Bool { doesNotAnswer || config.isSilent }

    /// Whether the registers were dumped, and answered.
    fileprivate var hasDump: Bool { config.count >= 64 && !config.isAllOnes }

    /// How much of a bridge's windows the texts told. A listing that describes a bridge, and a log that found it, tell them
    /// with its buses: one without these was cut.
    var windowKnowledge: FunctionKnowledge.Extent {
        if hasDump || bridge?.secondary != nil && (isDescribed || isDiscovered) { return .seen }
        return bridge?.io != nil || bridge?.memory != nil || bridge?.prefetchable != nil ? .partly : .unseen
    }
}
