"""
One guest raises interrupts without end for a vCPU of its own that does not run, and the wire sends it frames as fast as it can: the guest
that shares that vCPU's CPU goes on meanwhile, and afterwards the first one has all its interrupts again.
"""
import re
import threading

import spine


def ip_of(guest):
    return dict(w.split("=", 1) for w in guest["cmdline"].split() if "=" in w)["ip"]


def flood(m, ip, over):
    """Frames that nobody answers: what they raise counts."""
    while not over.is_set():
        m.in_network(["ping", "-n", "-q", "-f", "-c", 500, "-w", 2, ip], check=False, capture_output=True, text=True)


def lines_of(m, pattern):
    return [line for line in list(m.lines) if re.search(pattern, line)]


def check(m):
    stormy, sibling = m.scenario.spec["spine"]["guests"]
    m.expect(rf"\[{sibling['name']}\] guest: echo: ready", 300)
    m.position = 0      # they come in any order
    m.expect(r"guest: storm: begins", 300)
    over, answered = threading.Event(), 0
    sender = threading.Thread(target=flood, args=(m, ip_of(stormy), over))
    sender.start()
    try:
        while not lines_of(m, r"guest: storm: is over|vm \S+ ended|FAIL "):
            spine.ping(m, 1, ip_of(sibling))
            answered += 1
    finally:
        over.set()
        sender.join()
    masked = lines_of(m, r"nic: port \d+ of VM \S+: interrupt storm on vector 0, masked")
    print(f"    {m.scenario.label}: {answered} pings of the sibling answered during the storms; {len(masked)} lines about storms")
    m.position = 0
    line = m.expect(rf"vm {stormy['name']} ended with code", 300).string
    assert "ended with code 0" in line, f"expected code 0, saw '{line}'"
    assert masked, "expected the bound of storms to mask the vector, and to say so"
    assert answered >= 10, f"expected 10 pings of the sibling to be answered during the storms, saw {answered}"
    spine.udp_echo(m, 100, ip_of(sibling))
    spine.good_end(m)
