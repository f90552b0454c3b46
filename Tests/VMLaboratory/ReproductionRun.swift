// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation

/// What became of a machine that `pci-rebalance reproduce` wrote, on a real kernel.
public struct ReproductionRun: Sendable {
    /// The last component of the directory's name.
    public var name: String
    /// The kernel.
    public var kernel: Kernel
    /// The exit status of run.sh: 0 the same lines fail, 1 they do not, 2 it could not be tried; 124 when time was up.
    public var status: Int32
    /// All that run.sh said.
    public var text: String

    /// Runs the machine in `directory`.
    ///
    /// - Parameters:
    ///   - directory: what `reproduce -o` wrote.
    ///   - kernel: the kernel; fetched if necessary.
    ///   - seconds: the longest time that it may take.
    /// - Throws: ``LaboratoryError`` when the kernel cannot be had, or an error of Foundation.
    public init(_ directory: String, kernel: Kernel, seconds: Int) throws {
        name = URL(fileURLWithPath: directory).lastPathComponent
        self.kernel = kernel
        let image = try kernel.decompressedImage()
        (status, text) = try HostCommand.run(["timeout", "\(seconds)", "sh", "\(directory)/run.sh", image])
    }

    /// The last line of what run.sh said.
    public var verdict: String { text.split(separator: "\n").last.map(String.init) ?? "" }

    /// How many of the lines that have to fail do, of how many; nil when it could not be tried.
    public var failing: (count: Int, total: Int)? {
        // `REPRODUCTION: same (all 3 lines fail)`, `REPRODUCTION: differs (1 of 3 lines do not fail)`.
        let numbers = verdict.split { !$0.isASCII || !$0.isNumber }.compactMap { Int($0) }
        switch status {
        case 0: return numbers.first.map { ($0, $0) }
        case 1: return numbers.count == 2 ? (numbers[1] - numbers[0], numbers[1]) : nil
        default: return nil
        }
    }
}

extension Kernel {
    /// The path of the image decompressed beforehand, which starts sooner under emulation; the packaged one where it could
    /// not be decompressed.
    ///
    /// - Throws: ``LaboratoryError`` if it cannot be fetched.
    public func decompressedImage() throws -> String { try files(.decompressed).image }

    /// The series: `6.12`.
    public var series: String { self == .linux7 ? "7.2" : rawValue }

    /// The kernel of the laboratory whose series is nearest to that of a release, the older of two; 6.12 for one that is not
    /// told.
    public static func nearest(to release: String?) -> Kernel {
        func position(_ text: String) -> Int? {
            let numbers = text.split(separator: ".").prefix(2).map { $0.prefix { $0.isASCII && $0.isNumber } }
                .compactMap { Int($0) }
            guard numbers.count == 2 else { return nil }
            // Series in the order of their releases: 4.20 was followed by 5.0, 5.19 by 6.0, 6.19 by 7.0.
            let starts = [4: 0, 5: 21, 6: 41, 7: 61]
            return starts[numbers[0]].map { $0 + numbers[1] } ?? (numbers[0] < 4 ? 0 : .max / 2)
        }
        guard let wanted = release.flatMap(position) else { return .linux6_12 }
        let distances = everyKernel.map { kernel in (kernel, abs((position(kernel.series) ?? 0) - wanted)) }
        return distances.min { $0.1 < $1.1 }?.0 ?? .linux6_12
    }
}
