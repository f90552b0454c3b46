// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import LibPCIBridge

/// Numbers, ranges and addresses in texts: each parser at its limits.
@Suite("numbers in texts")
struct ByteRuleTests {
    private func bytes(_ text: String) -> TextBytes { Array(text.utf8)[...] }

    /// What a parser takes and what it leaves, in the middle of a larger array.
    private func taken<T>(_ text: String, _ parse: (inout TextBytes) -> T?) -> (value: T?, rest: String) {
        var rest = Array(("<" + text).utf8)[1...]
        let value = parse(&rest)
        return (value, rest.string)
    }

    @Test("hexadecimal: at most 16 digits, of either case; with 0x before it, or nothing is taken")
    func hexadecimal() {
        let table: [(String, UInt64?, String)] = [
            ("0", 0, ""), ("fF ", 0xff, " "), ("ffffffffffffffff", .max, ""),
            ("ffffffffffffffff0", nil, "ffffffffffffffff0"),
            ("g", nil, "g"), ("", nil, ""), ("12g", 0x12, "g"), ("0000000000000001", 1, ""),
        ]
        for (text, value, rest) in table {
            let found = taken(text) { $0.takeHex() }
            #expect(found.value == value && found.rest == rest, "\(text)")
            let prefixed = taken("0x" + text) { $0.takePrefixedHex() }
            #expect(prefixed.value == value && prefixed.rest == (value == nil ? "0x" + text : rest), "\(text)")
        }
        #expect(taken("12") { $0.takePrefixedHex() }.value == nil)
        #expect(bytes("1f").hexValue == 0x1f && bytes("1f ").hexValue == nil && bytes("").hexValue == nil)
    }

    @Test("decimal: up to the largest of 64 bits, and not one more")
    func decimals() {
        let table: [(String, UInt64?, String)] = [
            ("0", 0, ""), ("10a", 10, "a"), ("18446744073709551615", .max, ""),
            ("18446744073709551616", nil, "18446744073709551616"), ("", nil, ""), ("-1", nil, "-1"), ("a", nil, "a"),
        ]
        for (text, value, rest) in table {
            let found = taken(text) { $0.takeDecimal() }
            #expect(found.value == value && found.rest == rest, "\(text)")
        }
        #expect(bytes("12").decimalValue == 12 && bytes("12 ").decimalValue == nil)
        func number(_ text: String) -> Int? { Array(text.utf8).withUnsafeBufferPointer { decimal($0) } }
        #expect(
            number("-5\n") == -5 && number("0") == 0 && number("-") == nil && number("") == nil && number("x") == nil
        )
        #expect(number("9223372036854775807") == .max && number("9223372036854775808") == nil)
        func trimmed(_ text: String) -> String { Array(text.utf8).withUnsafeBufferPointer { trimmedText($0) } }
        #expect(trimmed(" \t a b\n\r\0") == "a b" && trimmed("\n") == "" && trimmed("") == "")
    }

    @Test("words, beginnings, ends and what is between")
    func pieces() {
        let text = bytes("BAR 0: no space")
        #expect(text.starts("BAR ") && !text.starts("BAR 0: no space for"))
        #expect(text.ends("space") && text.ends("BAR 0: no space") && !text.ends("xBAR 0: no space"))
        #expect(text.after(": ")?.string == "no space" && text.after("?") == nil && text.after("space")?.string == "")
        #expect(text.before(":").string == "BAR 0" && text.before("?").string == "BAR 0: no space")
        #expect(bytes("aab").find("ab") == 1 && bytes("ab").find("abc") == nil && bytes("ab").find("") == nil)
        #expect(bytes("xab").find("ab") == 1 && bytes("abab").find("ab") == 0)
        #expect(bytes(" \ta\r").trimmed.string == "a" && bytes(" ").trimmed.isEmpty)
        #expect(bytes(" a  b\tc\r").words().map(\.string) == ["a", "b", "c"])
        #expect(bytes("ab").equals("ab") && !bytes("ab").equals("abc") && !bytes("ab").equals("a"))
        #expect(TextLines(Array("a\r\nb\n\nc".utf8)).map(\.string) == ["a", "b", "", "c"])
        #expect(TextLines([]).map(\.string) == [] && TextLines([0x0d]).map(\.string) == [""])
    }

    @Test("an address: long with its segment, short without; nothing beside it that is a digit")
    func addresses() {
        let table: [(String, String?, String)] = [
            ("0000:3a:00.1 x", "0000:3a:00.1", " x"), ("3a:1f.7", "0000:3a:1f.7", ""),
            ("10000:01:00.0", "10000:01:00.0", ""),
            ("ffffffff:ff:1f.7", "ffffffff:ff:1f.7", ""), ("3a:20.0", nil, "3a:20.0"), ("3a:00.8", nil, "3a:00.8"),
            ("000:3a:00.0", nil, "000:3a:00.0"), ("0000:3a:00", nil, "0000:3a:00"), ("3a:00.01", nil, "3a:00.01"),
            ("0000:3a:0.0", nil, "0000:3a:0.0"), ("a:00.0", nil, "a:00.0"),
            ("123456789:00:00.0", nil, "123456789:00:00.0"),
            ("00:3a:00.0", nil, "00:3a:00.0"),
        ]
        for (text, address, rest) in table {
            let found = taken(text) { takeAddress(&$0) }
            #expect(found.value?.description == address && found.rest == rest, "\(text)")
        }
        let bus = taken("0001:3a rest") { text in takeBus(&text).map { "\($0.segment) \($0.bus)" } }
        #expect(bus.value == "1 3a" && bus.rest == " rest")
        for text in ["0001:3", "0001:3ab", "0001", ":3a", "100000000:3a"] {
            #expect(taken(text) { takeBus(&$0).map { _ in 0 } }.value == nil, "\(text)")
        }
    }

    @Test("a range as the kernel prints it: space, both ends or a size, flags in any order")
    func ranges() throws {
        let table: [(String, ResourceFlags, UInt64?, UInt64?, UInt64?)] = [
            ("[io  0x1000-0x1fff window]", [.io, .window], 0x1000, 0x1fff, 0x1000),
            ("[port 0x10-0x1f]", [.io], 0x10, 0x1f, 0x10),
            (
                "[mem 0x80000000-0x800fffff 64bit pref]", [.memory, .memory64, .prefetchable], 0x8000_0000, 0x800f_ffff,
                1 << 20
            ),
            ("[mem size 0x00100000 64bit]", [.memory, .memory64], nil, nil, 1 << 20),
            ("[??? 0x0-0xf flags 0x20000000]", ResourceFlags(rawValue: 0x2000_0000), 0, 15, 16),
            ("[0x10-0x1f]", [], 0x10, 0x1f, 16), ("[mem 0x1000-0x0fff disabled]", [.memory, .disabled], nil, nil, nil),
            ("[mem 0x1000-0x0fff]", [.memory, .disabled], nil, nil, nil),
            ("[io  disabled]", [.io, .disabled], nil, nil, nil),
            ("[mem 0x1000]", [.memory], 0x1000, 0x1000, 1),
            ("[mem 0x0-0xffffffffffffffff]", [.memory], 0, .max, nil),
        ]
        for (text, flags, first, last, size) in table {
            let found = taken(text + " rest") { RangeText.take(&$0) }
            let range = try #require(found.value, "\(text)")
            #expect(range.flags == flags && found.rest == " rest", "\(text)")
            #expect(range.range?.first == first && range.range?.last == last, "\(text)")
            if size != nil { #expect(range.size == size.map { ByteCount($0) }, "\(text)") }
        }
        for text in [
            "mem 0x1-0x2]", "[mem 0x1-]", "[mem size]", "[mem 0x1-0x2 hot]", "[mem 0x1-0x2", "[bus 00-ff]", "[mem x]",
        ] {
            let found = taken(text) { RangeText.take(&$0) }
            #expect(found.value == nil && found.rest == text, "\(text)")
        }
        let old = try #require(RangeText.first(in: bytes("can't allocate mem pref (size 0x100000) to x")))
        #expect(old.resource.size == ByteCount(1 << 20) && old.resource.flags == [.memory, .prefetchable])
        #expect(RangeText.first(in: bytes(" io (size 0x100)"))?.resource.flags == .io)
        #expect(RangeText.first(in: bytes(" mem (size 0x100)"))?.resource.flags == .memory)
        #expect(RangeText.first(in: bytes(" x (size 0x100)")) == nil && RangeText.first(in: bytes("none")) == nil)
    }

    @Test("bus ranges: one number or two of two digits at most")
    func busRanges() {
        let table: [(String, [UInt8]?)] = [
            ("[bus 00-ff]", [0, 0xff]), ("[bus 3a]", [0x3a, 0x3a]), ("[bus 100]", nil), ("[bus 00-100]", nil),
            ("[bus 00-]", nil),
            ("[bus 00-ff", nil), ("bus 00", nil),
        ]
        for (text, expected) in table {
            let found = taken(text) { RangeText.takeBuses(&$0).map { [$0.first, $0.last] } }
            #expect(found.value == expected && found.rest == (expected == nil ? text : ""), "\(text)")
        }
    }

    @Test("the flag word of a BAR of a printed range: kind and register bits, nothing of what stands behind")
    func flagsOfBARs() {
        func flags(_ text: String, isROM: Bool = false) -> UInt64? {
            RangeText.first(in: bytes(text))?.resource.flags.ofBAR(isROM: isROM).rawValue
        }
        // include/linux/ioport.h and the low bits of the register.
        #expect(flags("[io  0x10-0x1f]") == 0x40101 && flags("[mem 0x0-0xf]") == 0x40200)
        #expect(flags("[mem 0x0-0xf 64bit]") == 0x14_0204 && flags("[mem 0x0-0xf pref]") == 0x4_2208)
        #expect(flags("[mem 0x0-0xf 64bit pref]") == 0x14_220c && flags("[mem 0x0-0xf pref]", isROM: true) == 0x4_6200)
        #expect(flags("[mem 0x10-0x1f] 64bit pref window") == 0x40200)
    }

    @Test("lines of sysfs's resource: three numbers each, at most 24 lines, nothing besides")
    func resourceFile() {
        func lines(_ text: String) -> [ResourceLine]? { Array(text.utf8).withUnsafeBufferPointer { resourceLines($0) } }
        #expect(
            lines("0x1 0x2 0x3\n0x0 0x0 0x0") == [
                ResourceLine(start: 1, end: 2, flags: ResourceFlags(rawValue: 3)), .zero,
            ]
        )
        #expect(lines("") == [])
        let line = "0x0 0x0 0x0\n"
        #expect(lines(String(repeating: line, count: 24))?.count == 24)
        #expect(lines(String(repeating: line, count: 25)) == nil)
        for text in [
            "0x1 0x2\n", "1 2 3\n", "0x1 0x2 0x3 0x4\n", "0x 0x2 0x3\n", "0x12345678901234567 0x0 0x0\n", "\n",
        ] {
            #expect(lines(text) == nil, "\(text)")
        }
    }

    @Test("nodes of /proc/iomem nest by what they contain; zeros nest by their indentation")
    func iomem() {
        let text = IomemText(
            "00001000-00002fff : a\n  00001000-00001fff : b\n  00002000-00002fff : c\n00003000-00003fff : d\nx\n"
        )
        #expect(text.nodes.map(\.name) == ["a", "b", "c", "d"])
        #expect(text.nodes.map(\.parent) == [nil, 0, 0, nil] && text.nodes.map(\.depth) == [0, 1, 1, 0])
        #expect(
            text.ignoredLines == 1 && !text.isZeroed && text.children(of: 0) == [1, 2]
                && text.children(of: nil) == [0, 3]
        )
        // Without indentation, as forums leave it.
        #expect(IomemText("00001000-00002fff : a\n00001000-00001fff : b\n").nodes.map(\.parent) == [nil, 0])
        let zeros = IomemText("00000000-00000000 : a\n  00000000-00000000 : b\n00000000-00000000 : c\n")
        #expect(zeros.isZeroed && zeros.nodes.map(\.parent) == [nil, 0, nil])
        #expect(!IomemText("00000000-00000000 : a\n").isZeroed && !IomemText("").isZeroed)
        for line in ["0010-001f : x", "00001000-00002fff:x", "000-00002fff : x", "00001000-000 : x", "2000-1000 : x"] {
            #expect(IomemText(line).nodes.count == (line == "0010-001f : x" ? 1 : 0), "\(line)")
        }
        #expect(
            IomemText.bus(named: "PCI Bus 0001:3a")?.segment == 1
                && IomemText.bus(named: "PCI Bus 0001:3a")?.bus.rawValue == 0x3a
        )
        for name in ["PCI Bus 0001:100", "PCI Bus 0001", "PCI bus 0000:00", "PCI Bus #01"] {
            #expect(IomemText.bus(named: name) == nil, "\(name)")
        }
    }

    @Test("IPv4 and IPv6 addresses as tools print them")
    func network() {
        let four: [(String, UInt32?)] = [
            ("192.0.2.1", 0xc000_0201), ("255.255.255.255", .max), ("0.0.0.0", 0), ("::ffff:192.0.2.1", 0xc000_0201),
            ("256.0.0.1", nil), ("1.2.3", nil), ("1.2.3.4.5", nil), ("1..2.3", nil), ("x", nil), ("::1", nil),
        ]
        for (text, value) in four { #expect(NetworkUse.ipv4(text) == value, "\(text)") }
        func six(_ words: [UInt16]) -> [UInt8] { words.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] } }
        let table: [(String, [UInt16]?)] = [
            ("::", [0, 0, 0, 0, 0, 0, 0, 0]), ("::1", [0, 0, 0, 0, 0, 0, 0, 1]),
            ("fe80::1%eth0", [0xfe80, 0, 0, 0, 0, 0, 0, 1]),
            ("2001:db8::5:0:7", [0x2001, 0xdb8, 0, 0, 0, 5, 0, 7]), ("1:2:3:4:5:6:7:8", [1, 2, 3, 4, 5, 6, 7, 8]),
            ("1::", [1, 0, 0, 0, 0, 0, 0, 0]), ("1:2:3:4:5:6:7", nil), ("1:2:3:4:5:6:7:8:9", nil), ("1::2::3", nil),
            ("12345::", nil), ("g::", nil), ("1:2:3:4:5:6:7::8", nil),
        ]
        for (text, words) in table { #expect(NetworkUse.ipv6(text) == words.map(six), "\(text)") }
    }

    @Test("quoted-printable is decoded where mail says so, or where lines are cut as mail cuts them")
    func quotedPrintable() {
        func plain(_ text: String) -> String {
            String(decoding: QuotedPrintable.plain(Array(text.utf8)), as: UTF8.self)
        }
        let head = "Content-Transfer-Encoding: quoted-printable\n"
        let table: [(String, String)] = [
            ("a=3Db", "a=b"), ("a=\nb", "ab"), ("a=\r\nb", "ab"), ("a=3db", "a=3db"), ("a=", "a="), ("a=4", "a=4"),
            ("=41=42", "AB"),
        ]
        for (text, expected) in table {
            #expect(plain(head + text) == head + expected, "\(text)")
            #expect(plain(text) == text, "\(text)")
        }
        func cut(_ length: Int) -> String { String(repeating: "x", count: length - 1) + "=\n" }
        for (length, isMail) in [(63, false), (64, true), (76, true), (77, false)] {
            let text = cut(length) + cut(length) + "=41"
            #expect(plain(text).hasSuffix("=41") != isMail, "\(length)")
        }
        #expect(plain(cut(76) + "=41").hasSuffix("=41"), "one cut line is an accident")
    }

    @Test("names of classes and capabilities, exact and by their beginning; numbers for what lspci has no name for")
    func names() {
        let classes: [(String, UInt16?)] = [
            ("PCI bridge", 0x0604), ("Non-Volatile memory controller", 0x0108), ("VGA compatible controller", 0x0300),
            ("Ethernet controller", 0x0200), ("PCI bridg", nil), ("PCI bridges", nil), ("", nil),
        ]
        for (name, word) in classes { #expect(ClassNames.word(bytes(name)) == word, "\(name)") }
        #expect(
            CapabilityNames.standard(bytes("MSI-X: Enable+")) == 0x11
                && CapabilityNames.standard(bytes("MSI: Enable-")) == 5
        )
        #expect(CapabilityNames.standard(bytes("Express (v2) Endpoint")) == 0x10)
        #expect(
            CapabilityNames.standard(bytes("#15 [0000]")) == 0x15
                && CapabilityNames.standard(bytes("Unheard of")) == nil
        )
        #expect(CapabilityNames.extended(bytes("Physical Resizable BAR")) == 0x15)
        #expect(CapabilityNames.extended(bytes("Virtual Resizable BAR")) == 0x24)
        #expect(CapabilityNames.extended(bytes("Extended Capability ID 0x2f")) == 0x2f)
        #expect(CapabilityNames.extended(bytes("Single Root I/O Virtualization (SR-IOV)")) == 0x10)
    }
}
