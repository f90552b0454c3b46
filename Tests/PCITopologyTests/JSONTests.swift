// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@Suite struct JSONTests {
    private func parse(_ text: String, _ limits: JSONLimits = .strict) throws(JSONError) -> JSONTree {
        try JSONParser.parse(Array(text.utf8), limits: limits)
    }

    @Test func everyKindOfValueIsRead() throws {
        let tree = try parse(#" {"a":[1,-20,0,true,false,null,"x\n\u00e9\ud83d\ude00/\/"],"b":{}} "#)
        #expect(
            tree
                == .object([
                    JSONMember(
                        key: "a",
                        value: .array([
                            .integer(1), .integer(-20), .integer(0), .bool(true), .bool(false), .null,
                            .string("x\n\u{e9}\u{1f600}//"),
                        ])
                    ),
                    JSONMember(key: "b", value: .object([])),
                ])
        )
    }

    @Test(arguments: [
        "", " ", "{", "[", "[1", "[1,", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "tru", "nul", "01", "-",
        "-01", "1.0", "1e3", "9223372036854775808", "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"",
        "\"\\udc00\"", "\"\u{1}\"", "1 2", "[1]]", "\u{feff}1", "{\"a\":1,\"a\":2}", "NaN", "+1", "'a'", "[1 2]",
        "/**/1",
    ])
    func whatIsNotStrictJSONIsRefused(_ text: String) {
        #expect(throws: JSONError.self) { try parse(text) }
    }

    @Test func illFormedUTF8IsRefused() {
        for bytes: [UInt8] in [[0x22, 0xff, 0x22], [0x22, 0xc0, 0x80, 0x22], [0x22, 0x5c, 0x6e, 0xe2, 0x82, 0x22]] {
            #expect(throws: JSONError.self) { try JSONParser.parse(bytes) }
        }
    }

    @Test func limitsHold() throws {
        let limits = JSONLimits(bytes: 40, depth: 3, values: 5, stringBytes: 4)
        #expect(try parse("[[[]]]", limits) == .array([.array([.array([])])]))
        #expect(throws: JSONError.self) { try parse("[[[[]]]]", limits) }
        #expect(throws: JSONError.self) { try parse("[1,2,3,4,5]", limits) }
        #expect(throws: JSONError.self) { try parse("\"12345\"", limits) }
        #expect(throws: JSONError.self) { try parse("\"\\n2345\"", limits) }
        #expect(throws: JSONError.self) { try parse(String(repeating: " ", count: 40) + "1", limits) }
        #expect(throws: JSONError.self) { try parse(String(repeating: "[", count: 1_000_000)) }
    }

    @Test(arguments: [
        ("", "line 1, column 1"), ("[1,\n\n 2,x]", "line 3, column 4"), ("\n{\"a\": tru }", "line 2, column 10"),
        ("{} x", "line 1, column 4"),
    ])
    func aFaultSaysItsLineAndColumn(_ text: String, place: String) {
        let error = #expect(throws: JSONError.self) { try parse(text) }
        #expect(error?.place == place)
    }

    @Test func aFieldThatIsNullIsNotHeld() throws {
        var fields = try JSONFields(parse(#"{"a":null,"b":0,"c":1}"#), at: "")
        #expect(!fields.holds("a") && fields.holds("b") && !fields.holds("d"))
        #expect(try fields.integer("c", in: 1...1) == 1)
        #expect(try fields.integer("b", in: 0...0) == 0 && fields.holds("b"))
    }

    @Test func aRepeatedKeyIsFoundAmongMany() {
        let fields = (0..<500).map { "\"k\($0)\":\($0)" }.joined(separator: ",")
        #expect(throws: Never.self) { try parse("{\(fields)}") }
        #expect(throws: JSONError.self) { try parse("{\(fields),\"k77\":0}") }
    }

    @Test func messagesShowNoControlCharactersOfTheDocument() throws {
        var fields = try JSONFields(parse("{\"a\":1,\"\\u001b[31m\":2}"), at: "")
        _ = fields.optional("a")
        do {
            try fields.finish()
            Issue.record("an unknown field was accepted")
        } catch {
            #expect(error.description == "expected only known fields, found ?[31m")
        }
    }

    @Test func whatIsWrittenIsReadBack() throws {
        for layout in [JSONWriter.Layout.compact, .indented] {
            var json = JSONWriter(layout)
            json.object {
                $0.field("text", "quote \" back \\ line \n bell \u{7} del \u{7f} é")
                $0.field("none", nil as String?)
                $0.field("number", -5)
                $0.field("hex", hex: 0xfe, width: 8)
                $0.field("flag", true)
                $0.field("list", ["a", "b"])
                $0.array("empty") { _ in }
                $0.array("nested") { json in json.array { $0.null() } }
            }
            var fields = try JSONFields(JSONParser.parse(json.document), at: "")
            #expect(try fields.string("text") == "quote \" back \\ line \n bell \u{7} del \u{7f} é")
            #expect(try fields.optionalString("none") == nil)
            #expect(try fields.integer("number", in: -5...5) == -5)
            #expect(try fields.hex("hex") == 0xfe)
            #expect(try fields.bool("flag"))
            #expect(try fields.strings("list", atMost: 2) == ["a", "b"])
            #expect(try fields.array("empty", atMost: 0) == [])
            #expect(try fields.array("nested", atMost: 1) == [.array([.null])])
            try fields.finish()
        }
    }

    @Test func theIndentedLayoutIsStable() {
        var json = JSONWriter()
        json.object {
            $0.field("a", 1)
            $0.array("b") {
                $0.value("x")
                $0.value(true)
            }
            $0.object("c") { _ in }
        }
        #expect(
            String(decoding: json.document, as: UTF8.self) == """
                {
                  "a": 1,
                  "b": [
                    "x",
                    true
                  ],
                  "c": {}
                }

                """
        )
    }
}
