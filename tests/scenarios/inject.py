"""
Every point of failure of every level, one after the other: afterwards the port is in emulation and works, and each level holds what it held.
Each point must fire, but for those that a level cannot meet; there are as many tests as points in the image, times the levels.
"""
import re
import subprocess

import paths
import spine

POINT_LEN = 32

# Points that a level never meets, and why. Any other that is not reached fails the test.
OUTERMOST = {r"^upstream": "the outermost level has no outer, so it has no upstream driver and no device of an outer's"}
INNER = {r"^igb: ": "the PF is the outermost level's; an inner one drives no NIC"}


def points_in_image():
    """Of the section that core/fault.h fills, in the image that every level runs."""
    nm = subprocess.run(["nm", paths.built("nestling.debug", "Nestling with its symbols")], check=True, capture_output=True, text=True).stdout
    at = {line.split()[2]: int(line.split()[0], 16) for line in nm.splitlines() if line.endswith("_fault_points")}
    return (at["__stop_fault_points"] - at["__start_fault_points"]) // POINT_LEN


def balances(m, level):
    """One per report: what the level has allotted."""
    of = {s: [e for e in m.reports.levels[level] if e.get("section") == s] for s in ("iommu", "memory", "vm")}
    rows = zip(of["memory"], of["vm"]) if not of["iommu"] else zip(of["memory"], of["vm"], of["iommu"])
    return [{"own_pages": r[0]["own_pages"], "vm_pages": r[1]["pages"], **{k: r[2][k] for k in ("domains", "devices", "irtes") if len(r) > 2}}
            for r in rows]


def check_reached(results, levels):
    for level, point, what in results:
        absent = OUTERMOST if int(level) == levels - 1 else INNER
        impossible = any(re.search(p, point) for p in absent)
        assert (what == "fired") != impossible, f"level {level} (0 = the guest's own): point {point}: saw it {what}"


def check_balances(m, level, results, firsts):
    """Reports: before the first opening, after each that was refused; after the first switch, and after each point."""
    seen = balances(m, level)
    before, seen = seen[:1 + firsts], seen[1 + firsts:2 + firsts + len(results)]
    assert all(b == before[0] for b in before), f"{level}: expected {before[0]} after an opening that was refused, saw {before}"
    wrong = [(i, b) for i, b in enumerate(seen) if b != seen[0]]
    assert len(seen) == 1 + len(results) and not wrong, f"{level}: expected {seen[:1]} after each of {len(results)} points, " \
        f"saw {len(seen)}, different: {wrong[:3]}, after {results[wrong[0][0] - 1] if wrong else '-'}"


def check(m):
    spine.good_end(m, 900)
    results = [r.groups() for line in m.lines if (r := re.search(r"inject: level (\d+) point (.*): (fired|not reached)$", line))]
    total = [r for line in m.lines if (r := re.search(r"inject: (\d+) levels, (\d+) points, (\d+) fired, (\d+) not reached, 0 broken", line))]
    firsts = sum("refused the first opening" in line for line in m.lines)
    levels, points = m.scenario.spec["spine"]["depth"], points_in_image()
    assert total and int(total[0][1]) == levels and len(results) == int(total[0][2]) == points * levels, \
        f"expected {points} points x {levels} levels, saw {len(results)} and {total}"
    check_reached(results, levels)
    for name in spine.level_names(m.reports):
        if name.split("/")[-1].startswith("L"):
            check_balances(m, name, results, firsts)
    fired = sum(what == "fired" for *_, what in results)
    print(f"    {m.scenario.label}: {points} points x {levels} levels = {len(results)} tests: {fired} fired, "
          f"{len(results) - fired} that these levels cannot meet")
