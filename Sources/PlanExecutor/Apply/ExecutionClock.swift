// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// The clock of the executor; the seam for tests that do not want to wait.
public struct ExecutionClock {
    /// The time since some fixed moment; never goes back.
    public var now: () -> Duration
    /// Waits.
    public var sleep: (Duration) -> Void
    /// The time of day, seconds since 1970.
    public var wallClock: () -> Int64

    /// Creates a clock.
    public init(
        now: @escaping () -> Duration,
        sleep: @escaping (Duration) -> Void,
        wallClock: @escaping () -> Int64
    ) {
        self.now = now
        self.sleep = sleep
        self.wallClock = wallClock
    }

    /// The clock of the system.
    public static var system: ExecutionClock {
        ExecutionClock(
            now: {
                var t = timespec()
                clock_gettime(CLOCK_MONOTONIC, &t)
                return .seconds(t.tv_sec) + .nanoseconds(t.tv_nsec)
            },
            sleep: { duration in
                let (seconds, attoseconds) = duration.components
                guard seconds > 0 || attoseconds > 0 else { return }
                var left = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
                var rest = timespec()
                while nanosleep(&left, &rest) != 0, errno == EINTR { left = rest }
            },
            wallClock: { Int64(time(nil)) }
        )
    }
}

/// How long the executor waits for what.
public struct ApplyLimits: Hashable, Sendable {
    /// How long the tree must stay unchanged to count as settled.
    public var quietWindow: Duration
    /// How often the tree is read while it settles.
    public var pollInterval: Duration
    /// How long the tree may take to settle.
    public var settleLimit: Duration
    /// How long slots and links that are on their way are waited for.
    public var activityLimit: Duration
    /// How long the kernel's events are waited for; other devices may raise them without end.
    public var eventLimit: Duration
    /// How long a `remove` may take: drivers stop, guests release their devices.
    public var removeLimit: Duration
    /// How long a rescan may take: drivers start in it, and the kernel waits up to a minute for a function that asks for
    /// more time (Request Retry Status).
    public var rescanLimit: Duration
    /// How long any other write may take.
    public var writeLimit: Duration
    /// How long a write that timed out is waited for before the apply is given up.
    public var lateLimit: Duration
    /// How long a recovery waits for the lock: a write of a tool that was killed may still be under way.
    public var lockWait: Duration
    /// How long one hook may take.
    public var hookLimit: Duration
    /// How long all hooks together may take before an apply, and again after it.
    public var allHooksLimit: Duration

    /// Creates limits; the defaults suit real machines.
    public init(
        quietWindow: Duration = .milliseconds(250),
        pollInterval: Duration = .milliseconds(50),
        settleLimit: Duration = .seconds(15),
        activityLimit: Duration = .seconds(5),
        eventLimit: Duration = .seconds(2),
        removeLimit: Duration = .seconds(60),
        rescanLimit: Duration = .seconds(120),
        writeLimit: Duration = .seconds(20),
        lateLimit: Duration = .seconds(60),
        lockWait: Duration = .seconds(30),
        hookLimit: Duration = .seconds(30),
        allHooksLimit: Duration = .seconds(120)
    ) {
        self.quietWindow = quietWindow
        self.pollInterval = pollInterval
        self.settleLimit = settleLimit
        self.activityLimit = activityLimit
        self.eventLimit = eventLimit
        self.removeLimit = removeLimit
        self.rescanLimit = rescanLimit
        self.writeLimit = writeLimit
        self.lateLimit = lateLimit
        self.lockWait = lockWait
        self.hookLimit = hookLimit
        self.allHooksLimit = allHooksLimit
    }
}
