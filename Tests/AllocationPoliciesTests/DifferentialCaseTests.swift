// SPDX-License-Identifier: GPL-2.0-or-later

import DifferentialLaboratory
import Foundation
import Testing

@testable import AllocationPolicies

/// Differences that were found once between the twin and a kernel: the twin is held against what that kernel did.
@Suite struct DifferentialCaseTests {
    private static var directories: [String] {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/Fixtures/differential"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        return names.sorted().map { root + "/" + $0 }
    }

    @Test("kept cases agree", arguments: directories)
    func agrees(_ directory: String) throws {
        let kept = try DifferentialCase(directory: directory)
        let differences = try kept.differences()
        #expect(differences.isEmpty, "\(directory): \(differences.prefix(12).joined(separator: "\n"))")
    }

    @Test("there are cases")
    func exist() {
        #expect(!Self.directories.isEmpty)
    }
}
