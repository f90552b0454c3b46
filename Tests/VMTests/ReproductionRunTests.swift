// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Testing
import VMLaboratory

/// What `reproduce` writes, run on real kernels: the same lines fail there.
@Suite("Reproductions", .serialized)
struct ReproductionRunTests {
    /// A recording and the kernel that it is tried on: of its own generation where that is told.
    struct Sample: CustomTestStringConvertible {
        var files: [String]
        var kernel: Kernel

        var testDescription: String { "\(files[0]) on \(kernel)" }
    }

    /// What failed when it was plugged in, at boot (C32, C40, C45, R10) and on a rescan (C02).
    static let samples: [Sample] =
        Kernel.allCases.map { Sample(files: ["first-light-\($0)/failed-hot-add.snapshot.json"], kernel: $0) }
        + [Sample(files: ["three-root-ports-7/failed-hot-add.snapshot.json"], kernel: .linux7)]
        + [
            ("C02", .linux6_12), ("C07", .linux7), ("C32", .linux6_1), ("C40", .linux6_1), ("C45", .linux6_12),
            ("R10", .linux7),
        ].map { name, kernel in Sample(files: ["\(name)/dmesg.txt", "\(name)/lspci.txt"], kernel: kernel) }

    static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures").path

    @Test(
        "a report is tried on the kernel of the laboratory that is nearest to its own",
        arguments: [
            ("4.14.67", Kernel.linux5_10), ("5.4.32", .linux5_10), ("5.19.0", .linux6_1), ("6.13.0", .linux6_12),
            ("6.18.0-rc7", .linux6_18), ("7.2.13+deb14-amd64", .linux7), ("9.1", .linux7_3), ("no series", .linux6_12),
        ]
    )
    func nearest(release: String, kernel: Kernel) {
        #expect(Kernel.nearest(to: release) == kernel)
    }

    @Test("the same lines fail", arguments: samples)
    func same(sample: Sample) throws {
        if let reason = VirtualMachine.unavailableReason(sample.kernel) { try Test.cancel("\(reason)") }
        let files = sample.files.map { "\(Self.fixtures)/\($0)" }.filter { FileManager.default.fileExists(atPath: $0) }
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "reproduction-\(UUID().uuidString)"
        ).path
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let tool = try #require(Initramfs.builtTool.first, "expected the built tool beside the tests, found none")
        let written = try HostCommand.run(
            [tool, "reproduce", "-q", "-o", directory] + files.flatMap { ["--from", $0] }
        )
        #expect(written.status == 0, "\(written.text)")
        let result = try ReproductionRun(directory, kernel: sample.kernel, seconds: 600)
        #expect(result.status == 0, "\(result.text)")
        #expect(result.text.contains("REPRODUCTION: same"), "\(result.text)")
    }
}
