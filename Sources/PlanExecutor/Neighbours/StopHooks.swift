// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What a hook is told: a function is about to be stopped, or an apply that stopped it has ended.
public struct HookNotice: Hashable, Sendable {
    /// Before or after.
    public enum Phase: String, Hashable, Sendable {
        /// Nothing is written yet; a hook can refuse.
        case before
        /// Whatever was to be written has been.
        case after
    }

    /// Before or after.
    public var phase: Phase
    /// The name of the apply, the same before and after, also in a recovery.
    public var apply: String
    /// Where the function is now; its old address when it is not there any more.
    public var address: FunctionAddress
    /// Where it was before the apply.
    public var oldAddress: FunctionAddress
    /// Where it is by the wires.
    public var path: TopologyPath
    /// The driver that was bound before the apply, or nil.
    public var driver: String?
    /// How the apply ended, `done`, `rolled-back` or `failed`; nil before.
    public var result: String?
    /// Whether the function is there.
    public var isPresent = true

    /// Creates a notice.
    public init(
        phase: Phase,
        apply: String,
        address: FunctionAddress,
        oldAddress: FunctionAddress,
        path: TopologyPath,
        driver: String? = nil
    ) {
        self.phase = phase
        self.apply = apply
        self.address = address
        self.oldAddress = oldAddress
        self.path = path
        self.driver = driver
    }

    /// What the hook finds in its environment, in the order of the names.
    public var environment: [(name: String, value: String)] {
        var entries = [
            ("ADDRESS", address.description), ("APPLY", apply), ("DRIVER", driver ?? ""),
            ("OLD_ADDRESS", oldAddress.description), ("PATH", path.description), ("PHASE", phase.rawValue),
            ("PRESENT", isPresent ? "1" : "0"),
        ]
        if let result { entries.append(("RESULT", result)) }
        return entries.map { ("PCI_REBALANCE_\($0.0)", $0.1) }
    }

    /// The words on the hook's command line: phase, address, driver or `-`, and the name of the apply.
    public var arguments: [String] { [phase.rawValue, address.description, driver ?? "-", apply] }
}

/// How a hook ended.
public struct HookEnd: Hashable, Sendable {
    /// In one word.
    public enum Result: String, Hashable, Sendable {
        /// Exit status 0.
        case done
        /// Another exit status: a veto before, a failure after.
        case refused
        /// It did not end in time and was killed.
        case timedOut = "timed-out"
        /// It could not be started, or a signal ended it.
        case failed
    }

    /// In one word.
    public var result: Result
    /// What happened, and the first line that it wrote; one line, fit for a terminal.
    public var detail: String

    /// Creates an end.
    public init(_ result: Result, detail: String = "") {
        self.result = result
        self.detail = detail
    }
}

/// Why hooks must not be run: somebody but root could have put them there or changed them.
public struct HookError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was expected and found, a lower-case sentence that names the path.
    public var description: String

    /// Creates an error.
    public init(description: String) { self.description = description }
}

/// The administrator's programs that hear of stops; the seam for tests.
public protocol StopHooks: AnyObject {
    /// The names of the programs, in the order in which they run.
    ///
    /// - Throws: `HookError` when one of them, or where they are, is not safe to run as root.
    func programs() throws -> [String]

    /// Runs one of them.
    func run(_ program: String, _ notice: HookNotice, within limit: Duration) -> HookEnd
}

/// Nobody wants to hear of stops.
public final class NoHooks: StopHooks {
    /// Creates it.
    public init() {}

    /// None.
    public func programs() -> [String] { [] }

    /// Never called.
    public func run(_ program: String, _ notice: HookNotice, within limit: Duration) -> HookEnd { HookEnd(.done) }
}
