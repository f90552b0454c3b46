// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// The blocks of address space and the bus numbers that a card needs at its edge.
struct CardNeed {
    struct Block {
        var kind: ResourceKind
        var size: UInt64
        var alignment: UInt64
        var is64Bit: Bool
    }

    /// The blocks, largest first.
    var blocks: [Block]
    /// The buses behind the card's own bridges.
    var buses: Int

    init(_ card: CardProfile) {
        blocks = []
        buses = 0
        for function in card.functions { add(function) }
        sortBlocks()
    }

    private mutating func sortBlocks() {
        blocks = blocks.enumerated().sorted { a, b in
            a.element.size != b.element.size ? a.element.size > b.element.size : a.offset < b.offset
        }.map(\.element)
    }

    private mutating func add(_ function: CardFunction) {
        for bar in function.bars {
            let kind: ResourceKind = bar.isIO ? .io : bar.isPrefetchable ? .prefetchable : .memory
            // Windows and allocators deal in pages of memory.
            let size = bar.isIO ? bar.size : max(bar.size, 4096)
            blocks.append(Block(kind: kind, size: size, alignment: size, is64Bit: bar.is64Bit))
        }
        guard let bridge = function.bridge else { return }
        buses += 1
        var below = CardNeed(CardProfile(name: "", functions: bridge.children))
        buses += below.buses
        if !bridge.hasPrefetchable {
            for i in below.blocks.indices where below.blocks[i].kind == .prefetchable { below.blocks[i].kind = .memory }
        }
        for kind in ResourceKind.allCases {
            let step: UInt64 = kind == .io ? 0x1000 : 0x10_0000
            var end: UInt64 = 0
            var alignment = step
            // Powers of two, largest first: no holes.
            for block in below.blocks where block.kind == kind {
                end = alignUp(end, block.alignment) ?? .max
                end = end.addingReportingOverflow(block.size).overflow ? .max : end + block.size
                alignment = max(alignment, block.alignment)
            }
            guard end > 0, let size = alignUp(end, step) else { continue }
            blocks.append(
                Block(
                    kind: kind,
                    size: size,
                    alignment: alignment,
                    is64Bit: kind == .prefetchable && bridge.hasPrefetchable64
                )
            )
        }
    }

    /// How many copies fit into free space at once, 0 to `most`.
    ///
    /// - Parameters:
    ///   - free: free ranges by kind: I/O, memory, prefetchable; bus addresses.
    ///   - freeBuses: free bus numbers.
    ///   - most: where to stop.
    /// - Returns: the number of copies placed one after the other, each block at the lowest place that takes it.
    func copies(in free: [[AddressRange]], buses freeBuses: Int, most: Int = 16) -> Int {
        guard !blocks.isEmpty else { return 0 }
        var free = free
        for count in 0..<most {
            if buses > 0, (count + 1) * buses > freeBuses { return count }
            for block in blocks where !place(block, &free) { return count }
        }
        return most
    }

    private func place(_ block: Block, _ free: inout [[AddressRange]]) -> Bool {
        // A prefetchable request may go to the memory window, not the other way round.
        for k in block.kind == .prefetchable ? [2, 1] : [Int(block.kind.rawValue)] {
            for (i, range) in free[k].enumerated() {
                guard let first = alignUp(range.first, block.alignment),
                    let taken = AddressRange(first: first, size: block.size), taken.last <= range.last,
                    block.is64Bit || taken.last <= 0xffff_ffff
                else { continue }
                free[k].replaceSubrange(i...i, with: range.subtracting([taken]))
                return true
            }
        }
        return false
    }
}
