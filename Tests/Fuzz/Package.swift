// swift-tools-version: 6.2
// SPDX-License-Identifier: GPL-2.0-or-later

import PackageDescription

// A package of its own: the readers are compiled again, for libFuzzer to see which way every input takes.
let package = Package(
    name: "fuzz",
    dependencies: [.package(name: "pci-rebalance", path: "../..")],
    targets: [
        .target(name: "CFuzzDriver"),
        .executableTarget(
            name: "fuzz",
            dependencies: [
                "CFuzzDriver",
                .product(name: "PCITopology", package: "pci-rebalance"),
                .product(name: "AllocationPolicies", package: "pci-rebalance"),
                .product(name: "RebalancePlanner", package: "pci-rebalance"),
                .product(name: "LibPCIBridge", package: "pci-rebalance"),
                .product(name: "PlanExecutor", package: "pci-rebalance"),
            ],
            swiftSettings: [
                .swiftLanguageMode(.v6), .treatAllWarnings(as: .error), .enableUpcomingFeature("ExistentialAny"),
                .enableUpcomingFeature("InternalImportsByDefault"), .enableUpcomingFeature("MemberImportVisibility"),
            ]
        ),
    ]
)
