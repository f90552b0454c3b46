// SPDX-License-Identifier: GPL-2.0-or-later

/// Something that an answer about a tree would need and that no source told.
public struct Unknown: Hashable, Sendable {
    /// What it is; the raw value is stable, stands in JSON documents and is the reason of a plan that cannot tell.
    public enum Code: String, Hashable, Sendable, CaseIterable {
        /// No function was described.
        case noFunctions = "no-functions"
        /// Functions are named, and nothing of their BARs or windows is told.
        case functionsNotRead = "functions-not-read"
        /// BARs have an address whose size is not told.
        case sizesNotTold = "sizes-not-told"
        /// The bridge above a function is not told.
        case bridgesNotTold = "bridges-not-told"
        /// The windows of a bridge are not told.
        case windowsNotTold = "windows-not-told"
        /// The apertures of a host bridge are not told.
        case aperturesNotTold = "apertures-not-told"
        /// Functions that the sources name have no place in the tree.
        case functionsLeftOut = "functions-left-out"
        /// The sources are of different machines or boots.
        case sourcesDisagree = "sources-disagree"
        /// The kernel log does not reach from the boot to the end of the assignment.
        case logCut = "log-cut"
        /// A source is damaged.
        case sourceDamaged = "source-damaged"
        /// Who drives a slot is not told.
        case slotDriverNotTold = "slot-driver-not-told"
    }

    /// What would tell.
    public enum Remedy: String, Hashable, Sendable, CaseIterable, Comparable {
        /// The listing of all functions with capabilities and registers.
        case listing = "sudo lspci -vvxxx"
        /// The kernel log from the boot on.
        case log = "sudo dmesg"
        /// The kernel log as the journal keeps it, where the kernel's own buffer has forgotten the boot.
        case journal = "sudo journalctl -k -b"
        /// The kernel's tree of address ranges.
        case iomem = "sudo cat /proc/iomem"
        /// Everything at once, on the machine itself.
        case snapshot = "sudo pci-rebalance snapshot -o machine.json"

        private var rank: Int { Remedy.allCases.firstIndex(of: self) ?? 0 }

        /// Orders as declared.
        public static func < (a: Remedy, b: Remedy) -> Bool { a.rank < b.rank }
    }

    /// What it is.
    public var code: Code
    /// The functions concerned, ascending; empty when it is about the whole.
    public var addresses: [FunctionAddress]
    /// One lower-case sentence.
    public var sentence: String
    /// What would tell, in the order of the declaration.
    public var remedies: [Remedy]

    /// Creates a record.
    public init(_ code: Code, _ addresses: [FunctionAddress] = [], _ sentence: String, _ remedies: [Remedy]) {
        self.code = code
        self.addresses = addresses.sorted()
        self.sentence = sentence
        self.remedies = remedies.sorted()
    }
}

/// The verdict on a tree.
public enum TreeVerdict: String, Hashable, Sendable {
    /// Everything that was asked about was seen, and nothing is wrong.
    case healthy
    /// Something is wrong.
    case problems
    /// Nothing wrong was seen, and something that could be wrong was not seen.
    case cannotTell = "cannot-tell"
}

extension ReadingGap {
    /// What the gap means for a verdict of health; nil when everything required was seen in spite of it.
    var unknown: Unknown? {
        switch code {
        case "orphan", "no-place": Unknown(.functionsLeftOut, [], detail, [.snapshot, .listing])
        case "several-machines", "several-boots-joined": Unknown(.sourcesDisagree, [], detail, [.snapshot])
        case "addresses-only", "foreign-text": Unknown(.noFunctions, [], detail, [.listing, .log])
        case "damaged-log": Unknown(.sourceDamaged, [], detail, [.log])
        case "log-cut-at-end": Unknown(.logCut, [], detail, [.log])
        case "damagedHexRow": Unknown(.sourceDamaged, [], detail, [.listing])
        default: nil
        }
    }
}

extension Topology {
    /// What keeps the tree from being called healthy, most general first; empty when everything required was seen.
    /// - Complexity: O(number of functions).
    public func unknowns() -> [Unknown] {
        var result: [Unknown] = []
        if functions.isEmpty, !gaps.contains(where: { $0.unknown?.code == .noFunctions }) {
            result.append(Unknown(.noFunctions, [], "no function is described in this input", [.listing, .log]))
        }
        result += gaps.compactMap(\.unknown).uniqued()
        result += notRead(functions.indices.map { $0 })
        return result
    }

    /// What lies outside the part of the machine that was told: it says nothing against the functions that were seen whole,
    /// whose health is told as far as it was seen.
    /// - Complexity: O(number of functions).
    public func reservations() -> [Unknown] {
        var result = gaps.filter { $0.code == "log-cut-at-start" }.map { Unknown(.logCut, [], $0.detail, [.journal]) }
        let placeless = functions.indices.filter { isBridgeMissing(above: $0) }.map { functions[$0].address }
        if !placeless.isEmpty {
            result.append(
                Unknown(
                    .bridgesNotTold,
                    placeless,
                    "what lies above \(placeless.listed(4)) is not told: bridges and their windows",
                    [.listing, .log]
                )
            )
        }
        if placeless.isEmpty, let only = onlyDescribed {
            result.append(
                Unknown(
                    .functionsNotRead,
                    [],
                    "only \(only) is described: what else there is\(self[only]?.isBridge == true ? ", also behind it," : "") "
                        + "is not in this input",
                    [.listing]
                )
            )
        }
        return result
    }

    /// The one function of an input that lists functions and describes a single one, as `lspci -s` does; nil for all others.
    package var onlyDescribed: FunctionAddress? {
        guard functions.count == 1, functions[0].knowledge.sources.contains(.listing) else { return nil }
        return functions[0].address
    }

    /// The host bridges of which no source tells the apertures, although something below them asks for space.
    /// - Complexity: O(number of functions and host bridges).
    public func untoldApertures() -> [Unknown] {
        let asking = Set(
            functions.indices.filter { functions[$0].isBridge || !functions[$0].resources.isEmpty }.map { host(of: $0) }
        )
        return hostBridges.indices.compactMap { h in
            guard asking.contains(h), let first = roots(of: h).first, hostBridges[h].isTold,
                hostBridges[h].source == .unknown
            else { return nil }
            return untoldApertures(ofHost: h, functions[first].address)
        }
    }

    private func untoldApertures(ofHost h: Int, _ address: FunctionAddress) -> Unknown {
        Unknown(
            .aperturesNotTold,
            [address],
            "the apertures of root bus \(hostBridges[h].name) are not told",
            [.log, .iomem]
        )
    }

    /// What keeps anybody from foretelling a layout of the whole machine: no function, no way down to them, no apertures, a
    /// log that ends too early. What is merely unknown of single functions does not.
    /// - Complexity: that of `unknowns()`.
    public func unknownsOfLayout() -> [Unknown] {
        let whole: Set<Unknown.Code> = [.noFunctions, .logCut, .sourcesDisagree, .functionsLeftOut]
        return unknowns().filter { whole.contains($0.code) }
            + reservations().filter { $0.code == .bridgesNotTold } + untoldApertures()
    }

    /// Whether no source tells which bridge leads to the bus that the function at index `i` sits on.
    private func isBridgeMissing(above i: Int) -> Bool {
        guard functions[i].parent == nil else { return isBridgeMissing(betweenParentAnd: i) }
        let h = host(of: i)
        return h < 0 || !hostBridges[h].isTold
    }

    /// Whether a function sits on a bus further down than the one its nearest bridge leads to.
    private func isBridgeMissing(betweenParentAnd i: Int) -> Bool {
        guard let p = parent(of: i), let bus = functions[p].bridge?.busRange?.first, !functions[i].isVirtual else {
            return false
        }
        return functions[i].address.bus > bus && functions[i].knowledge.sources.contains { $0 != .kernel }
    }

    /// What of the functions `indices` was not told.
    private func notRead(_ indices: [Int]) -> [Unknown] {
        var unread: [FunctionAddress] = []
        var unsized: [FunctionAddress] = []
        for i in indices where !functions[i].isVirtual && !isLeftAlone(functions[i]) {
            let function = functions[i]
            if function.resources.contains(where: { $0.index.isBAR && $0.size == nil && $0.shownRange != nil }) {
                unsized.append(function.address)
            } else if function.knowledge.extent != .seen {
                unread.append(function.address)
            }
        }
        var result: [Unknown] = []
        if !unread.isEmpty {
            result.append(
                Unknown(
                    .functionsNotRead,
                    unread,
                    "\(unread.listed(4)): BARs and windows are not told, or only in part",
                    [.listing]
                )
            )
        }
        if !unsized.isEmpty {
            result.append(
                Unknown(
                    .sizesNotTold,
                    unsized,
                    "\(unsized.listed(4)): BARs have addresses, and their sizes are not told",
                    [.listing, .log]
                )
            )
        }
        return result
    }

    private func isLeftAlone(_ function: Function) -> Bool {
        ResourceNeed(
            .bar(0) ?? .rom,
            kind: .memory,
            classWord: function.identity.classWord,
            isBridge: false,
            hasMemoryBAR: true
        ) == .leftAlone
    }

    /// What an answer about room for the function at index `i` would need to know and nobody told: the way up to the host
    /// bridge, and everything below the outermost bridge on that way.
    ///
    /// Apertures come last: what does not need them may be answered without.
    /// - Complexity: O(number of functions).
    /// - Parameters:
    ///   - i: the index of the function.
    ///   - prefetchable: whether 64-bit prefetchable memory is wanted, for which the width of windows counts; nil looks at
    ///     what the function lacks.
    /// - Returns: what is not told, most general first; empty when the answer may be given.
    public func unknowns(about i: Int, prefetchable: Bool? = nil) -> [Unknown] {
        let asksForWidth =
            prefetchable
            ?? functions[i].resources.contains { $0.lacksAddress && $0.kind == .prefetchable && $0.is64Bit }
        var result = gaps.compactMap(\.unknown).uniqued()
        let way = [i] + ancestors(of: i)
        let top = way[way.count - 1]
        let h = host(of: top)
        if h < 0 || !hostBridges[h].isTold {
            result.append(
                Unknown(
                    .bridgesNotTold,
                    [functions[top].address],
                    "what lies above \(functions[top].address) is not told: bridges, their windows, the host bridge's "
                        + "apertures",
                    [.listing, .log]
                )
            )
        }
        for j in way where functions[j].parent != nil {
            guard let p = parent(of: j), isBridgeMissing(betweenParentAnd: j) else { continue }
            result.append(
                Unknown(
                    .bridgesNotTold,
                    [functions[j].address],
                    "the bridge between \(functions[p].address) and \(functions[j].address) is not told",
                    [.listing, .log]
                )
            )
        }
        let narrow = way.filter {
            functions[$0].isBridge
                && (functions[$0].knowledge.windows != .seen
                    || asksForWidth && !functions[$0].knowledge.isPrefetchableWidthKnown)
        }
        if !narrow.isEmpty {
            let names = narrow.map { functions[$0].address }
            result.append(
                Unknown(
                    .windowsNotTold,
                    names,
                    "\(names.listed(4)): the windows, or how wide they are, are not told",
                    [.listing, .log]
                )
            )
        }
        let named = Set(narrow.map { functions[$0].address })
        result += notRead(subtree(of: top)).filter { one in
            one.code != .functionsNotRead || !one.addresses.allSatisfy { named.contains($0) }
        }
        if h >= 0, hostBridges[h].isTold, hostBridges[h].source == .unknown {
            result.append(untoldApertures(ofHost: h, functions[top].address))
        }
        return result
    }

    /// The verdict on the tree: problems come first; health needs that everything required was seen.
    /// - Complexity: that of `unknowns()`.
    public func verdict(of findings: [Finding]) -> TreeVerdict {
        if findings.contains(where: { $0.severity == .problem }) { return .problems }
        return unknowns().isEmpty ? .healthy : .cannotTell
    }
}

extension [Unknown] {
    /// What would tell, all of them, in the order of the declaration.
    public var remedies: [Unknown.Remedy] { Array<Unknown.Remedy>(Set(flatMap(\.remedies))).sorted() }

    /// The commands that would tell, one text short enough to paste: `sudo lspci -vvxxx > lspci.txt; sudo dmesg > …`.
    public var commands: String { remedies.commands }
}

extension [Unknown.Remedy] {
    /// The commands, one text short enough to paste.
    public var commands: String {
        // The journal holds what dmesg shows, and more.
        filter { ($0 != .snapshot || count == 1) && ($0 != .log || !contains(.journal)) }.map { remedy in
            switch remedy {
            case .listing: "\(remedy.rawValue) > lspci.txt"
            case .log: "\(remedy.rawValue) > dmesg.txt"
            case .journal: "\(remedy.rawValue) > journal.txt"
            case .iomem: "\(remedy.rawValue) > iomem.txt"
            case .snapshot: remedy.rawValue
            }
        }
        .joined(separator: "; ")
    }
}
