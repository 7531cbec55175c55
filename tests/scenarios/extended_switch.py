"""
Switches between emulation and pass-through behind a controlling bridge, as switch.py, with an association of lldpad: not one control frame
is a switch's, the association lasts, and the port is the same on the wire in every frame. Key `outside` as in extended.py; `seconds` in it: the traffic lasts that
long at least.
"""
import collections
import time

from scenarios import extended, switch

KEEP_ALIVE = 15.7       # seconds in which one comes surely: RKA 20 is 10.5 s, and lldpad waits one and a half times that
# Seconds of ours: while the machine works, its time does not run as ours does.
PERIODS = {"lldp evb": 12.0, "lldp pe": 12.0, "pe-csp create request": 12.0, "vdp associate": 4.0}
FAST_LLDPS = 5          # the first, and four for a new neighbour, a second apart
MAC = "52:54:00:00:00:02"


# control: frames of the port's control planes; caused: those of them that do not come in any case; encapsulations: (S-VID, source) of its data
Seen = collections.namedtuple("Seen", "seconds control caused keep_alives ecids encapsulations classes")


def capture_of(o):
    o.flush()
    return list(extended.outside.capture.read(o.pcap))


def is_control(seen):
    return seen.frame.type in extended.outside.capture.KNOWN


def one_encapsulation(seen, svid):
    """Of each frame from the machine: what is neither the bridge's nor the host's behind it."""
    mac, host = map(extended.outside.capture.frames.mac_bytes, (MAC, extended.outside.network.HOST_MAC))
    ours = [s for s in seen if not s.from_bridge and s.frame.src != host]
    wrong = [s for s in ours if s.frame.src != mac or s.frame.svid != svid or s.frame.etag and not is_control(s)]
    assert ours and not wrong, f"expected {MAC}, S-tag {svid} and no other tag on all data, saw {wrong[:3]}"
    return ours


def keep_alives(seen, since, until):
    """The station's; the bridge's answers are of the same type."""
    return sum(extended.outside.capture.decode(s.frame) == "vdp associate" for s in seen
               if is_control(s) and not s.from_bridge and since <= s.time <= until)


def settled(o, depth):
    """The agents have said what they say fast of themselves: one of PE-CSP at each level, and that of VDP."""
    def fast():
        heard = collections.Counter((e["etag"], e["dst"]) for e in o.control_frames(kind="lldp"))
        return sum(n >= FAST_LLDPS for n in heard.values()) > depth
    o.wait_for(f"{FAST_LLDPS} LLDPs of each agent", fast, 120)


def switches(m):
    """The traffic and its switches, as they were on the wire."""
    spec = dict(m.scenario.spec["outside"])
    [port], seconds = spec.pop("ports"), spec.pop("seconds", 0)
    with extended.outside.Outside(m, **spec) as o:
        m.expect(r"guest: nic: port 0", 300)
        m.position = 0      # switch.py wants that line, too
        ecids = extended.extenders_up(o, port, extended.depth_of(m, extended.guests_of(m)[0]))
        extended.associated(m, o, port)
        settled(o, len(ecids))
        o.in_network(["ip", "neigh", "replace", "10.0.0.2", "lladdr", MAC, "nud", "permanent", "dev", "br0"])
        since = time.time()
        switch.check(m, host=o, limit=max(900, 4 * seconds))
        seen = capture_of(o)
        ours = one_encapsulation(seen, int(port[2:]))
        data = [s for s in ours if not is_control(s)]
        until = max(s.time for s in data)      # the last switch was before; the port goes down after
        count, caused = o.not_periodic(port, since, until, PERIODS)
        assert not caused, f"expected periodic control frames alone, saw {caused[:5]}"
        alive = keep_alives(seen, since, until)
        had = [e["ecid"] for e in o.find("ecid", port=port)]
        assert had == ecids, f"expected E-CIDs {ecids} all the time, saw {had}"
        assert until - since >= seconds, f"expected {seconds} s of traffic, saw {until - since:.0f}"
        assert alive >= int((until - since) / KEEP_ALIVE), f"expected an association every {KEEP_ALIVE} s for {until - since:.0f} s, saw {alive}"
        drops = o.status()["ports"][port]["drops"]
        assert not drops, f"expected no frame that the bridge does not want, saw {drops}"
        o.one_speaker(port)
    return Seen(until - since, count, caused, alive, had, {(s.frame.svid, s.frame.src) for s in data}, o.check_captures())


def check(m):
    seen = switches(m)
    print(f"    {m.scenario.label}: {seen.seconds:.1f} s of switches: {seen.control} periodic control frames, {seen.keep_alives} keep-alives, no others; {seen.classes}")
