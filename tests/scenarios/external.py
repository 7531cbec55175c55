"""
Guests behind an external switch: each port's frames carry its S-tag on the wire, in both states, and S-channels are apart. At their far ends
are a Linux host, or several, or a Linux bridge (s_channels.py). Key `external` of the stanza: how = "traffic" (echo and blast, as
traffic.py), "switch" (as switch.py), "mesh" (as mixed.py, a bridge joins the channels), "apart" (a host for each channel).

What is on the wire is captured: every frame has an S-tag, each of a guest that of its port and the port's address; and each guest
has had those frames, and no others, that came with its tag and were for it. Meanwhile frames without a tag, with a C-tag, and with somebody
else's S-tag come in for everybody.
"""
import collections
import json
import struct
import subprocess
import sys

import spine
from scenarios import mixed, switch, traffic

PEERS = spine.TESTS / "peers"
STAG, STRAY, HOST = 0x88A8, 0x88B5, bytes.fromhex("0200000000aa")    # type of what must not arrive: for experiments (IEEE 802)
ALL = b"\xff" * 6
NOBODYS = 999
CONTROL = [struct.pack("!H", t) for t in (0x88CC, 0x8940, 0x893F)]    # LLDP, ECP, and what has an E-TAG: the extenders' own


def guests_of(m):
    """[(name of its level, S-VID, MAC)]. Ports of guests further in come first (spine.bundle)."""
    stanza = m.scenario.spec["spine"]
    found = []
    for g, svid in zip(sorted(stanza.get("guests", [stanza]), key=lambda g: -g.get("level", stanza["depth"])), stanza["svid"]):
        mac = bytes.fromhex(g.get("mac", "52:54:00:00:00:02").replace(":", ""))
        found.append((g.get("name", "guest"), svid, mac))
    return found


class Outside:
    """The program at the other end of the wire, and the devices that it makes."""

    def __init__(self, m, hosts, bridge=False):
        """hosts: {svid: address of the Linux host there, or None}; bridge: one device, br0, of all, with the one address."""
        self.m = m
        m.in_network(["ip", "addr", "flush", "dev", "tap0"])
        self.program = m.start_in_network([sys.executable, str(PEERS / "s_channels.py"), *(f"{svid}=s{svid}" for svid in hosts)],
                                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.program.stdout.readline() == "ready\n", "the S-channels' program does not start"
        if bridge:
            m.in_network(["ip", "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"])
            for svid in hosts:
                m.in_network(["ip", "link", "set", f"s{svid}", "master", "br0", "up"])
        for device, address in [("br0", bridge)] if bridge else [(f"s{svid}", address) for svid, address in hosts.items()]:
            m.in_network(["ip", "addr", "add", f"{address}/24", "broadcast", "+", "dev", device])
            m.in_network(["ip", "link", "set", device, "up"])

    def know(self, svid, address, mac):
        """So that the host asks nobody for it, least of all when the guest has gone."""
        m = self.m
        m.in_network(["ip", "neigh", "replace", address, "lladdr", mac.hex(":"), "nud", "permanent", "dev", f"s{svid}"])

    def stray(self, guests):
        """Frames that are nobody's, to each guest and to all."""
        round_of = []
        for to in [*(mac for _, _, mac in guests), ALL]:
            for tag in [b"", struct.pack("!HH", STAG, NOBODYS), struct.pack("!HH", STAG, 0),
                        *(struct.pack("!HH", 0x8100, svid) for _, svid, _ in guests)]:
                round_of.append(to + HOST + tag + struct.pack("!H", STRAY) + bytes(46))
        for _, svid, mac in guests:     # … and to each the others', by their tags
            round_of += [other + HOST + struct.pack("!HHH", STAG, svid, STRAY) + bytes(46) for _, _, other in guests if other != mac]
        self.round = len(round_of)
        self.program.stdin.write("".join(frame.hex() + "\n" for frame in round_of))
        self.program.stdin.flush()

    def end(self):
        out, _ = self.program.communicate(timeout=60)
        result = json.loads(out)
        assert result["other"] == 0, f"expected an S-tag on every frame of the machine, saw {result}"
        return {int(svid): n for svid, n in result["channels"].items()}


# --- the capture -----------------------------------------------------------------------------------------------------

def frames(path):
    data = path.read_bytes()
    assert struct.unpack_from("=I", data)[0] in (0xA1B2C3D4, 0xA1B23C4D)
    at = 24
    while at + 16 <= len(data):
        length = struct.unpack_from("=I", data, at + 8)[0]
        yield data[at + 16:at + 16 + length]
        at += 16 + length


def check_wire(m, guests, strays_each):
    """
    strays_each: nobody's frames in one round of them. Returns {name: frames that it sent}, {name: the extenders'}, {name: frames that came for it or
    for all}, {name: multicasts that came}.
    """
    macs = {mac: (name, svid) for name, svid, mac in guests}
    by_svid = {svid: (name, mac) for name, svid, mac in guests}
    (sent, control, came, groups), strays = (collections.Counter() for _ in range(4)), 0
    for frame in frames(m.dir / "packets.pcap"):
        to, source, kind, tci = frame[:6], frame[6:12], *struct.unpack_from("!HH", frame, 12)
        if source in macs:
            name, svid = macs[source]
            if kind == STAG and tci == svid:
                (control if frame[16:18] in CONTROL else sent)[name] += 1
                continue
            # through the bridge it comes back, to another port
            assert kind == STAG and tci in by_svid, f"expected S-tag {svid} on each frame of {name}, saw {frame[:20].hex()}"
        if kind == STAG and tci in by_svid and to in (ALL, by_svid[tci][1]):
            came[by_svid[tci][0]] += 1
        elif kind == STAG and tci in by_svid and to[0] & 1:
            groups[by_svid[tci][0]] += 1
        strays += frame[12:14] == struct.pack("!H", STRAY) or frame[16:18] == struct.pack("!H", STRAY)
    assert strays >= strays_each, f"expected {strays_each} frames that are nobody's on the wire, or more, saw {strays}"
    return sent, control, came, groups


def own_reports(m, name, kind):
    level = next(n for n in m.reports.levels if n.split("/")[-1] == name)
    return [e for e in m.reports.levels[level] if e.get("guest") == kind]


def check_frames(m, guests, outside, strays_each):
    """
    On the wire, at the far end and in the guests: the same frames. Of multicasts a guest may get those that it did not ask for, and at
    a switch of state group frames come by both devices; the shell counts those that it drops.
    """
    sent, control, came, groups = check_wire(m, guests, strays_each)
    for name, svid, _ in guests:
        nic = own_reports(m, name, "nic")
        rx, tx = sum(e["rx"] for e in nic), sum(e["tx"] for e in nic)
        twice = sum(e["duplicate"] + e["left"] for e in own_reports(m, name, "shell"))
        print(f"    {m.scenario.label}: {name}: {tx} frames sent, {sent[name]} on the wire with S-tag {svid}, and {control[name]} of the extenders; {came[name]} for it and "
              f"{groups[name]} multicasts came, {rx} received, {twice} of them twice")
        assert tx == sent[name] == outside[svid] - control[name], \
            f"{name}: expected {tx} frames with S-tag {svid}, saw {sent[name]}; outside {outside[svid]}, {control[name]} of the extenders'"
        assert came[name] <= rx - twice <= came[name] + groups[name], \
            f"{name}: expected {came[name]} frames and at most {groups[name]} multicasts, saw {rx} with {twice} twice"


# --- what the guests do ----------------------------------------------------------------------------------------------

def while_running(m, process, outside, guests):
    """Strays while the traffic is going on."""
    while True:
        outside.stray(guests)
        try:
            process.wait(1)
            return
        except subprocess.TimeoutExpired:
            pass


def full_frames(m, ip=spine.GUEST_IP):
    """As long as the MTU allows, unfragmented."""
    done = m.in_network(["ping", "-n", "-c", "1", "-W", "60", "-M", "do", "-s", "1472", ip], check=False, capture_output=True, text=True)
    assert "1 received" in done.stdout, f"expected an answer to a ping of 1500 bytes, saw {done.stdout}"


def do_traffic(m, guests, outside):
    m.expect(r"guest: echo: ready", 300)
    outside.know(guests[0][1], spine.GUEST_IP, guests[0][2])
    spine.ping(m)
    outside.stray(guests)
    full_frames(m)
    spine.udp_echo(m)
    peer = spine.start_blast(m, m.dir)
    while_running(m, peer, outside, guests)
    result = spine.finish_blast(peer, m.dir)
    spine.good_end(m)
    words = mixed.words(m.scenario.spec["spine"])
    traffic.check_counts(m, int(words["count"]), result)
    traffic.check_against_processor(m)


def do_switch(m, guests, outside):
    outside.know(guests[0][1], spine.GUEST_IP, guests[0][2])
    switch.check(m, lambda peer: while_running(m, peer, outside, guests))


def check(m):
    how = m.scenario.spec["external"]["how"]
    guests = guests_of(m)
    if how == "mesh":
        outside = Outside(m, {svid: None for _, svid, _ in guests}, bridge=spine.HOST_IP)
        mixed.check(m, lambda: outside.stray(guests))
    elif how == "apart":
        outside = Outside(m, {svid: f"10.0.{i}.1" for i, (_, svid, _) in enumerate(guests)})
        do_apart(m, guests, outside)
    else:
        outside = Outside(m, {guests[0][1]: spine.HOST_IP})
        {"traffic": do_traffic, "switch": do_switch}[how](m, guests, outside)
    check_frames(m, guests, outside.end(), outside.round)


def do_apart(m, guests, outside):
    """Each has a peer of its own; both send broadcasts and multicasts, too."""
    peers = []
    for i, (name, svid, mac) in enumerate(guests):
        outside.know(svid, f"10.0.{i}.2", mac)
        m.position = 0
        m.expect(rf"\[{name}\] guest: nic: port 0", 300)
        peers.append((m.start_in_network([sys.executable, str(PEERS / "blast_peer.py"), "--ip", f"10.0.{i}.1", "--port", str(spine.PORT)],
                                         stdout=subprocess.PIPE, text=True), name))
    for peer, _ in peers:
        while_running(m, peer, outside, guests)
    for peer, name in peers:
        result = json.loads(peer.communicate()[0].strip().splitlines()[-1])
        assert peer.returncode == 0, f"{name}: expected every datagram once and in order, saw {result}"
    spine.good_end(m)
