"""The table at the end of `make run`: what each level counted, for a person to read.

Invariant: every number comes from a report; the only thing computed are sums and exits per packet.
"""
import spine

PHASES = ("boot", "control", "traffic", "end")


def reasons(sums):
    return ", ".join(f"{name} {n}" for name, n in sorted(sums.items(), key=lambda x: (-x[1], x[0]))) or "none"


def packets_of(reports):
    """Frames that the guest's plugin counted, both ways, over all workloads."""
    return sum(e["rx"] + e["tx"] for entries in reports.levels.values() for e in entries if e.get("guest") == "nic")


def phases_of(entries):
    seen = [e["phase"] for e in entries if "phase" in e]
    return [p for p in PHASES if p in seen] + [p for p in dict.fromkeys(seen) if p not in PHASES]


def level_rows(name, entries, packets):
    own, nested, reflected, calls, counters = (spine.by_phase(entries, kind) for kind in
                                               ("exits", "exits_nested", "reflected", "hypercalls", "counters"))
    yield f"{name}"
    for phase in phases_of(entries):
        mine, inner = own.get(phase, {}), nested.get(phase, {})
        total = sum(mine.values()) + sum(inner.values())
        yield f"  {phase:8} {total:6} exits   {reasons(mine)}"
        if inner:
            given = sum(reflected.get(phase, {}).values())
            yield f"{'':25}of its guest: {reasons(inner)}; {given} handed to it"
        if phase == "traffic" and packets:
            borders = sum(n for sums in (mine, inner) for r, n in sums.items() if r.startswith("VM"))
            yield f"{'':25}{packets} packets: {total / packets:.6f} exits per packet ({borders} exits are the borders of the phase)"
        counts = counters.get(phase, {})
        if interrupts := counts.get("nic_irqs", 0):
            yield f"{'':25}{interrupts} interrupts of the VF"
        if calls.get(phase):
            yield f"{'':25}hypercalls: {reasons(calls[phase])}"


# What is counted by reason, level and handler: kind of report, heading. A fast one never sees the loop; "to it" is what a VM, or a
# level in it, got of its guest's exits, by whatever way, and what was made up for it (an interrupt of its own).
HANDLERS = (("exits", "exits_fast", "own"), ("exits_nested", "exits_nested_fast", "guest's"))


def whole(entries, kind):
    """Sums over all phases."""
    sums = {}
    for phase in spine.by_phase(entries, kind).values():
        for name, n in phase.items():
            sums[name] = sums.get(name, 0) + n
    return sums


def handler_columns(name, entries):
    """(heading, {reason: count}) for a level."""
    level = name.rsplit("/", 1)[-1]
    for kind, fast_kind, whose in HANDLERS:
        every, fast = whole(entries, kind), whole(entries, fast_kind)
        yield f"{level} {whose}", {r: n - fast.get(r, 0) for r, n in every.items()}
        yield f"{level} {whose} fast", fast
    yield f"{level} to it", whole(entries, "reflected")


def handler_rows(reports):
    """Exits by reason x level x handler, the whole run; columns without a count are left out."""
    columns = [c for name in spine.level_names(reports) for c in handler_columns(name, reports.levels[name]) if any(c[1].values())]
    if not columns:
        return
    sums = {}
    for _, counts in columns:
        for reason, n in counts.items():
            sums[reason] = sums.get(reason, 0) + n
    widths = [max(len(heading), 8) for heading, _ in columns]
    yield "exits by reason, level and handler (whole run; own: of the VM itself, guest's: of what runs in it, to it: handed on)"
    yield f"  {'':20}" + "".join(f"  {heading:>{w}}" for w, (heading, _) in zip(widths, columns))
    for reason in sorted((r for r in sums if sums[r]), key=lambda r: (-sums[r], r)):
        yield f"  {reason:20}" + "".join(f"  {counts.get(reason, 0) or '-':>{w}}" for w, (_, counts) in zip(widths, columns))


def guest_rows(name, entries):
    yield f"{name}"
    for e in entries:
        kind = e.get("guest")
        if kind in ("nic", "port", "blast", "tscloop"):
            fields = {k: v for k, v in e.items() if k not in ("guest", "workload")}
            where = f"{kind} ({e['workload']})" if "workload" in e else kind
            yield f"  {where:16} " + ", ".join(f"{k} {v}" for k, v in fields.items())


def lines(reports):
    packets = packets_of(reports)
    for name in spine.level_names(reports):
        entries = reports.levels[name]
        if any("phase" in e and "kind" in e for e in entries):
            yield from level_rows(name, entries, packets)
        elif any("guest" in e for e in entries):
            yield from guest_rows(name, entries)
    yield from handler_rows(reports)
