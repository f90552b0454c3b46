// SPDX-License-Identifier: GPL-2.0-or-later

/// How much of a function the sources told, and which sources they were.
///
/// What is not told is not known: no answer may take it for the usual case. The whole is the default, since readers of a
/// running kernel and predictions show everything that a kernel holds.
public struct FunctionKnowledge: Hashable, Sendable {
    /// How much of something was told.
    public enum Extent: String, Hashable, Sendable, CaseIterable {
        /// All of it.
        case seen
        /// A part; what else there may be is not known.
        case partly
        /// Nothing.
        case unseen = "not-seen"
    }

    /// A source of facts about a function.
    public enum Source: String, Hashable, Sendable, CaseIterable {
        /// The kernel's own files: sysfs, a snapshot of them.
        case kernel
        /// The bytes of the configuration space.
        case registers
        /// The text of lspci.
        case listing
        /// Messages of the kernel log.
        case log
    }

    /// The sources, in the order of the declaration; empty when nobody noted them.
    public var sources: [Source]
    /// BARs and ROM: kinds, addresses and sizes.
    public var resources: Extent
    /// A bridge's bus numbers and windows; `.seen` for an endpoint.
    public var windows: Extent
    /// Whether the configuration space holds bytes that were read from the device. When not seen, its bytes are put
    /// together from text and say nothing against the text.
    public var registers: Extent
    /// The settings in the registers of capabilities (ACS, ATS, payload size). When not seen, a capability's place is known
    /// and what it says is not.
    public var settings: Extent = .seen
    /// Whether the text tells which width the prefetchable window has; an unknown width is no narrow one.
    public var isPrefetchableWidthKnown: Bool
    /// The resources over which the kernel refused to enable the function (`not claimed; can't enable device`).
    public var refused: [ResourceIndex]

    /// Creates a record; everything is seen by default.
    public init(
        sources: [Source] = [],
        resources: Extent = .seen,
        windows: Extent = .seen,
        registers: Extent = .seen,
        isPrefetchableWidthKnown: Bool = true,
        refused: [ResourceIndex] = []
    ) {
        self.sources = sources
        self.resources = resources
        self.windows = windows
        self.registers = registers
        self.isPrefetchableWidthKnown = isPrefetchableWidthKnown
        self.refused = refused
    }

    /// Everything was told.
    public static let whole = FunctionKnowledge()

    /// How much of the function was told in all.
    public var extent: Extent {
        if resources == .seen, windows == .seen { return .seen }
        return resources == .unseen && windows != .partly ? .unseen : .partly
    }
}
