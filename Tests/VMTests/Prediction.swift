// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import Testing
internal import VMLaboratory

extension VirtualMachine {
    /// The dry run never lies: the guest shows every function that was predicted and no other, and every line of it.
    ///
    /// - Returns: what the guest shows.
    @discardableResult
    func expect(_ predicted: TreeState, _ context: Comment? = nil) throws -> [String: [GuestResource]] {
        let shown = try resources()
        #expect(shown.keys.sorted() == predicted.functions.map(\.address.description).sorted(), context)
        for state in predicted.functions {
            let found = (shown[state.address.description] ?? []).map {
                ResourceLine(start: $0.start, end: $0.end, flags: ResourceFlags(rawValue: $0.flags))
            }
            #expect(found == state.lines, "\(context?.rawValue ?? ""): \(state.address)")
        }
        return shown
    }
}
