"""
Who speaks VDP: at each port of a chain one level, the innermost or the one with vdp=here, and none with vdp=off. Key `outside` as in
extended.py; `speakers`: {port: level that speaks, 0 = outermost; -1: none}.
"""
import time

import spine
from scenarios import extended


def states(m, number, depth, name):
    """What each level's console says of VDP at a port, outermost first."""
    found = []
    for level in range(depth):
        vm = "inner" if level < depth - 1 else name
        rest = rf"{vm} \d+: .*MAC 52:54:00:00:00:{number:02x},.*; extender up, E-CID \d+, VDP (\w+)"
        found.append(extended.port_line(m, level, rest).group(1))
    return found


def check(m):
    spec, guests = dict(m.scenario.spec["outside"]), extended.guests_of(m)
    ports, speakers = spec.pop("ports"), spec.pop("speakers")
    with extended.outside.Outside(m, **spec) as o:
        for port, guest in zip(ports, guests):
            m.position = 0
            m.expect(rf"\[{guest['name']}\] guest: echo: ready", 300)
            extended.extenders_up(o, port, extended.depth_of(m, guest))
        for port, guest in zip(ports, guests):
            depth, speaker = extended.depth_of(m, guest), speakers[port]
            if speaker >= 0:
                extended.associated(m, o, port)
            expected = ["associated" if level == speaker else "elsewhere" for level in range(depth)]
            deadline = time.monotonic() + extended.VDP_LIMIT      # the station hears of it after the bridge
            while (said := states(m, int(guest["mac"][-2:], 16), depth, guest["name"])) != expected:
                assert time.monotonic() < deadline, f"{port}: expected VDP {expected}, outermost first, saw {said}"
                time.sleep(0.2)
            spine.ping(o, 2, extended.ip_of(guest))
            if speaker >= 0:
                o.one_speaker(port)
            else:
                spoken = o.control_frames(port=port, dst="01:80:c2:00:00:00")
                assert not spoken, f"{port}: expected nobody to speak VDP, saw {spoken[:3]}"
        for guest in guests:
            spine.udp_echo(o, 20, extended.ip_of(guest))
        spine.good_end(m)
    print(f"    {m.scenario.label}: one speaker at each of {speakers}; {o.check_captures()}")
