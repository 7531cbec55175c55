"""Switches between emulation and pass-through under traffic: nothing lost, repeated or reordered at either end, totals exact."""
import json

import spine
from machine import Ended


def guest_reports(m, kind):
    depth = m.scenario.spec["spine"].get("depth", 1)
    return [e for e in m.reports.levels["inner/" * (depth - 1) + "guest"] if e.get("guest") == kind]


def stream_perfect(stream):
    count = stream["count"]
    good = {"tx_data": count, "rx_data": count, "lost": 0, "disorder": 0, "bad": 0, "dup": 0}
    return stream["peer"] == good and stream["guest"] == good


def check(m, meanwhile=lambda peer: None, host=None, limit=900):
    """meanwhile: called with the peer's process while the traffic runs. host: where it runs, if not at the wire (outside.Outside)."""
    words = dict(w.split("=", 1) for w in m.scenario.spec["spine"]["cmdline"].split() if "=" in w)
    m.expect(r"guest: nic: port 0", 300)
    peer = spine.start_blast(host or m, m.dir)
    meanwhile(peer)
    try:
        code = m.wait(limit)
    except Ended as e:
        raise AssertionError(f"expected exit code 0, saw: {e}") from None
    result = spine.finish_blast(peer, m.dir, 30)
    assert code == 0, f"expected exit code 0, saw {code}"
    streams = [result, result["group"]] + ([result["multicast"]] if "group" in words else [])
    assert all(map(stream_perfect, streams)), f"expected every datagram once and in order, saw {result}"
    switches = sum(e["switches"] for e in guest_reports(m, "switch"))
    assert switches == int(words["count"]), f"expected {words['count']} switches, saw {switches}"
    nic, port = guest_reports(m, "nic")[-1], guest_reports(m, "port")[-1]
    for key in ("rx", "tx"):
        assert nic[key] == port[key], f"{key}: the plugins counted {nic[key]}, the port {port[key]}"
    assert port["switches"] == switches and port["dropped"] == 0, f"expected {switches} switches and no drop, saw {port}"
    for e in guest_reports(m, "switch"):
        print(f"    {m.scenario.label}: to {e['to']}: {e['switches']} switches, gap in instructions {e['gap_min']} to {e['gap_max']}, "
              f"mean {e['gap_sum'] // e['switches']}")
    print(f"    {m.scenario.label}: {json.dumps(guest_reports(m, 'shell')[-1])}")
