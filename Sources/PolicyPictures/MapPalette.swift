// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Colours and patterns of drawn maps.
///
/// The hues are Okabe and Ito's, which stay apart for every common kind of colour blindness; each kind also has a
/// pattern, so that a grey print tells them apart.
enum MapPalette {
    static let style = """
        .map{font:11px "DejaVu Sans",Verdana,sans-serif;background:#fff}
        .map text{fill:#111}
        .map .h{font-size:15px;font-weight:bold}
        .map .a{font-weight:bold}
        .map .q{fill:#444;font-size:10px}
        .map .inv{fill:#fff}
        .map .halo{paint-order:stroke;stroke:#fff;stroke-width:3}
        .map .b{stroke:#555;stroke-width:1}
        .map .io .b{fill:#fdf1d9}
        .map .mem .b{fill:#e3f2fb}
        .map .pref .b{fill:#dcf3ec}
        .map .ap .b{fill:#fff;stroke:#000;stroke-width:1.5}
        .map .w .b{stroke-width:1.3;stroke:#000}
        .map .free .b{fill:#fff;stroke:#999;stroke-dasharray:3 2}
        .map .free text{fill:#555}
        .map .blk .b{fill:#e4e4e4}
        .map .ch .b{stroke:#b23c00;stroke-width:2.5}
        .map .ch .m{fill:#9a3300;font-weight:bold}
        .map .lost{fill:#9a3300;font-weight:bold}
        .map .s{outline:none}
        .map .s:focus .b,.map .s.on .b{stroke:#000;stroke-width:3.2}
        .map .s:hover .b{stroke:#000;stroke-width:2.4}
        """

    static let definitions = """
        <defs>
        <pattern id="p-io" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">\
        <rect width="6" height="6" fill="#e69f00"/><rect width="2" height="6" fill="#5b3f00"/></pattern>
        <pattern id="p-mem" width="6" height="6" patternUnits="userSpaceOnUse">\
        <rect width="6" height="6" fill="#0072b2"/></pattern>
        <pattern id="p-pref" width="6" height="6" patternUnits="userSpaceOnUse">\
        <rect width="6" height="6" fill="#009e73"/><circle cx="3" cy="3" r="1.5" fill="#fff"/></pattern>
        <pattern id="p-blk" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">\
        <rect width="6" height="6" fill="#bbb"/><rect width="3" height="6" fill="#777"/></pattern>
        </defs>
        """

    static func word(_ kind: ResourceKind) -> String {
        switch kind {
        case .io: "io"
        case .memory: "mem"
        case .prefetchable: "pref"
        }
    }
}
