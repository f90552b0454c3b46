#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Solves instances with CP-SAT (PyPI ortools), with solver-bench and as the kernel would, and compares.

    compare.py --bench PATH FILE... [--limit SECONDS] [--steps N] [--workers N] [--out CSV]

Both see the same instances in one run. Prints a table per file and every disagreement.
"""
import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import threading
import time

from kernel_style import kernel_style
from ortools.sat.python import cp_model


class Watch(threading.Thread):
    """Stops a search when the process has used `limit` seconds of processor time since."""

    def __init__(self, solver, limit):
        super().__init__(daemon=True)
        self.solver, self.limit, self.done = solver, limit, threading.Event()
        self.began = time.process_time()

    def run(self):
        while not self.done.wait(0.2):
            if time.process_time() - self.began > self.limit:
                self.solver.StopSearch()
                return


def cpsat(inst, limit, workers):
    began = time.process_time()
    m = cp_model.CpModel()
    g = inst["granule"]
    low, high = inst["low"], inst["high"]
    n = len(inst["bridges"])
    kids = {b: [] for b in range(-1, n)}
    for b, p in enumerate(inst["bridges"]):
        kids[p].append(("b", b))
    for i, leaf in enumerate(inst["leaves"]):
        kids[leaf["bridge"]].append(("l", i))
    has = {}

    def any_leaf(b):
        if b not in has:
            has[b] = any(k == "l" or any_leaf(i) for k, i in kids[b])
        return has[b]

    if inst["family"] == "A":
        high = 2 * sum(max(l["size"], g) for l in inst["leaves"]) + 4 * max(l["size"] for l in inst["leaves"]) + g * n
    moved = []
    if inst["family"] != "A":
        for d, dev in enumerate(inst["devices"]):
            moved.append(m.NewBoolVar(f"m{d}") if dev["weight"] >= 0 else m.NewConstant(0))
    x = []
    for i, leaf in enumerate(inst["leaves"]):
        a = leaf["align"]
        y = m.NewIntVar(-(-low // a), max(-(-low // a), (high - leaf["size"]) // a), f"y{i}")
        x.append((y, a))
        if inst["family"] != "A" and leaf["cur"] >= 0:
            m.Add(y == leaf["cur"] // a).OnlyEnforceIf(moved[leaf["device"]].Not())
    ws, we = {}, {}
    for b in range(n):
        if any_leaf(b):
            ws[b] = m.NewIntVar(low // g, high // g, f"s{b}")
            we[b] = m.NewIntVar(low // g, high // g, f"e{b}")
    end = m.NewIntVar(low, high, "end")
    for b in range(-1, n):
        if b >= 0 and not any_leaf(b):
            continue
        intervals = []
        for kind, i in kids[b]:
            if kind == "l":
                y, a = x[i]
                size = inst["leaves"][i]["size"]
                intervals.append(m.NewIntervalVar(y * a, size, y * a + size, f"il{i}"))
                if b >= 0:
                    m.Add(ws[b] * g <= y * a)
                    m.Add(y * a + size <= we[b] * g)
                else:
                    m.Add(y * a + size <= end)
                if inst["leaves"][i].get("header"):
                    m.Add(ws[b] == y)
            elif any_leaf(i):
                length = m.NewIntVar(g, high - low, f"n{i}")
                intervals.append(m.NewIntervalVar(ws[i] * g, length, we[i] * g, f"iw{i}"))
                if b >= 0:
                    m.Add(ws[b] <= ws[i])
                    m.Add(we[i] <= we[b])
                else:
                    m.Add(we[i] * g <= end)
        if len(intervals) > 1:
            m.AddNoOverlap(intervals)
    if inst["family"] == "A":
        m.Minimize(end)
    else:
        m.Minimize(sum(dev["weight"] * moved[d] for d, dev in enumerate(inst["devices"]) if dev["weight"] >= 0
                       and any(l["device"] == d and l["cur"] >= 0 for l in inst["leaves"])))
    s = cp_model.CpSolver()
    # The limit is processor time, so that other work on the machine takes nothing away from CP-SAT.
    s.parameters.max_time_in_seconds = limit * 20
    s.parameters.num_workers = workers
    built = time.process_time()
    watch = Watch(s, limit)
    watch.start()
    status = s.Solve(m)
    watch.done.set()
    solved = time.process_time() - built
    word = {cp_model.OPTIMAL: "optimal", cp_model.FEASIBLE: "feasible", cp_model.INFEASIBLE: "infeasible"}.get(
        status, "unknown")
    value = int(s.ObjectiveValue()) if status in (cp_model.OPTIMAL, cp_model.FEASIBLE) else None
    if value is not None and inst["family"] == "A":
        value = (value + g - 1) // g * g
    # `solve` is the solver's own time, `total` includes building the model.
    return dict(status=word, value=value, total=(time.process_time() - began) * 1000, solve=solved * 1000,
                bound=s.BestObjectiveBound() if value is not None else None)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("files", nargs="+")
    p.add_argument("--bench", required=True)
    p.add_argument("--limit", type=float, default=60)
    p.add_argument("--steps", default="1000000")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--out")
    p.add_argument("--cache", help="JSON file of CP-SAT answers by instance name; read, extended and written back")
    p.add_argument("--only-cpsat", action="store_true", help="fill the cache, run nothing else")
    a = p.parse_args()
    rows = []
    ratios = []
    closed_all = same_all = wrong_all = rejected_all = 0
    cache = {}
    if a.cache and os.path.exists(a.cache):
        cache = json.load(open(a.cache))
    for path in a.files:
        instances = [json.loads(line) for line in open(path)]
        for inst in instances:
            if inst["name"] not in cache:
                cache[inst["name"]] = cpsat(inst, a.limit, a.workers)
                if a.cache:
                    json.dump(cache, open(a.cache, "w"))
        if a.only_cpsat:
            continue
        out = subprocess.run([a.bench, path, a.steps], capture_output=True, text=True)
        if out.returncode:
            print(out.stderr)
        ours = {}
        for line in out.stdout.splitlines():
            r = json.loads(line)
            ours[r["name"]] = r
        same = worse = missed = wrong = closed = proved = rejected = infeasible = agree_inf = 0
        ct, ot = [], []
        kernel_none = kernel_same = kernel_rows = 0
        kernel_excess = []
        for inst in instances:
            c = cache[inst["name"]]
            o = ours.get(inst["name"], dict(status="crashed", cost=-1, bound=-1, milliseconds=0, defects=["crashed"]))
            kernel = kernel_style(inst)
            if c["status"] == "optimal":
                kernel_rows += 1
                kernel_none += kernel is None
                kernel_same += kernel == c["value"]
                if kernel is not None and c["value"]:
                    kernel_excess.append(kernel / c["value"])
            rows.append(dict(file=os.path.basename(path), name=inst["name"], functions=len(inst["devices"]), leaves=len(inst["leaves"]),
                             cpsat=c["status"], cpsat_value=c["value"], kernel_value=kernel, cpsat_ms=round(c["solve"], 3),
                             cpsat_total_ms=round(c["total"], 3), ours=o["status"], ours_value=o["cost"],
                             ours_bound=o["bound"], ours_ms=o["milliseconds"]))
            ct.append(c["solve"])
            ot.append(o["milliseconds"])
            note = ""
            if o["defects"]:
                rejected += 1
                note = "REJECTED " + o["defects"][0]
            if o["status"] == "optimal":
                proved += 1
                if c["value"] is not None and c["value"] < o["cost"]:
                    wrong += 1
                    note = "WRONG PROOF"
                if c["status"] == "infeasible":
                    wrong += 1
                    note = "LAYOUT FOR INFEASIBLE"
            if o["status"] == "infeasible":
                if c["value"] is not None:
                    wrong += 1
                    note = "WRONG CONFLICT"
            if o["bound"] >= 0 and c["value"] is not None and o["bound"] > c["value"] and o["status"] != "infeasible":
                note = note or "WRONG BOUND"
                wrong += note == "WRONG BOUND"
            if c["status"] == "optimal":
                closed += 1
                if o["cost"] == c["value"]:
                    same += 1
                elif o["cost"] < 0:
                    missed += 1
                    note = note or "MISSED"
                else:
                    worse += 1
                    note = note or "worse"
            elif c["status"] == "infeasible":
                infeasible += 1
                agree_inf += o["status"] == "infeasible"
                if o["status"] != "infeasible":
                    note = note or "not proved infeasible"
            elif c["value"] is not None and o["cost"] >= 0 and o["cost"] < c["value"]:
                note = note or "better than CP-SAT"
            elif c["value"] is not None and (o["cost"] < 0 or o["cost"] > c["value"]):
                note = note or "worse than open CP-SAT"
            if note:
                print(f"  {inst['name']}: cp-sat {c['status']} {c['value']} {c['solve']:.0f} ms; ours {o['status']} "
                      f"{o['cost']} bound {o['bound']} {o['milliseconds']:.1f} ms  {note}")
        print(f"{path}: {len(instances)} instances; CP-SAT optimal {closed}: same {same}, worse {worse}, missed {missed};"
              f" infeasible {infeasible}: agree {agree_inf}; our proofs {proved}, wrong {wrong}, rejected {rejected};"
              f" ms median/max CP-SAT {statistics.median(ct):.1f}/{max(ct):.0f}"
              f" ours {statistics.median(ot):.3f}/{max(ot):.1f};"
              f" ratio of medians {statistics.median(ct) / max(statistics.median(ot), 1e-6):.0f};"
              f" kernel style same {kernel_same} of {kernel_rows}, none {kernel_none}, times the optimum"
              f" {statistics.median(kernel_excess) if kernel_excess else 0:.2f}", flush=True)
        closed_all += closed
        same_all += same
        wrong_all += wrong
        rejected_all += rejected
        ratios.extend(c / max(o, 1e-6) for c, o in zip(ct, ot))
    if ratios:
        print(f"all: CP-SAT optimal {closed_all}: same {same_all}, wrong {wrong_all}, rejected {rejected_all};"
              f" median of the ratios of times {statistics.median(ratios):.0f}", flush=True)
    if a.out and rows:
        with open(a.out, "w", newline="") as f:
            w = csv.DictWriter(f, fieldnames=list(rows[0]))
            w.writeheader()
            w.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
