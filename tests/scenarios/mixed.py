"""
Guests of several levels, in pass-through and in emulation at the same time: everybody pings everybody, everybody's broadcasts come to
everybody else, once and in order, and nobody gets a frame back that it has sent. With VLANs: the same within each, and nothing between them.
"""
import json
import subprocess
import sys

import spine

PEER = spine.TESTS / "peers" / "mesh_peer.py"
COUNT = 20
NEVER_PINGS = 3    # as in guest/work/mesh.c


def words(guest):
    return dict(w.split("=", 1) for w in guest["cmdline"].split() if "=" in w)


def member(guest):
    ip = words(guest)["ip"]
    return f"{ip},{guest['mac']},{guest['vlan']}" if guest.get("vlan") else ip


def each(m, guests, what):
    for g in guests:
        m.position = 0
        m.expect(rf"\[{g['name']}\] guest: mesh: {what}$", 300)


def reports(m, guest, kind):
    name = next(n for n in m.reports.levels if n.split("/")[-1] == guest["name"])
    return [e for e in m.reports.levels[name] if e.get("guest") == kind]


def check_guest(m, guest):
    """What it counted, on its own and against the port's totals; who returned what it had sent."""
    peers = {int(n) for n in words(guest)["peers"].split(",")}
    met = {e["peer"]: e for e in reports(m, guest, "mesh")}
    assert set(met) == peers, f"{guest['name']}: expected reports of {peers}, saw {met}"
    many = COUNT if "group" in words(guest) else 0
    for e in met.values():
        assert (e["answered"], e["heard"], e["grouped"], e["wrong"]) == (COUNT, COUNT, many, 0), f"{guest['name']}: expected {COUNT} of each, saw {e}"
    nic, port, shell = (reports(m, guest, kind)[-1] for kind in ("nic", "port", "shell"))
    for key in ("rx", "tx"):
        assert nic[key] == port[key], f"{guest['name']}: {key}: the guest counted {nic[key]}, the port {port[key]}"
    assert port["dropped"] == nic["rx_errors"] == 0, f"{guest['name']}: expected no drop, saw {port} {nic}"
    way = (port["emu_rx"], port["emu_tx"]) if guest.get("emulated") else (port["rx"] - port["emu_rx"], port["tx"] - port["emu_tx"])
    assert way == (port["rx"], port["tx"]), f"{guest['name']}: expected every frame by its own way, saw {port}"
    strangers, never = reports(m, guest, "mesh-all")[-1], len(words(guest).get("never", "").split(",")) * NEVER_PINGS
    assert "never" not in words(guest) or strangers["never"] == never, f"{guest['name']}: expected {never} pings to nobody, saw {strangers}"
    if guest.get("emulated"):
        assert shell["own"] == 0, f"{guest['name']}: expected no frame of its own back, saw {shell}"
    print(f"    {m.scenario.label}: {guest['name']}: {nic['tx']} frames sent, {nic['rx']} received, {shell['own']} of its own "
          "returned by the NIC and dropped by the shell")


def check_wire(result, guests):
    heard = {words(g)["ip"]: COUNT for g in guests}
    grouped = {words(g)["ip"]: COUNT if "group" in words(g) else 0 for g in guests}
    assert (result["heard"], result["grouped"], result["wrong"]) == (heard, grouped, 0), \
        f"outside: expected {heard} broadcasts and {grouped} multicasts, in order, saw {result}"
    vlans = {g["mac"]: g["vlan"] for g in guests if g.get("vlan")}
    for mac, counts in result["seen"].items():
        assert mac in vlans and list(counts) == [str(vlans[mac])], f"outside: expected frames of {vlans} only, saw {result['seen']}"
    assert set(result["seen"]) == set(vlans), f"outside: expected frames of all of {vlans}, saw {result['seen']}"


def check(m, meanwhile=lambda: None, host=None):
    """meanwhile: called when they have begun. host: where the peer runs, if not at the wire (outside.Outside)."""
    host, guests = host or m, m.scenario.spec["spine"]["guests"]
    group = words(guests[0]).get("group")
    each(m, guests, "ready")
    peer = host.start_in_network([sys.executable, str(PEER), "--count", str(COUNT), *(["--group", group] if group else []), *map(member, guests)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    meanwhile()
    each(m, guests, "complete")
    if not guests[0].get("vlan"):
        for g in guests:
            spine.ping(host, 3, words(g)["ip"])
    out = peer.communicate("stop\n", timeout=120)[0]
    spine.good_end(m)
    for g in guests:
        check_guest(m, g)
    check_wire(json.loads(out), guests)
