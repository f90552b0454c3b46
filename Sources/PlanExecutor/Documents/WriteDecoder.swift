// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// Builds one write from the fields of a JSON object; refuses what no plan has business with.
enum WriteDecoder {
    static func write(_ fields: inout JSONFields) throws(JSONError) -> SystemWrite {
        let write = try anyWrite(&fields)
        if let fault = WriteRules.fault(in: write) { throw JSONError(place: fields.place, reason: fault) }
        return write
    }

    private static func anyWrite(_ fields: inout JSONFields) throws(JSONError) -> SystemWrite {
        switch try fields.string("operation", atMost: 32) {
        case "remove": return .remove(try fields.address("address"))
        case "rescan-bus":
            let (segment, bus) = try bus(&fields)
            return .rescanBus(segment: segment, bus: bus)
        case "rescan-device": return .rescanDevice(try fields.address("address"))
        case "rescan-all": return .rescanAll
        case "config":
            let address = try fields.address("address")
            let (offset, width, mask, value) = try register(&fields, offsets: 0...4095)
            return .config(address, offset: offset, width: width, mask: mask, value: value)
        case "resize-bar":
            let address = try fields.address("address")
            let bar = try fields.integer("bar", in: 0...5)
            return .resizeBAR(address, bar: bar, exponent: try fields.integer("exponent", in: 0...43))
        case "resource-alignment": return .resourceAlignment(try fields.string("text"))
        case "sriov-numvfs":
            let address = try fields.address("address")
            return .sriovNumVFs(address, count: try fields.integer("count", in: 0...65_535))
        case "unbind-driver": return .unbindDriver(try fields.address("address"))
        case "probe-driver": return .probeDriver(try fields.address("address"))
        case "driver-override":
            let address = try fields.address("address")
            return .driverOverride(address, driver: try fields.string("driver", atMost: 64))
        case "slot-power":
            let on = try fields.bool("on")
            return .slotPower(slot: try fields.string("slot", atMost: 64), on: on)
        default: throw fields.error("operation", "expected a known operation")
        }
    }

    static func bus(_ fields: inout JSONFields) throws(JSONError) -> (segment: UInt32, bus: BusNumber) {
        let bus = BusNumber(UInt8(try fields.hex("bus", atMost: 0xff)))
        return (UInt32(try fields.hex("segment", atMost: 0xffff_ffff)), bus)
    }

    static func register(
        _ fields: inout JSONFields,
        offsets: ClosedRange<UInt64>
    ) throws(JSONError) -> (offset: Int, width: Int, mask: UInt32, value: UInt32) {
        let mask = try fields.hex("mask", atMost: 0xffff_ffff)
        let offset = try fields.hex("offset", atMost: offsets.upperBound)
        let value = try fields.hex("value", atMost: 0xffff_ffff)
        let width = try fields.integer("width", in: 1...4)
        guard width != 3, Int(offset) % width == 0 else {
            throw fields.error("width", "expected 1, 2 or 4 at an offset that is a multiple of it, found \(width)")
        }
        let largest: UInt64 = width == 4 ? 0xffff_ffff : 1 << UInt64(8 * width) - 1
        guard mask > 0, mask <= largest else { throw fields.error("mask", "expected bits within \(width) bytes") }
        guard value & ~mask == 0 else { throw fields.error("value", "expected no bits outside the mask") }
        return (Int(offset), width, UInt32(mask), UInt32(value))
    }
}

extension TopologyPath {
    /// Reads `0000:00:02.0/00.0/01.0`; nil for anything else.
    init?(parsing text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let top = FunctionAddress(parsing: parts[0]), parts.count <= 64 else { return nil }
        var hops = [top.devfn]
        for part in parts.dropFirst() {
            guard let hop = FunctionAddress(parsing: "00:\(part)") else { return nil }
            hops.append(hop.devfn)
        }
        self.init(segment: top.segment, rootBus: top.bus, hops: hops)
    }
}
