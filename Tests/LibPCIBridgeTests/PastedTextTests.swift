// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import LibPCIBridge

/// Whatever a terminal, a forum, mail or an editor puts around a text, it says the same.
@Suite("Texts as people paste them") struct PastedTextTests {
    /// How a text comes to look other than its program printed it.
    enum Disguise: String, CaseIterable {
        case windowsLineEnds, colours, coloursWithoutEscape, mailQuote, quoteOfQuote, codeBlock, fence, boardTags, page
        case pageSource, lineNumbers, grepNumbers, grepNames, byteOrderMark, wide, typography, prompt, noIndentation
        case brokenLines

        func apply(to text: String) -> String {
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
            func each(_ body: (Int, String) -> String) -> String {
                lines.enumerated().map { body($0.offset, $0.element) }.joined(separator: "\n")
            }
            return switch self {
            case .windowsLineEnds: lines.joined(separator: "\r\n")
            case .colours: each { Self.coloured($1) }
            case .coloursWithoutEscape: each { Self.coloured($1).filter { $0 != "\u{1b}" } }
            case .mailQuote: each { "> " + $1 }
            case .quoteOfQuote: each { ">> " + $1 }
            case .codeBlock: each { $1.isEmpty ? $1 : "    " + $1 }
            case .fence: "Hello,\n\nhere it is:\n```\n\(text)\n```\nThanks!\n"
            case .boardTags: "[QUOTE=\"someone\"][code]\(text)[/code]\n[/QUOTE]\n"
            case .page: "<div class=\"post\"><pre><code>" + Self.escaped(text) + "</code></pre></div>"
            case .pageSource:
                Self.escaped(text).split(separator: " ", omittingEmptySubsequences: false).joined(separator: "&nbsp;")
            case .lineNumbers: each { "    \($0 + 1)\t" + $1 }
            case .grepNumbers: each { "\($0 + 1):" + $1 }
            case .grepNames: each { "/var/tmp/paste.txt:" + $1 }
            case .byteOrderMark: "\u{feff}" + text
            case .wide: text
            case .typography: text.map { $0 == "'" ? "\u{2019}" : $0 == "\"" ? "\u{201d}" : "\($0)" }.joined()
            case .prompt: "root@host:~# dmesg\n\(text)\nroot@host:~# "
            case .noIndentation: each { String($1.drop { $0 == " " || $0 == "\t" }) }
            case .brokenLines: each { Self.broken($1) }
            }
        }

        func bytes(of text: String) -> [UInt8] {
            let result = apply(to: text)
            guard self == .wide else { return Array(result.utf8) }
            return [0xff, 0xfe] + result.utf16.flatMap { [UInt8($0 & 0xff), UInt8($0 >> 8)] }
        }

        private static func coloured(_ line: String) -> String {
            guard line.hasPrefix("["), let end = line.firstIndex(of: "]") else { return "\u{1b}[1m\(line)\u{1b}[0m" }
            let rest = line[line.index(after: end)...]
            return "\u{1b}[32m\(line[...end])\u{1b}[0m\u{1b}[1;33m\(rest)\u{1b}[0m\u{1b}[K"
        }

        private static func escaped(_ text: String) -> String {
            text.map { $0 == "<" ? "&lt;" : $0 == ">" ? "&gt;" : $0 == "&" ? "&amp;" : $0 == "'" ? "&#39;" : "\($0)" }
                .joined()
        }

        /// Mail software breaks at the last blank before column 72.
        private static func broken(_ line: String) -> String {
            guard line.count > 72, !line.hasPrefix("\t"), !line.hasPrefix(" ") else { return line }
            let head = line.prefix(72)
            guard let blank = head.lastIndex(of: " "), blank > line.index(line.startIndex, offsetBy: 40) else {
                return line
            }
            return line[..<blank] + "\n" + line[line.index(after: blank)...]
        }
    }

    static let log = """
        [    0.000000] Linux version 6.8.4-made-up (a@b) #1 SMP
        [    0.512345] PCI host bridge to bus 0000:00
        [    0.512350] pci_bus 0000:00: root bus resource [mem 0x90000000-0xdfffffff window]
        [    0.512351] pci_bus 0000:00: root bus resource [bus 00-3e]
        [    0.512360] pci 0000:00:1c.0: [8086:a110] type 01 class 0x060400
        [    0.512370] pci 0000:01:00.0: [10ee:9038] type 00 class 0x058000
        [    0.512375] pci 0000:01:00.0: reg 0x10: [mem 0x90000000-0x900fffff]
        [    0.512380] pci 0000:00:1c.0: PCI bridge to [bus 01]
        [    0.512385] pci 0000:00:1c.0:   bridge window [mem 0x90000000-0x900fffff]
        [    0.600000] pci 0000:01:00.0: BAR 2: no space for [mem size 0x04000000]
        [    0.600001] pci 0000:01:00.0: BAR 2: failed to assign [mem size 0x04000000]
        [    0.600002] pci 0000:00:1c.0: PCI bridge to [bus 01]
        [    0.600003] pci 0000:00:1c.0:   bridge window [mem 0x90000000-0x900fffff]
        [    1.700000] fpga 0000:01:00.0: can't ioremap BAR 2: [??? 0x00000000 flags 0x0]
        """

    static let listing = """
        00:00.0 Host bridge [0600]: Intel Corporation Device [8086:1910] (rev 07)
        \tSubsystem: Intel Corporation Device [8086:1910]
        \tControl: I/O- Mem+ BusMaster+ SpecCycle-
        \tStatus: Cap+ 66MHz- UDF- FastB2B+ ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort+ >SERR- <PERR- INTx-
        \tCapabilities: <access denied>

        00:1c.0 PCI bridge [0604]: Intel Corporation Device [8086:a110] (rev f1) (prog-if 00 [Normal decode])
        \tControl: I/O+ Mem+ BusMaster+ SpecCycle-
        \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0
        \tI/O behind bridge: 0000f000-00000fff [disabled]
        \tMemory behind bridge: 90000000-900fffff [size=1M]
        \tPrefetchable memory behind bridge: 00000000fff00000-00000000000fffff [disabled]
        \tCapabilities: <access denied>

        01:00.0 Memory controller [0580]: Xilinx Corporation Device [10ee:9038]
        \tControl: I/O- Mem+ BusMaster- SpecCycle-
        \tRegion 0: Memory at 90000000 (32-bit, non-prefetchable) [size=1M]
        \tRegion 2: Memory at <unassigned> (32-bit, non-prefetchable) [disabled] [size=64M]
        \tCapabilities: <access denied>
        """

    static let ranges = """
        00000000-00000fff : Reserved
        00001000-0009ffff : System RAM
        90000000-dfffffff : PCI Bus 0000:00
          90000000-900fffff : PCI Bus 0000:01
            90000000-900fffff : 0000:01:00.0
              90000000-900fffff : fpga
          a0000000-a0ffffff : 0000:00:02.0
        """

    private func what(_ bytes: [UInt8]) -> [String] {
        let evidence = TextEvidence(bytes: bytes)
        var result = evidence.functions.map { "\($0)" } + evidence.roots.map { "\($0)" }
        result += evidence.iomem.nodes.map { "\($0.range) \($0.name) \($0.depth)" }
        return result + evidence.findings.map { "\($0)" } + [evidence.kernel.release ?? ""]
    }

    @Test("the same is read from a text in every disguise", arguments: Disguise.allCases)
    func disguise(_ disguise: Disguise) {
        for text in [Self.log, Self.listing, Self.ranges, Self.listing + "\n\n" + Self.log] {
            let plain = what(Array(text.utf8))
            #expect(plain.count > 3)
            #expect(what(disguise.bytes(of: text)) == plain, "\(disguise): \(text.prefix(40))")
        }
    }

    @Test(
        "a corpus text says the same in disguise",
        arguments: [Disguise.mailQuote, .colours, .page, .codeBlock, .grepNumbers]
    )
    func corpus(_ disguise: Disguise) {
        guard TextCorpus.directory != nil else { return }
        for (number, file) in TextCorpus.texts().enumerated() where number % 12 == 0 && file.bytes.count < 100_000 {
            guard let text = String(validating: file.bytes, as: UTF8.self) else { continue }
            #expect(
                TextEvidence(bytes: disguise.bytes(of: text)).functions == TextEvidence(text).functions,
                "\(disguise): \(file.name)"
            )
        }
    }

    @Test("what programs print themselves is no markup")
    func noMarkup() {
        let text =
            "\tCapabilities: <access denied>\n\tRegion 0: Memory at <unassigned> [size=16K]\n\tLatency L0s <1us, L1 <8us"
            + "\n\tStatus: >SERR- <PERR-\n[    1.0] pci 0000:00:00.0: BAR 0 [mem size 0x100]: a & b &c; [1]"
        #expect(PastedText.plain(Array(text.utf8)) == Array(text.utf8))
        let wrapped = "\tStatus: DEVSEL=fast\n>TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-\n"
        #expect(PastedText.plain(Array(wrapped.utf8)) == Array(wrapped.utf8))
    }

    @Test(
        "unfinished sequences are no trap",
        arguments: [
            "\u{1b}", "\u{1b}[", "\u{1b}[3", "&#", "&#x", "&#99999999999;", "<", "</", "<br", "[/", "\u{1b}]0;x", "[0;",
            ">", " >",
        ]
    )
    func unfinished(_ text: String) {
        _ = PastedText.plain(Array(text.utf8))
        _ = PastedText.plain(Array((text + "\n").utf8))
        _ = PastedText.plain([0xff, 0xfe, 0x41])
    }

    @Test("a listing that names no buses of a bridge tells nothing about them")
    func cutBridge() throws {
        let text = "00:1c.0 PCI bridge: Vendor Device\n\tControl: I/O+ Mem+ BusMaster+\n"
        let record = TextEvidence(text).record
        let assessment = Assessment(record, try TopologyAssembler(record).topology())
        #expect(assessment.verdict == .cannotTell)
    }
}
