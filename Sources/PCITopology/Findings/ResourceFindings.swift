// SPDX-License-Identifier: GPL-2.0-or-later

extension Topology {
    /// Per function: how many functions below it have a BAR that lacks an address.
    func lackingBelow() -> [Int] {
        var result = [Int](repeating: 0, count: functions.count)
        for i in functions.indices {
            guard !functions[i].isVirtual,
                functions[i].resources.contains(where: { $0.index.isBAR && $0.lacksAddress })
            else { continue }
            var above = parent(of: i)
            while let p = above {
                result[p] += 1
                above = parent(of: p)
            }
        }
        return result
    }

    /// Findings about the resources of the function at index `i`: no address, an address nobody forwards.
    func appendResourceFindings(of i: Int, explains: Bool, to result: inout [Finding]) {
        let function = functions[i]
        guard !function.isVirtual else { return }
        for resource in function.resources {
            switch resource.assignment {
            case .unassigned, .wiped:
                appendMissing(resource, of: i, explains: explains, to: &result)
            case .closed:
                break
            case .unclaimed(let range):
                guard resource.index.isBAR, !resource.isFixed else { break }
                let isRefused = function.knowledge.refused.contains(resource.index)
                result.append(
                    Finding(
                        .barUnclaimed,
                        isRefused && isMissedWhenRefused(resource, of: i) ? .problem : .note,
                        at: function.address,
                        resource: resource.index,
                        isRefused
                            ? "\(resource.index) has the address \(resource.kernelText), which the kernel did not accept "
                                + "(not claimed): it refuses to enable the device"
                            : "\(resource.index) shows \(resource.kernelText), which the kernel does not hold",
                        causes: isForwarded(range, resource, to: i)
                            ? [] : ["no window above \(function.address) forwards it"]
                    )
                )
            case .assigned(let range):
                guard !resource.isFixed, !isForwarded(range, resource, to: i) else { break }
                let outer =
                    parent(of: i).map { "windows of \(functions[$0].address)" } ?? "apertures of its host bridge"
                result.append(
                    Finding(
                        .outsideWindow,
                        // A ROM may stand for its copy in low memory; on a root bus the kernel vouches for the rest.
                        resource.index.isROM || parent(of: i) == nil ? .note : .problem,
                        at: function.address,
                        resource: resource.index,
                        related: parent(of: i).map { [functions[$0].address] } ?? [],
                        "\(resource.index) \(resource.kernelText) lies outside the \(outer)"
                    )
                )
            }
        }
    }

    private func appendMissing(_ resource: Resource, of i: Int, explains: Bool, to result: inout [Finding]) {
        let function = functions[i]
        let what = "\(resource.index) \(resource.kernelText)"
        if resource.index.isROM {
            result.append(
                Finding(
                    .romUnassigned,
                    .note,
                    at: function.address,
                    resource: resource.index,
                    "\(what) has no address, drivers rarely need it"
                )
            )
        } else if resource.index.isVFBAR {
            let room = explains ? analyzeRoom(for: resource, of: i) : RoomAnalysis()
            result.append(
                Finding(
                    .vfBARUnassigned,
                    .note,
                    at: function.address,
                    resource: resource.index,
                    related: room.pins,
                    "\(what) has no address, VFs cannot be enabled",
                    causes: room.causes
                )
            )
        } else if resource.index.isBAR {
            result.append(missingBAR(resource, of: i, what: what, explains: explains))
        }
    }

    private func missingBAR(_ resource: Resource, of i: Int, what: String, explains: Bool) -> Finding {
        let function = functions[i]
        let room = explains ? analyzeRoom(for: resource, of: i) : RoomAnalysis()
        let (severity, reason) = judge(resource, of: i)
        if let old = addressInRegister(resource, of: i), old != 0, resource.size != nil {
            let takers = explains ? newcomersWithoutAddress(besides: i) : []
            var causes = room.causes
            if !takers.isEmpty {
                causes.insert("the kernel was making room for \(takers.listed(4))", at: 0)
            }
            return Finding(
                .barLost,
                reason == .need(.leftAlone) ? .note : .problem,
                at: function.address,
                resource: resource.index,
                related: takers + room.pins.filter { !takers.contains($0) },
                "\(what) lost its address, the register still holds \(hex(old))",
                causes: causes
            )
        }
        var sentence = "\(what) has no address"
        if resource.assignment == .wiped {
            sentence += ", and the kernel forgot it: only removing and finding the function again retries it"
        }
        if let remark = reason.remark { sentence += "; \(remark)" }
        return Finding(
            resource.assignment == .wiped ? .barWiped : .barUnassigned,
            severity,
            at: function.address,
            resource: resource.index,
            related: room.pins,
            sentence,
            causes: reason == .need(.leftAlone) ? [] : room.causes
        )
    }

    private enum Reason: Equatable {
        case need(ResourceNeed)
        case asleep

        var remark: String? {
            switch self {
            case .need(.leftAlone): "the kernel leaves functions of this class as they are"
            case .need(.optionalIO): "drivers use the memory BARs, I/O is rarely needed"
            case .need(.unknownIO): "whether it has memory BARs, which most drivers use instead, is not told"
            case .need(.untoldRole): "whether this is a host bridge or a root port, which work without, is not told"
            case .need(.bridgeOwn): "the port forwards without it"
            case .need: nil
            case .asleep: "the function sleeps, and only its registers were read"
            }
        }
    }

    /// What it means that the resource of the function at index `i` has no address.
    public func need(of resource: Resource, at i: Int) -> ResourceNeed {
        let function = functions[i]
        let hasMemory = function.resources.contains { $0.index.isBAR && $0.kind != .io }
        return ResourceNeed(
            resource.index,
            kind: resource.kind,
            classWord: function.identity.isKindTold ? function.identity.classWord : nil,
            leadsRootBus: function.parent == nil && function.address.devfn == 0 && host(of: i) >= 0
                && hostBridges[host(of: i)].isTold,
            isBridge: function.isBridge,
            hasMemoryBAR: hasMemory || function.knowledge.resources == .seen ? hasMemory : nil
        )
    }

    /// Whether a resource over which the kernel refused to enable the function at index `i` is missed: no driver gets a
    /// device that is not enabled, whichever BARs it would use.
    private func isMissedWhenRefused(_ resource: Resource, of i: Int) -> Bool {
        let need = need(of: resource, at: i)
        return !need.isHarmless || need == .optionalIO || need == .unknownIO
    }

    /// How bad a BAR without address is, and why no worse.
    private func judge(_ resource: Resource, of i: Int) -> (Finding.Severity, Reason) {
        let function = functions[i]
        let need = need(of: resource, at: i)
        if need == .leftAlone || need == .bridgeOwn { return (.note, .need(need)) }
        if isAsleep(function) && (function.lines.isEmpty || isPutTogetherFromText) { return (.note, .asleep) }
        return (need.isHarmless ? .note : .problem, .need(need))
    }

    /// The address in the BAR's register, without the type bits; nil when it was not read, as where the bytes are put
    /// together from text.
    func addressInRegister(_ resource: Resource, of i: Int) -> UInt64? {
        guard resource.index.isBAR, functions[i].knowledge.registers != .unseen else { return nil }
        let config = functions[i].config
        let offset = 0x10 + 4 * Int(resource.index.rawValue)
        guard let low = config.long(offset), low != .max else { return nil }
        if resource.flags.contains(.io) { return UInt64(low & ~3) }
        guard resource.is64Bit, resource.index.rawValue < 5 else { return UInt64(low & ~0xf) }
        guard let high = config.long(offset + 4), high != .max else { return nil }
        return UInt64(high) << 32 | UInt64(low & ~0xf)
    }

    /// Functions that lack an address and never had one, below the same outermost bridge as the function at index `i`.
    private func newcomersWithoutAddress(besides i: Int) -> [FunctionAddress] {
        guard let top = ancestors(of: i).last else { return [] }
        return subtree(of: top).filter { j in
            j != i && !functions[j].isBridge && !functions[j].isVirtual
                && functions[j].resources.contains {
                    $0.index.isBAR && $0.lacksAddress && addressInRegister($0, of: j) ?? 0 == 0
                }
        }
        .map { functions[$0].address }
    }

    /// Whether what lies above the function at index `i` forwards `range`; true when that is not known.
    private func isForwarded(_ range: AddressRange, _ resource: Resource, to i: Int) -> Bool {
        let isIO = resource.flags.contains(.io)
        let source = host(of: i) >= 0 ? hostBridges[host(of: i)].source : .unknown
        // Non-prefetchable windows end at 4 GiB of bus addresses: beyond it a CPU address is a translated one, and
        // windows taken from registers cannot be compared with it.
        // A device tree may translate every window.
        let mayTranslate = !resource.flags.contains(.prefetchable) || kernel.hardwareDescription == .deviceTree
        if source == .unknown, !isIO, mayTranslate, range.last > 0xffff_ffff { return true }
        for p in ancestors(of: i) {
            let windows = functions[p].resources.filter { $0.index.isWindow && $0.flags.contains(.io) == isIO }
            if windows.contains(where: { $0.shownRange?.contains(range) == true }) { return true }
            // An I/O window that begins at port 0 looks like one without address.
            if isIO, windows.contains(where: { $0.assignment == .unassigned && range.last < $0.size?.rawValue ?? 0 }) {
                return true
            }
            // A bridge whose windows were not read forwards who knows what; a subtractive one forwards the rest.
            if functions[p].knowledge.windows != .seen { return true }
            if functions[p].resources.isEmpty && functions[p].bridge?.registers == nil { return true }
            guard functions[p].bridge?.isSubtractive == true else { return false }
        }
        let h = host(of: i)
        guard h >= 0, hostBridges[h].source == .kernelLog else { return true }
        let apertures = hostBridges[h].apertures.filter { $0.isIO == isIO }
        return apertures.isEmpty || apertures.contains { $0.range.contains(range) }
    }

    func appendClosedWindows(of i: Int, to result: inout [Finding]) {
        let bridge = functions[i]
        for index in [ResourceIndex.ioWindow, .memoryWindow, .prefetchableWindow] {
            let window = bridge.resource(index)
            // A window that nobody told of is not closed for that.
            guard window?.shownRange == nil, bridge.knowledge.windows == .seen || window?.assignment == .unassigned
            else {
                continue
            }
            var needy: [FunctionAddress] = []
            var severity = Finding.Severity.note
            for j in subtree(of: i).dropFirst() where !functions[j].isVirtual {
                for resource in functions[j].resources where resource.index.isBAR && resource.lacksAddress {
                    guard resource.kind != nil, carries(index, window, resource, bridge: i) else { continue }
                    if needy.last != functions[j].address { needy.append(functions[j].address) }
                    let (judged, reason) = judge(resource, of: j)
                    let lost = reason != .need(.leftAlone) && (addressInRegister(resource, of: j) ?? 0) != 0
                    if judged == .problem || lost { severity = .problem }
                }
            }
            guard !needy.isEmpty else { continue }
            let state =
                window.map { $0.assignment == .closed ? "is closed" : "has no address" } ?? "is not there or closed"
            result.append(
                Finding(
                    .windowClosed,
                    severity,
                    at: bridge.address,
                    resource: index,
                    related: needy,
                    "\(index) \(state); \(needy.listed(4)) \(needy.count == 1 ? "needs" : "need") it"
                )
            )
        }
    }

    private func carries(_ index: ResourceIndex, _ window: Resource?, _ resource: Resource, bridge i: Int) -> Bool {
        if window != nil { return self.window(ofBridge: i, carrying: resource)?.index == index }
        // The bridge shows no such window. Prefetchable memory then goes to the memory window.
        switch index {
        case .ioWindow: return resource.kind == .io
        case .memoryWindow: return resource.kind != .io && self.window(ofBridge: i, carrying: resource) == nil
        default: return false
        }
    }
}
