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
# default route, or held through VFIO. What else uses it is not seen here: a process that reads the raw disk,
# ZFS, an SSH connection, a display, a keyboard, a TPM or a management controller (pci-rebalance apply looks).
idle() {
    for block in /sys/class/block/*; do
        case $(readlink -f "$block") in
            */"$1"/*) ;;
            *) continue ;;
        esac
        name=${block##*/}
        # A path of a multipath NVMe has no number; the disk that it leads to has.
        case $name in
            nvme*c*n*) name=$(echo "$name" | sed 's/^\(nvme[0-9]*\)c[0-9]*/\1/') ;;
        esac
        disk=/sys/class/block/$name
        [ -e "$disk/dev" ] || continue
        for part in "$disk" "$disk"/"$name"*; do
            [ -e "$part/dev" ] || continue
            part=${part##*/}
            if grep -q -e "^[0-9]* [0-9]* $(cat "/sys/class/block/$part/dev") " -e " /dev/$part " /proc/self/mountinfo; then
                stop "expected $1 to be idle, found $part mounted"
            fi
            for member in /sys/fs/btrfs/*/devices/"$part"; do
                [ ! -e "$member" ] || stop "expected $1 to be idle, found $part part of a mounted btrfs"
            done
            if grep -q "^/dev/$part " /proc/swaps; then stop "expected $1 to be idle, found swap on $part"; fi
            for holder in "/sys/class/block/$part"/holders/*; do
                [ ! -e "$holder" ] || stop "expected $1 to be idle, found $part part of ${holder##*/}"
            done
        done
    done
    for net in /sys/class/net/*; do
        case $(readlink -f "$net") in
            */"$1"/*) ;;
            *) continue ;;
        esac
        # The interfaces above it: bonds, bridges, VLANs, as deep as they go.
        names=${net##*/} above=$names
        while [ -n "$above" ]; do
            next=
            for name in $above; do
                for upper in "/sys/class/net/$name"/upper_*; do
                    [ ! -e "$upper" ] || next="$next ${upper##*/upper_}"
                done
            done
            names="$names$next" above=$next
        done
        while read -r interface destination _; do
            [ "$destination" = 00000000 ] || continue
            for name in $names; do
                [ "$interface" != "$name" ] ||
                    stop "expected $1 to be idle, found the default route on $interface"
            done
        done </proc/net/route
    done
    group=$(readlink "/sys/bus/pci/devices/$1/iommu_group") || group=
    for held in /proc/[0-9]*/fd/*; do
        held=$(readlink "$held") || continue
        case $held in
            /dev/vfio/vfio) ;;
            /dev/vfio/devices/*)
                [ ! -e "/sys/bus/pci/devices/$1/vfio-dev/${held##*/}" ] ||
                    stop "expected $1 to be idle, found ${held#/dev/} held"
                ;;
            /dev/vfio/*)
                [ -z "$group" ] || [ "${held##*[/-]}" != "${group##*/}" ] ||
                    stop "expected $1 to be idle, found its VFIO group ${group##*/} held"
                ;;
        esac
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
