#!/usr/bin/env python3
"""Runs the scenarios of tests/scenarios.toml, one machine at a time, or several. Paced ones, which mostly wait, one at a time beside them.

    run.py [--list] [--only PATTERN] [--long] [--verbose] [--jobs N]

Each ends with a line "PASS name", "FAIL name: expected ..., saw ..., log ..." or "SKIP name: why"; the last line is
"N passed, N failed" (and ", N skipped"). Status: 0 all passed, 1 something failed, 2 bad scenario file.
"""
import argparse
import fnmatch
import signal
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS / "machine"))

import jobs         # noqa: E402
import options      # noqa: E402
import paths        # noqa: E402
import scenario     # noqa: E402

STATUS = {"PASS": 10, "FAIL": 11, "SKIP": 12}      # of one scenario alone: not what a Python that breaks off ends with


def parse(argv):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--list", action="store_true", help="only name the scenarios")
    p.add_argument("--only", action="append", default=[], metavar="PATTERN",
                   help="those whose name matches (shell pattern, or a part of the name); may be repeated")
    p.add_argument("--long", action="store_true", help="also those marked as long")
    p.add_argument("--verbose", action="store_true", help="show the consoles")
    p.add_argument("--jobs", type=int, default=1, metavar="N", help="machines at a time, as far as there is memory")
    p.add_argument("--alone", metavar="NAME", help=argparse.SUPPRESS)      # this one, without a sum; the status says what came out
    p.add_argument("--file", default=str(TESTS / "scenarios.toml"), help=argparse.SUPPRESS)
    return p.parse_args(argv)


def chosen(s, args):
    if args.only:
        return any(fnmatch.fnmatch(s.label, pattern) or pattern in s.label for pattern in args.only)
    return args.long or not s.long


def show(line):
    print("    " + line, flush=True)


def run_one(s, args, folder):
    """"PASS", "FAIL" or "SKIP"; prints the verdict."""
    run_dir = paths.BUILD / "run" / s.label
    log = f"log {(run_dir / 'console.log').relative_to(paths.REPO)}"
    if not args.alone:
        print(f"RUN  {s.label}", file=sys.stderr, flush=True)
    try:
        scenario.run(s, folder, run_dir, show if args.verbose else None)
    except scenario.Skip as e:
        print(f"SKIP {s.label}: {e}", flush=True)
        return "SKIP"
    except scenario.Failure as e:
        print(f"FAIL {s.label}: {e}, {log}", flush=True)
        return "FAIL"
    except (scenario.InfrastructureError, scenario.BadScenario, options.BadOption, paths.Missing) as e:
        print(f"FAIL {s.label}: expected a working machine, saw: {e}, {log}", flush=True)
        return "FAIL"
    print(f"PASS {s.label}", flush=True)
    return "PASS"


def lanes_of(chosen_ones, args):
    """The scenarios that run one after the other, or so many at a time; a lane of their own for paced ones if there is memory for it."""
    paced = [s for s in chosen_ones if s.paced]
    others = [s for s in chosen_ones if not s.paced]
    if args.verbose or not paced or not others or jobs.machines(args.jobs + 1) <= args.jobs:
        return [(chosen_ones, jobs.machines(args.jobs))]
    return [(others, args.jobs), (paced, 1)]


def run_beside(lanes, args):
    """Each in a process of its own; the verdicts."""
    names = {value: name for name, value in STATUS.items()}
    verdicts = []

    def begun(label):
        print(f"RUN  {label}", file=sys.stderr, flush=True)

    def ended(label, status, output):
        print(output, end="", flush=True)
        if status not in names:
            print(f"FAIL {label}: expected a verdict, saw the runner end with status {status}", flush=True)
        verdicts.append(names.get(status, "FAIL"))

    own = [sys.executable, str(Path(__file__).resolve()), "--file", args.file]
    jobs.run([jobs.Lane([(s.label, [*own, "--alone", s.label]) for s in lane], at_a_time) for lane, at_a_time in lanes], begun, ended)
    return verdicts


def terminate(signum, frame):
    signal.signal(signum, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(argv):
    args = parse(argv)
    path = Path(args.file)
    try:
        scenarios = scenario.load(path)
    except (scenario.BadScenario, OSError, ValueError) as e:
        print(f"run: {e}", file=sys.stderr)
        return 2
    if args.list:
        for s in scenarios:
            print(f"{s.label:40} {'long ' if s.long else '     '} {s.spec.get('about', '')}".rstrip())
        return 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, terminate)
    if args.alone:
        return STATUS[run_one(next(s for s in scenarios if s.label == args.alone), args, path.parent)]
    chosen_ones = [s for s in scenarios if chosen(s, args)]
    lanes = lanes_of(chosen_ones, args)
    if (args.jobs > 1 or len(lanes) > 1) and not args.verbose:
        verdicts = run_beside(lanes, args)
    else:
        verdicts = [run_one(s, args, path.parent) for s in chosen_ones]
    skipped = verdicts.count("SKIP")
    print(f"{verdicts.count('PASS')} passed, {verdicts.count('FAIL')} failed" +
          (f", {skipped} skipped" if skipped else ""), flush=True)
    return 1 if "FAIL" in verdicts or not verdicts else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
