// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Testing

@Suite("Names of devices")
struct NameTests {
    private let directory: TemporaryDirectory
    private let record = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")

    init() throws {
        directory = try TemporaryDirectory()
        try directory.write(
            "8086  Intel Corporation\n\t29c0  82G33 DRAM Controller\n1b36  Red Hat, Inc.\n\t000c  Root \u{1b}[31mport\n",
            "pci.ids"
        )
    }

    private func run(_ command: String, _ arguments: String...) throws -> String {
        try Command.run([command, "-q", "--from", record] + arguments).output
    }

    @Test func namesNumbersOrBothAsLspciHasThem() throws {
        let list = directory.path("pci.ids")
        let names = try run("tree", "-i", list)
        #expect(names.contains("00:00.0 Host bridge Intel Corporation 82G33 DRAM Controller\n"))
        // A vendor that is known and a device that is not; and neither.
        #expect(names.contains("Red Hat, Inc. Device 0005"))
        #expect(names.contains("upstream port 104c:8232"))
        let numbers = try run("tree", "-n", "-i", list)
        #expect(numbers.contains("00:00.0 Host bridge 8086:29c0\n") && !numbers.contains("Intel"))
        let both = try run("tree", "-nn", "-i", list)
        #expect(both.contains("Intel Corporation 82G33 DRAM Controller [8086:29c0]"))
        #expect(!names.unicodeScalars.contains("\u{1b}"))
    }

    @Test func checkAndPlanNameWhoIsConcerned() throws {
        let list = directory.path("pci.ids")
        let check = try Command.run("check", "-i", list, "--from", record).output
        #expect(check.contains("0000:03:00.0 (Unclassified device Red Hat, Inc. Device 0005)"))
        let plan = try Command.run("plan", "-nn", "-i", list, "--from", record, environment: ["COLUMNS": "120"]).output
        #expect(plan.contains("0000:03:00.0 endpoint, no driver (Red Hat, Inc. Device 0005 [1b36:0005]): stopped"))
        let numbers = try Command.run("check", "-n", "-i", list, "--from", record).output
        #expect(numbers.contains("(Unclassified device 1b36:0005)"))
    }

    @Test func aListThatCannotBeReadIsAnError() throws {
        let result = try Command.run("tree", "-i", directory.path("absent"), "--from", record)
        #expect(result.status == 65)
        #expect(result.errors.contains("expected a list of names such as pci.ids"))
    }
}
