// SPDX-License-Identifier: GPL-2.0-or-later

internal import TestSupport

/// What happens to an apply.
enum Fault: Hashable, CustomStringConvertible {
    /// Nothing.
    case none
    /// SIGKILL at a moment: around every write to the journal, around every journaled.
    case kill(moment: Int)
    /// SIGKILL at a moment, and then the power is cut before anybody can recover.
    case powerCut(moment: Int)
    /// SIGKILL at a moment of the apply, then at a moment of the recovery.
    case killTwice(moment: Int, second: Int)
    /// The kernel refuses a write.
    case refuse(journaled: Int)
    /// A write takes longer than the tool waits, and ends later.
    case late(journaled: Int)
    /// A driver does not let go: a program holds the device through vfio-pci for so many seconds.
    case held(seconds: Int)
    /// The plan predicts something else than the kernel does.
    case wrongPrediction(step: Int)
    /// A card is pulled at a moment.
    case vanish(moment: Int)
    /// A card is plugged in at a moment.
    case appear(moment: Int)
    /// A path of the journal's model.
    case path(JournalPath)
    /// A signal after the first write.
    case signal(String)
    /// Two applies at once.
    case two
    /// No room for the journal.
    case fullDisk

    /// The kind, for counting.
    var kind: String {
        switch self {
        case .none: "undisturbed"
        case .kill: "killed"
        case .powerCut: "power cut"
        case .killTwice: "killed, and its recovery killed"
        case .refuse: "write refused"
        case .late: "write late"
        case .held: "driver hangs in unbind"
        case .wrongPrediction: "wrong prediction"
        case .vanish: "a card vanishes"
        case .appear: "a card appears"
        case .path(let path): "\(path.apply.outcome), \(path.apply.life)"
        case .signal(let name): "SIG\(name)"
        case .two: "two appliers"
        case .fullDisk: "disk full"
        }
    }

    var description: String {
        switch self {
        case .kill(let moment), .powerCut(let moment), .vanish(let moment), .appear(let moment):
            "\(kind) at moment \(moment)"
        case .killTwice(let moment, let second): "\(kind) at moments \(moment), \(second)"
        case .refuse(let journaled), .late(let journaled): "\(kind): \(journaled)"
        case .held(let seconds): "\(kind) for \(seconds) s"
        case .wrongPrediction(let step): "\(kind) after step \(step)"
        case .path(let path): path.description
        case .none, .signal, .two, .fullDisk: kind
        }
    }
}
