"""The phase exits-touch of the workload `exits`: EPT violations at each level while the guest touches RAM for the first time."""
import spine
from scenarios import traffic

PHASE = "exits-touch"


def check(m):
    code = m.wait(300)
    assert code == 0, f"expected exit code 0, saw {code}"
    stanza = m.scenario.spec["spine"]
    names, _ = traffic.levels_and_guest(stanza["depth"])
    premapped = stanza.get("inner_vmx") != "plain"
    for name in names:
        kinds = {kind: spine.by_phase(m.reports.levels[name], kind) for kind in ("exits", "exits_nested", "hypercalls")}
        faults = sum(kinds[kind].get(PHASE, {}).get("EPT_VIOLATION", 0) for kind in ("exits", "exits_nested"))
        calls = sum(sums.get("ept_premap", 0) for sums in kinds["hypercalls"].values())
        print(f"    {m.scenario.label}: {name}: {faults} EPT violations, {calls} premap calls")
        expected = premapped or name != names[0]
        assert (faults == 0) == expected, f"{name}: expected {'no' if expected else 'some'} EPT violations in {PHASE}, saw {faults}"
        inner = name != names[-1]
        assert (calls > 0) == (premapped and inner), f"{name}: expected {'some' if premapped and inner else 'no'} premap calls, saw {calls}"
    traffic.check_against_processor(m)
