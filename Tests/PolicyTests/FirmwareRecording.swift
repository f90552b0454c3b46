// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology

/// The registers that a firmware left in a virtual machine, as `Laboratory/record-firmware-layout` wrote them.
struct FirmwareRecording: Sendable {
    var name: String
    var firmware: String
    var version: String
    var lowRAM: UInt64 = 0
    var highRAM: UInt64 = 0
    var topology: Topology
    /// BAR addresses in the registers, by function and BAR number; 6 is the ROM.
    var bars: [FunctionAddress: [Int: UInt64]] = [:]
    /// Open windows as recorded.
    var windows: [FunctionAddress: [ResourceIndex: AddressRange]] = [:]
    /// Secondary and subordinate numbers as recorded.
    var buses: [FunctionAddress: (secondary: UInt8, subordinate: UInt8)] = [:]

    private static let seabios = Result { try read("seabios") }
    private static let ovmf = Result { try read("ovmf") }
    private static let uboot = Result { try read("u-boot") }

    /// All recordings of a firmware, by name.
    static func all(_ firmware: String) throws -> [FirmwareRecording] {
        switch firmware {
        case "seabios": try seabios.get()
        case "u-boot": try uboot.get()
        default: try ovmf.get()
        }
    }

    private static func read(_ firmware: String) throws -> [FirmwareRecording] {
        guard let folder = Bundle.module.url(forResource: "Fixtures", withExtension: nil) else { return [] }
        return try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            .filter { $0.lastPathComponent.hasPrefix(firmware + "-") }
            .sorted { $0.lastPathComponent < $1.lastPathComponent }
            .map { try FirmwareRecording($0.lastPathComponent, String(contentsOf: $0, encoding: .utf8)) }
    }

    private struct Draft {
        var address: FunctionAddress
        var parent: FunctionAddress?
        var identity: Function.Identity
        var config = [UInt8](repeating: 0, count: 256)
        var resources: [Resource] = []
        var isBridge = false
        /// Whether the BARs that were listed are 64-bit, by number; 6 is the ROM.
        var isWide: [Int: Bool] = [:]

        /// The address that a BAR's registers hold, whether decoding is enabled or not.
        func address(_ bar: Int) -> UInt64 {
            let offset = bar == 6 ? (isBridge ? 0x38 : 0x30) : 0x10 + 4 * bar
            func long(_ at: Int) -> UInt64 {
                (0..<4).reduce(UInt64(0)) { $0 | UInt64(config[at + $1]) << UInt64(8 * $1) }
            }
            let low = long(offset)
            if bar == 6 { return low & ~0x7ff }
            if low & 1 == 1 { return low & ~0x3 }
            return low & ~0xf | (isWide[bar] == true ? long(offset + 4) << 32 : 0)
        }
    }

    init(_ name: String, _ text: String) throws {
        self.name = name
        firmware = ""
        version = ""
        var drafts: [Draft] = []
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let words = line.split(separator: " ").map(String.init)
            func hexWord(_ i: Int) -> UInt64 { i < words.count ? UInt64(words[i], radix: 16) ?? 0 : 0 }
            if words[0] == "machine" {
                firmware = words[3]
                version = words[4]
                lowRAM = hexWord(6)
                highRAM = hexWord(8)
            } else if words[0] == "function" {
                guard let address = FunctionAddress(parsing: words[1]) else { continue }
                drafts.append(
                    Draft(
                        address: address,
                        parent: FunctionAddress(parsing: words[9]),
                        identity: Function.Identity(
                            vendor: UInt16(hexWord(3)),
                            device: UInt16(hexWord(5)),
                            classCode: UInt32(hexWord(7))
                        )
                    )
                )
            } else if words[0] == "bar", let index = ResourceIndex(Int(words[1]) ?? 16) {
                let last = drafts.count - 1
                var flags: ResourceFlags = words[2] == "io" ? [.io] : [.memory]
                if words[3] == "64" { flags.insert(.memory64) }
                if words[4] == "pref" { flags.insert(.prefetchable) }
                let size = hexWord(6)
                drafts[last].isWide[Int(index.rawValue)] = words[3] == "64"
                drafts[last].resources.append(
                    Resource(
                        index: index,
                        flags: flags,
                        size: ByteCount(size),
                        alignment: ByteCount(size),
                        assignment: .unassigned,
                        sizeSource: .probed
                    )
                )
            } else if words[0] == "buses" {
                drafts[drafts.count - 1].isBridge = true
                buses[drafts[drafts.count - 1].address] = (UInt8(hexWord(2)), UInt8(hexWord(3)))
            } else if words.count == 4, words[1] == "window" {
                let index: ResourceIndex =
                    words[0] == "io" ? .ioWindow : words[0] == "mem" ? .memoryWindow : .prefetchableWindow
                windows[drafts[drafts.count - 1].address, default: [:]][index] = AddressRange(
                    first: hexWord(2),
                    last: hexWord(3)
                )
            } else if words[0].hasSuffix(":"), let row = Int(words[0].dropLast(), radix: 16) {
                for (i, word) in words.dropFirst().enumerated() where row + i < 256 {
                    drafts[drafts.count - 1].config[row + i] = UInt8(word, radix: 16) ?? 0
                }
            }
        }
        for draft in drafts {
            for bar in draft.isWide.keys { bars[draft.address, default: [:]][bar] = draft.address(bar) }
        }
        let host = HostBridge(
            segment: 0,
            busRange: BusRange(first: BusNumber(0), last: BusNumber(255)) ?? BusRange(BusNumber(0)),
            apertures: FirmwareRecording.apertures(firmware: firmware, highRAM: highRAM),
            source: .kernelLog
        )
        topology = try Topology(
            kernel: KernelIdentity(),
            hostBridges: [host],
            functions: drafts.map { draft in
                let config = ConfigSpace(draft.config)
                var resources = draft.resources
                var bridge: Function.Bridge?
                if draft.isBridge {
                    bridge = Function.Bridge(busRange: nil, registers: BridgeRegisters(config))
                    let wide: ResourceFlags = draft.config[0x24] & 0xf == 1 ? [.memory64] : []
                    let kinds: [(ResourceIndex, ResourceFlags)] = [
                        (.ioWindow, [.io]), (.memoryWindow, [.memory]),
                        (.prefetchableWindow, wide.union([.memory, .prefetchable])),
                    ]
                    for (index, flags) in kinds {
                        // Both firmwares write all ones before sizing: registers that still read zero are not there.
                        if index == .ioWindow, draft.config[0x1c] == 0, draft.config[0x1d] == 0 { continue }
                        resources.append(
                            Resource(index: index, flags: flags, size: .zero, alignment: nil, assignment: .closed)
                        )
                    }
                }
                return Function(
                    address: draft.address,
                    identity: draft.identity,
                    config: config,
                    resources: resources,
                    bridge: bridge,
                    parent: draft.parent
                )
            }
        )
    }

    /// What the firmware may use on QEMU's q35: SeaBIOS from the end of ECAM to the IOAPIC and from the end of RAM;
    /// OVMF (edk2 OvmfPkg PlatformInitLib) up to 0xfc000000 and the top eighth of a 40-bit space; U-Boot the regions of
    /// its device tree (arch/x86/dts/qemu-x86_i440fx.dts), of which one is prefetchable.
    private static func apertures(firmware: String, highRAM: UInt64) -> [Aperture] {
        let ranges: [(UInt64, UInt64, ResourceFlags)]
        switch firmware {
        case "seabios":
            ranges = [
                (0x1000, 0xffff, .io), (0xc000_0000, 0xfebf_ffff, .memory),
                (0x1_0000_0000 + highRAM, 0xff_ffff_ffff, .memory),
            ]
        case "u-boot":
            ranges = [
                (0x2000, 0xffff, .io), (0xc000_0000, 0xcfff_ffff, .memory),
                (0xd000_0000, 0xdfff_ffff, [.memory, .prefetchable]),
            ]
        default:
            ranges = [
                (0x6000, 0xffff, .io), (0xc000_0000, 0xfbff_ffff, .memory),
                (0xe0_0000_0000, 0xff_ffff_ffff, .memory),
            ]
        }
        return ranges.compactMap { first, last, flags in
            AddressRange(first: first, last: last).map { Aperture(range: $0, flags: flags) }
        }
    }
}
