// SPDX-License-Identifier: GPL-2.0-or-later

internal import CFuzzDriver
internal import Glibc

/// What is fuzzed; the first argument names it, the others are libFuzzer's.
@main
enum Fuzz {
    static func main() {
        guard CommandLine.argc >= 2, let name = CommandLine.unsafeArgv[1].map({ String(cString: $0) }) else { usage() }
        // The name gives way to the program's, which libFuzzer expects first.
        CommandLine.unsafeArgv[1] = CommandLine.unsafeArgv[0]
        let arguments = CommandLine.unsafeArgv + 1
        let count = CommandLine.argc - 1
        let status: Int32
        switch name {
        case "seeds":
            Seeds.write(Array(CommandLine.arguments.dropFirst(2)))
            status = 0
        case "plan": status = run_fuzzer(count, arguments) { limited($0, $1, Readers.plan) }
        case "snapshot": status = run_fuzzer(count, arguments) { limited($0, $1, Readers.snapshot) }
        case "journal": status = run_fuzzer(count, arguments) { limited($0, $1, Readers.journal) }
        case "lspci", "hex", "dmesg": status = run_fuzzer(count, arguments) { limited($0, $1, Readers.text) }
        case "triage": status = run_fuzzer(count, arguments) { limited($0, $1, Readers.triage) }
        case "iomem": status = run_fuzzer(count, arguments) { limited($0, $1, Readers.iomem) }
        case "words": status = run_fuzzer(count, arguments) { limited($0, $1, Readers.words) }
        case "archive": status = run_fuzzer(count, arguments) { limited($0, $1, Readers.archive) }
        case "report": status = run_fuzzer(count, arguments) { limited($0, $1, Readers.report) }
        case "policy": status = run_fuzzer(count, arguments) { limited($0, $1, Readers.policy) }
        case "twin": status = run_fuzzer(count, arguments) { limited($0, $1, Machines.twin) }
        case "planner": status = run_fuzzer(count, arguments) { limited($0, $1, Machines.planner) }
        case "arguments": status = run_fuzzer(count, arguments) { limited($0, $1, Machines.arguments) }
        default: usage()
        }
        exit(status)
    }

    private static func usage() -> Never {
        let text = """
            usage: fuzz READER [libFuzzer's arguments]
                   fuzz seeds PLANS JOURNALS HEX SNAPSHOT...
            READER: plan snapshot journal policy lspci hex dmesg triage iomem words archive report twin planner
                    arguments

            """
        // Whoever cannot read the usage sees the status.
        _ = Array(text.utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        exit(64)
    }
}

/// Gives an input to a reader, which has 2 seconds of the processor (POSIX counts a million in each); libFuzzer's own limit
/// looks at the wall clock, which also counts other work.
///
/// A function of its own: a C function pointer carries no type with it.
private func limited(_ start: UnsafePointer<UInt8>?, _ count: Int, _ reader: ([UInt8]) -> Int32) -> Int32 {
    let begin = clock()
    let result = reader(Array(UnsafeBufferPointer(start: start, count: count)))
    precondition(clock() - begin < 2_000_000, "expected an end within 2 seconds of the processor")
    return result
}
