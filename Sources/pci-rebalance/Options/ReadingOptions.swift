// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import PCITopology

/// Where the tree is read from.
struct ReadingOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Read this instead of the machine: a snapshot or a sysfs-shaped directory; may be given several times.",
            valueName: "file"
        )
    )
    var from: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("Predict for this kernel rather than the one of the record.", valueName: "release")
    )
    var kernel: String?

    func topology(warn: Bool) throws -> Topology { throw CommandEnd(.unavailable) }
}
