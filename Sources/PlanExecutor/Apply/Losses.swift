// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Something that a function had before and has no longer.
///
/// Functions are the same when they stand at the same place in the tree with the same ids; their bus numbers and
/// addresses may be others.
enum Loss: Hashable {
    /// The function is gone.
    case function(FunctionState)
    /// The bridge has no bus any more.
    case bus(FunctionState)
    /// The BAR or VF BAR has no address any more, or fewer bytes.
    case resource(FunctionState, ResourceIndex, was: ResourceLine, is: ResourceLine)
    /// The registers of the function do not hold what the kernel shows; it cannot be reached.
    case unreachable(FunctionState, String)
    /// No driver is bound any more.
    case driver(FunctionState, was: String)
    /// The function does not answer to its addresses any more.
    case decode(FunctionState, missing: Command)
    /// The function may send larger payloads than the bridge above takes.
    case payload(FunctionState, size: Int, above: Int)

    /// The function, as it stands now, or as it stood before when it is gone.
    var function: FunctionState {
        switch self {
        case .function(let f), .bus(let f), .resource(let f, _, _, _), .unreachable(let f, _),
            .driver(let f, _), .decode(let f, _),
            .payload(let f, _, _):
            f
        }
    }

    /// Whether the function itself, its bus or one of its addresses is lost, so that only the kernel's allocator can help.
    var needsRescan: Bool {
        switch self {
        case .function, .bus, .resource, .unreachable: true
        case .driver, .decode, .payload: false
        }
    }
}

extension Loss: CustomStringConvertible {
    /// A lower-case sentence with what was before and is now.
    var description: String {
        switch self {
        case .function(let f): "\(f.address) was there, is gone"
        case .bus(let f): "\(f.address) had a bus, has none"
        case .resource(let f, let index, let was, let line):
            "\(f.address) \(index) was \(was), is \(line)"
        case .unreachable(_, let sentence): sentence
        case .driver(let f, let was): "\(f.address) had the driver \(was), has none"
        case .decode(let f, let missing): "\(f.address) lost decode bits \(hex(UInt64(missing.rawValue))) of COMMAND"
        case .payload(let f, let size, let above):
            "\(f.address) may send payloads of \(size) bytes, the bridge above takes \(above)"
        }
    }
}

/// A BAR or ROM that the kernel holds more bytes for than it did in an earlier tree.
///
/// An alignment that was asked for when the function was found (`resource_alignment`) rounds sizes up, and they stay so when
/// the text is cleared, until the function is found anew.
struct Enlargement: Hashable, CustomStringConvertible {
    /// The function as it stands now.
    var function: FunctionState
    /// Which of its resources.
    var index: ResourceIndex
    /// The size in the earlier tree.
    var was: ByteCount
    /// The size now.
    var size: ByteCount

    /// `0000:01:00.0 BAR 0 is taken to need 256 MiB, needs 1 MiB`.
    var description: String { "\(function.address) \(index) is taken to need \(size), needs \(was)" }
}

/// A function's place and ids: the same device, whatever its bus number.
struct FunctionKey: Hashable, Comparable {
    let path: TopologyPath
    let ids: UInt32

    init(_ function: FunctionState) { self.init(function.place, function.ids) }

    fileprivate init(_ place: TopologyPath, _ ids: UInt32) {
        path = place
        self.ids = ids
    }

    /// All that a function may be known by: more than one where nobody can tell where it stands.
    fileprivate static func all(of function: FunctionState) -> [FunctionKey] {
        [FunctionKey(function)] + function.otherPlaces.map { FunctionKey($0, function.ids) }
    }

    static func < (a: FunctionKey, b: FunctionKey) -> Bool { (a.path, a.ids) < (b.path, b.ids) }
}

/// The functions of two trees paired by place and ids; VFs on buses of their own share a place and pair in address order.
///
/// The place is the one by the wires (`FunctionState.place`): a function that answered behind another bridge than its own,
/// or on a root bus that the kernel made up for it, is the same when it comes back where it belongs. A function that the
/// kernel listed twice was one. Where several bridges claim a function's bus it may turn out to stand behind any of them.
struct FunctionPairs {
    /// Functions of the first tree with their counterpart in the second, in address order of the first.
    let pairs: [(before: FunctionState, now: FunctionState?)]

    init(_ before: TreeState, _ now: TreeState) {
        var waiting: [FunctionKey: [FunctionState]] = [:]
        for function in now.functions.reversed() { waiting[FunctionKey(function), default: []].append(function) }
        var last: [FunctionKey: (path: TopologyPath, now: FunctionState)] = [:]
        var pairs: [(before: FunctionState, now: FunctionState?)] = []
        for function in before.functions {
            let key = FunctionKey(function)
            if let found = waiting[key]?.popLast() {
                pairs.append((function, found))
                last[key] = (function.path, found)
            } else {
                let twin = last[key].flatMap { $0.path != function.path ? $0.now : nil }
                pairs.append((function, twin))
            }
        }
        if pairs.contains(where: { $0.now == nil }) {
            Self.pairInDoubt(&pairs, waiting.values.joined().sorted { $0.address < $1.address })
        }
        self.pairs = pairs
    }

    /// Finds who is left by the places where they may stand, each function once: behind another bridge that claims their
    /// bus, or, of what stood on a root bus that the kernel made up, anywhere below the bridge that passes that bus on.
    private static func pairInDoubt(
        _ pairs: inout [(before: FunctionState, now: FunctionState?)],
        _ left: [FunctionState]
    ) {
        var byKey: [FunctionKey: [FunctionState]] = [:]
        for function in left.reversed() {
            for key in FunctionKey.all(of: function) { byKey[key, default: []].append(function) }
        }
        var taken: Set<FunctionAddress> = []
        for i in pairs.indices where pairs[i].now == nil {
            let before = pairs[i].before
            let found =
                FunctionKey.all(of: before).lazy.compactMap { key in
                    byKey[key]?.last { !taken.contains($0.address) }
                }.first
                ?? left.first { !taken.contains($0.address) && $0.ids == before.ids && before.mayStand(at: $0.place) }
            guard let found else { continue }
            taken.insert(found.address)
            pairs[i].now = found
        }
    }
}

extension FunctionState {
    /// Whether a function on a root bus that the kernel made up may stand at `place`: of the way to it, all between the
    /// bridge that passes the bus on and the bus itself was out of sight.
    fileprivate func mayStand(at place: TopologyPath) -> Bool {
        guard self.place.rootBus != path.rootBus || self.place.segment != path.segment else { return false }
        let home = self.place.hops.dropLast(path.hops.count + 1)
        return place.segment == self.place.segment && place.rootBus == self.place.rootBus
            && place.hops.count >= self.place.hops.count && place.hops.starts(with: home)
            && place.hops.suffix(path.hops.count) == path.hops[...]
    }
}

extension TreeState {
    /// What this tree had that `now` has not: functions, buses, addresses of BARs and VF BARs.
    ///
    /// A resource that shrank is a loss unless sizes are ignored.
    func losses(in now: TreeState, ignoringSizes: Bool = false) -> [Loss] {
        var losses: [Loss] = []
        for (before, found) in FunctionPairs(self, now).pairs {
            guard let found else {
                losses.append(.function(before))
                continue
            }
            if before.busRange != nil, found.busRange == nil { losses.append(.bus(found)) }
            for (index, was, line) in before.lines.pairs(with: found.lines) where index.isBAR || index.isVFBAR {
                guard let old = was.range(of: index) else { continue }
                if let new = line.range(of: index), ignoringSizes || new.last - new.first >= old.last - old.first {
                    continue
                }
                losses.append(.resource(found, index, was: was, is: line))
            }
        }
        return losses
    }

    /// The BARs and ROMs that `now` shows with more bytes than this tree did, placed or not.
    ///
    /// Of a resource whose line was empty nobody knows how large it was.
    func enlargements(in now: TreeState) -> [Enlargement] {
        var result: [Enlargement] = []
        for case (let before, let found?) in FunctionPairs(self, now).pairs {
            for (index, was, line) in before.lines.pairs(with: found.lines) where index.isBAR || index.isROM {
                guard let old = was.size, let new = line.size, new > old else { continue }
                result.append(Enlargement(function: found, index: index, was: old, size: new))
            }
        }
        return result
    }

    /// This tree with the root buses numbered as in `now`, in their order.
    ///
    /// Firmware may number host bridges otherwise after every boot. Where there are more or fewer of them than before,
    /// nobody can say which is which, and the tree stays as it is.
    func withRootBuses(of now: TreeState) -> TreeState {
        struct Root: Hashable, Comparable {
            let segment: UInt32
            let bus: BusNumber

            init(_ path: TopologyPath) {
                segment = path.segment
                bus = path.rootBus
            }

            static func < (a: Root, b: Root) -> Bool { (a.segment, a.bus) < (b.segment, b.bus) }
        }
        let old = Set(functions.map { Root($0.path) }).sorted()
        let new = Set(now.functions.map { Root($0.path) }).sorted()
        guard old != new, old.count == new.count, old.map(\.segment) == new.map(\.segment) else { return self }
        let roots = Dictionary(uniqueKeysWithValues: zip(old, new))
        var result = self
        for i in result.functions.indices {
            let path = result.functions[i].path
            let place = result.functions[i].place
            if let root = roots[Root(path)] {
                result.functions[i].path = TopologyPath(segment: root.segment, rootBus: root.bus, hops: path.hops)
            }
            if let root = roots[Root(place)] {
                result.functions[i].place = TopologyPath(segment: root.segment, rootBus: root.bus, hops: place.hops)
            }
        }
        return result
    }

    /// What the functions of this tree had beyond their resources, by the records, that those of `now` have not, by
    /// their health.
    func healthLosses(_ records: [HealthRecord], in now: TreeState, _ health: [FunctionHealth]) -> [Loss] {
        let recorded = Dictionary(records.map { ($0.address, $0) }) { a, _ in a }
        let current = Dictionary(health.map { ($0.address, $0) }) { a, _ in a }
        let payloads = Dictionary(now.functions.map { ($0.path, current[$0.address]?.maxPayloadSize) }) { a, _ in a }
        let payloadsBefore = Dictionary(functions.map { ($0.path, recorded[$0.address]?.maxPayloadSize) }) { a, _ in a }
        var losses: [Loss] = []
        for (before, found) in FunctionPairs(self, now).pairs {
            guard let found, let was = recorded[before.address], let sign = current[found.address] else { continue }
            if let driver = was.driver, sign.driver == nil { losses.append(.driver(found, was: driver)) }
            let missing = was.decode.subtracting(sign.decode).intersection(found.placedSpaces)
            if !missing.isEmpty { losses.append(.decode(found, missing: missing)) }
            if let above = before.path.above, let size = sign.maxPayloadSize, let limit = payloads[above] ?? nil,
                let sizeBefore = was.maxPayloadSize, let limitBefore = payloadsBefore[above] ?? nil,
                sizeBefore <= limitBefore, size > limit
            {
                losses.append(.payload(found, size: size, above: limit))
            }
        }
        return losses
    }
}

extension FunctionState {
    /// The decode bits that the addresses of the function call for; windows of a bridge count.
    var placedSpaces: Command { spaces { $0.isBAR || $0.isWindow } }

    /// The decode bits that its BARs call for: what a bridge forwards is asked of what is below it.
    var barSpaces: Command { spaces(of: \.isBAR) }

    private func spaces(of isMeant: (ResourceIndex) -> Bool) -> Command {
        var result: Command = []
        for (index, line) in lines.byIndex where isMeant(index) {
            if line.range(of: index) != nil { result.insert(line.flags.contains(.io) ? .ioSpace : .memorySpace) }
        }
        return result
    }
}

extension TopologyPath {
    /// The place of the bridge above, or nil on a root bus.
    var above: TopologyPath? {
        hops.count > 1 ? TopologyPath(segment: segment, rootBus: rootBus, hops: Array(hops.dropLast())) : nil
    }
}
