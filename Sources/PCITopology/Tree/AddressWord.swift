// SPDX-License-Identifier: GPL-2.0-or-later

/// A word of the kernel's command line, or of a file, that names a function by its address.
///
/// Such a word means the address, not the device: after a device has come back on another bus, the word reaches nobody,
/// or whoever has the address then.
public struct AddressWord: Hashable, Sendable {
    /// The word without its value: `pci=disable_acs_redir=`, `xen-pciback.hide=`, `root=`.
    public var word: String
    /// The address that it names.
    public var address: FunctionAddress
    /// Whether the kernel looks for the address whenever it finds a function, so that the word's effect goes with the
    /// number at once and not only with the next boot (`pci_dev_str_match` in `pci_acs_init`, `pci_specified_resource_alignment`).
    public var isReadWhenFound: Bool
    /// The file or directory in which the word stands; nil for the kernel's command line.
    public var place: String?

    /// Creates a word.
    public init(word: String, address: FunctionAddress, isReadWhenFound: Bool = false, place: String? = nil) {
        self.word = word
        self.address = address
        self.isReadWhenFound = isReadWhenFound
        self.place = place
    }

    /// The word and where it stands: `libvirt's guest in /etc/libvirt/qemu/a.xml`, `the boot word root=`.
    public var phrase: String { place.map { "\(word) in \($0)" } ?? "the boot word \(word)" }
}

extension Topology {
    /// All that names a function by its address: the words of the command line first, then what files hold.
    ///
    /// - Complexity: O(length of the command line + number of words in files).
    public var addressWords: [AddressWord] { kernel.addressWords + namings }
}

extension KernelIdentity {
    /// The words of the command line that name a function by its address, in the order of the line; empty when it is unknown.
    ///
    /// An address is looked for in every word, whatever driver reads it: `[DDDD:]BB:DD.F` beside anything that is no part
    /// of one. Places such as `0000:00:02.0/00.0` do not hang on bus numbers and are left out.
    ///
    /// - Complexity: O(length of the command line).
    public var addressWords: [AddressWord] {
        var result: [AddressWord] = []
        for parameter in (commandLine ?? "").split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "\n" }) {
            guard let equals = parameter.firstIndex(of: "=") else { continue }
            let name = parameter[...equals]
            let values = parameter[parameter.index(after: equals)...]
            guard name == "pci=" else {
                Self.append(String(name), values, isReadWhenFound: false, &result)
                continue
            }
            for option in values.split(separator: ",") {
                guard let end = option.firstIndex(of: "=") else { continue }
                let key = option[...end]
                Self.append(
                    "pci=\(key)",
                    option[option.index(after: end)...],
                    isReadWhenFound: ["disable_acs_redir=", "config_acs=", "resource_alignment="].contains(key),
                    &result
                )
            }
        }
        return result
    }

    private static func append(
        _ word: String,
        _ value: Substring,
        isReadWhenFound: Bool,
        _ result: inout [AddressWord]
    ) {
        let pieces = value.utf8.split { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
                UInt8(ascii: "A")...UInt8(ascii: "F"), UInt8(ascii: ":"), UInt8(ascii: "."), UInt8(ascii: "/"):
                false
            default: true
            }
        }
        for piece in pieces {
            guard let address = Substring(piece).split(separator: "/").last.flatMap({ FunctionAddress(parsing: $0) }),
                !result.contains(where: { $0.word == word && $0.address == address })
            else { continue }
            result.append(AddressWord(word: word, address: address, isReadWhenFound: isReadWhenFound))
        }
    }
}
