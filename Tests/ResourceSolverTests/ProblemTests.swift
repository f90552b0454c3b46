// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import ResourceSolver
import Testing

/// What is no problem is refused, and what a topology says becomes the problem's numbers.
@Suite("Problems")
struct ProblemTests {
    private func refusal(_ change: (inout Problem) -> Void) -> String? {
        var p = Drawing(.memory, 0xe000_0000, 0xefff_ffff, buses: 1...255)
        let port = p.bridge("port", windows: [.memory: (0, 0)])
        let card = p.device("card", below: port)
        p.bar(card, 0x1000)
        var problem = p.problem
        problem.hosts.append(Problem.Host(label: "0001:00"))
        change(&problem)
        do throws(ProblemError) {
            try problem.validate()
            return nil
        } catch {
            return error.description
        }
    }

    @Test("every number that leads nowhere is named")
    func refusals() {
        #expect(refusal { _ in } == nil)
        let table: [(String, (inout Problem) -> Void)] = [
            ("bridge port is below host 2, expected 0 to 1", { $0.bridges[0].host = 2 }),
            ("bridge port is device 2, expected 0 to 1", { $0.bridges[0].device = 2 }),
            ("the bridges above port do not lead to a root bus", { $0.bridges[0].parent = 0 }),
            ("the bridges above port do not lead to a root bus", { $0.bridges[0].parent = 1 }),
            ("port memory window has granule 0, no power of two", { $0.bridges[0].windows[0].granule = 0 }),
            ("port memory window has granule 3, no power of two", { $0.bridges[0].windows[0].granule = 3 }),
            ("device card is below host 2, expected 0 to 1", { $0.devices[1].host = 2 }),
            ("device card is below bridge 1, which its host bridge does not have", { $0.devices[1].bridge = 1 }),
            ("device card is below bridge 0, which its host bridge does not have", { $0.devices[1].host = 1 }),
            ("request card BAR 0 is below host 2, expected 0 to 1", { $0.requests[0].host = 2 }),
            (
                "request card BAR 0 is below bridge 0, which its host bridge does not have",
                { $0.requests[0].host = 1 }
            ),
            ("request card BAR 0 has alignment 0, no power of two", { $0.requests[0].alignment = 0 }),
            ("request card BAR 0 has alignment 24, no power of two", { $0.requests[0].alignment = 24 }),
            ("request card BAR 0 has size 0, expected a multiple of 4096", { $0.requests[0].size = 0 }),
            ("request card BAR 0 has size 6144, expected a multiple of 4096", { $0.requests[0].size = 0x1800 }),
            ("request card BAR 0 has alternative size 3, no power of two", { $0.requests[0].alternatives = [4, 3] }),
            ("request card BAR 0 has alternative size 0, no power of two", { $0.requests[0].alternatives = [0] }),
            (
                "request card BAR 0 is held by device 2, which its host bridge does not have",
                { $0.requests[0].holders = [2] }
            ),
            ("the sizes of all requests add up to more than 2^61", { $0.requests[0].size = 1 << 61 + 0x1000 }),
            (
                "apertures 0xe0000000-0xefffffff and 0xefffffff-0xf0000000 of host bridge 0000:00 overlap",
                {
                    $0.hosts[0].apertures.append(
                        Problem.Aperture(.prefetchable, AddressRange(first: 0xefff_ffff, last: 0xf000_0000) ?? .all)
                    )
                }
            ),
        ]
        for (sentence, change) in table { #expect(refusal(change) == sentence) }
        // Just within.
        let fits: [(inout Problem) -> Void] = [
            { $0.requests[0].size = 1 << 61 },
            {
                $0.hosts[0].apertures.append(
                    Problem.Aperture(.memory, AddressRange(first: 0xf000_0000, last: 0xf000_0fff) ?? .all)
                )
            },
            {
                $0.hosts[0].apertures.append(
                    Problem.Aperture(.io, AddressRange(first: 0xe000_0000, last: 0xe000_0fff) ?? .all)
                )
            },
        ]
        for change in fits { #expect(refusal(change) == nil) }
    }

    @Test("a key that appears twice is refused, but between host bridges")
    func keys() {
        func refused(hosts: Int) -> Bool {
            let bridges = (0..<2).map { Problem.Bridge(key: 7, label: "b\($0)", host: $0 * (hosts - 1)) }
            let problem = Problem(hosts: (0..<hosts).map { Problem.Host(label: "\($0)") }, bridges: bridges)
            do throws(ProblemError) {
                try problem.validate()
                return false
            } catch {
                return true
            }
        }
        #expect(refused(hosts: 1) && !refused(hosts: 2))
    }

    @Test("ranges, spaces and usual limits")
    func words() {
        let request = Problem.Request(key: 0, label: "", kind: .memory, size: 0x1000, current: 0x8000)
        #expect(request.alignment == 0x1000 && request.currentRange == AddressRange(first: 0x8000, last: 0x8fff))
        var grown = request
        grown.currentSize = 0x400
        #expect(grown.currentRange == AddressRange(first: 0x8000, last: 0x83ff))
        #expect(Problem.Kind.allCases.map(\.space) == [.io, .memory, .memory, .bus, .bus])
        #expect(Problem.WindowKind.allCases.map(\.space) == [.io, .memory, .memory, .bus])
        #expect(Problem.WindowKind.allCases.map(\.usualGranule) == [0x1000, 0x10_0000, 0x10_0000, 1])
        #expect(Problem.WindowKind.allCases.map(\.usualLimits.last) == [0xffff_ffff, 0xffff_ffff, .max, 255])
        #expect(Problem.WindowKind.io < .memory && Problem.WindowKind.prefetchable < .bus)
        #expect(Effort(steps: -1).steps == 0)
        #expect("\(ProofStatus.within(bound: 3))" == "at least 3" && "\(ProofStatus.optimal)" == "optimal")
    }

    // MARK: From a topology

    private func at(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    private func range(_ first: UInt64, _ last: UInt64) throws -> AddressRange {
        try #require(AddressRange(first: first, last: last))
    }

    /// A port with a card, and an aperture whose bus addresses lie 1 GiB below.
    private func topology(_ change: (inout Function) -> Void = { _ in }, blockers: [Blocker] = []) throws -> Topology {
        func resource(_ index: Int, _ flags: ResourceFlags, _ size: UInt64, _ first: UInt64?) throws -> Resource {
            Resource(
                index: try #require(ResourceIndex(index)),
                flags: flags,
                size: ByteCount(size),
                alignment: ByteCount(size),
                assignment: first.flatMap { AddressRange(first: $0, size: size) }.map { .assigned($0) } ?? .unassigned
            )
        }
        let port = Function(
            address: try at("0002:00:01.0"),
            identity: Function.Identity(vendor: 1, device: 1, classCode: 0x06_0400),
            resources: [
                try resource(13, .io, 0x1000, 0x2000), try resource(14, .memory, 0x20_0000, 0xc000_0000),
                try resource(15, [.memory, .prefetchable], 0x10_0000, nil),
            ],
            bridge: Function.Bridge(
                busRange: BusRange(first: BusNumber(1), last: BusNumber(3)),
                registers: nil
            ),
            use: Function.Use(evidence: [UseEvidence(code: "a", detail: "", isProtected: false, weight: 4)])
        )
        var card = Function(
            address: try at("0002:01:02.3"),
            identity: Function.Identity(vendor: 1, device: 2),
            resources: [
                try resource(0, .memory, 0x10_0000, 0xc010_0000), try resource(1, .io, 0x20, 0x2000),
                try resource(2, [.memory, .prefetchable, .memory64], 0x1000, nil), try resource(6, .memory, 0x800, nil),
                try resource(7, .memory, 0x4000, nil),
            ],
            parent: port.address
        )
        change(&card)
        return try Topology(
            kernel: KernelIdentity(),
            hostBridges: [
                HostBridge(
                    segment: 2,
                    busRange: try #require(BusRange(first: BusNumber(0), last: BusNumber(9))),
                    apertures: [
                        Aperture(range: try range(0x2000, 0x3fff), flags: .io),
                        Aperture(range: try range(0xc000_0000, 0xcfff_ffff), flags: .memory, offset: 0x4000_0000),
                    ],
                    source: .kernelLog
                )
            ],
            functions: [port, card],
            blockers: blockers
        )
    }

    @Test("apertures, windows and BARs by bus addresses; the root bus itself is no number to give")
    func fromTopology() throws {
        let problem = Problem(try topology())
        #expect(problem.rule == .stock && problem.hosts[0].label == "0002:00")
        #expect(
            problem.hosts[0].apertures == [
                Problem.Aperture(.io, try range(0x2000, 0x3fff)),
                Problem.Aperture(.memory, try range(0x8000_0000, 0x8fff_ffff), offset: 0x4000_0000),
            ]
        )
        #expect(problem.hosts[0].busNumbers == AddressRange(first: 1, last: 9))
        let windows = problem.bridges[0].windows
        #expect(windows.map(\.kind) == [.io, .memory, .prefetchable, .bus])
        #expect(
            windows.map(\.current) == [
                AddressRange(first: 0x2000, last: 0x2fff), AddressRange(first: 0x8000_0000, last: 0x801f_ffff), nil,
                AddressRange(first: 1, last: 3),
            ]
        )
        #expect(windows[2].limits.last == 0xffff_ffff, "32 bits")
        #expect(problem.bridges[0].key == 0x2_0008 && problem.bridges[0].parent == nil)
        #expect(problem.devices.map(\.weight) == [5, 1] && problem.devices.map(\.bridge) == [nil, 0])
        let requests = problem.requests
        #expect(requests.map(\.kind) == [.memory, .io, .prefetchable, .memory, .memory, .busHeader])
        #expect(requests.map(\.current) == [0x8010_0000, 0x2000, nil, nil, nil, 1])
        #expect(requests.map(\.size) == [0x10_0000, 0x20, 0x1000, 0x800, 0x4000, 1])
        #expect(requests.map(\.limits.last) == [0xffff_ffff, .max, .max, 0xffff_ffff, 0xffff_ffff, .max])
        #expect(
            requests[0].key == 0x2_0113 << 5 && requests[3].key == 0x2_0113 << 5 | 6
                && requests[5].key == 0x2_0008 << 5 | 31
        )
        #expect(requests.map(\.tier) == [.required, .required, .required, .optional(1), .optional(0), .required])
        #expect(requests[5].holders == [1] && requests[0].holders == [1])
        var options = ProblemOptions()
        options.includesBusNumbers = false
        let less = Problem(try topology(), options: options)
        #expect(less.requests.count == 5 && less.bridges[0].windows.count == 3)
    }

    @Test("what was asked for: other sizes, a highest address, who may be disturbed")
    func options() throws {
        let card = try at("0002:01:02.3")
        var options = ProblemOptions()
        options.sizes = [card: [try #require(ResourceIndex.bar(0)): 0x40_0000]]
        options.highestAddress = 0xffff
        let problem = Problem(try topology(), options: options)
        #expect(problem.requests[0].size == 0x40_0000 && problem.requests[0].alignment == 0x40_0000)
        #expect(problem.requests[0].currentSize == 0x10_0000 && problem.requests[1].currentSize == nil)
        #expect(problem.requests.map(\.limits.last) == [0xffff, .max, 0xffff, 0xffff, 0xffff, .max])
        let busy: (inout Function) -> Void = {
            $0.use.evidence = [UseEvidence(code: "mounted", detail: "", isProtected: true, weight: 10)]
        }
        #expect(Problem(try topology(busy)).devices[1].weight == nil)
        var allowed = ProblemOptions()
        allowed.allowed = [card]
        #expect(Problem(try topology(busy), options: allowed).devices[1].weight == 11)
        allowed.kept = [card]
        #expect(Problem(try topology(busy), options: allowed).devices[1].weight == nil)
    }

    @Test("what holds an address inside an aperture is in the way, unless a function's range has it")
    func blockers() throws {
        func obstacles(_ first: UInt64, _ last: UInt64, isIO: Bool = false) throws -> [Problem.Obstacle] {
            let blocker = Blocker(range: try range(first, last), isIO: isIO, name: "reserved", source: .iomem)
            return Problem(try topology(blockers: [blocker])).hosts[0].obstacles
        }
        #expect(
            try obstacles(0xcfff_f000, 0xd000_0fff)
                == [Problem.Obstacle(label: "reserved", space: .memory, range: try range(0x8fff_f000, 0x8fff_ffff))]
        )
        #expect(try obstacles(0xd000_0000, 0xd000_0fff) == [])
        #expect(try obstacles(0xc01f_ffff, 0xc020_0fff) == [], "the port's window has its first byte")
        #expect(try obstacles(0xc020_0000, 0xc020_0fff).count == 1)
        #expect(
            try obstacles(0x3f00, 0x3fff, isIO: true)
                == [Problem.Obstacle(label: "reserved", space: .io, range: try range(0x3f00, 0x3fff))]
        )
    }
}
