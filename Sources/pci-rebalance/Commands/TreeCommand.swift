// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology

/// `tree`: what is there, where it is, and how much room is left.
struct TreeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tree",
        abstract: "Show the tree with buses, windows, free room, slots and problems",
        discussion: """
            A line that starts with ! has a problem. Sizes after a window: the whole, what is free, and the largest \
            free block that is aligned to its size.
            """
    )

    @OptionGroup var reading: ReadingOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var naming: NameOptions

    @Option(
        name: .customShort("s"),
        help: ArgumentHelp("Show only these functions, what is above them and what is below.", valueName: "address")
    )
    var selection: Selection?

    @Flag(name: .customShort("D"), help: "Always show the domain.")
    var domains = false

    @Flag(name: .customShort("P"), help: "Name functions by the path through the bridges above them.")
    var paths = false

    func run() throws {
        let names = try naming.names()
        let (record, topology) = try reading.read(output)
        let findings = topology.findings()
        let owners =
            topology.functions.isEmpty ? AddressOwners(iomem: record.iomem, ioports: record.ioports) : nil
        guard !output.json else {
            return try StandardOutput.write(
                treeJSON(topology, findings: findings, selection: selection, owners: owners?.entries ?? [])
            )
        }
        if let owners, !owners.entries.isEmpty {
            return try StandardOutput.write(OwnersText(owners: owners, columns: StandardOutput.columns).render())
        }
        var text = TreeText(
            topology,
            findings: findings,
            selection: selection,
            addresses: AddressStyle(showsSegment: domains, showsPath: paths, for: topology),
            verbosity: output.verbose,
            style: output.style,
            columns: StandardOutput.columns,
            names: names
        )
        try StandardOutput.write(text.render())
    }
}
