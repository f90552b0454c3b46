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
        case "plan": status = run_fuzzer(count, arguments) { Readers.plan(bytes($0, $1)) }
        case "snapshot": status = run_fuzzer(count, arguments) { Readers.snapshot(bytes($0, $1)) }
        case "journal": status = run_fuzzer(count, arguments) { Readers.journal(bytes($0, $1)) }
        case "lspci", "hex", "dmesg": status = run_fuzzer(count, arguments) { Readers.text(bytes($0, $1)) }
        case "triage": status = run_fuzzer(count, arguments) { Readers.triage(bytes($0, $1)) }
        case "iomem": status = run_fuzzer(count, arguments) { Readers.iomem(bytes($0, $1)) }
        case "words": status = run_fuzzer(count, arguments) { Readers.words(bytes($0, $1)) }
        case "archive": status = run_fuzzer(count, arguments) { Readers.archive(bytes($0, $1)) }
        case "report": status = run_fuzzer(count, arguments) { Readers.report(bytes($0, $1)) }
        case "policy": status = run_fuzzer(count, arguments) { Readers.policy(bytes($0, $1)) }
        case "twin": status = run_fuzzer(count, arguments) { Machines.twin(bytes($0, $1)) }
        case "planner": status = run_fuzzer(count, arguments) { Machines.planner(bytes($0, $1)) }
        case "arguments": status = run_fuzzer(count, arguments) { Machines.arguments(bytes($0, $1)) }
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

/// A function of its own: a C function pointer carries no type with it.
private func bytes(_ start: UnsafePointer<UInt8>?, _ count: Int) -> [UInt8] {
    Array(UnsafeBufferPointer(start: start, count: count))
}
