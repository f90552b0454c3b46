// SPDX-License-Identifier: GPL-2.0-or-later

// What each policy goes by, one sentence per decision; the pages of Docs/policies say more.

extension SeaBIOSPolicy {
    /// The rule behind a decision.
    public func rule(for decision: LayoutDecision) -> String {
        switch decision {
        case .busRange: "numbers depth first, without gaps, and adds only what QEMU's reserve asks for"
        case .windowSize:
            release == .v1_16_2
                ? "sums what is below; an empty hot-plug port gets 2 MiB of memory and 2 MiB prefetchable"
                : "sums what is below; a hot-plug port gets at least 2 MiB, prefetchable 1/2048 of the address space"
        case .windowPlace, .place: "falling alignment, then size, packed without gaps; downwards from 4 GiB, else up"
        case .omission: "leaves nothing out: it halts the machine instead"
        }
    }
}

extension EDK2Policy {
    /// The rule behind a decision.
    public func rule(for decision: LayoutDecision) -> String {
        switch decision {
        case .busRange: "numbers depth first, without gaps; a padded port keeps the larger of contents and padding"
        case .windowSize:
            padding == .ovmf
                ? "sums what is below in falling alignment, or takes a hot-plug port's padding where that is larger"
                : "sums what is below in falling alignment; a port without cards has closed windows"
        case .windowPlace, .place: "one block for each pool, largest alignment first, at the lowest fitting address"
        case .omission: "rejects the longest request of a pool that does not fit, and computes everything again"
        }
    }
}

extension CorebootPolicy {
    /// The rule behind a decision.
    public func rule(for decision: LayoutDecision) -> String {
        switch decision {
        case .busRange: "numbers depth first; a hot-plug port reserves \(reserve?.buses ?? 0) numbers"
        case .windowSize:
            reserve == nil
                ? "sums what is below, largest alignment first"
                : "sums what is below, largest alignment first, and adds a hot-plug port's reserve"
        case .windowPlace, .place:
            isTopDown
                ? "largest alignment first, at the highest place that fits; below 4 GiB unless it may go above"
                : "largest alignment first, at the lowest place that fits"
        case .omission: "goes on without what does not fit"
        }
    }
}

extension UBootPolicy {
    /// The rule behind a decision.
    public func rule(for decision: LayoutDecision) -> String {
        switch decision {
        case .busRange: "numbers depth first, without gaps"
        case .windowSize: "a window is what a rising pointer passed while everything below was handed out"
        case .windowPlace, .place: "in the order of discovery, each at the next aligned address of its region"
        case .omission: "goes on without what lies beyond the region's end"
        }
    }
}

extension FreeBSDPolicy {
    /// The rule behind a decision.
    public func rule(for decision: LayoutDecision) -> String {
        switch decision {
        case .busRange: keepsToday ? "keeps firmware's numbers" : "numbers depth first, without gaps"
        case .windowSize: "windows grow by what is asked for, one request after the other, and hold nothing in reserve"
        case .windowPlace: "a window opens at the lowest free place and grows at the end that needs less"
        case .place: "in the order of attachment, the lowest free place of the window"
        case .omission: "goes on without what no window can grow for"
        }
    }
}

extension LinuxBootPolicy {
    /// The rule behind a decision.
    public func rule(for decision: LayoutDecision) -> String {
        let keeps = platform.boot == .survey || platform.boot == .powerPCSurvey || platform.preservesConfiguration
        switch decision {
        case .busRange:
            return platform.renumbersAllBuses
                ? "renumbers every bridge, without gaps" : "keeps firmware's numbers where they make sense"
        case .windowSize:
            if platform.hasPartitionableEndpoints {
                return "windows are multiples of a segment, and those next to the root become the whole aperture"
            }
            let sized =
                behaviour.headAlignment
                ? "from need, rounded to 1 MiB (I/O 4 KiB)"
                : "from need, rounded to the alignment of the largest part below (I/O 4 KiB)"
            return keeps
                ? "keeps firmware's windows; one that cannot be claimed is sized \(sized)"
                : "\(sized), hot-plug ports at least \(platform.hotPlugMemory >> 20) MiB"
        case .windowPlace, .place:
            return keeps
                ? "keeps firmware's address where it is free and inside the window above, else the lowest that fits"
                : "falling alignment per bus, at the lowest address that fits, 64-bit above 4 GiB first"
        case .omission: return "drops optional parts first, then goes on without what does not fit"
        }
    }
}
