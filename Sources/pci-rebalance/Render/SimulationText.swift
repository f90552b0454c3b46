// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology

/// What a twin did: the operations, what the kernel would say, what changed.
struct Simulation {
    /// The name of the behaviour.
    var behaviour: String
    /// The operations with what the kernel does on each.
    var operations: [(operation: TwinOperation, events: [TwinEvent])]
    /// The tree before.
    var before: TreeState
    /// The tree afterwards.
    var after: TreeState

    /// The simulation as text.
    func text(verbosity: Int, style: Style, columns: Int) -> String {
        var page = TextPage(columns: columns)
        for (operation, events) in operations {
            page.line([Piece("# \(operation.text)", style: style.name)], indent: 0, hanging: 2)
            if operation.method == .unnoticed {
                page.paragraph(
                    "nobody listens at this slot: nothing happens until a rescan, and none finds the card before the slot has power",
                    indent: 2,
                    hanging: 6
                )
            }
            for event in events where verbosity > 0 || event.matters {
                page.paragraph(event.text, indent: 2, hanging: 6)
            }
        }
        page.blank()
        page.line(
            [Piece("Afterwards, as \(behaviour) does it", style: style.name)],
            indent: 0,
            hanging: 2
        )
        if before == after { page.paragraph("everything as before", indent: 2) }
        ChangeTable(style: style).write(from: before, to: after, to: &page, indent: 2)
        return page.text
    }

    /// The simulation as a document of schema `pci-rebalance.simulation/1`.
    func json() -> [UInt8] {
        var json = JSONWriter(.indented)
        json.object { json in
            json.field("behaviour", behaviour)
            json.array("functions") { json in
                for function in after.functions {
                    json.object { json in
                        json.field("address", function.address.description)
                        json.key("busRange")
                        if let range = function.busRange {
                            json.object { json in
                                json.field("first", range.first.description)
                                json.field("last", range.last.description)
                            }
                        } else {
                            json.null()
                        }
                        json.field("path", function.path.description)
                        json.field("resource", function.lines.map(\.description))
                    }
                }
            }
            json.array("operations") { json in
                for (operation, events) in operations {
                    json.object { json in
                        json.field("events", events.map(\.text))
                        if let method = operation.method { json.field("noticedBy", method.word) }
                        json.field("operation", operation.text)
                    }
                }
            }
            json.field("schema", "pci-rebalance.simulation/1")
        }
        return json.document
    }
}

extension TwinEvent {
    /// Whether the event belongs into a short account.
    fileprivate var matters: Bool {
        switch self {
        case .extra, .programmed, .bus, .retry: false
        default: true
        }
    }
}

extension HotPlugMethod {
    /// Who notices, as JSON documents name it.
    fileprivate var word: String { self == .unnoticed ? SlotDriver.nobody.rawValue : rawValue }
}

extension TwinOperation {
    /// Who notices the card of a hot-add; nil for other operations.
    fileprivate var method: HotPlugMethod? {
        switch self {
        case .hotAdd(_, _, let method), .hotAddOnBus(_, _, _, let method): method
        default: nil
        }
    }

    /// The operation as it is typed.
    var text: String {
        switch self {
        case .remove(let a): "remove \(a)"
        case .rescan: "rescan"
        case .rescanDevice(let a): "rescan \(a)"
        case .rescanBus(let segment, let bus): "rescan-bus \(busName(segment: segment, bus))"
        case .hotAdd(let port, let card, _): "hotadd \(port) \(card.name)"
        case .hotAddOnBus(let segment, let bus, let card, _):
            "hotadd \(busName(segment: segment, bus)):"
                + "\(bareHex(UInt64(card.functions.map { $0.devfn >> 3 }.min() ?? 0), width: 2)) \(card.name)"
        case .unplug(let port): "unplug \(port)"
        case .writeConfig(let a, let offset, let width, let value):
            "config \(a) \(bareHex(UInt64(offset), width: 2)).\(width) \(hex(UInt64(value)))"
        case .setBusNumbers(let a, _, let secondary, let subordinate): "setbus \(a) \(secondary) \(subordinate)"
        case .writeWindow(let a, let kind, let range): "window \(a) \(kind.word) \(range?.description ?? "closed")"
        case .setCommand(let a, let command): "command \(a) \(hex(UInt64(command.rawValue)))"
        case .resourceAlignment(let text): "align \(text)"
        case .resizeBAR(let a, let bar, let exponent): "resize \(a) \(bar) \(exponent)"
        case .setResizableBAR(let a, let bar, let exponent): "rebar \(a) \(bar) \(exponent)"
        case .setVFs(let a, let count): "vfs \(a) \(count)"
        case .bind(let a): "bind \(a)"
        case .unbind(let a): "unbind \(a)"
        case .setEnabled(let a, let isOn): "enable \(a) \(isOn ? 1 : 0)"
        case .setAutoprobe(let isOn): "autoprobe \(isOn ? 1 : 0)"
        case .boot: "boot"
        }
    }
}
