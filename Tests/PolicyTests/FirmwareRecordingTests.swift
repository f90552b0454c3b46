// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import Testing

/// Policies against the registers that the firmware itself left behind.
@Suite("Firmware layouts equal the registers that the firmware left")
struct FirmwareRecordingTests {
    /// Every register that differs, as a sentence.
    private func differences(_ recording: FirmwareRecording, _ policy: any AllocationPolicy) -> [String] {
        let outcome = policy.allocate(ResourceDemand(recording.topology))
        var result: [String] = []
        if let halt = outcome.halt { result.append(halt) }
        for function in outcome.functions {
            let address = function.today
            for (number, value) in (recording.bars[address] ?? [:]).sorted(by: { $0.key < $1.key }) {
                guard let index = ResourceIndex(number), !skips(recording, index) else { continue }
                let predicted = function.range(index)?.first
                // U-Boot leaves in a BAR that did not fit what sizing wrote there: no address that the host decodes.
                if predicted == nil, recording.firmware == "u-boot",
                    !recording.topology.hostBridges[0].apertures.contains(where: { $0.range.contains(value) })
                {
                    continue
                }
                if predicted != value {
                    let text = predicted.map { hex($0) } ?? "-"
                    result.append("\(address) \(index): found \(hex(value)), predicted \(text)")
                }
            }
            guard let buses = recording.buses[address] else { continue }
            if function.buses?.first.rawValue != buses.secondary
                || function.buses?.last.rawValue != max(buses.subordinate, buses.secondary)
            {
                let text = function.buses.map { "\($0)" } ?? "-"
                result.append("\(address) found buses \(buses.secondary)-\(buses.subordinate), predicted \(text)")
            }
            // QEMU's io-reserve=0 makes the I/O window's registers read-only, non-zero: firmware reserves the space that
            // it cannot open.
            let demand = ResourceDemand(recording.topology)
            let hint = demand.position(of: function.path).flatMap { demand.functions[$0].bridge?.reserveHint }
            for index in [ResourceIndex.ioWindow, .memoryWindow, .prefetchableWindow] {
                if index == .ioWindow, hint?.io == 0 { continue }
                let found = recording.windows[address]?[index]
                let predicted = function.window(index)
                if found != predicted {
                    let texts = [found, predicted].map { $0.map { "\($0)" } ?? "closed" }
                    result.append("\(address) \(index): found \(texts[0]), predicted \(texts[1])")
                }
            }
        }
        return result
    }

    /// EDK2 shadows option ROMs and leaves the ROM register without meaning.
    private func skips(_ recording: FirmwareRecording, _ index: ResourceIndex) -> Bool {
        recording.firmware == "ovmf" && index.isROM
    }

    @Test("SeaBIOS 1.16.2, every recorded tree", arguments: try FirmwareRecording.all("seabios").map(\.name))
    func seabios(_ name: String) throws {
        let recording = try #require(try FirmwareRecording.all("seabios").first { $0.name == name })
        let policy = SeaBIOSPolicy(release: .v1_16_2)
        let found = differences(recording, policy)
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
    }

    @Test("OVMF 2022.11, every recorded tree", arguments: try FirmwareRecording.all("ovmf").map(\.name))
    func ovmf(_ name: String) throws {
        let recording = try #require(try FirmwareRecording.all("ovmf").first { $0.name == name })
        let found = differences(recording, EDK2Policy())
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
    }

    @Test("U-Boot 2023.01, every recorded tree", arguments: try FirmwareRecording.all("u-boot").map(\.name))
    func uboot(_ name: String) throws {
        let recording = try #require(try FirmwareRecording.all("u-boot").first { $0.name == name })
        let found = differences(recording, UBootPolicy())
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
    }

    @Test("at least twenty trees of each firmware are recorded")
    func count() throws {
        #expect(try FirmwareRecording.all("seabios").count >= 20)
        #expect(try FirmwareRecording.all("ovmf").count >= 20)
        #expect(try FirmwareRecording.all("u-boot").count >= 20)
    }
}
