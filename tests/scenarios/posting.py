"""
Guests with self-armed posting side by side on one CPU: each answers ping and UDP echo by interrupts alone, one after the other and
both at once, whatever else runs on the CPU; then a guest among them ends, if it is one that ends by itself.
"""
from concurrent.futures import ThreadPoolExecutor

import spine
from machine import Ended


def ip_of(guest):
    return dict(w.split("=", 1) for w in guest["cmdline"].split() if "=" in w)["ip"]


def nic_of(m, name):
    level = next(n for n in m.reports.levels if n.split("/")[-1] == name)
    return [e for e in m.reports.levels[level] if e.get("guest") == "nic"][-1]


def ping_all_at_once(m, ips):
    """Nobody waits for another one: interrupts of all arrive while any of them runs."""
    with ThreadPoolExecutor(len(ips)) as pool:
        for one in [pool.submit(spine.ping, m, 20, ip) for ip in ips]:
            one.result()


def check(m):
    guests = m.scenario.spec["spine"]["guests"]
    echoes = [g for g in guests if g["cmdline"].startswith("echo")]
    torture = [g for g in guests if g["cmdline"].startswith("torture-post")]
    for g in echoes:
        m.position = 0
        m.expect(rf"\[{g['name']}\] guest: nic: .*, self-armed", 300)
        m.expect(rf"\[{g['name']}\] guest: echo: ready", 300)
    ips = [ip_of(g) for g in echoes]
    for ip in ips:
        spine.ping(m, 3, ip)
    ping_all_at_once(m, ips)
    for g in torture:
        m.position = 0
        line = m.expect(rf"vm {g['name']} ended with code", 300).string
        assert "ended with code 0" in line, f"expected code 0, saw '{line}'"
    assert not [line for line in m.lines if "] FAIL " in line], "expected no failed check"
    ping_all_at_once(m, ips)
    for g, ip in zip(echoes, ips):
        spine.udp_echo(m, 100, ip)
        m.position = 0
        m.expect(rf"vm {g['name']} ended with code 0", 300)
    for g in echoes:
        nic = nic_of(m, g["name"])
        assert nic["posted"] == 1 and nic["irqs"] > 0, f"{g['name']}: expected self-armed interrupts, saw {nic}"
    if any(g["cmdline"].startswith("spin") for g in guests):
        return                          # it spins on for ever
    try:
        code = m.wait(300)
    except Ended as e:
        raise AssertionError(f"expected an exit code, saw: {e}") from None
    assert code == 0, f"expected exit code 0, saw {code}"
