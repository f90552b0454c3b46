// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import Testing

@testable import pci_rebalance

/// The manual page against the command itself.
@Suite("Manual page")
struct ManualTests {
    static let page: String = {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Docs/man/pci-rebalance.8")
        return (try? String(contentsOf: file, encoding: .utf8)) ?? ""
    }()

    /// Every command with its flags, from the command's own description of itself.
    private static func commands() throws -> [(name: String, flags: [String])] {
        let text = try Command.run("--experimental-dump-help").output
        let tree = try JSONParser.parse(Array(text.utf8), limits: .record)
        guard case .array(let list)? = tree["command"]?["subcommands"] else { return [] }
        return list.compactMap { command in
            guard case .string(let name)? = command["commandName"], name != "help" else { return nil }
            guard case .array(let arguments)? = command["arguments"] else { return (name, []) }
            var flags: [String] = []
            for argument in arguments {
                guard case .array(let names)? = argument["names"] else { continue }
                for entry in names {
                    guard case .string(let word)? = entry["name"] else { continue }
                    flags.append(word)
                }
            }
            return (name, flags)
        }
    }

    @Test("every command and every flag stands in it")
    func flags() throws {
        let commands = try Self.commands()
        #expect(commands.count >= 8)
        for (name, flags) in commands {
            #expect(Self.page.contains("\n.It Cm \(name)\n"), "command \(name)")
            for flag in flags {
                let mark = flag.count == 1 ? "Fl \(flag)" : "\\-\(flag)"
                #expect(Self.page.contains(mark), "\(name): flag \(flag)")
            }
        }
    }

    @Test("it names no flag that the command does not have")
    func noOthers() throws {
        let known = Set(try Self.commands().flatMap(\.flags) + ["version", "help"])
        for match in Self.page.matches(of: /\\-([a-z][a-z-]+)/) {
            #expect(known.contains(String(match.1)), "\(match.1)")
        }
    }

    @Test("every exit status stands in it in the words of the code", arguments: pci_rebalance.ExitStatus.allCases)
    func statuses(status: pci_rebalance.ExitStatus) {
        #expect(Self.page.contains("\n.It \(status.rawValue)\n\(status.meaning)\n"))
    }

    @Test(
        "mandoc has nothing to say against it",
        .enabled(if: FileManager.default.fileExists(atPath: "/usr/bin/mandoc"))
    )
    func lint() throws {
        let result = try run("/usr/bin/mandoc", ["-T", "lint", "-W", "warning"], input: Self.page)
        #expect(result.output.isEmpty)
    }

    @Test("completion scripts are made", arguments: ["bash", "zsh", "fish"])
    func completions(shell: String) throws {
        let result = try Command.run("--generate-completion-script", shell)
        #expect(result.status == 0)
        #expect(result.output.contains("simulate"))
    }
}
