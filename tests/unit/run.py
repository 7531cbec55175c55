#!/usr/bin/env python3
"""Runs unit test programs and adds up their results: prints the tests that fail, a line per program, the total.

Usage: run.py PROGRAM...

Invariant: a program that dies, hangs or runs no test counts as a failure of its own, whatever it had reported.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

TIMEOUT = 60  # seconds for one program


def run(program):
    """(passed, failed, skipped, what to show)."""
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", UBSAN_OPTIONS="print_stacktrace=1")
    try:
        done = subprocess.run([program], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return 0, 1, 0, f"{program}: still running after {TIMEOUT} s\n"
    out, err = (b.decode(errors="replace") for b in (done.stdout, done.stderr))
    results = re.findall(r"^(ok|not ok) \d+(?:.*(# SKIP))?", out, re.M)
    failed = sum(r[0] == "not ok" for r in results)
    skipped = sum(bool(r[1]) for r in results)
    passed = len(results) - failed - skipped
    if done.returncode and not failed:
        failed = 1
        err += f"{program}: exit status {done.returncode}\n"
    if not results:
        failed = max(failed, 1)
        err += f"{program}: ran no test\n"
    return passed, failed, skipped, out + err if failed else ""


def main(programs):
    total = [0, 0, 0]
    for program in programs:
        *counts, text = run(program)
        sys.stdout.write(text)
        print(f"  {Path(program).name}: {counts[0]} passed, {counts[1]} failed")
        total = [a + b for a, b in zip(total, counts)]
    print(f"{total[0]} passed, {total[1]} failed" + (f", {total[2]} skipped" if total[2] else ""))
    return 1 if total[1] or not sum(total) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
