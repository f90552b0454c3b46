// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What two policies do differently with one function.
public struct PolicyDifference: Hashable, Sendable {
    /// The place in the tree.
    public var path: TopologyPath
    /// The address at present.
    public var today: FunctionAddress
    /// What differs: `bus range`, `mem window`, `BAR 0`.
    public var what: String
    /// What the first policy does.
    public var first: String
    /// What the second policy does.
    public var second: String

    /// All differences of two outcomes, in the order in which allocators decide: bus numbers, then windows, then BARs,
    /// each from the root down.
    public static func all(_ a: PolicyOutcome, _ b: PolicyOutcome) -> [PolicyDifference] {
        let other = Dictionary(b.functions.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
        var buses: [PolicyDifference] = []
        var windows: [PolicyDifference] = []
        var resources: [PolicyDifference] = []
        for x in a.functions {
            guard let y = other[x.path] else { continue }
            func differ(_ what: String, _ first: String, _ second: String) -> PolicyDifference {
                PolicyDifference(path: x.path, today: x.today, what: what, first: first, second: second)
            }
            if x.buses != y.buses {
                buses.append(differ("bus range", x.buses?.description ?? "none", y.buses?.description ?? "none"))
            }
            for index in [ResourceIndex.ioWindow, .memoryWindow, .prefetchableWindow] {
                let (p, q) = (x.window(index), y.window(index))
                if p != q { windows.append(differ("\(index)", text(p, "closed"), text(q, "closed"))) }
            }
            for resource in x.resources {
                let counterpart = y.resources.first { $0.index == resource.index }
                if resource.range != counterpart?.range {
                    resources.append(
                        differ(
                            "\(resource.index)",
                            text(resource.range, resource.reason ?? "no address"),
                            text(counterpart?.range, counterpart?.reason ?? "no address")
                        )
                    )
                }
            }
        }
        return buses + windows + resources
    }

    private static func text(_ range: AddressRange?, _ absent: String) -> String {
        range.map { "\($0) (\(ByteCount($0.clampedSize)))" } ?? absent
    }
}

extension PolicyDifference: CustomStringConvertible {
    /// `0000:00:02.0 mem window: 0xfe800000-0xfe9fffff (2M) against closed`.
    public var description: String { "\(today) \(what): \(first) against \(second)" }
}
