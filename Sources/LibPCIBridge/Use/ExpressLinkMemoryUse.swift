// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Memory of CXL devices that is given to the host, by the decoders that the kernel keeps (Documentation/ABI/testing/sysfs-bus-cxl).
///
/// A decoder of an endpoint has a size once it is committed: the host then reaches the memory at these addresses, whatever
/// lies in the function's BARs. The registers themselves are in a BAR and are not read.
enum ExpressLinkMemoryUse {
    static func read(_ sysfs: borrowing Directory, _ findings: inout UseFindings) {
        guard let devices = Directory(in: sysfs, name: "bus/cxl/devices") else { return }
        let scratch = Scratch()
        for name in devices.names() where name.hasPrefix("decoder") {
            guard let path = devices.link(name), let decoder = Directory(in: devices, name: name),
                let endpoint = path.split(separator: "/").last(where: { $0.hasPrefix("endpoint") }),
                let size = decoder.hexNumber("size", scratch), size > 0,
                let port = Directory(in: devices, name: String(endpoint)), let device = port.link("uport")
            else { continue }
            let start = decoder.hexNumber("start", scratch).map { " at 0x\(bareHex($0))" } ?? ""
            findings.add(
                path: device,
                .vital("cxl-memory", "\(name) gives \(ByteCount(size)) of its CXL memory to the host\(start)")
            )
        }
    }
}
