#!/usr/bin/env python3
"""Line coverage of the nested engine by its unit tests: runs the programs built with --coverage and adds up what gcov saw of them.

Usage: coverage.py [--goal PERCENT] PREFIX PROGRAM...   e.g. coverage.py --goal 95 vmx/nested_ build/coverage/test_nested_insn

Beside the programs it leaves, for each source, SOURCE.gcov: how often each line ran in all programs together, ##### for never.

Invariant: a line counts as run if any program ran it; counts of earlier runs do not count.
"""
import argparse
import collections
import glob
import json
import subprocess
import sys
from pathlib import Path

TIMEOUT = 60  # seconds for one program


def counters(program):
    """The files with a program's counters: the compiler names them after it."""
    return glob.glob(f"{glob.escape(program)}-*.gcda")


def run(program):
    """True if it passed."""
    for old in counters(program):
        Path(old).unlink()
    done = subprocess.run([program], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
    if done.returncode:
        print(done.stdout + done.stderr + f"{program}: exit status {done.returncode}")
    return not done.returncode


def collect(program, prefix, lines):
    """Adds to lines, {source: {number: count}}, what gcov knows about this program."""
    files = counters(program)
    if not files:
        return
    done = subprocess.run(["gcov", "--json-format", "--stdout", *files], capture_output=True, text=True, check=True)
    for text in done.stdout.splitlines():
        for source in json.loads(text)["files"]:
            if source["file"].startswith(prefix):
                for line in source["lines"]:
                    lines[source["file"]][line["line_number"]] += line["count"]


def annotate(source, counts, folder):
    with open(folder / (Path(source).name + ".gcov"), "w", encoding="utf-8") as out:
        for number, text in enumerate(Path(source).read_text(encoding="utf-8").splitlines(), 1):
            count = "-" if number not in counts else counts[number] or "#####"
            out.write(f"{count:>9}:{number:5}:{text}\n")


def percent(done, of):
    return 100 * done / of if of else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--goal", type=float, default=0)
    parser.add_argument("prefix")
    parser.add_argument("programs", nargs="+")
    options = parser.parse_args()
    folder = Path(options.programs[0]).parent
    lines = collections.defaultdict(collections.Counter)
    ok = True
    for program in options.programs:
        ok &= run(program)
        collect(program, options.prefix, lines)
    for source in sorted(set(glob.glob(f"{glob.escape(options.prefix)}*.c")) - set(lines)):
        print(f"coverage: {source}: in none of the programs")
        ok = False
    ran = total = 0
    for source, counts in sorted(lines.items()):
        annotate(source, counts, folder)
        some, of = sum(c > 0 for c in counts.values()), len(counts)
        print(f"  {source}: {some} of {of} lines, {percent(some, of):.1f} %")
        ran, total = ran + some, total + of
    reached = percent(ran, total)
    print(f"coverage: {options.prefix}*: {ran} of {total} lines, {reached:.1f} %")
    if reached < options.goal:
        print(f"coverage: below {options.goal:.0f} %: see the lines marked ##### in {folder}/*.gcov")
        ok = False
    print("1 passed, 0 failed" if ok else "0 passed, 1 failed")
    return not ok


if __name__ == "__main__":
    sys.exit(main())
