"""The root port above the NIC sends peer-to-peer requests upstream, through VT-d: what QEMU has in its registers says so."""

ROOT_PORT = 3 << 15  # 00:03.0 (machine/commands.py)
ACS = 0xD
ISOLATED = 0x1D      # source validation, request redirect, completion redirect, upstream forwarding


def check(m):
    ecam = int(m.expect(r"^\[L0\] pci: ECAM at ([0-9a-f]+)")[1], 16)
    m.expect(r"^\[L0\] nic: igb 01:00\.0: port0 to port6, with 7 virtual functions")

    def config(offset):
        answer = m.qmp("human-monitor-command", **{"command-line": f"xp /1xw {ecam + ROOT_PORT + offset:#x}"})
        return int(answer.split()[-1], 16)

    at = 0x100
    while at and config(at) & 0xFFFF != ACS:
        at = config(at) >> 20
    assert at, "the machine's root port has no ACS"
    control = config(at + 4) >> 16
    assert control == ISOLATED, f"ACS control of the root port is {control:#x}"
