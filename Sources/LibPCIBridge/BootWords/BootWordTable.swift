// SPDX-License-Identifier: GPL-2.0-or-later

/// The words that the kernel knows behind `pci=`, and the parameters that begin with `pcie_`.
///
/// Source: `pci_setup` and `pci_setup_cardbus` in drivers/pci, `pcibios_setup` in arch/x86/pci, the `__setup` handlers of
/// drivers/pci/pcie, and Documentation/admin-guide/kernel-parameters.txt.
struct BootWordTable {
    /// How the kernel compares a word.
    enum Match {
        /// The whole word.
        case exact
        /// The front of the word; what follows is ignored.
        case prefix
        /// `word=`, then a value.
        case value(Value)
    }

    /// What a value must be.
    enum Value {
        /// A size: a number and one of K, M, G, T, P, E; what follows is ignored (`memparse`).
        case size
        /// A number (`simple_strtoul`, any base by prefix).
        case number
        /// `on` or `off` at the front.
        case onOff
        /// `[order@]device[;device…]`.
        case alignments
        /// Devices, separated by semicolons.
        case devices
        /// One of these words.
        case oneOf([StaticString])
        /// Anything.
        case text
    }

    /// One word.
    struct Entry {
        var word: StaticString
        var match: Match
        /// The first kernel that knows it, as major times 1000 plus minor.
        var since = 2_006
        /// Whether only x86 knows it.
        var isX86 = false
        /// Whether it works only through ports that the kernel takes for hot-plug capable.
        var needsHotPlug = false
    }

    /// The words behind `pci=`.
    static let words: [Entry] = [
        Entry(word: "off", match: .exact), Entry(word: "nomsi", match: .exact), Entry(word: "noats", match: .prefix),
        Entry(word: "noaer", match: .exact), Entry(word: "earlydump", match: .exact),
        Entry(word: "realloc", match: .value(.onOff)), Entry(word: "realloc", match: .prefix),
        Entry(word: "nodomains", match: .exact), Entry(word: "noari", match: .prefix),
        Entry(word: "notph", match: .prefix, since: 6_013), Entry(word: "cbiosize", match: .value(.size)),
        Entry(word: "cbmemsize", match: .value(.size)),
        Entry(word: "resource_alignment", match: .value(.alignments)),
        Entry(word: "ecrc", match: .value(.oneOf(["bios", "off", "on"]))),
        Entry(word: "hpiosize", match: .value(.size), needsHotPlug: true),
        Entry(word: "hpmmiosize", match: .value(.size), since: 5_005, needsHotPlug: true),
        Entry(word: "hpmmioprefsize", match: .value(.size), since: 5_005, needsHotPlug: true),
        Entry(word: "hpmemsize", match: .value(.size), needsHotPlug: true),
        Entry(word: "hpbussize", match: .value(.number), since: 4_008, needsHotPlug: true),
        Entry(word: "pcie_bus_tune_off", match: .prefix), Entry(word: "pcie_bus_safe", match: .prefix),
        Entry(word: "pcie_bus_perf", match: .prefix), Entry(word: "pcie_bus_peer2peer", match: .prefix),
        Entry(word: "pcie_scan_all", match: .prefix),
        Entry(word: "disable_acs_redir", match: .value(.devices), since: 4_019),
        Entry(word: "config_acs", match: .value(.text), since: 6_011),
        Entry(word: "bfsort", match: .exact, isX86: true), Entry(word: "nobfsort", match: .exact, isX86: true),
        Entry(word: "bios", match: .exact, isX86: true), Entry(word: "nobios", match: .exact, isX86: true),
        Entry(word: "biosirq", match: .exact, isX86: true),
        Entry(word: "pirqaddr", match: .value(.number), isX86: true),
        Entry(word: "conf1", match: .exact, isX86: true), Entry(word: "conf2", match: .exact, isX86: true),
        Entry(word: "nommconf", match: .exact, isX86: true),
        Entry(word: "check_enable_amd_mmconf", match: .exact, isX86: true),
        Entry(word: "noacpi", match: .exact, isX86: true), Entry(word: "noearly", match: .exact, isX86: true),
        Entry(word: "usepirqmask", match: .exact, isX86: true),
        Entry(word: "irqmask", match: .value(.number), isX86: true),
        Entry(word: "lastbus", match: .value(.number), isX86: true), Entry(word: "rom", match: .exact, isX86: true),
        Entry(word: "norom", match: .exact, isX86: true), Entry(word: "nobar", match: .exact, isX86: true),
        Entry(word: "assign-busses", match: .exact, isX86: true),
        Entry(word: "use_crs", match: .exact, isX86: true), Entry(word: "nocrs", match: .exact, isX86: true),
        Entry(word: "use_e820", match: .exact, since: 5_019, isX86: true),
        Entry(word: "no_e820", match: .exact, since: 5_019, isX86: true),
        Entry(word: "big_root_window", match: .exact, since: 4_016, isX86: true),
        Entry(word: "routeirq", match: .exact, isX86: true),
        Entry(word: "skip_isa_align", match: .exact, isX86: true),
        Entry(word: "noioapicquirk", match: .exact, isX86: true),
        Entry(word: "ioapicreroute", match: .exact, isX86: true),
        Entry(word: "noioapicreroute", match: .exact, isX86: true),
    ]

    /// The parameters of their own.
    static let parameters: [Entry] = [
        Entry(word: "pcie_ports", match: .value(.oneOf(["compat", "native", "dpc-native", "auto"]))),
        Entry(word: "pcie_aspm", match: .value(.oneOf(["off", "force"]))),
        Entry(word: "pcie_port_pm", match: .value(.oneOf(["off", "force"]))),
        Entry(word: "pcie_pme", match: .value(.oneOf(["nomsi"]))),
    ]

    /// What people write for a word that they mean.
    static let meant: [(written: StaticString, word: StaticString)] = [
        ("hpmemprefsize", "hpmmioprefsize"), ("hpprefsize", "hpmmioprefsize"), ("hpmmioprefetchsize", "hpmmioprefsize"),
        ("hpmmiopref", "hpmmioprefsize"), ("hpmmiosizepref", "hpmmioprefsize"), ("hpmmio", "hpmmiosize"),
        ("hpmem", "hpmemsize"), ("hpbus", "hpbussize"), ("hpbusize", "hpbussize"), ("hpbusessize", "hpbussize"),
        ("hpio", "hpiosize"), ("assign-buses", "assign-busses"), ("assign_busses", "assign-busses"),
        ("assign_buses", "assign-busses"), ("assignbusses", "assign-busses"), ("reassign", "realloc"),
        ("no_crs", "nocrs"), ("noe820", "no_e820"), ("bigrootwindow", "big_root_window"),
    ]
}

/// The number of single-character edits and neighbour swaps between two texts, at most `limit`, or nil beyond.
///
/// - Returns: 0 to `limit`, or nil.
/// - Complexity: O(product of lengths).
func editDistance(_ a: [UInt8], _ b: [UInt8], limit: Int) -> Int? {
    guard abs(a.count - b.count) <= limit, a.count <= 64, b.count <= 64 else { return nil }
    var before: [Int] = []
    var previous = Array(0...b.count)
    for i in 0..<a.count {
        var row = [i + 1]
        for j in 0..<b.count {
            var best = min(previous[j] + (a[i] == b[j] ? 0 : 1), previous[j + 1] + 1, row[j] + 1)
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, before[j - 1] + 1) }
            row.append(best)
        }
        before = previous
        previous = row
    }
    let distance = previous[b.count]
    return distance <= limit ? distance : nil
}
