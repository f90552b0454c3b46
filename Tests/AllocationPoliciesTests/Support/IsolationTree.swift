// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

@testable import AllocationPolicies

/// A tree of which only what isolation asks for is there: kinds of ports, ACS, headers. The bus numbers follow the calls.
struct IsolationTree {
    /// What a function's ACS capability says.
    enum ACS {
        /// There is none.
        case none
        /// All of these can be switched, and these are on.
        case some(AccessControls, on: AccessControls)
        /// The extended space was not read.
        case unread

        static let full = ACS.some(.isolating, on: .isolating)
        static let off = ACS.some(.isolating, on: [])
    }

    private(set) var functions: [Function] = []
    var kernel = KernelIdentity(release: "6.12.118", commandLine: "", architecture: "x86_64")
    private var nextBus: UInt8 = 1

    /// Adds a function, conventional where `type` is nil, and gives its address. Bridges get bus numbers in the order of the
    /// calls.
    @discardableResult
    mutating func add(
        _ type: ExpressPortType?,
        _ device: UInt8,
        below parent: FunctionAddress? = nil,
        isBridge: Bool = false,
        isMultiFunction: Bool = false,
        acs: ACS = .none,
        vendor: UInt16 = 0x1b36,
        id: UInt16 = 1,
        driver: String? = nil,
        change: (inout ConfigSpace) -> Void = { _ in }
    ) -> FunctionAddress {
        let above = parent.flatMap { p in functions.first { $0.address == p } }
        let bus = above?.bridge?.busRange?.first ?? BusNumber(0)
        let address = FunctionAddress(bus: bus, devfn: device)
        var config = ConfigSpace(Array(repeating: 0, count: type == nil ? 256 : 4096))
        config.write(UInt32(vendor) | UInt32(id) << 16, at: 0, width: 4)
        config.write((isBridge ? 1 : 0) | (isMultiFunction ? 0x80 : 0), at: 0x0e, width: 1)
        if let type {
            config.write(0x10, at: 6, width: 2)
            config.write(0x40, at: 0x34, width: 1)
            config.write(0x10, at: 0x40, width: 2)
            config.write(2 | UInt32(type.rawValue) << 4, at: 0x42, width: 2)
        }
        switch acs {
        case .none: break
        case .unread: config = ConfigSpace(Array(config.bytes[..<256]))
        case .some(let can, let on):
            config.write(0x0001_000d, at: 0x100, width: 4)
            config.write(UInt32(can.rawValue), at: 0x104, width: 2)
            config.write(UInt32(on.rawValue), at: 0x106, width: 2)
        }
        change(&config)
        var function = Function(
            address: address,
            identity: .init(vendor: vendor, device: id, classCode: isBridge ? 0x06_0400 : 0x02_0000),
            config: config,
            parent: parent,
            use: .init(driver: driver)
        )
        if isBridge {
            function.bridge = .init(busRange: BusRange(BusNumber(nextBus)), registers: nil)
            nextBus += 1
        }
        functions.append(function)
        return address
    }

    /// Changes one function.
    mutating func change(_ address: FunctionAddress, _ change: (inout Function) -> Void) {
        for i in functions.indices where functions[i].address == address { change(&functions[i]) }
    }

    func topology() throws -> Topology {
        try Topology(
            kernel: kernel,
            hostBridges: [
                HostBridge(
                    segment: 0,
                    busRange: BusRange(first: BusNumber(0), last: BusNumber(255)) ?? BusRange(BusNumber(0)),
                    apertures: [],
                    source: .kernelLog
                )
            ],
            functions: functions
        )
    }

    /// The groups, each as its members' addresses without segment.
    func groups() throws -> Set<Set<String>> {
        let topology = try topology()
        return Set(IsolationGroups(topology).members.map { Set($0.map { topology.functions[$0].address.short }) })
    }
}

extension FunctionAddress {
    /// The address without its segment.
    var short: String { String(description.dropFirst(5)) }
}
