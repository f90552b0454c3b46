// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// What other kernels lose and gain, against the twin run by itself and counted here.
@Suite("changes by another kernel")
struct UpgradeRuleTests {
    private func topology(_ name: String) throws -> Topology {
        let root = "/" + "\(#filePath)".split(separator: "/").dropLast(3).joined(separator: "/")
        return try TopologyAssembler(RecordedInput(paths: ["\(root)/Fixtures/\(name).snapshot.json"]).record).topology()
    }

    /// The BARs without a place after a removal of a root port and a rescan of its bus.
    private func missing(_ root: FunctionAddress, _ behaviour: KernelBehaviour, in topology: Topology) throws -> Set<
        Shortfall
    > {
        var twin = try LinuxTwin(topology, behaviour: behaviour)
        try twin.perform(.remove(root))
        try twin.perform(.rescanBus(segment: root.segment, bus: root.bus))
        return Set(try twin.topology().problemShortfalls)
    }

    @Test(
        "removed and found anew, by each release: loses what it lacks and this kernel has, gains the reverse",
        arguments: [
            "first-light-6.12/failed-hot-add", "first-light-6.12/boot", "three-root-ports-6.12/failed-hot-add",
        ]
    )
    func rediscovery(name: String) throws {
        let topology = try topology(name)
        let present = KernelUpgrade.Release(topology.kernel.release ?? "")
        let releases = ["5.10", "6.1", "6.18", "7.0", "7.2"].map { KernelUpgrade.Release($0) }
        let upgrade = try KernelUpgrade(topology, present: present, releases: releases)
        #expect(upgrade.start == .registers && upgrade.untried == [])
        let roots = topology.roots(of: 0).filter {
            topology.functions[$0].isBridge && !topology.children(of: $0).isEmpty
        }
        let expected = roots.map { KernelUpgrade.Occasion.rediscovery(topology.functions[$0].address) }
        for occasion in expected { #expect(upgrade.occasions.contains(occasion)) }
        for occasion in upgrade.occasions {
            guard case .rediscovery(let root) = occasion else { continue }
            let now = try missing(root, present.behaviours[0], in: topology)
            for release in releases {
                let there = try missing(root, try #require(release.behaviours.first), in: topology)
                let change = upgrade.changes.first { $0.occasion == occasion && $0.release.name == release.name }
                #expect(Set(change?.loses.map(\.shortfall) ?? []) == there.subtracting(now), "\(release.name) \(root)")
                #expect(Set(change?.gains.map(\.shortfall) ?? []) == now.subtracting(there), "\(release.name) \(root)")
                #expect(change?.mayLose.isEmpty ?? true, "a judged release has one behaviour")
                if change != nil { #expect(there != now) }
            }
        }
    }

    @Test("what is lost here, and which releases place it: none is in two lists, all are in one")
    func lostHere() throws {
        let topology = try topology("first-light-6.12/failed-hot-add")
        let present = KernelUpgrade.Release(topology.kernel.release ?? "")
        let known = KernelUpgrade.Release.known
        let upgrade = try KernelUpgrade(topology, present: present, releases: known)
        #expect(Set(upgrade.lostHere.map(\.place.shortfall)) == Set(topology.problemShortfalls))
        for one in upgrade.lostHere {
            let all = one.placedBy + one.notPlacedBy + one.tradedBy
            #expect(all.count == known.count && Set(all) == Set(known.map(\.name)))
            let function = try #require(topology[one.place.address])
            if case .resource(let index) = one.place.shortfall.kind {
                #expect(one.place.size == function.resource(index)?.size)
            }
            #expect((one.occasion == nil) || (!one.placedBy.isEmpty && !one.notPlacedBy.isEmpty))
        }
        #expect(upgrade.isKernelTheObstacle == upgrade.lostHere.contains { $0.occasion != nil })
        let lost = try KernelUpgrade(topology, present: present, releases: known, scope: .whatIsLost)
        #expect(lost.changes.isEmpty && lost.lostHere.map(\.placedBy) == upgrade.lostHere.map(\.placedBy))
        #expect(!lost.occasions.contains { if case .largestBARs = $0 { true } else { false } })
    }

    @Test("occasions in words, and the port that each is about")
    func occasions() {
        let root = FunctionAddress(bus: BusNumber(0), devfn: 0x10)
        let table: [(KernelUpgrade.Occasion, String, FunctionAddress?)] = [
            (.boot, "boot", nil), (.rediscovery(root), "0000:00:02.0 removed and found anew", root),
            (.largestBARs(root), "0000:00:02.0 removed and found anew, its resizable BARs at their largest", root),
        ]
        for (occasion, words, port) in table { #expect(occasion.words == words && occasion.root == port) }
    }

    @Test("a release names its own series when it is one; a full release is what the catalogue says of it")
    func releases() {
        #expect(
            KernelUpgrade.Release("6.12").behaviours.map(\.name) == ["linux-6.12"]
                && KernelUpgrade.Release("6.12").isJudged
        )
        let other = KernelUpgrade.Release("4.4.0")
        #expect(!other.isJudged && other.behaviours.count > 1 && !other.explanation.isEmpty)
        let names = KernelUpgrade.Release.known.map(\.name)
        #expect(names.allSatisfy { $0.first?.isNumber == true } && Set(names).count == names.count)
    }

    @Test("with resizable BARs at their largest the size in question is the largest on offer")
    func largest() throws {
        let machine = try WriteMachine(enabledVFs: 2)
        let present = KernelUpgrade.Release("6.12")
        let upgrade = try KernelUpgrade(machine.topology, present: present, releases: [KernelUpgrade.Release("7.2")])
        #expect(
            upgrade.occasions == [
                .boot, .rediscovery(WriteMachine.root), .largestBARs(WriteMachine.root),
                .rediscovery(WriteMachine.narrow),
            ]
        )
        for change in upgrade.changes where change.occasion == .largestBARs(WriteMachine.root) {
            for place in change.loses + change.gains + change.mayLose
            where place.address == WriteMachine.card && place.shortfall.kind == .resource(ResourceIndex.bar(2) ?? .rom)
            {
                #expect(place.size == ByteCount(512 << 20))
            }
        }
    }
}
