// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension TextEvidence {
    /// Adds what `other`, another text of the same machine, tells. Where both speak, this one counts.
    ///
    /// Disagreements become findings; the counts of agreeing and disagreeing values are given back.
    /// - Complexity: O(number of functions + nodes).
    @discardableResult
    public mutating func merge(_ other: TextEvidence) -> Agreement {
        var agreement = Agreement()
        if let contradiction = contradiction(to: other) {
            // Of two machines, or of two boots, each would make the other wrong: the first counts.
            findings.append(contradiction)
            lineCounts.total += other.lineCounts.total
            return agreement
        }
        // Functions that only the log knows are gone or hidden, if lspci listed the machine: told before both are one.
        let ghosts = Self.ghosts(self, other)
        if kernel.release == nil { kernel.release = other.kernel.release }
        if kernel.commandLine == nil { kernel.commandLine = other.kernel.commandLine }
        if kernel.architecture == nil { kernel.architecture = other.kernel.architecture }
        if kernel.hardwareDescription == nil { kernel.hardwareDescription = other.kernel.hardwareDescription }
        if machine == nil { machine = other.machine }
        if roots.isEmpty { roots = other.roots }
        if messages.isEmpty { messages = other.messages }
        if iomem.nodes.isEmpty || iomem.isZeroed && !other.iomem.nodes.isEmpty { iomem = other.iomem }
        if ioports.nodes.isEmpty || ioports.isZeroed && !other.ioports.nodes.isEmpty { ioports = other.ioports }
        findings.append(contentsOf: other.findings)
        lineCounts.total += other.lineCounts.total
        lineCounts.lspci += other.lineCounts.lspci
        lineCounts.hex += other.lineCounts.hex
        lineCounts.log += other.lineCounts.log
        lineCounts.kernel += other.lineCounts.kernel
        lineCounts.iomem += other.lineCounts.iomem
        lineCounts.other += other.lineCounts.other
        let offsets = roots.isEmpty ? other.roots : roots
        if let first = ghosts.first {
            let others = ghosts.count > 1 ? " and \(ghosts.count - 1) more" : ""
            findings.append(
                TextFinding(
                    .onlyInLog,
                    first,
                    "the log knows this function\(others), lspci does not: taken out, switched off or hidden by firmware; left out"
                )
            )
        }
        var merged: [TextFunction] = []
        merged.reserveCapacity(max(functions.count, other.functions.count))
        var a = 0
        var b = 0
        while a < functions.count || b < other.functions.count {
            if b >= other.functions.count
                || (a < functions.count && functions[a].address < other.functions[b].address)
            {
                merged.append(functions[a])
                a += 1
            } else if a >= functions.count || other.functions[b].address < functions[a].address {
                merged.append(other.functions[b])
                b += 1
            } else {
                var function = functions[a]
                function.merge(other.functions[b], roots: offsets, agreement: &agreement, findings: &findings)
                merged.append(function)
                a += 1
                b += 1
            }
        }
        functions = ghosts.isEmpty ? merged : merged.filter { !ghosts.contains($0.address) }
        return agreement
    }

    /// The functions of the log that lspci does not list, in ascending order, if lspci lists most of what the log knows.
    private static func ghosts(_ a: TextEvidence, _ b: TextEvidence) -> [FunctionAddress] {
        let isListing = { (e: TextEvidence) in e.lineCounts.lspci > 0 && !e.functions.isEmpty }
        guard isListing(a) != isListing(b) else { return [] }
        let list = isListing(a) ? a : b
        let log = isListing(a) ? b : a
        let unknown = log.functions.map(\.address).filter { list[$0] == nil }
        return log.functions.count >= 8 && unknown.count * 4 <= log.functions.count ? unknown : []
    }

    /// Why the two texts cannot be of one machine and one boot, or nil when nothing says so.
    ///
    /// Machines are told apart by their names and by the ids of functions at the same addresses (one card may have been
    /// exchanged, not several); boots by the kernel's release and by the apertures of the same root bus.
    func contradiction(to other: TextEvidence) -> TextFinding? {
        func finding(_ code: TextFinding.Code, _ what: String) -> TextFinding {
            TextFinding(code, nil, "\(what); the first of them counts, the other is left out")
        }
        if let mine = machine, let theirs = other.machine, mine != theirs {
            return finding(.severalMachines, "the texts are of two machines: \"\(mine)\" and \"\(theirs)\"")
        }
        var same = 0
        var different: [FunctionAddress] = []
        for function in functions {
            guard let theirs = other[function.address], let a = function.vendor, let b = theirs.vendor,
                let c = function.device, let d = theirs.device
            else { continue }
            if a == b, c == d { same += 1 } else { different.append(function.address) }
        }
        if different.count >= 3, different.count * 2 > same {
            return finding(
                .severalMachines,
                "the texts are of two machines: at \(different.count) addresses other devices sit, the first of them "
                    + "\(different[0])"
            )
        }
        if let mine = kernel.release, let theirs = other.kernel.release, mine != theirs {
            return finding(.severalBootsJoined, "the texts are of two boots: kernel \(mine) and kernel \(theirs)")
        }
        for root in roots where !root.apertures.isEmpty {
            guard let theirs = other.roots.first(where: { $0.segment == root.segment && $0.bus == root.bus }),
                !theirs.apertures.isEmpty,
                !root.apertures.contains(where: { theirs.apertures.contains($0) })
            else { continue }
            return finding(
                .severalBootsJoined,
                "the texts are of two boots or two machines: root bus \(busName(segment: root.segment, root.bus)) has no "
                    + "aperture in common"
            )
        }
        return nil
    }

    /// How many values two texts state alike, and how many differently.
    public struct Agreement: Hashable, Sendable {
        /// The number of values that both texts state alike.
        public var equal = 0
        /// The number of values that they state differently.
        public var different = 0

        /// Creates counts of zero.
        public init() {}
    }
}

extension TextFunction {
    mutating func merge(
        _ other: TextFunction,
        roots: [RootFacts],
        agreement: inout TextEvidence.Agreement,
        findings: inout [TextFinding]
    ) {
        var notes: [String] = []
        func take<T: Equatable>(_ mine: inout T?, _ theirs: T?, _ name: String) {
            guard let theirs else { return }
            guard let value = mine else {
                mine = theirs
                return
            }
            if value == theirs {
                agreement.equal += 1
            } else {
                agreement.different += 1
                notes.append("\(name) is \(Self.text(value)) in one text and \(Self.text(theirs)) in the other")
            }
        }
        take(&vendor, other.vendor, "the vendor id")
        take(&device, other.device, "the device id")
        take(&subsystemVendor, other.subsystemVendor, "the subsystem vendor id")
        take(&subsystemDevice, other.subsystemDevice, "the subsystem id")
        take(&classWord, other.classWord, "the class")
        take(&programmingInterface, other.programmingInterface, "the programming interface")
        take(&revision, other.revision, "the revision")
        take(&headerLayout, other.headerLayout, "the header layout")
        if name == nil { name = other.name }
        isDescribed = isDescribed || other.isDescribed
        isListed = isListed || other.isListed
        // A log that goes on tells what the other one does not.
        isCut = (isCut || other.isCut) && (isCut || !isDiscovered) && (other.isCut || !other.isDiscovered)
        untold.formUnion(other.untold)
        isDiscovered = isDiscovered || other.isDiscovered
        doesNotAnswer = doesNotAnswer || other.doesNotAnswer
        if config.count < other.config.count { config = other.config }
        if decodesIO == nil { decodesIO = other.decodesIO }
        if decodesMemory == nil { decodesMemory = other.decodesMemory }
        if driver == nil { driver = other.driver }
        if numaNode == nil { numaNode = other.numaNode }
        if iommuGroup == nil { iommuGroup = other.iommuGroup }
        if slot == nil { slot = other.slot }
        if showsCapabilities != true { showsCapabilities = other.showsCapabilities ?? showsCapabilities }
        if capabilities.isEmpty { capabilities = other.capabilities }
        if extendedCapabilities.isEmpty { extendedCapabilities = other.extendedCapabilities }
        if settings.isEmpty { settings = other.settings }
        if resizableBARs.isEmpty { resizableBARs = other.resizableBARs }
        if resizableVFBARs.isEmpty { resizableVFBARs = other.resizableVFBARs }
        mergeExpress(other)
        mergeSRIOV(other)
        if var mine = bridge, let theirs = other.bridge {
            take(&mine.primary, theirs.primary, "the primary bus")
            take(&mine.secondary, theirs.secondary, "the secondary bus")
            take(&mine.subordinate, theirs.subordinate, "the subordinate bus")
            take(&mine.isSubtractive, theirs.isSubtractive, "subtractive decoding")
            for kind in ResourceKind.allCases {
                // Lspci before 3.7 shows windows as the registers hold them, in bus addresses.
                let isIO = kind == .io
                if case .open(let a, let width) = mine[kind], case .open(let b, _) = theirs[kind], a != b {
                    let translation = TextEvidence.Translation(roots)
                    if translation.range(a, isIO: isIO, segment: address.segment) == b {
                        mine[kind] = .open(b, width: width)
                        findings.append(
                            TextFinding(
                                .translated,
                                address,
                                "the \(kind.word) window is the bus addresses \(a) in one text and the CPU addresses \(b) in the "
                                    + "other; they are the same"
                            )
                        )
                    }
                }
                mine[kind] = Self.merged(mine[kind], theirs[kind], &agreement) { a, b in
                    notes.append("the \(kind.word) window is \(a) in one text and \(b) in the other")
                }
            }
            bridge = mine
        } else if bridge == nil {
            bridge = other.bridge
        }
        for theirs in other.resources {
            guard var mine = resource(theirs.index) else {
                set(theirs)
                continue
            }
            // A display's ROM stands in low memory for one text, in its BAR for the other.
            if theirs.index.isROM, (mine.start ?? 0) < 0x10_0000 || (theirs.start ?? 0) < 0x10_0000 {
                if theirs.flags.contains(.fixed) { set(theirs) }
                continue
            }
            // Ports that the class stands for are shown by lspci without their low bits, which it takes for a type.
            if theirs.index.isBAR, theirs.flags.union(mine.flags).contains(.fixed) {
                if theirs.flags.contains(.fixed) { set(theirs) }
                continue
            }
            // The size of a VF BAR may be one VF's in one text and all VFs' in the other.
            if mine.vfCount == theirs.vfCount || !theirs.index.isVFBAR {
                take(&mine.size, theirs.size, "the size of \(theirs.index)")
            } else if theirs.vfCount != nil {
                mine.size = theirs.size
                mine.vfCount = theirs.vfCount
            }
            if mine.start != nil, theirs.start != nil {
                take(&mine.start, theirs.start, "the address of \(theirs.index)")
            } else if mine.start == nil, mine.state == .placed {
                mine.start = theirs.start
            }
            if mine.flags.intersection(.kindMask).isEmpty { mine.flags = theirs.flags }
            if theirs.flags.contains(.fixed), mine.start == theirs.start { mine.flags.insert(.fixed) }
            set(mine)
        }
        for note in notes { findings.append(TextFinding(.disagreement, address, note)) }
    }

    private static func text<T>(_ value: T) -> String {
        switch value {
        case let number as UInt64: hex(number)
        case let number as UInt16: bareHex(UInt64(number), width: 4)
        case let number as UInt8: bareHex(UInt64(number), width: 2)
        default: "\(value)"
        }
    }

    private static func merged(
        _ mine: WindowFacts?,
        _ theirs: WindowFacts?,
        _ agreement: inout TextEvidence.Agreement,
        _ differ: (String, String) -> Void
    ) -> WindowFacts? {
        guard let theirs else { return mine }
        guard let mine else { return theirs }
        if mine.range == theirs.range {
            agreement.equal += 1
        } else {
            agreement.different += 1
            differ(mine.range?.description ?? "closed", theirs.range?.description ?? "closed")
        }
        if mine.width == nil, case .open(let range, _) = mine { return .open(range, width: theirs.width) }
        if mine.width == nil, case .closed = mine { return .closed(width: theirs.width) }
        return mine
    }

    private mutating func mergeExpress(_ other: TextFunction) {
        guard let theirs = other.express else { return }
        guard var mine = express else {
            express = theirs
            return
        }
        mine.offset = mine.offset ?? theirs.offset
        mine.portType = mine.portType ?? theirs.portType
        mine.hasSlot = mine.hasSlot ?? theirs.hasSlot
        mine.isHotPlugCapable = mine.isHotPlugCapable ?? theirs.isHotPlugCapable
        mine.isSurpriseCapable = mine.isSurpriseCapable ?? theirs.isSurpriseCapable
        mine.hasPowerControl = mine.hasPowerControl ?? theirs.hasPowerControl
        mine.hasAttentionButton = mine.hasAttentionButton ?? theirs.hasAttentionButton
        mine.slotNumber = mine.slotNumber ?? theirs.slotNumber
        mine.isCardPresent = mine.isCardPresent ?? theirs.isCardPresent
        mine.supportsARIForwarding = mine.supportsARIForwarding ?? theirs.supportsARIForwarding
        mine.isARIForwardingEnabled = mine.isARIForwardingEnabled ?? theirs.isARIForwardingEnabled
        express = mine
    }

    private mutating func mergeSRIOV(_ other: TextFunction) {
        guard let theirs = other.sriov else { return }
        guard var mine = sriov else {
            sriov = theirs
            return
        }
        mine.offset = mine.offset ?? theirs.offset
        mine.isEnabled = mine.isEnabled ?? theirs.isEnabled
        mine.isARICapableHierarchy = mine.isARICapableHierarchy ?? theirs.isARICapableHierarchy
        mine.initialVFs = mine.initialVFs ?? theirs.initialVFs
        mine.totalVFs = mine.totalVFs ?? theirs.totalVFs
        mine.numVFs = mine.numVFs ?? theirs.numVFs
        mine.firstOffset = mine.firstOffset ?? theirs.firstOffset
        mine.stride = mine.stride ?? theirs.stride
        mine.deviceID = mine.deviceID ?? theirs.deviceID
        mine.systemPageSize = mine.systemPageSize ?? theirs.systemPageSize
        sriov = mine
    }
}
