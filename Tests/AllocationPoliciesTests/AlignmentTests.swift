// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// The alignment of windows by what is below, and requests in resource_alignment.
@Suite("Alignments")
struct AlignmentTests {
    /// Members of 2^n MiB, each aligned to itself, by n.
    private func orders(_ members: [Int]) -> AlignmentOrders {
        var result = AlignmentOrders()
        for order in members { result.note(order, 1 << UInt64(order + 20)) }
        return result
    }

    @Test("the order of an alignment: 0 up to 1 MiB, then one for each doubling")
    func order() {
        for (alignment, order) in [
            (1, 0), (0x1000, 0), (0x8_0000, 0), (1 << 20, 0), (2 << 20, 1), (4 << 20, 2), (1 << 43, 23),
        ]
            as [(UInt64, Int)]
        {
            #expect(AlignmentOrders.order(of: alignment) == order, "\(alignment)")
        }
    }

    /// By `calculate_mem_align`: the members below an order, rounded up with one least alignment added, fill less than
    /// the order's unit: then half of the unit is enough.
    @Test(
        "up to 6.17: half of the largest alignment where smaller members fill the head",
        arguments: [
            ([], 1), ([0], 1), ([5], 32), ([0, 2], 2), ([0, 0, 2], 2), ([0, 0, 0, 2], 1), ([1, 2], 2), ([1, 3], 4),
            ([1, 1, 3], 4), ([1, 1, 1, 3], 2), ([0, 1], 1), ([0, 0, 1], 1), ([2, 2], 4),
        ] as [([Int], UInt64)]
    )
    func halved(members: [Int], mebibytes: UInt64) {
        #expect(orders(members).halvedAlignment == mebibytes << 20)
    }

    /// By `calculate_head_align`: halved as long as what is smaller fills the gap that this makes.
    @Test(
        "from 6.18: the least alignment that leaves no gap at the head",
        arguments: [
            ([], 1), ([0], 1), ([5], 32), ([0, 2], 4), ([0, 0, 2], 2), ([0, 0, 0, 2], 1), ([1, 2], 2), ([0, 1, 2], 1),
            ([1, 3], 8), ([1, 1, 3], 4), ([1, 1, 1, 3], 2), ([0, 1], 1), ([2, 2], 4), ([2, 3], 4), ([1, 2, 3], 2),
        ] as [([Int], UInt64)]
    )
    func head(members: [Int], mebibytes: UInt64) {
        #expect(orders(members).headAlignment == mebibytes << 20)
    }

    // MARK: resource_alignment

    /// The size of BAR 0 (4 KiB by nature) of the card behind the first port after it was found anew under a request.
    private func size(_ request: String) throws -> UInt64 {
        var machine = try OracleTests.topologyA(.linux6_1)
        let card = try machine.at("01:00.0")
        try machine.run(.resourceAlignment(request), .remove(card), .rescanBus(segment: 0, bus: BusNumber(1)))
        let line = try #require(machine.twin.resourceLines(of: card))[0]
        return line.end - line.start + 1
    }

    @Test(
        "a request that names the function counts, with the order that it states or 12",
        arguments: [
            ("16@0000:01:00.0", 0x1_0000), ("16@01:00.0", 0x1_0000), ("01:00.0", 0x1000), ("64@01:00.0", 0x1000),
            ("20@01:00.0", 0x10_0000), ("16@00:01.0/00.0", 0x1_0000), ("16@00:02.0/00.0", 0x1000),
            ("16@00:01.0/01.0", 0x1000), ("16@01:00.1", 0x1000), ("16@0001:01:00.0", 0x1000),
            ("16@pci:1b36:0005", 0x1_0000), ("16@pci:1b36:0006", 0x1000), ("16@pci:1b35:0005", 0x1000),
            ("16@pci:0000:0005", 0x1_0000), ("16@pci:1b36:0000", 0x1_0000), ("16@pci:1b36:0005:0000:0000", 0x1_0000),
            ("16@pci:1b36:0005:1af4:0000", 0x1000), ("16@pci:1b36:0005:0000:1100", 0x1000),
            ("16@pci:1b36", 0x1000),
        ] as [(String, UInt64)]
    )
    func requests(text: String, expected: UInt64) throws {
        #expect(try size(text) == expected)
    }

    @Test(
        "the first match decides, and what cannot be read ends the search",
        arguments: [
            ("16@02:00.0;17@01:00.0", 0x2_0000), ("16@01:00.0;17@01:00.0", 0x1_0000),
            ("16@pci:1b36:0006,17@pci:1b36:0005", 0x2_0000), ("16@nonsense;17@01:00.0", 0x1000),
            ("16@02:00.0/40.0;17@01:00.0", 0x1000), ("16@02:00.0/00.8;17@01:00.0", 0x1000),
            ("16@pci:1b36:0006 17@pci:1b36:0005", 0x1000), ("", 0x1000), ("\n16@01:00.0\n", 0x1_0000),
        ] as [(String, UInt64)]
    )
    func lists(text: String, expected: UInt64) throws {
        #expect(try size(text) == expected)
    }

    @Test("only memory that is smaller grows; decoding of memory is off, I/O stays on")
    func inflation() throws {
        var machine = try OracleTests.topologyA(.linux6_1)
        let card = try machine.at("01:00.0")
        try machine.run(.setCommand(card, Command(rawValue: 7)))
        try machine.run(
            .resourceAlignment("21@01:00.0"),
            .remove(card),
            .rescanBus(segment: 0, bus: BusNumber(1))
        )
        let lines = try #require(machine.twin.resourceLines(of: card))
        #expect(lines[0].end - lines[0].start + 1 == 0x20_0000)
        #expect(lines[1].end - lines[1].start + 1 == 0x100)
        #expect(lines[2].end - lines[2].start + 1 == 0x100_0000, "16 MiB are more than 2 MiB")
        var plain = try OracleTests.topologyA(.linux6_1)
        try plain.run(.setCommand(card, Command(rawValue: 7)))
        try plain.run(.remove(card), .rescanBus(segment: 0, bus: BusNumber(1)))
        #expect(plain.twin.register(of: card, at: 4, width: 2) == 7)
        #expect(machine.twin.register(of: card, at: 4, width: 2) == 5)
    }
}
