// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser

/// When to use colour.
enum ColorChoice: String, ExpressibleByArgument, CaseIterable {
    case auto
    case always
    case never

    /// Whether standard output gets colour: the flag first, then NO_COLOR and TERM, then whether it is a terminal.
    var isOn: Bool {
        switch self {
        case .always: return true
        case .never: return false
        case .auto:
            if let value = StandardOutput.environment("NO_COLOR"), !value.isEmpty { return false }
            return StandardOutput.isTerminal && StandardOutput.environment("TERM") != "dumb"
        }
    }
}

/// Colour as an extra: nothing is said by colour alone.
struct Style {
    /// Whether to write escape sequences.
    var isOn: Bool

    static let plain = Style(isOn: false)

    /// The name of a thing.
    func name(_ text: String) -> String { wrap(text, "1") }
    /// Something that is wrong.
    func problem(_ text: String) -> String { wrap(text, "31") }
    /// Something that changes.
    func change(_ text: String) -> String { wrap(text, "33") }
    /// Something that is well.
    func good(_ text: String) -> String { wrap(text, "32") }
    /// Less important text.
    func faint(_ text: String) -> String { wrap(text, "2") }

    private func wrap(_ text: String, _ code: String) -> String {
        isOn ? "\u{1b}\(Self.seal)[\(code)m\(text)\u{1b}\(Self.seal)[0m" : text
    }

    /// Stands behind every ESC of this program until the text leaves it: an ESC without it came from a name, a log or a
    /// file, none of which can know it.
    static let seal = String(UInt64.random(in: .min ... .max), radix: 36)
    /// The same as bytes.
    static let sealBytes = Array(seal.utf8)
}
