#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Generates benchmark instances, one JSON object per line. Deterministic from the seed.

    generate.py A|B|C --functions N --count K --seed S [--style uni|real] [--fixed F] [--fill F] [--frac F]

Families: A, smallest span from scratch; B, one device hot-added among devices in place; C, bus numbers.
Lengths are in units of 64 KiB (A, B) or bus numbers (C); ranges are half-open.
"""
import argparse
import json
import random
import sys

G = 16  # 1 MiB in units of 64 KiB


def up(x, a):
    return (x + a - 1) // a * a


class Tree:
    def __init__(self):
        self.parent = []      # of bridges
        self.leaves = []      # (bridge, size, align, device)
        self.device_bridge = []

    def bridge(self, parent):
        self.parent.append(parent)
        return len(self.parent) - 1

    def device(self, bridge, sizes):
        d = len(self.device_bridge)
        self.device_bridge.append(bridge)
        for s in sizes:
            self.leaves.append((bridge, s, s, d))
        return d


PROFILES = [  # units of 64 KiB; a 16 KiB BAR counts as one unit
    ("nvme", [1]), ("nic", [16, 1]), ("nic2", [128, 1]), ("hba", [1, 16]), ("fpga", [1024, 16]),
    ("gpu", [4096, 512, 256]), ("biggpu", [1 << 16, 512]), ("usb", [1]), ("vf", [64, 64]),
]


def sizes_for(rng, style, maxlog):
    if style == "uni":
        return [1 << rng.randint(0, maxlog) for _ in range(rng.randint(1, 3))]
    name, sizes = rng.choice(PROFILES)
    return [min(s, 1 << maxlog) for s in sizes]


def gen_tree(rng, nfun, depth, fan, style, maxlog):
    t = Tree()

    def slot(parent, left, d):
        """Fills one port; returns the number of functions used."""
        port = t.bridge(parent)
        if d > 0 and left > 1 and rng.random() < 0.6:
            used = 0
            inner = port
            if rng.random() < 0.5:
                inner = t.bridge(port)
                if rng.random() < 0.3:
                    t.device(port, [16])
                    used += 1
            for _ in range(rng.randint(*fan)):
                if used >= left:
                    break
                used += slot(inner, left - used, d - 1)
            return max(used, 1)
        used = 0
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            if used >= left:
                break
            t.device(port, sizes_for(rng, style, maxlog))
            used += 1
        return used

    left = nfun
    while left > 0:
        left -= slot(-1, left, depth)
    return t


def children_of(t):
    kids = {b: [] for b in range(-1, len(t.parent))}
    for b, p in enumerate(t.parent):
        kids[p].append(("b", b))
    for i, (b, *_rest) in enumerate(t.leaves):
        kids[b].append(("l", i))
    return kids


def pack_random(rng, t):
    """Packs like a firmware: mostly sorted by alignment, some shuffled, some with spare room. Returns addresses, end."""
    kids = children_of(t)
    pos = {}

    def align_of(kind, i):
        if kind == "l":
            return t.leaves[i][2]
        return max([G] + [align_of(*k) for k in kids[i]])

    def place(bridge, start, top=False):
        order = list(kids[bridge])
        if rng.random() < 0.6:
            order.sort(key=lambda k: -align_of(*k))
        else:
            rng.shuffle(order)
        at = start
        for kind, i in order:
            if kind == "l":
                at = up(at, t.leaves[i][2])
                pos[i] = at
                at += t.leaves[i][1]
            else:
                at = up(at, G)
                if not any_leaf(i):
                    continue
                at = place(i, at)
            if rng.random() < 0.15:
                at += rng.choice((1, 16, 64, 256))
        return up(at, G)

    cache = {}

    def any_leaf(b):
        if b not in cache:
            cache[b] = any(k == "l" or any_leaf(i) for k, i in kids[b])
        return cache[b]

    end = place(-1, 0, True)
    return pos, end


def depth_of(nfun):
    return 2 if nfun <= 16 else 3 if nfun <= 64 else 4 if nfun <= 512 else 5


def fan_of(nfun):
    return (1, 3) if nfun <= 16 else (2, 4) if nfun <= 128 else (2, 8)


def family_a(rng, name, nfun, style):
    t = gen_tree(rng, nfun, depth_of(nfun), fan_of(nfun), style, 10 if nfun <= 40 else 12)
    return dict(
        name=name, family="A", unitLog=16, granule=G, low=0, high=1 << 40, bridges=t.parent,
        leaves=[dict(bridge=b, size=s, align=a, device=d, cur=-1) for b, s, a, d in t.leaves],
        devices=[dict(weight=1, bridge=b) for b in t.device_bridge])


def family_b(rng, name, nfun, style, fixed, fill, frac):
    maxlog = 8 if nfun <= 30 else 12 if nfun <= 128 else 14
    while True:
        t = gen_tree(rng, nfun + 1, depth_of(nfun), fan_of(nfun), style, maxlog)
        pos, end = pack_random(rng, t)
        n = len(t.device_bridge)
        removed = set()
        total = sum(s for _, s, _, _ in t.leaves)
        order = list(range(n))
        rng.shuffle(order)
        used = total
        for d in order:
            if used <= fill * end or n - len(removed) <= 2:
                break
            removed.add(d)
            used -= sum(s for _, s, _, dd in t.leaves if dd == d)
        free = end - used
        if free >= 2:
            break
    big = 1
    while big * 2 <= free * frac:
        big *= 2
    keep = [d for d in range(n) if d not in removed]
    index = {d: i for i, d in enumerate(keep)}
    devices = [dict(weight=-1 if rng.random() < fixed else rng.choice((1, 1, 1, 2, 5)), bridge=t.device_bridge[d])
               for d in keep]
    leaves = [dict(bridge=b, size=s, align=a, device=index[d], cur=pos[i])
              for i, (b, s, a, d) in enumerate(t.leaves) if d in index]
    ports = [b for b in range(len(t.parent)) if b not in t.parent]
    port = rng.choice(ports)
    new = len(devices)
    devices.append(dict(weight=1, bridge=port))
    leaves.append(dict(bridge=port, size=big, align=big, device=new, cur=-1))
    if rng.random() < 0.5:
        second = 1 << rng.randint(0, max(0, big.bit_length() - 2))
        leaves.append(dict(bridge=port, size=second, align=second, device=new, cur=-1))
    return dict(name=name, family="B", unitLog=16, granule=G, low=0, high=end, bridges=t.parent, leaves=leaves,
                devices=devices)


def family_c(rng, name, nbus):
    t = Tree()

    def grow(parent, left, d):
        b = t.bridge(parent)
        used = 1
        if d > 0 and rng.random() < 0.6:
            for _ in range(rng.randint(1, 4)):
                if used >= left:
                    break
                used += grow(b, left - used, d - 1)
        return used

    left = nbus
    while left > 0:
        left -= grow(-1, left, 4)
    n = len(t.parent)
    kids = {b: [] for b in range(-1, n)}
    for b, p in enumerate(t.parent):
        kids[p].append(b)
    pos = {}

    def number(b, at):
        pos[b] = at
        at += 1
        for k in kids[b]:
            at = number(k, at)
            if rng.random() < 0.15:
                at += rng.randint(1, 3)
        return at

    at = 1
    for b in kids[-1]:
        at = number(b, at)
        if rng.random() < 0.25:
            at += rng.randint(1, 4)
    high = min(256, at + rng.choice((0, 0, 1, 3, 6)))
    if at > 256:
        return None
    devices = [dict(weight=rng.choice((1, 1, 1, 2, 5)), bridge=b) for b in range(n)]
    leaves = [dict(bridge=b, size=1, align=1, device=b, cur=pos[b], header=True) for b in range(n)]
    port = rng.choice([b for b in range(n) if not kids[b]])
    switch = t.bridge(port)
    new = [switch] + [t.bridge(switch) for _ in range(rng.randint(1, 6))]
    for b in new:
        leaves.append(dict(bridge=b, size=1, align=1, device=len(devices), cur=-1, header=True))
        devices.append(dict(weight=1, bridge=b))
    return dict(name=name, family="C", unitLog=0, granule=1, low=1, high=high, bridges=t.parent, leaves=leaves,
                devices=devices)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("family", choices="ABC")
    p.add_argument("--functions", type=int, required=True)
    p.add_argument("--count", type=int, default=20)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--style", default="uni", choices=("uni", "real"))
    p.add_argument("--fixed", type=float, default=None)
    p.add_argument("--fill", type=float, default=None)
    p.add_argument("--frac", type=float, default=None)
    p.add_argument("--copies", type=int, default=1)
    a = p.parse_args()
    rng = random.Random(f"{a.family}-{a.functions}-{a.style}-{a.seed}")
    done = 0
    while done < a.count:
        name = f"{a.family}-{a.style}-{a.functions}-{a.seed}-{done}"
        if a.family == "A":
            inst = family_a(rng, name, a.functions, a.style)
        elif a.family == "B":
            fixed = a.fixed if a.fixed is not None else (
                rng.choice((0, 0.1, 0.3)) if a.functions <= 30 else rng.choice((0, 0.01, 0.03))
                if a.functions <= 256 else 0)
            fill = a.fill if a.fill is not None else rng.choice((0.75, 0.85, 0.95))
            frac = a.frac if a.frac is not None else rng.choice((0.25, 0.5, 0.9))
            inst = family_b(rng, name, a.functions, a.style, fixed, fill, frac)
        else:
            inst = family_c(rng, name, a.functions)
        if inst is None:
            continue
        if a.copies > 1:
            inst["copies"] = a.copies
        print(json.dumps(inst, separators=(",", ":")))
        done += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
