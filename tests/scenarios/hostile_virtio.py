"""
Guests that drive their network devices wrongly beside one that answers pings all the time: not one ping is lost or comes twice,
its own work causes no exit, and the balances are those of before.
"""
import re
import signal

import spine
from machine import Ended

# What may interrupt a guest that polls its own function and shares its CPU with others.
OTHERS_EXITS = {"EXTERNAL_INTERRUPT", "PREEMPTION_TIMER", "INTERRUPT_WINDOW"}
LIMIT = 580


def failed_checks(m):
    return [line for line in m.lines if "] FAIL " in line]


class Pings:
    """ping runs in the background, one after the other; every number that was answered must be there, once, in order."""

    def __init__(self, m, ip):
        self.process = m.start_in_network(["ping", "-n", "-i", "0.2", "-W", "60", ip], stdout=open(m.dir / "ping.txt", "w", encoding="utf-8"))
        self.file = m.dir / "ping.txt"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        text = self.file.read_text()
        seen = [int(n) for n in re.findall(r"icmp_seq=(\d+) ttl", text)]
        sent = int(re.search(r"(\d+) packets transmitted", text)[1])
        assert seen == list(range(1, len(seen) + 1)), f"expected every ping answered once and in order, saw {seen}"
        assert sent - len(seen) <= 5, f"expected at most those under way unanswered, saw {len(seen)} answers of {sent}"
        return len(seen)


def check_exits(m, name):
    """In its traffic phase the guest beside them does nothing that exits."""
    kinds = {}
    for entries in m.reports.levels.values():
        for e in entries:
            if e.get("vm") == name and e.get("phase") == "traffic" and e.get("kind") in ("exits", "exits_nested"):
                for k, v in spine.counted(e).items():
                    kinds[k] = kinds.get(k, 0) + v
    assert kinds and not set(kinds) - OTHERS_EXITS, f"{name}: expected only exits of others' making, saw {kinds}"
    return kinds


def check_balances(m):
    """When no VM is left: only what the outermost level needs for its own NIC."""
    iommu = [e for e in m.reports.levels["L0"] if e.get("section") == "iommu"]
    last = {k: iommu[-1][k] for k in ("domains", "devices")}
    assert last == {"domains": 1, "devices": 1}, f"expected only the PF's own domain left, saw {last}"
    assert all(e["faults"] == 0 for e in iommu), f"expected no DMA fault, saw {iommu[-1]}"


def check(m):
    guests = m.scenario.spec["spine"]["guests"]
    last = next(g for g in guests if g["cmdline"].startswith("echo"))
    others = [g for g in guests if g is not last]
    ip = dict(w.split("=", 1) for w in last["cmdline"].split() if "=" in w)["ip"]
    m.expect(rf"\[{last['name']}\] guest: echo: ready", 300)
    with Pings(m, ip) as pings:
        for guest in others:
            m.position = 0
            line = m.expect(rf"vm {guest['name']} ended with code", LIMIT).string
            assert "ended with code 0" in line, f"expected code 0, saw '{line}', {failed_checks(m)}"
        answered = pings.stop()
    assert answered >= 10, f"expected pings all the time, saw {answered}"
    print(f"{answered} pings answered beside them")
    spine.udp_echo(m, 50, ip)
    try:
        code = m.wait(300)
    except Ended as e:
        raise AssertionError(f"expected an exit code, saw: {e}") from None
    assert code == 0 and not failed_checks(m), f"expected exit code 0 and no failed check, saw {code}, {failed_checks(m)}"
    nic = next(e for name, level in m.reports.levels.items() if name.split("/")[-1] == last["name"] for e in level
               if e.get("guest") == "nic")
    print(f"{last['name']}: {nic['rx']} frames, {nic['irqs']} interrupts")
    print(f"exits of {last['name']} in its traffic: {check_exits(m, last['name'])}")
    check_balances(m)
