"""
The port outside: extenders of all levels come up by themselves at a controlling bridge, and guests talk to a Linux host behind it and to
each other (tests/peers/outside.py). Key `outside` of the stanza: arguments of outside.Outside; `ports`: the guests' ports as the bridge calls
them, in the order of the guests; `kill`: at the end all inner levels are killed at L0's console.
"""
import sys

import spine

sys.path.insert(0, str(spine.TESTS / "peers"))
import outside      # noqa: E402

VDP_LIMIT = 120     # seconds that hold a hang up, no more


def guests_of(m):
    stanza = m.scenario.spec["spine"]
    return [dict(stanza, **g) for g in stanza.get("guests", [{}])]


def depth_of(m, guest):
    return guest.get("level") or m.scenario.spec["spine"]["depth"]


def ip_of(guest):
    return dict(w.split("=", 1) for w in guest["cmdline"].split() if "=" in w)["ip"]


def extenders_up(o, port, depth):
    """Each level has its extender at the bridge, with an E-CID of its own."""
    events = [o.wait_event("ecid", limit=300, port=port, depth=d) for d in range(depth)]
    ecids = [e["ecid"] for e in events]
    assert len(set(ecids)) == depth, f"{port}: expected {depth} E-CIDs, saw {ecids}"
    return ecids


def associated(m, o, port):
    """lldpad holds an association, for the port's address."""
    o.wait_for(f"an association of lldpad at {port}", lambda: o.lldpad.bridge_state(f"{port}c") == "WAITCMD", VDP_LIMIT)


def killed(m, o, ports):
    """The chains of an inner level that is killed: L0's extender says good-bye, and the bridge forgets all E-CIDs of the chain."""
    m.send_line("kill inner")
    for port in ports:
        gone = o.wait_event("extender-gone", port=port, depth=0)
        assert gone["why"] == "left", f"{port}: expected a good-bye of the outermost extender, saw {gone}"
        assert not o.status()["ports"][port]["extenders"], f"{port}: expected no extender any more, saw {o.status()['ports'][port]}"
    code = m.wait(60)
    assert code == 254, f"expected exit code 254 of a killed VM, saw {code}"


def port_line(m, level, rest):
    """What a level's console says to `ports` about the port whose name and words match `rest`; the match."""
    prefix = r"(?:\[inner\] )" * level
    m.send_line("@inner " * level + "ports")
    return m.expect(rf"^{prefix}\[L{level}\] port {rest}", 60)


def check(m):
    spec, guests = dict(m.scenario.spec["outside"]), guests_of(m)
    ports, kill = spec.pop("ports"), spec.pop("kill", False)
    with outside.Outside(m, **spec) as o:
        for _ in guests:
            m.expect(r"guest: echo: ready", 300)
        for port, guest in zip(ports, guests):
            ecids = extenders_up(o, port, depth_of(m, guest))
            associated(m, o, port)
            print(f"    {m.scenario.label}: {port}: E-CIDs {ecids}, from the outermost level inward")
        for guest in guests:
            spine.ping(o, 3, ip_of(guest))
        for port in ports:
            o.one_speaker(port)
        if kill:
            killed(m, o, ports)
        else:
            for guest in guests:
                spine.udp_echo(o, 50, ip_of(guest))
            spine.good_end(m)
    print(f"    {m.scenario.label}: on the wire: {o.check_captures()}")
