#!/usr/bin/env python3
"""Runs the scenarios of tests/scenarios.toml, one machine at a time.

    run.py [--list] [--only PATTERN] [--long] [--verbose]

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

import options      # noqa: E402
import paths        # noqa: E402
import scenario     # noqa: E402


def parse(argv):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--list", action="store_true", help="only name the scenarios")
    p.add_argument("--only", action="append", default=[], metavar="PATTERN",
                   help="those whose name matches (shell pattern, or a part of the name); may be repeated")
    p.add_argument("--long", action="store_true", help="also those marked as long")
    p.add_argument("--verbose", action="store_true", help="show the consoles")
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
    verdicts = [run_one(s, args, path.parent) for s in scenarios if chosen(s, args)]
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
