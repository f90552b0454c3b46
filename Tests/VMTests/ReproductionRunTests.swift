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

    static let samples: [Sample] =
        Kernel.allCases.flatMap { kernel in
            [
                Sample(files: ["first-light-\(kernel)/failed-hot-add.snapshot.json"], kernel: kernel),
                Sample(files: ["three-root-ports-\(kernel)/failed-hot-add.snapshot.json"], kernel: kernel),
            ]
        }
        + ["C07", "C23", "R7", "R9"].map {
            Sample(files: ["\($0)/dmesg.txt", "\($0)/lspci.txt"], kernel: .linux6_12)
        }

    static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures").path

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
