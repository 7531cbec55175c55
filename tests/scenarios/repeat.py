"""Twice the same traffic in one boot: both phases have the same exits at every level, and these are the border of a phase.

The levels add up phases of one name, so both traffic phases are in one sum. What a phase holds at least is its border: one
return and one call (core/report.c), measured in the same boot by the empty phase of the workload `exits`. No phase can hold
less; so if the sum of two is twice the border, each of the two is exactly the border, and they are equal.
"""
import spine
from scenarios import traffic

KINDS = ("exits", "exits_nested", "reflected")
BLASTS = 2


def border(m, level, kind):
    return traffic.phase_exits(m, level, kind, "exits-none")


def check(m):
    words = dict(w.split("=", 1) for w in m.scenario.spec["spine"]["cmdline"].split() if "=" in w)
    count = int(words["count"])
    for _ in range(BLASTS):
        result = spine.finish_blast(spine.start_blast(m, m.dir), m.dir)
        assert result["guest"]["rx_data"] == result["peer"]["rx_data"] == count, f"expected {count} each way, saw {result}"
        m.expect("guest: blast: 0 failed")
    code = m.wait(300)
    assert code == 0, f"expected exit code 0, saw {code}"
    names, guest = traffic.levels_and_guest(m.scenario.spec["spine"]["depth"])
    assert border(m, names[-1], "exits").get("VMCALL") == 1, f"expected an empty phase to hold its call, saw {border(m, names[-1], 'exits')}"
    for level in names:
        for kind in KINDS:
            expected = {k: BLASTS * n for k, n in border(m, level, kind).items()}
            seen = traffic.phase_exits(m, level, kind)
            assert seen == expected, f"{level}: {kind} in {BLASTS} traffic phases: expected {BLASTS} empty phases, {expected}, saw {seen}"
    loops = traffic.reports_of(m, guest, "tscloop")
    assert len(loops) == BLASTS and all(e["exact"] == e["samples"] > 0 for e in loops), f"TSC loop: expected all exact, saw {loops}"
    traffic.check_against_processor(m)
