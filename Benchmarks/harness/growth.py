#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How cost grows with the machine: processor seconds and peak memory of whole commands on generated machines.

    growth.py TOOL [--sizes 64,256,1024] [--shapes ports,...] [--missing none,many] [--commands plan,...] [--limit 60]
              [--beside OTHER_TOOL]

One line for each shape, state and command: seconds and MB at every size, and the exponent of the least squares line through
the logarithms. With --beside, the second tool runs right after the first on the same file, and ratios are printed instead
of seconds of the machine. A run that takes more than --limit processor seconds is printed as "> limit".
"""
import argparse
import json
import math
import os
import platform
import resource
import subprocess
import tempfile

from machines import machine


def run(tool, arguments, path, limit):
    """Processor seconds and peak MB; None for seconds beyond the limit."""
    process = subprocess.Popen(
        [tool, *arguments, "--from", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1)))
    _, status, usage = os.wait4(process.pid, 0)
    seconds = usage.ru_utime + usage.ru_stime
    return (None if os.WIFSIGNALED(status) else seconds), usage.ru_maxrss / 1024


def exponent(points):
    points = [(math.log(n), math.log(max(s, 0.001))) for n, s in points if s is not None]
    if len(points) < 2:
        return None
    x, y = (sum(p[i] for p in points) / len(points) for i in (0, 1))
    below = sum((p[0] - x) ** 2 for p in points)
    return sum((p[0] - x) * (p[1] - y) for p in points) / below if below else None


def first_empty_port(snapshot):
    taken = {f["parent"] for f in snapshot["functions"]}
    for f in snapshot["functions"]:
        # A port with a slot that nothing is behind: PCI Express capability at 0x40 with the slot bit.
        if f["classCode"] == "0x060400" and f["address"] not in taken and f["config"][0x42 * 2 + 2] == "1":
            return f["address"]
    return next(f["address"] for f in snapshot["functions"] if f["classCode"] == "0x060400" and f["parent"] == "root")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("--sizes", default="64,256,1024")
    parser.add_argument("--shapes", default="ports,chains,shelf,tight,mixed")
    parser.add_argument("--missing", default="none,many")
    parser.add_argument("--commands", default="check,plan,fit,compare,cmdline")
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--beside")
    options = parser.parse_args()
    sizes = [int(n) for n in options.sizes.split(",")]
    print(f"{platform.machine()}, {os.cpu_count()} processors, {platform.system()} {platform.release()}, "
          f"load {os.getloadavg()[0]:.1f}")
    print("| shape, missing | command | " + " | ".join(map(str, sizes)) + " | exponent |")
    print("| --- | --- |" + " --- |" * (len(sizes) + 1))
    with tempfile.TemporaryDirectory() as directory:
        for shape in options.shapes.split(","):
            for missing in options.missing.split(","):
                paths = {}
                for n in sizes:
                    snapshot = machine(shape, n, missing)
                    paths[n] = (os.path.join(directory, f"{shape}-{missing}-{n}.json"), first_empty_port(snapshot))
                    with open(paths[n][0], "w") as file:
                        json.dump(snapshot, file)
                for command in options.commands.split(","):
                    if command == "plan" and missing == "none":
                        continue
                    cells, points = [], []
                    for n in sizes:
                        path, port = paths[n]
                        arguments = ["fit", port, "--profile", "gpu-256m"] if command == "fit" else [command]
                        seconds, memory = run(options.tool, arguments, path, options.limit)
                        points.append((n, seconds))
                        cell = f"> {options.limit}" if seconds is None else f"{seconds:.2f}"
                        if options.beside:
                            other, more = run(options.beside, arguments, path, options.limit)
                            cell += f" / {'> ' + str(options.limit) if other is None else format(other, '.2f')}"
                            cell += f", {memory:.0f} / {more:.0f} MB"
                        else:
                            cell += f", {memory:.0f} MB"
                        cells.append(cell)
                    fitted = exponent(points)
                    print(f"| {shape}, {missing} | {command} | " + " | ".join(cells)
                          + f" | {'-' if fitted is None else format(fitted, '.2f')} |", flush=True)


if __name__ == "__main__":
    main()
