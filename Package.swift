// swift-tools-version: 6.2
// SPDX-License-Identifier: GPL-2.0-or-later

import PackageDescription

let swift: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// Tests run the package's own modules optimised, as they are installed, while tests themselves are compiled quickly.
let optimised: [SwiftSetting] =
    Context.environment["PCI_REBALANCE_OPTIMISED"] == nil
    ? [] : [.unsafeFlags(["-O"], .when(configuration: .debug))]

/// A build for the laboratory, whose tool can be told to know nothing of a series of kernels (`vm-lab rescue --left-out`).
let leaveOneOut: [SwiftSetting] =
    Context.environment["PCI_REBALANCE_LEAVE_ONE_OUT"] == nil ? [] : [.define("LEAVE_ONE_OUT")]

let package = Package(
    name: "pci-rebalance",
    products: [
        .executable(name: "pci-rebalance", targets: ["pci-rebalance"]),
        .executable(name: "vm-lab", targets: ["vm-lab"]),
        .library(name: "PCITopology", targets: ["PCITopology"]),
        .library(name: "ResourceSolver", targets: ["ResourceSolver"]),
        .library(name: "AllocationPolicies", targets: ["AllocationPolicies"]),
        .library(name: "PolicyPictures", targets: ["PolicyPictures"]),
        .library(name: "RebalancePlanner", targets: ["RebalancePlanner"]),
        .library(name: "LibPCIBridge", targets: ["LibPCIBridge"]),
        .library(name: "PlanExecutor", targets: ["PlanExecutor"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    ],
    targets: [
        // The ground floor: values only.
        .target(name: "PCITopology", swiftSettings: swift + optimised),
        // What a given kernel or firmware would do. Knows no goal.
        .target(
            name: "AllocationPolicies",
            dependencies: ["PCITopology"],
            swiftSettings: swift + optimised + leaveOneOut
        ),
        // Maps of address space and bus numbers as text: terminal, SVG, HTML.
        .target(name: "PolicyPictures", dependencies: ["PCITopology"], swiftSettings: swift + optimised),
        // From a tree that fails to an emulated machine that fails the same way.
        .target(
            name: "Reproduction",
            dependencies: ["PCITopology", "AllocationPolicies"],
            swiftSettings: swift + optimised
        ),
        // Layouts, bus numbers, conflicts. Knows no kernel.
        .target(
            name: "ResourceSolver",
            dependencies: [
                "PCITopology",
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            swiftSettings: swift + optimised
        ),
        // Certificates of plans, checked without the solver and the planner.
        .target(name: "ProofChecker", dependencies: ["PCITopology"], swiftSettings: swift + optimised),
        // Goals -> ordered operations.
        .target(
            name: "RebalancePlanner",
            dependencies: [
                "PCITopology", "AllocationPolicies", "ResourceSolver", "ProofChecker",
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            swiftSettings: swift + optimised
        ),
        // The world -> model.
        .systemLibrary(name: "CLibPCI", pkgConfig: "libpci", providers: [.apt(["libpci-dev"])]),
        .target(name: "CLibPCIGuard", dependencies: ["CLibPCI"]),
        .target(
            name: "LibPCIBridge",
            dependencies: [
                "PCITopology", "CLibPCIGuard",
            ],
            swiftSettings: swift + optimised
        ),
        // The only code that writes to a machine.
        .target(name: "CPlanExecutor"),
        .target(
            name: "PlanExecutor",
            dependencies: [
                "CPlanExecutor", "PCITopology", "RebalancePlanner", "AllocationPolicies",
            ],
            swiftSettings: swift + optimised
        ),
        .executableTarget(
            name: "pci-rebalance",
            dependencies: [
                "PCITopology", "LibPCIBridge", "AllocationPolicies", "RebalancePlanner", "PlanExecutor",
                "CPlanExecutor", "PolicyPictures", "Reproduction", "ProofChecker",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: swift + optimised + leaveOneOut
        ),

        // Tests and their laboratory.
        .target(
            name: "TestSupport",
            dependencies: ["PCITopology"],
            path: "Tests/TestSupport",
            swiftSettings: swift + optimised
        ),
        .target(
            name: "RescueFamily",
            dependencies: ["PCITopology", "AllocationPolicies", "ResourceSolver", "RebalancePlanner", "TestSupport"],
            path: "Tests/RescueFamily",
            swiftSettings: swift + optimised
        ),
        .executableTarget(
            name: "rescue-rate",
            dependencies: ["AllocationPolicies", "RescueFamily"],
            path: "Tests/rescue-rate",
            swiftSettings: swift
        ),
        .target(
            name: "VMLaboratory",
            path: "Tests/VMLaboratory",
            exclude: ["README.md", "Scripts"],
            swiftSettings: swift
        ),
        // Twin against kernel: random trees, random operations, kept differences.
        .target(
            name: "DifferentialLaboratory",
            dependencies: [
                "VMLaboratory", "PCITopology", "LibPCIBridge", "AllocationPolicies", "RescueFamily", "TestSupport",
            ],
            path: "Tests/DifferentialLaboratory",
            swiftSettings: swift + optimised
        ),
        .executableTarget(
            name: "vm-lab",
            dependencies: [
                "VMLaboratory", "DifferentialLaboratory", "AllocationPolicies",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/vm-lab",
            swiftSettings: swift
        ),
        .testTarget(
            name: "ReproductionTests",
            dependencies: ["PCITopology", "AllocationPolicies", "LibPCIBridge", "Reproduction"],
            swiftSettings: swift
        ),
        .testTarget(name: "PCITopologyTests", dependencies: ["PCITopology"], swiftSettings: swift),
        .testTarget(
            name: "ResourceSolverTests",
            dependencies: ["PCITopology", "ResourceSolver"],
            swiftSettings: swift + optimised
        ),
        .testTarget(
            name: "AllocationPoliciesTests",
            dependencies: [
                "PCITopology", "AllocationPolicies", "DifferentialLaboratory", "VMLaboratory", "TestSupport",
            ],
            swiftSettings: swift
        ),
        .testTarget(
            name: "PolicyTests",
            dependencies: [
                "PCITopology", "AllocationPolicies", "PolicyPictures", "RebalancePlanner", "LibPCIBridge",
                "TestSupport",
            ],
            exclude: ["Laboratory"],
            resources: [.copy("Fixtures")],
            swiftSettings: swift
        ),
        .testTarget(
            name: "ProofCheckerTests",
            dependencies: ["PCITopology", "ProofChecker", "TestSupport"],
            swiftSettings: swift
        ),
        .testTarget(
            name: "RebalancePlannerTests",
            dependencies: [
                "PCITopology", "AllocationPolicies", "RebalancePlanner", "LibPCIBridge", "RescueFamily", "TestSupport",
                "ProofChecker",
            ],
            exclude: ["PlanCosts.tsv"],
            swiftSettings: swift
        ),
        .testTarget(
            name: "LibPCIBridgeTests",
            dependencies: ["PCITopology", "LibPCIBridge", "TestSupport"],
            exclude: ["CorpusVerdicts.tsv"],
            swiftSettings: swift
        ),
        .testTarget(
            name: "PlanExecutorTests",
            dependencies: [
                "CPlanExecutor", "PCITopology", "AllocationPolicies", "PlanExecutor", "RebalancePlanner",
                "LibPCIBridge", "RescueFamily", "TestSupport",
            ],
            swiftSettings: swift
        ),
        .testTarget(
            name: "CommandLineTests",
            dependencies: [
                "PCITopology", "LibPCIBridge", "AllocationPolicies", "RebalancePlanner", "PlanExecutor", "TestSupport",
                "pci-rebalance",
            ],
            exclude: ["Golden"],
            swiftSettings: swift
        ),
        .testTarget(
            name: "VMTests",
            dependencies: [
                "VMLaboratory", "DifferentialLaboratory", "PCITopology", "LibPCIBridge", "AllocationPolicies",
                "RebalancePlanner", "PlanExecutor", "pci-rebalance", "TestSupport",
            ],
            swiftSettings: swift
        ),
    ]
)
