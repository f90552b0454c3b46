// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension EmulatedMachine {
    /// A shell script (POSIX sh) that starts the machine, does what failed, and compares what fails with `expected`.
    ///
    /// Every word of it is either constant or quoted; nothing of a report is in it but numbers that were read and printed
    /// anew.
    /// - Parameters:
    ///   - commands: what brings the failure about, for the emulator's monitor.
    ///   - parameters: words for the kernel's command line.
    ///   - expected: the lines that have to fail, as `Reproduction.Line.key`.
    ///   - besides: what fails besides, in the same form.
    /// - Returns: the script.
    public func script(commands: [String], parameters: [String], expected: [String], besides: [String]) -> String {
        var text = Self.head
        let words = Self.fixedParameters + ["reproduction=\(event.rawValue)"] + parameters
        text += "\nappend=" + shellWord(words.joined(separator: " ")) + "\n"
        text += "\nmachine() {\n    \"$qemu\" -accel \"$accel\""
        for word in arguments { text += " \\\n        " + shellWord(word) }
        text += " \\\n        \"$@\"\n}\n"
        text +=
            "\n# When what fails comes into its slot: plug, while the kernel runs; boot, between firmware and kernel;\n"
        text += "# rescan, while the kernel runs, which then looks for it.\n"
        text += "when=\(event.rawValue)\n\n# What is done then, in the words of QEMU's monitor.\nevent() {\n"
        text += "    cat <<'END'\n" + (["stop"] + commands + ["cont"]).joined(separator: "\n") + "\nEND\n}\n"
        text += "\n# What has to fail.\nexpected() {\n    cat <<'END'\n"
        text += expected.joined(separator: "\n") + "\nEND\n}\n"
        text +=
            "\n# What fails besides: devices that take up room, and what harms nobody.\nbesides() {\n    cat <<'END'\n"
        text += besides.map { $0 + "\n" }.joined() + "END\n}\n"
        return text + Self.tail
    }

    /// Words without which a guest prints nothing here, or stops for reasons that are none of the report's.
    private static let fixedParameters = [
        "console=ttyS0", "quiet", "loglevel=0", "panic=-1", "no_timer_check", "log_buf_len=2M",
        "initcall_blacklist=shpcd_init",
    ]

    private static let head = #"""
        #!/bin/sh
        #
        # run.sh [KERNEL]: starts an emulated machine with KERNEL (an x86-64 image, pciehp built in), does what failed,
        # prints the lines that fail in the kernel's words, and compares them with those of the report.
        #
        # KERNEL   the kernel, unless it is the argument
        # INITRD   an initramfs whose /init does as the one below; without it one is packed of a static busybox with cpio
        # BUSYBOX  that busybox (default: busybox)
        # QEMU     the emulator (default: qemu-system-x86_64)
        # ACCEL    tcg (default) or kvm
        # FETCH_KERNELS, KERNEL_FAMILY  a script that fetches a kernel of Debian and prints "FAMILY DIRECTORY RELEASE", as the
        #          laboratory's fetch-kernels does, and the family (default: 6.12); asked when no kernel is named
        # LOG      a file that the whole kernel log is written to
        #
        # Exit status: 0 the same lines fail, 1 they do not, 2 it could not be tried.
        set -eu

        say() { printf '%s\n' "run.sh: $*" >&2; }
        die() {
            say "$@"
            exit 2
        }

        kernel=${1:-${KERNEL:-}}
        qemu=${QEMU:-qemu-system-x86_64}
        accel=${ACCEL:-tcg}
        if [ -z "$kernel" ] && [ -n "${FETCH_KERNELS:-}" ]; then
            kernel=$("$FETCH_KERNELS" "${KERNEL_FAMILY:-6.12}" | awk '{ print $2 "/vmlinuz"; exit }')
        fi
        [ -n "$kernel" ] || die "expected a kernel: run.sh KERNEL"
        [ -r "$kernel" ] || die "expected a kernel that can be read, found $kernel"
        command -v "$qemu" >/dev/null || die "expected $qemu, found none"

        work=$(mktemp -d)
        pid=
        finish() {
            [ -z "$pid" ] || kill "$pid" 2>/dev/null || :
            rm -rf "$work"
        }
        trap finish EXIT
        trap 'exit 2' HUP INT TERM

        """#

    private static let tail = #"""

        initrd=${INITRD:-}
        if [ -z "$initrd" ]; then
            busybox=$(command -v "${BUSYBOX:-busybox}") || die "expected a static busybox, found none: set BUSYBOX or INITRD"
            command -v cpio >/dev/null || die "expected cpio, found none: set INITRD"
            mkdir -p "$work/root/bin" "$work/root/proc" "$work/root/sys" "$work/root/dev"
            cp -L "$busybox" "$work/root/bin/busybox"
            cat >"$work/root/init" <<'END'
        #!/bin/busybox sh
        b=/bin/busybox
        $b mount -t proc proc /proc
        $b mount -t sysfs sys /sys
        $b mount -t devtmpfs dev /dev
        exec >/dev/console 2>&1
        first=$($b dmesg | $b wc -l)
        # At boot everything has been said.
        [ "${reproduction:-plug}" = plug ] || first=0
        echo 'reproduction: ready'
        # Nobody says that a card has come: until a slot's status register tells of one (its presence bit), a minute at most.
        if [ "${reproduction:-plug}" = rescan ]; then
            waited=0
            while [ "$waited" -lt 60 ]; do
                for config in /sys/bus/pci/devices/0000:00:*/config; do
                    [ "$($b od -An -tx2 -N 4 "$config" | $b tr -d ' ')" = 1b36000c ] || continue
                    status=$($b od -An -tx1 -j 110 -N 1 "$config" | $b tr -d ' ')
                    [ $((0x$status & 0x40)) -eq 0 ] || break 2
                done
                $b sleep 1
                waited=$((waited + 1))
            done
            echo 1 >/sys/bus/pci/rescan
        fi
        last= same=0 waited=0
        # The slot's driver takes its time: until nothing has been said for 6 seconds after something was, a minute at most.
        while [ "$same" -lt 6 ] && [ "$waited" -lt 60 ]; do
            $b sleep 1
            waited=$((waited + 1))
            now=$($b dmesg | $b wc -l)
            if [ "$now" = "$last" ] && [ "$now" != "$first" ]; then same=$((same + 1)); else same=0; fi
            last=$now
        done
        $b dmesg
        # What lost its address without a message: it starts at 0 or is marked unset.
        for device in /sys/bus/pci/devices/*; do
            bar=0
            while read -r first last flags && [ "$bar" -lt 6 ]; do
                if [ $((flags)) -ne 0 ] && { [ $((first)) -eq 0 ] || [ $((flags & 0x20000000)) -ne 0 ]; }; then
                    kind=mem width=8
                    [ $((flags & 0x100)) -eq 0 ] || { kind='io ' width=4; }
                    size=$($b printf "0x%0${width}x" $((last - first + 1)))
                    [ $((flags & 0x100000)) -eq 0 ] || size="$size 64bit"
                    [ $((flags & 0x2000)) -eq 0 ] || size="$size pref"
                    echo "reproduction: unset ${device##*/} BAR $bar [$kind size $size]"
                fi
                bar=$((bar + 1))
            done <"$device/resource"
        done
        echo 'reproduction: end'
        $b poweroff -f
        END
            chmod 755 "$work/root/init"
            initrd=$work/initrd
            (cd "$work/root" && find . | cpio -o -H newc --quiet) >"$initrd"
        fi

        # Waits until the console shows a word.
        await() {
            n=0
            until grep -q "reproduction: $1" "$work/console" 2>/dev/null; do
                kill -0 "$pid" 2>/dev/null || return 1
                n=$((n + 1))
                [ "$n" -lt 300 ] || return 1
                sleep 1
            done
        }

        mkfifo "$work/monitor"
        # Firmware's own messages tell when it waits for a key, which is when it has laid out what it found.
        if [ "$when" = boot ]; then
            set -- -chardev "file,id=firmware,path=$work/firmware" -device isa-debugcon,iobase=0x402,chardev=firmware
        else
            set --
        fi
        machine "$@" -kernel "$kernel" -initrd "$initrd" -append "$append" -serial "file:$work/console" -monitor stdio \
            <"$work/monitor" >"$work/answers" 2>&1 &
        pid=$!
        exec 9>"$work/monitor"
        failed() {
            tail -n 20 "$work/console" "$work/answers" >&2 || :
            die "$@"
        }
        if [ "$when" = boot ]; then
            n=0
            until grep -q 'Press ESC' "$work/firmware" 2>/dev/null; do
                n=$((n + 1))
                { kill -0 "$pid" 2>/dev/null && [ "$n" -lt 300 ]; } || failed "the firmware did not come up"
                sleep 1
            done
            event >&9
            until grep -q '^Booting from' "$work/firmware"; do
                n=$((n + 1))
                { kill -0 "$pid" 2>/dev/null && [ "$n" -lt 300 ]; } || failed "the firmware did not go on"
                echo 'sendkey ret' >&9
                sleep 1
            done
        fi
        await ready || failed "the machine did not come up"
        [ "$when" = boot ] || event >&9
        await end || failed "the machine did not come to an end"
        exec 9>&-
        wait "$pid" || :
        pid=
        # The monitor echoes what it is told letter by letter, with the cursor going back.
        if tr -d '\b\033' <"$work/answers" | grep -q '^Error:'; then
            tr -d '\b\033' <"$work/answers" | grep '^Error:' >&2
            die "the emulator refused a part of the machine"
        fi
        tr -d '\r' <"$work/console" >"$work/log"
        [ -z "${LOG:-}" ] || cp "$work/log" "$LOG"

        # What has no place in the end: a message about a BAR counts until a later one says otherwise.
        awk '
            /^reproduction: unset / {
                key = $3 " BAR " $5
                if (!(key in state)) {
                    text = $0
                    sub(/^[^[]*/, "", text)
                    state[key] = " " text
                    words[key] = "pci " $3 ": BAR " $5 " " text ": lost its address without a message"
                }
                next
            }
            match($0, /[0-9a-f]+:[0-9a-f][0-9a-f]:[0-9a-f][0-9a-f]\.[0-7]: /) {
                address = substr($0, RSTART, RLENGTH - 2)
                rest = substr($0, RSTART + RLENGTH)
                if (rest ~ /^No bus number available/) {
                    state[address " bus"] = ""
                    words[address " bus"] = $0
                }
                if (rest ~ /^BAR [0-5][ :]/) name = substr(rest, 1, 5)
                else if (rest ~ /^VF BAR [0-5][ :]/) name = substr(rest, 1, 8)
                # Older kernels count: 7 to 12 are the VFs.
                else if (rest ~ /^BAR (7|8|9|10|11|12):/) name = "VF BAR " (substr(rest, 5) + 0 - 7)
                else next
                key = address " " name
                if (rest ~ /can.t assign|no space for|failed to assign/) {
                    if (match(rest, /\[[a-z]+ +size 0x[^]]*\]/)) {
                        state[key] = " " substr(rest, RSTART, RLENGTH)
                        words[key] = $0
                    }
                } else if (rest ~ /assigned/) {
                    delete state[key]
                }
            }
            END { for (key in state) print key state[key] "\t" words[key] }
        ' "$work/log" | sort >"$work/failing"
        cut -f 1 "$work/failing" | sort >"$work/found"
        expected | sort >"$work/expected"

        echo "fails in the emulated machine:"
        cut -f 2- "$work/failing" | cut -c 1-160 | sed 's/^/  /'
        comm -23 "$work/expected" "$work/found" >"$work/missing"
        comm -13 "$work/expected" "$work/found" >"$work/more"
        besides | sort >"$work/besides"
        comm -23 "$work/more" "$work/besides" >"$work/surprising"
        if [ -s "$work/surprising" ]; then
            echo "neither among the lines that have to fail nor predicted to fail besides:"
            sed 's/^/  /' "$work/surprising"
        fi
        count=$(wc -l <"$work/expected")
        if [ -s "$work/missing" ]; then
            echo "does not fail:"
            sed 's/^/  /' "$work/missing"
            echo "REPRODUCTION: differs ($(wc -l <"$work/missing") of $count lines do not fail)"
            exit 1
        fi
        echo "REPRODUCTION: same (all $count lines fail)"

        """#
}
