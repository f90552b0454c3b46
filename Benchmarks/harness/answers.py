#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Records what the tool answers on many inputs, so that two builds can be compared.

    answers.py TOOL DIRECTORY -- INPUT... : one file per input and command below DIRECTORY
    diff -r BEFORE AFTER

An input is a file or a directory that --from takes. The tool is given 120 seconds of processor time for each answer; one
that needs more is recorded as such.
"""
import pathlib
import resource
import subprocess
import sys

COMMANDS = {
    "plan": ["plan", "--json"],
    "plan-text": ["plan"],
    "compare": ["compare", "--json"],
    "cmdline": ["cmdline"],
}


def main():
    tool, out = sys.argv[1], pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for path in sys.argv[sys.argv.index("--") + 1:]:
        name = path.strip("/").replace("/", "_")
        for word, arguments in COMMANDS.items():
            run = subprocess.run(
                [tool, *arguments, "--from", path], capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (120, 121)))
            text = run.stdout if run.returncode >= 0 else "more than 120 seconds\n"
            (out / f"{name}.{word}").write_text(f"exit {run.returncode}\n{text}")


if __name__ == "__main__":
    main()
