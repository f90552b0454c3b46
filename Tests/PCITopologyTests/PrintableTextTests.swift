// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

/// What a terminal would obey never reaches it.
@Suite("Printable text")
struct PrintableTextTests {
    private func shown(_ text: String, passing: String = "") -> String {
        String(decoding: printableBytes(Array(text.utf8), passing: Array(passing.utf8)), as: UTF8.self)
    }

    @Test(
        "control characters of every kind become question marks",
        arguments: [
            ("\u{1b}[31mred", "?[31mred"), ("\u{1b}]0;title\u{7}", "?]0;title?"), ("\u{9b}31m", "?31m"),
            ("\u{9d}0;x\u{9c}", "?0;x?"), ("a\rb", "a?b"), ("a\u{8}b", "a?b"), ("a\u{7f}b", "a?b"), ("\u{85}", "?"),
            ("\u{202e}gpj.exe", "?gpj.exe"), ("\u{2066}x\u{2069}", "?x?"), ("\u{2028}", "?"), ("\0", "?"),
        ]
    )
    func controls(text: String, expected: String) {
        #expect(shown(text) == expected)
        #expect(text.printable == expected)
    }

    @Test("line ends and tabulators pass to a terminal, and are no part of one line")
    func lines() {
        #expect(shown("a\n\tb\n") == "a\n\tb\n")
        #expect(shown("a,b\r\nc\rd\r") == "a,b\r\nc?d?")
        #expect("a\nPLAN: none".printable == "a?PLAN: none")
    }

    @Test("other characters stay as they are")
    func text() {
        let text = "größe 3 µs → 日本 🙂 ~"
        #expect(shown(text) == text)
        #expect(text.printable == text)
    }

    @Test("bytes that are no UTF-8 become question marks one by one")
    func bytes() {
        #expect(printableBytes([0x41, 0x9b, 0x42]) == Array("A?B".utf8))
        #expect(printableBytes([0xc3]) == Array("?".utf8))
        #expect(printableBytes([0xc0, 0x9b]) == Array("??".utf8), "an overlong form is none")
        #expect(printableBytes([0xe2, 0x80]) == Array("??".utf8))
        #expect(printableBytes([0xf0, 0x9f, 0x99, 0x82]) == [0xf0, 0x9f, 0x99, 0x82])
    }

    @Test("only sequences with the seal of this process pass")
    func seal() {
        #expect(shown("\u{1b}k3y[31mred\u{1b}k3y[0m \u{1b}[32m", passing: "k3y") == "\u{1b}[31mred\u{1b}[0m ?[32m")
    }

    @Test("a JSON document holds no character that a terminal would obey")
    func json() throws {
        var writer = JSONWriter(.compact)
        writer.object { $0.field("a", "\u{1b}[1m\u{9b}2m\u{7f}\u{202e}é") }
        let text = String(decoding: writer.document, as: UTF8.self)
        #expect(text.contains(#""\u001b[1m\u009b2m\u007f\u202eé""#))
        #expect(printableBytes(writer.document) == writer.document)
        let read = try JSONParser.parse(writer.document, limits: .strict)
        #expect(read["a"] == .string("\u{1b}[1m\u{9b}2m\u{7f}\u{202e}é"))
    }
}
