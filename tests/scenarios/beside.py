"""
Several guests side by side: the last one answers ping and UDP echo, the others misbehave. Each must end as its workload says,
or go on as it says, with a line that names it; the last one must not notice.
"""
import re

import spine
from machine import Ended

# What becomes of a guest that runs a workload; {0}: the guest's name.
ENDS = {
    "echo": r"vm {0} ended with code 0",
    "torture": r"vm {0} ended with code 0",
    "torture-nic": r"vm {0} ended with code 0",
    "torture-vmx": r"vm {0} ended with code 0",
    "spin": r"\[{0}\] guest: spinning",
    "triplefault": r"vm {0} ended with code 255: vCPU 0: triple fault",
    "exception": r"vm {0} ended with code 250",
    "armed": r"vm {0} ended with code 0",
    "nowhere": r"vm {0} ended with code 255: vCPU 0: a jump to where there is no memory at 0x[0-9a-f]+",
}


def ends_of(guest):
    return ENDS[guest["cmdline"].split()[0]].format(guest["name"])


# Besides the end that is expected, any other end of the same guest stops the waiting: then its checks say why.
OTHER_END = r"|vm {0} ended with code"


def failed_checks(m):
    return [line for line in m.lines if "] FAIL " in line]


def expect_end(m, guest):
    m.position = 0
    wanted = ends_of(guest)
    line = m.expect(wanted + OTHER_END.format(guest["name"]), 300).string
    assert not failed_checks(m), f"expected no failed check, saw {failed_checks(m)}"
    assert re.search(wanted, line), f"expected a line /{wanted}/, saw '{line}'"


def check(m):
    stanza = m.scenario.spec["spine"]
    *others, last = stanza["guests"]
    ip = dict(w.split("=", 1) for w in last["cmdline"].split() if "=" in w)["ip"]
    m.expect(rf"\[{last['name']}\] guest: echo: ready", 300)
    spine.ping(m, 2, ip)
    for guest in others:
        expect_end(m, guest)
    spine.ping(m, 2, ip)
    spine.udp_echo(m, 50, ip)
    expect_end(m, last)
    if any(g["cmdline"].startswith("spin") for g in others):
        return                          # it spins on for ever
    worst = 0 if all(ends_of(g).endswith("code 0") for g in others) else None
    try:
        code = m.wait(300)
    except Ended as e:
        raise AssertionError(f"expected an exit code, saw: {e}") from None
    assert worst is None and code or code == worst, f"expected exit code {worst}, saw {code}"
