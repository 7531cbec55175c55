"""
Guests that die behind each step of a switch, there and back: one after the other, some by ending, some hanging until somebody at their
outer's console kills them; a witness on the same instance answers all the while. Key `die` of the stanza: depth, and part, for a machine
has no more than seven ports. How a guest dies alternates, so that each step sees both, at one depth each.

After each death every level holds what it held before, but for the VM; what the VM held is free; its port further out is in emulation,
without a function. The names of the steps are checked against those of a switch that the witness makes.
"""
import re
import sys

import spine
from machine import Ended

THERE = ["allocate", "configure", "map registers", "plugin", "map memory", "start", "interrupt", "virtual function", "prepare", "freeze",
         "fence", "commit"]
BACK = ["emulation", "prepare", "freeze", "drain", "commit"]
STEPS = [("there", s) for s in THERE] + [("back", s) for s in BACK]
PART = 6            # deaths a machine: the witness has the seventh port
MIB = 16
PAGE = 4096
WITNESS = "witness", "10.0.0.2"
KILLED = 254


def guest(name, number, words=""):
    return spine.Guest(name=name, memory=MIB, mode="emulation", mac=f"52:54:00:00:00:{number:02x}",
                       cmdline=f"die ip=10.0.0.{number} peer={spine.HOST_IP} port={spine.PORT} halt=1 {words}".strip())


def deaths(spec):
    """(name, address, way, step, how), in order."""
    depth, part = spec["depth"], spec["part"]
    chosen = list(enumerate(STEPS))[part * PART:(part + 1) * PART]
    return [(f"g{i}", f"10.0.0.{3 + n}", way, step, ("end", "spin")[(i + depth) % 2]) for n, (i, (way, step)) in enumerate(chosen)]


def bundle(stanza):
    guests = [guest(WITNESS[0], 2)]
    for n, (name, _, way, step, how) in enumerate(deaths(stanza["die"])):
        guests.append(guest(name, 3 + n, f"die={step.replace(' ', '-')} way={way} how={how}"))
    return spine.bundle(stanza["die"]["depth"], guests)


# --- orders ----------------------------------------------------------------------------------------------------------

def order(m, ip, word, answered=True):
    """A datagram that the workload `die` obeys."""
    code = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(60)
s.sendto(b"{word}", ("{ip}", {spine.PORT}))
print(s.recv(100) if {answered} else b"{word}")
"""
    done = m.in_network([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout.strip() == f"b'{word}'", f"expected {ip} to answer '{word}', saw {done.stdout}{done.stderr[-200:]}"


def console(m, depth, command):
    """At the console of the instance that runs the guests of this depth."""
    m.send_line("@inner " * (depth - 1) + command)


def tag(depth):
    return r"^\[inner\] " * (depth - 1) + r"\[L%d\] " % (depth - 1) if depth > 1 else r"^\[L0\] "


# --- balances --------------------------------------------------------------------------------------------------------

def of(lines, section):
    return [e for e in lines if e.get("section") == section]


def balance(lines):
    """What a level has allotted, from its last report, of which "boot" is the first section: for itself, in the IOMMU, in VMs."""
    lines = lines[max(i for i, e in enumerate(lines) if e.get("section") == "boot"):]
    memory, iommu = of(lines, "memory")[-1], of(lines, "iommu")
    return {"own": memory["own_pages"], "free": memory["free_bytes"] // PAGE,
            "iommu": {k: iommu[-1][k] for k in ("domains", "devices", "irtes", "faults")} if iommu else {},
            "vm": {e["vm"]: e["pages"] for e in of(lines, "vm")}}


def report(m, ip=WITNESS[1]):
    """A report of all levels of the guest at ip: {level: balance}."""
    m.position = len(m.lines)
    mark = {name: len(lines) for name, lines in m.reports.levels.items()}
    order(m, ip, "report")
    m.expect(r"guest: die: reported$", 60)
    new = {name: lines[mark.get(name, 0):] for name, lines in m.reports.levels.items() if re.search(r"(^|/)L\d+$", name)}
    return {name: balance(lines) for name, lines in new.items() if lines}


def check_gone(before, after, name):
    """Where the VM ran: its pages are free, so is the VM's own one, and nothing else has changed."""
    others = {n: p for n, p in before["vm"].items() if n != name}
    gone = before["vm"][name]
    assert after["vm"] == others, f"expected the other VMs as before, {others}, saw {after['vm']}"
    assert after["own"] == before["own"] - 1, f"expected {before['own'] - 1} own pages, saw {after['own']}"
    assert after["free"] == before["free"] + gone + 1, f"expected {before['free'] + gone + 1} free pages, saw {after['free']}"
    assert after["iommu"] == before["iommu"], f"expected {before['iommu']}, saw {after['iommu']}"


def check_outside(before, after):
    """Further out: the inner has as much as before; what its nested tables hold is a cache."""
    for key in ("own", "iommu"):
        assert after[key] == before[key], f"expected {key} {before[key]}, saw {after[key]}"


def check_levels(before, after, name):
    levels = sorted(before, key=lambda n: n.count("/"))
    assert set(after) == set(before), f"expected reports of {levels}, saw {sorted(after)}"
    for level in levels[:-1]:
        check_outside(before[level], after[level])
    check_gone(before[levels[-1]], after[levels[-1]], name)


# --- one death -------------------------------------------------------------------------------------------------------

def check_port(m, depth, number):
    """The port of the inner that carried the dead guest's is in its start state."""
    if depth > 1:
        m.send_line("ports")
        line = m.expect(rf"^\[L0\] port inner {number}: (.*)", 60)[1]
        assert line.startswith("emulation,") and "function closed" in line and "prepared" not in line, f"L0: port {number} is left as: {line}"


def die(m, depth, number, death):
    name, ip, way, step, how = death
    before = report(m)
    order(m, ip, "die", False)
    m.expect(rf"\[{name}\] guest: die: at {step}$", 60)
    if how == "spin":
        spine.ping(m, 1, WITNESS[1])                # beside one that hangs
        console(m, depth, f"kill {name}")
    m.expect(tag(depth) + rf"vm {name} ended with code {KILLED if how == 'spin' else 0}: ", 60)
    spine.ping(m, 1, WITNESS[1])
    check_levels(before, report(m), name)
    check_port(m, depth, number)


def check_steps(m):
    """The list above is that of the guest's shell."""
    seen, way = [], None
    order(m, WITNESS[1], "steps")
    while line := m.expect(r"guest: die: (to pass-through|to emulation|step .*|that were all steps)$", 60)[1]:
        if line.startswith("that"):
            break
        way = {"to pass-through": "there", "to emulation": "back"}.get(line, way)
        seen += [(way, line[5:])] if line.startswith("step ") else []
    assert seen == STEPS, f"expected the steps {STEPS}, saw {seen}"


def check(m):
    spec = m.scenario.spec["die"]
    depth, todo = spec["depth"], deaths(spec)
    for name in [WITNESS[0]] + [d[0] for d in todo]:
        m.position = 0
        m.expect(rf"\[{name}\] guest: die: ready", 300)
    check_steps(m)
    for n, death in enumerate(todo):
        try:
            die(m, depth, 1 + n, death)
        except AssertionError as e:
            raise AssertionError(f"{death[2]}, {death[3]}, {death[4]}: {e}") from None
    order(m, WITNESS[1], "stop")
    m.expect(tag(depth) + "no VM left$", 60)
    try:
        code = m.wait(60)
    except Ended as e:
        raise AssertionError(f"expected an exit code, saw: {e}") from None
    expected = KILLED if any(d[4] == "spin" for d in todo) else 0
    assert code == expected, f"expected exit code {expected}, saw {code}"
    failed = [line for line in m.lines if re.search(r"\] FAIL ", line)]
    assert not failed, f"expected no failed check, saw {failed}"
    last = of(m.reports.levels["L0"], "iommu")[-1]
    assert last["domains"] == last["devices"] == 1, f"expected only the PF's own domain and device to be left, saw {last}"
    print(f"    {m.scenario.label}: {len(todo)} deaths: " + ", ".join(f"{d[2]} {d[3]} ({d[4]})" for d in todo))
