// SPDX-License-Identifier: GPL-2.0-or-later

public import RebalancePlanner

/// What the administrator lets `event` do without a hand; the content of `/etc/pci-rebalance/policy.json`.
public struct EventPolicy: Hashable, Sendable {
    /// What happens when something is missing.
    public enum Mode: String, Hashable, Sendable, CaseIterable {
        /// Nothing, not even a look.
        case off
        /// The plan is made and told; nothing is written.
        case report
        /// The plan is carried out.
        case apply
    }

    /// The mode for every port without a mode of its own. `off` holds for all of them.
    public var mode: Mode
    /// When plans may be carried out; always when empty. Outside these hours `apply` means `report`.
    public var hours: [DailyHours]
    /// Functions that are never stopped, with what is below them.
    public var protect: [PortName]
    /// Functions that may be stopped although their use protects them, with what is below them.
    public var allowDisturb: [PortName]
    /// The number of functions that one plan may stop; nil for no limit.
    public var maxDisturbed: Int?
    /// How often a plan for the same missing thing may fail before it is locked out, 1 to 100.
    public var attempts: Int
    /// How many plans may be carried out within an hour, 1 to 1000.
    public var appliesPerHour: Int
    /// How long the tree must be unchanged before it is looked at.
    public var quiet: Duration
    /// How long it may take to become so.
    public var settleLimit: Duration
    /// Rules for ports.
    public var ports: [PortRule]

    /// Creates a policy; the defaults are those of a machine without a policy file.
    public init(
        mode: Mode = .report,
        hours: [DailyHours] = [],
        protect: [PortName] = [],
        allowDisturb: [PortName] = [],
        maxDisturbed: Int? = nil,
        attempts: Int = 3,
        appliesPerHour: Int = 12,
        quiet: Duration = .milliseconds(500),
        settleLimit: Duration = .seconds(30),
        ports: [PortRule] = []
    ) {
        self.mode = mode
        self.hours = hours
        self.protect = protect
        self.allowDisturb = allowDisturb
        self.maxDisturbed = maxDisturbed
        self.attempts = attempts
        self.appliesPerHour = appliesPerHour
        self.quiet = quiet
        self.settleLimit = settleLimit
        self.ports = ports
    }

    /// The same policy with nothing carried out.
    public var reportingOnly: EventPolicy {
        var policy = self
        if policy.mode == .apply { policy.mode = .report }
        for i in policy.ports.indices where policy.ports[i].mode == .apply { policy.ports[i].mode = .report }
        return policy
    }

    /// Whether plans may be carried out at `minute` of the day, 0 to 1439.
    public func allowsApply(atMinute minute: Int) -> Bool {
        hours.isEmpty || hours.contains { $0.contains(minute) }
    }
}

/// A rule for a port and everything below it; what it leaves out comes from the nearest rule above, then the policy.
public struct PortRule: Hashable, Sendable {
    /// The port.
    public var port: PortName
    /// The mode for what is missing below the port.
    public var mode: EventPolicy.Mode?
    /// Whether devices below the port are trusted; nil leaves it to what the kernel says of them.
    public var isTrusted: Bool?
    /// How much space and how many buses an untrusted port may hold; nil: what it holds already.
    public var share: Headroom?
    /// The room to keep free below the port.
    public var reserve: Headroom?

    /// Creates a rule.
    public init(
        port: PortName,
        mode: EventPolicy.Mode? = nil,
        isTrusted: Bool? = nil,
        share: Headroom? = nil,
        reserve: Headroom? = nil
    ) {
        self.port = port
        self.mode = mode
        self.isTrusted = isTrusted
        self.share = share
        self.reserve = reserve
    }
}

/// A part of every day, in local time: `22:00-06:00`. The end is not part of it.
public struct DailyHours: Hashable, Sendable, CustomStringConvertible {
    /// The first minute, 0 to 1439.
    public let start: Int
    /// The minute after the last, 0 to 1440; before `start` when midnight lies between.
    public let end: Int

    /// Reads `22:00-06:00`; nil for anything else and for a part without a minute.
    public init?(parsing text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let start = Self.minute(parts[0]), let end = Self.minute(parts[1]), start != end,
            start < 1440
        else { return nil }
        self.start = start
        self.end = end
    }

    private static func minute(_ text: Substring) -> Int? {
        let digits = Array(text.utf8)
        guard digits.count == 5, digits[2] == UInt8(ascii: ":"),
            [0, 1, 3, 4].allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digits[$0]) })
        else { return nil }
        let values = digits.map { Int($0) - 48 }
        let hour = values[0] * 10 + values[1]
        let minute = values[3] * 10 + values[4]
        guard minute < 60, hour < 24 || (hour == 24 && minute == 0) else { return nil }
        return hour * 60 + minute
    }

    /// Whether `minute` of the day lies in the part.
    public func contains(_ minute: Int) -> Bool {
        start < end ? (start..<end).contains(minute) : minute >= start || minute < end
    }

    /// `22:00-06:00`.
    public var description: String { "\(Self.text(start))-\(Self.text(end))" }

    private static func text(_ minute: Int) -> String {
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(two(minute / 60)):\(two(minute % 60))"
    }
}
