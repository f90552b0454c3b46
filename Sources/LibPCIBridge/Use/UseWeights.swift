// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// The evidence of use that the record of a function itself gives, and the weights it carries by default.
///
/// | what | weight |
/// | --- | --- |
/// | a bridge by itself | 0 |
/// | an endpoint without driver | 1 |
/// | an endpoint with driver | 10 |
/// | a VF with driver | 20 |
/// | an endpoint with enabled VFs | 20 more |
/// | a mouse, a link that is up, a guest's device that nobody holds, fixed addresses | 50 |
/// | a frame buffer, sound that plays, RDMA, a part of a bond or bridge | 100 |
/// | firmware's own transfers (RMRR) | 200 |
/// | a network address | 300 |
/// | something protected | 1000 |
enum UseWeights {
    static func basic(of f: FunctionRecord, isBridge: Bool) -> [UseEvidence] {
        guard !isBridge else { return [] }
        var result: [UseEvidence] = []
        if let driver = f.driver {
            let weight = f.physicalFunction == nil ? 10 : 20
            result.append(.use("driver-bound", "driver \(driver) is bound", weight: weight))
        } else {
            result.append(.use("idle", "no driver is bound", weight: 1))
        }
        if let vfs = f.enabledVFs, vfs > 0 {
            result.append(.use("vfs-enabled", "\(vfs) VFs are enabled", weight: 20))
        }
        let classCode = f.classCode ?? f.config.long(8).map { $0 >> 8 } ?? 0
        if f.isBootVGA == true { result.append(.vital("boot-vga", "firmware shows its picture here")) }
        if classCode >> 16 == 3, let name = managementController(f) {
            result.append(.vital("bmc", "it is the display of the management controller (\(name))"))
        }
        switch classCode >> 8 {
        case 0x0600: result.append(.vital("platform", "it is the host bridge's own function"))
        case 0x0601: result.append(.vital("platform", "it is the ISA bridge that carries the platform's devices"))
        default: break
        }
        return result
    }

    /// Display controllers that are part of a management controller, by vendor and device.
    private static func managementController(_ f: FunctionRecord) -> String? {
        switch (f.vendor ?? f.config.word(0) ?? 0, f.device ?? f.config.word(2) ?? 0) {
        case (0x1a03, _): "ASPEED"
        case (0x102b, 0x0522...0x0540): "Matrox G200"
        case (0x19e5, 0x1711): "HiSilicon"
        case (0x1002, 0x515e), (0x1002, 0x4752): "ES1000"
        default: nil
        }
    }
}
