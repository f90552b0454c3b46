#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Large machines, made up: snapshots for the growth benchmark.

    machines.py SHAPE --functions N [--missing none|one|many] > machine.json

Shapes: "ports" has an endpoint below each of up to 128 root ports per segment; "chains" hang switches of two ports one
below the other, an endpoint at each first port; "shelf" has switches of 22 ports, an endpoint at every second one;
"tight" is a shelf whose 32-bit aperture ends where the last window ends; "mixed" has one of each below every segment,
with endpoints of several sizes. Everything follows from the arguments.
"""
import argparse
import json

ZERO = "0x%016x 0x%016x 0x%016x" % (0, 0, 0)
MIB = 1 << 20


class Function:
    def __init__(self, kind, parent=None, devfn=0):
        self.kind, self.parent, self.devfn = kind, parent, devfn
        self.children = []
        self.bus = None
        self.missing = False
        self.pref = MIB
        if parent is not None:
            parent.children.append(self)

    def is_bridge(self):
        return self.kind != "endpoint"


class Host:
    """A host bridge: what is on its root bus, and the apertures that result."""

    def __init__(self, segment):
        self.segment, self.roots = segment, []

    def port(self):
        n = len(self.roots)
        port = Function("root", devfn=((n >> 3) + 1) << 3 | n & 7)
        self.roots.append(port)
        return port


def shelf(port, ports):
    switch = Function("upstream", port)
    result = 2
    for n in range(ports):
        down = Function("downstream", switch, n << 3)
        result += 1
        if n % 2 == 0:
            Function("endpoint", down)
            result += 1
    return result


def chain(port, depth):
    above, result = port, 1
    for _ in range(depth):
        switch = Function("upstream", above)
        first = Function("downstream", switch, 0)
        Function("endpoint", first)
        above = Function("downstream", switch, 8)
        result += 4
    Function("endpoint", above)
    return result + 1


def single(port):
    Function("endpoint", port)
    return 2


def build(shape, functions):
    hosts, count = [], 0
    while count < functions:
        host = Host(len(hosts))
        hosts.append(host)
        if shape == "ports":
            while count < functions and len(host.roots) < 128:
                count += single(host.port())
        elif shape == "chains":
            for depth in (12, 12, 12, 12, 12, 1):
                if count < functions:
                    count += chain(host.port(), min(depth, max(1, (functions - count) // 4)))
        elif shape in ("shelf", "tight"):
            for _ in range(4):
                if count < functions:
                    count += shelf(host.port(), min(22, max(2, (functions - count) * 2 // 3)))
        else:
            for n in range(24):
                if count < functions:
                    count += single(host.port())
            for _ in range(2):
                if count < functions:
                    count += shelf(host.port(), 22)
            for _ in range(2):
                if count < functions:
                    count += chain(host.port(), 8)
    return hosts


def endpoints(f):
    if not f.is_bridge():
        yield f
    for child in f.children:
        yield from endpoints(child)


def lay(f, segment, bus, counter):
    f.segment, f.bus = segment, bus
    if not f.is_bridge():
        return
    counter[0] += 1
    f.secondary = counter[0]
    for child in f.children:
        lay(child, segment, f.secondary, counter)
    f.subordinate = counter[0]


def place(f, at):
    """Places what is below; `at` holds the next free addresses, memory and prefetchable, at multiples of 1 MiB."""
    f.memory, f.prefetchable = at[0], at[1]
    if not f.is_bridge():
        at[0] += MIB
        f.window = None
        if not f.missing:
            at[1] = (at[1] + f.pref - 1) & ~(f.pref - 1)
            f.prefetchable = at[1]
            at[1] += f.pref
        else:
            at[1] += MIB
        return
    for child in f.children:
        place(child, at)
    f.memory_end, f.prefetchable_end = at[0], at[1]


def put(config, offset, value, width):
    config[offset:offset + width] = value.to_bytes(width, "little")


def config(f):
    data = bytearray(0x80)
    vendor, device = {"root": (0x1B36, 0x000C), "upstream": (0x104C, 0x8232), "downstream": (0x104C, 0x8233),
                      "endpoint": (0x1234, 0x5678)}[f.kind]
    put(data, 0, vendor, 2)
    put(data, 2, device, 2)
    put(data, 6, 0x10, 2)
    put(data, 8, 1 | (0x060400 if f.is_bridge() else 0x010802) << 8, 4)
    data[0x34] = 0x40
    data[0x40] = 0x10
    kind = {"root": 4, "upstream": 5, "downstream": 6, "endpoint": 0}[f.kind]
    slot = f.kind in ("root", "downstream")
    put(data, 0x42, 2 | kind << 4 | (0x100 if slot else 0), 2)
    if slot:
        put(data, 0x54, 0x60 | (f.secondary << 19), 4)
        put(data, 0x58, 0x20, 2)
    if not f.is_bridge():
        put(data, 4, 0x06, 2)
        put(data, 0x10, f.memory | 4, 4)
        low = 0 if f.missing else f.prefetchable
        put(data, 0x18, low & 0xFFFF_FFFF | 0xC, 4)
        put(data, 0x1C, low >> 32, 4)
        return data
    put(data, 4, 0x07, 2)
    data[0x0E] = 0x81 if f.kind == "root" else 1
    data[0x18:0x1B] = bytes([f.bus, f.secondary, f.subordinate])
    data[0x1C:0x1E] = bytes([0xF0, 0])
    def window(offset, first, end, flag):
        if end > first:
            put(data, offset, first >> 16 & 0xFFF0 | flag, 2)
            put(data, offset + 2, end - 1 >> 16 & 0xFFF0 | flag, 2)
        else:
            put(data, offset, 0xFFF0 | flag, 2)
            put(data, offset + 2, flag, 2)
    window(0x20, f.memory, f.memory_end, 0)
    window(0x24, f.prefetchable, f.prefetchable_end, 1)
    if f.prefetchable_end > f.prefetchable:
        put(data, 0x28, f.prefetchable >> 32, 4)
        put(data, 0x2C, f.prefetchable_end - 1 >> 32, 4)
    return data


def address(f):
    return "%04x:%02x:%02x.%x" % (f.segment, f.bus, f.devfn >> 3, f.devfn & 7)


def line(first, end, flags):
    return "0x%016x 0x%016x 0x%016x" % (first, end - 1, flags) if end > first else ZERO


def record(f):
    lines = [ZERO] * (17 if f.is_bridge() else 13)
    if f.is_bridge():
        lines[14] = line(f.memory, f.memory_end, 0x200)
        lines[15] = line(f.prefetchable, f.prefetchable_end, 0x102201)
    else:
        lines[0] = line(f.memory, f.memory + 0x4000, 0x140204)
        first = 0 if f.missing else f.prefetchable
        lines[2] = line(first, first + f.size, 0x14220C)
    identity = config(f)
    return {
        "address": address(f), "parent": address(f.parent) if f.parent else "root", "revision": "0x01",
        "subsystemVendor": "0x1234", "subsystemDevice": "0x0001",
        "classCode": "0x060400" if f.is_bridge() else "0x010802",
        "vendor": "0x%04x" % int.from_bytes(identity[0:2], "little"),
        "device": "0x%04x" % int.from_bytes(identity[2:4], "little"),
        "configSize": 4096 if f.is_bridge() else 256, "driver": "pcieport" if f.is_bridge() else "nvme", "enable": 1,
        "config": identity.hex(), "resource": lines,
    }


def held(f, kind, depth):
    """The lines of /proc/iomem for what `f` holds in one window kind, and for what is inside."""
    pad = "  " * depth
    if not f.is_bridge():
        first = f.memory if kind == "memory" else f.prefetchable
        size = 0x4000 if kind == "memory" else 0 if f.missing else f.size
        return ["%s%08x-%08x : %s" % (pad, first, first + size - 1, address(f))] if size else []
    first, end = (f.memory, f.memory_end) if kind == "memory" else (f.prefetchable, f.prefetchable_end)
    if end == first:
        return []
    result = ["%s%08x-%08x : PCI Bus %04x:%02x" % (pad, first, end - 1, f.segment, f.secondary)]
    for child in f.children:
        result += held(child, kind, depth + 1)
    return result


def machine(shape, functions, missing):
    hosts = build(shape, functions)
    leaves = [e for host in hosts for root in host.roots for e in endpoints(root)]
    for n, leaf in enumerate(leaves):
        leaf.missing = missing == "many" and n % 8 == 3 or missing == "one" and n == len(leaves) // 2
        leaf.pref = MIB << (n * 7 % 3) if shape == "mixed" and not leaf.missing else MIB
        leaf.size = 16 * MIB if leaf.missing else leaf.pref
    log, iomem, everything, buses, slots = [], [], [], [], []
    memory = 0x2000_0000
    for host in hosts:
        counter = [0]
        at = [memory, (0x100 + host.segment * 0x10) << 32]
        first = list(at)
        for root in host.roots:
            lay(root, host.segment, 0, counter)
            place(root, at)
        slack = 0 if shape == "tight" else 8 * MIB
        end = at[0] + slack
        memory = (end + 16 * MIB - 1) & ~(16 * MIB - 1)
        name = "%04x:00" % host.segment
        log += ["[    1.2] PCI host bridge to bus %s" % name,
                "[    1.2] pci_bus %s: root bus resource [mem 0x%x-0x%x window]" % (name, first[0], end - 1),
                "[    1.2] pci_bus %s: root bus resource [mem 0x%x-0x%x window]"
                % (name, first[1], first[1] + (1 << 36) - 1),
                "[    1.2] pci_bus %s: root bus resource [bus 00-ff]" % name]
        for kind, start, last in [("memory", first[0], end - 1), ("prefetchable", first[1], first[1] + (1 << 36) - 1)]:
            iomem.append("%08x-%08x : PCI Bus %s" % (start, last, name))
            for root in host.roots:
                iomem += held(root, kind, 1)
        buses.append({"bus": name, "root": True})

        def walk(f):
            everything.append(f)
            if f.is_bridge():
                buses.append({"bus": "%04x:%02x" % (f.segment, f.secondary), "bridge": address(f)})
                if f.kind != "upstream" and f.kind in ("root", "downstream"):
                    slots.append({"address": "%04x:%02x:00" % (f.segment, f.secondary), "name": str(len(slots) + 1),
                                  "occupied": bool(f.children), "powered": bool(f.children)})
            for child in f.children:
                walk(child)
        for root in host.roots:
            walk(root)
    for f in everything:
        if f.missing:
            what = "BAR 2 [mem size 0x%08x 64bit pref]" % f.size
            log += ["[    7.2] pci %s: %s: can't assign; no space" % (address(f), what),
                    "[    7.2] pci %s: %s: failed to assign" % (address(f), what)]
    everything.sort(key=address)
    return {
        "schema": "pci-rebalance.snapshot/1", "origin": "directory",
        "kernel": {"architecture": "x86_64", "commandLine": "quiet", "release": "6.12.43+deb13-amd64"},
        "functions": [record(f) for f in everything], "buses": buses,
        "deviceOrder": [address(f) for f in everything], "firmwareMap": [], "gaps": [], "slots": slots,
        "iomem": iomem, "ioports": [], "kernelLog": log,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=["ports", "chains", "shelf", "tight", "mixed"])
    parser.add_argument("--functions", type=int, required=True)
    parser.add_argument("--missing", choices=["none", "one", "many"], default="none")
    arguments = parser.parse_args()
    print(json.dumps(machine(arguments.shape, arguments.functions, arguments.missing)))


if __name__ == "__main__":
    main()
