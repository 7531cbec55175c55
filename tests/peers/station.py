#!/usr/bin/env python3
"""A machine's chains of extenders and its VDP speaker, in Python on a tap: what bridge.py is tested with where there is no machine.

Usage: station.py CONFIGURATION (JSON); program.py says how it is talked to. Configuration: tap, chains: [{name, svid or null, mac, depth,
namespace: pid, vdp: true | false, lldp: seconds between LLDPs}]. Each chain's guest is the veth end `name` in that namespace; without
"vdp" what the guest itself sends to the bridges' group passes (so lldpad can be the station there).

It follows the product's design, not its code: extenders one to one, cascaded; E-TAG between them; at the outermost of an S-channel
the E-TAG of data comes off. No more is here than what makes a bridge work.
"""
import dataclasses
import json
import selectors
import subprocess
import sys
import time
import uuid

import csp
import ecp
import frames
from program import Voice
from rawsock import Raw, Tap
from vdp import us

TRY = 1.0       # seconds between two tries to begin anew


class Extender:
    """One level. `lower(frame)` and `upper(frame)`: towards the wire, towards the guest; set by Chain. Depth 0 is the outermost."""

    def __init__(self, chain, depth):
        self.chain, self.depth = chain, depth
        self.edge = depth == 0 and chain.svid is not None
        self.cascade = depth < chain.depth - 1
        self.lower = self.upper = None
        self.drops = {}
        self.reset(0)

    def reset(self, now):
        self.own, self.registered, self.number, self.transaction = None, {}, (1, csp.CASCADE if self.cascade else csp.EXTENDED), 0
        self.state, self.again, self.bridge = "lldp", now, None
        self.link = ecp.Link(frames.ECP_CSP, lambda pdu: self.control(frames.ETH_ECP, pdu), self.deliver, self.lost, self.event)

    def event(self, what, **fields):
        self.chain.event(what, depth=self.depth, **fields)

    def drop(self, reason):
        self.drops[reason] = self.drops.get(reason, 0) + 1

    def data_ecid(self):
        unicast = [e for (g, e), a in self.registered.items() if not g and a == csp.TAGGED]
        return unicast[-1] if unicast else self.own

    # --- data --------------------------------------------------------------------------------------------------------

    def outward(self, frame):
        if frame.etag:
            if not self.cascade or (0, frame.etag.ecid) not in self.registered:
                self.drop("not-registered")
                return
        elif not self.cascade and frames.is_link_local(frame.dst) and not (frame.dst == frames.BRIDGE_GROUP and self.chain.passes):
            self.drop("link-local")
            return
        elif self.own is not None:
            frame = dataclasses.replace(frame, etag=frames.Etag(self.own))
        elif self.chain.svid is None and frame.dst != frames.EXTENDER_GROUP:
            self.drop("no-ecid")
            return
        if self.edge and frame.etag and frame.dst != frames.EXTENDER_GROUP:
            frame = dataclasses.replace(frame, etag=None)
        self.lower(frame)

    def inward(self, frame):
        if frame.etag is None and frame.dst in (frames.EXTENDER_GROUP, self.chain.mac) and frame.type in (frames.ETH_LLDP, frames.ETH_ECP):
            self.take_control(frame)
            return
        if self.edge and frame.etag is None and self.data_ecid() is not None:
            frame = dataclasses.replace(frame, etag=frames.Etag(self.data_ecid()))
        tag = frame.etag
        if tag is None and self.own is None and self.chain.svid is not None:
            self.upper(frame)
            return
        if tag is None:
            self.drop("untagged")
            return
        action = csp.UNTAGGED if (tag.grp, tag.ecid) == (0, self.own) else self.registered.get((tag.grp, tag.ecid))
        if action == csp.TAGGED:
            self.upper(frame)
        elif action == csp.UNTAGGED and not (tag.ingress and tag.ingress == self.own):
            self.upper(dataclasses.replace(frame, etag=None))
        else:
            self.drop("reflection" if action else "not-ours")

    # --- control -----------------------------------------------------------------------------------------------------

    def control(self, ethertype, payload):
        self.lower(frames.control(frames.EXTENDER_GROUP, self.chain.mac, ethertype, payload))

    def send_lldp(self, ttl=120):
        pe = frames.Pe(1, self.chain.mac, self.chain.mac)
        port = (frames.PORT_LOCAL, f"pe{self.depth}".encode())
        self.control(frames.ETH_LLDP, frames.Lldp((frames.CHASSIS_MAC, self.chain.mac), port, ttl, pe=pe).pack())

    def take_control(self, frame):
        now = time.monotonic()
        try:
            if frame.type == frames.ETH_LLDP:
                if frames.Lldp.parse(frame.payload).pe and self.state == "lldp":
                    self.bridge = frame.src
                    self.ask(csp.OPEN, "opening", now)
            else:
                self.link.receive(frames.Ecp.parse(frame.payload), now)
        except frames.Malformed as e:
            self.event("malformed", text=str(e))

    def ask(self, command, state, now):
        self.state, self.again = state, now + 3 * TRY
        self.transaction += 1
        self.link.send(csp.Csp(command, csp.REQUEST, self.transaction, port=self.number if command != csp.OPEN else None).pack(), now)

    def deliver(self, payload, now):
        try:
            m = csp.Csp.parse(payload)
        except frames.Malformed as e:
            self.event("malformed", text=str(e))
            return
        if m.op == csp.REQUEST:
            self.take_request(m, now)
        elif m.transaction != self.transaction:
            self.event("stray")
        elif m.result != csp.SUCCESS:
            self.event("refused", result=m.result)
            self.state, self.again = "lldp", now + TRY
        elif m.command == csp.OPEN:
            self.ask(csp.CREATE, "creating", now)
        elif m.command == csp.CREATE:
            self.own, self.state, self.again = m.ecids[0].ecid, "up", now + self.chain.lldp
            self.event("own", ecid=self.own)
            if not self.cascade:
                self.chain.up(now)

    def take_request(self, m, now):
        self.link.send(m.answer().pack(), now)
        if m.command == csp.OPEN:
            self.own, self.registered = None, {}
            self.ask(csp.CREATE, "creating", now)
        elif m.command == csp.REGISTER:
            for e in m.ecids:
                self.registered.pop((e.grp, e.ecid), None)
                if e.action == csp.UNTAGGED and not e.grp:
                    self.own = e.ecid
                    self.event("own", ecid=self.own)
                elif e.action != csp.REMOVE:
                    self.registered[e.grp, e.ecid] = e.action
                elif not e.grp and e.ecid == self.own:
                    self.own = None
                    self.ask(csp.CREATE, "creating", now)
            self.event("registered", entries=[e.text() for e in m.ecids])

    def lost(self, payload, now):
        self.event("lost")
        self.state, self.again = "lldp", now

    def leave(self, now):
        """The port goes down."""
        if self.own is not None:
            self.ask(csp.DELETE, "deleting", now)
            self.own = None
            self.again = now + 1000

    def tick(self, now):
        self.link.tick(now)
        if now >= self.again:
            if self.state != "up":
                self.state = "lldp"
            self.again = now + (self.chain.lldp if self.state == "up" else TRY)
            self.send_lldp()


class Speaker:
    """The VDP station of a chain: EVB, pre-associate, associate, keep-alives."""

    def __init__(self, chain):
        self.chain, self.vsi_id = chain, uuid.uuid5(uuid.NAMESPACE_OID, chain.mac.hex()).bytes
        self.state, self.again, self.evb, self.vid = "down", None, None, None
        self.link = ecp.Link(frames.ECP_VDP, lambda pdu: self.put(frames.ETH_ECP, pdu), self.deliver, self.lost, self.chain.event)
        self.bridge = None

    def put(self, ethertype, payload):
        self.chain.send_untagged(frames.control(frames.BRIDGE_GROUP, self.chain.mac, ethertype, payload))

    def send_lldp(self):
        evb = frames.Evb(self.bridge.bridge if self.bridge else 0, 3, 3, 14, frames.EVB_STATION, 0, 20, 0, self.chain.rka)
        port = (frames.PORT_MAC, self.chain.mac)
        self.put(frames.ETH_LLDP, frames.Lldp((frames.CHASSIS_MAC, self.chain.mac), port, 120, evb=evb).pack())

    def up(self, now):
        if self.state == "down":
            self.state, self.again = "evb", now + TRY
            self.send_lldp()

    def receive(self, frame, now):
        try:
            if frame.type == frames.ETH_LLDP:
                evb = frames.Lldp.parse(frame.payload).evb
                if evb and evb.mode == frames.EVB_BRIDGE:
                    self.bridge = evb
                    if self.state == "evb":
                        self.send_lldp()
                        self.associate(frames.PREASSOC, now)
            elif frame.type == frames.ETH_ECP:
                self.link.receive(frames.Ecp.parse(frame.payload), now)
        except frames.Malformed as e:
            self.chain.event("malformed", text=str(e))

    def associate(self, kind, now):
        self.state, self.again = {frames.PREASSOC: "preassociating", frames.ASSOC: "associating", frames.DEASSOC: "leaving"}[kind], now + 3 * TRY
        vsi = frames.Vsi(kind, 0, 5, 1, frames.UUID, self.vsi_id, 2, [frames.Filter(self.chain.vid, self.chain.mac)])
        self.link.send(frames.Vdp(bytes(16), [vsi]).pack(), now)

    def deliver(self, payload, now):
        try:
            vsis = frames.Vdp.parse(payload).vsis
        except frames.Malformed as e:
            self.chain.event("malformed", text=str(e))
            return
        for vsi in vsis:
            if vsi.id != self.vsi_id:
                self.chain.event("other-vsi")
            elif vsi.type == frames.DEASSOC:
                self.chain.event("deassociated", status=vsi.status)
                self.state, self.again = "evb", now + TRY
            elif vsi.status & 0x0F:
                self.chain.event("vdp-refused", status=vsi.status)
                self.state, self.again = "evb", now + TRY
            elif vsi.type == frames.PREASSOC and self.state == "preassociating":
                self.associate(frames.ASSOC, now)
            elif vsi.type == frames.ASSOC:
                if self.state != "associated":
                    self.vid = vsi.filters[0].vid & 0xFFF
                    self.chain.event("associated", vid=self.vid)
                self.state, self.again = "associated", now + us(self.chain.rka)

    def lost(self, payload, now):
        self.chain.event("vdp-lost")
        self.state, self.again = "evb", now + TRY

    def tick(self, now):
        self.link.tick(now)
        if self.again is None or now < self.again:
            return
        if self.state == "associated":
            kind = frames.ASSOC     # keep-alive; the state stays
            self.associate(kind, now)
            self.state = "associated"
            self.again = now + us(self.chain.rka)
        elif self.state != "down":
            self.state, self.again = "evb", now + TRY
            self.send_lldp()


class Chain:
    def __init__(self, station, name, svid, mac, depth, namespace, vdp=True, vid=0, lldp=30, rka=20):
        self.station, self.name, self.svid, self.mac, self.depth = station, name, svid, frames.mac_bytes(mac), depth
        self.vid, self.lldp, self.rka = vid, lldp, rka
        self.passes = not vdp
        self.levels = [Extender(self, d) for d in range(depth)]
        for outer, inner in zip(self.levels, self.levels[1:]):
            inner.lower, outer.upper = outer.outward, inner.inward
        self.levels[0].lower, self.levels[-1].upper = self.to_wire, self.to_user
        self.speaker = Speaker(self) if vdp else None
        ours = "g-" + name
        subprocess.run(["ip", "link", "add", "name", ours, "type", "veth", "peer", "name", name, "address", mac, "netns", str(namespace)],
                       check=True)
        subprocess.run(["ip", "link", "set", ours, "up"], check=True)
        self.guest = Raw(ours)

    def event(self, what, **fields):
        self.station.event(what, chain=self.name, **fields)

    def to_wire(self, frame):
        self.station.tap.send(dataclasses.replace(frame, svid=self.svid).wire())

    def send_untagged(self, frame):
        passes, self.passes = self.passes, True
        self.levels[-1].outward(frame)
        self.passes = passes

    def to_user(self, frame):
        if self.speaker and frame.dst == frames.BRIDGE_GROUP:
            self.speaker.receive(frame, time.monotonic())
        else:
            self.guest.send(frame.wire())

    def from_guest(self, data):
        self.levels[-1].outward(frames.Frame(data[:6], data[6:12], data[12:]))

    def up(self, now):
        if self.speaker:
            self.speaker.up(now)

    def tick(self, now):
        for level in self.levels:
            level.tick(now)
        if self.speaker:
            self.speaker.tick(now)


class Station(Voice):
    def __init__(self, config):
        super().__init__()
        self.tap = Tap(config["tap"])
        self.chains = [Chain(self, **c) for c in config["chains"]]
        self.selector = selectors.DefaultSelector()
        self.watch(self.tap, self.from_wire)
        for chain in self.chains:
            self.watch(chain.guest, chain.from_guest)

    def watch(self, source, handler):
        def ready():
            while (data := source.receive()) is not None:
                handler(data)
        self.selector.register(source, selectors.EVENT_READ, ready)

    def from_wire(self, data):
        frame = frames.Frame.parse(data)
        for chain in self.chains:
            if frame.svid != chain.svid:
                continue
            if frame.svid is not None or frame.etag or frame.dst == chain.mac:
                chain.levels[0].inward(dataclasses.replace(frame, svid=None))

    def do(self, do, chain=None, depth=0, value=None):
        now = time.monotonic()
        found = [c for c in self.chains if c.name == chain]
        if do == "status":
            return {c.name: [{"own": e.own, "state": e.state, "drops": e.drops} for e in c.levels] for c in self.chains}
        if do == "reset":           # a level restarts
            found[0].levels[depth].reset(now)
        elif do == "leave":
            found[0].levels[depth].leave(now)
        elif do == "deassociate":
            found[0].speaker.associate(frames.DEASSOC, now)
        elif do == "raw":           # any bytes, onto the wire
            self.tap.send(bytes.fromhex(value))
        else:
            raise ValueError(f"no command {do}")
        return None

    def run(self):
        self.selector.register(0, selectors.EVENT_READ, self.read_commands)
        self.event("ready")
        while not self.stopping:
            for key, _ in self.selector.select(0.02):
                key.data()
            for chain in self.chains:
                chain.tick(time.monotonic())
        self.event("stopped")


if __name__ == "__main__":
    Station(json.loads(sys.argv[1])).run()
