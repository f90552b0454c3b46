// SPDX-License-Identifier: GPL-2.0-or-later

import CPlanExecutor

/// A write with a time limit to a file that blocks, as the writer does it.
struct HangingWrite {
    let timedOut: Bool
    private let child: Int32

    static func start(_ file: Int32, milliseconds: Int32) -> HangingWrite {
        let result = write_within(file, [0x31, 0x0a], 2, -1, milliseconds)
        return HangingWrite(timedOut: result.error == 110, child: result.child)
    }

    func hasEnded(within milliseconds: Int32) -> Bool { await_left_child(child, milliseconds) == 1 }
}
