// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// A restart plan as a POSIX shell script: checks the tree, takes its tools into memory, lets drivers go, programs the
/// registers, starts the loaded kernel.
///
/// The shell reads the whole script before it runs any of it: the disk that it lies on may be gone by the end.
struct RestartScript {
    let plan: RestartPlan
    let kernelRelease: String
    let behaviour: String

    /// The script.
    func render() -> String {
        var lines = [
            "#!/bin/sh",
            "# The way over one restart, for kernel \(oneLine(kernelRelease)), predicted as \(oneLine(behaviour)).",
            "# Every address and number below is programmed, then the kernel that kexec has loaded is started; it keeps",
            "# what it finds. Everything that runs is lost, as with any reboot.",
            "#",
            "#     kexec -l /boot/vmlinuz-\(oneLine(kernelRelease)) --initrd=/boot/initrd.img-\(oneLine(kernelRelease)) "
                + "--reuse-cmdline",
            "#     systemctl rescue",
            "#     sh SCRIPT --now",
            "#",
            "# After the restart the kernel is predicted to show:",
        ]
        for function in plan.after.functions {
            lines.append("#   \(function.address)\(function.busRange.map { " \($0)" } ?? "")")
            for (index, line) in function.lines.byIndex where line != .zero {
                lines.append("#     \(index) \(line)")
            }
        }
        lines += [
            "set -eu",
            "LC_ALL=C",
            "export LC_ALL",
            "",
            "stop() {",
            "    echo \"$0: $1\" >&2",
            "    exit \"${2-\(ExitStatus.failure.rawValue)}\"",
            "}",
            "",
            "# One line for the whole tree: a checksum over every function's name, ids and resource lines.",
            "tree() {",
            "    for device in /sys/bus/pci/devices/*; do",
            "        [ -e \"$device\" ] || continue",
            "        echo \"${device##*/}\"",
            "        cat \"$device/vendor\" \"$device/device\" \"$device/resource\"",
            "    done | cksum",
            "}",
            "",
            "# keep TOOL: a copy in memory, with the libraries that it needs.",
            "keep() {",
            "    path=$(unset -f \"$1\"; command -v \"$1\") || stop \"expected the command $1, found none\"",
            "    cp \"$path\" \"$memory/$1\"",
            "    ldd \"$path\" 2>/dev/null | sed -n 's,.*[[:space:]]\\(/[^ ]*\\) (.*,\\1,p' | while read -r library; do",
            "        cp -L \"$library\" \"$memory/\"",
            "    done",
            "}",
            "",
            "# kept TOOL ARGUMENTS: the copy, by a loader that is a copy too.",
            "kept() {",
            "    tool=$1",
            "    shift",
            "    for loader in \"$memory\"/ld-*; do",
            "        if [ -e \"$loader\" ]; then",
            "            \"$loader\" --library-path \"$memory\" \"$memory/$tool\" \"$@\"",
            "            return",
            "        fi",
            "    done",
            "    \"$memory/$tool\" \"$@\"",
            "}",
            "",
            "setpci() { kept setpci \"$@\"; }",
            "",
        ]
        if !plan.released.isEmpty {
            lines += [
                "release() {",
                "    [ ! -e \"/sys/bus/pci/devices/$1/driver\" ] ||",
                "        echo \"$1\" >\"/sys/bus/pci/devices/$1/driver/unbind\"",
                "}",
                "",
            ]
        }
        lines += [
            "main() {",
            "    [ \"$(id -u)\" -eq 0 ] || stop 'expected root'",
            "    [ \"$(tree)\" = \(shellWord(PlanScript.checksum(plan.before))) ] ||",
            "        stop 'the tree is another one than that of the plan; nothing was written' \(ExitStatus.stale.rawValue)",
            "    [ \"$(cat /sys/kernel/kexec_loaded)\" -eq 1 ] || stop 'expected a kernel loaded by kexec -l, found none'",
            "    [ \"${1-}\" = --now ] || stop 'everything that runs will be lost: stop it, then run this with --now'",
            "    memory=$(mktemp -d /run/pci-rebalance.XXXXXX)",
            "    keep setpci",
            "    keep kexec",
            "    sync",
            "    echo u >/proc/sysrq-trigger",
            "    sleep 1",
        ]
        lines += [
            "    # From here on the only way is on: the boot makes the best of whatever the registers say.",
            "    set +e",
        ]
        for address in plan.released { lines.append("    release \(address)") }
        for write in plan.writes { lines.append("    \(write)") }
        lines += ["    kept kexec -e", "}", "", "main \"$@\"", "exit"]
        return lines.joined(separator: "\n") + "\n"
    }

    private func oneLine(_ text: String) -> String { text.split(whereSeparator: \.isNewline).joined(separator: " ") }
}
