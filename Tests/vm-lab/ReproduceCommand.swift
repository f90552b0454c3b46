// SPDX-License-Identifier: GPL-2.0-or-later

internal import ArgumentParser
internal import VMLaboratory

/// Emulated machines that `pci-rebalance reproduce` wrote, on a real kernel.
struct ReproduceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reproduce",
        abstract: "Runs the directories that pci-rebalance reproduce wrote on a kernel of the cache, and counts."
    )

    @Option(
        name: .shortAndLong,
        help: "The kernel: \(Kernel.labels).",
        transform: Kernel.parse
    )
    var kernel = Kernel.linux6_12

    @Option(help: "The longest time that one may take, in seconds.")
    var timeout = 300

    @Flag(name: .shortAndLong, help: "Print all that each says, not only its last line.")
    var verbose = false

    @Argument(help: "The directories.")
    var directories: [String]

    func run() throws {
        let image = try kernel.packagedImage()
        var counts: [String: Int] = [:]
        for directory in directories {
            let (status, text) = try HostCommand.run(["timeout", "\(timeout)", "sh", "\(directory)/run.sh", image])
            let word = status == 0 ? "same" : status == 1 ? "differs" : "not tried"
            counts[word, default: 0] += 1
            let last = text.split(separator: "\n").last.map(String.init) ?? ""
            print("\(word)\t\(directory)\t\(verbose ? text : last)")
        }
        let summary = counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        print("reproduce on \(kernel.release ?? kernel.rawValue): \(summary)")
        if counts["same"] != directories.count { throw ExitCode(1) }
    }
}
