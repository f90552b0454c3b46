// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// A plan as a commented POSIX shell script that does the same, checks the same, and stops on any surprise.
///
/// The script knows a tree by the checksum that `cksum` prints over names, ids and resource lines of all functions;
/// it needs nothing but a shell, coreutils or busybox, and `setpci` where a plan writes registers.
struct PlanScript {
    let plan: Plan

    /// The script.
    func render() -> String {
        var lines = ["#!/bin/sh"]
        comment("A plan of pci-rebalance for kernel \(plan.kernelRelease), predicted as \(plan.behaviour).", &lines)
        comment(plan.verdict.sentence, &lines)
        for line in plan.diagnosis { comment("  \(line.text)", &lines) }
        if !plan.disturbed.isEmpty { comment("Disturbed:", &lines) }
        for one in plan.disturbed { comment("  \(one.address) \(one.what): \(one.effect.text)", &lines) }
        if !plan.otherWays.isEmpty { comment("Other ways:", &lines) }
        for way in plan.otherWays { comment("  \(way)", &lines) }
        comment(plan.verdict.line, &lines)
        guard plan.verdict.answer == .act else {
            lines += ["set -eu", "echo \(shellWord(plan.verdict.line))"]
            if plan.verdict.answer != .none {
                let status = plan.verdict.answer.exitStatus
                lines.append("exit \(status.rawValue)")
            }
            return lines.joined(separator: "\n") + "\n"
        }
        lines += prologue
        if plan.steps.contains(where: { $0.preconditions.contains(where: \.isOfUse) }) { lines += Self.uses }
        lines.append(
            "expect \(shellWord(Self.checksum(plan.before))) 'before the first step' \(ExitStatus.stale.rawValue)"
        )
        if plan.steps.contains(where: { !$0.mayAppearBelow.isEmpty }) { lines += Self.appearances }
        for (number, step) in plan.steps.enumerated() { append(step, number: number + 1, to: &lines) }
        lines += ["", "echo 'APPLY: done reason=\(plan.verdict.reason)'"]
        return lines.joined(separator: "\n") + "\n"
    }

    private var prologue: [String] {
        [
            "set -eu",
            "LC_ALL=C",
            "export LC_ALL",
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
            "# expect CHECKSUM WHEN STATUS: waits up to 30 seconds for the tree to be as predicted, else stops.",
            "expect() {",
            "    tries=0",
            "    while [ \"$(tree)\" != \"$1\" ]; do",
            "        tries=$((tries + 1))",
            "        if [ \"$tries\" -ge 30 ] || [ \"$3\" -eq \(ExitStatus.stale.rawValue) ]; then",
            "            echo \"$0: $2: the tree is not as predicted; nothing more was written\" >&2",
            "            exit \"$3\"",
            "        fi",
            "        sleep 1",
            "    done",
            "}",
            "",
            "stop() {",
            "    echo \"$0: $1\" >&2",
            "    exit \(ExitStatus.failure.rawValue)",
            "}",
            "",
        ]
    }

    /// What has appeared was not planned for: the script ends, and another one is wanted.
    private static let appearances = [
        "# appeared COUNT PORTS: ends when there are more than COUNT functions, since new ones stand below PORTS.",
        "appeared() {",
        "    sleep 2",
        "    count=0",
        "    for device in /sys/bus/pci/devices/*; do count=$((count + 1)); done",
        "    [ \"$count\" -gt \"$1\" ] || return 0",
        "    echo \"$0: $((count - $1)) functions have appeared below $2; what they need was not planned: plan again\" >&2",
        "    echo 'APPLY: done reason=devices-found'",
        "    exit \(ExitStatus.problems.rawValue)",
        "}",
        "",
    ]

    /// Of the evidence that the program itself looks for, what a shell sees without side effects.
    private static let uses = [
        "# idle FUNCTION: stops when something on it is mounted, swap, part of another disk, on the way of the IPv4",
        "# default route, or held through VFIO. What else uses it is not seen here: a process that reads the raw disk,",
        "# ZFS, an SSH connection, a display, a keyboard, a TPM or a management controller (pci-rebalance apply looks).",
        "idle() {",
        "    for block in /sys/class/block/*; do",
        "        case $(readlink -f \"$block\") in",
        "            */\"$1\"/*) ;;",
        "            *) continue ;;",
        "        esac",
        "        name=${block##*/}",
        "        # A path of a multipath NVMe has no number; the disk that it leads to has.",
        "        case $name in",
        "            nvme*c*n*) name=$(echo \"$name\" | sed 's/^\\(nvme[0-9]*\\)c[0-9]*/\\1/') ;;",
        "        esac",
        "        disk=/sys/class/block/$name",
        "        [ -e \"$disk/dev\" ] || continue",
        "        for part in \"$disk\" \"$disk\"/\"$name\"*; do",
        "            [ -e \"$part/dev\" ] || continue",
        "            part=${part##*/}",
        "            if grep -q -e \"^[0-9]* [0-9]* $(cat \"/sys/class/block/$part/dev\") \" -e \" /dev/$part \" /proc/self/mountinfo; then",
        "                stop \"expected $1 to be idle, found $part mounted\"",
        "            fi",
        "            for member in /sys/fs/btrfs/*/devices/\"$part\"; do",
        "                [ ! -e \"$member\" ] || stop \"expected $1 to be idle, found $part part of a mounted btrfs\"",
        "            done",
        "            if grep -q \"^/dev/$part \" /proc/swaps; then stop \"expected $1 to be idle, found swap on $part\"; fi",
        "            for holder in \"/sys/class/block/$part\"/holders/*; do",
        "                [ ! -e \"$holder\" ] || stop \"expected $1 to be idle, found $part part of ${holder##*/}\"",
        "            done",
        "        done",
        "    done",
        "    for net in /sys/class/net/*; do",
        "        case $(readlink -f \"$net\") in",
        "            */\"$1\"/*) ;;",
        "            *) continue ;;",
        "        esac",
        "        # The interfaces above it: bonds, bridges, VLANs, as deep as they go.",
        "        names=${net##*/} above=$names",
        "        while [ -n \"$above\" ]; do",
        "            next=",
        "            for name in $above; do",
        "                for upper in \"/sys/class/net/$name\"/upper_*; do",
        "                    [ ! -e \"$upper\" ] || next=\"$next ${upper##*/upper_}\"",
        "                done",
        "            done",
        "            names=\"$names$next\" above=$next",
        "        done",
        "        while read -r interface destination _; do",
        "            [ \"$destination\" = 00000000 ] || continue",
        "            for name in $names; do",
        "                [ \"$interface\" != \"$name\" ] ||",
        "                    stop \"expected $1 to be idle, found the default route on $interface\"",
        "            done",
        "        done </proc/net/route",
        "    done",
        "    group=$(readlink \"/sys/bus/pci/devices/$1/iommu_group\") || group=",
        "    for held in /proc/[0-9]*/fd/*; do",
        "        held=$(readlink \"$held\") || continue",
        "        case $held in",
        "            /dev/vfio/vfio) ;;",
        "            /dev/vfio/devices/*)",
        "                [ ! -e \"/sys/bus/pci/devices/$1/vfio-dev/${held##*/}\" ] ||",
        "                    stop \"expected $1 to be idle, found ${held#/dev/} held\"",
        "                ;;",
        "            /dev/vfio/*)",
        "                [ -z \"$group\" ] || [ \"${held##*[/-]}\" != \"${group##*/}\" ] ||",
        "                    stop \"expected $1 to be idle, found its VFIO group ${group##*/} held\"",
        "                ;;",
        "        esac",
        "    done",
        "}",
        "",
    ]

    private func append(_ step: PlanStep, number: Int, to lines: inout [String]) {
        lines.append("")
        comment("Step \(number): \(step.purpose)", &lines)
        for condition in step.preconditions {
            switch condition {
            case .treeAsPredicted, .present: break
            case .busIsEmpty(let segment, let bus):
                let name = busName(segment: segment, bus)
                lines.append("[ -e /sys/class/pci_bus/\(name) ] || stop 'expected bus \(name), found none'")
                lines.append("for device in /sys/bus/pci/devices/\(name):*; do")
                lines.append("    [ ! -e \"$device\" ] || stop \"expected bus \(name) to be empty, found $device\"")
                lines.append("done")
            case .busIsAbsent(let segment, let bus):
                let name = busName(segment: segment, bus)
                lines.append("[ ! -e /sys/class/pci_bus/\(name) ] || stop 'expected no bus \(name), found one'")
            case .notInUse(let address): lines.append("idle \(address)")
            }
        }
        for write in step.writes { lines.append(line(write)) }
        if !step.mayAppearBelow.isEmpty {
            let ports = step.mayAppearBelow.map(\.description).joined(separator: " ")
            lines.append("appeared \(step.after.functions.count) '\(ports)'")
        }
        lines.append(
            "expect \(shellWord(Self.checksum(step.after))) 'after step \(number)' \(ExitStatus.failure.rawValue)"
        )
        for register in step.registersAfter {
            let width = register.width == 1 ? "b" : register.width == 2 ? "w" : "l"
            let offset = bareHex(UInt64(register.offset), width: 2)
            lines.append(
                "[ $((0x$(setpci -s \(register.address) \(offset).\(width)) & \(hex(UInt64(register.mask))))) -eq "
                    + "$((\(hex(UInt64(register.value & register.mask))))) ] ||"
            )
            lines.append("    stop 'register \(offset) of \(register.address) is not as predicted'")
        }
        if !step.wayBack.isEmpty {
            comment("The way back from here, should it be wanted:", &lines)
            for write in step.wayBack { comment("  \(line(write))", &lines) }
        }
    }

    private func comment(_ text: String, _ lines: inout [String]) {
        for part in text.split(whereSeparator: \.isNewline) { lines.append("# \(part)") }
    }

    /// The shell line that does `write`; names that come from the machine are quoted.
    private func line(_ write: SystemWrite) -> String {
        switch write {
        case .resourceAlignment(let text): "echo \(shellWord(text)) > /sys/bus/pci/resource_alignment"
        case .slotPower(let slot, let on): "echo \(on ? 1 : 0) > \(shellWord("/sys/bus/pci/slots/\(slot)/power"))"
        default: write.description
        }
    }

    // MARK: The checksum

    /// What `tree` in the script prints for `state`.
    static func checksum(_ state: TreeState) -> String {
        var text = ""
        let named = state.functions.map { ($0.address.description, $0) }.sorted { $0.0 < $1.0 }
        for (name, function) in named {
            text += "\(name)\n"
            text += "\(hex(UInt64(function.ids >> 16), width: 4))\n"
            text += "\(hex(UInt64(function.ids & 0xffff), width: 4))\n"
            for line in function.lines { text += "\(line)\n" }
        }
        let bytes = Array(text.utf8)
        return "\(cksum(bytes)) \(bytes.count)"
    }

    /// The checksum of POSIX `cksum`: CRC 0x04c11db7, most significant bit first, the length appended, complemented.
    static func cksum(_ bytes: [UInt8]) -> UInt32 {
        var table = [UInt32](repeating: 0, count: 256)
        for i in 0..<256 {
            var value = UInt32(i) << 24
            for _ in 0..<8 { value = value & 0x8000_0000 != 0 ? value << 1 ^ 0x04c1_1db7 : value << 1 }
            table[i] = value
        }
        var crc: UInt32 = 0
        func add(_ byte: UInt8) { crc = crc << 8 ^ table[Int(crc >> 24) ^ Int(byte)] }
        for byte in bytes { add(byte) }
        var length = bytes.count
        while length > 0 {
            add(UInt8(truncatingIfNeeded: length))
            length >>= 8
        }
        return ~crc
    }
}

extension Precondition {
    /// Whether it asks that nobody uses a function.
    fileprivate var isOfUse: Bool { if case .notInUse = self { true } else { false } }
}
