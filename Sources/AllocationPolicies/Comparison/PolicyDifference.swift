// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What two policies do differently with one function.
public struct PolicyDifference: Hashable, Sendable {
    /// The place in the tree.
    public var path: TopologyPath
    /// The address at present.
    public var today: FunctionAddress
    /// The decision in which they part.
    public var decision: LayoutDecision
    /// What differs: `bus range`, `mem window`, `BAR 0`.
    public var what: String
    /// What the first policy does.
    public var first: String
    /// What the second policy does.
    public var second: String

    /// All differences of two outcomes, in the order in which allocators decide: bus numbers from the root down, window
    /// sizes from the leaves up, then places of windows and of BARs from the root down.
    ///
    /// A window whose size differs is listed with its size, not with its place.
    /// - Complexity: O(n) in the number of resources.
    public static func all(_ a: PolicyOutcome, _ b: PolicyOutcome) -> [PolicyDifference] {
        let other = Dictionary(b.functions.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
        var buses: [PolicyDifference] = []
        var sizes: [(depth: Int, difference: PolicyDifference)] = []
        var places: [PolicyDifference] = []
        var resources: [PolicyDifference] = []
        for x in a.functions {
            guard let y = other[x.path] else { continue }
            func differ(_ decision: LayoutDecision, _ what: String, _ first: String, _ second: String)
                -> PolicyDifference
            {
                PolicyDifference(
                    path: x.path,
                    today: x.today,
                    decision: decision,
                    what: what,
                    first: first,
                    second: second
                )
            }
            if x.buses != y.buses {
                buses.append(
                    differ(.busRange, "bus range", x.buses?.description ?? "none", y.buses?.description ?? "none")
                )
            }
            for index in [ResourceIndex.ioWindow, .memoryWindow, .prefetchableWindow] {
                let (p, q) = (x.window(index), y.window(index))
                guard p != q else { continue }
                let texts = (text(p, "closed"), text(q, "closed"))
                if p?.size == q?.size, p != nil, q != nil {
                    places.append(differ(.windowPlace, "\(index)", texts.0, texts.1))
                } else {
                    sizes.append((x.path.hops.count, differ(.windowSize, "\(index)", texts.0, texts.1)))
                }
            }
            for resource in x.resources {
                let counterpart = y.resources.first { $0.index == resource.index }
                guard resource.range != counterpart?.range else { continue }
                let isOmitted = resource.range == nil || counterpart?.range == nil
                resources.append(
                    differ(
                        isOmitted ? .omission : .place,
                        "\(resource.index)",
                        text(resource.range, resource.reason ?? "no address"),
                        text(counterpart?.range, counterpart?.reason ?? "no address")
                    )
                )
            }
        }
        // Deepest first; stable, so that siblings stay in walk order.
        let bottomUp = sizes.enumerated().sorted {
            ($1.element.depth, $0.offset) < ($0.element.depth, $1.offset)
        }.map(\.element.difference)
        return buses + bottomUp + places + resources
    }

    private static func text(_ range: AddressRange?, _ absent: String) -> String {
        range.map { "\($0) (\(ByteCount($0.clampedSize)))" } ?? absent
    }
}

extension PolicyDifference: CustomStringConvertible {
    /// `0000:00:02.0 mem window: 0xfe800000-0xfe9fffff (2M) against closed`.
    public var description: String { "\(today) \(what): \(first) against \(second)" }
}
