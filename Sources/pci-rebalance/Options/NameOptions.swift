// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology

/// How devices are called in text, as in `lspci`.
struct NameOptions: ParsableArguments {
    @Flag(
        name: .customShort("n"),
        help: "Show vendor and device as numbers instead of names; -nn shows both."
    )
    var numeric: Int

    @Option(
        name: .customShort("i"),
        help: ArgumentHelp("Take names from this file instead of libpci's own pci.ids.", valueName: "file"),
        completion: .file()
    )
    var list: String?

    /// Where names come from.
    ///
    /// - Throws: exit status 65 when a list that was asked for cannot be read.
    func names() throws(CommandEnd) -> DeviceNames {
        let style: DeviceNames.Style = numeric == 0 ? .names : numeric == 1 ? .numbers : .both
        let names = DeviceNames(style, path: list)
        if let list, style != .numbers, !names.read() {
            throw CommandEnd(
                .badInput,
                "\(list): expected a list of names such as pci.ids: \(names.fault ?? "no names")"
            )
        }
        return names
    }
}

extension DeviceNames {
    /// What stands for a function, nil where only its class is known: ids that nobody told read as ones.
    func text(_ identity: Function.Identity) -> String? {
        identity.vendor == .max ? nil : text(vendor: identity.vendor, device: identity.device)
    }
}
