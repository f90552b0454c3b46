// SPDX-License-Identifier: GPL-2.0-or-later

/// Six values in place, as many as a header has BARs; any index beyond 5 means the last.
///
/// No array: a function's registers are copied with the twin, and nothing of them may be on the heap.
struct Six<Element: Sendable>: Sendable {
    private var a: Element
    private var b: Element
    private var c: Element
    private var d: Element
    private var e: Element
    private var f: Element

    /// Six times `value`.
    init(_ value: Element) {
        a = value
        b = value
        c = value
        d = value
        e = value
        f = value
    }

    @inline(__always)
    subscript(_ index: Int) -> Element {
        get {
            switch index {
            case 0: a
            case 1: b
            case 2: c
            case 3: d
            case 4: e
            default: f
            }
        }
        set {
            switch index {
            case 0: a = newValue
            case 1: b = newValue
            case 2: c = newValue
            case 3: d = newValue
            case 4: e = newValue
            default: f = newValue
            }
        }
    }
}
