// SPDX-License-Identifier: GPL-2.0-or-later

public import RebalancePlanner

/// Records every write and performs none, or passes them on to another writer; fails where it is told to.
public final class RecordingSystemWriter: SystemWriter {
    /// The writes that were asked for, in order, refused ones included.
    public private(set) var trace: [SystemWrite] = []
    /// The writes that fail, by their place in the trace from 0, and how.
    public var failures: [Int: WriteError.Code] = [:]
    private let next: (any SystemWriter)?

    /// Creates a recorder.
    ///
    /// - Parameter next: the writer that the writes are passed on to; nil performs none.
    public init(passingOnTo next: (any SystemWriter)? = nil) { self.next = next }

    /// Records `write`, fails it when told to, else passes it on.
    public func perform(_ write: SystemWrite, within limit: Duration) throws {
        trace.append(write)
        if let code = failures[trace.count - 1] {
            throw WriteError(code, write, detail: "injected: \(code.rawValue)")
        }
        try next?.perform(write, within: limit)
    }

    /// Passes the question on; true without another writer.
    public func awaitLateWrite(within limit: Duration) -> Bool { next?.awaitLateWrite(within: limit) ?? true }
}
