// SPDX-License-Identifier: GPL-2.0-or-later

public import RebalancePlanner

/// The one door through which a machine is written: the real one, a recording one, a simulated one.
public protocol SystemWriter: AnyObject {
    /// Performs `write` and returns when the kernel has finished it.
    ///
    /// - Parameters:
    ///   - write: what to do.
    ///   - limit: how long it may take. After it the write is reported as timed out; the kernel may finish it later all
    ///     the same.
    /// - Throws: `WriteError` when the machine refused the write or did not finish it. Anything else that is thrown
    ///   ends the apply at once, as a crash would.
    func perform(_ write: SystemWrite, within limit: Duration) throws

    /// Waits until a write that timed out has ended.
    ///
    /// - Returns: whether no write is under way any more.
    func awaitLateWrite(within limit: Duration) -> Bool
}

/// Why a write did not happen.
public struct WriteError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What went wrong.
    public enum Code: String, Hashable, Sendable {
        /// The kernel or the driver refused: busy, no memory, an invalid value.
        case refused
        /// The write did not end in time and may end later.
        case timedOut = "timed-out"
        /// There is no such function, bus, slot or attribute.
        case absent
        /// Privileges are missing, or the kernel is locked down.
        case notPermitted = "not-permitted"
        /// The write is not one that a plan may ask for.
        case forbidden
        /// The path to the attribute leads out of sysfs or through a link where none belongs.
        case misplaced

        /// Whether a write that failed so has certainly changed nothing.
        public var leavesNoTrace: Bool {
            switch self {
            case .refused, .timedOut: false
            case .absent, .notPermitted, .forbidden, .misplaced: true
            }
        }
    }

    /// What went wrong.
    public var code: Code
    /// The write.
    public var write: SystemWrite
    /// The error number of the system call, or nil.
    public var errno: Int32?
    /// What was expected and found, a lower-case sentence.
    public var detail: String

    /// Creates an error.
    public init(_ code: Code, _ write: SystemWrite, errno: Int32? = nil, detail: String) {
        self.code = code
        self.write = write
        self.errno = errno
        self.detail = detail
    }

    /// The write and what happened to it.
    public var description: String { "\(write): \(detail)" }
}
