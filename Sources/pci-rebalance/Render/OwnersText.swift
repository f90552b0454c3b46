// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge

/// The part of a tree that /proc/iomem and /proc/ioports tell by themselves.
struct OwnersText {
    let owners: AddressOwners
    var columns: Int

    /// The text.
    func render() -> String {
        var page = TextPage(columns: columns)
        page.paragraph(
            owners.isZeroed
                ? "Owners of addresses; the addresses themselves take root. Bridges and BARs are not told."
                : "Owners of addresses. Bridges, BAR numbers and what has no address are not told.",
            indent: 0
        )
        for entry in owners.entries {
            var pieces = [Piece(entry.owner)]
            if !owners.isZeroed {
                pieces.append(Piece(entry.range, gap: 1))
                pieces.append(Piece(entry.size))
                if let free = entry.free { pieces.append(Piece(free, gap: 2)) }
            }
            pieces += entry.users.map { Piece($0) }
            page.line(pieces, indent: 2 * (entry.depth + 1), hanging: 2 * (entry.depth + 3))
        }
        return page.text
    }
}
