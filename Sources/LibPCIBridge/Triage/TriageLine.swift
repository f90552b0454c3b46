// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// One message of the kernel log that tells of a failure to place something, or of the end of one.
struct TriageLine {
    /// What the message says.
    enum Kind: Hashable {
        /// No room was found (`no space`, `can't assign`, `failed to assign`).
        case noSpace
        /// The kernel takes its address away, to give it another or another size.
        case releasing
        /// It has an address now.
        case assigned
        /// The address that firmware gave was not accepted (`can't claim`, `conflicts with`).
        case cannotClaim
        /// A bridge window cannot be freed because something below holds it.
        case notReleased
        /// A window could not be made larger, or an optional part was left out.
        case optionalLeftOut
        /// A window is smaller than what a port below asks for.
        case cannotFit
        /// A driver asked for another BAR size and was refused.
        case resizeRefused
        /// A driver could not be given the device because a BAR has no address.
        case cannotEnable
        /// A driver could not be given the device because the kernel did not accept the address that a BAR has.
        case notClaimed
        /// A BAR's register did not take the value, or the BAR cannot be used.
        case brokenBAR
        /// The kernel sees no alignment: what it does not place like a BAR, or has forgotten.
        case unaligned
        /// Firmware left bus numbers that make no sense; the kernel numbers again.
        case busesReconfigured
        /// A bus number is refused by the bus above.
        case busRefused
        /// There is no bus number left.
        case noBus
        /// Something behind a bridge cannot be reached.
        case unreachable
        /// VFs cannot be switched on.
        case vfsRefused
        /// The kernel sums up that something is unassigned.
        case summary
        /// Firmware tables or reserved memory overlap an aperture.
        case hostConflict
        /// A driver of a vendor reports a BAR without address.
        case driverReport
    }

    /// What the message is about.
    enum Target: Hashable {
        case resource(ResourceIndex)
        case window(ResourceKind)
        case buses
        case vfs
        case device
        case host
    }

    var kind: Kind
    var target: Target
    var address: FunctionAddress?
    /// A bus, for messages about buses.
    var bus: (segment: UInt32, bus: BusNumber)?
    /// The kernel's own code speaks, not a driver's.
    var isCore: Bool
    /// Whether the message calls the resource a VF BAR; kernels before 6.9 number instead.
    var namesVFBAR = false
    /// What was asked for or given.
    var resource: RangeText?
    /// The text after the resource or the whole message, for the reason.
    var detail: TextBytes

    /// The words of which at least one stands in every message that tells of a failure about PCI resources.
    static func soundsLikeFailure(_ text: TextBytes) -> Bool {
        for phrase in phrases where text.has(phrase) { return true }
        return false
    }

    private static let phrases: [StaticString] = [
        "no space", "can't assign", "failed to assign", "can't claim", "cannot claim", "not released",
        "No bus number", "no compatible bridge window", "configuration invalid", "not enough MMIO", "out of range",
        "can not insert", "are unusable", "hidden behind", "cannot fit", "conflicts with", "conflict with",
        "can't enable", "can't handle BAR", "failed to expand", "failed to add optional", "ignoring failure",
        "IOV BARS not allocated", "but max busn", "resources are unassigned", "can't reserve", "error updating",
        "Failed to resize BAR", "can not be updated", "can not be released", "without secondary bus",
        "can't ioremap BAR",
        "can't size", "can't allocate", "no parent found", "Failed to allocate", "initial BAR value",
        "NVIDIA device is invalid", "resource collision", "0M @ 0x0", "can't add", "has bogus alignment",
        "bad alignment",
        "Not enough PCI address space", "Problem resizing BAR", "address space collision",
    ]

    /// Reads a message that belongs to PCI and tells of a failure or of an assignment; nil for every other message.
    init?(_ message: TextBytes) {
        if let subject = LogTextReader.takeSubject(message) {
            self.init(function: subject.rest, of: subject.address, isCore: LogTextReader.isCore(message))
            return
        }
        var rest = message
        if rest.take("pci_bus "), let bus = takeBus(&rest), rest.take(": ") {
            self.init(bus: rest, segment: bus.segment, bus: bus.bus)
            return
        }
        self.init(host: message)
    }

    private init(
        _ kind: Kind,
        _ target: Target,
        _ address: FunctionAddress?,
        isCore: Bool,
        resource: RangeText?,
        detail: TextBytes
    ) {
        self.kind = kind
        self.target = target
        self.address = address
        self.isCore = isCore
        self.resource = resource
        self.detail = detail
    }

    // MARK: Functions

    private init?(function text: TextBytes, of address: FunctionAddress, isCore: Bool) {
        var rest = text
        rest.skipBlanks()
        if let found = Self.resourceMessage(rest) {
            var kind = found.kind
            if kind == .noSpace, !isCore {
                // Of what has no size any more a driver asks for no other size: it asks for a place (`pci_assign_resource`).
                kind = found.resource?.kind == nil && found.resource != nil ? .cannotEnable : .resizeRefused
            }
            self.init(kind, found.target, address, isCore: isCore, resource: found.resource, detail: found.detail)
            namesVFBAR = rest.starts("VF BAR ")
            return
        }
        func make(_ kind: Kind, _ target: Target) -> TriageLine {
            TriageLine(kind, target, address, isCore: isCore, resource: nil, detail: rest)
        }
        if rest.starts("bridge configuration invalid") {
            self = make(.busesReconfigured, .buses)
        } else if rest.starts("No bus number available") {
            self = make(.noBus, .buses)
        } else if rest.starts("devices behind bridge are unusable") {
            self = make(.unreachable, .buses)
        } else if rest.starts("bridge has subordinate"), rest.has("but max busn") {
            self = make(.unreachable, .buses)
        } else if rest.has("hidden behind") {
            self = make(.unreachable, .buses)
        } else if rest.has("without secondary bus") {
            self = make(.noBus, .buses)
        } else if rest.has("not enough MMIO resources for SR-IOV") || rest.has("IOV BARS not allocated") {
            self = make(.vfsRefused, .vfs)
        } else if rest.starts("can't enable"), rest.has("out of range") {
            self = make(.vfsRefused, .vfs)
        } else if rest.has("SR-IOV"), rest.has("out of range") {
            self = make(.vfsRefused, .vfs)
        } else if !isCore, rest.has("failed to assign pci resource") {
            // What `pci_assign_resource` gave a driver that asked by itself (MHI).
            self = make(.driverReport, .device)
        } else if Self.soundsLikeRefusedResize(rest) {
            self = make(.resizeRefused, Self.barNumber(rest, after: "BAR").map { .resource($0) } ?? .device)
            resource = Self.refusedSize(rest)
        } else if rest.has("can't enable device") || rest.starts("can't enable") {
            self = make(.cannotEnable, .device)
        } else if rest.has("can't ioremap BAR") && (rest.has("[???") || rest.has(" size ")) {
            // The driver asked for a BAR that has no address.
            self = make(.cannotEnable, .device)
        } else if rest.has("can't reserve") || rest.has("can't ioremap BAR") || rest.has("resource collision") {
            self = make(.hostConflict, .device)
        } else if rest.has("cannot claim") || rest.has("can't claim") {
            self = make(.cannotClaim, .device)
        } else if rest.starts("can't handle bridge window") {
            self = make(.brokenBAR, .window(.prefetchable))
        } else {
            return nil
        }
    }

    /// What drivers say of `pci_resize_resource`: i915 and xe, amdgpu before and from 6.1, sysfs.
    private static func soundsLikeRefusedResize(_ text: TextBytes) -> Bool {
        text.has("Failed to resize BAR") || text.has("BAR resize failed") || text.has("Problem resizing BAR")
            || text.has("Not enough PCI address space for a large BAR")
    }

    /// The size in `Failed to resize BAR2 to 16384MiB (-ENOSPC)`, of a kind that is not told; nil where none is named.
    private static func refusedSize(_ text: TextBytes) -> RangeText? {
        guard var rest = text.after("Failed to resize BAR")?.after(" to "), let number = rest.takeDecimal(),
            rest.take("M"), number > 0, number < 1 << 40
        else { return nil }
        return RangeText(flags: [], range: nil, size: ByteCount(number << 20))
    }

    private static func barNumber(_ text: TextBytes, after word: StaticString) -> ResourceIndex? {
        guard var rest = text.after(word) else { return nil }
        rest.skipBlanks()
        return rest.takeDecimal().flatMap { Int(exactly: $0) }.flatMap { ResourceIndex($0) }
    }

    private typealias Found = (kind: Kind, target: Target, resource: RangeText?, detail: TextBytes)

    /// Reads the messages that name a BAR, the ROM or a window, in both generations of wording.
    private static func resourceMessage(_ text: TextBytes) -> Found? {
        var rest = text
        // `disabling BAR 1: [mem …] (bad alignment 0x800000000)`, before 6.9.
        _ = rest.take("disabling ")
        if rest.take("Assigned bridge window ") {
            guard let resource = RangeText.take(&rest), let kind = resource.kind else { return nil }
            return (.cannotFit, .window(kind), resource, rest)
        }
        if rest.take("no compatible bridge window for ") || rest.take("address space collision: ") {
            // Before 3.14 a claim that failed named the range alone (`pci_claim_resource`).
            guard let resource = RangeText.take(&rest) else { return nil }
            return (.cannotClaim, .device, resource, text)
        }
        if rest.take("can't claim ") {
            guard rest.take("BAR "), let number = rest.takeDecimal(), let index = Int(exactly: number),
                let target = oldTarget(index)
            else { return nil }
            rest.skipBlanks()
            let resource = RangeText.take(&rest)
            return (.cannotClaim, target, resource, rest)
        }
        let target: Target
        if rest.take("bridge window ") {
            guard let resource = RangeText.take(&rest), let verdict = verdict(rest) else { return nil }
            // `[??? 0x00001000-0x00001fff flags 0x20080000]`: 6.18 tries windows that are neither ports nor memory.
            guard let kind = resource.kind else {
                return verdict == .noSpace ? (verdict, .device, resource, rest) : nil
            }
            return (verdict, .window(kind), resource, rest)
        } else if rest.take("VF BAR ") {
            guard let number = rest.takeDecimal(), number < 6, let index = ResourceIndex.vfBAR(Int(number)) else {
                return nil
            }
            target = .resource(index)
        } else if rest.take("BAR ") {
            guard let number = rest.takeDecimal(), let index = Int(exactly: number), let found = oldTarget(index) else {
                return nil
            }
            target = found
        } else if rest.take("ROM") {
            target = .resource(.rom)
        } else if rest.take("reg 0x") {
            // Before 6.9 the register's offset stands for the BAR.
            guard let index = rest.takeHex().flatMap(ResourceIndex.ofRegister) else { return nil }
            target = .resource(index)
        } else if rest.take("resource "), let number = rest.takeDecimal(), let index = Int(exactly: number),
            let found = oldTarget(index)
        {
            target = found
        } else {
            return nil
        }
        if rest.take(" ") {
            guard let resource = RangeText.take(&rest), let verdict = verdict(rest) else { return nil }
            return (verdict, target, resource, rest)
        }
        guard rest.take(": ") else { return nil }
        let words = rest.before("[")
        let found = RangeText.first(in: rest)
        let resource = found?.resource
        let detail = found?.rest ?? rest.firstIndex(of: 0x5b).map { rest[$0...] } ?? rest
        // The old wording puts the verdict in front; a conflict stands behind in both.
        if var kind = verdict(words) ?? verdict(detail) ?? verdict(rest) {
            if kind == .hostConflict, let resource, resource.range == nil { kind = .cannotEnable }
            return (kind, target, resource, detail)
        }
        return nil
    }

    private static func oldTarget(_ number: Int) -> Target? {
        ResourceIndex(number).map { index in index.windowKind.map { .window($0) } ?? .resource(index) }
    }

    private static func verdict(_ text: TextBytes) -> Kind? {
        // With `can't assign` in front it is the end of a failed assignment (`pci_assign_resource`).
        if text.has("has bogus alignment") { return .unaligned }
        if text.has("no space") || text.has("failed to assign") || text.has("can't assign")
            || text.has("can't reassign")
        {
            return .noSpace
        }
        if text.has("not claimed") { return .notClaimed }
        if text.has("can't claim") || text.has("conflicts with") || text.has("address conflict")
            || text.has("can't allocate") || text.has("no parent found")
        {
            return .cannotClaim
        }
        if text.has("was not released") || text.has("not released") { return .notReleased }
        if text.has("failed to expand") || text.has("failed to add optional") || text.has("ignoring failure") {
            return .optionalLeftOut
        }
        if text.has("can't enable device") { return .cannotEnable }
        if text.has("error updating") || text.has("can't handle BAR") || text.has("can't size")
            || text.has("initial BAR value") || text.has("bad alignment")
        {
            return .brokenBAR
        }
        if text.has("can't reserve") { return .hostConflict }
        if text.has("releasing") { return .releasing }
        if text.has("assigned") || text.has("old value restored") || text.has("set to") { return .assigned }
        return nil
    }

    // MARK: Buses and the host

    private init?(bus text: TextBytes, segment: UInt32, bus: BusNumber) {
        let kind: Kind
        var target = Target.buses
        if text.has("can not insert") || text.has("can not be") {
            kind = .busRefused
        } else if text.has("end is updated to ") {
            kind = .assigned
        } else if text.has("hidden behind") {
            kind = .unreachable
        } else if text.has("resources are unassigned") {
            kind = .summary
            target = .host
        } else if text.has("can't add") || text.has("conflicts with") {
            kind = .hostConflict
            target = .host
        } else {
            return nil
        }
        self.init(kind, target, nil, isCore: true, resource: nil, detail: text)
        self.bus = (segment, bus)
    }

    private init?(host text: TextBytes) {
        guard let first = text.first else { return nil }
        if first == UInt8(ascii: "N"), text.starts("NVRM: ") {
            guard text.has("NVIDIA device is invalid") || text.has("is 0M @ 0x0") else { return nil }
            self.init(.driverReport, .device, Self.nvidiaAddress(text), isCore: false, resource: nil, detail: text)
        } else if text.starts("[drm]"), Self.soundsLikeRefusedResize(text) {
            self.init(.resizeRefused, .device, nil, isCore: false, resource: nil, detail: text)
        } else if let failure = Self.oldFailure(text) {
            self.init(
                .noSpace,
                failure.target,
                failure.address,
                isCore: true,
                resource: failure.resource,
                detail: text.suffix(0)
            )
        } else if text.has("Some PCI device resources are unassigned") {
            self.init(.summary, .host, nil, isCore: true, resource: nil, detail: text)
        } else if text.has("due to conflict with PCI Bus") || text.has("can't add host bridge window") {
            self.init(.hostConflict, .host, nil, isCore: true, resource: nil, detail: text)
        } else if text.starts("PCI") || text.starts("pci"), Self.soundsLikeFailure(text) {
            self.init(.hostConflict, .host, nil, isCore: true, resource: nil, detail: text)
        } else {
            return nil
        }
    }

    /// `PCI: Failed to allocate mem resource #6:20000@f0000000 for 0000:01:00.0`, of kernels before 2.6.30: the number of
    /// the resource, its size and where it was looked for.
    private static func oldFailure(
        _ text: TextBytes
    ) -> (target: Target, address: FunctionAddress, resource: RangeText)? {
        var rest = text
        guard rest.take("PCI: Failed to allocate ") else { return nil }
        let isIO = rest.starts("I/O") || rest.starts("io")
        guard var number = rest.after("resource #"), let index = number.takeDecimal().flatMap({ Int(exactly: $0) }),
            let target = oldTarget(index), number.take(":"), let size = number.takeHex(),
            var name = number.after(" for "), let address = takeAddress(&name)
        else { return nil }
        let flags: ResourceFlags = isIO ? .io : .memory
        return (target, address, RangeText(flags: flags, range: nil, size: ByteCount(size)))
    }

    /// The BAR that a driver's report names: `NVRM: BAR1 is 0M @ 0x0 (PCI:0000:05:00.0)`.
    var reportedBAR: ResourceIndex? {
        guard kind == .driverReport, var rest = detail.after("NVRM: BAR") ?? detail.after("] BAR") else { return nil }
        return rest.takeDecimal().flatMap { Int(exactly: $0) }.flatMap(ResourceIndex.bar)
    }

    /// The address in `NVRM: BAR1 is 0M @ 0x0 (PCI:0000:05:00.0)`.
    private static func nvidiaAddress(_ text: TextBytes) -> FunctionAddress? {
        guard var rest = text.after("(PCI:") else { return nil }
        return takeAddress(&rest)
    }
}
