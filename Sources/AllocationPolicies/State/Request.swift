// SPDX-License-Identifier: GPL-2.0-or-later

/// A resource on one of the allocator's lists (`struct pci_dev_resource`), with what it was when it was put there.
struct Request: Sendable {
    var resource: Int32
    var device: Int32
    var start: UInt64
    var end: UInt64
    var flags: UInt32
    /// Bytes beyond the required size.
    var extra: UInt64 = 0
    /// The alignment that goes with the extra bytes.
    var alignment: UInt64 = 0
}

/// The list of optional parts (`realloc_head`, `add_list`).
///
/// The kernel adds at the head, so walks are newest first.
struct ExtraList {
    private var entries: [Request?] = []
    private var placeOf: [Int32: Int] = [:]
    private var alive = 0

    var isEmpty: Bool { alive == 0 }

    /// Adds an entry at the head.
    mutating func add(_ request: Request) {
        placeOf[request.resource] = entries.count
        entries.append(request)
        alive += 1
    }

    /// The entry of a resource, or nil.
    func find(_ resource: Int32) -> Request? {
        guard alive > 0, let place = placeOf[resource] else { return nil }
        return entries[place]
    }

    /// Takes off the entry of a resource; nothing happens without one.
    mutating func remove(_ resource: Int32) {
        guard alive > 0, let place = placeOf.removeValue(forKey: resource) else { return }
        entries[place] = nil
        alive -= 1
        if alive == 0 { entries = [] }
    }

    /// Changes the extra bytes of a resource's entry.
    mutating func setExtra(_ resource: Int32, _ extra: UInt64) {
        guard let place = placeOf[resource] else { return }
        entries[place]?.extra = extra
    }

    /// The places of entries, oldest first; what was taken off leaves its place empty.
    var places: Range<Int> { entries.indices }

    /// The entry at a place, or nil where it was taken off.
    subscript(_ place: Int) -> Request? { entries.indices.contains(place) ? entries[place] : nil }
}

extension TwinState {
    func makeRequest(_ resource: Int32, _ device: Int32, extra: UInt64 = 0, alignment: UInt64 = 0) -> Request {
        let held = resources[resource]
        return Request(
            resource: resource,
            device: device,
            start: held.start,
            end: held.end,
            flags: held.flags,
            extra: extra,
            alignment: alignment
        )
    }

    /// Gives a resource back what it was when the request was made.
    mutating func restore(_ request: Request) {
        resources[request.resource].start = request.start
        resources[request.resource].end = request.end
        resources[request.resource].flags = request.flags
    }
}
