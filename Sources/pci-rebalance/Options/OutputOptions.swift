// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser

/// How results are written.
struct OutputOptions: ParsableArguments {
    @Flag(name: .long, help: "Write one JSON document.")
    var json = false

    @Option(name: .long, help: ArgumentHelp("Use colour: auto, always or never.", valueName: "when"))
    var color = ColorChoice.auto

    @Flag(name: .shortAndLong, help: "Be verbose; repeat for more.")
    var verbose: Int

    @Flag(name: .shortAndLong, help: "Say only what was asked for; no remarks on standard error.")
    var quiet = false

    /// The colours to use.
    var style: Style { Style(isOn: !json && color.isOn) }
}
