// SPDX-License-Identifier: GPL-2.0-or-later

/// "View `view` is at least `bound`."
///
/// Every variable `v` has two views: 2v is its value, 2v + 1 its value with the sign changed. "At most" is "at least" of
/// the other view, so that one rule serves both ends. A yes-or-no variable runs from 0 to 1.
struct Literal: Hashable {
    var view: Int
    var bound: Int

    /// Variable `v` is 1.
    @inline(__always) static func yes(_ v: Int) -> Literal { Literal(view: 2 * v, bound: 1) }
    /// Variable `v` is 0.
    @inline(__always) static func no(_ v: Int) -> Literal { Literal(view: 2 * v + 1, bound: 0) }
    /// The yes-or-no literal that `view` stands for: 2v says that v is 1, 2v + 1 that v is 0.
    @inline(__always) static func said(_ view: Int) -> Literal { Literal(view: view, bound: 1 - (view & 1)) }
}
