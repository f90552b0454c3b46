// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What a report tells of how its failure came about: at boot or when something was plugged in, and with which words.
struct Circumstances {
    /// What the kernel's log tells; nil when it does not.
    var event: EmulatedMachine.Event?
    /// The words about resources that an emulated machine can be given too, as one word for the kernel's command line.
    var words: [String] = []
    /// The words about resources that it is not given.
    var otherWords: [String] = []
    /// Whether the log tells of a BAR that a driver wanted to resize.
    var resizes = false
    /// Whether the log tells that VFs could not be switched on.
    var refusesVFs = false

    /// Reads a log and a command line.
    ///
    /// - Parameters:
    ///   - log: the kernel's log; empty without one.
    ///   - commandLine: the kernel's command line, or nil.
    ///   - failing: the functions that fail.
    init(log: [String], commandLine: String?, failing: Set<FunctionAddress>) {
        event = Self.event(log, failing)
        resizes = log.contains { line in Self.resizing.contains { line.contains($0) } }
        refusesVFs = log.contains { $0.contains("not enough MMIO resources for SR-IOV") }
        var kept: [Substring] = []
        for parameter in (commandLine ?? "").split(separator: " ") where parameter.hasPrefix("pci=") {
            for option in parameter.dropFirst(4).split(separator: ",") {
                if Self.isCarriedOver(option) {
                    kept.append(option)
                } else if let name = (Self.otherNames + Self.sizeNames).first(where: { option.hasPrefix($0) }) {
                    otherWords.append(name)
                }
            }
        }
        if !kept.isEmpty { words = ["pci=" + kept.joined(separator: ",")] }
    }

    /// The events to try, that of the report first; nobody asks for a rescan who was not told to.
    var events: [EmulatedMachine.Event] {
        switch event {
        case .boot?: [.boot, .plug]
        case .rescan?: [.rescan, .plug, .boot]
        case .plug?, nil: [.plug, .boot]
        }
    }

    /// The words that mean addresses or the hardware of the report.
    private static let otherNames = [
        "nocrs", "use_crs", "resource_alignment", "rom", "noari", "pcie_scan_all", "big_root_window",
    ]

    /// The words that are followed by a size or a number.
    private static let sizeNames = ["hpiosize", "hpmmiosize", "hpmmioprefsize", "hpmemsize", "hpbussize"]

    /// Whether a word behind `pci=` means the same in an emulated machine; nothing but known words and numbers does.
    private static func isCarriedOver(_ option: Substring) -> Bool {
        if ["realloc", "realloc=on", "realloc=off", "assign-busses"].contains(option) { return true }
        guard let equals = option.firstIndex(of: "="),
            sizeNames.contains(String(option[..<equals]))
        else { return false }
        let value = option[option.index(after: equals)...]
        let digits = value.prefix { $0.isASCII && $0.isNumber }
        let unit = value.dropFirst(digits.count)
        return (1...12).contains(digits.count) && (unit.isEmpty || ["K", "M", "G", "k", "m", "g"].contains(unit))
    }

    /// Whether what fails first did so after a card was found in a slot (pciehp's words, drivers/pci/hotplug/pciehp_ctrl.c),
    /// before the kernel started its first program, or later without a slot that spoke: then somebody asked for a rescan.
    private static func event(_ log: [String], _ failing: Set<FunctionAddress>) -> EmulatedMachine.Event? {
        let plugged = log.firstIndex { $0.contains("pciehp") && $0.contains("Card present") }
        let running = log.firstIndex {
            $0.contains("Freeing unused kernel") || $0.contains("as init process") || $0.contains("systemd[1]:")
        }
        let started = log.firstIndex { $0.contains("Linux version ") || $0.contains("root bus resource ") }
        let names = failing.flatMap { ["\($0): ", "\($0.short): "] }
        let failed = log.firstIndex { line in
            guard Self.failures.contains(where: { line.contains($0) }) else { return false }
            return names.contains { line.contains($0) }
        }
        if let plugged, failed.map({ plugged < $0 }) ?? true { return .plug }
        guard let started, let failed else { return nil }
        if let running { return failed < running ? .boot : .rescan }
        // A record keeps of the log what concerns PCI: there the clock tells.
        guard let first = log[started...].lazy.compactMap({ seconds($0) }).first, let then = seconds(log[failed]) else {
            return .boot
        }
        return then - first <= longestBoot ? .boot : .rescan
    }

    /// Seconds from a kernel's first line to the end of its own part of a boot, at most: servers take about a minute for
    /// their devices.
    private static let longestBoot = 120.0

    /// The time of a line of the log, in seconds: `[  953.367876] pci ...`; nil without.
    private static func seconds(_ line: String) -> Double? {
        guard let open = line.firstIndex(of: "["), let close = line[open...].firstIndex(of: "]") else { return nil }
        let text = line[line.index(after: open)..<close].drop { $0 == " " }
        guard text.contains("."), text.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == ".") }) else { return nil }
        return Double(String(text))
    }

    /// The words of xe, i915 and amdgpu when they resize a BAR (xe_vram.c, intel_region_lmem.c, amdgpu_device.c).
    private static let resizing = [
        "Attempting to resize bar", "resize BAR", "resizing BAR", "Resizing BAR",
        "Not enough PCI address space for a large BAR",
    ]

    /// The kernel's words for a resource without a place (drivers/pci/setup-res.c), and for a bridge without bus numbers.
    private static let failures = ["can't assign", "no space for", "failed to assign", "No bus number available"]
}
