// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension TextFunction {
    /// Fills in what the header registers say and no text has said yet. Addresses stay in `config`: they are bus addresses.
    mutating func takeFacts(from config: ConfigSpace) {
        guard config.count >= 16 else { return }
        vendor = config.word(0x00) ?? vendor
        device = config.word(0x02) ?? device
        revision = config.byte(0x08) ?? revision
        programmingInterface = config.byte(0x09) ?? programmingInterface
        classWord = config.word(0x0a) ?? classWord
        headerLayout = config.headerLayout ?? headerLayout
        if let command = config.command {
            decodesIO = command.contains(.ioSpace)
            decodesMemory = command.contains(.memorySpace)
        }
        if headerLayout == 0 {
            subsystemVendor = config.word(0x2c) ?? subsystemVendor
            subsystemDevice = config.word(0x2e) ?? subsystemDevice
        }
        guard let registers = BridgeRegisters(config) else { return }
        var facts = bridge ?? BridgeFacts()
        facts.primary = registers.primary
        facts.secondary = registers.secondary
        facts.subordinate = registers.subordinate
        facts.isSubtractive = programmingInterface == 1
        bridge = facts
    }
}
