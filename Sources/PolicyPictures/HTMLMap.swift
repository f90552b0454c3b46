// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Maps as one self-contained page: the drawing, details of what is pointed at or focused, and the same as a table.
///
/// Nothing is loaded from elsewhere. Up and down move through a map, left and right to the same thing in the next
/// map, n and p to the next and previous difference. It prints without the panel.
public struct HTMLMap: Hashable, Sendable {
    /// The title of the page.
    public var title: String

    /// Creates a renderer.
    public init(title: String = "PCI address map") { self.title = title }

    /// A complete HTML document.
    /// - Returns: the text of the document, encoded as UTF-8 when written.
    public func render(_ maps: [AddressMap]) -> String {
        var page = MarkupText()
        page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
        page.element("title", [], title)
        page.raw("\n<style>\n\(Self.style)\n</style>\n</head>\n<body>\n<header>\n")
        page.element("h1", [], title)
        page.raw("\n")
        for map in maps { page.element("p", [], summary(map)) }
        page.element(
            "p",
            [("class", "keys")],
            "Keys: \u{2191} \u{2193} through a map, \u{2190} \u{2192} to the same thing in the next map, n and p to the next and previous difference."
        )
        page.raw("\n</header>\n<main>\n<div class=\"scroll\">\n")
        for section in SVGMap(columnWidth: maps.count > 3 ? 340 : 430).sections(maps) { page.raw(section) }
        page.raw(
            "</div>\n</main>\n<aside id=\"detail\" aria-live=\"polite\">Point at a segment, or press Tab.</aside>\n"
        )
        page.raw("<section>\n<details>\n<summary>The same as a table</summary>\n")
        for map in maps { table(map, &page) }
        page.raw("</details>\n</section>\n<script>\n\(Self.script)\n</script>\n</body>\n</html>\n")
        return page.text
    }

    private func summary(_ map: AddressMap) -> String {
        let lost = map.hosts.flatMap(\.unplaced)
        let required = lost.filter(\.isRequired).count
        var text = "\(map.title): \(map.segments.filter { $0.key != nil }.count) ranges"
        text += ", \(required) required and \(lost.count - required) optional without address"
        if map.changes > 0 { text += ", \(map.changes) differ from the first map" }
        return text
    }

    private func table(_ map: AddressMap, _ page: inout MarkupText) {
        page.raw("<table>\n")
        page.element("caption", [], map.title)
        page.raw("<thead><tr>")
        for head in ["First", "Last", "Size", "Kind", "Function", "What", "Difference"] {
            page.element("th", [("scope", "col")], head)
        }
        page.raw("</tr></thead>\n<tbody>\n")
        for segment in map.segments {
            page.raw("<tr>")
            let cells = [
                hex(segment.range.first), hex(segment.range.last), ByteCount(segment.size).description,
                MapPalette.word(segment.kind), segment.owner, segment.label, segment.markText ?? "",
            ]
            for cell in cells { page.element("td", [], cell) }
            page.raw("</tr>\n")
        }
        for host in map.hosts {
            for resource in host.unplaced {
                page.raw("<tr>")
                let cells = [
                    "-", "-", resource.size.map { ByteCount($0).description } ?? "?", MapPalette.word(resource.kind),
                    resource.owner, resource.index.description, "no address",
                ]
                for cell in cells { page.element("td", [], cell) }
                page.raw("</tr>\n")
            }
        }
        page.raw("</tbody>\n</table>\n")
    }

    private static let style = """
        body{margin:0;font:14px/1.4 "DejaVu Sans",Verdana,sans-serif;color:#111;background:#fff}
        header{padding:12px 16px 0}
        h1{font-size:20px;margin:0 0 4px}
        header p{margin:0}
        .keys{color:#444}
        .scroll{overflow-x:auto;padding-bottom:64px}
        aside{position:fixed;left:0;right:0;bottom:0;padding:8px 16px;min-height:22px;background:#111;color:#fff}
        section{padding:0 16px 72px}
        table{border-collapse:collapse;margin:12px 0;font-size:12px}
        caption{text-align:left;font-weight:bold;padding:4px 0}
        th,td{border:1px solid #999;padding:1px 6px;text-align:left}
        td:nth-child(-n+3){font-family:monospace}
        summary{cursor:pointer}
        .map{display:block}
        @media print{aside,.keys{display:none}.scroll{overflow:visible;padding:0}section{padding:0}
        header{padding:0}table{font-size:9px}tr{break-inside:avoid}
        .map{width:100%;height:auto;break-inside:avoid}}
        """

    private static let script = """
        (function () {
          "use strict";
          var all = Array.prototype.slice.call(document.querySelectorAll(".s"));
          var detail = document.getElementById("detail");
          function show(e) {
            detail.textContent = e.getAttribute("aria-label");
            var k = e.getAttribute("data-k");
            all.forEach(function (o) {
              o.classList.toggle("on", o === e || (k !== null && o.getAttribute("data-k") === k));
            });
          }
          function go(e) {
            if (!e) { return; }
            all.forEach(function (o) { o.setAttribute("tabindex", o === e ? "0" : "-1"); });
            e.focus({ preventScroll: true });
            e.scrollIntoView({ block: "nearest", inline: "nearest" });
            show(e);
          }
          all.forEach(function (e) {
            e.addEventListener("mouseenter", function () { show(e); });
            e.addEventListener("focus", function () { show(e); });
            e.addEventListener("click", function () { go(e); });
          });
          document.addEventListener("keydown", function (event) {
            var e = document.activeElement;
            if (all.indexOf(e) < 0 || event.ctrlKey || event.metaKey || event.altKey) { return; }
            var k = e.getAttribute("data-k");
            var same = k === null ? [] : all.filter(function (o) { return o.getAttribute("data-k") === k; });
            var at = same.indexOf(e);
            var c = e.getAttribute("data-c");
            var own = all.filter(function (o) { return o.getAttribute("data-c") === c; });
            var i = own.indexOf(e);
            var changed = function (o) { return o.classList.contains("ch"); };
            var target = null;
            switch (event.key) {
              case "ArrowDown": target = own[i + 1]; break;
              case "ArrowUp": target = own[i - 1]; break;
              case "Home": target = own[0]; break;
              case "End": target = own[own.length - 1]; break;
              case "ArrowRight": target = same[at + 1]; break;
              case "ArrowLeft": target = same[at - 1]; break;
              case "n": target = own.slice(i + 1).find(changed); break;
              case "p": target = own.slice(0, i).reverse().find(changed); break;
              default: return;
            }
            event.preventDefault();
            go(target);
          });
        })();
        """
}
