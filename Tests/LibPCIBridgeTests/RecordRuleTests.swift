// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import TestSupport
import Testing

@testable import LibPCIBridge

/// Records as JSON, field by field.
@Suite("records as JSON")
struct RecordRuleTests {
    private func address(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    private func text(_ record: FunctionRecord) -> String {
        var json = JSONWriter()
        json.object { record.write(to: &$0) }
        return String(decoding: json.document, as: UTF8.self)
    }

    private func encoded(_ record: FunctionRecord) throws -> [String: Any] {
        return try #require(try JSONSerialization.jsonObject(with: Data(text(record).utf8)) as? [String: Any])
    }

    private func decoded(_ text: String) throws -> FunctionRecord {
        var fields = try JSONFields(JSONParser.parse(Array(text.utf8), limits: .record), at: "")
        return try FunctionRecord(&fields)
    }

    /// A function with every field set.
    private func full() throws -> FunctionRecord {
        var f = FunctionRecord(address: try address("0001:3a:00.1"))
        f.placement = .below(try address("0001:00:01.0"))
        f.config = ConfigSpace([0x86, 0x80, 0, 0x12] + Array(repeating: 0, count: 252))
        f.resource = [ResourceLine(start: 0x1000, end: 0x1fff, flags: ResourceFlags(rawValue: 0x40200)), .zero]
        f.vendor = 0x8086
        f.device = 0x1572
        f.classCode = 0x02_0001
        f.revision = 0xa
        f.subsystemVendor = 0x1028
        f.subsystemDevice = 1
        f.driver = "i40e"
        f.enableCount = 2
        f.numaNode = -1
        f.iommuGroup = 7
        f.removable = "fixed"
        f.isUntrusted = true
        f.enabledVFs = 3
        f.totalVFs = 64
        f.physicalFunction = try address("0001:3a:00.0")
        f.isBootVGA = false
        f.probed = [ProbedSize(index: .rom, size: ByteCount(0x1_0000), flags: ResourceFlags(rawValue: 0x4_6200))]
        f.use = [UseEvidence(code: "c", detail: "d", isProtected: true, weight: 9)]
        return f
    }

    @Test("every field of a function is written under its own name and read back")
    func everyField() throws {
        let f = try full()
        let json = try encoded(f)
        let expected: [String: String] = [
            "address": "0001:3a:00.1", "parent": "0001:00:01.0", "config": "86800012", "vendor": "0x8086",
            "device": "0x1572",
            "classCode": "0x020001", "revision": "0x0a", "subsystemVendor": "0x1028", "subsystemDevice": "0x0001",
            "driver": "i40e", "removable": "fixed", "physicalFunction": "0001:3a:00.0",
        ]
        for (key, text) in expected { #expect(json[key] as? String == text, "\(key)") }
        let numbers = [
            "configSize": 256, "enable": 2, "numaNode": -1, "iommuGroup": 7, "enabledVFs": 3, "totalVFs": 64,
        ]
        for (key, number) in numbers { #expect(json[key] as? Int == number, "\(key)") }
        #expect(json["untrusted"] as? Bool == true && json["bootVGA"] as? Bool == false)
        #expect((json["resource"] as? [String])?.first == f.resource?.first?.description)
        #expect(try decoded(text(f)) == f)
        let bare = FunctionRecord(address: f.address)
        #expect(Set(try encoded(bare).keys) == ["address"])
        #expect(try decoded("{\"address\": \"0001:3a:00.1\"}") == bare)
        var root = bare
        root.placement = .rootBus
        #expect(try encoded(root)["parent"] as? String == "root")
        #expect(try decoded("{\"address\": \"0001:3a:00.1\", \"parent\": \"root\"}") == root)
    }

    @Test(
        "what is no function: numbers too large, bytes too many, lines too many, words unknown",
        arguments: [
            ("\"vendor\": \"0xffff\"", true), ("\"vendor\": \"0x10000\"", false), ("\"vendor\": \"ffff\"", false),
            ("\"vendor\": 5", false), ("\"classCode\": \"0xffffffff\"", true),
            ("\"classCode\": \"0x100000000\"", false),
            ("\"revision\": \"0x100\"", false), ("\"config\": \"8\"", false), ("\"config\": \"8g\"", false),
            ("\"config\": \"86\"", true),
            ("\"config\": \"86\", \"configSize\": 0", false), ("\"config\": \"86\", \"configSize\": 1", true),
            ("\"config\": \"86\", \"configSize\": 4096", true), ("\"config\": \"86\", \"configSize\": 4097", false),
            ("\"parent\": \"x\"", false), ("\"physicalFunction\": \"x\"", false),
            ("\"resource\": [\"0x1 0x2\"]", false),
            ("\"resource\": [\"0x1 0x2 0x3\"]", true), ("\"told\": [\"resources partly\"]", true),
            ("\"told\": [\"resources\"]", false),
            ("\"told\": [\"x partly\"]", false), ("\"told\": [\"resources x\"]", false),
            ("\"told\": [\"source x\"]", false),
            ("\"probed\": [{\"index\": 16, \"size\": \"0x1\", \"flags\": \"0x0\"}]", true),
            ("\"probed\": [{\"index\": 17, \"size\": \"0x1\", \"flags\": \"0x0\"}]", false),
        ]
    )
    func limits(field: String, isRead: Bool) {
        #expect(((try? decoded("{\"address\": \"0000:00:01.0\", \(field)}")) != nil) == isRead, "\(field)")
    }

    @Test("24 resource lines are the most")
    func lines() {
        for (count, isRead) in [(24, true), (25, false)] {
            let list = Array(repeating: "\"0x0 0x0 0x0\"", count: count).joined(separator: ",")
            #expect(
                ((try? decoded("{\"address\": \"0000:00:01.0\", \"resource\": [\(list)]}")) != nil) == isRead,
                "\(count)"
            )
        }
    }

    @Test("what was told of a function, in words and back")
    func knowledge() throws {
        var some = FunctionKnowledge(sources: [.kernel])
        #expect(some.words == ["source kernel"] && FunctionKnowledge(words: some.words) == some)
        some.resources = .partly
        some.windows = .unseen
        some.registers = .partly
        some.settings = .unseen
        some.isPrefetchableWidthKnown = false
        #expect(
            some.words == [
                "source kernel", "resources partly", "windows not-seen", "registers partly", "settings not-seen",
                "width not-seen",
            ]
        )
        #expect(FunctionKnowledge(words: some.words) == some)
        // A record from before settings were told: unseen where registers were not seen.
        #expect(FunctionKnowledge(words: ["registers partly"])?.settings == .unseen)
        #expect(FunctionKnowledge(words: [])?.settings == .seen)
        #expect(FunctionKnowledge(words: ["width seen"])?.isPrefetchableWidthKnown == true)
    }

    @Test("bytes as pairs of digits, small letters out, either in")
    func hexadecimals() {
        #expect(
            hexBytes("00fFA9") == [0, 0xff, 0xa9] && hexBytes("") == [] && hexBytes("0") == nil && hexBytes("0g") == nil
        )
        #expect(hexText([0, 0xff, 0xa9][...]) == "00ffa9" && hexText([][...]) == "")
        #expect(resourceLine("0x1 0x2 0x3") == ResourceLine(start: 1, end: 2, flags: ResourceFlags(rawValue: 3)))
        #expect(resourceLine("") == nil && resourceLine("0x0 0x0 0x0\n0x0 0x0 0x0") == nil)
    }
}

/// Registers made from what texts say, decoded here by the specification.
@Suite("registers from texts")
struct ConfigSynthesisTests {
    private func facts(_ change: (inout TextFunction) throws -> Void) throws -> TextFunction {
        var facts = TextFunction(address: try #require(FunctionAddress(parsing: "0000:01:00.0")))
        facts.vendor = 0x8086
        facts.device = 0x1572
        try change(&facts)
        return facts
    }

    private func config(_ facts: TextFunction, width: Int? = nil, offset: Int64 = 0) -> ConfigSpace {
        var synthesis = ConfigSynthesis(facts, prefetchableWidth: width) { _, isIO in isIO ? 0 : offset }
        return synthesis.make()
    }

    private func resource(
        _ index: ResourceIndex?,
        _ flags: ResourceFlags,
        _ start: UInt64?,
        state: ResourceFacts.State = .placed
    ) throws
        -> ResourceFacts
    {
        ResourceFacts(index: try #require(index), flags: flags, start: start, size: ByteCount(0x1000), state: state)
    }

    @Test("the header: ids, command, class, revision, subsystem of a plain function only")
    func header() throws {
        let one = config(
            try facts {
                $0.decodesIO = true
                $0.revision = 7
                $0.programmingInterface = 2
                $0.classWord = 0x0108
                $0.subsystemVendor = 0x1028
                $0.subsystemDevice = 0x1234
            }
        )
        #expect(
            one.word(0) == 0x8086 && one.word(2) == 0x1572 && one.word(4) == 1 && one.byte(8) == 7 && one.byte(9) == 2
        )
        #expect(one.word(0xa) == 0x0108 && one.byte(0xe) == 0 && one.word(0x2c) == 0x1028 && one.word(0x2e) == 0x1234)
        #expect(config(try facts { $0.decodesMemory = true }).word(4) == 2)
        #expect(try config(facts { _ in }).word(4) == 0 && config(facts { _ in }).word(0xa) == 0xff00)
        let bridge = config(
            try facts {
                $0.headerLayout = 1
                $0.subsystemVendor = 0x1028
            }
        )
        #expect(bridge.byte(0xe) == 1 && bridge.word(0x2c) != 0x1028)
        // Whether there is a list of capabilities: unless it is told that there is none.
        #expect(
            try config(facts { _ in }).word(6) == 0x10 && config(facts { $0.showsCapabilities = true }).word(6) == 0
        )
    }

    @Test("BARs with their type bits, in bus addresses; the upper half behind; a ROM where its header has it")
    func bars() throws {
        let made = config(
            try facts {
                $0.set(try resource(.bar(0), .memory, 0x8010_0000))
                $0.set(try resource(.bar(1), .io, 0x2000))
                $0.set(try resource(.bar(2), [.memory, .memory64, .prefetchable], 0x12_3400_0000))
                $0.set(try resource(.bar(4), .io, 0x9000, state: .ignored))
                $0.set(try resource(.rom, [.memory, .prefetchable], 0x8020_0000))
            }
        )
        #expect(made.long(0x10) == 0x8010_0000 && made.long(0x14) == 0x2001 && made.long(0x18) == 0x3400_000c)
        #expect(made.long(0x1c) == 0x12 && made.long(0x20) == 0 && made.long(0x30) == 0x8020_0000)
        let shifted = config(try facts { $0.set(try resource(.bar(0), .memory, 0x8010_0000)) }, offset: 0x4000_0000)
        #expect(shifted.long(0x10) == 0x4010_0000)
        let virtual = config(try facts { $0.set(try resource(.bar(0), .memory, 0x8010_0000, state: .virtual)) })
        #expect(virtual.long(0x10) == 0)
        let bridge = config(
            try facts {
                $0.headerLayout = 1
                $0.set(try resource(.rom, .memory, 0x8020_0000))
            }
        )
        #expect(bridge.long(0x38) == 0x8020_0000)
    }

    @Test("windows: open with both ends, closed with base above limit; wide where they reach or say so")
    func windows() throws {
        func range(_ first: UInt64, _ last: UInt64) throws -> AddressRange {
            try #require(AddressRange(first: first, last: last))
        }
        func bridge(width: Int? = nil, offset: Int64 = 0, _ change: (inout BridgeFacts) throws -> Void) throws
            -> ConfigSpace
        {
            config(
                try facts {
                    $0.headerLayout = 1
                    var bridge = BridgeFacts()
                    bridge.secondary = BusNumber(3)
                    try change(&bridge)
                    $0.bridge = bridge
                },
                width: width,
                offset: offset
            )
        }
        let open = try bridge {
            $0.primary = BusNumber(1)
            $0.subordinate = BusNumber(9)
            $0.io = .open(try range(0x2000, 0x3fff), width: 16)
            $0.memory = .open(try range(0x8010_0000, 0x802f_ffff), width: nil)
            $0.prefetchable = .open(try range(0x12_0000_0000, 0x12_3fff_ffff), width: nil)
        }
        #expect(open.byte(0x18) == 1 && open.byte(0x19) == 3 && open.byte(0x1a) == 9)
        #expect(
            open.byte(0x1c) == 0x20 && open.byte(0x1d) == 0x30 && open.word(0x20) == 0x8010 && open.word(0x22) == 0x8020
        )
        #expect(open.word(0x24) == 1 && open.word(0x26) == 0x3ff1 && open.long(0x28) == 0x12 && open.long(0x2c) == 0x12)
        let closed = try bridge { _ in }
        #expect(closed.byte(0x18) == 1 && closed.byte(0x1a) == 3)
        #expect((closed.byte(0x1c) ?? 0) & 0xf0 == 0xf0 && (closed.byte(0x1d) ?? 0) & 0xf0 == 0)
        #expect(closed.word(0x20) == 0xfff0 && closed.word(0x22) == 0)
        #expect((closed.word(0x24) ?? 0) & 0xfff0 == 0xfff0 && (closed.word(0x26) ?? 1) & 0xfff0 == 0)
        #expect(try bridge(width: 64) { _ in }.word(0x24) == 0xfff1 && bridge(width: 32) { _ in }.word(0x24) == 0xfff0)
        #expect(try bridge(width: 0) { _ in }.word(0x24) == 0, "no such window")
        let narrow = try bridge { $0.prefetchable = .open(try range(0x9000_0000, 0x900f_ffff), width: 32) }
        #expect(narrow.word(0x24) == 0x9000 && narrow.word(0x26) == 0x9000)
        let high = try bridge { $0.io = .open(try range(0x1_2000, 0x1_3fff), width: nil) }
        #expect(high.byte(0x1c) == 0x21 && high.word(0x30) == 1 && high.word(0x32) == 1)
        let shifted = try bridge(offset: 0x4000_0000) {
            $0.memory = .open(try range(0x8010_0000, 0x802f_ffff), width: nil)
        }
        #expect(shifted.word(0x20) == 0x4010 && shifted.word(0x22) == 0x4020)
    }

    @Test("PCI Express: the port type, its slot, and ARI; capabilities read back from the list")
    func express() throws {
        func made(_ type: ExpressPortType, _ change: (inout ExpressFacts) -> Void) throws -> Capabilities {
            var express = ExpressFacts()
            express.portType = type
            change(&express)
            return Capabilities(config(try facts { $0.express = express }))
        }
        let port = try made(.rootPort) {
            $0.hasSlot = true
            $0.slotNumber = 5
            $0.isHotPlugCapable = true
            $0.isSurpriseCapable = true
            $0.hasPowerControl = true
            $0.isCardPresent = true
            $0.supportsARIForwarding = true
            $0.isARIForwardingEnabled = true
        }
        let found = try #require(port.express)
        #expect(
            found.portType == .rootPort && found.isSlotImplemented && found.slotCapabilities?.physicalSlotNumber == 5
        )
        #expect(
            found.slotCapabilities?.rawValue == 5 << 19 | 0x62 && found.slotStatus == 0x40
                && found.isARIForwardingEnabled
        )
        let bare = try #require(try made(.downstreamPort) { _ in }.express)
        #expect(!bare.isSlotImplemented && !bare.isARIForwardingEnabled && bare.portType == .downstreamPort)
        #expect(try made(.endpoint) { _ in }.express?.portType == .endpoint)
    }
}
