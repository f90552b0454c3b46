// SPDX-License-Identifier: GPL-2.0-or-later

/// Text of a given width: lines that break between words, never inside an address range.
struct TextPage {
    /// The number of columns.
    let columns: Int
    /// The text so far.
    private(set) var text = ""

    init(columns: Int) { self.columns = columns }

    /// Appends one line, broken between `pieces` where it grows beyond the width.
    ///
    /// - Parameters:
    ///   - pieces: what may not be broken; a piece wider than the page stands alone on its line.
    ///   - indent: the columns before the first piece; the first of them holds `mark`.
    ///   - hanging: the columns before the first piece of continuation lines.
    ///   - mark: one column wide, or empty.
    mutating func line(_ pieces: [Piece], indent: Int, hanging: Int, mark: Piece? = nil) {
        var column = indent
        if let mark {
            text += mark.styled
            text += spaces(max(indent - mark.width, 0))
        } else {
            text += spaces(indent)
        }
        var isFirst = true
        for piece in pieces where piece.width > 0 {
            if isFirst {
                isFirst = false
            } else if column + piece.gap + piece.width > columns {
                text += "\n"
                text += spaces(hanging)
                column = hanging
            } else {
                text += spaces(piece.gap)
                column += piece.gap
            }
            text += piece.styled
            column += piece.width
        }
        text += "\n"
    }

    /// Appends a paragraph, broken between words; a bracketed range such as `[mem 0x0-0xf pref]` is one word, and several
    /// blanks within a line stay as many.
    mutating func paragraph(_ sentence: String, indent: Int, hanging: Int? = nil) {
        line(words(sentence), indent: indent, hanging: hanging ?? indent)
    }

    /// Appends an empty line.
    mutating func blank() { text += "\n" }

    /// Appends a line as it is.
    mutating func raw(_ line: String) {
        text += line
        text += "\n"
    }

    private func words(_ sentence: String) -> [Piece] {
        var result: [Piece] = []
        var word = ""
        var gap = 0
        var depth = 0
        for character in sentence {
            if character == "[" { depth += 1 }
            if character == "]", depth > 0 { depth -= 1 }
            if character == " ", depth == 0 {
                if !word.isEmpty {
                    result.append(Piece(word, gap: gap))
                    gap = 0
                }
                word = ""
                gap += 1
            } else {
                word.append(character)
            }
        }
        if !word.isEmpty { result.append(Piece(word, gap: gap)) }
        return result
    }

    private func spaces(_ count: Int) -> String { String(repeating: " ", count: max(count, 0)) }
}

/// A part of a line that stays together.
struct Piece {
    /// The text with its colour.
    var styled: String
    /// The columns that it takes.
    var width: Int
    /// The columns between it and the piece before.
    var gap: Int

    init(_ text: String, gap: Int = 2, style: ((String) -> String)? = nil) {
        styled = style.map { $0(text) } ?? text
        width = text.utf8.count == text.unicodeScalars.count ? text.utf8.count : text.unicodeScalars.count
        self.gap = gap
    }

    /// The words of a text, each of which may begin a line.
    static func words(_ text: String, style: ((String) -> String)? = nil) -> [Piece] {
        text.split(separator: " ").map { Piece(String($0), gap: 1, style: style) }
    }
}
