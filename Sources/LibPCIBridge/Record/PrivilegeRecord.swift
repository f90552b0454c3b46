// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What the reader was allowed to do.
public struct PrivilegeRecord: Hashable, Sendable {
    /// The effective user id.
    public var effectiveUser: Int
    /// Whether CAP_SYS_ADMIN was effective.
    public var hasSysAdmin: Bool
    /// The text of /sys/kernel/security/lockdown: `[none] integrity confidentiality`, or nil.
    public var lockdown: String?

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

extension PrivilegeRecord {
    /// Reads a record.
    init(_ fields: inout JSONFields) throws(JSONError) {
        self.init(
            effectiveUser: try fields.integer("euid", in: .min ... .max),
            hasSysAdmin: try fields.bool("capSysAdmin"),
            lockdown: try fields.textIfPresent("lockdown")
        )
    }

    /// Writes a record.
    func write(to json: inout JSONWriter) {
        json.field("capSysAdmin", hasSysAdmin)
        json.field("euid", effectiveUser)
        if let lockdown { json.field("lockdown", lockdown) }
    }
}
