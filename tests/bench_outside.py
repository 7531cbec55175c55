"""
The rows of tests/bench.py behind a controlling bridge: what switches of the state are to the network. The scenarios extended-switch-*, with more of
them.
"""
import copy
import re

import spine    # first: it tells Python where the machine's modules are

import paths
import scenario
from machine import Machine
from scenarios import extended_switch

SWITCHES = 1000
SECTION = f"{SWITCHES} switches under two-way traffic behind a controlling bridge, lldpad's association held"


def run(depth):
    """Seen of scenarios/extended_switch.py, which fails if a switch causes a control frame, or a datagram is lost, repeated or out of order."""
    name = f"extended-switch-depth{depth}"
    one = next(s for s in scenario.load(spine.TESTS / "scenarios.toml") if s.label == name)
    spec = copy.deepcopy(one.spec)
    spec["spine"]["cmdline"], changed = re.subn(r"count=\d+", f"count={SWITCHES}", spec["spine"]["cmdline"])
    assert changed == 1, f"{name}: expected one count= on the command line of the guest"
    many = scenario.Scenario(name, one.kind, one.cpus, spec)
    print(f"bench: {name}: {spec['spine']['cmdline']}", flush=True)
    folder = paths.BUILD / "run" / f"bench-{name}"
    with Machine(scenario.machine_options(many, spine.TESTS, folder), folder) as m:
        m.scenario = many
        return extended_switch.switches(m)


def rows(depths=(1, 2)):
    seen = [run(d) for d in depths]

    def row(label, texts, kept=True):
        return SECTION, label, f"{texts[0]:35} {texts[1]}", kept
    yield row("control frames of the port that do not come in any case", [str(len(s.caused)) for s in seen])
    yield row("E-CIDs that the port's extenders had, all levels", [str(len(s.ecids)) for s in seen])
    yield row("S-tag and source address of its data on the wire", [", ".join(f"{v} {m.hex(':')}" for v, m in sorted(s.encapsulations)) for s in seen])
