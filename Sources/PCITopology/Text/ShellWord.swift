// SPDX-License-Identifier: GPL-2.0-or-later

/// The text as one word that a POSIX shell takes as it is.
package func shellWord(_ text: String) -> String {
    "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
}
