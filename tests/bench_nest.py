"""`make bench`: what nesting costs. Hardware exits by depth; the outermost level's instructions for each kind of exit of a guest's guest.

The instructions are those that a small hypervisor and its guest (guest/work/inner.c) find missing between two of their own: the TSC,
less the known length of their round. So the shortest way (vmx/exit_fast.c, nested_fast.c) counts like any other, exit and entry included.
"""
from fractions import Fraction

EXITS = 1000
DEPTHS = (2, 3, 4, 5)
PACKETS_L5 = 500000     # each way
# The phases of workload `exits`, and what they are called here.
REFLECTED = (("exits-vmcall", "VMCALL"), ("exits-cpuid", "CPUID"), ("exits-mmio", "a load from no device (EPT violation)"))
# Kinds of workload `inner`.
KINDS = (("vmcall", "exit handed to the hypervisor, which reads 8 fields and writes 4"),
         ("violation", "the same, an EPT violation"),
         ("fill", "EPT violation that the outermost level deals with alone: a 4 KiB page of its composed table"),
         ("vmread", "VMREAD by the hypervisor"))
FORMS = (("VMCS page", "page", {}), ("VMCS shadowing", "region", {}), ("without either", "region", {"cpu_model": "corei7_ivy_bridge_3770k"}))
DEEP = {"memory": 1536}
# What the rows must not exceed: how the section begins, the label, a limit for each number of the row, None for one without.
TARGETS = (
    ("instructions of the outermost level for one exit, exit and entry", "CPUID of its guest, less an empty round", (110,)),
    ("instructions of the outermost level for one exit of its guest's", KINDS[0][1], (1300, None, None)),
    ("instructions of the outermost level for one exit of its guest's", KINDS[1][1], (1400, None, None)),
    ("instructions of the outermost level for one exit of its guest's", KINDS[2][1], (480, 480, 480)),
    ("instructions of the outermost level for one exit of its guest's", KINDS[3][1], (None, 0, None)),
    ("instructions of the outermost level for one exit of its guest's", "hardware exits for a page that neither has", (3,)),
    ("instructions of the outermost level for one exit of its guest's", "EPT violations for 500 pages", (0,)),
    ("hardware exits for one exit of the guest at L2, L3, L4, L5 (trap", "VMCALL", (2, 4, 8, 16)),
    ("hardware exits for one exit of the guest at L2, L3, L4, L5 (trap", "a load from no device", (2, 4, 8, 16)),
    ("hardware exits for one exit of the guest at L2, L3, L4, L5 (flat", "VMCALL", (2, 2, 2, 2)),
    ("hardware exits for one exit of the guest at L2, L3, L4, L5 (flat", "CPUID", (2.1, 2.1, 2.1, 2.1)),
    ("hardware exits for one exit of the guest at L2, L3, L4, L5 (flat", "a load from no device", (2, 2, 2, 2)),
    ("hardware exits for one exit of the guest at L2, L3, L4, L5 (flat", "EPT violations of all levels", (0, 0, 0, 0)),
    ("a guest at L5", "exits at L0, without those of an empty phase", (0,)),
)


def above(rows):
    """What is above its target, one line each; a target without a row is, too."""
    for section, label, limits in TARGETS:
        texts = [text for s, of, text, _ in rows if s.startswith(section) and of.startswith(label)]
        if not texts:
            yield f"{label}: not counted"
        for text in texts:
            numbers = [None if t == "-" else Fraction(t) for t in text.split()]
            if len(numbers) != len(limits) or any(n is not None and m is not None and n > m for n, m in zip(numbers, limits)):
                yield f"{label}: {text}, target {' '.join('-' if m is None else str(m) for m in limits)}"


def one_exit(run, phase):
    """Exits of the outermost level for one of the guest's, as a number."""
    before = sum(run.exits("L0", "exits-none").values())
    return Fraction(sum(run.exits("L0", phase).values()) - before, run.one(run.guest, guest="exits", phase=phase)["count"])


def number(n):
    return str(n) if n.denominator == 1 else f"{float(n):.3f}"


def depth_rows(mode, runs):
    name = f"hardware exits for one exit of the guest at L2, L3, L4, L5 ({mode}), average of {EXITS}"
    for phase, what in REFLECTED:
        yield name, what, " ".join(number(one_exit(run, phase)) for run in runs), True
    touched = [sum(run.exits(level, "exits-touch").get(k, 0) for level in run.levels for k in ("EPT_VIOLATION", "EPT_VIOLATION^")) for run in runs]
    yield name, "EPT violations of all levels while the guest touches all its free memory, premapped", " ".join(map(str, touched)), True


def plain_rows(run):
    """A guest of the outermost level."""
    ticks = {p: run.one(run.guest, guest="exits", phase=p)["ticks"] for p in ("exits-none", "exits-cpuid")}
    count = run.one(run.guest, guest="exits", phase="exits-cpuid")["count"]
    yield ("instructions of the outermost level for one exit, exit and entry included", "CPUID of its guest, less an empty round",
           str(round((ticks["exits-cpuid"] - ticks["exits-none"]) / count)), True)


def cost(run, form, kind):
    e = run.one(run.guest, guest="inner", phase=f"inner-{form}-{kind}")
    return round(e["ticks"] / e["count"] - e["own"])


def inner_rows(runs):
    name = "instructions of the outermost level for one exit of its guest's guest: with " + ", ".join(f[0] for f in FORMS)
    for kind, what in KINDS:
        costs = ["-" if kind == "vmread" and form == "page" else str(cost(run, form, kind)) for (_, form, _), run in zip(FORMS, runs)]
        yield name, what, "  ".join(costs), True
    run = runs[0]
    cold = run.one(run.guest, guest="inner", phase="inner-page-cold")
    border = 3      # the VMCALL that ends the phase, one of the hypervisor's guest, its entry
    exits = sum(run.exits("L0", "inner-page-cold").values()) - border
    yield name, "hardware exits for a page that neither has (the hypervisor maps it, then the outermost level)", number(Fraction(exits, cold["count"])), True
    premapped = run.exits("L0", "inner-page-premap").get("EPT_VIOLATION^", 0)
    yield name, f"EPT violations for {cold['count']} pages after HC_EPT_PREMAP", str(premapped), True


def packet_rows(run, border):
    name = f"a guest at L5: {run.packets} packets each way, polled, the traffic phase"
    for level in run.levels:
        exits, empty = run.exits(level, "traffic"), border.exits(level, "exits-none")
        extra = sum(exits.values()) - sum(empty.values())
        yield name, f"exits at {level.rsplit('/', 1)[-1]}, without those of an empty phase", f"{extra}/{2 * run.packets}", True


def rows(run, blast, plain, deep2):
    """run, blast: start a machine (bench.py). plain, deep2: workload `exits` at depth 1 and 2, which has run already."""
    deep = [deep2] + [run("exits-pages", d, f"exits count={EXITS}", machine=DEEP, inner_vmx="pages") for d in DEPTHS[1:]]
    flat = [deep2] + [run("exits", d, f"exits count={EXITS}", machine=DEEP) for d in DEPTHS[1:]]
    yield from plain_rows(plain)
    inner = run("inner", 1, f"inner count={EXITS}")
    without = run("inner-without", 1, f"inner count={EXITS}", machine=FORMS[2][2])
    yield from inner_rows([inner, inner, without])
    yield from depth_rows("trap and emulate, VMCS pages", deep)
    yield from depth_rows("flat nesting", flat)
    yield from packet_rows(blast("polled", 5, PACKETS_L5, machine=DEEP), flat[-1])
