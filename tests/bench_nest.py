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
