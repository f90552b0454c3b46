# SPDX-License-Identifier: GPL-2.0-or-later
"""What an administrator gets from the kernel alone: remove a bridge, scan again, take what the greedy sizing gives.

Windows are sized bottom-up with the largest alignment first, each at the next aligned place (pbus_size_mem and
assign_requested_resources_sorted in outline); bus numbers are counted depth first. Nobody outside the removed part moves.
"""


def up(x, a):
    return -(-x // a) * a


class Tree:
    def __init__(self, inst):
        self.inst = inst
        n = len(inst["bridges"])
        self.kids = {b: [] for b in range(-1, n)}
        for b, p in enumerate(inst["bridges"]):
            self.kids[p].append(b)
        self.leaves = {b: [] for b in range(-1, n)}
        for leaf in inst["leaves"]:
            self.leaves[leaf["bridge"]].append(leaf)

    def size(self, b, start=0):
        """Length and alignment of the window of `b` with all that is below, 0 when there is nothing."""
        g = self.inst["granule"]
        items = [(leaf.get("header", False), leaf["align"], leaf["size"]) for leaf in self.leaves[b]]
        for c in self.kids[b]:
            length, align = self.size(c)
            if length:
                items.append((False, align, length))
        items.sort(key=lambda i: (not i[0], -i[1], -i[2]))
        end = start
        for _, align, length in items:
            end = up(end, align) + length
        return (up(end, g) if items else 0), max([g] + [i[1] for i in items])

    def below(self, b):
        found = list(self.leaves[b])
        for c in self.kids[b]:
            found.extend(self.below(c))
        return found


def kernel_style(inst):
    """The span (family A) or the disturbed weight of the smallest removal after which all fits; None: no removal helps."""
    tree = Tree(inst)
    g = inst["granule"]
    if inst["family"] == "A":
        return tree.size(-1, inst["low"])[0]
    new = [leaf for leaf in inst["leaves"] if leaf["cur"] < 0]
    devices = inst["devices"]

    def weight(leaves):
        ids = {leaf["device"] for leaf in leaves if leaf["cur"] >= 0}
        return None if any(devices[d]["weight"] < 0 for d in ids) else sum(devices[d]["weight"] for d in ids)

    def hull(b):
        placed = [leaf for leaf in tree.below(b) if leaf["cur"] >= 0]
        if not placed:
            return None
        return (min(leaf["cur"] for leaf in placed) // g * g,
                up(max(leaf["cur"] + leaf["size"] for leaf in placed), g))

    def fits(parent, gone, length, align):
        """Whether a window of `length` finds a gap in what `parent` holds without bridge `gone`."""
        low, high = (inst["low"], inst["high"]) if parent < 0 else hull(parent) or (0, 0)
        taken = [(leaf["cur"], leaf["cur"] + leaf["size"]) for leaf in tree.leaves[parent] if leaf["cur"] >= 0]
        taken += [h for c in tree.kids[parent] if c != gone and (h := hull(c))]
        at = low
        for first, after in sorted(taken) + [(high, high)]:
            if up(at, align) + length <= first:
                return True
            at = max(at, after)
        return False

    # The nearest removal that holds all that is new.
    chain = []
    b = new[0]["bridge"]
    while b >= 0:
        chain.append(b)
        b = inst["bridges"][b]
    chain = [b for b in chain if all(leaf in tree.below(b) for leaf in new)]
    for b in chain:
        cost = weight(tree.below(b))
        if cost is None:
            return None
        length, align = tree.size(b)
        if fits(inst["bridges"][b], b, length, align):
            return cost
    cost = weight(tree.below(-1))
    return cost if cost is not None and tree.size(-1, inst["low"])[0] <= inst["high"] else None
