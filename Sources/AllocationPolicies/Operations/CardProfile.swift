// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// A card as it comes out of the box: functions with what they ask for, and no address yet.
public struct CardProfile: Sendable, Hashable {
    /// A short name for messages.
    public var name: String
    /// The functions at the card's edge; the bridges among them hold the rest.
    public var functions: [CardFunction]

    /// Creates a card.
    public init(name: String, functions: [CardFunction]) {
        self.name = name
        self.functions = functions
    }
}

/// One function of a card.
public struct CardFunction: Sendable, Hashable {
    /// Device times 8 plus function on its bus.
    public var devfn: UInt8
    /// Vendor, device, class.
    public var identity: Function.Identity
    /// The BARs that are implemented.
    public var bars: [CardBAR]
    /// The size of the expansion ROM, 0 without.
    public var romSize: UInt64
    /// The kind of PCI Express port or device; nil for conventional PCI.
    public var portType: ExpressPortType?
    /// What makes it a bridge; nil for an endpoint.
    public var bridge: CardBridge?
    /// SR-IOV; nil without.
    public var sriov: CardSRIOV?
    /// The function has the ARI capability.
    public var hasARI: Bool
    /// The function has the Advanced Error Reporting capability, which gives a port's driver something to do.
    public var hasErrorReporting: Bool
    /// The driver that binds to it, or nil; ports get the port driver by themselves.
    public var driver: String?

    /// Creates a function.
    public init(
        devfn: UInt8 = 0,
        identity: Function.Identity,
        bars: [CardBAR] = [],
        romSize: UInt64 = 0,
        portType: ExpressPortType? = .endpoint,
        bridge: CardBridge? = nil,
        sriov: CardSRIOV? = nil,
        hasARI: Bool = false,
        hasErrorReporting: Bool = false,
        driver: String? = nil
    ) {
        self.devfn = devfn
        self.identity = identity
        self.bars = bars
        self.romSize = romSize
        self.portType = portType
        self.bridge = bridge
        self.sriov = sriov
        self.hasARI = hasARI
        self.hasErrorReporting = hasErrorReporting
        self.driver = driver
    }
}

/// One BAR of a card's function.
public struct CardBAR: Sendable, Hashable {
    /// The BAR's index, 0 to 5; a 64-bit BAR takes the next one too.
    public var index: Int
    /// Bytes, a power of two.
    public var size: UInt64
    /// I/O or memory.
    public var isIO: Bool
    /// A 64-bit register pair.
    public var is64Bit: Bool
    /// Prefetchable.
    public var isPrefetchable: Bool
    /// The sizes that a Resizable BAR entry offers, bit n for 2^n MiB; 0 without the capability.
    public var resizable: UInt64

    /// Creates a memory BAR.
    public static func memory(
        _ index: Int,
        _ size: UInt64,
        is64Bit: Bool = false,
        isPrefetchable: Bool = false,
        resizable: UInt64 = 0
    ) -> CardBAR {
        CardBAR(
            index: index,
            size: size,
            isIO: false,
            is64Bit: is64Bit,
            isPrefetchable: isPrefetchable,
            resizable: resizable
        )
    }

    /// Creates an I/O BAR.
    public static func io(_ index: Int, _ size: UInt64) -> CardBAR {
        CardBAR(index: index, size: size, isIO: true, is64Bit: false, isPrefetchable: false, resizable: 0)
    }
}

/// What makes a card's function a bridge.
public struct CardBridge: Sendable, Hashable {
    /// The slot behind it is hot-plug capable (PCI Express ports only).
    public var isHotPlug: Bool
    /// It implements an I/O window, and one that decodes 32 bits.
    public var hasIO: Bool
    /// The I/O window decodes 32 bits.
    public var hasIO32: Bool
    /// It implements a prefetchable window.
    public var hasPrefetchable: Bool
    /// The prefetchable window decodes 64 bits.
    public var hasPrefetchable64: Bool
    /// It forwards what no other claims (programming interface 1).
    public var isSubtractive: Bool
    /// The port can forward ARI requests.
    public var forwardsARI: Bool
    /// What is behind it.
    public var children: [CardFunction]

    /// Creates a bridge with an I/O and a 64-bit prefetchable window.
    public init(
        isHotPlug: Bool = false,
        hasIO: Bool = true,
        hasIO32: Bool = false,
        hasPrefetchable: Bool = true,
        hasPrefetchable64: Bool = true,
        isSubtractive: Bool = false,
        forwardsARI: Bool = false,
        children: [CardFunction] = []
    ) {
        self.isHotPlug = isHotPlug
        self.hasIO = hasIO
        self.hasIO32 = hasIO32
        self.hasPrefetchable = hasPrefetchable
        self.hasPrefetchable64 = hasPrefetchable64
        self.isSubtractive = isSubtractive
        self.forwardsARI = forwardsARI
        self.children = children
    }
}

/// The SR-IOV side of a card's function.
public struct CardSRIOV: Sendable, Hashable {
    /// TotalVFs.
    public var total: UInt16
    /// First VF Offset.
    public var offset: UInt16
    /// VF Stride.
    public var stride: UInt16
    /// VF Device ID.
    public var device: UInt16
    /// The VF BARs; sizes are those of one VF.
    public var bars: [CardBAR]

    /// Creates it.
    public init(total: UInt16, offset: UInt16, stride: UInt16, device: UInt16, bars: [CardBAR]) {
        self.total = total
        self.offset = offset
        self.stride = stride
        self.device = device
        self.bars = bars
    }
}

extension CardProfile {
    /// An endpoint with one BAR of each kind that is given; sizes 0 leave a kind out.
    ///
    /// Memory is 32-bit, prefetchable memory 64-bit.
    public static func endpoint(
        name: String = "endpoint",
        memory: UInt64 = 0,
        prefetchable: UInt64 = 0,
        io: UInt64 = 0,
        vendor: UInt16 = 0x1234,
        device: UInt16 = 0x0001,
        classCode: UInt32 = 0xff0000
    ) -> CardProfile {
        var bars: [CardBAR] = []
        if memory > 0 { bars.append(.memory(0, memory)) }
        if io > 0 { bars.append(.io(1, io)) }
        if prefetchable > 0 { bars.append(.memory(2, prefetchable, is64Bit: true, isPrefetchable: true)) }
        let identity = Function.Identity(vendor: vendor, device: device, classCode: classCode)
        return CardProfile(name: name, functions: [CardFunction(identity: identity, bars: bars)])
    }

    /// A switch: an upstream port and `downstream` ports at devices 0, 1, …, hot-plug capable or not.
    public static func packetSwitch(
        name: String = "switch",
        downstream: [CardFunction],
        vendor: UInt16 = 0x104c,
        device: UInt16 = 0x8232
    ) -> CardProfile {
        let identity = Function.Identity(vendor: vendor, device: device, classCode: 0x060400)
        return CardProfile(
            name: name,
            functions: [
                CardFunction(
                    identity: identity,
                    portType: .upstreamPort,
                    bridge: CardBridge(children: downstream)
                )
            ]
        )
    }

    /// A downstream port of a switch at `device`.
    public static func downstreamPort(
        device: UInt8,
        isHotPlug: Bool,
        children: [CardFunction] = []
    ) -> CardFunction {
        CardFunction(
            devfn: device << 3,
            identity: Function.Identity(vendor: 0x104c, device: 0x8233, classCode: 0x060400),
            portType: .downstreamPort,
            bridge: CardBridge(isHotPlug: isHotPlug, forwardsARI: true, children: children)
        )
    }
}
