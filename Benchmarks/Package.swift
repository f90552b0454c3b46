// swift-tools-version: 6.2
// SPDX-License-Identifier: GPL-2.0-or-later

import PackageDescription

// A package of its own: nothing here is built or fetched with the product.
let package = Package(
    name: "pci-rebalance-benchmarks",
    dependencies: [.package(name: "pci-rebalance", path: "..")],
    targets: [
        .executableTarget(
            name: "solver-bench",
            dependencies: [
                .product(name: "ResourceSolver", package: "pci-rebalance"),
                .product(name: "PCITopology", package: "pci-rebalance"),
            ],
            swiftSettings: [.swiftLanguageMode(.v6)]
        ),
        .executableTarget(
            name: "plan-bench",
            dependencies: [
                .product(name: "AllocationPolicies", package: "pci-rebalance"),
                .product(name: "RebalancePlanner", package: "pci-rebalance"),
                .product(name: "PCITopology", package: "pci-rebalance"),
            ],
            swiftSettings: [.swiftLanguageMode(.v6)]
        ),
        .executableTarget(
            name: "twin-bench",
            dependencies: [
                .product(name: "AllocationPolicies", package: "pci-rebalance"),
                .product(name: "PCITopology", package: "pci-rebalance"),
            ],
            swiftSettings: [.swiftLanguageMode(.v6)]
        ),
    ]
)
