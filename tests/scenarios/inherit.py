"""Functions that pass between VMs, hostile state and all: every heir says what it found; at the end the balances are those of the first turn."""
import re

import spine
from machine import Ended


def of(m, level, section):
    return [e for e in m.reports.levels[level] if e.get("section") == section]


def check(m):
    turns = 0
    try:
        code = m.wait(600)
    except Ended as e:
        raise AssertionError(f"expected exit code 0, saw: {e}") from None
    for line in m.lines:
        if found := re.search(r"inherit: (\d+) of (\d+) functions clean", line):
            assert found[1] == found[2], f"expected every function clean, saw '{line}'"
            turns += int(found[1])
    wanted = int(re.search(r"count=(\d+)", m.scenario.spec["spine"]["guests"][0]["cmdline"])[1])
    assert turns == wanted, f"expected {wanted} functions clean, saw {turns}"
    assert code == 0, f"expected exit code 0, saw {code}"
    for level in (n for n in spine.level_names(m.reports) if n.split("/")[-1].startswith("L")):
        live = [{k: e[k] for k in ("domains", "devices", "irtes")} for e in of(m, level, "iommu")]
        assert all(e == live[0] for e in live), f"{level}: expected the same balance at each report, saw {live}"
    print(f"{turns} functions left hostile, all clean for the next owner")
