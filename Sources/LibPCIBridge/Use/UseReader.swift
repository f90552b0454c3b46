// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Looks for reasons why stopping a function would hurt. Reads only.
struct UseReader {
    let options: LiveReader.Options

    /// Adds the evidence to the functions of `record`, and what could not be seen to its gaps.
    func read(into record: inout MachineRecord) {
    }
}
