// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import PCITopology
import PolicyPictures
import RebalancePlanner

/// `map`: pictures of address space and bus numbers.
struct MapCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "map",
        abstract: "Draw the address space and the bus numbers",
        discussion: """
            On the terminal, or to a file: an SVG drawing when its name ends in .svg, a self-contained page when it \
            ends in .html. Every segment is as long as the logarithm of its size.
            """
    )

    @OptionGroup var reading: ReadingOptions
    @OptionGroup var output: OutputOptions

    @Option(
        name: .customShort("o"),
        help: ArgumentHelp("Draw to this file, .svg or .html.", valueName: "file"),
        completion: .file(extensions: ["svg", "html"])
    )
    var file: String?

    @Flag(help: "Beside it, the tree after the plan that plan would make.")
    var after = false

    @Option(
        help: ArgumentHelp("Beside it, the tree under these policies, separated by commas.", valueName: "names"),
        completion: .list(PolicyWords.names)
    )
    var policies: String?

    @Flag(help: "Use ASCII characters only.")
    var ascii = false

    func validate() throws {
        if let file, !file.hasSuffix(".svg"), !file.hasSuffix(".html") {
            throw ValidationError("expected a name that ends in .svg or .html, found '\(file)'")
        }
        if output.json, file != nil || after || policies != nil {
            throw ValidationError("expected --json alone: it writes the tree's document, as tree --json does")
        }
    }

    func run() throws {
        let topology = try reading.topology(output)
        if output.json {
            return try StandardOutput.write(treeJSON(topology, findings: topology.findings(), selection: nil))
        }
        let demand = ResourceDemand(topology)
        if !output.quiet, policies != nil { PolicyWords.warn(of: topology.unknownsOfLayout()) }
        let maps = try maps(of: topology, demand)
        guard let file else {
            let style: TerminalMap.Style = ascii || !Self.isUTF8 ? .ascii : .unicode
            let width = StandardOutput.columns
            return try StandardOutput.write(TerminalMap(style: style, width: width).render(maps))
        }
        let text = file.hasSuffix(".svg") ? SVGMap().render(maps) : HTMLMap().render(maps)
        try FileOutput.write(Array(text.utf8), to: file)
    }

    private func maps(of topology: Topology, _ demand: ResourceDemand) throws(CommandEnd) -> [AddressMap] {
        let today = AddressMap(topology, title: "today")
        var maps = [today]
        if after {
            let planned = try Self.planned(topology, isQuiet: output.quiet)
            maps.append(AddressMap(planned, title: "after the plan").marked(against: today))
        }
        if let policies {
            for (_, outcome) in try PolicyWords.outcomes(policies, of: topology, demand: demand)
            where outcome.policy != "today" {
                do {
                    let applied = try outcome.applied(to: topology)
                    let title = outcome.policy + (outcome.haltReason.map { " (gives up: \($0))" } ?? "")
                    maps.append(AddressMap(applied, title: title).marked(against: today))
                } catch {
                    throw CommandEnd(.failure, "\(outcome.policy): \(error.description)")
                }
            }
        }
        return maps
    }

    private static func planned(_ topology: Topology, isQuiet: Bool) throws(CommandEnd) -> Topology {
        let planner = Planner(
            topology: topology,
            behaviour: KernelChoice.behaviour(for: topology, isQuiet: isQuiet)
        )
        do {
            let plan = try planner.plan(goals: [.everythingRequired])
            guard plan.verdict.answer == .act || plan.verdict.answer == .none else {
                throw CommandEnd(plan.verdict.answer.exitStatus, plan.verdict.sentence)
            }
            return try planner.topology(after: plan)
        } catch let error as CommandEnd {
            throw error
        } catch {
            throw CommandEnd(.failure, "\(error)")
        }
    }

    private static var isUTF8: Bool {
        for name in ["LC_ALL", "LC_CTYPE", "LANG"] {
            guard let value = StandardOutput.environment(name), !value.isEmpty else { continue }
            let lowered = value.lowercased()
            return lowered.hasSuffix("utf-8") || lowered.hasSuffix("utf8")
        }
        return false
    }
}
