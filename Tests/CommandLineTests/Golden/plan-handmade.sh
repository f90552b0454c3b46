#!/bin/sh
# A plan of pci-rebalance for kernel 6.12.1-test, predicted as linux-6.12.
# 0000:04:00.0 gets its 1G of prefetchable memory; one other device is stopped for it.
#   BAR 2 [mem size 0x40000000 64bit pref]: can't assign; no space
#   0000:03:00.0 BAR 2 (16M) keeps the pref window of 0000:01:00.0 where it is
# Disturbed:
#   0000:03:00.0 Unclassified device, no driver: stopped, comes back at other addresses
# PLAN: act reason=unassigned-bars
set -eu
LC_ALL=C
export LC_ALL

# One line for the whole tree: a checksum over every function's name, ids and resource lines.
tree() {
    for device in /sys/bus/pci/devices/*; do
        [ -e "$device" ] || continue
        echo "${device##*/}"
        cat "$device/vendor" "$device/device" "$device/resource"
    done | cksum
}

# expect CHECKSUM WHEN STATUS: waits up to 30 seconds for the tree to be as predicted, else stops.
expect() {
    tries=0
    while [ "$(tree)" != "$1" ]; do
        tries=$((tries + 1))
        if [ "$tries" -ge 30 ] || [ "$3" -eq 7 ]; then
            echo "$0: $2: the tree is not as predicted; nothing more was written" >&2
            exit "$3"
        fi
        sleep 1
    done
}

stop() {
    echo "$0: $1" >&2
    exit 1
}

# idle FUNCTION: stops when something on it is mounted, swap, part of another disk, on the way of the IPv4
# default route, or held through VFIO. Whatever else uses it (a process that reads the raw disk, say) is not seen here.
idle() {
    for block in /sys/class/block/*; do
        case $(readlink -f "$block") in
            */"$1"/*) ;;
            *) continue ;;
        esac
        name=${block##*/}
        number=$(cat "$block/dev")
        if grep -q "^[0-9]* [0-9]* $number " /proc/self/mountinfo; then
            stop "expected $1 to be idle, found $name mounted"
        fi
        if grep -q "^/dev/$name " /proc/swaps; then stop "expected $1 to be idle, found swap on $name"; fi
        for holder in "$block"/holders/*; do
            [ ! -e "$holder" ] || stop "expected $1 to be idle, found $name part of ${holder##*/}"
        done
    done
    for net in /sys/class/net/*; do
        case $(readlink -f "$net") in
            */"$1"/*) ;;
            *) continue ;;
        esac
        name=${net##*/}
        master=$(readlink "$net/master") || master=
        while read -r interface destination _; do
            case $interface in
                "$name" | "${master##*/}") ;;
                *) continue ;;
            esac
            [ "$destination" != 00000000 ] ||
                stop "expected $1 to be idle, found the default route on $interface"
        done </proc/net/route
    done
    group=$(readlink "/sys/bus/pci/devices/$1/iommu_group") || return 0
    for held in /proc/[0-9]*/fd/*; do
        [ "$(readlink "$held")" != "/dev/vfio/${group##*/}" ] ||
            stop "expected $1 to be idle, found its VFIO group ${group##*/} held"
    done
}

expect '282545401 5520' 'before the first step' 7

# Step 1: Stop everything below the root port, so that its windows are free.
idle 0000:03:00.0
echo 1 > /sys/bus/pci/devices/0000:00:02.0/remove
expect '4294967295 0' 'after step 1' 1
# The way back from here, should it be wanted:
#   echo 1 > /sys/bus/pci/rescan

# Step 2: Find it again; the kernel sizes every window anew.
echo 1 > /sys/bus/pci/rescan
expect '2460810244 5520' 'after step 2' 1
[ $((0x$(setpci -s 0000:00:02.0 18.l) & 0xffffff)) -eq $((0x40100)) ] ||
    stop 'register 18 of 0000:00:02.0 is not as predicted'

echo 'APPLY: done reason=unassigned-bars'
