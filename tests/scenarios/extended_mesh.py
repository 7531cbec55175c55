"""
Guests of several levels behind one controlling bridge, on S-channels and on ports with an E-TAG, in both states, and a Linux host behind it:
everybody pings everybody, everybody's broadcasts and multicasts come to everybody once and in order (mixed.py). Key `outside` as in
extended.py; two ports or more with an E-TAG get what is for all of them by a group's E-CID.
"""
from scenarios import extended, extended_switch, mixed

GROUP_FRAMES = 2 * mixed.COUNT


def tags(seen, ports, guests, channels):
    """Each data frame of a guest has its own port's tags. Returns how many frames had a group's E-CID."""
    macs = {extended.outside.capture.frames.mac_bytes(g["mac"]): p for p, g in zip(ports, guests)}
    wrong, counts = [], dict.fromkeys(ports, 0)
    for s in seen:
        port = macs.get(s.frame.src)
        if port is None or s.from_bridge or extended_switch.is_control(s):
            continue
        own, etag = channels[port], s.frame.etag
        upward = not (etag and (etag.grp or etag.ingress)) and (s.frame.svid == own["svid"] and etag is None if "svid" in own else
                                                                 s.frame.svid is None and etag and etag.ecid in own["ecids"])
        counts[port] += bool(upward)
        # the bridge has its copies for others in the same capture, with the tags of those
        others = [c for p, c in channels.items() if p != port]
        copy = etag and etag.grp or any(s.frame.svid == c["svid"] if "svid" in c else s.frame.svid is None and etag and etag.ecid in c["ecids"]
                                        for c in others)
        if not upward and not copy:
            wrong.append(s)
    assert not wrong, f"expected each port's own tags, saw {wrong[:3]}"
    assert all(counts.values()), f"expected frames of all, saw {counts}"
    return sum(bool(s.frame.etag and s.frame.etag.grp) for s in seen), counts


def check(m):
    spec, guests = dict(m.scenario.spec["outside"]), extended.guests_of(m)
    ports = spec.pop("ports")
    with extended.outside.Outside(m, **spec) as o:
        mixed.each(m, guests, "ready")
        for port, guest in zip(ports, guests):
            extended.extenders_up(o, port, extended.depth_of(m, guest))
            extended.associated(m, o, port)
        mixed.check(m, host=o)
        for port in ports:
            o.one_speaker(port)
        groups, counts = tags(extended_switch.capture_of(o), ports, guests, {p: o.channel(p) for p in ports})
        # "no-ecid" are the host's, from before the ports had one
        drops = {p: s["drops"] for p, s in o.status()["ports"].items() if set(s["drops"]) - {"no-ecid"}}
        assert not drops, f"expected no frame that the bridge does not want, saw {drops}"
        assert groups >= GROUP_FRAMES * (spec.get("switch") == "own"), f"expected {GROUP_FRAMES} frames for groups, saw {groups}"
    print(f"    {m.scenario.label}: frames of each: {counts}; {groups} for a group's E-CID; {o.check_captures()}")
