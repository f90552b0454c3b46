// SPDX-License-Identifier: GPL-2.0-or-later

/// What the reader was allowed to do.
public struct PrivilegeRecord: Hashable, Sendable, Codable {
    /// The effective user id.
    public var effectiveUser: Int
    /// Whether CAP_SYS_ADMIN was effective.
    public var hasSysAdmin: Bool
    /// The text of /sys/kernel/security/lockdown: `[none] integrity confidentiality`, or nil.
    public var lockdown: String?

    private enum CodingKeys: String, CodingKey {
        case effectiveUser = "euid"
        case hasSysAdmin = "capSysAdmin"
        case lockdown
    }

    /// Creates a record.
    public init(effectiveUser: Int, hasSysAdmin: Bool, lockdown: String? = nil) {
        self.effectiveUser = effectiveUser
        self.hasSysAdmin = hasSysAdmin
        self.lockdown = lockdown
    }

    /// Whether the kernel refuses writes to configuration space even to root (LOCKDOWN_PCI_ACCESS).
    public var isLockedDown: Bool {
        guard let lockdown else { return false }
        return lockdown.contains("[integrity]") || lockdown.contains("[confidentiality]")
    }
}
