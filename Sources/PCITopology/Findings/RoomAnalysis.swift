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
            guard let window = window(ofBridge: p, carrying: resource) else {
                let kind = resource.kind == .io ? "I/O" : "memory"
                if !bridge.resources.isEmpty { analysis.causes.append("\(bridge.address) has no \(kind) window") }
                continue
            }
            let name = "\(window.index) of \(bridge.address)"
            guard let range = window.range else {
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
                analysis.causes.append("\(name) \(window.kernelText) has room, \(space.freeBytes) free")
                return analysis
            }
            var sentence = "\(name) \(window.kernelText) is \(ByteCount(range.clampedSize)), "
            sentence += space.free.isEmpty ? "full" : "largest free block \(space.largestFreeBlock)"
            let holders = leaves(of: space, isIO: resource.kind == .io, below: p)
            let pins = Array(holders.map(\.address).uniqued())
            if !holders.isEmpty, pins != analysis.pins {
                sentence += "; pinned by \(list(holders.map(\.text)))"
                for pin in pins where !analysis.pins.contains(pin) { analysis.pins.append(pin) }
            }
            analysis.causes.append(sentence)
        }
        appendApertures(for: resource, of: i, need: need, alignment: alignment, to: &analysis)
        return analysis
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
        let candidates = hostBridges[h].apertures.filter { aperture in
            guard aperture.isIO == isIO else { return false }
            // A 32-bit register reaches only the first 4 GiB of bus addresses.
            return isIO || resource.is64Bit || (aperture.busRange ?? aperture.range).first <= 0xffff_ffff
        }
        guard !candidates.isEmpty else { return }
        let spaces = candidates.map { (aperture: $0, space: occupancy(of: $0, host: h)) }
        if let roomy = spaces.filter({ $0.space.fits(size: need, alignment: alignment) })
            .max(by: { $0.space.largestFreeBlock < $1.space.largestFreeBlock })
        {
            analysis.causes.append(
                "the host bridge has room: \(roomy.aperture.kernelText) has \(roomy.space.freeBytes) free, "
                    + "largest block \(roomy.space.largestFreeBlock)"
            )
        } else if let best = spaces.max(by: { $0.space.largestFreeBlock < $1.space.largestFreeBlock }) {
            analysis.causes.append(
                "the host bridge has no room either: the largest free block of its "
                    + "\(count(candidates.count, "aperture", "apertures")) is \(best.space.largestFreeBlock), "
                    + "needed are \(ByteCount(need))"
            )
        }
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
        list(leaves(of: space, isIO: isIO, below: p).map(\.text))
    }

    /// Up to four names, then how many more there are.
    func list(_ names: [String]) -> String {
        let shown = names.prefix(4).joined(separator: ", ")
        return names.count > 4 ? "\(shown) and \(names.count - 4) more" : shown
    }
}

extension Array where Element: Hashable {
    /// The elements without repetitions, in order of first appearance.
    func uniqued() -> [Element] {
        var seen: Set<Element> = []
        return filter { seen.insert($0).inserted }
    }
}
