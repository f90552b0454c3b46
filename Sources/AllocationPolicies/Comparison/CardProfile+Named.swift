// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

// Cards that people plug in, as sizes of real ones; the names are those of `--profile`.
extension CardProfile {
    /// The named profiles, in the order of tables.
    public static let named: [CardProfile] = [
        nvme, nic10G, nic25G, sata, fpga, gpu256M, gpu16G, gpu32G, usb4Dock,
    ]

    /// The profile with the name, or nil.
    public static func named(_ name: String) -> CardProfile? { named.first { $0.name == name } }

    static let mib: UInt64 = 1 << 20
    private static let gib: UInt64 = 1 << 30

    /// A disk: 16 KiB of memory.
    public static let nvme = CardProfile(
        name: "nvme",
        functions: [
            CardFunction(
                identity: Function.Identity(vendor: 0x144d, device: 0xa808, classCode: 0x010802),
                bars: [.memory(0, 16 << 10, is64Bit: true)]
            )
        ]
    )

    /// A network card with two ports of the 82599's shape: 512 KiB and 16 KiB prefetchable and 32 I/O ports each.
    public static let nic10G = CardProfile(
        name: "nic-10g",
        functions: (0..<2).map { function in
            CardFunction(
                devfn: UInt8(function),
                identity: Function.Identity(vendor: 0x8086, device: 0x10fb, classCode: 0x020000),
                bars: [
                    .memory(0, 512 << 10, is64Bit: true, isPrefetchable: true), .io(2, 32),
                    .memory(4, 16 << 10, is64Bit: true, isPrefetchable: true),
                ],
                romSize: 512 << 10
            )
        }
    )

    /// A network card with two ports of ConnectX-4 Lx's shape: 32 MiB prefetchable each.
    public static let nic25G = CardProfile(
        name: "nic-25g",
        functions: (0..<2).map { function in
            CardFunction(
                devfn: UInt8(function),
                identity: Function.Identity(vendor: 0x15b3, device: 0x1015, classCode: 0x020000),
                bars: [.memory(0, 32 * mib, is64Bit: true, isPrefetchable: true)],
                romSize: mib
            )
        }
    )

    /// A disk controller with five I/O BARs and 2 KiB of memory.
    public static let sata = CardProfile(
        name: "sata",
        functions: [
            CardFunction(
                identity: Function.Identity(vendor: 0x1b4b, device: 0x9230, classCode: 0x010601),
                bars: [.io(0, 8), .io(1, 4), .io(2, 8), .io(3, 4), .io(4, 32), .memory(5, 2048)],
                romSize: 64 << 10
            )
        ]
    )

    /// An accelerator card: 256 MiB and 64 KiB prefetchable.
    public static let fpga = CardProfile(
        name: "fpga",
        functions: [
            CardFunction(
                identity: Function.Identity(vendor: 0x10ee, device: 0x5000, classCode: 0x120000),
                bars: [
                    .memory(0, 256 * mib, is64Bit: true, isPrefetchable: true),
                    .memory(2, 64 << 10, is64Bit: true, isPrefetchable: true),
                ]
            )
        ]
    )

    /// A display card whose large BAR is at its reset size of 256 MiB.
    public static let gpu256M = gpu("gpu-256m", 256 * mib)
    /// A display card with a 16 GiB BAR.
    public static let gpu16G = gpu("gpu-16g", 16 * gib)
    /// A display card with a 32 GiB BAR.
    public static let gpu32G = gpu("gpu-32g", 32 * gib)

    /// Registers of 16 MiB, the large BAR, 32 MiB prefetchable, 128 I/O ports, and a sound function.
    static func gpu(_ name: String, _ size: UInt64) -> CardProfile {
        CardProfile(
            name: name,
            functions: [
                CardFunction(
                    identity: Function.Identity(vendor: 0x10de, device: 0x2204, classCode: 0x030000),
                    bars: [
                        .memory(0, 16 * mib), .memory(1, size, is64Bit: true, isPrefetchable: true),
                        .memory(3, 32 * mib, is64Bit: true, isPrefetchable: true), .io(5, 128),
                    ],
                    romSize: 512 << 10
                ),
                CardFunction(
                    devfn: 1,
                    identity: Function.Identity(vendor: 0x10de, device: 0x1aef, classCode: 0x040300),
                    bars: [.memory(0, 16 << 10)]
                ),
            ]
        )
    }

    /// A dock: a switch with a USB controller and a network controller behind two ports and two hot-plug ports.
    public static let usb4Dock = CardProfile.packetSwitch(
        name: "usb4-dock",
        downstream: [
            downstreamPort(
                device: 0,
                isHotPlug: false,
                children: [
                    CardFunction(
                        identity: Function.Identity(vendor: 0x8086, device: 0x1578, classCode: 0x0c0330),
                        bars: [.memory(0, 64 << 10)]
                    )
                ]
            ),
            downstreamPort(
                device: 1,
                isHotPlug: false,
                children: [
                    CardFunction(
                        identity: Function.Identity(vendor: 0x8086, device: 0x15f3, classCode: 0x020000),
                        bars: [.memory(0, mib), .memory(3, 16 << 10)]
                    )
                ]
            ),
            downstreamPort(device: 2, isHotPlug: true), downstreamPort(device: 3, isHotPlug: true),
        ],
        vendor: 0x8086,
        device: 0x15ef
    )
}
