// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// Bus numbers for bridges that are found again: every numbering is sound, and there is one exactly where it fits.
@Suite("bus numbers of a plan")
struct BusNumberingTests {
    private typealias Machine = WriteMachine

    /// What is wrong with a numbering, by the rules of PCI alone.
    private func faults(
        _ numbering: [Stage.BridgeNumbers],
        _ machine: WriteMachine,
        removed: Set<Int>,
        below bridge: Int
    ) -> [String] {
        let context = machine.state.context
        var ranges: [Int: BusRange] = [:]
        for i in 0..<context.count { ranges[i] = machine.state.summary.buses[i] }
        for one in numbering { ranges[one.bridge] = one.range }
        var found: [String] = []
        for one in numbering {
            let above = context.parent[one.bridge]
            let outer = above >= 0 ? ranges[above] : context.topology.hostBridges[0].busRange
            guard let outer else { continue }
            if one.primary != outer.first {
                found.append("\(one.bridge): primary \(one.primary), bus is \(outer.first)")
            }
            if !outer.contains(one.range) || one.range.first == outer.first {
                found.append("\(one.bridge): leaves \(outer)")
            }
        }
        for i in 0..<context.count {
            let below = context.children[i].filter { ranges[$0] != nil }
            for a in below {
                for b in below where a < b && ranges[a]?.overlaps(ranges[b] ?? BusRange(BusNumber(0))) == true {
                    found.append("\(a) and \(b) overlap")
                }
            }
            for a in below
            where ranges[i].map({ !$0.contains(ranges[a] ?? $0) || ranges[a]?.first == $0.first }) ?? false {
                if numbering.contains(where: { $0.bridge == a || $0.bridge == i }) { found.append("\(a) leaves \(i)") }
            }
        }
        let roots = context.topology.roots(of: 0).filter { ranges[$0] != nil }
        for a in roots {
            for b in roots where a < b && ranges[a]?.overlaps(ranges[b] ?? BusRange(BusNumber(0))) == true {
                found.append("root ports \(a) and \(b) overlap")
            }
        }
        if !numbering.allSatisfy({ one in removed.contains { context.subtree[$0].contains(one.bridge) } }) {
            found.append("a bridge that is not removed is written")
        }
        return found
    }

    @Test("a root port gets every count up to the largest gap of the root bus, and never one more")
    func rootPort() throws {
        let machine = try Machine(enabledVFs: 0)
        let narrow = try machine.number(Machine.narrow)
        let root = try machine.number(Machine.root)
        let behind = try #require(machine.state.summary.buses[root])
        // 00 is the root bus, the other port's numbers are taken: what is left, in one piece.
        var free = Array(repeating: true, count: 64)
        free[0] = false
        for bus in behind.first.rawValue...behind.last.rawValue { free[Int(bus)] = false }
        var largest = 0
        var run = 0
        for isFree in free {
            run = isFree ? run + 1 : 0
            largest = max(largest, run)
        }
        for count in 1...64 {
            let numberings = BusNumbering(machine.state, for: [.buses(narrow, count)])
                .numberings(removing: [narrow], below: -1)
            let present = machine.state.summary.buses[narrow]?.count ?? 0
            if count > present { #expect(numberings.isEmpty == (count > largest), "\(count) of \(largest)") }
            for numbering in numberings {
                #expect(faults(numbering, machine, removed: [narrow], below: -1) == [], "\(count)")
                #expect(numbering.contains { $0.bridge == narrow && $0.range.count >= count })
            }
        }
    }

    @Test("what is below keeps its numbers inside, with what is asked for as well", arguments: 0...8)
    func wholeSwitch(spare: Int) throws {
        let machine = try Machine(enabledVFs: 0)
        let root = try machine.number(Machine.root)
        let full = try machine.number(Machine.full)
        for demand in [Demand.freeBuses(full, spare), .buses(full, spare + 1), .freeBuses(root, spare)] {
            let numberings = BusNumbering(machine.state, for: [demand]).numberings(removing: [root], below: -1)
            #expect(spare < 2 || !numberings.isEmpty || demand.isMet(in: machine.state.summary, machine.state.context))
            for numbering in numberings {
                #expect(faults(numbering, machine, removed: [root], below: -1) == [], "\(demand)")
                // Carried out, the demand holds and nobody is missing.
                var state = machine.state
                let stage = Stage(roots: [root], numbering: numbering, rescans: [.bus(behind: -1)])
                guard state.carryOut(stage) else { continue }
                #expect(demand.isMet(in: state.summary, state.context), "\(demand) \(numbering)")
                #expect((0..<machine.state.context.count).allSatisfy { state.summary.isKnown[$0] })
                for one in numbering { #expect(state.summary.buses[one.bridge] == one.range) }
            }
        }
    }

    @Test("one downstream port beside another: the other's numbers are not touched")
    func beside() throws {
        let machine = try Machine(enabledVFs: 0)
        let full = try machine.number(Machine.full)
        let upstream = try machine.number(Machine.upstream)
        let outer = try #require(machine.state.summary.buses[upstream])
        let empty = try machine.number(Machine.empty)
        let other = try #require(machine.state.summary.buses[empty])
        let left = Int(other.first.rawValue) - Int(outer.first.rawValue) - 1
        let right = Int(outer.last.rawValue) - Int(other.last.rawValue)
        for count in 1...(outer.count + 1) {
            let numberings = BusNumbering(machine.state, for: [.buses(full, count)])
                .numberings(removing: [full], below: upstream)
            if count > machine.state.summary.buses[full]?.count ?? 0 {
                #expect(numberings.isEmpty == (count > max(left, right)), "\(count) in \(left) or \(right)")
            }
            for numbering in numberings { #expect(faults(numbering, machine, removed: [full], below: upstream) == []) }
        }
    }

    @Test("VFs on the buses after the card's own have their numbers before the next bridge")
    func virtualBuses() throws {
        let machine = try Machine(enabledVFs: 0) { topology in
            // 300 VFs from 03:00.2 on reach into bus 04.
            topology.update(Machine.card) { function in
                guard let at = function.capabilities.sriov?.offset else { return }
                function.config.write(300, at: Int(at) + 0x0e, width: 2)
                function.capabilities = Capabilities(function.config)
            }
        }
        let full = try machine.number(Machine.full)
        let card = try machine.number(Machine.card)
        let sriov = machine.topology.functions[card].capabilities.sriov
        #expect(sriov?.totalVFs == 300)
        // The last VF's routing ID: first offset 2, stride 1, from devfn 0.
        #expect(machine.state.context.virtualBuses[full] == (2 + 299) >> 8)
        let numberings = BusNumbering(machine.state, for: [.buses(full, 2)])
            .numberings(removing: [full], below: try machine.number(Machine.upstream))
        #expect(numberings.allSatisfy { $0.allSatisfy { $0.range.count >= 2 } })
    }
}

@Suite("sets of functions")
struct FunctionSetTests {
    @Test("members, subsets and unions are those of ordinary sets, over the edges of words")
    func agreesWithSet() {
        let pool = [0, 1, 62, 63, 64, 65, 127, 128, 200]
        var lists: [[Int]] = [[]]
        for one in pool { lists += lists.map { $0 + [one] }.filter { $0.count < 4 } }
        for a in lists {
            let set = FunctionSet(a)
            #expect(set.members == a && set.count == a.count && set.isEmpty == a.isEmpty)
            #expect(pool.allSatisfy { set.contains($0) == a.contains($0) })
            for b in lists.prefix(60) {
                #expect(FunctionSet(b).isSubset(of: set) == Set(b).isSubset(of: a))
                #expect(set.isSuperset(of: b) == Set(a).isSuperset(of: b))
                var union = set
                union.formUnion(FunctionSet(b))
                #expect(union.members == Set(a).union(b).sorted())
            }
        }
    }

    @Test(
        "the cheapest subsets are those with the least sums",
        arguments: [[3], [1, 1], [1, 2, 3, 10], [2, 2, 5, 7, 11]]
    )
    func cheapestSubsets(weights: [Int]) {
        func sum(_ subset: [Int]) -> Int { subset.reduce(0) { $0 + weights[$1] } }
        let all = (1..<(1 << weights.count)).map { bits in weights.indices.filter { bits >> $0 & 1 == 1 } }
        let sums = all.map(sum).sorted()
        for limit in 0...(all.count + 1) {
            let found = CheapestSubsets(weights, limit: limit).list
            #expect(found.count == min(limit, all.count))
            #expect(Set(found).count == found.count && found.allSatisfy { $0 == $0.sorted() && !$0.isEmpty })
            #expect(found.map(sum) == Array(sums.prefix(limit)))
        }
        #expect(CheapestSubsets([], limit: 4).list == [])
    }
}
