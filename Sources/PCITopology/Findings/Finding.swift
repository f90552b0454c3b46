// SPDX-License-Identifier: GPL-2.0-or-later

/// Something about the tree that a person should know: what, where, why, and what may be done.
public struct Finding: Hashable, Sendable {
    /// What it is; the raw value is stable and stands in JSON documents.
    public enum Code: String, Hashable, Sendable, CaseIterable {
        /// A BAR has no address.
        case barUnassigned = "bar-unassigned"
        /// A BAR has no address and the kernel forgot it: no rescan retries it.
        case barWiped = "bar-wiped"
        /// A BAR that had an address lost it to somebody else's assignment.
        case barLost = "bar-lost"
        /// A BAR carries an address that the kernel does not hold.
        case barUnclaimed = "bar-unclaimed"
        /// A resource lies outside the windows or apertures above it.
        case outsideWindow = "outside-window"
        /// Two resources on one bus share addresses.
        case overlap
        /// A window is closed, or has no address, above a function that needs it.
        case windowClosed = "window-closed"
        /// The ROM has no address.
        case romUnassigned = "rom-unassigned"
        /// The block for VF BARs has no address.
        case vfBARUnassigned = "vf-bar-unassigned"
        /// A bridge has no bus numbers.
        case busMissing = "bus-missing"
        /// A bus range leaves the range above it, or holds the bus that its bridge sits on.
        case busOutsideParent = "bus-outside-parent"
        /// Two bridges on one bus share bus numbers.
        case busOverlap = "bus-overlap"
        /// A function's bus number is not the one its bridge leads to.
        case busMismatch = "bus-mismatch"
        /// The kernel's tree and the registers disagree.
        case registersDiffer = "registers-differ"
        /// The function does not answer: its configuration space reads all ones.
        case notAnswering = "not-answering"
        /// The kernel log reports a failure about a function of which the tree shows nothing else.
        case kernelReport = "kernel-report"
        /// A BAR was to have another size, the kernel found no room, and it has its old size again.
        case resizeRefused = "resize-refused"
    }

    /// How bad it is.
    public enum Severity: String, Hashable, Sendable {
        /// Something does not work, or will not.
        case problem
        /// Nothing is lost in practice.
        case note
    }

    /// What it is.
    public var code: Code
    /// How bad it is.
    public var severity: Severity
    /// The function that it is about.
    public var address: FunctionAddress
    /// Whether it is about the bus of `address`, of which no function is told, and not about a function.
    public var isAboutBus = false
    /// The resource that it is about, or nil when it is not about one.
    public var resource: ResourceIndex?
    /// Other functions that take part, ascending: who pins the space, who overlaps, who lost or took it.
    public var related: [FunctionAddress]
    /// One lower-case sentence: what is wrong, with what was expected and found.
    public var sentence: String
    /// Why it is so, a sentence each, nearest cause first.
    public var causes: [String]

    /// What it is about, as a person reads it: a function's address, or `bus 0000:47`.
    public var subject: String { isAboutBus ? "bus \(busName(segment: address.segment, address.bus))" : "\(address)" }

    /// Creates a finding.
    public init(
        _ code: Code,
        _ severity: Severity,
        at address: FunctionAddress,
        resource: ResourceIndex? = nil,
        related: [FunctionAddress] = [],
        _ sentence: String,
        causes: [String] = []
    ) {
        self.code = code
        self.severity = severity
        self.address = address
        self.resource = resource
        self.related = related.sorted()
        self.sentence = sentence
        self.causes = causes
    }
}

extension Topology {
    /// Everything about the tree that a person should know, in the order of the tree (parents first, a function's bus
    /// numbers before its resources).
    ///
    /// Judges only by what was read: an aperture list that is unknown gives no finding about apertures, registers that
    /// could not be read agree with everything.
    ///
    /// - Parameter explains: whether causes, and who takes part in a missing address, are looked for as well; codes,
    ///   severities and places are the same without.
    /// - Returns: the findings.
    /// - Complexity: O(n log n) in the number of resources, for trees of bounded depth.
    public func findings(explains: Bool = true) -> [Finding] {
        var result: [Finding] = []
        let offsets = registerOffsets()
        let lackingBelow = lackingBelow()
        for h in hostBridges.indices {
            appendSiblingFindings(among: roots(of: h), to: &result)
            for root in roots(of: h) {
                for i in preorder(from: root) {
                    // Unknown ids alone may read so in records put together from text.
                    let config = functions[i].config
                    if config.isSilent && !functions[i].isVirtual {
                        result.append(
                            Finding(
                                .notAnswering,
                                .problem,
                                at: functions[i].address,
                                "configuration space reads all ones, the function does not answer"
                            )
                        )
                        continue
                    }
                    appendBusFindings(of: i, to: &result)
                    appendResourceFindings(of: i, explains: explains, to: &result)
                    if functions[i].isBridge, !functions[i].isVirtual, lackingBelow[i] > 0 {
                        appendClosedWindows(of: i, to: &result)
                    }
                    appendOwnOverlaps(of: i, to: &result)
                    appendRegisterFindings(of: i, offsets: offsets, to: &result)
                    if functions[i].isBridge { appendSiblingFindings(among: children(of: i), to: &result) }
                }
            }
        }
        if gaps.contains(where: { $0.code == "damaged-log" }) {
            for k in result.indices where isDoubtful(result[k]) { result[k].severity = .note }
        }
        if logEndsBeforeAssignment {
            for k in result.indices where isYetToCome(result[k]) {
                result[k].severity = .note
                result[k].sentence += ", where the log ends"
            }
        }
        return result
    }

    /// Whether the kernel's log ends before the kernel has assigned addresses.
    package var logEndsBeforeAssignment: Bool { gaps.contains { $0.code == "log-cut-at-end" } }

    /// Whether a finding says no more than that the kernel had not come to assigning when its log ends: nothing was tried.
    private func isYetToCome(_ finding: Finding) -> Bool {
        guard finding.severity == .problem, finding.code == .barUnassigned || finding.code == .windowClosed,
            let i = position(of: finding.address)
        else { return false }
        return functions[i].knowledge.sources == [.log]
    }

    /// Whether a finding rests on numbers of a log that lost characters, and not on the kernel's own words of a failure: a
    /// range or a bus without one of its digits overlaps what it likes.
    private func isDoubtful(_ finding: Finding) -> Bool {
        guard finding.severity == .problem, let i = position(of: finding.address),
            !functions[i].knowledge.sources.contains(where: { $0 != .log })
        else { return false }
        switch finding.code {
        case .barUnassigned, .barWiped, .barLost, .barUnclaimed:
            return finding.resource.flatMap { functions[i].resource($0)?.size } == nil
        case .windowClosed, .notAnswering, .kernelReport: return false
        default: return true
        }
    }

    /// The resources that have no address, or an odd one, and whose function does without: of every resource that
    /// findings name, those of severity note, by index of the function.
    ///
    /// The one place that decides which failures are harmless: an I/O BAR that drivers do not use, a port's own BAR.
    /// - Complexity: that of `findings(explains: false)`.
    public func harmlessResources() -> [Int: Set<ResourceIndex>] {
        harmlessResources(among: findings(explains: false))
    }

    /// The same for this tree's findings where they are known already.
    public func harmlessResources(among findings: [Finding]) -> [Int: Set<ResourceIndex>] {
        var result: [Int: Set<ResourceIndex>] = [:]
        for finding in findings where finding.severity == .note {
            guard let index = finding.resource, let i = position(of: finding.address) else { continue }
            result[i, default: []].insert(index)
        }
        return result
    }

    /// Whether registers or kernel lines were put together from text, so that one says nothing against the other.
    var isPutTogetherFromText: Bool { gaps.contains { $0.code == "config-from-text" || $0.code == "sizes-unknown" } }

    /// The function at index `i` and everything below it, depth first, parents before children, in list order.
    public func preorder(from i: Int) -> [Int] {
        var result: [Int] = []
        var stack = [i]
        while let next = stack.popLast() {
            result.append(next)
            stack.append(contentsOf: children(of: next).reversed())
        }
        return result
    }
}
