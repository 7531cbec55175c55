"""Every point of failure of every level, one after the other: afterwards the port is in emulation and works, and each level holds what it held."""
import re

import spine
from machine import Ended


def balances(m, level):
    """One per report: what the level has allotted."""
    of = {s: [e for e in m.reports.levels[level] if e.get("section") == s] for s in ("iommu", "memory", "vm")}
    rows = zip(of["memory"], of["vm"]) if not of["iommu"] else zip(of["memory"], of["vm"], of["iommu"])
    return [{"own_pages": r[0]["own_pages"], "vm_pages": r[1]["pages"], **{k: r[2][k] for k in ("domains", "devices", "irtes") if len(r) > 2}}
            for r in rows]


def check(m):
    try:
        code = m.wait(900)
    except Ended as e:
        raise AssertionError(f"expected exit code 0, saw: {e}") from None
    assert code == 0, f"expected exit code 0, saw {code}"
    results = [r for line in m.lines if (r := re.search(r"inject: level (\d+) point (.*): (fired|not reached)$", line))]
    total = [r for line in m.lines if (r := re.search(r"inject: (\d+) levels, (\d+) points, (\d+) fired, (\d+) not reached, 0 broken", line))]
    assert total and len(results) == int(total[0][2]), f"expected one line for each point, saw {len(results)} and {total}"
    for name in spine.level_names(m.reports):
        if not name.split("/")[-1].startswith("L"):
            continue
        seen = balances(m, name)[:1 + len(results)]  # after the first switch, and after each point
        wrong = [(i, b) for i, b in enumerate(seen) if b != seen[0]]
        assert len(seen) == 1 + len(results) and not wrong, \
            f"{name}: expected {seen[:1]} after each of {len(results)} points, saw {len(seen)}, different: {wrong[:3]}, after {results[wrong[0][0] - 1][0] if wrong else '-'}"
    print(f"    {m.scenario.label}: {total[0][0]}")
