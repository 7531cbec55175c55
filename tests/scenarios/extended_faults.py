"""
Everything that may go wrong between extenders, VDP stations and their bridge, one after the other, at ports of two levels with an S-channel and
with an E-TAG: after each all come back by themselves, and pings go through. Key `outside` as in extended.py, with our own VDP bridge.
"""
import time

import spine
from scenarios import extended

LIMIT = 150         # seconds that hold a hang up, no more
# PE-CSP and its ECP link, each met by the exchange that follows a CSP Open of the bridge's
PE_FAULTS = ["no-response", "refuse", "wrong-transaction", "malformed", "no-ack", "wrong-sequence", "duplicate", "duplicate-ack"]
# VDP and its ECP link, each met by the exchange that follows a DeAssociate of the bridge's
VDP_FAULTS = ["no-answer", "duplicate-answer", "no-ack", "wrong-sequence", "duplicate", "duplicate-ack", "lose-in", "lose-out"]


class Faults:
    def __init__(self, m, o, ports, guests):
        self.m, self.o, self.ports, self.guests = m, o, ports, guests
        self.depth = {p: extended.depth_of(m, g) for p, g in zip(ports, guests)}
        self.said = []

    def well(self):
        """What is not as it should be; "" if all is."""
        status = self.o.status()["ports"]
        for port in self.ports:
            pes, vdp = status[port]["extenders"], status[port]["vdp"]
            if len(pes) != self.depth[port] or any(p["ecid"] is None or p["waiting"] for p in pes):
                return f"{port}: extenders {pes}"
            known = {p["depth"]: {e for _, e, _ in p["registered"]} for p in pes}
            if any(inner["ecid"] not in known[outer["depth"]] for outer in pes for inner in pes if inner["depth"] > outer["depth"]):
                return f"{port}: not registered: {pes}"
            if "associate" not in vdp["vsis"].values():
                return f"{port}: VDP {vdp}"
        return ""

    def recovered(self, what, pings=1):
        start = time.monotonic()
        while wrong := self.well():
            assert time.monotonic() - start < LIMIT, f"{what}: expected all to recover in {LIMIT} s, saw {wrong}"
            time.sleep(0.1)
        for guest in self.guests:
            try:
                spine.ping(self.o, pings, extended.ip_of(guest))
            except spine.TrafficError as e:
                raise AssertionError(f"{what}: {e}") from None
        self.said.append(f"{what} {time.monotonic() - start:.1f} s")

    def each(self, name, trigger, event, **fields):
        """Of each port once; the fault has met what the trigger caused."""
        since = self.o.mark()
        for port in self.ports:
            self.o.fault(name, count=1, port=port)
        for port in self.ports:
            trigger(port)
        for port in self.ports:
            self.o.wait_event("fault", since=since, fault=name, port=port)
            self.o.wait_event(event, since=since, port=port, limit=LIMIT, **fields)
        self.recovered(name)

    # --- the parts ---------------------------------------------------------------------------------------------------

    def late(self):
        """The bridge has been deaf from the beginning."""
        assert not self.o.find("extender"), "expected nobody at a deaf bridge, saw extenders"
        self.o.clear("deaf")
        self.recovered("late join", 3)

    def change_ecid(self):
        for how in ("open", "register", "remove"):
            for depth in range(max(self.depth.values())):
                since = self.o.mark()
                for port in self.ports:
                    if depth < self.depth[port]:
                        self.o.change_ecid(port, depth, how)
                        self.o.wait_event("ecid", since=since, port=port, depth=depth, limit=LIMIT)
                self.recovered(f"change by {how} at depth {depth}")

    def forgotten(self):
        """The bridge has lost a port and says nothing: the extender finds that out when it asks once more."""
        since = self.o.mark()
        for port in self.ports:
            self.o.change_ecid(port, self.depth[port] - 1, "silent")
        for port in self.ports:
            self.o.wait_event("ecid", since=since, port=port)
        self.recovered("an E-CID forgotten in silence")

    def pe_csp(self):
        for name in PE_FAULTS:
            self.each(name, lambda port: self.o.change_ecid(port, 0, "open"), "ecid", depth=0)

    def vdp(self):
        for name in VDP_FAULTS:
            self.each(name, lambda port: self.o.command("deassociate", port=port), "vdp-in", type="associate")

    def restart(self):
        for what in ("pe-csp", "vdp", "all"):
            self.o.restart(what)
            self.recovered(f"restart of {what}", 2)

    def lost(self):
        """Frames of both control planes in each direction: ECP says them again."""
        for name in ("lose-in", "lose-out"):
            since = self.o.mark()
            for port in self.ports:
                self.o.fault(name, count=2, port=port)
            for port in self.ports:
                self.o.change_ecid(port, 0, "open")
            for port in self.ports:
                self.o.wait_event("fault", since=since, fault=name, port=port)
            self.recovered(name)
            self.o.clear(name)


def check(m):
    spec, guests = dict(m.scenario.spec["outside"]), extended.guests_of(m)
    ports = spec.pop("ports")
    with extended.outside.Outside(m, **spec) as o:
        for guest in guests:
            m.position = 0
            m.expect(rf"\[{guest['name']}\] guest: echo: ready", 300)
        faults = Faults(m, o, ports, guests)
        try:
            for part in (faults.late, faults.forgotten, faults.change_ecid, faults.pe_csp, faults.vdp, faults.lost, faults.restart):
                part()
        finally:
            print(f"    {m.scenario.label}: recovered after " + ", ".join(faults.said))
        malformed = len(o.find("csp-out", text="malformed"))
        for guest in guests:
            spine.udp_echo(o, 20, extended.ip_of(guest))
        spine.good_end(m)
    print(f"    {m.scenario.label}: on the wire: {o.check_captures(malformed=2 * malformed)}")
