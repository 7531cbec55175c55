"""
Echo, then blast with a guest whose port stays in emulation: every packet at both ends and in the port's totals; what a packet costs
at each level is shown. Kicks go with batches: the device does all that is there inside one exit, with event indices or without.
"""
import spine
from scenarios import traffic


def packets_of(m, guest):
    """Frames of all workloads, both ways."""
    return sum(e["rx"] + e["tx"] for e in traffic.reports_of(m, guest, "nic"))


def per_packet(m, names, packets):
    """{level: exits per packet of the traffic phases}; shows them, with their reasons."""
    result = {}
    for name, sums in traffic.traffic_exits(m, names).items():
        result[name] = sum(sums.values()) / packets
        reasons = ", ".join(f"{r} {n}" for r, n in sorted(sums.items(), key=lambda x: -x[1]))
        print(f"    {m.scenario.label}: {name.split('/')[-1]}: {result[name]:.3f} exits per packet ({packets} packets): {reasons}")
    return result


def check(m):
    words = dict(w.split("=", 1) for w in m.scenario.spec["spine"]["cmdline"].split() if "=" in w)
    m.expect(r"guest: echo: ready", 300)
    spine.ping(m)
    spine.udp_echo(m)
    result = spine.finish_blast(spine.start_blast(m, m.dir), m.dir)
    spine.good_end(m)
    names, guest, _ = traffic.check_counts(m, int(words["count"]), result)
    traffic.check_against_processor(m)
    for e in traffic.reports_of(m, guest, "port"):
        assert e["emu_rx"] == e["rx"] and e["emu_tx"] == e["tx"], f"expected every frame by the emulated device, saw {e}"
        assert e["dropped"] == e["switches"] == 0, f"expected no drop and no switch, saw {e}"
    per_packet(m, names, packets_of(m, guest))
