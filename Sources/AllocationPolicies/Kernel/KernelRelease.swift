// SPDX-License-Identifier: GPL-2.0-or-later

/// A kernel release as `uname -r` prints it, taken apart.
public struct KernelRelease: Sendable, Hashable {
    /// A series of releases: `6.18`.
    public struct Series: Sendable, Hashable, Comparable, CustomStringConvertible {
        /// The first number of a release.
        public var major: Int
        /// The second number of a release.
        public var minor: Int

        /// A series by its two numbers.
        public init(_ major: Int, _ minor: Int) {
            self.major = major
            self.minor = minor
        }

        /// `6.18`.
        public var description: String { "\(major).\(minor)" }

        /// By major, then by minor number.
        public static func < (a: Series, b: Series) -> Bool { (a.major, a.minor) < (b.major, b.minor) }
    }

    /// Whose tree a kernel was built from.
    public enum Tree: String, Sendable, Hashable, CaseIterable {
        /// The stable tree as it is published: nothing behind the numbers.
        case stable = "the stable tree"
        /// Debian's, the stable tree with few changes of its own.
        case debian = "Debian"
        /// Ubuntu's: its own numbers, changes of newer releases carried back.
        case ubuntu = "Ubuntu"
        /// Red Hat's and its rebuilds'.
        case redHat = "Red Hat"
        /// Fedora's.
        case fedora = "Fedora"
        /// SUSE's.
        case suse = "SUSE"
        /// Proxmox's, built from Ubuntu's.
        case proxmox = "Proxmox"
        /// Raspberry Pi's.
        case raspberryPi = "Raspberry Pi"
        /// Nobody known.
        case other = "an unknown tree"
    }

    /// The series.
    public let series: Series
    /// The third number, or the range in which it lies where the name does not tell it; inclusive, from 0.
    public let points: ClosedRange<Int>
    /// Whose tree it is, by the suffix.
    public let tree: Tree

    /// Takes a release apart; nil unless it begins with two numbers and a dot between them.
    public init?(_ text: String) {
        let head = text.prefix { $0 >= "0" && $0 <= "9" || $0 == "." }
        let numbers = head.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) }
        guard numbers.count >= 2, let major = numbers[0], let minor = numbers[1] else { return nil }
        series = Series(major, minor)
        let suffix = text.dropFirst(head.count)
        tree = Self.tree(suffix)
        let point = numbers.count > 2 ? numbers[2] ?? 0 : 0
        if tree == .debian, point == 0, let number = Self.packageNumber(suffix) {
            points = Self.debianPoints(series, number)
        } else {
            points = point...point
        }
    }

    private static func tree(_ suffix: Substring) -> Tree {
        if suffix.isEmpty { return .stable }
        let words = suffix.split { $0 == "-" || $0 == "." || $0 == "+" || $0 == "_" }
        func has(_ prefixes: [String]) -> Bool {
            words.contains { word in
                // el9, fc43: the letters, then digits.
                prefixes.contains {
                    word.hasPrefix($0) && word.dropFirst($0.count).first.map { "0"..."9" ~= $0 } == true
                }
            }
        }
        func ends(_ endings: [String]) -> Bool { words.last.map { endings.contains(String($0)) } ?? false }
        if has(["el"]) { return .redHat }
        if has(["fc"]) { return .fedora }
        if words.contains("rpt") || words.contains("rpi") || ends(["v7", "v7l", "v8"]) { return .raspberryPi }
        if ends(["pve"]) { return .proxmox }
        if ends(["default"]) { return .suse }
        if ends(["generic", "lowlatency", "oem", "aws", "azure", "gcp", "oracle", "nvidia", "raspi"]) {
            return .ubuntu
        }
        let ports = [
            "amd64", "arm64", "686", "pae", "armmp", "lpae", "riscv64", "powerpc64le", "powerpc64", "loong64", "s390x",
            "malta", "octeon", "16k", "64k", "4k",
        ]
        if ends(ports) { return .debian }
        return .other
    }

    /// The number of Debian's package where the name has that instead of the point release: 56 in `6.1.0-56-amd64`.
    private static func packageNumber(_ suffix: Substring) -> Int? {
        guard suffix.first == "-" else { return nil }
        return Int(suffix.dropFirst().prefix { $0 >= "0" && $0 <= "9" })
    }

    /// Which point releases Debian packaged under a number, by its changelogs, whose uploads count up without a gap.
    private static func debianPoints(_ series: Series, _ number: Int) -> ClosedRange<Int> {
        let first: Int
        let points: [Int]
        switch (series.major, series.minor) {
        case (5, 10):
            first = 36
            points = [244, 247, 249, 251, 251, 251, 251, 251, 257, 259, 262]
        case (6, 1):
            first = 34
            points = [
                135, 137, 139, 140, 147, 148, 153, 158, 159, 162, 164, 170, 170, 170, 172, 174, 176, 177, 180, 187, 190,
                192,
                192,
            ]
        default: return 0...Int.max
        }
        if number < first { return 0...points[0] - 1 }
        guard number - first < points.count else { return points[points.count - 1]...Int.max }
        return points[number - first]...points[number - first]
    }
}
