// SPDX-License-Identifier: GPL-2.0-or-later

/// Why a resource has no address: the windows above it, nearest first, up to the first that has room.
struct RoomAnalysis {
    /// One sentence for each window on the way, nearest first.
    var causes: [String] = []
    /// The functions whose resources keep a window that is too small where it is.
    var pins: [FunctionAddress] = []
}

extension Topology {
    /// The window of the bridge at index `i` that would carry `resource`, or nil when the bridge has none of the kind.
    ///
    /// I/O goes to window 13. Prefetchable memory goes to window 15, unless that is 64 bits wide and the resource is
    /// not; everything else goes to window 14. Source: `pbus_select_window`, `pci_bus_size_bridges`.
    public func window(ofBridge i: Int, carrying resource: Resource) -> Resource? {
        switch resource.kind {
        case .io: return functions[i].resource(.ioWindow)
        case .prefetchable:
            if let pref = functions[i].resource(.prefetchableWindow), resource.is64Bit || !pref.is64Bit { return pref }
            return functions[i].resource(.memoryWindow)
        case .memory, nil: return functions[i].resource(.memoryWindow)
        }
    }

    /// Looks for room for `resource` of the function at index `i`, upwards from its bridge.
    func analyzeRoom(for resource: Resource, of i: Int) -> RoomAnalysis {
        var analysis = RoomAnalysis()
        guard resource.kind != nil else { return analysis }
        let need = resource.size?.rawValue
        let alignment = resource.alignment?.rawValue ?? need ?? 1
        for p in ancestors(of: i) {
            let bridge = functions[p]
            let isTold = bridge.knowledge.windows == .seen
            guard let window = window(ofBridge: p, carrying: resource) else {
                let kind = resource.kind == .io ? "I/O" : "memory"
                if isTold, !bridge.resources.isEmpty {
                    analysis.causes.append("\(bridge.address) has no \(kind) window")
                }
                continue
            }
            let name = "\(window.index) of \(bridge.address)"
            guard let range = window.range else {
                guard isTold || window.assignment != .closed else { continue }
                analysis.causes.append(
                    "\(name) \(window.assignment == .closed ? "is closed" : "has no address")"
                )
                continue
            }
            let space = occupancy(of: range, isIO: resource.kind == .io, belowBridge: p)
            guard let need else {
                analysis.causes.append("\(name) has \(space.largestFreeBlock) free in one block")
                return analysis
            }
            if space.fits(size: need, alignment: alignment) {
                let untold = untoldHolders(among: children(of: p))
                analysis.causes.append(
                    "\(name) \(window.kernelText) "
                        + (untold.isEmpty
                            ? "has room, \(space.freeBytes) free"
                            : "has at most \(space.freeBytes) free: what \(untold.listed(3)) "
                                + "\(untold.count == 1 ? "holds" : "hold") there is not told")
                )
                return analysis
            }
            var sentence = "\(name) \(window.kernelText) is \(ByteCount(range.clampedSize)), "
            sentence += space.free.isEmpty ? "full" : "largest free block \(space.largestFreeBlock)"
            let holders = leaves(of: space, isIO: resource.kind == .io, below: p)
            let pins = Array(holders.map(\.address).uniqued())
            if !holders.isEmpty, pins != analysis.pins {
                sentence += "; pinned by \(holders.map(\.text).listed(4))"
                for pin in pins where !analysis.pins.contains(pin) { analysis.pins.append(pin) }
            }
            analysis.causes.append(sentence)
        }
        appendApertures(for: resource, of: i, need: need, alignment: alignment, to: &analysis)
        return analysis
    }

    /// Those of `functions` of whose addresses nothing was told, or that are bridges with windows that were not told.
    private func untoldHolders(among functions: [Int]) -> [FunctionAddress] {
        functions.map { self.functions[$0] }.filter {
            $0.knowledge.resources == .unseen || $0.isBridge && $0.knowledge.windows != .seen
        }.map(\.address)
    }

    private func appendApertures(
        for resource: Resource,
        of i: Int,
        need: UInt64?,
        alignment: UInt64,
        to analysis: inout RoomAnalysis
    ) {
        let h = host(of: i)
        guard h >= 0, let need else { return }
        let isIO = resource.kind == .io
        let obstacle = narrowness(of: resource, at: i)
        let all = hostBridges[h].apertures.filter { $0.isIO == isIO && !$0.isLegacyMemory }
        guard !all.isEmpty else { return }
        let reachable = obstacle == nil ? all : all.compactMap(\.lower4GiB)
        let spaces = reachable.map { (aperture: $0, space: occupancy(of: $0, host: h)) }
        let beyond =
            obstacle == nil
            ? nil
            : all.filter { ($0.busRange ?? $0.range).last > 0xffff_ffff }
                .map { (aperture: $0, space: occupancy(of: $0, host: h)) }
                .first { $0.space.fits(size: need, alignment: alignment) }
        if let roomy = spaces.filter({ $0.space.fits(size: need, alignment: alignment) })
            .max(by: { $0.space.largestFreeBlock < $1.space.largestFreeBlock })
        {
            analysis.causes.append(
                "the host bridge has room: \(roomy.aperture.kernelText) has \(roomy.space.freeBytes) free, "
                    + "largest block \(roomy.space.largestFreeBlock)"
            )
            return
        }
        let largest = spaces.map(\.space.largestFreeBlock).max() ?? .zero
        let which = "\(count(spaces.count, "aperture", "apertures"))\(obstacle == nil ? "" : " below 4 GiB")"
        analysis.causes.append(
            "the host bridge has no room either: the largest free block of its \(which) is \(largest), "
                + "needed are \(ByteCount(need))"
        )
        if let beyond, let obstacle {
            analysis.causes.append(
                "the \(beyond.space.freeBytes) free in \(beyond.aperture.kernelText) cannot be reached: \(obstacle)"
            )
        }
    }

    /// Why bus addresses above 4 GiB cannot be reached by a resource of the function at index `i`; nil when they can, or
    /// when a window on the way is of unknown width.
    ///
    /// A 32-bit register reaches only the first 4 GiB; so does everything that goes through a bridge's memory window, or
    /// through a prefetchable window of 32 bits. Source: PCI-to-PCI Bridge Architecture Specification 1.2 §3.2.5.
    public func narrowness(of resource: Resource, at i: Int) -> String? {
        guard resource.kind != .io else { return nil }
        guard resource.is64Bit else { return "\(resource.index) takes 32-bit addresses only" }
        for p in ancestors(of: i) {
            let bridge = functions[p]
            guard bridge.knowledge.windows == .seen, bridge.knowledge.isPrefetchableWidthKnown else { return nil }
            if let window = window(ofBridge: p, carrying: resource), window.index == .prefetchableWindow, window.is64Bit
            {
                continue
            }
            let name = resource.kind == .prefetchable ? "windows" : "memory window"
            return "the \(name) of \(bridge.address) can only lie below 4 GiB"
        }
        return nil
    }

    /// The resources that in the end hold a window: BARs below it, and child windows that hold nothing.
    func leaves(of space: Occupancy, isIO: Bool, below p: Int) -> [(address: FunctionAddress, text: String)] {
        var result: [(address: FunctionAddress, text: String)] = []
        for holder in space.holders {
            guard case .resource(let f, let index) = holder.owner else { continue }
            if index.isWindow {
                let inner = occupancy(of: holder.range, isIO: isIO, belowBridge: f)
                let deeper = leaves(of: inner, isIO: isIO, below: f)
                if deeper.isEmpty {
                    let text = "\(functions[f].address) \(index) (\(ByteCount(holder.range.clampedSize)), empty)"
                    result.append((functions[f].address, text))
                } else {
                    result.append(contentsOf: deeper)
                }
            } else {
                let text = "\(functions[f].address) \(index) (\(ByteCount(holder.range.clampedSize)))"
                result.append((functions[f].address, text))
            }
        }
        return result
    }

    /// Who in the end holds a window of the bridge at index `p`, up to four of them; empty when nobody does.
    public func pins(of space: Occupancy, isIO: Bool, below p: Int) -> String {
        leaves(of: space, isIO: isIO, below: p).map(\.text).listed(4)
    }
}

extension Array where Element: Hashable {
    /// The elements without repetitions, in order of first appearance.
    func uniqued() -> [Element] {
        var seen: Set<Element> = []
        return filter { seen.insert($0).inserted }
    }
}

extension Aperture {
    /// Whether it is memory below 1 MiB, the legacy ranges of displays and ROMs: no kernel places a BAR there, so that what
    /// is free in it is no room. Source: `PCIBIOS_MIN_MEM`, `pcibios_align_resource` of x86.
    public var isLegacyMemory: Bool { !isIO && range.last < 0x10_0000 }

    /// The part whose bus addresses lie below 4 GiB, or nil.
    var lower4GiB: Aperture? {
        guard let bus = busRange else { return nil }
        guard let low = bus.intersection(AddressRange(first: 0, last: 0xffff_ffff) ?? bus),
            let range = low.shifted(by: offset)
        else { return nil }
        return Aperture(range: range, flags: flags, offset: offset)
    }
}
