// SPDX-License-Identifier: GPL-2.0-or-later

internal import ArgumentParser
internal import Foundation
internal import VMLaboratory

/// Emulated machines that `pci-rebalance reproduce` wrote, on real kernels.
struct ReproduceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reproduce",
        abstract: "Runs the directories that pci-rebalance reproduce wrote on kernels of the cache, and counts.",
        discussion: """
            With --results every run is kept in a file, one line each, and what is in it is not run again; with --table \
            nothing is run: what the directories predict for every kernel of the laboratory is laid out as a table, and \
            what the file has of real kernels is held against it. Exit status 1 when a run did not show the same lines, or \
            a kernel and the prediction disagree.
            """
    )

    @Option(
        name: .shortAndLong,
        help: "A kernel: \(Kernel.labels); may be given several times (default: the nearest to the report's).",
        transform: Kernel.parse
    )
    var kernel: [Kernel] = []

    @Option(help: "The longest time that one may take, in seconds.")
    var timeout = 300

    @Option(help: "Start no further one after so many seconds.")
    var seconds = Int.max

    @Option(help: "A file that keeps what was run.")
    var results: String?

    @Flag(help: "Run nothing: print the table of regressions by kernel.")
    var table = false

    @Flag(name: .shortAndLong, help: "Print all that each says, not only its last line.")
    var verbose = false

    @Argument(help: "The directories.")
    var directories: [String]

    func run() throws {
        let machines = try directories.map { try WrittenReproduction($0) }
        var kept = ReproductionResults(results)
        if table {
            let page = RegressionTable(machines, kept)
            print(page.text)
            if page.disagreements > 0 { throw ExitCode(1) }
            return
        }
        let end = ContinuousClock.now + .seconds(min(seconds, 1 << 30))
        var counts: [String: Int] = [:]
        for machine in machines {
            for kernel in kernel.isEmpty ? [Kernel.nearest(to: machine.release)] : kernel
            where kept[machine, kernel] == nil {
                guard ContinuousClock.now < end else {
                    counts["left", default: 0] += 1
                    continue
                }
                let run = try ReproductionRun(machine.directory, kernel: kernel, seconds: timeout)
                let word = run.status == 0 ? "same" : run.status == 1 ? "differs" : "not tried"
                counts[word, default: 0] += 1
                print("\(word)\t\(machine.name)\t\(kernel)\t\(verbose ? run.text : run.verdict)")
                try kept.add(machine, kernel, run.failing?.count)
            }
        }
        let summary = counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        print("reproduce: \(summary.isEmpty ? "nothing to run" : summary)")
        if counts.contains(where: { $0.key != "same" && $0.key != "left" }) { throw ExitCode(1) }
    }
}

/// A directory that `pci-rebalance reproduce` wrote.
struct WrittenReproduction {
    var directory: String
    var name: String
    var release: String?
    var event: String
    /// How many lines have to fail.
    var lines: Int
    /// How many are predicted to, by series.
    var predicted: [String: Int] = [:]
    /// What tells it from another machine: its devices, its event, the kernel's words and what has to fail.
    var checksum: UInt32

    init(_ directory: String) throws {
        self.directory = directory
        name = URL(fileURLWithPath: directory).lastPathComponent
        let document = try JSONDecoder().decode(
            JSONValue.self,
            from: try Data(contentsOf: URL(fileURLWithPath: "\(directory)/expect.json"))
        )
        release = document["release"]?.text
        event = document["event"]?["kind"]?.text ?? "none"
        lines = document["lines"]?.elements?.count ?? 0
        for kernel in document["kernels"]?.elements ?? [] {
            guard let series = kernel["series"]?.text, case .integer(let count)? = kernel["failing"] else { continue }
            predicted[series] = Int(count)
        }
        var identity = [event]
        for key in ["machine", "parameters"] { identity += document[key]?.elements?.compactMap(\.text) ?? [] }
        identity += document["event"]?["commands"]?.elements?.compactMap(\.text) ?? []
        identity += document["lines"]?.elements?.compactMap { $0["guest"]?.text } ?? []
        checksum = Checksum.crc32(Array(identity.joined(separator: "\n").utf8))
    }
}

/// What was run: lines of checksum, kernel and how many lines failed, or a dash for what could not be tried.
struct ReproductionResults {
    private let path: String?
    private var entries: [String: Int?] = [:]

    init(_ path: String?) {
        self.path = path
        let text = path.flatMap { try? String(contentsOfFile: $0, encoding: .utf8) } ?? ""
        for line in text.split(separator: "\n") {
            let words = line.split(separator: "\t")
            if words.count >= 3 { entries["\(words[0]) \(words[1])"] = .some(Int(words[2])) }
        }
    }

    private static func key(_ machine: WrittenReproduction, _ kernel: Kernel) -> String {
        "\(machine.checksum) \(kernel)"
    }

    /// How many lines failed, nil inside when it could not be tried; nil when it was not run.
    subscript(_ machine: WrittenReproduction, _ kernel: Kernel) -> Int?? { entries[Self.key(machine, kernel)] }

    /// Keeps a run.
    mutating func add(_ machine: WrittenReproduction, _ kernel: Kernel, _ count: Int?) throws {
        entries[Self.key(machine, kernel)] = .some(count)
        guard let path else { return }
        if !FileManager.default.fileExists(atPath: path) { try Data().write(to: URL(fileURLWithPath: path)) }
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        defer { try? handle.close() }
        try handle.seekToEnd()
        let line = "\(machine.checksum)\t\(kernel)\t\(count.map(String.init) ?? "-")\t\(machine.name)\n"
        try handle.write(contentsOf: Data(line.utf8))
    }
}

/// The table of regressions by kernel, in Markdown.
struct RegressionTable {
    let text: String
    /// How often a real kernel did otherwise than predicted.
    let disagreements: Int

    init(_ machines: [WrittenReproduction], _ results: ReproductionResults) {
        let kernels = Kernel.everyKernel
        var rows = [
            "| machine | event | lines | " + kernels.map(\.series).joined(separator: " | ") + " |",
            "| --- | --- | ---: |" + String(repeating: " ---: |", count: kernels.count),
        ]
        var tried = 0
        var agreed = 0
        for machine in machines {
            var cells = [machine.name, machine.event, "\(machine.lines)"]
            for kernel in kernels {
                let predicted = machine.predicted[kernel.series]
                guard let ran = results[machine, kernel], let count = ran else {
                    cells.append(predicted.map(String.init) ?? "?")
                    continue
                }
                tried += 1
                let agrees = count == predicted
                agreed += agrees ? 1 : 0
                cells.append(agrees ? "**\(count)**" : "**\(count)**, predicted \(predicted.map(String.init) ?? "?")")
            }
            rows.append("| " + cells.joined(separator: " | ") + " |")
        }
        rows.append("")
        rows.append("\(machines.count) machines; \(tried) runs on real kernels, \(agreed) as predicted.")
        text = rows.joined(separator: "\n")
        disagreements = tried - agreed
    }
}
