// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import RebalancePlanner

/// The words of a command line as a document of schema `pci-rebalance.cmdline/1`; keys in sorted order.
func cmdlineJSON(_ answer: CmdlineAnswer) -> [UInt8] {
    var json = JSONWriter(.indented)
    json.object { json in
        json.key("advice")
        if let advice = answer.advice { write(advice, to: &json) } else { json.null() }
        json.array("findings") { json in
            for finding in answer.words?.findings ?? [] {
                json.object { json in
                    json.field("code", finding.code.rawValue)
                    json.field("detail", finding.detail)
                    json.field("suggestion", finding.suggestion)
                    json.field("word", finding.word.text)
                }
            }
        }
        json.field("goals", answer.goals.map(\.text))
        json.key("guest")
        if let guest = answer.guest {
            json.object { json in
                json.field("busReserve", guest.reserve.buses)
                json.field("ioReserve", hex: guest.reserve.io)
                json.field("memReserve", hex: guest.reserve.memory)
                json.field("pref64Reserve", hex: guest.reserve.prefetchable)
                json.field("qemu", guest.reserve.properties)
                json.field("word", guest.word)
            }
        } else {
            json.null()
        }
        json.field("schema", "pci-rebalance.cmdline/1")
        if !answer.unknowns.isEmpty { write(unknowns: answer.unknowns, to: &json) }
        json.field("words", answer.words?.words.map(\.text) ?? [])
    }
    return json.document
}

private func write(_ advice: BootAdvice, to json: inout JSONWriter) {
    json.object { json in
        json.key("asItIs")
        write(advice.asItIs, to: &json)
        json.field("attempts", advice.attempts)
        json.key("best")
        if let best = advice.best { write(best, to: &json) } else { json.null() }
        json.array("instructions") { json in
            for one in advice.instructions {
                json.object { json in
                    json.field("loader", one.loader)
                    json.field("text", one.text)
                }
            }
        }
        json.field("isRefuted", advice.isRefuted)
        json.field("latecomers", advice.latecomers.map(\.description))
        json.field("needless", advice.needless)
        json.field("parameter", advice.parameter)
        json.field("presentParameter", advice.presentParameter)
        json.array("smaller") { json in
            for outcome in advice.smaller { write(outcome, to: &json) }
        }
        json.field("start", advice.start.rawValue)
    }
}

private func write(_ outcome: BootAdvice.Outcome, to json: inout JSONWriter) {
    json.object { json in
        json.field("lost", outcome.lost)
        json.field("missing", outcome.missing)
        json.field("words", outcome.words)
    }
}
