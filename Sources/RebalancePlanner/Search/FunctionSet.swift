// SPDX-License-Identifier: GPL-2.0-or-later

/// A set of functions by number, as bits.
struct FunctionSet: Hashable {
    private var words: [UInt64] = []

    /// The empty set.
    init() {}

    /// The set of `members`, each 0 or more.
    init(_ members: some Sequence<Int>) { for member in members { insert(member) } }

    /// Adds a function.
    mutating func insert(_ member: Int) {
        let word = member >> 6
        while words.count <= word { words.append(0) }
        words[word] |= 1 << UInt64(member & 63)
    }

    /// Adds all of `other`.
    mutating func formUnion(_ other: FunctionSet) {
        while words.count < other.words.count { words.append(0) }
        for i in other.words.indices { words[i] |= other.words[i] }
    }

    /// Whether the function is a member.
    func contains(_ member: Int) -> Bool {
        let word = member >> 6
        return word < words.count && words[word] >> UInt64(member & 63) & 1 == 1
    }

    /// Whether every member is one of `other`.
    func isSubset(of other: FunctionSet) -> Bool {
        words.indices.allSatisfy { words[$0] & ~($0 < other.words.count ? other.words[$0] : 0) == 0 }
    }

    /// Whether every one of `others` is a member.
    func isSuperset(of others: some Sequence<Int>) -> Bool { others.allSatisfy { contains($0) } }

    /// The number of members.
    var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

    /// Whether there are no members.
    var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    /// The members, ascending.
    var members: [Int] {
        var result: [Int] = []
        for (i, word) in words.enumerated() {
            var rest = word
            while rest != 0 {
                result.append(i << 6 | rest.trailingZeroBitCount)
                rest &= rest - 1
            }
        }
        return result
    }
}
