// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge

/// Cards as they are typed: `nvme`, `gpu-16g`, `testdev:1G`, `pci-bridge`, `mem:16M,pref:1G,io:256`.
enum CardWords {
    /// Everything that may be said, as a list for messages.
    static var all: String { CardProfile.words }

    /// The cards that have a name, for completion.
    static var names: [String] { CardProfile.named.map(\.name) + ["pci-bridge"] }

    /// The card that `word` names.
    static func card(_ word: String) throws(CommandEnd) -> CardProfile {
        do {
            return try CardProfile(word: word)
        } catch {
            throw CommandEnd(.usage, error.description + Spelling.question(word, among: names))
        }
    }
}
