// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
public import RebalancePlanner

/// What an apply or a recovery tells while it runs.
public enum ApplyEvent: Hashable, Sendable {
    /// The first event: the apply's name and how much there is to do.
    case begins(id: String, steps: Int, writes: Int)
    /// A step begins; steps count from 0.
    case stepBegins(Int, of: Int, purpose: String)
    /// A write begins.
    case writeBegins(WritePosition, SystemWrite)
    /// The kernel finished a write.
    case writeDone(WritePosition, SystemWrite, took: Duration)
    /// A write failed; the text says how.
    case writeFailed(WritePosition, SystemWrite, code: String, detail: String)
    /// The machine shows what was predicted after the step.
    case stepReached(Int, settledAfter: Duration)
    /// The machine shows something else than what was predicted, a sentence per difference.
    case differs([String])
    /// The way back begins.
    case goesBack(reason: String)
    /// Something worth knowing.
    case remark(String)
    /// A hook has ended.
    case hook(String, HookNotice, HookEnd, took: Duration)
    /// A function has another address than before; told just before the end.
    case renamed(Renaming)
    /// The last event.
    case ends(ApplyReport)

    /// The event as one line of JSON, schema `pci-rebalance.apply/1`, with the newline.
    public var json: [UInt8] {
        var json = JSONWriter(.compact)
        json.object { self.encode(&$0) }
        return json.document + [0x0a]
    }

    private func encode(_ json: inout JSONWriter) {
        switch self {
        case .begins(let id, let steps, let writes):
            json.field("event", "begins")
            json.field("id", id)
            json.field("schema", "pci-rebalance.apply/1")
            json.field("steps", steps)
            json.field("writes", writes)
        case .stepBegins(let step, let count, let purpose):
            json.field("event", "step-begins")
            json.field("of", count)
            json.field("purpose", purpose)
            json.field("step", step)
        case .writeBegins(let position, let write):
            json.field("event", "write-begins")
            json.position(position, write)
        case .writeDone(let position, let write, let took):
            json.field("event", "write-done")
            json.field("milliseconds", took.wholeMilliseconds)
            json.position(position, write)
        case .writeFailed(let position, let write, let code, let detail):
            json.field("code", code)
            json.field("detail", detail)
            json.field("event", "write-failed")
            json.position(position, write)
        case .stepReached(let step, let settled):
            json.field("event", "step-reached")
            json.field("milliseconds", settled.wholeMilliseconds)
            json.field("step", step)
        case .differs(let sentences):
            json.field("differences", sentences)
            json.field("event", "differs")
        case .goesBack(let reason):
            json.field("event", "goes-back")
            json.field("reason", reason)
        case .remark(let text):
            json.field("event", "remark")
            json.field("text", text)
        case .hook(let program, let notice, let end, let took):
            json.field("address", notice.address.description)
            json.field("detail", end.detail)
            json.field("driver", notice.driver)
            json.field("event", "hook")
            json.field("hook", program)
            json.field("milliseconds", took.wholeMilliseconds)
            json.field("phase", notice.phase.rawValue)
            json.field("result", end.result.rawValue)
        case .renamed(let renaming):
            json.field("event", "renamed")
            if !renaming.namedBy.isEmpty { json.field("namedBy", renaming.namedBy) }
            json.field("new", renaming.new.description)
            json.field("old", renaming.old.description)
            json.field("path", renaming.path.description)
            json.field("serial", renaming.serialText)
        case .ends(let report):
            json.field("differences", report.differences)
            json.field("event", "ends")
            json.field("exitStatus", report.exitStatus)
            if !report.found.isEmpty { json.field("found", report.found.map(\.address.description)) }
            json.field("kernelMilliseconds", report.timeInKernel.wholeMilliseconds)
            json.field("reason", report.reason)
            json.field("remarks", report.remarks)
            json.field("sentence", report.sentence)
            json.field("settlingMilliseconds", report.timeSettling.wholeMilliseconds)
            json.field("verdict", report.verdict.rawValue)
            json.field("writes", report.writes)
        }
    }
}

extension JSONWriter {
    fileprivate mutating func position(_ position: WritePosition, _ write: SystemWrite) {
        field("direction", position.direction.rawValue)
        field("index", position.index)
        field("step", position.step)
        object("write") { $0.systemWrite(write) }
    }
}

extension ApplyEvent: CustomStringConvertible {
    /// A line for a person; steps count from 1.
    public var description: String {
        switch self {
        case .begins(let id, let steps, let writes): "apply \(id): \(steps) steps, \(writes) writes"
        case .stepBegins(let step, let count, let purpose): "step \(step + 1)/\(count): \(purpose)"
        case .writeBegins(_, let write): "  \(write)\(Self.usually(write))"
        case .writeDone(_, _, let took): "    done in \(took.wholeMilliseconds) ms"
        case .writeFailed(_, _, let code, let detail): "    failed (\(code)): \(detail)"
        case .stepReached(_, let settled): "  as predicted; settled after \(settled.wholeMilliseconds) ms"
        case .differs(let sentences): "  differs from the prediction:\n    " + sentences.joined(separator: "\n    ")
        case .goesBack(let reason): "going back (\(reason))"
        case .remark(let text): "  \(text)"
        case .hook(let program, let notice, let end, let took):
            "  hook \(program) \(notice.phase.rawValue) \(notice.address): \(end.result.rawValue) after "
                + "\(took.wholeMilliseconds) ms\(end.detail.isEmpty ? "" : " (\(end.detail))")"
        case .renamed(let renaming): "  \(renaming.line)"
        case .ends(let report): "\(report.sentence)\n\(report.line)"
        }
    }

    /// How long a write usually takes, where a person may wonder.
    private static func usually(_ write: SystemWrite) -> String {
        switch write {
        case .remove: "  (usually below 1 s; a driver may take longer to stop)"
        case .rescanAll, .rescanBus, .rescanDevice: "  (usually 1 to 5 s: drivers start in it)"
        case .slotPower: "  (usually 1 to 3 s)"
        default: ""
        }
    }
}
