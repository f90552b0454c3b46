// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

/// JSON at its limits, and the fields of objects: what is taken, what is refused, and in which words.
@Suite("JSON: limits, fields, texts")
struct JSONBoundTests {
    private func reason(_ text: String, _ limits: JSONLimits = .strict) -> String? {
        do throws(JSONError) {
            _ = try JSONParser.parse(Array(text.utf8), limits: limits)
            return nil
        } catch {
            return error.description
        }
    }

    @Test("each limit is reached, and passed by one")
    func limits() {
        func limits(bytes: Int = 100, depth: Int = 9, values: Int = 90, stringBytes: Int = 90) -> JSONLimits {
            JSONLimits(bytes: bytes, depth: depth, values: values, stringBytes: stringBytes)
        }
        #expect(reason("[1,2]", limits(bytes: 5)) == nil)
        #expect(reason("[1,2]", limits(bytes: 4)) == "expected at most 4 bytes, found 5")
        #expect(reason("[[{}]]", limits(depth: 3)) == nil)
        #expect(reason("[[{}]]", limits(depth: 2)) == "line 1, column 3: expected at most 2 levels, found more")
        #expect(reason("[[],[],[]]", limits(depth: 2)) == nil, "beside one another they are no deeper")
        #expect(reason("[{},{},{}]", limits(depth: 2)) == nil && reason("[[1],[{}]]", limits(depth: 3)) == nil)
        #expect(reason("[1,2,3]", limits(values: 4)) == nil)
        #expect(reason("[1,2,3]", limits(values: 3)) == "line 1, column 6: expected at most 3 values, found more")
        #expect(reason("\"abc\"", limits(stringBytes: 3)) == nil && reason("\"a\\nc\"", limits(stringBytes: 3)) == nil)
        for text in ["\"abcd\"", "\"a\\ncd\""] {
            #expect(
                reason(text, limits(stringBytes: 3))?.hasSuffix(
                    "expected a string of at most 3 bytes, found a longer one"
                ) == true
            )
        }
        #expect(JSONLimits.strict == JSONLimits(bytes: 0x100_0000, depth: 16, values: 500_000, stringBytes: 0x1_0000))
        #expect(
            JSONLimits.record == JSONLimits(bytes: 0x400_0000, depth: 32, values: 2_000_000, stringBytes: 0x100_0000)
        )
    }

    @Test("a refusal names the byte and what stands there")
    func places() {
        #expect(reason("") == "line 1, column 1: expected a value, found the end")
        #expect(reason("[1 2]") == "line 1, column 4: expected a comma or ], found 2")
        #expect(reason("{\"a\" 1}") == "line 1, column 6: expected a colon, found 1")
        #expect(reason("{\"a\":1 \"b\"}") == "line 1, column 8: expected a comma or }, found \"")
        #expect(reason("{1}") == "line 1, column 2: expected a key, found 1")
        #expect(reason("[1,]") == "line 1, column 4: expected a value, found ]")
        #expect(reason("12 3") == "line 1, column 4: expected the end, found more text")
        #expect(reason("tru\u{7f}") == "line 1, column 4: expected true, found byte 0x7f")
        #expect(reason("-x") == "line 1, column 2: expected a digit, found x")
        #expect(reason("10.5") == "line 1, column 3: expected an integer, found a fraction or an exponent")
        #expect(reason("1E5") == "line 1, column 2: expected an integer, found a fraction or an exponent")
        #expect(reason("007") == "line 1, column 2: expected a number without leading zero")
        #expect(reason("\"a\tb\"") == "line 1, column 3: expected the end of a string, found byte 0x09")
        #expect(reason("\"a\\qb\"") == "line 1, column 5: expected an escape, found q")
        #expect(reason("\"\\u00g0\"") == "line 1, column 6: expected four hexadecimal digits, found g")
        #expect(reason("\"\\ud800x\"") == "line 1, column 8: expected a second surrogate, found x")
        #expect(reason("{\"k\":1,\"k\":2}")?.hasSuffix("expected each key once, found k twice") == true)
    }

    @Test("integers up to both ends of 63 bits, every escape, and both ends of what surrogates name")
    func values() throws {
        func parse(_ text: String) throws -> JSONTree { try JSONParser.parse(Array(text.utf8)) }
        #expect(try parse("9223372036854775807") == .integer(.max) && parse("-9223372036854775807") == .integer(-.max))
        #expect(reason("9223372036854775808")?.contains("below 2^63") == true)
        #expect(reason("92233720368547758070")?.contains("below 2^63") == true)
        #expect(try parse("0") == .integer(0) && parse("-0") == .integer(0) && parse("100") == .integer(100))
        #expect(try parse(#""\"\\\/\b\f\n\r\t""#) == .string("\"\\/\u{8}\u{c}\n\r\t"))
        #expect(try parse(#""\u0041\u00e9\uFFFD\uabCD""#) == .string("A\u{e9}\u{fffd}\u{abcd}"))
        #expect(try parse(#""\ud800\udc00\udbff\udfff""#) == .string("\u{10000}\u{10ffff}"))
        #expect(reason(#""\udbff\ue000""#) != nil && reason(#""\udbff\udbff""#) != nil)
        #expect(try parse("\t\r\n 1 \n") == .integer(1))
    }

    // MARK: Fields

    private static let document = """
        {"s":"text","n":null,"i":5,"b":false,"h":"0x1F","a":[1,2],"l":["x","yy"],"o":{"i":1},"f":"0000:3a:00.1","short":"3a:00.1"}
        """

    private func take<T>(_ take: (inout JSONFields) throws(JSONError) -> T) -> (value: T?, error: String?) {
        do throws(JSONError) {
            var fields = try JSONFields(JSONParser.parse(Array(Self.document.utf8)), at: "doc")
            return (try take(&fields), nil)
        } catch {
            return (nil, error.description)
        }
    }

    @Test("every kind of field is taken up to its limit, and refused beyond with its path")
    func fields() {
        #expect(take { f throws(JSONError) in try f.string("s", atMost: 4) }.value == "text")
        #expect(
            take { f throws(JSONError) in try f.string("s", atMost: 3) }.error
                == "doc.s: expected at most 3 bytes, found 4"
        )
        #expect(take { f throws(JSONError) in try f.string("i") }.error == "doc.i: expected a string, found an integer")
        #expect(take { f throws(JSONError) in try f.string("x") }.error == "doc: expected a field x, found none")
        #expect(take { f throws(JSONError) in try f.optionalString("s", atMost: 4) }.value == "text")
        #expect(take { f throws(JSONError) in try f.optionalString("s", atMost: 3) }.error != nil)
        #expect(take { f throws(JSONError) in try f.optionalString("n") ?? "none" }.value == "none")
        #expect(take { f throws(JSONError) in try f.optionalString("x") ?? "none" }.value == "none")
        #expect(
            take { f throws(JSONError) in try f.optionalString("a") }.error
                == "doc.a: expected a string or null, found an array"
        )
        #expect(take { f throws(JSONError) in try f.integer("i", in: 5...5) }.value == 5)
        #expect(
            take { f throws(JSONError) in try f.integer("i", in: 6...9) }.error == "doc.i: expected 6 to 9, found 5"
        )
        #expect(
            take { f throws(JSONError) in try f.integer("i", in: 0...4) }.error == "doc.i: expected 0 to 4, found 5"
        )
        #expect(
            take { f throws(JSONError) in try f.integer("b", in: 0...4) }.error
                == "doc.b: expected an integer, found a truth value"
        )
        #expect(take { f throws(JSONError) in try f.optionalInteger("i", in: 5...5) }.value == 5)
        #expect(
            take { f throws(JSONError) in try f.optionalInteger("i", in: 0...4) }.error
                == "doc.i: expected 0 to 4, found 5"
        )
        #expect(take { f throws(JSONError) in try f.optionalInteger("n", in: 0...4) ?? -1 }.value == -1)
        #expect(take { f throws(JSONError) in try f.optionalInteger("x", in: 0...4) ?? -1 }.value == -1)
        #expect(
            take { f throws(JSONError) in try f.optionalInteger("s", in: 0...4) }.error
                == "doc.s: expected an integer or null, found a string"
        )
        #expect(take { f throws(JSONError) in try f.bool("b") }.value == false)
        #expect(take { f throws(JSONError) in try f.bool("n") }.error == "doc.n: expected true or false, found null")
        #expect(take { f throws(JSONError) in try f.hex("h", atMost: 0x1f) }.value == 0x1f)
        #expect(
            take { f throws(JSONError) in try f.hex("h", atMost: 0x1e) }.error
                == "doc.h: expected at most 0x1e, found 0x1F"
        )
        #expect(
            take { f throws(JSONError) in try f.hex("s") }.error
                == "doc.s: expected 0x and at most 16 hexadecimal digits"
        )
        #expect(take { f throws(JSONError) in try f.address("f").description }.value == "0000:3a:00.1")
        #expect(
            take { f throws(JSONError) in try f.address("short") }.error
                == "doc.short: expected an address such as 0000:3a:00.0"
        )
        #expect(take { f throws(JSONError) in try f.array("a", atMost: 2).count }.value == 2)
        #expect(
            take { f throws(JSONError) in try f.array("a", atMost: 1) }.error
                == "doc.a: expected at most 1 elements, found 2"
        )
        #expect(
            take { f throws(JSONError) in try f.array("o", atMost: 1) }.error
                == "doc.o: expected an array, found an object"
        )
        #expect(take { f throws(JSONError) in try f.strings("l", atMost: 2, bytes: 2) }.value == ["x", "yy"])
        #expect(
            take { f throws(JSONError) in try f.strings("l", atMost: 2, bytes: 1) }.error
                == "doc.l: expected strings of at most 1 bytes"
        )
        #expect(
            take { f throws(JSONError) in try f.strings("a", atMost: 2) }.error
                == "doc.a: expected an array of strings, found an integer"
        )
        #expect(take { f throws(JSONError) in try f.object("o").place }.value == "doc.o")
        #expect(take { f throws(JSONError) in try f.object("s") }.error == "doc.s: expected an object, found a string")
        #expect(take { f throws(JSONError) in try f.finish() }.error == "doc: expected only known fields, found s")
    }

    @Test("fields are found in any order, and what is left over is named")
    func order() throws {
        var fields = try JSONFields(JSONParser.parse(Array(#"{"a":1,"b":2,"c":3}"#.utf8)), at: "")
        #expect(try fields.integer("c", in: 0...9) == 3 && fields.integer("a", in: 0...9) == 1)
        let error = #expect(throws: JSONError.self) { try fields.finish() }
        #expect(error?.description == "expected only known fields, found b")
        #expect(try fields.integer("b", in: 0...9) == 2)
        try fields.finish()
        #expect(fields.path("b") == "b")
        let long = String(repeating: "k", count: 41)
        let other = try JSONFields(JSONParser.parse(Array("{\"\(long)\":1}".utf8)), at: "")
        let cut = #expect(throws: JSONError.self) { try other.finish() }
        #expect(cut?.description == "expected only known fields, found " + String(repeating: "k", count: 40) + "...")
    }

    @Test("what is written: escapes, layout, nothing where nothing is")
    func writing() {
        func text(_ layout: JSONWriter.Layout = .compact, _ body: (inout JSONWriter) -> Void) -> String {
            var json = JSONWriter(layout)
            body(&json)
            return String(decoding: json.document, as: UTF8.self)
        }
        #expect(text { $0.value("\"\\\n\r\t\u{1}\u{1f} \u{7f}~") } == #""\"\\\n\r\t\u0001\u001f \u007f~""#)
        // Marks that turn the direction of a terminal's text are written as numbers.
        #expect(text { $0.value("é\u{202e}\u{9b}x\n") } == "\"é\\u202e\\u009bx\\n\"")
        #expect(
            text {
                $0.object {
                    $0.field("a", 1); $0.field("b", nil as Int?); $0.field("c", nil as Bool?)
                }
            } == #"{"a":1,"b":null,"c":null}"#
        )
        #expect(
            text {
                $0.object {
                    $0.field("h", hex: 0xab, width: 4); $0.field("n", hex: nil)
                }
            } == #"{"h":"0x00ab","n":null}"#
        )
        #expect(
            text {
                $0.array {
                    $0.value(1); $0.array { _ in }; $0.object { _ in }; $0.value(false)
                }
            } == "[1,[],{},false]"
        )
        #expect(text(.indented) { $0.array { $0.array { $0.value(1) } } } == "[\n  [\n    1\n  ]\n]\n")
        #expect(text(.indented) { _ in } == "" && text { _ in } == "")
        var json = JSONWriter(.compact)
        json.value("ab")
        #expect(json.count == 4)
    }
}
