"""No pass-through on this machine: the console says why, the guest that asks is told so by an error and works in emulation."""
import re

import spine


def check(m):
    why = m.expect(r"^\[L0\] nic: igb 01:00\.0: port0 to port6 cannot pass through: (.+)$")[1]
    assert why.startswith(("the machine has no valid ACPI table DMAR", "ACPI table DMAR is corrupt", "SR-IOV cannot be reached without",
                           "the platform does not support interrupt remapping", "unit 0 at ")), why
    m.expect(r"^\[L0\] hand-off to first VM")
    m.expect(r"^\[L0\] nic: VM wired gets no virtual function of 01:00\.0: " + re.escape(why))
    m.expect(r"^\[wired\] guest: nic: allocate: error -19")
    m.expect(r"^\[wired\] guest: echo: ready", 60)
    spine.ping(m)
    spine.udp_echo(m, 1)
    m.expect(r"^\[L0\] vm wired ended with code 0: exit port")
    m.position = 0
    m.expect(r"^\[plain\] guest: tscloop: 0 failed")
    m.expect(r"^\[L0\] vm plain ended with code 0: exit port")
