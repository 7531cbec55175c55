#!/usr/bin/env python3
"""Runs several test commands and ends with one line: the sum of the "N passed, N failed" lines they end with.

Usage: total.py COMMAND...   (each a shell command line)

Invariant: a command that fails without counting a failure, or that prints no such line, counts as one failure.
"""
import re
import subprocess
import sys

SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")


def run(command):
    """[passed, failed, skipped] of one command; its output passes through."""
    counts = None
    with subprocess.Popen(command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          errors="replace") as process:
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            found = SUMMARY.match(line.strip())
            if found:
                counts = [int(n or 0) for n in found.groups()]
    if counts is None:
        print(f"total: no result from: {command}")
        return [0, 1, 0]
    if process.returncode and not counts[1]:
        print(f"total: exit status {process.returncode} from: {command}")
        counts[1] = 1
    return counts


def main(commands):
    try:
        total = [sum(column) for column in zip(*map(run, commands))]
    except KeyboardInterrupt:
        return 130
    print()
    print(f"{total[0]} passed, {total[1]} failed" + (f", {total[2]} skipped" if total[2] else ""))
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
