// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import RebalancePlanner

/// Holds a plan against a machine in thought, write by write, with rules of its own: what must be so before each write, what
/// registers forward after it, and what has to be there at the end.
///
/// The twin says what the kernel does with a write; that is tested against kernels. Everything else is worked out here from
/// registers and lines, without a line of the planner.
struct PlanAudit {
    let topology: Topology
    let behaviour: KernelBehaviour
    let constraints: Constraints
    let plan: Plan

    private var twin: LinuxTwin
    private var now: Topology
    private let found = Faults()
    private final class Faults { var list: [String] = [] }

    /// A function whatever its number is: by its place, a VF by its physical function's and its number among the VFs.
    private struct Place: Hashable {
        var path: TopologyPath
        var virtual: Int?
    }

    /// Places of what was taken away at least once, with the bridges, the VFs and everything below.
    private var stopped: Set<Place> = []

    init(_ topology: Topology, _ behaviour: KernelBehaviour, _ constraints: Constraints, _ plan: Plan) throws {
        self.topology = topology
        self.behaviour = behaviour
        self.constraints = constraints
        self.plan = plan
        twin = try LinuxTwin(topology, behaviour: behaviour)
        now = try twin.topology()
    }

    /// What is wrong with the plan, a sentence each.
    static func faults(
        _ topology: Topology,
        _ behaviour: KernelBehaviour,
        _ constraints: Constraints,
        _ plan: Plan
    ) throws -> [String] {
        var audit = try PlanAudit(topology, behaviour, constraints, plan)
        try audit.go()
        return audit.found.list
    }

    private mutating func go() throws {
        expect(plan.before == TreeState(topology), "the tree before is not the machine's")
        for (n, step) in plan.steps.enumerated() {
            try checkPreconditions(n, step)
            for (k, write) in step.writes.enumerated() {
                try check(write, n, k)
                guard try perform(write) else { return }
            }
            expect(step.after == TreeState(now), "step \(n + 1): the tree after it is not the one foretold")
            checkRegistersAfter(n, step)
            checkForwarding(n)
            checkWayBack(n, step)
        }
        expect(plan.after == TreeState(now), "the tree at the end is not the one foretold")
        checkEnd()
        checkDisturbed()
    }

    private func expect(_ condition: Bool, _ fault: @autoclosure () -> String) {
        if !condition { found.list.append(fault()) }
    }

    // MARK: - The machine

    private mutating func perform(_ write: SystemWrite) throws -> Bool {
        let operation: TwinOperation
        switch write {
        case .remove(let x): operation = .remove(x)
        case .rescanBus(let segment, let bus): operation = .rescanBus(segment: segment, bus: bus)
        case .rescanDevice(let x): operation = .rescanDevice(x)
        case .rescanAll: operation = .rescan
        case .resizeBAR(let x, let bar, let exponent): operation = .resizeBAR(x, bar: bar, exponent: exponent)
        case .resourceAlignment(let text): operation = .resourceAlignment(text)
        case .sriovNumVFs(let x, let count): operation = .setVFs(x, count)
        case .unbindDriver(let x): operation = .unbind(x)
        case .probeDriver(let x): operation = .bind(x)
        case .config(let x, let offset, let width, let mask, let value):
            guard let old = twin.register(of: x, at: offset, width: width) else {
                found.list.append("\(write): no such register")
                return false
            }
            operation = .writeConfig(x, offset: offset, width: width, value: old & ~mask | value)
        case .slotPower, .driverOverride:
            found.list.append("\(write): not expected in a plan")
            return false
        }
        let events: [TwinEvent]
        do { events = try twin.perform(operation) } catch {
            found.list.append("\(write): \(error)")
            return false
        }
        for event in events {
            switch event {
            case .refused, .fault: found.list.append("\(write): \(event)")
            default: break
            }
        }
        now = try twin.topology()
        return true
    }

    private static func place(_ i: Int, in tree: Topology) -> Place {
        guard let physical = tree.functions[i].physicalFunction, let p = tree.position(of: physical) else {
            return Place(path: tree.path(of: i))
        }
        let virtual = tree.functions.filter { $0.physicalFunction == physical }.map(\.address).sorted()
        return Place(path: tree.path(of: p), virtual: virtual.firstIndex(of: tree.functions[i].address))
    }

    private func place(_ address: FunctionAddress, in tree: Topology) -> Place? {
        tree.position(of: address).map { Self.place($0, in: tree) }
    }

    private func path(_ address: FunctionAddress, in tree: Topology) -> TopologyPath? {
        tree.position(of: address).map { tree.path(of: $0) }
    }

    /// The functions at and below an address now, VFs of what is there included.
    private func subtree(_ address: FunctionAddress) -> [Function] {
        guard let root = path(address, in: now) else { return [] }
        let inside = now.functions.indices.filter { root.isAncestorOrSelf(of: now.path(of: $0)) }
            .map { now.functions[$0] }
        let physical = Set(inside.map(\.address))
        let virtual = now.functions.filter { function in
            function.physicalFunction.map { physical.contains($0) } == true
                && !inside.contains { $0.address == function.address }
        }
        return inside + virtual
    }

    private func original(_ address: FunctionAddress) -> Function? {
        place(address, in: now).flatMap { place in
            topology.functions.indices.first { Self.place($0, in: topology) == place }.map { topology.functions[$0] }
        }
    }

    private static func command(_ function: Function) -> UInt16 { function.config.word(4) ?? 0 }

    // MARK: - Before each write

    private mutating func check(_ write: SystemWrite, _ step: Int, _ k: Int) throws {
        let rest = plan.steps[step].writes[(k + 1)...]
        let later = Array(rest) + plan.steps[(step + 1)...].flatMap(\.writes)
        func isRescan(_ write: SystemWrite) -> Bool {
            switch write {
            case .rescanAll, .rescanBus, .rescanDevice: true
            default: false
            }
        }
        switch write {
        case .remove(let address):
            expect(now[address] != nil, "\(write): nothing is there")
            expect(later.contains(where: isRescan), "\(write): nothing is looked for afterwards")
            for function in subtree(address) { checkRemoval(function, write) }
        case .unbindDriver(let address):
            expect(now[address]?.use.driver != nil, "\(write): no driver is bound")
            expect(
                rest.contains { if case .config(address, 4, 2, _, _) = $0 { true } else { false } }
                    || later.contains { if case .resizeBAR(address, _, _) = $0 { true } else { false } },
                "\(write): without need"
            )
            now[address].map { stop($0) }
        case .probeDriver(let address):
            expect(original(address)?.use.driver != nil, "\(write): it had no driver")
            expect(now[address]?.use.driver == nil, "\(write): its driver is bound")
        case .sriovNumVFs(let address, let count):
            let had = original(address)?.use.enabledVFs ?? 0
            let has = now[address]?.use.enabledVFs ?? 0
            expect(had > 0, "\(write): it had no VFs")
            if count == 0 {
                expect(has > 0, "\(write): it has none")
                let isEarly = stopped.isDisjoint(with: Set(subtree(address).compactMap { place($0.address, in: now) }))
                expect(isEarly, "\(write): late")
                for function in now.functions where function.physicalFunction == address { stop(function) }
            } else {
                expect(count == had, "\(write): it had \(had)")
                expect(has == 0, "\(write): it has \(has)")
                expect(!later.contains { if case .remove = $0 { true } else { isRescan($0) } }, "\(write): early")
            }
        case .resizeBAR(let address, let bar, let exponent):
            expect(now[address]?.use.driver == nil, "\(write): a driver is bound")
            expect(offers(address, bar: bar, exponent: exponent), "\(write): the BAR has no such size")
            now[address].map { stop($0) }
        case .config(let address, let offset, let width, let mask, let value):
            expect(value & ~mask == 0 && offset % width == 0, "\(write): crooked")
            guard let function = now[address] else { return expect(false, "\(write): nothing is there") }
            try checkConfig(write, function, offset, mask, value, rest)
        case .rescanAll, .rescanBus, .rescanDevice, .resourceAlignment, .driverOverride, .slotPower: break
        }
    }

    private mutating func stop(_ function: Function) {
        place(function.address, in: now).map { _ = stopped.insert($0) }
    }

    private mutating func checkRemoval(_ function: Function, _ write: SystemWrite) {
        expect((function.use.enabledVFs ?? 0) == 0, "\(write): \(function.address) has VFs")
        stop(function)
        guard !function.isBridge, !function.isVirtual, let was = original(function.address) else { return }
        if function.use.driver != nil {
            expect(
                Self.command(was) & ~Self.command(function) & 3 == 0,
                "\(write): \(function.address) was made deaf beneath its driver"
            )
        }
        checkMayBeStopped(was, write)
    }

    private func checkMayBeStopped(_ function: Function, _ write: SystemWrite) {
        let isAllowed = constraints.allowDisturb.contains(function.address)
        expect(
            isAllowed || !function.use.evidence.contains(where: \.isProtected),
            "\(write): \(function.address) is in use"
        )
        expect(isAllowed || (function.use.enabledVFs ?? 0) == 0, "\(write): \(function.address) had VFs")
        guard let place = path(function.address, in: topology) else { return }
        for kept in constraints.keep {
            let isBelow = path(kept, in: topology).map { $0.isAncestorOrSelf(of: place) } ?? false
            expect(!isBelow, "\(write): \(function.address) was to be kept")
        }
        if let limit = constraints.onlyBelow.flatMap({ path($0, in: topology) }) {
            expect(limit.isAncestorOrSelf(of: place), "\(write): \(function.address) is outside")
        }
    }

    /// Whether a function's Resizable BAR capability (PCIe 6.0 §7.8.6), read here, has an entry for the BAR that offers
    /// 2^exponent MiB, and where that entry's control register is.
    private func offers(_ address: FunctionAddress, bar: Int, exponent: Int, control: Int? = nil) -> Bool {
        guard let config = now[address]?.config else { return false }
        var at = 0x100
        for _ in 0..<96 {
            guard let header = config.long(at), header != 0, header != .max else { return false }
            if header & 0xffff == 0x15 {
                let count = Int((config.long(at + 8) ?? 0) >> 5 & 7)
                for n in 0..<count {
                    let sizes = (config.long(at + 4 + 8 * n) ?? 0) >> 4
                    let register = config.long(at + 8 + 8 * n) ?? 0
                    guard Int(register & 7) == bar || bar < 0, control == nil || control == at + 8 + 8 * n else {
                        continue
                    }
                    return exponent < 28 && sizes >> UInt32(exponent) & 1 == 1
                }
                return false
            }
            at = Int(header >> 20)
            if at == 0 { return false }
        }
        return false
    }

    private func checkConfig(
        _ write: SystemWrite,
        _ function: Function,
        _ offset: Int,
        _ mask: UInt32,
        _ value: UInt32,
        _ rest: ArraySlice<SystemWrite>
    ) throws {
        let address = function.address
        let below = subtree(address).filter { $0.address != address }
        let isRemoved = rest.contains(.remove(address))
        let present = offset % 4 == 0 ? function.config.long(offset) ?? 0 : 0
        // What a bridge or a function says that is removed next is written as a whole.
        let isOff = offset == 4 && value == 0 || isRemoved && (0x1c...0x30).contains(offset)
        expect((present ^ value) & mask != 0 || isOff, "\(write): it says so already")
        switch offset {
        case 4:
            let off = mask & ~value & UInt32(Self.command(function)) & 3
            let on = value & ~UInt32(Self.command(function))
            if off != 0 {
                expect(function.isBridge ? below.isEmpty : function.use.driver == nil, "\(write): it is in use")
                expect(isRemoved, "\(write): it stays")
            }
            if on != 0, !function.isBridge {
                let had = UInt32(original(address).map(Self.command) ?? 0)
                expect(on & ~had == 0, "\(write): it had \(had & 7)")
                expect(!isRemoved, "\(write): it is removed")
            }
        case 0x18:
            expect(function.isBridge && below.isEmpty, "\(write): something is below")
            expect(isRemoved, "\(write): it stays")
            let first = UInt8(truncatingIfNeeded: value >> 8)
            let last = UInt8(truncatingIfNeeded: value >> 16)
            expect(first > 0 && first <= last, "\(write): no range")
            let hidden = now.functions.filter { other in
                (first...max(first, last)).contains(other.address.bus.rawValue)
                    && other.address.segment == address.segment
                    && !other.isVirtual
            }
            expect(hidden.isEmpty, "\(write): hides \(hidden.map(\.address))")
            let above = now.position(of: address).flatMap { now.parent(of: $0) }.map { now.functions[$0] }
            var outer = above?.bridge?.busRange ?? now.hostBridges[0].busRange
            // The bridge above gets its numbers after all that is below it.
            for case .config(above?.address, 0x18, _, _, let wanted) in rest {
                outer =
                    BusRange(
                        first: BusNumber(UInt8(truncatingIfNeeded: wanted >> 8)),
                        last: BusNumber(UInt8(truncatingIfNeeded: wanted >> 16))
                    ) ?? outer
            }
            expect(value & 0xff == UInt32(outer.first.rawValue), "\(write): below bus \(outer.first)")
            expect(outer.first.rawValue < first && last <= outer.last.rawValue, "\(write): beyond \(outer)")
        case 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30:
            expect(function.isBridge, "\(write): no bridge")
            expect(isRemoved == below.isEmpty || !isRemoved, "\(write): something is below")
            checkForwarding(write, function)
        case 0x100...:
            expect(mask == 0x3f00, "\(write): more than the size")
            expect(Self.command(function) & 2 == 0, "\(write): it decodes memory")
            expect(function.use.driver == nil, "\(write): a driver is bound")
            expect(offers(address, bar: -1, exponent: Int(value >> 8), control: offset), "\(write): no such size")
            expect(isRemoved, "\(write): it stays")
        default: expect(false, "\(write): no plan writes there")
        }
    }

    /// Ranges that a bridge's registers forward, by the PCI-to-PCI bridge specification; empty where closed or not decoded.
    private static func forwarded(_ config: ConfigSpace) -> [(isIO: Bool, first: UInt64, last: UInt64)] {
        var result: [(isIO: Bool, first: UInt64, last: UInt64)] = []
        func byte(_ at: Int) -> UInt64 { UInt64(config.byte(at) ?? 0) }
        func word(_ at: Int) -> UInt64 { UInt64(config.word(at) ?? 0) }
        func long(_ at: Int) -> UInt64 { UInt64(config.long(at) ?? 0) }
        func add(_ isIO: Bool, _ first: UInt64, _ last: UInt64) {
            if first <= last, word(4) & (isIO ? 1 : 2) != 0 { result.append((isIO, first, last)) }
        }
        let io32 = byte(0x1c) & 0xf == 1
        if word(0x1c) != 0 {
            add(
                true,
                (byte(0x1c) & 0xf0) << 8 | (io32 ? word(0x30) << 16 : 0),
                (byte(0x1d) & 0xf0) << 8 | 0xfff | (io32 ? word(0x32) << 16 : 0)
            )
        }
        add(false, (word(0x20) & 0xfff0) << 16, (word(0x22) & 0xfff0) << 16 | 0xf_ffff)
        let is64 = word(0x24) & 0xf == 1
        if long(0x24) != 0 || long(0x28) != 0 || long(0x2c) != 0 {
            add(
                false,
                (word(0x24) & 0xfff0) << 16 | (is64 ? long(0x28) << 32 : 0),
                (word(0x26) & 0xfff0) << 16 | 0xf_ffff | (is64 ? long(0x2c) << 32 : 0)
            )
        }
        return result
    }

    /// After a write to a window register the bridge forwards nothing that is held outside of it, unless it did before: not
    /// even between two of the writes.
    private func checkForwarding(_ write: SystemWrite, _ bridge: Function) {
        guard case .config(let address, let offset, let width, let mask, let value) = write else { return }
        var config = bridge.config
        let old = width == 2 ? UInt32(config.word(offset) ?? 0) : config.long(offset) ?? 0
        config.write(old & ~mask | value, at: offset, width: width)
        guard let root = path(address, in: now) else { return }
        for (isIO, first, last) in Self.forwarded(config) {
            let isNew = !Self.forwarded(bridge.config).contains { $0 == (isIO, first, last) }
            guard isNew else { continue }
            for i in now.functions.indices
            where !now.path(of: i).isAncestorOrSelf(of: root) && !root.isAncestorOrSelf(of: now.path(of: i)) {
                for (index, line) in now.functions[i].lines.byIndex {
                    guard !index.isROM, let range = line.range(of: index), line.flags.contains(.io) == isIO,
                        range.first <= last, first <= range.last
                    else { continue }
                    let stays = Self.forwarded(bridge.config).contains {
                        $0.isIO == isIO && $0.first <= range.last && range.first <= $0.last
                    }
                    expect(stays, "\(write): forwards what \(now.functions[i].address) \(index) holds")
                }
            }
        }
    }

    // MARK: - Around each step

    private func checkPreconditions(_ n: Int, _ step: PlanStep) throws {
        expect(step.preconditions.contains(.treeAsPredicted), "step \(n + 1) begins on any tree")
        var roots: [Function] = []
        for case .remove(let address) in step.writes {
            guard let function = now[address], let place = path(address, in: now) else { continue }
            let isBelow = step.writes.contains { other in
                guard case .remove(let above) = other, above != address else { return false }
                return path(above, in: now).map { $0.isAncestorOrSelf(of: place) } ?? false
            }
            if !isBelow { roots.append(function) }
        }
        for case .unbindDriver(let address) in step.writes {
            if let function = now[address],
                !roots.contains(where: { root in subtree(root.address).contains { $0.address == address } })
            {
                roots.append(function)
            }
        }
        for root in roots {
            let ids = UInt32(root.config.word(0) ?? 0) << 16 | UInt32(root.config.word(2) ?? 0)
            expect(
                step.preconditions.contains(.present(root.address, ids: ids)),
                "step \(n + 1) removes \(root.address), whatever it is"
            )
            for function in subtree(root.address) where !function.isBridge && function.use.driver != nil {
                guard let was = original(function.address) else { continue }
                let isAllowed = constraints.allowDisturb.contains(was.address)
                expect(
                    isAllowed || function.isVirtual || step.preconditions.contains(.notInUse(function.address)),
                    "step \(n + 1) stops \(function.address), whoever uses it"
                )
            }
        }
    }

    private func checkRegistersAfter(_ n: Int, _ step: PlanStep) {
        let looks = step.writes.contains {
            switch $0 {
            case .rescanAll, .rescanBus, .rescanDevice, .resizeBAR: true
            default: false
            }
        }
        if looks {
            for bridge in now.functions where bridge.bridge?.busRange != nil {
                let offsets = Set(step.registersAfter.filter { $0.address == bridge.address }.map(\.offset))
                expect(offsets.isSuperset(of: [0x18, 0x20]), "step \(n + 1) does not look at \(bridge.address)")
            }
        }
        for one in step.registersAfter {
            let value = twin.register(of: one.address, at: one.offset, width: one.width)
            expect(value.map { $0 & one.mask } == one.value, "step \(n + 1): \(one) is \(value as Any)")
        }
    }

    private func checkWayBack(_ n: Int, _ step: PlanStep) {
        let removes = step.writes.contains { if case .remove = $0 { true } else { false } }
        func isRescan(_ write: SystemWrite) -> Bool {
            switch write {
            case .rescanAll, .rescanBus, .rescanDevice: true
            default: false
            }
        }
        if removes {
            let searches = Set(
                plan.steps[(n + 1)...].prefix { next in
                    !next.writes.contains { if case .remove = $0 { true } else { false } }
                }.flatMap(\.writes).filter(isRescan)
            )
            let back = Set(step.wayBack.filter(isRescan))
            expect(
                back == searches || searches.isEmpty && !back.isEmpty,
                "step \(n + 1): looks on \(searches), back on \(back)"
            )
        }
        var lastSearch = -1
        for (k, write) in step.wayBack.enumerated() where isRescan(write) { lastSearch = k }
        for case .sriovNumVFs(let address, 0) in step.writes {
            // The count of the machine as it was: nothing enables VFs before the end.
            let count = topology.functions.first { $0.address == address }?.use.enabledVFs ?? 0
            let again = step.wayBack.firstIndex(of: .sriovNumVFs(address, count: Int(count)))
            expect(again.map { $0 > lastSearch } ?? false, "step \(n + 1): the VFs of \(address) do not come back")
        }
        for case .unbindDriver(let address) in step.writes where !removes {
            expect(step.wayBack.contains(.probeDriver(address)), "step \(n + 1): \(address) stays without driver")
        }
    }

    /// What decodes after a step is reached, if the bridges above it decoded before the plan: a step is looked at when it
    /// ends, not when the plan does.
    private func checkForwarding(_ n: Int) {
        for i in now.functions.indices where !now.functions[i].isBridge && !now.functions[i].isVirtual {
            let needed = Self.command(now.functions[i]) & 3
            for above in now.ancestors(of: i) {
                let bridge = now.functions[above]
                let before = original(bridge.address).map(Self.command) ?? 0
                expect(
                    needed & before & ~Self.command(bridge) == 0,
                    "step \(n + 1): \(bridge.address) forwards no more what \(now.functions[i].address) decodes"
                )
            }
        }
    }

    // MARK: - At the end

    private func checkEnd() {
        expect(twin.alignmentRequests == (topology.kernel.resourceAlignment ?? ""), "an alignment is left")
        let ends = Dictionary(now.functions.indices.map { (Self.place($0, in: now), now.functions[$0]) }) { first, _ in
            first
        }
        for i in topology.functions.indices {
            let was = topology.functions[i]
            guard let function = ends[Self.place(i, in: topology)] else {
                found.list.append("\(was.address) is gone")
                continue
            }
            expect(
                function.identity.vendor == was.identity.vendor && function.identity.device == was.identity.device,
                "\(was.address) is another"
            )
            expect((function.use.enabledVFs ?? 0) == (was.use.enabledVFs ?? 0), "\(was.address) has other VFs")
            expect(function.use.driver == was.use.driver || was.isVirtual, "\(was.address) has another driver")
            expect(was.bridge?.busRange == nil || function.bridge?.busRange != nil, "\(was.address) lost its bus")
            if !was.isBridge, !was.isVirtual {
                expect(Self.command(was) & ~Self.command(function) & 3 == 0, "\(was.address) does not decode any more")
            }
            for (index, line) in was.lines.byIndex where index.isBAR || index.isVFBAR {
                guard let old = line.range(of: index) else { continue }
                let later = function.lines.byIndex.first { $0.0 == index }?.1.range(of: index)
                if case .resize(was.address, Int(index.rawValue), _) = plan.goals[0] {
                    expect(later != nil, "\(was.address) \(index) lost its address")
                } else {
                    expect(
                        later.map { $0.last - $0.first >= old.last - old.first } ?? false,
                        "\(was.address) \(index) lost its address"
                    )
                }
                if let later, later != old {
                    expect(later.last <= constraints.highestAddress ?? .max, "\(was.address) \(index) above the limit")
                    expect(
                        later.first % (later.last - later.first + 1) == 0 || index.isVFBAR,
                        "\(was.address) \(index) is crooked"
                    )
                }
            }
        }
        func problems(_ tree: Topology) -> Set<String> {
            Set(
                tree.findings().filter { $0.severity == .problem }.map { finding in
                    "\(path(finding.address, in: tree)?.description ?? "") \(finding.code) \(finding.resource as Any)"
                }
            )
        }
        let added = problems(now).subtracting(problems(topology))
        expect(added.isEmpty, "new problems: \(added.sorted())")
        if plan.isWhole, plan.goals == [.everythingRequired] {
            expect(problems(now).isEmpty, "left: \(problems(now).sorted())")
        }
        checkGoals(ends)
    }

    private func checkGoals(_ ends: [Place: Function]) {
        guard plan.isWhole else { return }
        for goal in plan.goals {
            switch goal {
            case .resize(let address, let bar, let size):
                guard let size, let place = place(address, in: topology), let index = ResourceIndex.bar(bar) else {
                    continue
                }
                expect(ends[place]?.resource(index)?.range?.size == size.rawValue, "\(goal) is not reached")
            case .virtualFunctions(let address, let count):
                // Room for the VF BARs, by size of one times their number.
                guard let place = place(address, in: topology), let function = ends[place] else { continue }
                for number in 0..<6 {
                    guard let index = ResourceIndex.vfBAR(number), function.resource(index)?.size != nil else {
                        continue
                    }
                    expect(
                        function.resource(index)?.range != nil,
                        "\(goal): VF BAR \(number) has no address for \(count)"
                    )
                }
            case .reserve(let address, let room):
                guard let place = place(address, in: topology), let function = ends[place] else { continue }
                for (bytes, index) in [
                    (room.io, ResourceIndex.ioWindow), (room.memory, .memoryWindow),
                    (room.prefetchable, .prefetchableWindow),
                ] where bytes.rawValue > 0 {
                    let size = function.resource(index)?.range?.size ?? 0
                    expect(size >= bytes.rawValue, "\(goal): \(index) has \(size)")
                }
                let numbers = function.bridge?.busRange?.count ?? 0
                expect(room.buses == 0 || numbers >= room.buses + 1, "\(goal): \(numbers) numbers")
            case .located(let address, let bar, let start):
                guard let place = place(address, in: topology), let index = ResourceIndex.bar(bar) else { continue }
                expect(ends[place]?.resource(index)?.range?.first == start, "\(goal) is not reached")
            case .everythingRequired, .place, .compact, .restore: break
            }
        }
    }

    private func checkDisturbed() {
        let places = Dictionary(
            topology.functions.indices.map { (topology.functions[$0].address, Self.place($0, in: topology)) }
        ) { a, _ in a }
        let ends = Dictionary(now.functions.indices.map { (Self.place($0, in: now), now.functions[$0]) }) { first, _ in
            first
        }
        let expected = topology.functions.filter { function in
            places[function.address].map { stopped.contains($0) } ?? false
        }
        let listed = plan.disturbed.map(\.address)
        expect(listed == expected.map(\.address).sorted(), "stopped \(expected.map(\.address)), listed \(listed)")
        var cost = 0
        for one in plan.disturbed {
            guard let function = topology[one.address], let later = places[one.address].flatMap({ ends[$0] }) else {
                continue
            }
            var weight = function.use.evidence.reduce(0) { $0 + $1.weight }
            if !function.isBridge, !function.isVirtual { weight += function.use.driver == nil ? 1 : 10 }
            cost += weight
            expect(one.weight == weight, "\(one.address) weighs \(weight), stated \(one.weight)")
            expect(one.newAddress == later.address, "\(one.address) becomes \(later.address), stated \(one.newAddress)")
            let effect: Disturbance.Effect =
                later.address != one.address ? .renumbered : later.lines != function.lines ? .moved : .stopped
            expect(one.effect == effect, "\(one.address) is \(effect), stated \(one.effect)")
        }
        if case .bestOfSearched(let stated, let bound) = plan.proof {
            expect(stated == cost && bound <= cost, "costs \(cost), stated \(stated), at least \(bound)")
        }
        if let most = constraints.maxMoves {
            expect(plan.disturbed.count { $0.weight > 0 } <= most, "more than \(most) are disturbed")
        }
    }
}
