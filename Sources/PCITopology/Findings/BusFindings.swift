// SPDX-License-Identifier: GPL-2.0-or-later

extension Topology {
    /// Findings about the bus numbers of the function at index `i`: missing, badly nested, not the bridge's own.
    ///
    /// Source: PCI-to-PCI Bridge Architecture Specification 1.2 §3.2.5.3-5; `pci_scan_bridge_extend`.
    func appendBusFindings(of i: Int, to result: inout [Finding]) {
        let function = functions[i]
        // Sources that do not name the bridge above may leave bridges out; then the range tells all there is to tell.
        if let p = parent(of: i), let above = functions[p].bridge?.busRange, !function.isVirtual,
            !above.contains(function.address.bus)
        {
            result.append(
                Finding(
                    .busMismatch,
                    .problem,
                    at: function.address,
                    related: [functions[p].address],
                    "sits on bus \(function.address.bus), its bridge \(functions[p].address) leads to bus \(above.first)"
                )
            )
        }
        // CardBus bridges keep their bus numbers elsewhere, and their windows are not ours.
        guard let bridge = function.bridge, !function.isCardBus else { return }
        let outer = busRangeAround(i)
        guard let range = bridge.busRange else {
            // Without a bus the kernel shows no window lines (13 lines, 7 without CONFIG_PCI_IOV).
            guard !ResourceNumbering.showsWindows(lineCount: function.lines.count) else {
                result.append(
                    Finding(
                        .busMissing,
                        .note,
                        at: function.address,
                        "the kernel gave the \(function.roleText) a bus, its number could not be read"
                    )
                )
                return
            }
            // Without the kernel's own word, and without registers, the numbers are merely not known.
            if function.lines.isEmpty && bridge.registers == nil { return }
            if function.knowledge.windows != .seen, function.knowledge.sources == [.log] { return }
            result.append(
                Finding(
                    .busMissing,
                    function.lines.isEmpty || function.knowledge.windows != .seen ? .note : .problem,
                    at: function.address,
                    "the \(function.roleText) has no bus number, devices behind it are unusable",
                    causes: missingBusCauses(of: i, outer: outer)
                )
            )
            return
        }
        if let outer, !outer.range.contains(range) {
            result.append(
                Finding(
                    .busOutsideParent,
                    .problem,
                    at: function.address,
                    related: outer.bridge.map { [functions[$0].address] } ?? [],
                    "\(range) is partially hidden behind \(outer.name), which has \(outer.range)"
                )
            )
        } else if range.contains(function.address.bus) {
            result.append(
                Finding(
                    .busOutsideParent,
                    .problem,
                    at: function.address,
                    "\(range) holds bus \(function.address.bus), on which the bridge itself sits"
                )
            )
        }
    }

    /// The bus range that a bridge at index `i` must stay in: that of the bridge above, else that of the host bridge.
    private func busRangeAround(_ i: Int) -> (range: BusRange, bridge: Int?, name: String)? {
        if let p = parent(of: i) {
            return functions[p].bridge?.busRange.map { ($0, p, functions[p].address.description) }
        }
        let h = host(of: i)
        guard h >= 0, hostBridges[h].isTold, hostBridges[h].isBusRangeTold else { return nil }
        let name = "host bridge \(hostBridges[h].name)"
        return (hostBridges[h].busRange, nil, name)
    }

    /// Why a bridge has no bus number: how many numbers stand above it and who has them.
    private func missingBusCauses(of i: Int, outer: (range: BusRange, bridge: Int?, name: String)?) -> [String] {
        guard let outer else { return [] }
        let siblings = parent(of: i).map { children(of: $0) } ?? roots(of: host(of: i))
        let taken = siblings.compactMap { s in functions[s].bridge?.busRange.map { (s, $0) } }.sorted { $0.1 < $1.1 }
        let used = taken.reduce(1) { $0 + $1.1.count }
        guard used >= outer.range.count else {
            return [
                "\(outer.name) has \(outer.range), \(outer.range.count) in all, of which \(outer.range.count - used) "
                    + "are not given to a bridge"
            ]
        }
        var causes = ["\(outer.name) has \(outer.range), \(count(outer.range.count, "bus", "buses")), and none is left"]
        if !taken.isEmpty {
            let holders = taken.map { "\(functions[$0.0].address) \($0.1)" }
            causes.append("they are held by \(holders.listed(4))")
        }
        if let b = outer.bridge, let next = nextBusTaken(after: outer.range, beside: b) {
            causes.append("\(outer.name) cannot grow: bus \(next.bus) belongs to \(functions[next.owner].address)")
        }
        return causes
    }

    /// Who has the bus right after `range` beside the bridge at index `b`, or nil when nobody does.
    private func nextBusTaken(after range: BusRange, beside b: Int) -> (bus: BusNumber, owner: Int)? {
        guard range.last.rawValue < 255 else { return nil }
        let bus = BusNumber(range.last.rawValue + 1)
        let siblings = parent(of: b).map { children(of: $0) } ?? roots(of: host(of: b))
        guard let owner = siblings.first(where: { functions[$0].bridge?.busRange?.contains(bus) == true }) else {
            return nil
        }
        return (bus, owner)
    }
}

/// `1 bus`, `3 buses`.
func count(_ number: Int, _ one: String, _ many: String) -> String { "\(number) \(number == 1 ? one : many)" }
