#!/usr/bin/env python3
"""`make run`: Nestling in Nestling with a guest on a virtual function, traffic with a stock Linux network stack, the table.

    main_run.py [--write-bundle FILE]      FILE: only write L0's bundle there (make image)

Options come as environment variables (make help): DEPTH CPUS MACHINE CPU_MODEL GUEST GUEST_CMDLINE GUEST_MODULES
BUNDLE COUNT SCENARIO TRACE.
SCENARIO=switch shows a ping through twenty switches (switch_run.py); the name of a scenario of tests/scenarios.toml runs that one.
TRACE=1 switches the trace of every level on and decodes it (trace.py) into trace.txt of the run's directory.
Exit status: 0 only if the traffic was correct (a guest of one's own: only if it ended with code 0).
"""
import argparse
import os
import signal
import sys
from pathlib import Path

import spine    # first: it tells Python where the machine's modules are

import cpio
import image
import options
import paths
import run as scenarios_run
import scenario
import switch_run
import table
import trace
from machine import Ended, Hang, InfrastructureError, Machine

HANG = 300
MAX_DEPTH = 16  # what is too deep for the machine's memory says so itself


def setting(name, default):
    return os.environ.get(name) or default


class Run:
    def __init__(self):
        self.depth = int(setting("DEPTH", "2"))
        self.cpus = int(setting("CPUS", "1"))
        self.kind = setting("MACHINE", "cosim")
        self.own_guest = "GUEST" in os.environ and bool(os.environ["GUEST"])
        self.own_bundle = setting("BUNDLE", None)
        self.count = int(setting("COUNT", "20000"))
        self.scenario = setting("SCENARIO", "main")
        self.trace = setting("TRACE", "0") != "0"
        self.dir = paths.BUILD / "run" / f"{self.scenario}-{self.kind}-depth{self.depth}-smp{self.cpus}"
        if not 1 <= self.depth <= MAX_DEPTH:
            sys.exit(f"DEPTH is 1 to {MAX_DEPTH}")
        if self.cpus not in (1, 2, 4):
            sys.exit("CPUS is 1, 2 or 4")
        if self.scenario != "main" and (self.own_guest or self.own_bundle):
            sys.exit("SCENARIO has guests of its own: no GUEST, no BUNDLE")
        if self.trace and (self.own_bundle or self.scenario not in ("main", "switch")):
            sys.exit("TRACE is for our own bundle: in another one, write trace = on into [nestling] of each nestling.cfg")

    @property
    def plain(self):
        """The run whose traffic we know how to check."""
        return not self.own_guest and not self.own_bundle

    def guest(self):
        if self.own_guest:
            return spine.Guest(setting("GUEST", None), setting("GUEST_CMDLINE", ""), setting("GUEST_MODULES", "").split(),
                               memory=256, cpus=range(self.cpus))
        if self.scenario == "switch":
            return switch_run.guest()
        words = f"echo blast ip={spine.GUEST_IP} peer={spine.HOST_IP} port={spine.PORT} count={self.count}"
        return spine.Guest(cmdline=setting("GUEST_CMDLINE", words))

    def bundle(self):
        if self.own_bundle:
            path = Path(self.own_bundle)
            return cpio.archive(cpio.read_directory(path)) if path.is_dir() else path.read_bytes()
        return cpio.archive(spine.bundle(self.depth, self.guest(), self.cpus, spine.HEAD + (spine.TRACE if self.trace else "")))

    def machine_options(self):
        self.dir.mkdir(parents=True, exist_ok=True)
        disk = self.dir / "disk.img"
        image.make_nestling(disk, paths.built("nestling.efi", "Nestling"), self.bundle())
        extra = {"cpu_model": os.environ["CPU_MODEL"]} if os.environ.get("CPU_MODEL") else {}
        memory = options.Options.memory if self.depth <= 2 else options.MAX_MEMORY
        return options.Options(kind=self.kind, cpus=self.cpus, disk=str(disk), memory=memory, **extra)


def traffic(m, run):
    if reason := m.expect(r"guest: echo: ready|cannot start: (.*)", HANG).group(1):
        raise spine.TrafficError(f"a guest was expected, but Nestling does not start: {reason}")
    print("main: " + spine.ping(m), flush=True)
    print(f"main: UDP echo: {spine.udp_echo(m)} datagrams there and back", flush=True)
    peer = spine.start_blast(m, run.dir)
    result = spine.finish_blast(peer, run.dir, HANG)
    print(f"main: blast: {result}", flush=True)


def drive(m, run):
    """Exit code, and the rows to print at the end."""
    if run.scenario == "switch":
        if not m.tap:
            raise spine.TrafficError(f"no Linux to ping from: {m.without_tap}")
        rows, good = switch_run.drive(m, run.depth, show)
        return 0 if good else 1, rows
    return drive_main(m, run), table.lines(m.reports)


def drive_main(m, run):
    if run.plain and m.tap:
        traffic(m, run)
    for line in m.follow(HANG):
        if line == "[L0] halted":
            raise spine.TrafficError("Nestling halted: the console says why")
    code = m.wait(HANG)
    m.reports.write(run.dir / "report.json")
    if run.plain and not m.tap:
        raise spine.TrafficError(f"no traffic with Linux: {m.without_tap}")
    return code


def show(line):
    if "] @trace " not in line:
        print(line, flush=True)


def write_trace(m, run):
    """What the levels traced, if they did, as text."""
    seen = trace.Trace(m.lines)
    if seen.ends:
        text = list(trace.to_text(seen))
        path = run.dir / "trace.txt"
        path.write_text("\n".join(text) + "\n")
        print(f"main: trace in {path.relative_to(paths.REPO)}: {text[-1]}")


def run_scenario(name):
    """One of tests/scenarios.toml, by its name; else says what there is."""
    stanzas = spine.TESTS / "scenarios.toml"
    scenarios = scenario.load(stanzas)
    for s in scenarios:
        if s.label == name:
            return 0 if scenarios_run.run_one(s, argparse.Namespace(verbose=True), stanzas.parent) == "PASS" else 1
    return switch_run.unknown(name, scenarios)


def main(argv):
    run = Run()
    if argv[:1] == ["--write-bundle"] and len(argv) == 2:
        Path(argv[1]).write_bytes(run.bundle())
        return 0
    if run.scenario not in ("main", "switch"):
        return run_scenario(run.scenario)
    print(f"main: machine {run.kind}, {run.cpus} CPU(s), depth {run.depth}; log in {run.dir.relative_to(paths.REPO)}", flush=True)
    m = Machine(run.machine_options(), run.dir, show)
    try:
        with m:
            code, rows = drive(m, run)
    except (spine.TrafficError, Hang, Ended) as e:
        print(f"main: FAILED: {e}; log {run.dir.relative_to(paths.REPO)}/console.log", file=sys.stderr)
        return 1
    except InfrastructureError as e:
        print(f"main: the machine failed: {e}", file=sys.stderr)
        return 2
    print("\n".join(rows))
    write_trace(m, run)
    print(f"main: exit code {code}; report in {(run.dir / 'report.json').relative_to(paths.REPO)}")
    return code


def terminate(signum, frame):
    signal.signal(signum, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, terminate)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
