// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Tells from the registers of ports whether something is still on its way behind them.
enum SlotActivity {
    /// The ports of `tree`, of those whose health are given, whose slot or link is between two states, in the order of
    /// `health`:
    ///
    /// - pciehp lets the power indicator blink (Slot Control, bits 9:8 = 10b; PCIe 6.0 §7.5.3.10) from the first event
    ///   until it is done with the slot;
    /// - a card is present (Slot Status, bit 6) and its link trains (Link Status, bit 11; §7.5.3.8);
    /// - a card is present, its slot has power (Slot Control, bit 10) and its link is active (Link Status, bit 13), and
    ///   the kernel has not found the function behind it yet.
    ///
    /// A function that answers with Request Retry Status needs no look: the kernel waits for it, up to a minute, before
    /// its rescan ends (`pci_bus_wait_rrs`).
    ///
    /// - Parameters:
    ///   - tree: the tree.
    ///   - health: the health of the ports.
    ///   - emptyCounts: whether the last two of these count; a function that never answers leaves its slot so for ever.
    /// - Returns: the addresses of the ports.
    static func busyPorts(_ tree: TreeState, _ health: [FunctionHealth], emptyCounts: Bool) -> [FunctionAddress] {
        health.filter { sign in
            guard let express = Capabilities(sign.config).express, express.isSlotImplemented,
                let control = express.slotControl
            else { return false }
            let isHotPlug = express.slotCapabilities?.contains(.hotPlugCapable) == true
            if isHotPlug, control >> 8 & 3 == 2 { return true }
            let link = express.linkStatus ?? 0
            guard (express.slotStatus ?? 0) & 0x40 != 0, emptyCounts else { return false }
            if link & 0x800 != 0 { return true }
            guard isHotPlug, control & 0x400 == 0, link & 0x2000 != 0,
                let bus = tree[sign.address]?.busRange?.first
            else { return false }
            return !tree.functions.contains { $0.address.bus == bus && $0.address.segment == sign.address.segment }
        }.map(\.address)
    }

    /// The ports whose health `busyPorts` wants to see.
    static func ports(of tree: TreeState) -> [FunctionAddress] {
        tree.functions.filter { $0.busRange != nil }.map(\.address)
    }
}
