#!/usr/bin/env python3
"""The trace of all levels as one text: trace.py console.log (or the directory of a run).

One line a record: TSC of the outermost level, level, its CPU, VM and vCPU, what happened, to which level. Records come from the
@trace lines of every level that has `trace = on`; core/trace.h says what is in them, and the names are those of the sources.

Order. A ring (one CPU of one level) keeps its own order, always. Rings are merged by TSC, an inner's less the offset that its
outer tells; at the same TSC the outer level comes first. So everything on one CPU of the machine is in exact order, through all
levels. Between CPUs the order is as good as their TSCs agree: records closer than that (on the emulated machine: the turn of a
CPU, some instructions) may have happened the other way round. An offset that changes while the trace runs (a guest that writes
its TSC) counts as it is at the end.

Invariant: nothing is lost silently: records are numbered, and what was overwritten in a ring or garbled on its way is counted.
"""
import argparse
import base64
import heapq
import re
import sys
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS / "machine"))

import console  # noqa: E402

MASK = (1 << 64) - 1
LEVEL = re.compile(r"(^|/)L\d+$")  # the last mark of a line that is a level's own
DATA = re.compile(r"@trace (\d+) (\d+) (\d+)(?: ([A-Za-z0-9+/]+=*))?$")
VM = re.compile(r"@trace vm (\d+) (\S+)((?: \d+:[0-9a-f]+)*)$")


class Record(NamedTuple):
    tsc: int        # of the outermost level
    path: str       # of the level: "inner/L1"
    cpu: int        # of that level
    number: int     # in its ring
    kind: str
    vm: str
    vcpu: int
    inner: int      # 0: about the VM itself, 1: about its guest ...
    reason: int
    a: int
    b: int

    @property
    def level(self):
        return self.path.count("/")


# --- names, from the sources -------------------------------------------------------------------------------------------

def source(name):
    return (TESTS.parent / name).read_text()


def exit_names():
    return {int(n): name for name, n in re.findall(r"\bR\((\w+), (\d+)\)", source("vmx/vmx.h"))}


def call_names():
    return {int(n): name for name, n in re.findall(r"^\tHC_(\w+) = (\d+),", source("core/abi.h"), re.M)}


def kind_names():
    kinds = re.search(r"#define TRACE_KINDS\(K\)(.*)", source("core/trace.h")).group(1)
    return dict(enumerate(re.findall(r"K\((\w+)\)", kinds), 1))


def error_names():
    return {int(n): name for name, n in re.findall(r"#define (E[A-Z0-9]+) (\d+)", source("core/errno.h"))}


# --- lines into records ------------------------------------------------------------------------------------------------

class Garbled(Exception):
    pass


def number(data, at):
    value = shift = 0
    while True:
        if at >= len(data):
            raise Garbled
        value |= (data[at] & 0x7f) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def signed(data, at):
    """As 64 bits without sign."""
    value, at = number(data, at)
    return (value >> 1 ^ -(value & 1)) & MASK, at


def decode(text):
    """(tsc, kind, vm, vcpu, inner, reason, a, b) of each record of a line."""
    data, at, tsc = base64.b64decode(text, validate=True), 0, 0
    while at < len(data):
        if at + 4 > len(data):
            raise Garbled
        kind, vm, vcpu, inner = data[at:at + 4]
        reason, at = number(data, at + 4)
        step, at = signed(data, at)
        a, at = signed(data, at)
        b, at = signed(data, at)
        tsc = (tsc + step) & MASK
        yield tsc, kind, vm, vcpu, inner, reason, a, b


class Trace:
    """What the @trace lines among some console lines say."""

    def __init__(self, lines):
        self.rings = {}     # (path, cpu): [(number, *decode)], in order
        self.ends = {}      # (path, cpu): how many there have been
        self.vms = {}       # path: {id: (name, [(cpu, offset) of each vCPU])}
        self.garbled = 0    # lines
        for line in lines:
            path, text = console.origin(line)
            if LEVEL.search(path) and text.startswith("@trace "):
                self.take(path, text)

    def take(self, path, text):
        if found := VM.match(text):
            vcpus = [(int(c), int(o, 16)) for c, o in (pair.split(":") for pair in found[3].split())]
            self.vms.setdefault(path, {})[int(found[1])] = (found[2], vcpus)
        elif found := DATA.match(text):
            ring, first = (path, int(found[2])), int(found[3])
            if not found[4]:
                self.ends[ring] = first
                return
            try:
                records = list(decode(found[4]))
            except (Garbled, ValueError):
                self.garbled += 1
                return
            self.rings.setdefault(ring, []).extend((first + i, *r) for i, r in enumerate(records))
        else:
            self.garbled += 1

    def lost(self):
        """{ring: records that were there and are not here}"""
        every = {*self.rings, *self.ends}
        return {ring: self.ends.get(ring, 0) - len(self.rings.get(ring, ())) for ring in sorted(every)}

    def offset(self, path, cpu):
        """What this CPU of a level reads as TSC, less what the outermost level reads there."""
        *vms, level = path.split("/")
        if not vms:
            return 0
        outer = "/".join(vms[:-1] + [f"L{int(level[1:]) - 1}"])
        for name, vcpus in self.vms.get(outer, {}).values():
            if name == vms[-1] and cpu < len(vcpus):
                outer_cpu, own = vcpus[cpu]
                return own + self.offset(outer, outer_cpu)
        return 0    # the outer has no trace

    def ring_records(self, ring):
        path, cpu = ring
        kinds, vms, offset = kind_names(), self.vms.get(path, {}), self.offset(path, cpu)
        for n, tsc, kind, vm, vcpu, inner, reason, a, b in self.rings[ring]:
            name = vms[vm][0] if vm in vms else f"vm{vm}"
            yield Record((tsc - offset) & MASK, path, cpu, n, kinds.get(kind, f"kind{kind}"), name, vcpu, inner, reason, a, b)

    def records(self):
        """All of them, merged."""
        rings = [self.ring_records(ring) for ring in sorted(self.rings, key=lambda r: (r[0].count("/"), r))]
        return heapq.merge(*rings, key=lambda r: (r.tsc, r.level))


# --- records into text -------------------------------------------------------------------------------------------------

def rights(bits):
    return "".join(letter for i, letter in enumerate("rwx") if bits >> i & 1)


class Text:
    """Says what a record is."""

    def __init__(self):
        self.exits, self.calls, self.errors = exit_names(), call_names(), error_names()

    def line(self, r):
        where = f"{'  ' * r.level}L{r.level} cpu{r.cpu} {r.vm}.{r.vcpu}"
        what = getattr(self, r.kind.lower(), self.unknown)(r)
        return f"{r.tsc:14} {where:26} {r.kind.lower():7} {what}"

    def unknown(self, r):
        return f"reason {r.reason} {r.a:#x} {r.b:#x}"

    def reason(self, r):
        return self.exits.get(r.reason & 0xff, f"reason {r.reason & 0xff}")

    def level(self, r):
        """Of what it is about."""
        return f"L{r.level + 1 + r.inner}"

    def call_name(self, n):
        return self.calls.get(n, f"hypercall {n}")

    def exit(self, r):
        return f"{self.level(r)} {self.reason(r)} rip={r.a:#x}{self.about(r)}"

    def about(self, r):
        name, b = self.reason(r), r.b
        if name == "CPUID":
            return f" leaf={b & 0xffffffff:#x} subleaf={b >> 32:#x}"
        if name == "IO":
            return f" {'in' if b & 8 else 'out'} port={b >> 16 & 0xffff:#x} size={(b & 7) + 1}{' string' if b & 16 else ''}"
        if name in ("RDMSR", "WRMSR"):
            return f" msr={b:#x}"
        if name == "VMCALL":
            return f" {self.call_name(b)}"
        if name == "EXTERNAL_INTERRUPT":
            return f" vector={b & 0xff:#x}"
        if name == "EXCEPTION_NMI":
            return f" vector={b & 0xff} info={b:#x}"
        if name == "EPT_VIOLATION":
            return f" gpa={b:#x} {rights(r.reason >> 8)} of {rights(r.reason >> 11) or 'none'}"
        if name == "EPT_MISCONFIG":
            return f" gpa={b:#x}"
        if name == "CR_ACCESS":
            return f" {('to', 'from', 'clts', 'lmsw')[b >> 4 & 3]} cr{b & 15} reg={b >> 8 & 15}"
        return f" qualification={b:#x}" if b else ""

    def reflect(self, r):
        info = f" info={r.b:#x}" if r.b >> 31 & 1 else ""
        return f"{self.level(r)} {self.reason(r)}{f' qualification={r.a:#x}' if r.a else ''}{info}"

    def inject(self, r):
        return f"{self.level(r)} vector={r.reason:#x} info={r.a:#x}{f' error={r.b:#x}' if r.a >> 11 & 1 else ''}"

    def irq(self, r):
        return f"vector={r.reason:#x} port={r.a >> 8} index={r.a & 0xff}{' posted into its guest' if r.b else ''}"

    def call(self, r):
        return f"{self.call_name(r.reason)} {r.a:#x} {r.b:#x}"

    def ret(self, r):
        value = r.a - (1 << 64) if r.a >> 63 else r.a
        return f"{self.call_name(r.reason)} = " + (f"-{self.errors[-value]}" if -value in self.errors else f"{value:#x}")


setattr(Text, "return", Text.ret)


def to_text(trace):
    """All lines, and a last one that says what is missing."""
    text, n = Text(), 0
    for r in trace.records():
        n += 1
        yield text.line(r)
    yield summary(trace, n)


def summary(trace, n):
    lost = {ring: k for ring, k in trace.lost().items() if k}
    missing = ", ".join(f"{k} of {path} cpu{cpu}" for (path, cpu), k in lost.items()) or "none"
    return f"{n} records of {len(trace.ends)} rings; lost (overwritten before they were printed): {missing}" + \
           (f"; {trace.garbled} garbled lines" if trace.garbled else "")


def lines_of(path):
    path = Path(path)
    lines = console.Lines()
    return lines.feed((path / "console.log" if path.is_dir() else path).read_bytes()) + lines.flush()


def main(argv):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("log", help="console.log of a run, or its directory")
    trace = Trace(lines_of(p.parse_args(argv).log))
    if not trace.ends:
        sys.exit("trace: no @trace lines there: trace = on in [nestling] makes them (make run TRACE=1)")
    for line in to_text(trace):
        print(line)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:
        sys.exit(0)
