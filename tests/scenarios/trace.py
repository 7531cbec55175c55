"""The trace of all levels: a known run of exits is there, whole and in order; and switching it on changes no count.

The guest makes `count` exits of each kind in a phase of its own (workload exits). For the CPUIDs the trace must show exactly
this: L0 takes the exit of the guest and hands it to the innermost level, whatever the depth (flat nesting); that one sees it as
the exit of its own guest, and its VMRESUME comes to L0. Then the same boots without the trace, and every phase of the workload
must have the same exits at every level, by reason and handler.
"""
import itertools

import spine
import trace
from machine import Machine
from scenarios import traffic

import cpio
import image
import options
import paths

KINDS = ("exits", "exits_nested", "reflected", "exits_fast", "exits_nested_fast")
PHASES = ("exits-none", "exits-cpuid", "exits-vmcall", "exits-io", "exits-rdmsr")
CPUID, VMCALL, VMRESUME = "CPUID", "VMCALL", "VMRESUME"


def expect(what, expected, seen):
    assert expected == seen, f"{what}: expected {expected}, saw {seen}"


def expect_list(what, expected, seen):
    """Only the first difference."""
    for i, pair in enumerate(itertools.zip_longest(expected, seen)):
        expect(f"{what}, number {i}", *pair)


def events(t):
    """(record, (level, kind, level that it is about, name))"""
    text = trace.Text()
    for r in t.records():
        name = text.call_name(r.reason) if r.kind in ("CALL", "RETURN") else text.reason(r)
        yield r, (r.level, r.kind, r.level + 1 + r.inner, name)


def between_phases(t, phase, depth):
    """The records from when L0 has begun this phase (numbered from the guest's first, "boot") until the guest's next VMCALL."""
    inside = None
    for r, what in events(t):
        if what == (0, "CALL", 1, "PHASE") and r.a == phase:
            inside = []
        elif inside is not None and what == (0, "EXIT", depth, VMCALL):
            return inside
        elif inside is not None:
            inside.append((r, what))
    raise AssertionError(f"phase {phase}: expected its beginning and its end in the trace, saw none")


def of_the_guest(what, depth):
    """Not what a level did for itself in between: an inner that does not answer a CPUID from its cache asks by one of its own."""
    _, kind, about, name = what
    return kind == "RETURN" or about == depth - (kind == "REFLECT" or name == VMRESUME)


def check_cpuids(m, t, number, count, depth):
    """What follows the call: each level returns from it; then for each CPUID the same four records; nothing else of the guest's."""
    records = between_phases(t, number, depth)
    inner = depth - 1
    asked = [what for _, what in records].count((0, "EXIT", inner, CPUID))
    fast = traffic.phase_exits(m, traffic.levels_and_guest(depth)[0][-1], "exits_fast", PHASES[number - 1]).get(CPUID, 0)
    expect(f"CPUIDs that L{inner} did not answer from its cache", count - fast, asked)
    records = [(r, what) for r, what in records if of_the_guest(what, depth)]
    one = [(0, "EXIT", depth, CPUID), (0, "REFLECT", inner, CPUID), (inner, "EXIT", depth, CPUID), (0, "EXIT", inner, VMRESUME)]
    border = [(k, "RETURN", k + 1, "PHASE") for k in range(depth)] + [(0, "EXIT", inner, VMRESUME)]
    expect_list("records of the phase", border + one * count, [what for _, what in records])
    cpuids = [r for r, what in records if what[3] == CPUID and r.kind != "REFLECT"]
    expect("RIP and leaf of the CPUIDs", 1, len({(r.a, r.b) for r in cpuids}))
    ticks = [b.tsc - a.tsc for (a, _), (b, _) in zip(records, records[1:])]
    assert min(ticks) > 0, f"expected the TSC to rise from record to record, saw {min(ticks)}"


def check_rings(t):
    for (path, cpu), lost in t.lost().items():
        tscs = [r[1] for r in t.rings.get((path, cpu), [])]
        assert tscs == sorted(tscs), f"{path} cpu{cpu}: expected a TSC that rises"
        numbers = [r[0] for r in t.rings.get((path, cpu), [])]
        assert numbers == sorted(set(numbers)), f"{path} cpu{cpu}: expected rising numbers"
        print(f"    trace: {path} cpu{cpu}: {len(numbers)} records, {lost} older ones overwritten")
    expect("garbled lines", 0, t.garbled)


def run_without(m):
    """The same bundle but for the trace."""
    stanza = {k: v for k, v in m.scenario.spec["spine"].items() if k != "trace"}
    directory = m.dir / "off"
    directory.mkdir(parents=True, exist_ok=True)
    disk = directory / "disk.img"
    image.make_nestling(disk, paths.built("nestling.efi", "Nestling"), cpio.archive(spine.bundle_of(stanza)))
    with Machine(options.Options(disk=str(disk), cpus=m.options.cpus, without=m.options.without), directory) as off:
        expect("exit code without the trace", 0, off.wait(300))
    assert not any("@trace" in line for line in off.lines), "trace = off: expected no @trace line"
    return off


def check_same_counts(on, off, names):
    for level in names:
        for phase in PHASES:
            for kind in KINDS:
                expect(f"{level}, {phase}, {kind} with the trace", traffic.phase_exits(off, level, kind, phase),
                       traffic.phase_exits(on, level, kind, phase))


def check(m):
    expect("exit code", 0, m.wait(300))
    stanza = m.scenario.spec["spine"]
    count = int(dict(w.split("=", 1) for w in stanza["cmdline"].split() if "=" in w)["count"])
    t = trace.Trace(m.lines)
    names, _ = traffic.levels_and_guest(stanza["depth"])
    expect("levels in the trace", names, sorted({path for path, _ in t.rings}, key=names.index))
    check_rings(t)
    check_cpuids(m, t, PHASES.index("exits-cpuid") + 1, count, stanza["depth"])
    (m.dir / "trace.txt").write_text("\n".join(trace.to_text(t)) + "\n")
    traffic.check_against_processor(m)
    check_same_counts(m, run_without(m), names)
