// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import Testing

@testable internal import ProofChecker

/// A certificate held against a machine: for each statement one that the machine contradicts by as little as can be.
@Suite("certificates against a machine")
struct MachineFactsTests {
    private static let wide: ResourceFlags = [.memory, .prefetchable, .memory64]

    private func range(_ first: UInt64, _ last: UInt64) -> AddressRange {
        AddressRange(first: first, last: last) ?? .all
    }

    private func at(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    private func bar(_ index: Int, _ flags: ResourceFlags, _ size: UInt64, at first: UInt64?) throws -> Resource {
        Resource(
            index: try #require(ResourceIndex(index)),
            flags: flags,
            size: ByteCount(size),
            alignment: ByteCount(size),
            assignment: first.flatMap { AddressRange(first: $0, size: size) }.map { .assigned($0) } ?? .unassigned
        )
    }

    /// A port with a card: memory c0000000-c00fffff on the CPU's side is 80000000-800fffff on the bus.
    private func topology() throws -> Topology {
        let port = Function(
            address: try at("00:01.0"),
            identity: Function.Identity(vendor: 1, device: 1, classCode: 0x06_0400),
            resources: [
                try bar(13, .io, 0x1000, at: 0x1000), try bar(14, .memory, 0x10_0000, at: 0xc000_0000),
                try bar(15, Self.wide, 0x10_0000, at: nil),
            ],
            bridge: Function.Bridge(busRange: BusRange(BusNumber(1)), registers: nil)
        )
        let card = Function(
            address: try at("01:00.0"),
            identity: Function.Identity(vendor: 1, device: 2),
            resources: [
                try bar(0, .memory, 0x1_0000, at: 0xc000_0000), try bar(2, Self.wide, 0x20_0000, at: nil),
                try bar(4, .io, 0x20, at: 0x1000),
            ],
            parent: port.address
        )
        return try Topology(
            kernel: KernelIdentity(),
            hostBridges: [
                HostBridge(
                    segment: 0,
                    busRange: try #require(BusRange(first: BusNumber(0), last: BusNumber(7))),
                    apertures: [
                        Aperture(range: range(0x1000, 0xffff), flags: .io),
                        Aperture(range: range(0xc000_0000, 0xcfff_ffff), flags: .memory, offset: 0x4000_0000),
                    ],
                    source: .kernelLog
                )
            ],
            functions: [port, card],
            blockers: [Blocker(range: range(0xcfff_0000, 0xd000_ffff), isIO: false, name: "HPET", source: .iomem)]
        )
    }

    private func member(
        _ role: Certificate.Member.Role,
        _ kind: Certificate.Member.Kind = .memory,
        _ index: Int? = nil,
        bridge: Int? = 0
    ) throws -> Certificate.Member {
        let card = try at("01:00.0")
        return Certificate.Member(
            role,
            kind: kind,
            label: "member",
            resource: index.flatMap { ResourceIndex($0) }.map { Certificate.ResourceName(function: card, index: $0) },
            bridge: bridge,
            holders: [0]
        )
    }

    private func certificate() throws -> Certificate {
        Certificate(
            claim: .impossible,
            fingerprint: TreeState(try topology()).fingerprint,
            host: "0000:00",
            apertures: [
                Certificate.Aperture(kind: .io, range: range(0x1000, 0xffff)),
                Certificate.Aperture(kind: .memory, range: range(0x8000_0000, 0x8fff_ffff)),
            ],
            busNumbers: range(1, 7),
            bridges: [
                Certificate.Bridge(
                    function: try at("00:01.0"),
                    windows: [
                        Certificate.Window(kind: .io, granule: 0x1000, limits: range(0, 0xffff_ffff)),
                        Certificate.Window(kind: .memory, granule: 0x10_0000, limits: range(0, 0xffff_ffff)),
                        Certificate.Window(kind: .prefetchable, granule: 0x10_0000, limits: .all),
                    ]
                )
            ],
            devices: [Certificate.Device(function: try at("01:00.0"), weight: 1)],
            conflicts: [
                [
                    try member(.stay(range(0x8000_0000, 0x8000_ffff)), .memory, 0),
                    try member(.place(size: 0x20_0000, alignment: 0x20_0000, limits: .all), .prefetchable, 2),
                    try member(.stay(range(0x1000, 0x101f)), .io, 4),
                    try member(.window(range(0x8000_0000, 0x800f_ffff))), try member(.window(nil), .prefetchable),
                    try member(.obstacle(range(0x8fff_0000, 0x8fff_ffff)), bridge: nil),
                    try member(.place(size: 1, alignment: 1, limits: .all), .bus),
                ]
            ]
        )
    }

    private func differences(_ change: (inout Certificate) throws -> Void = { _ in }, machine: Topology? = nil) throws
        -> [String]
    {
        var certificate = try certificate()
        try change(&certificate)
        return CertificateChecker().differences(certificate, from: try machine ?? topology())
    }

    @Test("a certificate of this machine")
    func sound() throws {
        #expect(try differences() == [])
    }

    @Test("the tree, the host bridge, what it decodes and which buses it has")
    func host() throws {
        #expect(try differences { $0.fingerprint ^= 1 }.count == 1)
        #expect(try differences { $0.host = "0000:01" }.contains("there is no host bridge 0000:01"))
        #expect(
            try differences { $0.apertures[1].range = self.range(0x8000_0000, 0x8fff_fffe) }
                == ["0000:00 decodes 0x80000000-0x8fffffff too"]
        )
        #expect(try differences { $0.apertures[0].kind = .prefetchable } == ["0000:00 decodes 0x1000-0xffff too"])
        #expect(try differences { $0.busNumbers = self.range(0, 7) } == ["0000:00 has the bus numbers [bus 00-07]"])
        #expect(try differences { $0.busNumbers = self.range(1, 6) } == ["0000:00 has the bus numbers [bus 00-07]"])
        // Nobody asks for bus numbers: they prove nothing, right or wrong.
        #expect(
            try differences {
                $0.conflicts[0].removeLast()
                $0.busNumbers = nil
            } == []
        )
        #expect(
            try differences {
                $0.conflicts = []
                $0.host = "0000:01"
            } == []
        )
        let known = try topology()
        var told = known.hostBridges[0]
        told.source = .unknown
        let blind = try Topology(
            kernel: known.kernel,
            hostBridges: [told],
            functions: known.functions,
            blockers: known.blockers
        )
        #expect(try differences(machine: blind) == ["what 0000:00 decodes is not known"])
    }

    @Test("bridges: where they are, which windows they have, how far those reach and in which steps")
    func bridges() throws {
        let name = "0000:00:01.0"
        #expect(
            try differences { $0.bridges[0].windows[1].granule = 0x20_0000 } == [
                "\(name) mem window has steps of 0x100000"
            ]
        )
        #expect(try differences { $0.bridges[0].windows[1].granule = 0x8_0000 } == [])
        #expect(
            try differences { $0.bridges[0].windows[0].granule = 0x2000 } == ["\(name) io window has steps of 0x1000"]
        )
        #expect(
            try differences { $0.bridges[0].windows[1].limits = self.range(0, 0xffff_fffe) }
                == ["\(name) mem window reaches from 0 to 0xffffffff"]
        )
        #expect(
            try differences { $0.bridges[0].windows[1].limits = self.range(1, 0xffff_ffff) }
                == ["\(name) mem window reaches from 0 to 0xffffffff"]
        )
        #expect(
            try differences { $0.bridges[0].windows[2].limits = self.range(0, .max - 1) }
                == ["\(name) pref window reaches from 0 to 0xffffffffffffffff"]
        )
        #expect(try differences { $0.bridges[0].windows.removeFirst() } == ["\(name) has the io window"])
        let missing = try differences { $0.bridges[0].function = try self.at("00:02.0") }
        #expect(missing.first == "there is no bridge 0000:00:02.0")
        let card = try differences { $0.bridges[0].function = try self.at("01:00.0") }
        #expect(card.first == "there is no bridge 0000:01:00.0")
        let device = try differences { $0.devices[0].function = try self.at("01:00.1") }
        #expect(device.allSatisfy { $0 == "there is no 0000:01:00.1" } && !device.isEmpty)
    }

    private func replaced(_ n: Int, _ role: Certificate.Member.Role) throws -> [String] {
        try differences { $0.conflicts[0][n].role = role }
    }

    @Test("what stays and which windows are open, by bus addresses, by one byte")
    func places() throws {
        let name = "0000:01:00.0"
        #expect(
            try replaced(0, .stay(range(0x8000_0000, 0x8000_fffe)))
                == ["\(name) BAR 0 holds 0x80000000-0x8000ffff, not 0x80000000-0x8000fffe"]
        )
        #expect(
            try replaced(0, .stay(range(0xc000_0000, 0xc000_ffff)))
                == ["\(name) BAR 0 holds 0x80000000-0x8000ffff, not 0xc0000000-0xc000ffff"]
        )
        #expect(
            try replaced(2, .stay(range(0x1000, 0x103f))) == ["\(name) BAR 4 holds 0x1000-0x101f, not 0x1000-0x103f"]
        )
        #expect(try replaced(1, .stay(range(0, 1))) == ["\(name) BAR 2 holds nothing, not 0x0-0x1"])
        #expect(
            try replaced(3, .window(nil)) == ["0000:00:01.0 mem window is 0x80000000-0x800fffff"]
        )
        #expect(try replaced(4, .window(range(0, 1))) == ["0000:00:01.0 pref window is closed"])
        #expect(
            try differences { $0.conflicts[0][0].bridge = nil }
                == ["\(name) is behind 0000:00:01.0"]
        )
        #expect(
            try differences { $0.conflicts[0][0].resource = nil } == ["member is no resource of a function"]
        )
    }

    @Test("needs: size, alignment, reach; no more than the BAR has, and no less room than it may use")
    func needs() throws {
        let name = "0000:01:00.0 BAR 2"
        func need(_ size: UInt64, _ alignment: UInt64, _ limits: AddressRange = .all) throws -> [String] {
            try replaced(1, .place(size: size, alignment: alignment, limits: limits))
        }
        #expect(try need(0x20_0000, 0x10_0000) == [], "less than it needs proves as much")
        #expect(try need(0x20_0000, 0x40_0000) == ["\(name) is aligned to 2M"])
        #expect(try need(0x40_0000, 0x20_0000) == ["\(name) needs 2M"])
        #expect(
            try need(0x20_0000, 0x20_0000, range(0, .max - 1))
                == ["\(name) may lie from 0 to 0xffffffffffffffff, not only in 0x0-0xfffffffffffffffe"]
        )
        #expect(try need(0x20_0000, 0x20_0000, range(1, .max)).count == 1)
        // A highest address that was asked for is no statement about the machine.
        #expect(
            try differences {
                $0.highestAddress = 0xffff
                $0.conflicts[0][1].role = .place(size: 0x20_0000, alignment: 0x20_0000, limits: self.range(0, 0xffff))
            } == []
        )
        #expect(
            try differences {
                $0.highestAddress = 0xffff
                $0.conflicts[0][1].role = .place(size: 0x20_0000, alignment: 0x20_0000, limits: self.range(0, 0xfffe))
            }.count == 1
        )
        #expect(try differences { $0.conflicts[0][1].kind = .memory } == ["\(name) is prefetchable"])
    }

    @Test("obstacles are what the machine shows inside an aperture, no byte more")
    func obstacles() throws {
        #expect(try replaced(5, .obstacle(range(0x8fff_8000, 0x8fff_8fff))) == [])
        #expect(
            try replaced(5, .obstacle(range(0x8ffe_ffff, 0x8fff_ffff)))
                == ["nothing is known to hold 0x8ffeffff-0x8fffffff (member)"]
        )
        #expect(try replaced(5, .obstacle(range(0x8fff_0000, 0x9000_0000))).count == 1)
    }

    @Test("what a proof takes for granted is said once each")
    func assumptions() throws {
        var certificate = try certificate()
        let machine = try topology()
        func said() -> [String] { CertificateChecker().assumptions(certificate, machine) }
        #expect(said() == ["member must not move"])
        certificate.highestAddress = 0xffff
        certificate.conflicts[0].append(try member(.place(size: 1, alignment: 1, limits: .all), .memory))
        #expect(
            said() == ["no new memory address may end above 0xffff", "member must not move"],
            "the label was said already"
        )
        certificate.conflicts = []
        certificate.highestAddress = nil
        certificate.claim = .least(2)
        certificate.certain = [0]
        #expect(
            said() == [
                "the weights of functions are those that the plan gave them",
                "0000:01:00.0 has to be found anew in any case, by the kernel's rules",
            ]
        )
        certificate.devices[0].weight = 0
        #expect(said().count == 1)
    }
}
