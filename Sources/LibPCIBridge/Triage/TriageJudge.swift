// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Says what a group of failing lines means, from the lines themselves and from what else the log tells of the machine.
struct TriageJudge {
    let evidence: TextEvidence
    let course: TriageCourse
    private let bridges: [UInt64: Int]
    private let unreachableSegments: Set<UInt32>
    /// The functions whose driver says that it misses the ROM, where ROMs failed.
    private let missedROMs: Set<FunctionAddress>
    /// The functions that went without a BAR, in address order, and the kinds of those BARs.
    private let lost: [(address: FunctionAddress, kinds: [ResourceKind])]

    init(evidence: TextEvidence, course: TriageCourse) {
        self.evidence = evidence
        self.course = course
        var bridges: [UInt64: Int] = [:]
        for (i, function) in evidence.functions.enumerated() {
            guard let bus = function.bridge?.secondary else { continue }
            let key = UInt64(function.address.segment) << 8 | UInt64(bus.rawValue)
            if bridges[key] == nil, bus != function.address.bus { bridges[key] = i }
        }
        self.bridges = bridges
        var segments = Set<UInt32>()
        var kinds: [FunctionAddress: [ResourceKind]] = [:]
        for entry in course.entries {
            if entry.key.target == .buses, entry.has(.unreachable) { segments.insert(entry.key.segment) }
            guard case .resource(let index) = entry.key.target, index.isBAR, let address = entry.key.address,
                let facts = evidence[address], Self.isLost(entry),
                !Self.need(of: index, kind: entry.wanted?.kind, facts, leads: Self.leads(address, evidence)).isHarmless
            else { continue }
            kinds[address, default: []].append(contentsOf: entry.wanted?.kind.map { [$0] } ?? [])
        }
        unreachableSegments = segments
        missedROMs = Self.missedROMs(evidence, course)
        lost = kinds.keys.sorted().map { ($0, kinds[$0] ?? []) }
    }

    /// Whether a resource ended without the address that the kernel itself looked for.
    private static func isLost(_ entry: TriageCourse.Entry) -> Bool {
        entry.has(.noSpace) && entry.placed == nil && !entry.onlyDrivers
    }

    /// What it means that a function goes without a resource: the rule that the verdict on a tree asks, too.
    ///
    /// `leads` where the function is the first on a root bus.
    private static func need(
        of index: ResourceIndex,
        kind: ResourceKind?,
        _ facts: TextFunction?,
        leads: Bool
    ) -> ResourceNeed {
        ResourceNeed(
            index,
            kind: kind,
            classWord: facts?.classWord,
            leadsRootBus: leads,
            isBridge: facts?.headerLayout == 1 || facts?.bridge != nil,
            hasMemoryBAR: facts.flatMap { facts in
                let isSeen = facts.resources.contains { $0.index.isBAR && $0.flags.contains(.memory) }
                return isSeen || facts.tellsBARs ? isSeen : nil
            }
        )
    }

    /// Whether an address is the first on a root bus, where host bridges and, on boards, root ports sit.
    private static func leads(_ address: FunctionAddress, _ evidence: TextEvidence) -> Bool {
        guard address.devfn == 0 else { return false }
        return address.bus == BusNumber(0)
            || evidence.roots.contains { $0.segment == address.segment && $0.bus == address.bus }
    }

    func judge(_ entry: TriageCourse.Entry) -> Triage.Group {
        var group = sorted(entry)
        if !entry.claim.isEmpty { group.claim = entry.claim }
        return group
    }

    private func sorted(_ entry: TriageCourse.Entry) -> Triage.Group {
        if entry.kinds == [.unaligned] { return unaligned(entry) }
        switch entry.key.target {
        case .resource(let index):
            if index.isROM { return rom(entry) }
            return index.isVFBAR ? vfBAR(entry, index) : bar(entry, index)
        case .window(let kind): return window(entry, kind)
        case .buses: return buses(entry)
        case .vfs: return vfs(entry)
        case .device: return device(entry)
        case .host: return host(entry)
        }
    }

    // MARK: The machine

    private func function(_ entry: TriageCourse.Entry) -> TextFunction? { entry.key.address.flatMap { evidence[$0] } }

    /// The bridge directly above the bus of `address`.
    private func parent(of address: FunctionAddress) -> TextFunction? {
        bridges[UInt64(address.segment) << 8 | UInt64(address.bus.rawValue)].map { evidence.functions[$0] }
    }

    /// Whether `address` lies below the bridge at `bridge`, by the bus range that the log shows.
    private func isBelow(_ address: FunctionAddress, _ bridge: FunctionAddress) -> Bool {
        guard address.segment == bridge.segment, let range = evidence[bridge]?.bridge?.busRange else { return false }
        return range.contains(address.bus)
    }

    /// Whether any function lies below the bridge at `bridge`.
    private func hasFunctions(below bridge: FunctionAddress) -> Bool {
        guard let range = evidence[bridge]?.bridge?.busRange else { return false }
        let at = Self.firstPlace(evidence.functions.count, bridge.segment, range.first) {
            evidence.functions[$0].address
        }
        guard at < evidence.functions.count else { return false }
        let found = evidence.functions[at].address
        return found.segment == bridge.segment && found.bus <= range.last
    }

    /// The functions below the bridge at `bridge` that went without a BAR which a window of `kind` could hold.
    private func losers(below bridge: FunctionAddress, _ kind: ResourceKind) -> [FunctionAddress] {
        guard let range = evidence[bridge]?.bridge?.busRange else { return [] }
        var at = Self.firstPlace(lost.count, bridge.segment, range.first) { lost[$0].address }
        var result: [FunctionAddress] = []
        while at < lost.count, lost[at].address.segment == bridge.segment, lost[at].address.bus <= range.last {
            if lost[at].kinds.contains(where: { fits($0, kind) }) { result.append(lost[at].address) }
            at += 1
        }
        return result
    }

    /// The first place in an ascending list of addresses at or behind a bus.
    private static func firstPlace(
        _ count: Int,
        _ segment: UInt32,
        _ bus: BusNumber,
        _ address: (Int) -> FunctionAddress
    ) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            let a = address(middle)
            if (a.segment, a.bus) < (segment, bus) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The group without verdict.
    private func group(_ entry: TriageCourse.Entry, _ resource: String) -> Triage.Group {
        Triage.Group(
            severity: .harmless,
            code: "",
            address: entry.key.address,
            resource: resource,
            summary: "",
            cause: nil,
            nextStep: nil,
            lineCount: entry.failures,
            firstTime: entry.firstTime,
            sample: entry.sample,
            claim: nil,
            consequenceFor: nil,
            refused: nil
        )
    }

    private func amount(_ resource: RangeText?) -> String {
        guard let resource else { return "an unknown amount" }
        let size = resource.size.map(Self.text) ?? "an unknown amount"
        switch resource.kind {
        case .io: return "\(size) of I/O space"
        case .memory: return "\(size) of memory"
        case .prefetchable:
            return "\(size) of prefetchable memory"
        case nil: return size
        }
    }

    /// A size in the largest unit that states it exactly, unless that takes more than five digits.
    static func text(_ size: ByteCount) -> String {
        if size.rawValue < 1024 { return "\(size.rawValue) bytes" }
        let units: [(shift: UInt64, name: String)] = [(40, "T"), (30, "G"), (20, "M"), (10, "K")]
        for unit in units where size.rawValue % (1 << unit.shift) == 0 {
            let count = size.rawValue >> unit.shift
            return count < 100_000 ? "\(count)\(unit.name)" : "\(size)"
        }
        return "\(size)"
    }

    private func place(_ resource: RangeText?) -> String { resource?.range.map { " at \($0)" } ?? "" }

    /// The kernel passes over what it sees no alignment of when it assigns (`pdev_sort_resources`): a ROM that it has
    /// forgotten, a chipset's ports at a number of their own (`quirk_io_region`).
    private func unaligned(_ entry: TriageCourse.Entry) -> Triage.Group {
        if case .resource(let index) = entry.key.target, index.isROM { return rom(entry) }
        var group = group(entry, "range")
        group.code = "not-placed-by-kernel"
        group.summary =
            "a range\(place(entry.wanted)) that the kernel does not place, such as a chipset's ports: it stays where it is"
        return group
    }

    // MARK: BARs

    private func bar(_ entry: TriageCourse.Entry, _ index: ResourceIndex) -> Triage.Group {
        var group = group(entry, "\(index)")
        let facts = function(entry)
        let name = entry.key.address.map { "\($0)" } ?? ""
        if entry.has(.notClaimed), !isLostAfterClaim(entry) { return notClaimed(entry, group) }
        if entry.has(.noSpace) || entry.has(.cannotEnable) {
            guard entry.placed == nil else {
                if let size = entry.refusedSize, entry.placed?.size != size { return refusedResize(entry, size, group) }
                group.code = "bar-placed-later"
                group.summary = "did not fit at first, has its place\(place(entry.placed)) now"
                return group
            }
            group.cause = refusedClaim(entry) ?? reason(entry, kind: entry.wanted?.kind)
            group.nextStep = stepToPlace(entry.key.address)
            let leads = entry.key.address.map { Self.leads($0, evidence) } ?? false
            let need = Self.need(of: index, kind: entry.wanted?.kind, facts, leads: leads)
            if isGone(entry) {
                group.severity = .degraded
                group.code = "gone"
                group.summary =
                    "wanted \(amount(entry.wanted)) and had none; the function is gone at the end of the log"
                group.nextStep = nil
            } else if need == .bridgeOwn {
                group.cause = nil
                group.nextStep = nil
                group.code = "bridge-bar-unassigned"
                group.summary =
                    "the bridge's own registers (\(amount(entry.wanted))) have no address; what is behind it works"
            } else if need == .untoldRole {
                group.severity = .untold
                group.code = "bar-owner-untold"
                group.summary =
                    "\(amount(entry.wanted)) could not be given; whether this is a host bridge or a root port, which work "
                    + "without, is not told"
                group.cause = nil
                group.nextStep = Self.stepToList("what \(name) is")
            } else if need == .unknownIO {
                group.severity = .untold
                group.code = "io-bar-untold"
                group.summary =
                    "\(amount(entry.wanted)) could not be given; whether it has memory BARs, which most drivers use "
                    + "instead, is not told"
            } else if need == .optionalIO {
                group.cause = nil
                group.code = "io-bar-unassigned"
                group.summary = "\(amount(entry.wanted)) could not be given; most drivers use the memory BARs instead"
                group.nextStep = nil
            } else {
                group.severity = .fatal
                group.code = "bar-unassigned"
                group.summary = "wants \(amount(entry.wanted)) and has none: its driver cannot work"
            }
            return group
        }
        if entry.has(.resizeRefused) {
            if let placed = entry.placed, placed.size == entry.wanted?.size, entry.wanted?.size != nil {
                group.code = "bar-placed-later"
                group.summary = "was moved for another BAR and has its place\(place(placed)) again"
                return group
            }
            group.severity = .degraded
            group.code = "resize-refused"
            let room = entry.wanted == nil ? "no room" : "no room for \(amount(entry.wanted))"
            group.summary = "its driver wanted it resized, and the kernel found \(room); it keeps the size that it had"
            group.cause = pins(entry) ?? resizeCause(entry)
            // What was released along with it was refused the size that it has again.
            if let address = entry.key.address, index.isBAR, let wanted = entry.wanted, let size = wanted.size,
                wanted.kind != nil, entry.placed?.size != size
            {
                group.refused = RefusedSize(address, index, flags: wanted.flags, size: size)
            }
            group.nextStep = step("plan --resize \(name):\(index.rawValue)=max", for: entry.key.address)
            return group
        }
        if entry.has(.brokenBAR) { return broken(entry, group) }
        if entry.has(.hostConflict) {
            return inUse(entry, group)
        }
        return claim(entry, group)
    }

    /// A register that the kernel cannot use as a BAR.
    private func broken(_ entry: TriageCourse.Entry, _ start: Triage.Group) -> Triage.Group {
        var group = start
        let words = Array(entry.sample.utf8)[...]
        group.severity = .degraded
        group.code = "bar-unusable"
        if words.has("initial BAR value") {
            group.severity = .harmless
            group.code = "bar-value-invalid"
            group.summary = "firmware left a value outside every aperture; the kernel assigns another"
        } else if words.has("can't size") {
            // `__pci_read_base`: the register takes no size, and the kernel leaves it out.
            let base = function(entry)?.classWord.map { $0 >> 8 }
            group.severity = base == 0x06 || base == 0x08 || base == 0x11 ? .harmless : .degraded
            group.code = "bar-cannot-size"
            group.summary =
                "firmware bug: the register does not answer as a BAR does, and the kernel leaves it out; no room is missing"
        } else if words.has("bad alignment") {
            // `pbus_size_mem`: the table of alignments ends.
            group.severity = .fatal
            group.code = "bar-too-large"
            group.summary =
                "is larger than this kernel's sizing of windows knows, which switched it off: no room is missing"
            group.nextStep = "a newer kernel, whose sizing knows larger BARs"
        } else if words.has("!= 0xffffffff") {
            // `pci_update_resource` reads back what it wrote.
            group.severity = .fatal
            group.code = "bar-not-answering"
            group.summary = "its register reads all ones when the kernel writes an address: the device does not answer"
            group.cause = "the link is down, or the device has not come back from reset or a low power state"
        } else if words.has("can't handle") {
            group.summary = "it lies above 4 GiB or is larger, which this kernel cannot use"
        } else {
            group.summary = "its register does not take the address that it was given"
        }
        return group
    }

    /// Something else holds the addresses of a BAR that has them.
    private func inUse(_ entry: TriageCourse.Entry, _ start: Triage.Group) -> Triage.Group {
        var group = start
        group.severity = .degraded
        group.code = "bar-in-use"
        group.summary = "its addresses are held by something else, so that the driver cannot have them"
        guard let node = holder(of: entry.wanted?.range) else {
            group.nextStep =
                entry.wanted?.kind == .io
                ? "sudo cat /proc/ioports names the holder"
                : "sudo cat /proc/iomem names the holder: another driver, or the boot's framebuffer (BOOTFB, efifb, simplefb)"
            return group
        }
        group.cause = "by /proc/iomem \(node.name) holds \(node.range)"
        if Self.bootFramebuffers.contains(node.name) {
            group.nextStep =
                "unbind the boot's framebuffer before the device is handed on: its device stands in "
                + "/sys/bus/platform/drivers/simple-framebuffer or efi-framebuffer"
        }
        return group
    }

    /// What the kernel calls the boot's picture in /proc/iomem (drivers/firmware/sysfb.c and the drivers of it).
    private static let bootFramebuffers: Set<String> = [
        "BOOTFB", "simpledrm", "simplefb", "efifb", "vesafb", "efidrm", "vesadrm",
    ]

    /// Who holds addresses by the text's /proc/iomem: the innermost range in or around them that no function or bus names.
    private func holder(of range: AddressRange?) -> IomemText.Node? {
        guard let range, range.first != 0, !evidence.iomem.isZeroed else { return nil }
        return evidence.iomem.nodes.last { node in
            node.range.overlaps(range) && node.parent != nil && FunctionAddress(parsing: node.name) == nil
                && IomemText.bus(named: node.name) == nil
        }
    }

    /// Whether the function was there and is gone at the end of the log. A listing that leaves it out says less.
    private func isGone(_ entry: TriageCourse.Entry) -> Bool {
        function(entry) == nil && !evidence.functions.isEmpty && evidence.lineCounts.lspci == 0
    }

    private func isLostAfterClaim(_ entry: TriageCourse.Entry) -> Bool {
        entry.has(.noSpace) && entry.placed == nil
    }

    /// The command that would find room for a function, or what to read first where the log tells too little for it.
    private func stepToPlace(_ address: FunctionAddress?) -> String? {
        address.map { step("plan --place \($0)", for: $0) ?? "" } ?? "pci-rebalance plan"
    }

    /// A command about a function, or what to read first where the log tells too little for it.
    private func step(_ command: String, for address: FunctionAddress?) -> String? {
        guard let address else { return nil }
        return untoldAbove(address).map(Self.stepToTell) ?? "pci-rebalance \(command)"
    }

    private static func stepToTell(_ what: String) -> String {
        "not told: \(what); \(Unknown.Remedy.log.rawValue) from boot on, or \(Unknown.Remedy.listing.rawValue), with "
            + "pci-rebalance check --from"
    }

    private static func stepToList(_ what: String) -> String {
        "not told: \(what); \(Unknown.Remedy.listing.rawValue), with pci-rebalance check --from"
    }

    /// What the evidence does not tell of the way from `address` up to a root bus; nil where it tells every bridge and its
    /// windows.
    private func untoldAbove(_ address: FunctionAddress) -> String? {
        let (bridges, isWhole) = way(up: address)
        guard isWhole else { return "the bridges above \(address)" }
        return bridges.allSatisfy { $0.windowKnowledge == .seen } ? nil : "the windows of the bridges above \(address)"
    }

    /// Whether the evidence tells every bridge between `address` and a root bus that it names.
    private func isPlaceTold(_ address: FunctionAddress) -> Bool { way(up: address).isWhole }

    /// The bridges that the evidence tells above `address`, innermost first, and whether the last is on a root bus.
    private func way(up address: FunctionAddress) -> (bridges: [TextFunction], isWhole: Bool) {
        var bridges: [TextFunction] = []
        var address = address
        for _ in 0..<32 {
            if address.bus == BusNumber(0)
                || evidence.roots.contains(where: { $0.segment == address.segment && $0.bus == address.bus })
            {
                return (bridges, true)
            }
            guard let above = parent(of: address) else { break }
            bridges.append(above)
            address = above.address
        }
        return (bridges, false)
    }

    /// The driver was refused the device because the kernel never accepted the address that the BAR has.
    private func notClaimed(_ entry: TriageCourse.Entry, _ start: Triage.Group) -> Triage.Group {
        var group = start
        let isZero = entry.wanted?.range?.first == 0
        if let placed = entry.placed {
            group.code = "claimed-later"
            let before = isZero ? "had no address" : "had an address that the kernel did not accept"
            group.summary =
                "\(before) when its driver came; "
                + "then the kernel gave it one\(place(placed)): if it does not work, look at the device, its link or its "
                + "driver, not at addresses"
            return group
        }
        if entry.wanted?.kind == .io, let last = entry.wanted?.range?.last, last < 0x1000 {
            group.severity = .fatal
            group.code = "legacy-ports"
            group.summary =
                "has legacy ports\(place(entry.wanted)) that the kernel did not claim, so that it refuses to enable the device"
            group.cause =
                "no window is placed there: what the host bridge decodes begins above them, or platform code holds them; a "
                + "matter of this kernel, not of room"
            return group
        }
        group.severity = .fatal
        group.code = "bar-not-claimed"
        group.summary =
            isZero
            ? "has no address, and the kernel refuses to enable the device: its driver cannot work"
            : "has an address\(place(entry.wanted)) that the kernel did not accept, so that it refuses to enable the device"
        group.cause = claimCause(entry)
        group.nextStep = stepToPlace(entry.key.address)
        return group
    }

    /// Why an address was not accepted, as far as the evidence tells.
    private func claimCause(_ entry: TriageCourse.Entry) -> String? {
        guard let range = entry.wanted?.range, range.first != 0, let address = entry.key.address,
            case .resource(let index) = entry.key.target
        else { return nil }
        for other in function(entry)?.resources ?? [] where other.index != index && other.index.isBAR {
            guard let theirs = other.range, theirs.overlaps(range) else { continue }
            return "\(other.index) of the same function lies there as well (\(theirs)), as boot firmware left them"
        }
        guard let above = parent(of: address)?.bridge else {
            return
                "firmware or a boot loader left it outside what the bridges above forward, or on something else, or its "
                + "driver came before the kernel had claimed addresses"
        }
        let windows = [above.memory, above.prefetchable, above.io].compactMap { $0?.range }
        if !windows.isEmpty, !windows.contains(where: { $0.contains(range) }) {
            return "it lies outside the windows of the bridge above it"
        }
        return "something else holds its addresses, or its driver came before the kernel had claimed them"
    }

    /// The kernel took the address away for a larger size, found no room, and gave the old one back.
    private func refusedResize(
        _ entry: TriageCourse.Entry,
        _ size: ByteCount,
        _ start: Triage.Group
    ) -> Triage.Group {
        var group = start
        group.severity = .degraded
        group.code = "resize-refused"
        let old = entry.placed?.size.map { Self.text($0) } ?? "its old size"
        group.summary = "was to be resized to \(Self.text(size)), and the kernel found no room; it has its \(old) again"
        group.cause = resizeCause(entry)
        if let address = entry.key.address, case .resource(let index) = entry.key.target, untoldAbove(address) == nil {
            group.nextStep = "pci-rebalance plan --resize \(address):\(index.rawValue)=\(Self.text(size))"
        } else {
            group.nextStep = stepToPlace(entry.key.address)
        }
        return group
    }

    /// Which window had no room for the larger size: the highest that failed, and the one above it that is too small.
    private func resizeCause(_ entry: TriageCourse.Entry) -> String? {
        guard var address = entry.key.address else { return nil }
        var failed: (address: FunctionAddress, kind: ResourceKind, wanted: ByteCount)?
        for _ in 0..<32 {
            guard let above = parent(of: address), let bridge = above.bridge else { break }
            for kind in [ResourceKind.prefetchable, .memory] {
                if let other = course.entry(above.address, .window(kind)), other.has(.noSpace),
                    let wanted = other.wanted?.size, other.released != nil
                {
                    failed = (above.address, kind, wanted)
                }
            }
            if let failed, failed.address != above.address, let range = bridge[failed.kind]?.range {
                return "the \(failed.kind.word) window of \(failed.address) needed \(Self.text(failed.wanted)), "
                    + "and that of \(above.address) above it is \(Self.text(ByteCount(range.clampedSize))) (\(range))"
            }
            address = above.address
        }
        return failed.map {
            "the \($0.kind.word) window of \($0.address) needed \(Self.text($0.wanted)), and what is above it had no room"
        }
    }

    /// A claim that failed: what became of the resource afterwards decides.
    private func claim(_ entry: TriageCourse.Entry, _ start: Triage.Group) -> Triage.Group {
        var group = start
        if Array(entry.reason.utf8)[...].has("no compatible bridge window") {
            let isBelow = entry.key.address.flatMap { parent(of: $0) } != nil
            let isOnRoot = !isBelow && entry.key.address.map { isPlaceTold($0) } == true
            let outside =
                isBelow
                ? "the window of the bridge above it"
                : isOnRoot ? "what the host bridge decodes" : "the windows of the bridges above it, which are not told"
            group.cause = "it lies outside \(outside), where firmware left it"
        } else {
            // A line that was cut gives no reason.
            let reason = Array(entry.reason.utf8)[...]
            let isTold = reason.trimmed.isEmpty || reason.has("conflict") || reason.has("can't allocate")
            group.cause = Self.conflict(entry.reason) ?? (isTold ? "something else holds its addresses" : nil)
        }
        if let placed = entry.placed {
            group.code = "claimed-elsewhere"
            group.summary = "firmware's address was not accepted; the kernel gave it another\(place(placed))"
        } else if let word = function(entry)?.classWord, word == 0x0800 || word == 0x0600 || word == 0 {
            // The allocator leaves interrupt controllers that firmware enabled, host bridges and unclassified functions.
            group.code = "left-to-firmware"
            group.summary = "firmware placed it outside the apertures, and the kernel leaves such functions as they are"
        } else if evidence.isLogAlone, evidence.findings.contains(where: { $0.code == .logCutAtStart }) {
            group.severity = .untold
            group.code = "claim-untold"
            group.summary =
                "firmware's address\(place(entry.wanted)) was not accepted; whether the kernel gave another is not in these "
                + "lines"
            group.nextStep = isOffline ? Self.offlineStep : Self.stepToTell("what became of it")
        } else {
            group.severity = .degraded
            group.code = "claim-failed"
            group.summary = "firmware's address\(place(entry.wanted)) was not accepted, and no later line gives another"
            group.nextStep = isOffline ? Self.offlineStep : "pci-rebalance check"
        }
        return group
    }

    /// Whether Xen's frontend has taken devices offline that it could not claim.
    private var isOffline: Bool { evidence.messages.contains { $0.text.contains("e820_host=1") } }
    private static let offlineStep =
        "e820_host=1 in the guest's configuration, as the kernel says: the device is offline"

    /// Who lies in the way by the kernel's own words: `address conflict with PCI Bus 0000:01 [io  0xd000-0xdfff]`.
    private static func conflict(_ reason: String) -> String? {
        let text = Array(reason.utf8)[...]
        guard let rest = text.after("conflict with ") ?? text.after("conflicts with "),
            let found = RangeText.first(in: rest), let range = found.resource.range
        else { return nil }
        let name = rest.before("[").trimmed.string
        guard !name.isEmpty, name != "(null)" else { return nil }
        guard let bus = IomemText.bus(named: name) else { return "\(name) lies there (\(range))" }
        let place = busName(segment: bus.segment, bus.bus)
        return "the window to bus \(place), or the aperture of that root bus, lies there (\(range))"
    }

    private func rom(_ entry: TriageCourse.Entry) -> Triage.Group {
        var group = group(entry, "ROM")
        if entry.placed == nil, let address = entry.key.address, missedROMs.contains(address) {
            group.severity = .degraded
            group.code = "rom-missed"
            group.summary = "the expansion ROM has no address, and the driver does not find what it reads there"
            group.nextStep = "what holds the ROM's contents: on a guest a file that the hypervisor gives (rom file=)"
            return group
        }
        group.code = "rom"
        group.summary =
            entry.placed == nil
            ? "the expansion ROM has no address; it is read at boot only, and drivers do without"
            : "the expansion ROM has its place\(place(entry.placed)) now"
        return group
    }

    private static func missedROMs(_ evidence: TextEvidence, _ course: TriageCourse) -> Set<FunctionAddress> {
        let areROMsTold = course.entries.contains { entry in
            if case .resource(let index) = entry.key.target { index.isROM } else { false }
        }
        guard areROMsTold else { return [] }
        return Set(
            evidence.messages.compactMap { message in
                let text = Array(message.text.utf8)[...]
                return CauseSign.area(of: text) == .rom ? LogTextReader.takeSubject(text)?.address : nil
            }
        )
    }

    private func vfBAR(_ entry: TriageCourse.Entry, _ index: ResourceIndex) -> Triage.Group {
        var group = group(entry, "\(index)")
        if entry.placed != nil {
            group.code = "bar-placed-later"
            group.summary = "did not fit at first, has its place\(place(entry.placed)) now"
            return group
        }
        group.severity = .degraded
        group.code = "vf-bar-unassigned"
        group.summary =
            "\(amount(entry.wanted)) for virtual functions could not be given: SR-IOV cannot be used"
            + (lost.contains { $0.address == entry.key.address } ? "" : ", all else works")
        group.cause = reason(entry, kind: entry.wanted?.kind)
        group.nextStep = entry.key.address.flatMap {
            step("plan --vfs \($0)=N, if virtual functions are wanted", for: $0)
        }
        return group
    }

    // MARK: Causes

    /// The kernel's own words on firmware's address, where it refused that first and no window failed with the resource:
    /// then it is not the size of the window above that is in the way.
    private func refusedClaim(_ entry: TriageCourse.Entry) -> String? {
        guard !entry.claim.isEmpty, let address = entry.key.address, let wanted = entry.wanted?.size,
            let kind = entry.wanted?.kind, let above = parent(of: address)
        else { return nil }
        let kinds: [ResourceKind] = kind == .prefetchable ? [.prefetchable, .memory] : [kind]
        for candidate in kinds {
            if let other = course.entry(above.address, .window(candidate)), other.has(.noSpace), other.placed == nil {
                return nil
            }
            if let range = above.bridge?[candidate]?.range {
                return range.clampedSize < wanted.rawValue ? nil : "the kernel's own words: \(entry.claim)"
            }
        }
        return nil
    }

    /// Who holds the largest part of a window, where what was wanted is no larger than the window.
    private func holders(
        of range: AddressRange,
        behind bridge: TextFunction,
        _ kind: ResourceKind,
        wanted: ByteCount?
    ) -> String {
        guard let wanted, wanted.rawValue <= range.clampedSize, let bus = bridge.bridge?.secondary else { return "" }
        var held: [(name: String, range: AddressRange)] = []
        for other in evidence.functions
        where other.address.segment == bridge.address.segment && other.address.bus == bus {
            for resource in other.resources where ResourceKind(resource.flags).map({ fits($0, kind) }) == true {
                guard let place = resource.range, range.contains(place) else { continue }
                held.append(("\(other.address) \(resource.index)", place))
            }
            if let place = other.bridge?[kind]?.range, range.contains(place) {
                held.append(("the \(kind.word) window of \(other.address)", place))
            }
        }
        guard let most = held.max(by: { $0.range.clampedSize < $1.range.clampedSize }) else { return "" }
        let others = held.count > 1 ? " and \(held.count - 1) more lie" : " lies"
        let room = FreeRoom(in: range, taken: held.map(\.range))
        guard !room.holds(wanted.rawValue) else { return "" }
        let size = Self.text(ByteCount(most.range.clampedSize))
        return "; \(most.name) (\(size))\(others) in it, and the largest aligned block left is "
            + Self.text(ByteCount(room.largestBlock))
    }

    /// Who is in the way of a resource: the first window above that is there and too small, if the log tells.
    private func reason(_ entry: TriageCourse.Entry, kind: ResourceKind?) -> String? {
        guard var address = entry.key.address, let kind else { return nil }
        var wanted = entry.wanted?.size
        var failed: [FunctionAddress] = []
        var steps = 0
        while steps < 32 {
            steps += 1
            let front = failed.isEmpty ? "" : Self.chain(failed, kind)
            guard let above = parent(of: address), let bridge = above.bridge else {
                let root = evidence.roots.first { $0.segment == address.segment && $0.bus == address.bus }
                guard let root else { return failed.isEmpty ? nil : String(front.dropLast(2)) }
                let isWide = failed.isEmpty && entry.wanted?.flags.contains(.memory64) == true
                return front + apertures(root, kind, wanted: wanted, isWide: isWide)
            }
            let kinds: [ResourceKind] = kind == .prefetchable ? [.prefetchable, .memory] : [kind]
            var isFailed = false
            for candidate in kinds {
                if let other = course.entry(above.address, .window(candidate)), other.has(.noSpace), other.placed == nil
                {
                    wanted = other.wanted?.size ?? wanted
                    isFailed = true
                    break
                }
                if case .unassigned(let size, _) = bridge[candidate] {
                    wanted = size
                    isFailed = true
                    break
                }
                if let range = bridge[candidate]?.range {
                    let need = failed.isEmpty ? "" : wanted.map { ", \(Self.text($0)) wanted" } ?? ""
                    let size = Self.text(ByteCount(range.clampedSize))
                    return
                        "\(front)the \(candidate.word) window of \(above.address) above it is \(size) (\(range))"
                        + need + holders(of: range, behind: above, candidate, wanted: wanted)
                }
            }
            guard isFailed else {
                let isTold = above.isDiscovered || above.isDescribed || bridge[kind] != nil
                if isTold { return "\(front)\(above.address) above it has no \(kind.word) window" }
                // A window that has its address is not tried again, and the log is silent of it.
                return ResourceKind.allCases.contains { bridge[$0] != nil }
                    ? "\(front)the \(kind.word) window of \(above.address) above it is not told"
                    : "\(front)the windows of \(above.address) above it are not told"
            }
            failed.append(above.address)
            address = above.address
        }
        return nil
    }

    /// The windows that failed on the way up.
    private static func chain(_ failed: [FunctionAddress], _ kind: ResourceKind) -> String {
        let names = failed.map { "\($0)" }
        guard let last = names.last, names.count > 1 else {
            return "the \(kind.word) window of \(names.first ?? "") above it could not be assigned either: "
        }
        return
            "the \(kind.word) windows of \(names.dropLast().joined(separator: ", ")) and \(last) above it could not be "
            + "assigned either: "
    }

    /// What stands between a resource and the host bridge's apertures.
    private func apertures(_ root: RootFacts, _ kind: ResourceKind, wanted: ByteCount?, isWide: Bool) -> String {
        let suitable = root.apertures.filter { $0.isIO == (kind == .io) }
        guard let largest = suitable.max(by: { $0.range.clampedSize < $1.range.clampedSize }) else {
            return "the host bridge has no \(kind == .io ? "I/O" : "memory") aperture that the log names"
        }
        if let wanted, largest.range.clampedSize < wanted.rawValue {
            return
                "the host bridge's largest aperture is \(Self.text(ByteCount(largest.range.clampedSize))) (\(largest.range))"
        }
        guard let wanted, wanted.rawValue > 0 else { return "the host bridge's apertures had no room for it" }
        // Memory windows, and registers of 32 bits, end at 4 GiB.
        let isNarrow = kind == .memory && !isWide
        let roomy = suitable.filter {
            !$0.isLegacyMemory && (!isNarrow || ($0.busRange ?? $0.range).first <= 0xffff_ffff)
        }
        .map { (aperture: $0, room: FreeRoom(in: $0.range, taken: held(on: root, isIO: kind == .io))) }
        .filter { $0.room.holds(wanted.rawValue) }
        .max { $0.room.largestBlock < $1.room.largestBlock }
        guard let roomy else { return "the host bridge's apertures have no free block of that size left" }
        return
            "the kernel found no room in the host bridge's apertures, although by this log nothing of PCI lies in "
            + "\(Self.text(ByteCount(roomy.room.largestBlock))) of \(roomy.aperture.range): firmware's memory map may "
            + "hold it, or the kernel looked elsewhere"
    }

    /// What the functions on a root bus hold, as far as the log tells.
    private func held(on root: RootFacts, isIO: Bool) -> [AddressRange] {
        evidence.functions.filter { $0.address.segment == root.segment && $0.address.bus == root.bus }.flatMap { one in
            one.resources.filter { $0.flags.contains(.io) == isIO }.compactMap(\.range)
                + ResourceKind.allCases.filter { ($0 == .io) == isIO }.compactMap { one.bridge?[$0]?.range }
        }
    }

    /// The windows that the log says were not released around the time of a failed resize.
    private func pins(_ entry: TriageCourse.Entry) -> String? {
        guard let address = entry.key.address else { return nil }
        let held = course.entries.filter { other in
            guard other.has(.notReleased), let bridge = other.key.address else { return false }
            return isBelow(address, bridge)
        }
        guard let first = held.first, let bridge = first.key.address else { return nil }
        return "a window of \(bridge) was not released because something below it is still assigned"
    }

    // MARK: Windows

    private func window(_ entry: TriageCourse.Entry, _ kind: ResourceKind) -> Triage.Group {
        var group = group(entry, "\(kind.word) window")
        let name = entry.key.address.map { "\($0)" } ?? ""
        if entry.has(.noSpace) {
            guard entry.placed == nil else {
                if let wanted = entry.wanted?.size, let range = entry.placed?.range, entry.released?.range == range,
                    wanted.rawValue > range.clampedSize
                {
                    return notEnlarged(entry, range, group)
                }
                group.code = "window-placed-later"
                group.summary = "did not fit at first, has its place\(place(entry.placed)) now"
                return group
            }
            let losers = entry.key.address.map { self.losers(below: $0, kind) } ?? []
            if losers.isEmpty, let range = function(entry)?.bridge?[kind]?.range {
                if entry.released != nil { return notEnlarged(entry, range, group) }
                group.code = "window-placed-later"
                group.summary = "did not fit at first, has its place at \(range) now"
                return group
            }
            if let loser = losers.first {
                let others = losers.count > 1 ? " and \(losers.count - 1) more" : ""
                group.severity = kind == .io ? .degraded : .fatal
                group.code = kind == .io ? "io-window-missed" : "window-unassigned"
                group.summary =
                    "\(amount(entry.wanted)) could not be given, and \(loser)\(others) behind it goes without"
                group.cause = reason(entry, kind: kind)
                group.nextStep = "pci-rebalance plan --place \(loser)"
                group.consequenceFor = loser
            } else if kind == .io {
                let isTold = isDescribed(entry.key.address) && isWholeBelow(entry.key.address)
                group.code = isTold ? "io-window-unused" : "io-window-untold"
                group.summary =
                    isTold
                    ? "no I/O space; nothing behind it needs any"
                    : "no I/O space; this log does not tell what is behind it, and few devices need any"
            } else if isGone(entry) {
                group.code = "gone"
                group.summary = "\(amount(entry.wanted)) could not be given; the port is gone at the end of the log"
            } else if !isDescribed(entry.key.address) {
                let near = placelessLosers(kind).first
                group.severity = near == nil ? .untold : .fatal
                group.code = near == nil ? "window-untold" : "window-unassigned"
                group.summary =
                    "\(amount(entry.wanted)) could not be given, and this log does not tell what is behind it"
                    + (near.map { "; \($0), whose bridge it does not tell either, goes without" } ?? "")
                group.cause = reason(entry, kind: kind)
                group.nextStep =
                    near.flatMap { stepToPlace($0) }
                    ?? Self.stepToList("what is behind \(name)")
                group.consequenceFor = near
            } else if !isWholeBelow(entry.key.address) {
                if let wanted = entry.wanted?.size, let old = entry.released?.range, wanted.rawValue > old.clampedSize {
                    return notEnlarged(entry, nil, group)
                }
                group.severity = .untold
                group.code = "window-untold"
                group.summary =
                    "\(amount(entry.wanted)) could not be given, and this log tells only a part of what is behind it"
                group.cause = reason(entry, kind: kind)
                group.nextStep = Self.stepToList("what is behind \(name)")
            } else if entry.key.address.map({ hasFunctions(below: $0) }) != true {
                group.code = "reserve-left-out"
                group.summary = "no room to reserve \(amount(entry.wanted)) behind this empty port"
                group.nextStep = "pci-rebalance fit \(name), before a card is plugged in there"
            } else {
                group.code = "reserve-left-out"
                group.summary = "no room to reserve \(amount(entry.wanted)); everything behind it has its place"
            }
            return group
        }
        if entry.has(.notReleased) {
            group.severity = .degraded
            group.code = "pinned"
            group.summary = "was not released, because something below it is still assigned: it cannot grow"
            group.cause = pinning(entry, kind)
            group.nextStep = "pci-rebalance check, which names who pins it"
            return group
        }
        if entry.has(.cannotClaim) {
            guard entry.placed != nil || isOpenNow(entry, kind) || entry.has(.optionalLeftOut) else {
                return claim(entry, group)
            }
            group.code = "claimed-elsewhere"
            group.summary = "firmware's addresses were not accepted; the kernel set the window up anew"
            return group
        }
        if entry.has(.cannotFit) {
            group.code = "relaxed-sizing"
            group.summary = "is smaller than a port below asks for; the kernel sizes that port more tightly"
            return group
        }
        if entry.has(.brokenBAR) {
            group.severity = .degraded
            group.code = "window-unusable"
            group.summary = "lies above 4 GiB, which this kernel cannot use"
            return group
        }
        group.code = "optional-left-out"
        group.summary = "an optional part (reserve or ROM) was left out"
        return group
    }

    /// The kernel took a window's place away for a larger size, found no room, and gave the old one back.
    private func notEnlarged(
        _ entry: TriageCourse.Entry,
        _ range: AddressRange?,
        _ start: Triage.Group
    ) -> Triage.Group {
        var group = start
        group.severity = .degraded
        group.code = "window-not-enlarged"
        let wanted = entry.wanted?.size.map { Self.text($0) } ?? "the size asked for"
        group.summary = "could not be enlarged to \(wanted); "
        if let range {
            group.summary += "it has \(Self.text(ByteCount(range.clampedSize))) (\(range)) again"
        } else {
            group.summary += "whether it has its place\(place(entry.released)) again is not in this log"
        }
        group.cause =
            range == nil
            ? reason(entry, kind: entry.wanted?.kind ?? .memory) : "what lies above it had no room for that size"
        // Told with the BAR that was to be resized.
        group.consequenceFor = resized(below: entry.key.address)
        return group
    }

    /// Whether the evidence tells what lies behind the bridge at `address`: its bus range, from the log of a boot or a
    /// listing, or a function on its bus.
    private func isDescribed(_ address: FunctionAddress?) -> Bool {
        guard let address, let facts = evidence[address], facts.bridge?.busRange != nil else { return false }
        return hasFunctions(below: address) || facts.isDiscovered || facts.isListed
    }

    /// Whether the evidence tells of every function that it shows behind the bridge at `address` which BARs it has.
    private func isWholeBelow(_ address: FunctionAddress?) -> Bool {
        guard let address, let range = evidence[address]?.bridge?.busRange else { return false }
        return evidence.functions.allSatisfy {
            $0.address.segment != address.segment || !range.contains($0.address.bus) || $0.tellsBARs
        }
    }

    /// The functions that went without a BAR which a window of `kind` could hold, and whose bridge nothing tells.
    private func placelessLosers(_ kind: ResourceKind) -> [FunctionAddress] {
        lost.filter { one in
            parent(of: one.address) == nil && !isPlaceTold(one.address) && one.kinds.contains { fits($0, kind) }
        }
        .map(\.address)
    }

    /// The function below `bridge` of which a BAR was to have another size and was refused.
    private func resized(below bridge: FunctionAddress?) -> FunctionAddress? {
        guard let bridge else { return nil }
        return course.entries.first { one in
            guard case .resource(let index) = one.key.target, index.isBAR, one.refusedSize != nil,
                let address = one.key.address
            else { return false }
            return isBelow(address, bridge)
        }?.key.address
    }

    /// Whether a BAR of kind `bar` may live in a window of kind `window`.
    private func fits(_ bar: ResourceKind, _ window: ResourceKind) -> Bool {
        bar == window || bar == .prefetchable && window == .memory
    }

    private func isOpenNow(_ entry: TriageCourse.Entry, _ kind: ResourceKind) -> Bool {
        function(entry)?.bridge?[kind]?.range != nil
    }

    /// What lies in the window and holds it, as far as the log tells.
    private func pinning(_ entry: TriageCourse.Entry, _ kind: ResourceKind) -> String? {
        guard let address = entry.key.address, let facts = function(entry), let buses = facts.bridge?.busRange else {
            return nil
        }
        var holders: [String] = []
        for other in evidence.functions
        where other.address.segment == address.segment && other.address.bus == buses.first {
            for resource in other.resources where resource.start != nil && !resource.index.isROM {
                guard let held = ResourceKind(resource.flags), held == kind else { continue }
                holders.append("\(other.address) \(resource.index)")
            }
            if other.bridge?[kind]?.range != nil { holders.append("\(other.address) \(kind.word) window") }
        }
        guard !holders.isEmpty else { return nil }
        return "held by \(holders.listed(3))"
    }

    // MARK: Buses, VFs, devices, host

    private func buses(_ entry: TriageCourse.Entry) -> Triage.Group {
        let bus = entry.key.bus.map { "bus \(busName(segment: entry.key.segment, $0))" }
        var group = group(entry, bus ?? "bus numbers")
        if let bus = entry.key.bus, group.address == nil {
            group.firstUnreachable = FunctionAddress(segment: entry.key.segment, bus: bus, devfn: 0)
        }
        if group.address == nil { group.address = entry.key.bus.flatMap { leader(to: $0, on: entry.key.segment) } }
        let name = entry.key.address.map { "\($0)" } ?? "all"
        if entry.has(.noBus), Array(entry.sample.utf8)[...].has("without secondary bus") {
            group.severity = .fatal
            group.code = "slot-without-bus"
            group.summary = "the slot has no bus of its own: nothing that is plugged in there can be reached"
            group.nextStep =
                entry.key.address.map { isPlaceTold($0) } == false
                ? stepToPlace(entry.key.address) : "pci-rebalance plan --reserve \(name)=buses:1"
        } else if entry.has(.noBus) {
            group.severity = .fatal
            group.code = "buses-exhausted"
            group.summary = "no bus number is left for what was plugged in: nothing behind it can be reached"
            group.cause = "the bus range of the bridges above is used up"
            group.nextStep = stepToPlace(entry.key.address)
        } else if let beyond = emptyBeyond(entry) {
            group.code = "bus-reserve-left-out"
            group.summary =
                "fewer bus numbers than were to be kept for cards to come (up to \(beyond)); nothing is on those that it "
                + "lacks"
        } else if entry.has(.unreachable) {
            group.severity = .fatal
            group.code = "buses-outside"
            group.summary =
                "bus numbers behind it lie outside the range of the bridge above: devices there cannot be reached"
            group.cause = noNumbersAbove(entry)
            let isTold = evidence.roots.contains { $0.segment == entry.key.segment }
            group.nextStep =
                isTold
                ? "pci-rebalance plan --place all"
                : Self.stepToTell("the bridges above \(bus ?? name)")
        } else if entry.has(.busRefused), let last = entry.lastBus, let outer = Self.outer(entry.sample),
            last <= UInt64(outer.last)
        {
            group.code = "bus-range-cut"
            group.summary = "its bus range reached beyond the bus above; the kernel cut it, and nothing is lost"
        } else if entry.has(.busRefused), entry.lastBus == nil, let number = entry.key.bus,
            !unreachableSegments.contains(entry.key.segment),
            evidence.functions.contains(where: { $0.address.segment == entry.key.segment && $0.address.bus == number })
        {
            // The kernel says so and goes on looking (`pci_bus_insert_busn_res`).
            group.code = "bus-range-refused"
            group.summary = "its bus range does not fit the bus above; what is on it was found all the same"
        } else if entry.has(.busRefused) {
            let isOverlap = Array(entry.sample.utf8)[...].has("conflicts with (null)")
            group.severity = isOverlap && unreachableSegments.contains(entry.key.segment) ? .fatal : .degraded
            group.code = "bus-refused"
            group.summary = "its bus range does not fit the bus above; devices on it may be missing"
            group.cause =
                noNumbersAbove(entry) ?? "firmware left bus numbers that overlap or lie outside their parent's range"
            let isTold = evidence.roots.contains { $0.segment == entry.key.segment }
            group.nextStep =
                isTold ? "pci-rebalance check" : Self.stepToTell("the bridges above \(bus ?? name)")
        } else {
            group.code = "buses-renumbered"
            group.summary = "firmware left no usable bus numbers in it; the kernel numbered it anew"
        }
        return group
    }

    /// The bridge that leads to a bus, by its numbers; nil where none is told.
    private func leader(to bus: BusNumber, on segment: UInt32) -> FunctionAddress? {
        bridges[UInt64(segment) << 8 | UInt64(bus.rawValue)].map { evidence.functions[$0].address }
    }

    /// The last bus that was wanted beyond a bridge's range and did not fit, where the log, which tells the bridge and all
    /// that was found, shows no function on the buses in between: the kernel keeps buses for CardBus and hot-plug that
    /// nobody uses. Nil for every other entry.
    ///
    /// Source: `pci_scan_bridge_extend` (`bridge has subordinate …`), `pci_bus_update_busn_res_end`.
    private func emptyBeyond(_ entry: TriageCourse.Entry) -> BusNumber? {
        guard entry.kinds == [.unreachable] || entry.kinds == [.busRefused] else { return nil }
        let text = Array(entry.sample.utf8)[...]
        var wanted: UInt64?
        var has: UInt64?
        if var rest = text.after("has subordinate ") {
            has = rest.takeHex()
            var tail = rest.after("max busn ")
            wanted = tail?.takeHex()
        } else if var rest = text.after("can not be updated to ") {
            wanted = rest.takeHex()
            if var tail = text.after("busn_res: [bus "), let first = tail.takeHex() {
                has = tail.take("-") ? tail.takeHex() : first
            }
        }
        guard let wanted, let has, has < wanted, wanted <= 0xff else { return nil }
        // Only a log that tells the discovery of the bridge tells what was found behind it.
        let owner =
            entry.key.address
            ?? entry.key.bus.flatMap { bus in
                evidence.functions.first {
                    $0.address.segment == entry.key.segment && $0.bridge?.busRange?.contains(bus) == true
                }?.address
            }
        guard let owner, isDescribed(owner) else { return nil }
        let isUsed = evidence.functions.contains {
            $0.address.segment == owner.segment && UInt64($0.address.bus.rawValue) > has
                && UInt64($0.address.bus.rawValue) <= wanted
        }
        return isUsed ? nil : BusNumber(UInt8(wanted))
    }

    /// The buses of `under [bus 00-0f]` in a message that refuses a bus range; an empty range ends before it begins.
    private static func outer(_ message: String) -> (first: UInt8, last: UInt8)? {
        guard var rest = Array(message.utf8)[...].after(" under ") else { return nil }
        return RangeText.takeBuses(&rest)
    }

    /// That the bus above has no numbers to give on, where the kernel names its range and that is empty.
    private func noNumbersAbove(_ entry: TriageCourse.Entry) -> String? {
        guard let outer = Self.outer(entry.sample) ?? Self.outer(entry.reason), outer.last < outer.first else {
            return nil
        }
        return
            "the bus above has no number left to give on: it was found when those behind its root port had been given out"
    }

    private func vfs(_ entry: TriageCourse.Entry) -> Triage.Group {
        var group = group(entry, "SR-IOV")
        group.severity = .degraded
        let isBus = Array(entry.sample.utf8)[...].has("out of range")
        group.code = isBus ? "vf-bus-range" : "vf-memory"
        group.summary = "virtual functions could not be switched on"
        group.cause =
            isBus
            ? "they need bus numbers beyond those of the bridge above"
            : "their BARs have no address"
        group.nextStep = entry.key.address.flatMap { step("plan --vfs \($0)=N", for: $0) }
        return group
    }

    private func device(_ entry: TriageCourse.Entry) -> Triage.Group {
        var group = group(entry, "device")
        let name = entry.key.address.map { "\($0)" } ?? "all"
        if entry.has(.cannotEnable) || entry.has(.driverReport) {
            let names = entry.reported.isEmpty ? "a BAR" : entry.reported.map { "\($0)" }.listed(3)
            if entry.has(.driverReport) {
                group.reported = names
                if showsAllBARs(function(entry)) { return group.contradicted() }
            }
            group.severity = .fatal
            group.code = entry.has(.driverReport) ? "driver-reports-no-bar" : "cannot-enable"
            // That report is also made of a BAR that has one and that the driver does not accept.
            group.summary =
                entry.has(.driverReport) && entry.reported.isEmpty
                ? "its driver gives up: it calls a BAR invalid" : "its driver gives up, because \(names) has no address"
            group.nextStep = stepToPlace(entry.key.address)
        } else if entry.has(.resizeRefused) {
            group.severity = .degraded
            group.code = "resize-refused"
            group.summary = "a BAR could not be resized; it keeps its old size"
            group.nextStep = step("plan --resize \(name):0=max", for: entry.key.address)
        } else if entry.has(.hostConflict) {
            return inUse(entry, group)
        } else if entry.has(.noSpace) {
            group.severity = .untold
            group.code = "window-kind-untold"
            group.summary =
                "a bridge window that is neither ports nor memory got no place; whether anything behind it lacks one is not in "
                + "these lines"
            group.nextStep = Self.stepToTell("what lies behind \(name)")
        } else {
            return claim(entry, group)
        }
        return group
    }

    /// Whether the evidence tells all BARs of a function, and each has an address.
    private func showsAllBARs(_ facts: TextFunction?) -> Bool {
        guard let facts, facts.tellsBARs else { return false }
        let bars = facts.resources.filter { $0.index.isBAR && $0.state != .ignored }
        return bars.contains { !$0.flags.contains(.io) }
            && bars.allSatisfy { $0.start != nil && $0.start != 0 && ($0.state == .placed || $0.state == .virtual) }
    }

    private func host(_ entry: TriageCourse.Entry) -> Triage.Group {
        var group = group(entry, "host bridge")
        if entry.has(.summary) {
            let lost = !self.lost.isEmpty
            let isCut = evidence.isLogAlone && evidence.findings.contains { $0.code == .logCutAtStart }
            group.severity = lost ? .degraded : isCut ? .untold : .harmless
            group.code = lost || !isCut ? "summary" : "summary-untold"
            group.summary =
                "the kernel says that something is unassigned"
                + (lost ? "" : isCut ? "; what, is not in these lines" : "; nothing that is needed, by this log")
            group.nextStep = lost ? "see the groups above; pci=realloc is what the kernel suggests" : nil
        } else {
            group.code = "firmware-overlap"
            group.summary = "reserved memory and an aperture overlap; the kernel cut one of them"
        }
        return group
    }
}
