#!/usr/bin/env python3
"""`make bench`: exact counts of the default machine: exits, instructions, interrupts, sizes. Time is never measured.

Rows that are the same in every run are kept in tests/bench.txt; where they differ from it both are shown, and
BENCH_UPDATE=1 rewrites it. All others are marked with "~"; those of emulation and of switches are also in the file, as one run saw them,
and not compared. Exit status: 0 if everything ran, two runs of the polled traffic counted the same, and no row is above its target
(bench_nest.py); what differs from bench.txt is shown, not judged.
"""
import os
import re
import signal
import subprocess
import sys
from fractions import Fraction

import spine    # first: it tells Python where the machine's modules are

import bench_nest
import bench_outside
import cpio
import image
import options
import paths
from machine import Ended, Hang, InfrastructureError, Machine

KEPT = spine.TESTS / "bench.txt"
HEAD = ["# What `make bench` counted, in rows that every run of the same code repeats. BENCH_UPDATE=1 make bench rewrites it.",
        "# bytes and instructions are also the compiler's: another one makes other numbers.",
        "# A text with ~ is what one run saw; it varies (when packets and interrupts meet is the host's doing) and is not compared.",
        "# Emulation: event indices save our guest nothing over plain virtio. The device does all that a kick asks for inside the exit, so it",
        "# always wants to hear of the very next buffer, which the flag says as well; and the shell turns interrupts off at the first one, until",
        "# the ring is empty. They would save what a driver with interrupts on while it works, or for sent frames, takes too many of."]
SEEN = "seen"   # instead of kept: shown in the file, not compared
POLLED, EXITS = 100000, 1000
# With a window of 1 the guest has nothing to do until the next packet comes: it halts.
INTERRUPT_ROWS = (("interrupts, the vCPU runs", "irq", 20000, " irq=1"),
                  ("interrupts, self-armed, the vCPU runs", "post", 20000, " irq=1 post=1"),
                  ("interrupts, the vCPU halts (window of 1 packet)", "halt", 2000, " halt=1 window=1"))
EMULATED_ROWS = (("polled, event indices", "event", " virtio=event"), ("polled, plain", "plain", " virtio=plain"),
                 ("interrupts, event indices", "irq-event", " irq=1 virtio=event"), ("interrupts, plain", "irq-plain", " irq=1 virtio=plain"))
EMULATED = 2000
SWITCHES, STEP = 100, 24    # datagrams of each kind between two switches, and the window
EXIT_PHASES = ("exits-cpuid", "exits-vmcall", "exits-io", "exits-rdmsr", "exits-mmio")
LIMIT = 300


class Failed(Exception):
    """A run that did not do what is to be counted."""


# --- runs ------------------------------------------------------------------------------------------------------------

class Run:
    """One boot of the machine, and the counts in its reports."""

    def __init__(self, name, depth, words, packets=0, machine=None, inner_vmx=True, **guest):
        """machine: more options of it. inner_vmx: of spine.bundle. guest: more of spine.Guest."""
        self.name, self.depth, self.packets = f"bench-{name}-depth{depth}", depth, packets
        self.dir = paths.BUILD / "run" / self.name
        self.levels = ["inner/" * i + f"L{i}" for i in range(depth)]
        self.guest = "inner/" * (depth - 1) + "guest"
        print(f"bench: {self.name}: {words}", flush=True)
        quiet = {} if packets else {"nic": "none"}     # no interrupt of a link that comes up while exits are counted
        self.reports = self.boot(words, quiet | (machine or {}), inner_vmx, guest)

    def boot(self, words, machine, inner_vmx, guest):
        self.dir.mkdir(parents=True, exist_ok=True)
        disk = self.dir / "disk.img"
        bundle = cpio.archive(spine.bundle(self.depth, spine.Guest(cmdline=words, **guest), inner_vmx=inner_vmx))
        image.make_nestling(disk, paths.built("nestling.efi", "Nestling"), bundle)
        with Machine(options.Options(disk=str(disk), **machine), self.dir) as m:
            if self.packets:
                self.traffic(m)
            code = m.wait(LIMIT)
            if code:
                raise Failed(f"{self.name}: expected exit code 0, saw {code}; log {self.dir.relative_to(paths.REPO)}/console.log")
            m.reports.write(self.dir / "report.json")
        return m.reports

    def traffic(self, m):
        result = spine.finish_blast(spine.start_blast(m, self.dir), self.dir, LIMIT)
        got = (result["guest"]["rx_data"], result["peer"]["rx_data"])
        if got != (self.packets, self.packets):
            raise Failed(f"{self.name}: expected {self.packets} packets each way, saw {got}")

    def sums(self, level, kind, phase):
        return spine.by_phase(self.reports.levels[level], kind).get(phase, {})

    def exits(self, level, phase):
        """By reason; those of a nested guest have the mark ^ (only the outermost level takes them)."""
        nested = self.sums(level, "exits_nested", phase)
        return {**self.sums(level, "exits", phase), **{k + "^": n for k, n in nested.items()}}

    def one(self, level, **wanted):
        """The last report of a level that has these members."""
        found = [e for e in self.reports.levels.get(level, []) if wanted.items() <= e.items()]
        if not found:
            raise Failed(f"{self.name}: {level} has no report {wanted}")
        return found[-1]


NETWORK = f"ip={spine.GUEST_IP} peer={spine.HOST_IP} port={spine.PORT}"


def run_blast(name, depth, count, more="", **guest):
    return Run(name, depth, f"blast {NETWORK} count={count}{more}", count, **guest)


def run_switch(depth):
    words = f"switch {NETWORK} count={SWITCHES} window={STEP} every={STEP}"
    return Run("switch", depth, words, (SWITCHES + 1) * STEP, mode="emulation")


def listed(counts):
    return " ".join(f"{name} {n}" for name, n in sorted(counts.items(), key=lambda x: (-x[1], x[0]))) or "none"


def less(counts, other):
    return {k: counts.get(k, 0) - other.get(k, 0) for k in {**counts, **other} if counts.get(k, 0) != other.get(k, 0)}


# --- rows: (section, label, text, kept) ------------------------------------------------------------------------------

def short(level):
    return level.rsplit("/", 1)[-1]


def beside(rows, runs):
    """The rows of a run at depth 1 and of one at depth 2 in two columns; what only one of them has is a dash in the other."""
    columns = [{(section, label): (text, kept) for section, label, text, kept in rows(run)} for run in runs]
    for section, label in dict.fromkeys(key for c in reversed(columns) for key in c):
        texts = [c.get((section, label), ("-", True))[0] for c in columns]
        kept = min((c[section, label][1] for c in columns if (section, label) in c), key=(False, SEEN, True).index)
        yield section, label, f"{texts[0]:35} {texts[1]}", kept


def boot_rows(run):
    """TSC ticks, which are instructions: of all levels and the guest, from the loader's hand-off (struct bootinfo)."""
    b = run.one("L0", section="boot")
    up = run.one(run.guest, guest="end")["tsc_up"]
    first_vm = b["tsc_first_vm"] - b["tsc_handoff"] - b["waits_first_vm"]
    first_phase = b["tsc_first_phase"] - b["tsc_handoff"] - b["waits_first_phase"]
    name = "boot: instructions from the UEFI hand-off, of all levels and the guest"
    yield name, "to the first VM; L0's waits left out", str(first_vm), False
    yield name, "to the guest's first call, after its first line; L0's waits left out", str(first_phase), False
    yield name, "to the guest's first line; L0's waits included", str(up - b["tsc_handoff"]), False


def polled_rows(run):
    name = f"polled: {run.packets} packets each way, the traffic phase"
    packets = 2 * run.packets
    for level in run.levels:
        exits = run.exits(level, "traffic")
        total = sum(exits.values())
        yield name, f"exits at {short(level)}", f"{total} = {listed(exits)}", True
        yield name, f"exits per packet at {short(level)}, all of them", f"{total}/{packets}", True
        border = run.border.exits(level, "exits-none")
        yield name, f"exits per packet at {short(level)}, without those of an empty phase", f"{sum(less(exits, border).values())}/{packets}", True
    loop = run.one(run.guest, guest="tscloop")
    yield name, "TSC loop: every sample exact", "yes" if loop["exact"] == loop["samples"] > 0 else "no", True
    yield name, "TSC loop: exact/samples", f"{loop['exact']}/{loop['samples']}", False


def interrupt_rows(kind, run):
    name = f"{kind}: {run.packets} packets each way, the traffic phase"
    arrived = run.sums("L0", "counters", "traffic").get("nic_irqs", 0)
    yield name, "interrupts, as L0 took them", str(arrived), False
    nic = run.one(run.guest, guest="nic")
    yield name, "interrupts, as the guest took them, control phase included", str(nic["irqs"]), False
    yield name, "HLTs of the guest, control phase included", str(nic["halts"]), False
    for level in run.levels:
        exits = less(run.exits(level, "traffic"), run.border.exits(level, "exits-none"))
        total = sum(exits.values())
        yield name, f"exits at {short(level)}, without those of an empty phase", f"{total} = {listed(exits)}", False
        yield name, f"exits per interrupt at {short(level)}", f"{total}/{nic['irqs'] if nic['posted'] else arrived}", False


def emulation_rows(kind, run):
    name = f"emulation: exits per packet, {EMULATED} packets each way, the traffic phase without an empty one; pass-through: 0"
    for level in run.levels:
        exits = less(run.exits(level, "traffic"), run.border.exits(level, "exits-none"))
        yield name, f"{kind}: {short(level)}", f"{sum(exits.values()) / (2 * run.packets):.3f}", SEEN
        for reason, n in sorted(exits.items()):
            yield name, f"{kind}: {short(level)}, of them {reason}", f"{n / (2 * run.packets):.3f}", SEEN


def switch_rows(run):
    name = f"{SWITCHES} switches under two-way traffic: instructions from freezing the sender until both directions work"
    for mode in ("passthrough", "emulation"):
        e = run.one(run.guest, guest="switch", to=mode)
        yield name, f"to {mode}: least, mean, most", f"{e['gap_min']} {e['gap_sum'] // e['switches']} {e['gap_max']}", SEEN


def exit_rows(run):
    name = f"one exit of the guest: instructions in the loop of a level (not those of the shortest way), average of {EXITS}"
    for phase in EXIT_PHASES:
        what = phase.removeprefix("exits-")
        count = run.one(run.guest, guest="exits", phase=phase)["count"]
        ticks = run.one(run.guest, guest="exits", phase=phase)["ticks"]
        for level in run.levels:
            exits = less(run.exits(level, phase), run.border.exits(level, "exits-none"))
            cost = less(run.sums(level, "exit_instructions", phase), run.sums(level, "exit_instructions", "exits-none"))
            yield name, f"{what}: exits at {short(level)}", listed({k: Fraction(n, count) for k, n in exits.items()}), True
            per = {k: round(n / count) for k, n in cost.items() if {k, k + "^"} & set(exits)}
            yield name, f"{what}: instructions at {short(level)}", f"{sum(per.values())} = {listed(per)}", True
        yield name, f"{what}: from one to the next, as the guest's TSC sees it", str(round(ticks / count)), True


# --- sizes -----------------------------------------------------------------------------------------------------------

def code_lines(text, suffix):
    """Lines that are neither blank nor only comment."""
    pattern = r'/\*.*?\*/|//[^\n]*|("(?:\\.|[^"\\\n])*")'
    if suffix == ".py":
        pattern = r'"""(?:.*?)"""|#[^\n]*|("(?:\\.|[^"\\\n])*")'
    text = re.sub(pattern, lambda m: m[1] or re.sub(r"[^\n]", "", m[0]), text, flags=re.S)
    return sum(bool(line.strip()) for line in text.splitlines())


def size_rows():
    elf = paths.built("nestling.elf", "Nestling")
    out = subprocess.run(["size", elf], check=True, capture_output=True, text=True).stdout.splitlines()[1].split()
    for label, n in zip(("text and constants", "data", "bss (zeroed at start, not in the file)"), out):
        yield "size of nestling.elf", f"bytes of {label}", n, True
    yield "size of nestling.elf", "bytes of the file", str(elf.stat().st_size), True
    names = subprocess.run(["git", "-C", paths.REPO, "ls-files"], check=True, capture_output=True, text=True).stdout.splitlines()
    trusted = [0, 0]
    for folder in ("boot", "core", "vmx", "iommu", "nic", "guest", "tests"):
        files = [paths.REPO / n for n in names if n.startswith(folder + "/") and n.endswith((".c", ".h", ".S", ".py"))]
        texts = [(f.read_text(), f.suffix) for f in files if f.is_file()]
        lines = sum(t.count("\n") for t, _ in texts)
        code = sum(code_lines(*t) for t in texts)
        if folder not in ("guest", "tests"):
            trusted = [trusted[0] + lines, trusted[1] + code]
        yield "lines (.c .h .S .py): all, and those of code", folder + "/", f"{lines}, {code}", True
    yield "lines (.c .h .S .py): all, and those of code", "trusted: boot core vmx iommu nic", f"{trusted[0]}, {trusted[1]}", True


# --- the whole -------------------------------------------------------------------------------------------------------

SAME_KINDS = ("exits", "exits_nested", "reflected", "hypercalls", "counters", "exit_instructions")


def same_twice(first, second):
    """Fails unless both counted the same in the traffic phase, at every level."""
    for level in first.levels:
        for kind in SAME_KINDS:
            a, b = first.sums(level, kind, "traffic"), second.sums(level, kind, "traffic")
            if a != b:
                raise Failed(f"{first.name}: two runs differ: {level} {kind} in the traffic phase: {a} and {b}")
    kinds = ", ".join(SAME_KINDS)
    return f"polled twice at depth {first.depth}", f"the same {kinds}", "yes", True


def all_rows():
    empty = {d: Run("exits", d, f"exits count={EXITS}") for d in (1, 2)}

    def blast(*args, **guest):
        run = run_blast(*args, **guest)
        run.border = empty[run.depth]
        return run

    for run in empty.values():
        run.border = run
    yield from beside(boot_rows, empty.values())
    polled = [blast("polled", d, POLLED) for d in (1, 2)]
    yield from beside(polled_rows, polled)
    yield same_twice(polled[1], blast("polled-again", 2, POLLED))
    for name, word, count, more in INTERRUPT_ROWS:
        runs = [blast(word, d, count, more) for d in (1, 2)]
        yield from beside(lambda run, name=name: interrupt_rows(name, run), runs)
    for name, word, more in EMULATED_ROWS:
        runs = [blast(f"emulated-{word}", d, EMULATED, more, emulated=True) for d in (1, 2)]
        yield from beside(lambda run, name=name: emulation_rows(name, run), runs)
    yield from beside(switch_rows, [run_switch(d) for d in (1, 2)])
    yield from beside(exit_rows, empty.values())
    yield from bench_nest.rows(Run, run_blast, empty[1], empty[2])
    yield from bench_outside.rows()
    yield from size_rows()


def read_kept():
    rows, section = {}, None
    for line in KEPT.read_text().splitlines() if KEPT.exists() else []:
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            label, _, text = line.rpartition(" :: ")
            if not text.startswith("~"):
                rows[section, label] = text
    return rows


def write_kept(rows):
    lines, last = list(HEAD), None
    for section, label, text, kept in rows:
        if not kept:
            continue
        if section != last:
            lines += ["", f"[{section}]"]
            last = section
        lines.append(f"{label} :: {'~ ' if kept == SEEN else ''}{text}")
    KEPT.write_text("\n".join(lines) + "\n")


def show(rows, before):
    """Prints the table; returns how many rows differ from the file."""
    differ, last = 0, None
    for section, label, text, kept in rows:
        if section != last:
            print(f"\n{section}")
            last = section
        print(f"{'  ' if kept is True else '~ '}{label:66} {text}")
        if kept is True and (old := before.get((section, label))) != text:
            differ += 1
            print(f"  {'':>60} was: {old or 'nothing'}")
    gone = set(before) - {(s, label) for s, label, _, kept in rows if kept is True}
    for section, label in sorted(gone):
        print(f"  no longer counted: [{section}] {label}: {before[section, label]}")
    return differ + len(gone)


def main():
    try:
        rows = list(all_rows())
    except (Failed, AssertionError, spine.TrafficError, Hang, Ended) as e:
        print(f"bench: FAILED: {e}", file=sys.stderr)
        return 1
    except InfrastructureError as e:
        print(f"bench: the machine failed: {e}", file=sys.stderr)
        return 2
    print(f"\n{'':68} {'depth 1':36}depth 2")
    differ = show(rows, read_kept())
    missed = list(bench_nest.above(rows))
    print("\n~ varies from run to run (when packets and interrupts meet is the host's doing); ^ an exit of the nested guest")
    if os.environ.get("BENCH_UPDATE") == "1":
        write_kept(rows)
        print(f"bench: {KEPT.relative_to(paths.REPO)} rewritten")
    else:
        print(f"bench: {differ} row(s) differ from {KEPT.relative_to(paths.REPO)}" + (" (BENCH_UPDATE=1 rewrites it)" if differ else ""))
    for line in missed:
        print(f"bench: FAILED: above its target: {line}", file=sys.stderr)
    return 1 if missed else 0


def terminate(signum, frame):
    signal.signal(signum, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, terminate)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
