"""The port taken and given back many times: at every level the balances after the last time are those after the first."""
import spine


def of(m, level, section):
    return [e for e in m.reports.levels[level] if e.get("section") == section]


def check_level(m, level):
    """Reports: after the first cycle, after the last, at the guest's end, when the VM is buried; once more when no VM is left."""
    iommu, memory, vms = of(m, level, "iommu"), of(m, level, "memory"), of(m, level, "vm")
    assert len(memory) == 5 and len(vms) == 4, f"{level}: expected 5 reports and 4 of the VM, saw {len(memory)} and {len(vms)}"
    live = [{k: e[k] for k in ("domains", "devices", "irtes")} for e in iommu]
    assert all(e == live[0] for e in live), f"{level}: expected the same balance at each report, saw {live}"
    own = ("domains", "devices") if live else ()  # the PF's own, for its rings
    assert all(live[0][k] == 1 for k in own), f"{level}: expected the port closed at each report, saw {live}"
    for name, (first, last, *_) in (("VM", [e["pages"] for e in vms]), ("own", [e["own_pages"] for e in memory])):
        assert first == last, f"{level}: {name} pages after the first cycle {first}, after the last {last}"
    assert memory[4]["own_pages"] < memory[0]["own_pages"], f"{level}: expected fewer pages in use without the VM, saw {memory}"
    return live


def check(m):
    spine.good_end(m, 600)
    levels = [name for name in spine.level_names(m.reports) if name.split("/")[-1].startswith("L")]
    live = {level: check_level(m, level) for level in levels}
    assert len(live["L0"]) == 5, f"L0: expected 5 reports of the IOMMU, saw {live}"
