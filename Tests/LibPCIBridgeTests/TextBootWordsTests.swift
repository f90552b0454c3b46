// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import Testing

@Suite struct TextBootWordsTests {
    private func findings(_ line: String, kernel: KernelIdentity = KernelIdentity()) -> [BootWords.Finding] {
        BootWords(line, kernel: kernel).findings
    }

    @Test func knownWordsAreNotBlamed() {
        let line =
            "quiet pci=realloc,nocrs,hpmmiosize=64M,hpmmioprefsize=1G,hpbussize=0x33,pcie_bus_perf,"
            + "resource_alignment=35@0000:03:00.0;20@pci:8086:9c22 pcie_ports=native pcie_aspm=off vfio-pci.ids=10de:2684"
        #expect(findings(line).isEmpty)
        #expect(BootWords(line).words.count == 9)
    }

    @Test(arguments: [
        ("pci=hpmemprefsize=1G", "hpmmioprefsize=1G"), ("pci=assign-buses", "assign-busses"),
        ("pci=hpmmiopresize=1G", "hpmmioprefsize=1G"), ("pci=relloc", "realloc"), ("pci=no_crs", "nocrs"),
        ("pci=hpbusize=32", "hpbussize=32"),
    ])
    func findsWhatWasMeant(_ line: String, _ meant: String) throws {
        let finding = try #require(findings(line).first)
        #expect(finding.code == .unknown)
        #expect(finding.suggestion == meant)
    }

    @Test(arguments: [
        ("pci=realloc=1", BootWords.Finding.Code.badValue), ("pci=hpmmiosize=1.5G", .badValue),
        ("pci=hpmmiosize=lots", .badValue), ("pci=hpbussize=300", .badValue), ("pcie_ports=nativ", .badValue),
        ("hpmmiosize=64M", .misplaced), ("pcie_bus_perf", .misplaced), ("pcie_acs_override=downstream", .unknown),
        ("pci=hpmmiosize=64M,hpmemsize=16M", .overridden), ("pci=hpbussize=8 pci=hpbussize=16", .overridden),
        ("pci=assign-busses", .risky), ("pci=resource_alignment=35@0000:03:00.0,35@0000:04:00.0", .badValue),
        ("pci=noaerx", .unknown), ("pci=resource_alignment=99@0000:03:00.0", .badValue),
    ])
    func namesWhatIsWrong(_ line: String, _ code: BootWords.Finding.Code) {
        #expect(findings(line).contains { $0.code == code }, "\(findings(line))")
    }

    @Test func wordsOfOtherKernelsAndMachinesAreNamed() {
        let old = KernelIdentity(release: "5.4.0-42-generic", architecture: "x86_64")
        #expect(findings("pci=hpmmioprefsize=1G", kernel: old).map(\.code) == [.unsupported])
        let arm = KernelIdentity(release: "6.12.0", architecture: "aarch64")
        #expect(findings("pci=nocrs", kernel: arm).map(\.code) == [.unsupported])
        #expect(findings("pci=hpmmioprefsize=1G", kernel: arm).isEmpty)
    }

    @Test func valuesThatCannotFitAreNamed() throws {
        let topology = try TextFixtures.topology("R9")
        let codes = BootWords("pci=hpmmiosize=4G,hpmmioprefsize=64G,hpbussize=33", topology: topology).findings
        #expect(codes.map(\.code) == [.cannotFit])
        #expect(codes.first?.word.name == "hpmmiosize")
        #expect(codes.first?.suggestion == "hpmmiosize=1G")
    }

    @Test func reservesNeedHotPlugPorts() throws {
        let topology = try TextFixtures.topology("R3")
        #expect(BootWords("pci=hpmmioprefsize=16G", topology: topology).findings.map(\.code) == [.ineffective])
        #expect(BootWords("pci=realloc", topology: topology).findings.isEmpty)
    }

    @Test func saysWhenThereIsNothing() {
        #expect(BootWords("root=/dev/sda1 ro quiet").lines() == ["no word about PCI on the command line"])
        #expect(BootWords("pci=realloc").lines() == ["ok       pci=realloc"])
    }
}
