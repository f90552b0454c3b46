// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology

/// The words of a command line as a document of schema `pci-rebalance.cmdline/1`; keys in sorted order.
func cmdlineJSON(_ result: BootWords) -> [UInt8] {
    var json = JSONWriter(.indented)
    json.object { json in
        json.array("findings") { json in
            for finding in result.findings {
                json.object { json in
                    json.field("code", finding.code.rawValue)
                    json.field("detail", finding.detail)
                    json.field("suggestion", finding.suggestion)
                    json.field("word", finding.word.text)
                }
            }
        }
        json.field("schema", "pci-rebalance.cmdline/1")
        json.field("words", result.words.map(\.text))
    }
    return json.document
}
