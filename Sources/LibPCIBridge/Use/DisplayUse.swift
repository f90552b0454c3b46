// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Consoles and lit displays.
enum DisplayUse {
    static func read(_ sysfs: borrowing Directory, _ findings: inout UseFindings) {
        let scratch = Scratch()
        if let graphics = Directory(in: sysfs, name: "class/graphics") {
            let isConsole = framebufferConsole(sysfs, scratch)
            for name in graphics.names() where name.hasPrefix("fb") && name != "fbcon" {
                guard let path = graphics.link(name) else { continue }
                findings.add(
                    path: path,
                    isConsole
                        ? .vital("console", "/dev/\(name) shows the console")
                        : .use("framebuffer", "/dev/\(name) is a frame buffer", weight: 100)
                )
            }
        }
        guard let drm = Directory(in: sysfs, name: "class/drm") else { return }
        for name in drm.names() where name.hasPrefix("card") && name.contains("-") {
            guard let connector = Directory(in: drm, name: name), connector.text("status", scratch) == "connected",
                connector.text("enabled", scratch) == "enabled", let path = drm.link(name)
            else { continue }
            let output = name.drop { $0 != "-" }.dropFirst()
            findings.add(path: path, .vital("display", "a display is lit on \(output)"))
        }
    }

    /// Whether the frame buffer console is bound: the vtconsole that says so.
    private static func framebufferConsole(_ sysfs: borrowing Directory, _ scratch: Scratch) -> Bool {
        guard let consoles = Directory(in: sysfs, name: "class/vtconsole") else { return false }
        for name in consoles.names() {
            guard let console = Directory(in: consoles, name: name), console.number("bind", scratch) == 1,
                let text = console.text("name", scratch)
            else { continue }
            if text.contains("frame buffer") { return true }
        }
        return false
    }
}
