"""Echo, then blast with the guest (spine.py); then the counts: every packet at every place, and no exit for any of them."""
import re

import spine
from machine import Ended


def reports_of(m, level, guest=None, kind=None):
    return [e for e in m.reports.levels.get(level, [])
            if (guest is None or e.get("guest") == guest) and (kind is None or e.get("kind") == kind)]


def phase_exits(m, level, kind, phase="traffic"):
    return spine.by_phase(m.reports.levels[level], kind).get(phase, {})


def levels_and_guest(depth):
    """Names of the levels from L0 to the innermost Nestling, and the guest's."""
    names = ["inner/" * i + f"L{i}" for i in range(depth)]
    return names, "inner/" * (depth - 1) + "guest"


def check_counts(m, count, result):
    """Peer, guest and VF registers agree about every packet."""
    names, guest = levels_and_guest(m.scenario.spec["spine"].get("depth", 1))
    assert result["peer"]["rx_data"] == count and result["guest"]["rx_data"] == count, f"{count} data packets expected, saw {result}"
    nic = [e for e in reports_of(m, guest, "nic")]
    port = [e for e in reports_of(m, guest, "port")]
    assert nic and len(nic) == len(port), f"expected as many nic as port reports, saw {len(nic)} and {len(port)}"
    for ours, hardware in zip(nic, port):
        for key in ("rx", "tx"):
            assert ours[key] == hardware[key], f"{key}: the guest counted {ours[key]}, the VF's registers {hardware[key]}"
    loop = reports_of(m, guest, "tscloop")[-1]
    return names, guest, loop


def traffic_exits(m, names):
    """{level: exits of the traffic phase by reason}, those of the guest's own (nested at L0) included."""
    result = {}
    for name in names:
        sums = dict(phase_exits(m, name, "exits"))
        for reason, n in phase_exits(m, name, "exits_nested").items():
            sums[reason + " (nested)"] = n
        result[name] = sums
    return result


def check_polled(m, names, loop):
    """Two traffic phases (echo, blast): one border of a phase each, nothing else, whatever the number of packets."""
    exits = traffic_exits(m, names)
    for name, sums in exits.items():
        others = {k: n for k, n in sums.items() if not re.match(r"VMCALL|VMRESUME|VMREAD|VMWRITE|INVVPID", k)}
        assert not others, f"{name}: expected only the borders of the phases, saw {sums}"
    vmcalls = exits[names[-1]].get("VMCALL", 0)
    assert vmcalls == 2, f"{names[-1]}: expected 2 VMCALLs (one per phase), saw {exits[names[-1]]}"
    if m.options.cpus == 1:     # with more, each halted CPU moves the common clock on
        assert loop["exact"] == loop["samples"] > 0, f"TSC loop: expected every sample exact, saw {loop}"


def check_inner_interrupts(name, sums):
    """No exit for an interrupt of a running guest. One that finds the level itself at work, behind another exit, is an exit of its own."""
    inner = {}
    for key, n in sums.items():
        inner[key.split()[0]] = inner.get(key.split()[0], 0) + n
    others = inner.get("HLT", 0) + inner.get("VMCALL", 0)
    assert set(inner) <= {"VMCALL", "VMRESUME", "HLT", "EXTERNAL_INTERRUPT"} and inner.get("EXTERNAL_INTERRUPT", 0) <= others, \
        f"{name}: expected no exits for interrupts of a running guest, saw {sums}"


def can_post(m):
    return any("posted interrupts yes" in line for line in m.lines if line.startswith("[L0] VT-x"))


def check_interrupts(m, names, guest):
    """Running vCPU: at most one exit per interrupt at the outermost level, none at the others, where the CPU can post."""
    taken = sum(e["irqs"] for e in reports_of(m, guest, "nic"))
    assert taken > 0, "expected interrupts, saw none"
    outermost = traffic_exits(m, names)[names[0]]
    external = sum(n for k, n in outermost.items() if k.startswith("EXTERNAL_INTERRUPT"))
    arrived = sum(e.get("nic_irqs", 0) for e in reports_of(m, names[0], kind="counters"))
    print(f"    {m.scenario.label}: guest took {taken} interrupts; L0 took {arrived}, exits in traffic {outermost}")
    if not can_post(m):
        return
    assert external <= arrived + 2, f"L0: expected at most one exit per interrupt, saw {external} for {arrived}"
    for name in names[1:]:
        check_inner_interrupts(name, traffic_exits(m, names)[name])


def check_posted(m, names, guest, words):
    """
    Self-armed posting: no exit for an interrupt while the vCPU runs, at any level; by L0's count (compared with the processor's above).
    At the border of a phase a level between may run instead of the guest: then an interrupt finds another VMCS, once for each border.
    """
    nic = reports_of(m, guest, "nic")
    assert all(e["posted"] == 1 for e in nic), f"expected self-armed posting, saw {nic}"
    taken, halts = sum(e["irqs"] for e in nic), sum(e["halts"] for e in nic)
    end = reports_of(m, guest, "end")[-1]
    exits = {name: traffic_exits(m, [name])[name] for name in names}
    print(f"    {m.scenario.label}: guest took {taken} interrupts, halted {halts} times, {end['irqs_empty']} empty notifications; "
          f"exits in traffic {exits}")
    assert taken > 100, f"expected interrupts, saw {taken}"
    assert end["irqs_unbound"] == 0, f"expected no interrupt of a vector that nobody has, saw {end}"
    if "halt" in words:
        return
    for name in names:
        external = sum(n for k, n in exits[name].items() if k.startswith("EXTERNAL_INTERRUPT"))
        borders = exits[names[-1]].get("VMCALL", 0) if len(names) > 1 else 0
        assert external <= borders, f"{name}: expected at most {borders} exits for interrupts, saw {exits[name]}"


def check_post_refused(m, names, guest):
    """On a processor without posted interrupts: the guest is told, and has its interrupts as ever."""
    assert any("guest: nic: no self-armed posting: error -95" in line for line in m.lines), "expected self-armed posting to be refused"
    nic = reports_of(m, guest, "nic")
    assert all(e["posted"] == 0 for e in nic), f"expected no self-armed posting, saw {nic}"
    check_interrupts(m, names, guest)


def check_against_processor(m):
    """What L0 says it took is what the emulated processor says it delivered, reason by reason, over the whole run."""
    ours = {}
    for kind in ("exits", "exits_nested"):
        for sums in spine.by_phase(m.reports.levels["L0"], kind).values():
            for name, n in sums.items():
                ours[name] = ours.get(name, 0) + n
    names = exit_names()
    theirs = {}
    for cpu in m.all_hardware_exits() or []:
        for reason, n in cpu.items():
            name = names.get(int(reason), f"reason {reason}")
            theirs[name] = theirs.get(name, 0) + n
    if m.options.kind == "cosim":
        assert ours == theirs, f"VM exits: L0 counted {ours}, the processor {theirs}"


def exit_names():
    """Basic exit reasons from vmx/vmx.h: R(NAME, number)."""
    text = (spine.TESTS.parent / "vmx" / "vmx.h").read_text()
    return {int(n): name for name, n in re.findall(r"R\((\w+), (\d+)\)", text)}


def check(m):
    stanza = m.scenario.spec["spine"]
    words = dict(w.split("=", 1) for w in stanza["cmdline"].split() if "=" in w)
    m.expect(r"guest: echo: ready", 300)
    spine.ping(m)
    spine.udp_echo(m)
    result = spine.finish_blast(spine.start_blast(m, m.dir), m.dir)
    try:
        code = m.wait(300)
    except Ended as e:
        raise AssertionError(f"expected exit code 0, saw: {e}") from None
    assert code == 0, f"expected exit code 0, saw {code}"
    names, guest, loop = check_counts(m, int(words["count"]), result)
    check_against_processor(m)
    posting = stanza.get("posting", True) is True
    if "post" in words and not can_post(m):
        check_post_refused(m, names, guest)
    elif "post" in words and posting:
        check_posted(m, names, guest, words)
    elif "irq" in words or "halt" in words:
        check_interrupts(m, names, guest)
        assert posting or not any(e["posted"] for e in reports_of(m, guest, "nic")), "expected no self-armed posting"
    else:
        check_polled(m, names, loop)
