// SPDX-License-Identifier: GPL-2.0-or-later

/// What it means for a function that one of its resources has no address: the one rule that check, triage, plan and fit
/// ask.
public enum ResourceNeed: Hashable, Sendable {
    /// The function does not work without it.
    case required
    /// An I/O BAR beside memory BARs, which drivers use instead.
    case optionalIO
    /// An I/O BAR of a function of which it is not told whether it has memory BARs.
    case unknownIO
    /// A bridge's own BAR: the bridge forwards without it.
    case bridgeOwn
    /// A BAR of the first function on a root bus of which nothing tells what it is: a host bridge or a root port, as on
    /// boards, works without.
    case untoldRole
    /// A function of a class that the kernel leaves as firmware left it (`__dev_sort_resources`).
    case leftAlone
    /// An expansion ROM, read at boot only.
    case rom
    /// A block for virtual functions that nobody may have asked for.
    case virtualFunctions

    /// The need of the resource at `index`.
    ///
    /// - Parameters:
    ///   - index: a BAR, the ROM or a VF BAR.
    ///   - kind: the kind of space, or nil when not known.
    ///   - classWord: base class and sub-class, or nil when not known, which counts as any other class.
    ///   - leadsRootBus: whether the function is number 0 of device 0 of a root bus.
    ///   - isBridge: whether the function is a bridge.
    ///   - hasMemoryBAR: whether the function has a BAR in memory, placed or not; nil where that is not told.
    public init(
        _ index: ResourceIndex,
        kind: ResourceKind?,
        classWord: UInt16?,
        leadsRootBus: Bool = false,
        isBridge: Bool,
        hasMemoryBAR: Bool?
    ) {
        if index.isROM {
            self = .rom
        } else if index.isVFBAR {
            self = .virtualFunctions
        } else if let classWord, [0x0000, 0x0600, 0x0800].contains(classWord) {
            self = .leftAlone
        } else if isBridge {
            self = .bridgeOwn
        } else if classWord == nil, leadsRootBus {
            self = .untoldRole
        } else if kind == .io, hasMemoryBAR != false {
            self = hasMemoryBAR == nil ? .unknownIO : .optionalIO
        } else {
            self = .required
        }
    }

    /// Whether the function works without the resource.
    public var isHarmless: Bool { self != .required }
}
