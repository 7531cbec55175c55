"""The workload `inner` (guest/work/inner.c) directly under the outermost level: how often the processor exits for each kind, exactly.

Each phase holds, besides, its two hypercalls of the guest (border) and one VMCALL of the inner's guest that ends a run of touches.
"""
import spine
from scenarios import traffic

LEVEL, GUEST = "L0", "guest"
# Exits of the inner's guest per round of a kind, and of the inner itself.
ROUND = {
    "vmcall": ({"VMCALL": 1}, {"VMRESUME": 1}),
    "violation": ({"EPT_VIOLATION": 1}, {"VMRESUME": 1}),
    "fill": ({"EPT_VIOLATION": 1}, {}),
    "cold": ({"EPT_VIOLATION": 2}, {"VMRESUME": 1}),
    "premap": ({}, {}),
    "vmread": ({}, {}),
}


def counts(m, kind, phase):
    return spine.by_phase(m.reports.levels[LEVEL], kind).get(phase, {})


def check(m):
    code = m.wait(300)
    assert code == 0, f"expected exit code 0, saw {code}"
    rows = [e for e in m.reports.levels[GUEST] if e.get("guest") == "inner"]
    assert len(rows) >= 6, f"expected a report of each kind, saw {rows}"
    for row in rows:
        form, kind = row["phase"].split("-")[1:]
        nested, own = (dict(counts(m, k, row["phase"])) for k in ("exits_nested", "exits"))
        per = row["ticks"] / row["count"] - row["own"]
        print(f"    {m.scenario.label}: {form} {kind}: {per:.0f} instructions a round; {row['count']} rounds: {nested} {own}")
        want_nested, want_own = ROUND[kind]
        touches = kind in ("fill", "cold", "premap")
        for reason in ("EPT_VIOLATION", "VMCALL"):
            want = want_nested.get(reason, 0) * row["count"] + (reason == "VMCALL" and touches)
            assert nested.get(reason, 0) == want, f"{row['phase']}: expected {want} {reason} of the inner's guest, saw {nested}"
        allowed = {"VMCALL", *want_own, *(["VMRESUME"] if touches else [])}
        extra = {k: n for k, n in own.items() if k not in allowed}
        assert not extra, f"{row['phase']}: expected no exits of the inner but {sorted(allowed)}, saw {own}"
    traffic.check_against_processor(m)
