// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@Suite("Words of the command line that name an address")
struct AddressWordTests {
    private func words(_ line: String) -> [String] {
        KernelIdentity(commandLine: line).addressWords.map {
            "\($0.word) \($0.address)\($0.isReadWhenFound ? " when found" : "")"
        }
    }

    @Test("an address is found in every word, with or without its segment")
    func everyWord() {
        #expect(
            words("quiet pci=realloc,disable_acs_redir=0000:01:00.0;02:00.1 xen-pciback.hide=(0000:03:1f.7)(04:00.0)")
                == [
                    "pci=disable_acs_redir= 0000:01:00.0 when found", "pci=disable_acs_redir= 0000:02:00.1 when found",
                    "xen-pciback.hide= 0000:03:1f.7", "xen-pciback.hide= 0000:04:00.0",
                ]
        )
        #expect(
            words("pci=resource_alignment=20@10000:e1:00.0,config_acs=10x@01:00.0")
                == [
                    "pci=resource_alignment= 10000:e1:00.0 when found", "pci=config_acs= 0000:01:00.0 when found",
                ]
        )
        #expect(
            words("root=/dev/disk/by-path/pci-0000:05:00.0-nvme-1-part2") == ["root= 0000:05:00.0"],
            "a path of udev holds an address, too"
        )
    }

    @Test("ids, places, network addresses and times are no addresses of functions")
    func others() {
        #expect(words("pci=resource_alignment=pci:8086:1533 vfio-pci.ids=10de:1eb8,10de:10f8").isEmpty)
        #expect(words("pci=disable_acs_redir=0000:00:02.0/00.0").isEmpty, "a place does not hang on bus numbers")
        #expect(words("ip=10.0.0.2::10.0.0.1:255.255.255.0::eth0:off console=ttyS0,115200").isEmpty)
        #expect(words("x=00:20.0 y=00:1f.8 z=1:2:3:4.0").isEmpty, "beyond what a device or function number may be")
        #expect(KernelIdentity().addressWords.isEmpty)
    }
}
