// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// One stage of a plan: functions that are removed together, registers written before, and the rescans that find them
/// again.
///
/// Functions are named by number (`SearchContext`), since a stage before may have given them other addresses.
struct Stage: Hashable {
    /// The functions to remove, bus by bus, each bus in the kernel's list order; what is below each goes with it.
    var roots: [Int] = []
    /// Bus numbers to be written before the removal, in ascending order of the bridges.
    var numbering: [BridgeNumbers] = []
    /// Windows of removed bridges to be closed or opened before the removal, in ascending order.
    var windows: [WindowWrite] = []
    /// BAR sizes to be written before the removal, or through the resize files, in ascending order.
    var resizes: [Resize] = []
    /// Functions that must stop decoding before they are removed, since others get their ranges while they are gone.
    var silenced: [Int] = []
    /// Functions that get larger BARs than they need while they are found, in ascending order.
    var alignments: [AlignmentRequest] = []
    /// How the functions are found again, in order.
    var rescans: [Rescan] = []
    /// Bridges whose window registers may be made to agree with what the kernel holds, although they differed before.
    var repairedBridges: [Int] = []

    /// The numbers that a bridge gets.
    struct BridgeNumbers: Hashable {
        var bridge: Int
        var primary: BusNumber
        var range: BusRange
    }

    /// What the registers of a window say when the bridge is found again.
    struct WindowWrite: Hashable, Comparable {
        var bridge: Int
        var kind: ResourceKind
        /// The size to open it with; 0 closes it.
        var size: UInt64

        private var order: (Int, Int) { (bridge, kind == .io ? 0 : kind == .memory ? 1 : 2) }
        static func < (a: WindowWrite, b: WindowWrite) -> Bool { a.order < b.order }
    }

    /// A size for a resizable BAR.
    struct Resize: Hashable {
        var function: Int
        var bar: Int
        /// The exponent n of 2^n MiB.
        var exponent: Int
        /// The offset of the entry's control register.
        var controlOffset: Int
        /// Whether a driver is bound and has to let go first.
        var isBound: Bool
    }

    /// An entry of the kernel's `resource_alignment` text for one function.
    struct AlignmentRequest: Hashable {
        var function: Int
        /// The exponent n of 2^n bytes that smaller memory BARs grow to.
        var order: Int
    }

    /// How removed functions are found again.
    enum Rescan: Hashable {
        /// The rescan file of the bus behind a bridge, or of the root bus of host bridge `-1 - n`. An emptied bus below a
        /// bridge is the one whose rescan may grow the bridge's windows.
        case bus(behind: Int)
        /// The rescan file of the bridge itself: a plain rescan of the bus that the bridge sits on, and below.
        case aboveBridge(Int)
        /// Nothing is removed: the resourceN_resize files do it.
        case resizeFiles
    }

    /// Whether the resourceN_resize files are used.
    var usesResizeFiles: Bool { rescans == [.resizeFiles] }

    /// The functions that the stage stops by itself: the roots, or those whose BARs are resized in place.
    var stopped: [Int] { usesResizeFiles ? Array(Set(resizes.map(\.function))).sorted() : roots }

    /// The number of register and text writes beside removals and rescans.
    var extraWrites: Int {
        numbering.count + windows.count + 2 * resizes.count + alignments.count + max(0, rescans.count - 1)
    }
}
