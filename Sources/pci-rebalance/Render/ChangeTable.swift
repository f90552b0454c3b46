// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Two states of a tree side by side: who is gone, who came, what changed.
struct ChangeTable {
    var style: Style = .plain

    /// Everything that differs; nothing when the states are the same.
    func write(from before: TreeState, to after: TreeState, to page: inout TextPage, indent: Int) {
        let changes = StateChange.changes(from: before, to: after)
        let gone = changes.filter { $0.what == .gone }.map(\.address.description)
        list("gone:", gone, to: &page, indent: indent)
        write(changes.filter { $0.what != .gone }, to: &page, indent: indent)
    }

    /// Who is in one state and not in the other, of the parts in which they differ.
    func writeNames(from old: [FunctionState], to new: [FunctionState], to page: inout TextPage, indent: Int) {
        list("gone:", names(in: old, notIn: new), to: &page, indent: indent)
        list("back:", names(in: new, notIn: old), to: &page, indent: indent)
    }

    private func names(in one: [FunctionState], notIn other: [FunctionState]) -> [String] {
        let paths = Set(other.map(\.path))
        return one.filter { !paths.contains($0.path) }.map(\.address.description)
    }

    private func list(_ head: String, _ names: [String], to page: inout TextPage, indent: Int) {
        guard !names.isEmpty else { return }
        page.line([Piece(head)] + names.map { Piece($0, gap: 1) }, indent: indent, hanging: indent + 6)
    }

    /// Changes, the name of a function once and a change per line beside it.
    func write(_ changes: [StateChange], to page: inout TextPage, indent: Int) {
        var last: FunctionAddress?
        var new: FunctionAddress?
        for change in changes {
            let name = change.address.description
            var pieces = [Piece(change.address == last ? String(repeating: " ", count: name.utf8.count) : name)]
            switch change.what {
            case .gone: continue
            case .new:
                new = change.address
                pieces.append(Piece("is new", gap: 1, style: style.change))
            case .renumbered(let old): pieces.append(Piece("was \(old)", gap: 1, style: style.change))
            case .buses(let from, let to):
                if change.address != new { pieces.append(Piece(from?.description ?? "no bus", gap: 1)) }
                pieces.append(Piece("-> \(to?.description ?? "no bus")", gap: 1, style: style.change))
            case .resource(let index, let from, let to):
                pieces.append(Piece("\(index)", gap: 1))
                if change.address != new { pieces.append(Piece(from.text(index), gap: 1)) }
                pieces.append(Piece("-> \(to.text(index))", gap: 1, style: style.change))
            }
            last = change.address
            page.line(pieces, indent: indent, hanging: indent + name.utf8.count + 1)
        }
    }
}
