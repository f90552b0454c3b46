// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Text under construction in SVG or HTML.
struct MarkupText {
    private(set) var text = ""

    /// Appends markup as it stands.
    mutating func raw(_ markup: String) { text += markup }

    /// Appends an element with escaped attribute values and escaped content; nil content closes it at once.
    mutating func element(_ name: String, _ attributes: [(String, String)], _ content: String? = nil) {
        open(name, attributes, closes: content == nil)
        if let content { text += Self.escaped(content) + "</\(name)>" }
    }

    /// Appends a start tag, or an empty element.
    mutating func open(_ name: String, _ attributes: [(String, String)], closes: Bool = false) {
        text += "<\(name)"
        for (key, value) in attributes { text += " \(key)=\"\(Self.escaped(value))\"" }
        text += closes ? "/>" : ">"
    }

    /// The text with markup characters as entities; control characters, which XML forbids, become spaces.
    static func escaped(_ text: String) -> String {
        var result = ""
        result.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            default:
                if scalar.isControl {
                    result += " "
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result
    }
}
