// SPDX-License-Identifier: GPL-2.0-or-later

/// Why nobody could see what is behind a bridge.
public enum UnseenReason: String, Hashable, Sendable, CaseIterable {
    /// The kernel gave the bridge no bus, so that nothing behind it was ever asked.
    case noBus = "no-bus"
    /// The bridge's bus lies outside a range above, so that no configuration cycle reaches it.
    case hiddenRange = "hidden-range"
    /// Another bridge claims the same bus: which of them answers is the hardware's.
    case claimedTwice = "claimed-twice"
    /// The bridge, or one above, does not answer.
    case notAnswering = "not-answering"
    /// The slot says that a card is in it, and the kernel knows no function of one.
    case notScanned = "not-scanned"
    /// The same, and the slot's power is off.
    case poweredOff = "powered-off"
}

extension UnseenReason: CustomStringConvertible {
    /// A lower-case clause.
    public var description: String {
        switch self {
        case .noBus: "it has no bus"
        case .hiddenRange: "its bus is hidden behind a bridge above"
        case .claimedTwice: "another bridge claims its bus"
        case .notAnswering: "it does not answer"
        case .notScanned: "its slot holds a card of which the kernel knows nothing"
        case .poweredOff: "its slot holds a card and is switched off"
        }
    }
}

extension Topology {
    /// Why functions may be behind the bridge at index `i` that no reading of this machine could see; nil for other
    /// functions, and where the kernel has asked and what is listed is all that there is.
    ///
    /// "Empty" is what was seen to be empty. CardBus bridges, and bridges of which the source tells no buses at all, are
    /// not judged.
    /// - Complexity: O(d b) for d levels and b bridges on a bus.
    public func unseenReason(behind i: Int) -> UnseenReason? {
        let function = functions[i]
        guard let bridge = function.bridge, !function.isCardBus else { return nil }
        guard let own = bridge.busRange else {
            // With window lines the kernel gave it a bus whose number the source does not tell.
            let isTold = !function.lines.isEmpty && !ResourceNumbering.showsWindows(lineCount: function.lines.count)
            return isTold && !isPutTogetherFromText ? .noBus : nil
        }
        let bus = own.first
        var this = i
        while true {
            if isSilent(this) { return .notAnswering }
            let above = parent(of: this)
            let siblings = above.map { children(of: $0) } ?? (host(of: this) >= 0 ? roots(of: host(of: this)) : [])
            for sibling in siblings where sibling != this {
                if numbersTaken(by: sibling)?.contains(bus) == true { return .claimedTwice }
            }
            guard let above else { break }
            if let range = functions[above].bridge?.busRange, !range.contains(bus) { return .hiddenRange }
            this = above
        }
        let h = host(of: i)
        return h >= 0 && !hostBridges[h].busRange.contains(bus) ? .hiddenRange : nil
    }

    /// The bus numbers for which the bridge at index `i` takes cycles: those that the kernel gave it, without any those of its
    /// registers.
    private func numbersTaken(by i: Int) -> BusRange? {
        let bridge = functions[i].bridge
        return bridge?.busRange ?? BusRoutes.Claim(functions[i].address, bridge?.registers)?.range
    }

    /// Whether the function at index `i` does not answer: its registers read all ones. Ids alone read so too where a text
    /// did not tell them.
    private func isSilent(_ i: Int) -> Bool {
        let function = functions[i]
        if function.config.isSilent { return true }
        return function.knowledge.registers != .unseen && function.config.hasHeader && function.config.word(0) == 0xffff
    }

    /// Why a card is in the slot of the port at index `i` of which the kernel knows no function: it was removed by hand, its
    /// link is down, its slot is off, or nobody looked; nil for other functions. Bus numbers do not hide it, and it has no
    /// room.
    ///
    /// Presence Detect State (PCIe 6.0 §7.5.3.11) says so of ports with a slot; a listing may leave out what is below.
    private func unscannedReason(behind i: Int) -> UnseenReason? {
        guard let express = functions[i].capabilities.express, express.isSlotImplemented,
            let status = express.slotStatus, status & 0x40 != 0, status != 0xffff,
            children(of: i).isEmpty, !isPutTogetherFromText
        else { return nil }
        return express.isSlotPowerOff ? .poweredOff : .notScanned
    }

    /// Why functions may be behind the bridge at index `i` that no reading could see, or that the kernel has not scanned; nil
    /// where there are none.
    public func unknownReason(behind i: Int) -> UnseenReason? { unseenReason(behind: i) ?? unscannedReason(behind: i) }

    /// The bridges behind which functions may be that nobody could see, with the reason, ascending.
    public var unseenBridges: [(index: Int, reason: UnseenReason)] {
        functions.indices.compactMap { i in unknownReason(behind: i).map { (i, $0) } }
    }
}
