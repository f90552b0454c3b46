// SPDX-License-Identifier: GPL-2.0-or-later

/// The buses of a machine by host bridge and number, so that none is walked to.
///
/// Numbers written by hand can lead to several buses of one number below a host bridge; which of them the kernel finds
/// depends on where they are, and only that they are several is kept here.
struct NumberedBuses: Sendable {
    /// What is known of a number below a host bridge.
    enum Entry {
        case absent
        case only(Int32)
        case several
    }

    /// Per host bridge and number: how many buses have it, and the sum of their indices.
    private var counts: [Int32] = []
    private var sums: [Int32] = []

    /// The bus of a number below a host bridge.
    func bus(_ number: UInt8, host: Int) -> Entry {
        let at = host << 8 | Int(number)
        guard at < counts.count, counts[at] > 0 else { return .absent }
        return counts[at] == 1 ? .only(sums[at]) : .several
    }

    /// Enters a bus.
    mutating func add(_ bus: Int32, number: UInt8, host: Int32) {
        let at = Int(host) << 8 | Int(number)
        let missing = (at | 255) + 1 - counts.count
        if missing > 0 {
            counts.append(contentsOf: repeatElement(0, count: missing))
            sums.append(contentsOf: repeatElement(0, count: missing))
        }
        counts[at] += 1
        sums[at] &+= bus
    }

    /// Takes out a bus that was entered under that number.
    mutating func remove(_ bus: Int32, number: UInt8, host: Int32) {
        let at = Int(host) << 8 | Int(number)
        counts[at] -= 1
        sums[at] &-= bus
    }
}
