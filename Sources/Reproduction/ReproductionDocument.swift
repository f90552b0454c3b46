// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension Reproduction {
    /// The reproduction as a document of schema `pci-rebalance.reproduction/1`; keys in sorted order.
    ///
    /// - Parameter release: the kernel's release in the report, or nil.
    /// - Returns: the document.
    public func document(release: String?) -> [UInt8] {
        var json = JSONWriter(.indented)
        json.object { json in
            json.field("alsoFails", alsoFails)
            json.field("behaviour", behaviour)
            json.field("besides", besides)
            json.key("event")
            if let machine {
                json.object { json in
                    json.field("commands", commands)
                    json.field("kind", machine.event.rawValue)
                }
            } else {
                json.null()
            }
            json.field("isPredicted", isPredicted)
            json.array("kernels") { json in
                for kernel in kernels {
                    json.object { json in
                        json.field("failing", kernel.failing)
                        json.field("series", kernel.series)
                    }
                }
            }
            json.field("leftOut", leftOut)
            json.array("lines") { json in
                for line in lines {
                    json.object { json in
                        json.field("difference", line.difference)
                        json.field("guest", line.key)
                        json.field("report", line.reportKey)
                    }
                }
            }
            json.field("machine", machine?.arguments ?? [])
            json.field("parameters", parameters)
            json.field("reason", reason)
            json.field("release", release)
            json.field("remarks", remarks)
            json.field("schema", "pci-rebalance.reproduction/1")
            json.field("verdict", verdict.rawValue)
        }
        return json.document
    }
}
