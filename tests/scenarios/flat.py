"""Hardware exits per exit of the innermost guest that its own level wants: two at any depth by delegation, 2^(depth-1) without."""
import spine

NOT_FLAT = ("vpid", "apicv", "posted-interrupts")   # a processor without one of them: vmx/README.md, Fallbacks


def per_exit(m, level, phase, count):
    """Exits of L0 in one phase, per round of the workload; those of an empty phase left out."""
    def total(name):
        return sum(sum(spine.by_phase(m.reports.levels[level], kind).get(name, {}).values()) for kind in ("exits", "exits_nested"))
    return (total(phase) - total("exits-none")) / count


def check(m):
    spine.good_end(m)
    stanza = m.scenario.spec["spine"]
    depth, flat = stanza["depth"], stanza.get("inner_vmx") != "pages" and m.scenario.without not in NOT_FLAT
    words = dict(w.split("=", 1) for w in stanza["cmdline"].split() if "=" in w)
    wanted = 2 if flat else 2 ** (depth - 1)
    for phase in ("exits-cpuid", "exits-rdmsr"):
        seen = per_exit(m, "L0", phase, int(words["count"]))
        print(f"    {m.scenario.label}: {phase}: {seen:.3f} hardware exits per exit at L{depth}")
        # a little more: one exit in FAST_RUN takes the loop, which at an inner level may exit itself
        assert wanted <= seen < wanted * 1.1, f"{phase}: expected {wanted} hardware exits for each at depth {depth}, saw {seen:.3f}"
