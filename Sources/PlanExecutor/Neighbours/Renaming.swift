// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
public import PCITopology
import RebalancePlanner

/// A function that has another address after an apply than before it.
public struct Renaming: Hashable, Sendable {
    /// The address before.
    public var old: FunctionAddress
    /// The address after.
    public var new: FunctionAddress
    /// Where the function is by the wires, after.
    public var path: TopologyPath
    /// Its Device Serial Number (PCIe 6.0 §7.9.3), or nil when it has none.
    public var serial: UInt64?
    /// What names the function by its old address, a phrase each: `libvirt's guest in /etc/libvirt/qemu/a.xml`.
    public var namedBy: [String]

    /// Creates a record.
    public init(
        old: FunctionAddress,
        new: FunctionAddress,
        path: TopologyPath,
        serial: UInt64? = nil,
        namedBy: [String] = []
    ) {
        self.old = old
        self.new = new
        self.path = path
        self.serial = serial
        self.namedBy = namedBy
    }

    /// The serial number as tools write it, `00-11-22-33-44-55-66-77`.
    public var serialText: String? {
        serial.map { number in
            (0..<8).reversed().map { bareHex(number >> UInt64(8 * $0) & 0xff, width: 2) }.joined(separator: "-")
        }
    }

    /// The fields by which udev and systemd's journal know it, in the order of the names.
    public var fields: [(name: String, value: String)] {
        var fields = [
            ("PCI_REBALANCE_ADDRESS", new.description), ("PCI_REBALANCE_OLD_ADDRESS", old.description),
            ("PCI_REBALANCE_PATH", path.description),
        ]
        if let serialText { fields.append(("PCI_REBALANCE_SERIAL", serialText)) }
        return fields
    }

    /// Lines of `KEY=value`, as udev's `IMPORT{file}` reads them.
    public var properties: String { fields.map { "\($0.name)=\($0.value)\n" }.joined() }

    /// One line for a person.
    public var line: String {
        "renamed: \(old) is \(new) now (\(path)\(serialText.map { ", serial number \($0)" } ?? ""))"
            + (namedBy.isEmpty ? "" : "; the old address is named by \(namedBy.listed(4))")
    }
}

extension Applier {
    /// Tells everybody who may have kept an old address.
    ///
    /// - Parameters:
    ///   - report: how the apply ended.
    ///   - words: what named functions by their addresses before the first write.
    ///   - progress: told of each.
    func announceRenamings(_ report: ApplyReport, _ words: [AddressWord], _ progress: (ApplyEvent) -> Void) {
        // A boot gives numbers of its own, and whoever started since knows no others.
        guard report.writes > 0, report.reason != "rebooted", let before = report.before, let after = report.after
        else { return }
        var renamings: [Renaming] = []
        for case (let old, let now?) in FunctionPairs(before, after).pairs where old.address != now.address {
            let serial = (try? machine.observer.serialNumber(of: now.address)) ?? nil
            renamings.append(
                Renaming(
                    old: old.address,
                    new: now.address,
                    path: now.path,
                    serial: serial,
                    namedBy: words.filter { $0.address == old.address }.map(\.phrase)
                )
            )
        }
        guard !renamings.isEmpty else { return }
        audit.renamed(renamings)
        for renaming in renamings { progress(.renamed(renaming)) }
    }
}

/// Files for udev, one for each function that the last applies have renamed, by the address that it has now:
/// `IMPORT{file}="/run/pci-rebalance/renamed/%k"`.
struct RenamingFiles {
    /// The directory used when none is given.
    static let defaultPath = "/run/pci-rebalance/renamed"

    let path: String

    /// Writes the files; what was said of the old addresses is taken away. What cannot be written is not: the journal has
    /// it, too.
    func write(_ renamings: [Renaming]) {
        let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
        if !parent.isEmpty { _ = mkdir(parent, 0o755) }
        _ = mkdir(path, 0o755)
        let raw = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard raw >= 0 else { return }
        let directory = Descriptor(raw)
        var status = stat()
        guard fstat(raw, &status) == 0, status.st_uid == geteuid(), status.st_mode & 0o022 == 0 else { return }
        for renaming in renamings { _ = unlinkat(directory.raw, renaming.old.description, 0) }
        for renaming in renamings {
            let temporary = ".\(renaming.new).new"
            _ = unlinkat(directory.raw, temporary, 0)
            let file = openat(directory.raw, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
            guard file >= 0 else { continue }
            let bytes = Array(renaming.properties.utf8)
            let count = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            _ = close(file)
            if count != bytes.count || renameat(directory.raw, temporary, directory.raw, renaming.new.description) != 0
            {
                _ = unlinkat(directory.raw, temporary, 0)
            }
        }
    }
}
