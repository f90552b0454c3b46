// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// A slot below /sys/bus/pci/slots.
public struct SlotRecord: Hashable, Sendable {
    /// The name of its directory.
    public var name: String
    /// Its `address` file: `DDDD:BB:DD`, or `DDDD:BB` of a slot that is tied to a bus.
    public var address: String
    /// Its `power` file: whether it is switched on; nil without such a file.
    public var isPowered: Bool?
    /// Its `adapter` file: whether a card is present; nil without such a file.
    public var isOccupied: Bool?
    /// The name of the module that made the slot; nil where the kernel does not link to it (from 6.12 on).
    public var module: String?

    /// The function 0 that a card in the slot would have; nil for an address of another form.
    var firstFunction: FunctionAddress? { FunctionAddress(parsing: address + ".0") }

    /// Creates a slot.
    public init(
        name: String,
        address: String,
        isPowered: Bool? = nil,
        isOccupied: Bool? = nil,
        module: String? = nil
    ) {
        self.name = name
        self.address = address
        self.isPowered = isPowered
        self.isOccupied = isOccupied
        self.module = module
    }
}

extension SlotRecord {
    /// Reads a slot.
    init(_ fields: inout JSONFields) throws(JSONError) {
        self.init(
            name: try fields.text("name"),
            address: try fields.text("address"),
            isPowered: try fields.boolIfPresent("powered"),
            isOccupied: try fields.boolIfPresent("occupied"),
            module: try fields.textIfPresent("module")
        )
    }

    /// Writes a slot.
    func write(to json: inout JSONWriter) {
        json.field("address", address)
        if let module { json.field("module", module) }
        json.field("name", name)
        if let isOccupied { json.field("occupied", isOccupied) }
        if let isPowered { json.field("powered", isPowered) }
    }
}
