// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// Tries machines of different shapes on the twin and keeps, for each window that is too small, the one that comes nearest.
struct ReproductionSearch {
    /// The resources that have to fail, with what each asks for.
    private var failing: Set<ResourceKey> = []
    /// The functions that had addresses and lost one: they were there before it happened.
    private var losers: Set<FunctionAddress> = []
    /// The bridges without bus numbers.
    private var busless: Set<FunctionAddress> = []
    /// What fails and is not rebuilt.
    private(set) var leftOut: [String] = []
    /// The bridges whose own BARs fail.
    private var ownBARs: Set<FunctionAddress> = []
    /// Whether what fails keeps no device from working.
    private(set) var isHarmless = false
    /// Whether something fails whose size nobody tells.
    private(set) var lacksSizes = false

    private let topology: Topology
    private let behaviour: KernelBehaviour
    /// When what fails comes into its slot.
    var event = EmulatedMachine.Event.plug
    /// What the kernel is told of PCI.
    var words: [String] = []

    /// A machine with what it shows.
    struct Found {
        var machine: EmulatedMachine
        var lines: [Reproduction.Line]
        var missing: Int
        var extra: [String]
        var noise: Int
        var remarks: [String]
        var parameters: [String]
        var commands: [String]
        /// What fails besides `lines`, by guest address: room fillers, what fails in the report too, `extra`.
        var besides: [String] = []
    }

    /// What is too small, and what fails for it.
    private struct Cut: Hashable {
        /// The bridge whose window is too small; nil for the host bridge's aperture.
        var bridge: Int?
        /// The function on the root bus that the failing functions are, or lie below.
        var root: Int
        /// A bridge whose own BARs fail, or nil.
        var own: Int?
    }

    /// One way to build a cut.
    private struct Candidate {
        var port: EmulatedNode
        var remarks: [String]
        /// Whether the whole root port is built, so that all that fails below it is in it.
        var isPinned = false
    }

    init(_ topology: Topology, findings: [Finding], behaviour: KernelBehaviour) {
        self.topology = topology
        self.behaviour = behaviour
        let problems = findings.filter { $0.severity == .problem }
        // VFs have no place in the report's log as well; what harms nobody is of interest where nothing else fails.
        let notes = findings.filter { finding in
            switch finding.code {
            case .vfBARUnassigned: true
            case .barUnassigned where topology.logEndsBeforeAssignment: false
            case .barUnassigned, .barWiped, .barLost: problems.isEmpty && finding.severity == .note
            default: false
            }
        }
        isHarmless = problems.isEmpty
        for finding in problems + notes.filter({ $0.severity != .problem }) {
            switch finding.code {
            case .barUnassigned, .barWiped, .barLost, .vfBARUnassigned:
                guard let index = finding.resource, let position = topology.position(of: finding.address),
                    let resource = topology.functions[position].resource(index)
                else { continue }
                guard resource.wanted != nil else {
                    if finding.severity == .problem {
                        lacksSizes = true
                        leftOut.append("\(finding.address) \(index): its size is not told")
                    }
                    continue
                }
                let need = topology.need(of: resource, at: position)
                // Of notes those that tell of a kind that is harmless, not of a function that sleeps.
                if finding.severity != .problem, !need.isHarmless || need == .leftAlone { continue }
                failing.insert(ResourceKey(finding.address, index))
                if need == .bridgeOwn { ownBARs.insert(finding.address) }
                if finding.code == .barLost { losers.insert(finding.address) }
            case .busMissing: busless.insert(finding.address)
            case .windowClosed: break
            default: leftOut.append("\(finding.address): \(finding.sentence)")
            }
        }
    }

    /// The functions that fail.
    var functions: Set<FunctionAddress> { Set(failing.map(\.address)).union(busless) }

    /// Whether nothing can be rebuilt.
    var isEmpty: Bool { failing.isEmpty && busless.isEmpty }

    /// The machine that comes nearest, or nil when none can be started.
    mutating func run() -> Found? {
        var ports: [EmulatedNode] = []
        var remarks: [String] = []
        var whole: Set<Int> = []
        // The host bridges in the order in which they are met, each by segment and root bus.
        var hosts: [UInt64] = []
        for cut in cuts() where !whole.contains(cut.root) {
            let name = topology.functions[cut.bridge ?? cut.root].address
            guard ports.count < EmulatedMachine.maximumPorts else {
                leftOut.append("\(name): what fails below it is left out, \(ports.count) ports are built")
                continue
            }
            var best: (found: Found, candidate: Candidate)?
            for candidate in candidates(cut) {
                guard let found = judge([candidate.port], candidate.remarks) else { continue }
                if best.map({ found.isNearer(than: $0.found) }) ?? true { best = (found, candidate) }
            }
            guard var best, !best.found.lines.isEmpty else {
                leftOut.append("\(name): what fails below it cannot be built")
                continue
            }
            let path = topology.path(of: cut.root)
            let host = UInt64(path.segment) << 8 | UInt64(path.rootBus.rawValue)
            best.candidate.port.host = hosts.firstIndex(of: host) ?? hosts.count
            if !ports.isEmpty, best.found.missing == 0,
                judge(ports + [best.candidate.port], [])?.missing ?? 1 > 0
            {
                leftOut.append("\(name): what fails below it would find room that the other ports give up")
                continue
            }
            if best.candidate.port.host == hosts.count { hosts.append(host) }
            if best.candidate.isPinned { whole.insert(cut.root) }
            ports.append(best.candidate.port)
            remarks += best.candidate.remarks
        }
        guard !ports.isEmpty else { return nil }
        if Set(hosts.map { $0 >> 8 }).count > 1 { remarks.append("one segment stands for several") }
        return judge(ports, remarks.uniqued())
    }

    // MARK: What is too small

    private func cuts() -> [Cut] {
        var result: [Cut] = []
        for i in topology.functions.indices {
            let function = topology.functions[i]
            if busless.contains(function.address) {
                result.append(Cut(bridge: topology.parent(of: i), root: root(of: i)))
            }
            let kinds = function.resources.filter { failing.contains(ResourceKey(function.address, $0.index)) }
                .compactMap(\.kind).uniqued()
            guard !kinds.isEmpty else { continue }
            if ownBARs.contains(function.address) {
                result.append(Cut(bridge: windowHolder(above: i, kinds[0]), root: root(of: i), own: i))
                continue
            }
            // The outermost of the windows that its kinds need.
            let bridges = kinds.map { windowHolder(above: i, $0) }
            let depth = bridges.map { $0.map { topology.ancestors(of: $0).count + 1 } ?? 0 }
            let outermost = zip(bridges, depth).min { $0.1 < $1.1 }?.0
            // The functions of a device on a root bus are one card.
            let first = function.parent == nil ? siblings(of: i).first ?? i : root(of: i)
            result.append(Cut(bridge: outermost ?? nil, root: first))
        }
        // A window below another that is too small as well is built with it.
        let unique = result.uniqued()
        return unique.filter { cut in
            guard let bridge = cut.bridge, cut.own == nil else { return true }
            return !unique.contains { other in
                guard other.root == cut.root, other != cut, other.own == nil else { return false }
                guard let above = other.bridge else { return true }
                return topology.ancestors(of: bridge).contains(above)
            }
        }
    }

    private func root(of i: Int) -> Int { topology.ancestors(of: i).last ?? i }

    /// The nearest bridge above whose window of a kind is open; nil when none is.
    private func windowHolder(above i: Int, _ kind: ResourceKind) -> Int? {
        topology.ancestors(of: i).first { window(kind, of: $0) != nil }
    }

    private func window(_ kind: ResourceKind, of bridge: Int) -> UInt64? {
        let index = ResourceIndex.window(kind)
        return topology.functions[bridge].resource(index)?.range?.clampedSize
    }

    // MARK: Ways to build it

    private func candidates(_ cut: Cut) -> [Candidate] {
        if cut.own != nil { return [slot(cut, room: .asPlaced)].compactMap { $0 } }
        return [
            pinned(cut), slot(cut, room: .ofReport), slot(cut, room: .asPlaced),
            slot(cut, room: .asPlaced, onlyWhatFails: true), slot(cut, room: .asPlaced, isExact: true),
        ].compactMap { $0 }
    }

    /// The whole root port as it stands, and what fails plugged into its slots: what works holds its addresses.
    private func pinned(_ cut: Cut) -> Candidate? {
        guard topology.functions[cut.root].isBridge else { return nil }
        var builder = TreeBuilder(topology, failing: failing, busless: busless)
        var port = EmulatedNode(.rootPort(PortReserve()), bridge: topology.functions[cut.root].address)
        switch builder.role(of: cut.root) {
        case .slot: port.children = builder.slotContent(of: cut.root)
        case .upstream, .conventional: port.children = [builder.bridgeNode(cut.root)]
        }
        plugWhatFails(&port)
        guard port.all.contains(where: { !$0.plugged.isEmpty }) else { return nil }
        if let told = told(cut.root) {
            set(told, of: &port)
            return Candidate(port: port, remarks: builder.remarks, isPinned: true)
        }
        let numbers = topology.functions[cut.root].bridge?.busRange
        let own = UInt64(port.all.filter { $0.device.bridge != nil && $0.device.portType != .rootPort }.count)
        let buses = numbers.map { UInt64($0.last.rawValue - $0.first.rawValue) } ?? own
        set(
            PortReserve(
                // A lone port gets its one number from firmware; no port may take those of the others.
                buses: buses > own ? min(buses, own + 16) : nil,
                memory: window(.memory, of: cut.root),
                prefetchable64: window(.prefetchable, of: cut.root)
            ),
            of: &port
        )
        return Candidate(port: port, remarks: builder.remarks, isPinned: true)
    }

    /// The reserve that an emulated root port of the report asks for.
    private func told(_ i: Int) -> PortReserve? {
        guard topology.functions[i].identity.vendor == 0x1b36, topology.functions[i].identity.device == 0x000c else {
            return nil
        }
        let path = topology.path(of: i)
        let demand = ResourceDemand(topology)
        let hint = demand.position(of: path).flatMap { demand.functions[$0].bridge?.reserveHint }
        return PortReserve(buses: hint?.buses, memory: hint?.memory, prefetchable64: hint?.prefetchable64)
    }

    /// Moves what fails out of the deepest slots that hold all of it.
    private func plugWhatFails(_ node: inout EmulatedNode) {
        if node.device.isSlot, node.children.contains(where: { isFailing($0) }) {
            node.plugged = node.children
            node.children = []
            return
        }
        for i in node.children.indices { plugWhatFails(&node.children[i]) }
    }

    /// Whether the node itself fails, or something on a bus without slots behind it.
    private func isFailing(_ node: EmulatedNode) -> Bool {
        let fails = node.standIns.contains {
            failing.contains(ResourceKey($0.address, $0.index)) && !losers.contains($0.address)
        }
        if fails { return true }
        if let bridge = node.bridge, busless.contains(bridge) { return true }
        return node.device.portType == .bridgeToPCI && node.children.contains { isFailing($0) }
    }

    /// How large the windows are that a slot gets.
    private enum Room {
        /// As those of the report.
        case ofReport
        /// As large as what was placed.
        case asPlaced
    }

    /// A slot whose windows are those that were too small, everything below plugged in at once.
    ///
    /// With `onlyWhatFails` the functions of a device on a root bus that work are left out: they share no window with those
    /// that fail.
    /// With `isExact` what is left of the last MiB is filled as well, until nothing that fails fits; that takes more functions.
    private func slot(
        _ cut: Cut,
        room: Room,
        onlyWhatFails: Bool = false,
        isExact: Bool = false
    ) -> Candidate? {
        var builder = TreeBuilder(topology, failing: failing, busless: busless)
        let top = cut.bridge ?? cut.root
        let address = topology.functions[top].address
        var content: [EmulatedNode]
        var dropped: [Int] = []
        if let own = cut.own {
            content = builder.ownBARs(of: own)
        } else if topology.functions[top].isBridge {
            guard !onlyWhatFails else { return nil }
            content = builder.role(of: top) == .slot ? builder.slotContent(of: top) : [builder.bridgeNode(top)]
        } else {
            var members = siblings(of: top)
            if onlyWhatFails {
                dropped = members.filter { !functions.contains(topology.functions[$0].address) }
                guard !dropped.isEmpty else { return nil }
                members.removeAll { dropped.contains($0) }
            }
            content = builder.content(members)
        }
        guard !content.isEmpty else { return nil }
        var remarks = builder.remarks
        if !dropped.isEmpty {
            let names = dropped.map { "\(topology.functions[$0].address)" }.joined(separator: ", ")
            remarks.append("\(names): left out, they work and share no window with what fails")
        }
        let kinds = Set(failingKinds(content))
        var reserve = PortReserve()
        let bridges = UInt64(content.flatMap(\.all).filter { $0.device.bridge != nil }.count)
        if busless.isEmpty || !content.contains(where: { $0.bridge.map { busless.contains($0) } ?? false }) {
            reserve.buses = min(8 + 2 * bridges, 64)
        } else if let range = topology.functions[top].bridge?.busRange, range.last > range.first {
            reserve.buses = min(UInt64(range.last.rawValue - range.first.rawValue), 64)
        }
        for kind in [ResourceKind.memory, .prefetchable] {
            let exact = Self.need(content, kind) { failing.contains(ResourceKey($0.address, $0.index)) }
            let placed = isExact ? exact : alignUp(exact, 1 << 20) ?? exact
            var size: UInt64
            if !kinds.contains(kind) {
                // What does not fail has ample room.
                let all = alignUp(Self.need(content, kind) { _ in false }, 1 << 20) ?? 0
                size = all.addingReportingOverflow(all).partialValue
                size = size.addingReportingOverflow(4 << 20 * (bridges + 1)).partialValue
                if kind == .memory { size = min(size, 256 << 20) }
            } else if room == .ofReport {
                guard let bridge = cut.bridge else { return nil }
                size = window(kind, of: bridge) ?? 0
            } else {
                size = placed
            }
            size = min(size, 1 << 38)
            let built = max((size + (2 << 20) - 1) & ~((2 << 20) - 1), 2 << 20)
            if kinds.contains(kind), built > size {
                // Firmware gives a port no less than 2 MiB: what is too much is filled.
                let fillers = Self.fillers(built - size, kind, leaving: smallestFailing(content, kind))
                if placed == 0, content.count == 1, content[0].device.portType == .bridgeToPCI {
                    // Behind the bridge, whose window then is too large as a whole.
                    let device = UInt8(truncatingIfNeeded: content[0].children.count + 1)
                    guard device < 31 else { return nil }
                    content[0].children += CardBuilder.numbered(fillers.map { EmulatedNode($0) }, device: device)
                    if kind == .memory { reserve.memory = built } else { reserve.prefetchable64 = built }
                    continue
                }
                guard content.count + fillers.count <= 8 else { return nil }
                content += fillers.map { EmulatedNode($0) }
            }
            if kind == .memory { reserve.memory = built } else { reserve.prefetchable64 = built }
        }
        if kinds.contains(.memory) || kinds.contains(.prefetchable) {
            if cut.bridge == nil {
                remarks.append("\(address): a slot without further room stands for the host bridge's apertures")
            } else if room == .asPlaced {
                remarks.append("\(address): its windows are built as large as what was placed in them")
            }
        }
        var port = EmulatedNode(.rootPort(reserve), bridge: address)
        port.plugged = CardBuilder.numbered(content, device: 0)
        set(reserve, of: &port)
        return Candidate(port: port, remarks: remarks)
    }

    private func set(_ reserve: PortReserve, of port: inout EmulatedNode) {
        port.device = .rootPort(reserve)
        port.reserve = reserve
    }

    /// The functions of the same device.
    private func siblings(of i: Int) -> [Int] {
        let address = topology.functions[i].address
        return topology.functions.indices.filter {
            let other = topology.functions[$0]
            return other.address.segment == address.segment && other.address.bus == address.bus
                && other.address.device == address.device && !other.isVirtual && !other.isBridge
        }
    }

    private func failingKinds(_ nodes: [EmulatedNode]) -> [ResourceKind] {
        nodes.flatMap(\.all).flatMap { node in
            node.standIns.filter { failing.contains(ResourceKey($0.address, $0.index)) }
                .compactMap { topology[$0.address]?.resource($0.index)?.kind }
        }
    }

    /// The bytes that a bus needs for what is on it, without what `isExcluded`.
    private static func need(
        _ nodes: [EmulatedNode],
        _ kind: ResourceKind,
        _ isExcluded: (StandIn) -> Bool
    ) -> UInt64 {
        var sum: UInt64 = 0
        for node in nodes {
            for bar in node.device.blocks where !bar.isIO && bar.isPrefetchable == (kind == .prefetchable) {
                if node.standIns.contains(where: { $0.bar == bar.index && isExcluded($0) }) { continue }
                sum = sum.addingReportingOverflow(max(bar.size, 4096)).partialValue
            }
            if node.device.bridge != nil {
                let below = alignUp(need(node.children, kind, isExcluded), 1 << 20) ?? 0
                sum = sum.addingReportingOverflow(below).partialValue
            }
        }
        return sum
    }

    /// The size of the smallest BAR of a kind that fails; 4 KiB at least.
    private func smallestFailing(_ nodes: [EmulatedNode], _ kind: ResourceKind) -> UInt64 {
        let sizes = nodes.flatMap(\.all).flatMap { node in
            node.device.blocks.filter { bar in
                !bar.isIO && bar.isPrefetchable == (kind == .prefetchable)
                    && node.standIns.contains {
                        $0.bar == bar.index && failing.contains(ResourceKey($0.address, $0.index))
                    }
            }.map(\.size)
        }
        return max(sizes.min() ?? 4096, 4096)
    }

    /// Devices that take up `size` bytes between them, largest first, until less than `least` is left.
    private static func fillers(_ size: UInt64, _ kind: ResourceKind, leaving least: UInt64) -> [EmulatedDevice] {
        var result: [EmulatedDevice] = []
        var left = size
        var next: UInt64 = 1 << 20
        while next >= 4096, left >= least {
            guard left >= next else {
                next >>= 1
                continue
            }
            switch kind {
            case .memory where next == 1 << 20: result.append(.edu)
            case .memory:
                // A controller has none of 8 KiB.
                guard let device = next == 4096 ? .fourKiB : EmulatedDevice.controller(next) else {
                    next >>= 1
                    continue
                }
                result.append(device)
            default: result.append(.sharedMemory(next))
            }
            left -= next
        }
        return result
    }

    // MARK: Reducing

    /// The devices from which on a machine is too large to come up in emulation in a few minutes.
    static let largest = 40
    /// The most boots of the twin that a reduction may take.
    private static let mostTrials = 400

    /// The machine without what the failure does not need, when it is a large one: largest parts first, each left out when
    /// the twin then shows the same lines and no more.
    func reduced(_ found: Found) -> Found {
        let size = found.machine.ports.flatMap(\.all).count
        guard size > Self.largest else { return found }
        // `judge` adds the port that only takes up room anew.
        var ports = found.machine.ports.filter { $0.bridge != nil || !$0.children.isEmpty || !$0.plugged.isEmpty }
        var best = found
        let parts = ports.flatMap(\.all).filter { node in
            node.reserve == nil
                && !node.all.contains { part in
                    !part.plugged.isEmpty || part.bridge.map { busless.contains($0) } ?? false
                        || part.standIns.contains { failing.contains(ResourceKey($0.address, $0.index)) }
                }
        }
        var trials = 0
        var gone: Set<Int> = []
        for part in parts.sorted(by: { ($0.all.count, $1.number) > ($1.all.count, $0.number) }) {
            guard trials < Self.mostTrials, !gone.contains(part.number) else { continue }
            trials += 1
            let fewer = ports.map { $0.without(part.number) }
            guard let other = judge(fewer, found.remarks), other.missing == best.missing,
                other.lines.count == best.lines.count, other.extra.count <= best.extra.count
            else { continue }
            ports = fewer
            best = other
            gone.formUnion(part.all.map(\.number))
        }
        if !gone.isEmpty {
            best.remarks.append("\(gone.count) of \(size) devices are left out: it fails without them as well")
        }
        return best
    }

    // MARK: Judging

    /// What a machine of these ports shows; nil when it does not start. Where something that wants ports finds them, the
    /// machine in which the kernel leaves the free ones alone.
    private func judge(_ ports: [EmulatedNode], _ remarks: [String]) -> Found? {
        let found = judge(ports, remarks, lacksPorts: false)
        guard found.map({ $0.missing > 0 }) ?? true, failingKinds(ports).contains(.io),
            let other = judge(ports, remarks, lacksPorts: true)
        else { return found }
        return found.map { other.isNearer(than: $0) } ?? true ? other : found
    }

    private func judge(_ ports: [EmulatedNode], _ remarks: [String], lacksPorts: Bool) -> Found? {
        var ports = ports
        if ports.contains(where: { ($0.reserve?.prefetchable64 ?? 0) > 2 << 20 }) {
            // With more than fits below 4 GiB firmware lays 64-bit windows above, where their start is aligned.
            var filler = EmulatedNode(.rootPort(PortReserve()))
            set(PortReserve(prefetchable64: 1 << 30), of: &filler)
            ports.append(filler)
        }
        var machine = EmulatedMachine(ports, event: event, lacksPorts: lacksPorts)
        guard let trial = try? MachineTrial(machine, behaviour: behaviour, words: words) else { return nil }
        machine.rootBuses = trial.rootBuses
        var found = Found(
            machine: machine,
            lines: [],
            missing: 0,
            extra: [],
            noise: 0,
            remarks: remarks,
            parameters: trial.parameters,
            commands: machine.plugCommands(trial.slots)
        )
        for node in machine.ports.flatMap(\.all) {
            guard let guest = trial.addresses[node.number] else { continue }
            for bar in node.device.blocks {
                guard let index = ResourceIndex(bar.index) else { continue }
                let fails = trial.failing.contains(.init(node: node.number, index: index))
                if fails { found.besides.append("\(guest) \(index) \(bar.wish)") }
                guard let standIn = node.standIns.first(where: { $0.bar == bar.index }),
                    let resource = topology[standIn.address]?.resource(standIn.index)
                else {
                    if fails, !bar.isIO { found.noise += 1 }
                    continue
                }
                if failing.contains(ResourceKey(standIn.address, standIn.index)) {
                    if !fails { found.missing += 1 }
                    found.lines.append(
                        Reproduction.Line(
                            report: standIn.address,
                            reportIndex: standIn.index,
                            reportText: resource.wish,
                            guest: guest,
                            guestIndex: index,
                            guestText: bar.wish,
                            difference: standIn.difference
                        )
                    )
                } else if fails, !resource.lacksAddress {
                    found.extra.append("\(standIn.address) \(standIn.index)")
                }
            }
            if let bridge = node.bridge, node.device.portType != .rootPort {
                let fails = trial.failing.contains(.init(node: node.number, index: nil))
                if fails { found.besides.append("\(guest) bus") }
                if busless.contains(bridge) {
                    if !fails { found.missing += 1 }
                    found.lines.append(
                        Reproduction.Line(
                            report: bridge,
                            reportIndex: nil,
                            reportText: "",
                            guest: guest,
                            guestIndex: nil,
                            guestText: "",
                            difference: nil
                        )
                    )
                } else if fails {
                    found.extra.append("\(bridge) bus numbers")
                }
            }
        }
        // What the kernel does not find cannot fail.
        let shown = Set(found.lines.map(\.reportKey)).count
        let wanted = Set(machine.ports.flatMap(\.all).flatMap(\.standIns).map { ResourceKey($0.address, $0.index) })
            .intersection(failing).count
        found.missing += max(wanted - shown, 0)
        let keys = Set(found.lines.map(\.key))
        found.besides.removeAll { keys.contains($0) }
        found.lines.sort { ($0.guest, $0.guestIndex?.rawValue ?? 0) < ($1.guest, $1.guestIndex?.rawValue ?? 0) }
        return found
    }
}

extension ReproductionSearch.Found {
    /// Whether this machine shows the failure better than another.
    func isNearer(than other: Self) -> Bool {
        (missing, extra.count, noise) < (other.missing, other.extra.count, other.noise)
    }
}

extension Resource {
    /// What it asks for in the kernel's words: `[mem size 0x40000000 64bit pref]`.
    fileprivate var wish: String {
        CardBAR.wish(size: wanted ?? 0, isIO: flags.contains(.io), suffix: typeSuffix)
    }
}

extension CardBAR {
    /// What it asks for in the kernel's words.
    fileprivate var wish: String {
        Self.wish(size: size, isIO: isIO, suffix: (is64Bit ? " 64bit" : "") + (isPrefetchable ? " pref" : ""))
    }

    fileprivate static func wish(size: UInt64, isIO: Bool, suffix: String) -> String {
        "[\(isIO ? "io " : "mem") size \(hex(size, width: isIO ? 4 : 8))\(suffix)]"
    }
}

extension EmulatedNode {
    /// The node without the one of that number, which is somewhere behind it, and all behind that.
    fileprivate func without(_ number: Int) -> EmulatedNode {
        var copy = self
        copy.children = children.filter { $0.number != number }.map { $0.without(number) }
        copy.plugged = plugged.filter { $0.number != number }.map { $0.without(number) }
        return copy
    }
}
