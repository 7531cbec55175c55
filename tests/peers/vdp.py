"""A bridge that speaks VDP (802.1Qbg) at one port, of our own: for what lldpad cannot do – choose a VID, refuse, be silent, forget.

Pure: time (seconds) comes in as an argument, untagged frames of the port go out by `transmit(frame)`.

Invariant: `vsis` holds what is associated now; `vid` is the VID of the last association, 0 without one.
"""
import dataclasses

import ecp
import frames

MAC = frames.mac_bytes("02:00:00:00:0c:d0")
LLDP_INTERVAL, LLDP_TTL = 30.0, 120
KEEP = 1.5      # times the keep-alive time until a silent station's VSI is de-associated: what lldpad gives it
VID = 0xFFF


def us(exponent):
    """Seconds of an EVB time."""
    return 10e-6 * 2 ** exponent


def status_of(one):
    """For the log: {ID: what it is}, the VID, the station's EVB TLV."""
    return {"vid": one.vid, "vsis": {i.hex(): frames.VDP_NAMES[v.type] for i, (v, _) in one.vsis.items()},
            "station": str(one.station) if one.station else None}


class Bridge:
    """vid: what we choose for a request with VID 0. evb: what our EVB TLV says."""

    def __init__(self, port, faults, event, drop, transmit, changed, vid=0, evb=frames.Evb(bridge=2)):
        self.port, self.faults, self.drop, self.transmit, self.changed = port, faults, drop, transmit, changed
        self.log, self.choice, self.ours = event, vid, evb
        self.reset()

    def reset(self):
        self.station = None             # its last EVB TLV
        self.lldp_sent = None
        self.vsis = {}                  # ID: [type, deadline, filters]
        self.vid = 0
        self.link = ecp.Link(frames.ECP_VDP, lambda pdu: self.put(frames.ETH_ECP, pdu), self.deliver, self.lost, self.event,
                             self.faults, self.ours.rte, self.ours.retries)

    def restart(self, now):
        """As after a power cut: the first that the station hears is an EVB TLV in which its own state is not."""
        self.reset()
        self.changed(self.port)
        self.event("vdp-restart")
        self.send_lldp(now)

    def event(self, what, **fields):
        self.log(what, port=self.port.name, **fields)

    def put(self, ethertype, payload):
        self.transmit(frames.control(frames.BRIDGE_GROUP, MAC, ethertype, payload))

    def send_lldp(self, now):
        if self.faults.take("no-evb"):
            return
        self.lldp_sent = now
        evb = dataclasses.replace(self.ours, station=self.station.station if self.station else 0)
        port = (frames.PORT_LOCAL, self.port.name.encode())
        self.put(frames.ETH_LLDP, frames.Lldp((frames.CHASSIS_MAC, MAC), port, LLDP_TTL, evb=evb).pack())

    def receive(self, frame, now):
        """An untagged frame of the port to the bridges' group."""
        try:
            if frame.type == frames.ETH_LLDP:
                self.take_lldp(frames.Lldp.parse(frame.payload), now)
            elif frame.type == frames.ETH_ECP:
                pdu = frames.Ecp.parse(frame.payload)
                if pdu.subtype == frames.ECP_VDP:
                    self.link.receive(pdu, now)
                else:
                    self.drop(self.port, "ecp-subtype", str(pdu.subtype))
            else:
                self.drop(self.port, "unknown-control", f"{frame.type:#06x}")
        except frames.Malformed as e:
            self.drop(self.port, "malformed-vdp", str(e))

    def take_lldp(self, lldp, now):
        if lldp.evb is None:
            self.drop(self.port, "lldp-without-evb", "")
            return
        new = self.station is None or lldp.evb != self.station
        self.station = lldp.evb if lldp.ttl else None
        if new:
            self.event("evb-station", ttl=lldp.ttl, evb=str(lldp.evb))
        if lldp.ttl and (new or now - (self.lldp_sent or 0) >= 1):
            self.send_lldp(now)

    def deliver(self, payload, now):
        try:
            pdu = frames.Vdp.parse(payload)
        except frames.Malformed as e:
            self.drop(self.port, "malformed-vdp", str(e))
            return
        for vsi in pdu.vsis:
            if vsi.status & frames.VDP_ACK:
                self.event("vdp-confirmed", type=frames.VDP_NAMES[vsi.type], id=vsi.id.hex())
                continue
            self.event("vdp-in", type=frames.VDP_NAMES[vsi.type], id=vsi.id.hex(), status=vsi.status,
                       filters=[[f.vid, f.mac.hex(":"), f.group] for f in vsi.filters])
            self.answer(pdu.manager, vsi, now)

    def answer(self, manager, vsi, now):
        if self.faults.take("no-answer"):
            return
        error = self.faults.take("vdp-error")
        if error is not None:
            answer = dataclasses.replace(vsi, status=frames.VDP_ACK | error & 0x3F)
        else:
            vids = [f.vid & VID or self.faults.take("vdp-vid") or self.choice for f in vsi.filters]
            other = self.faults.take("vdp-other-vid")
            filters = [dataclasses.replace(f, vid=f.vid & ~VID | (other or v)) for f, v in zip(vsi.filters, vids)]
            answer = dataclasses.replace(vsi, status=frames.VDP_ACK, filters=filters)
            self.store(answer, now)
        self.event("vdp-out", type=frames.VDP_NAMES[vsi.type], id=vsi.id.hex(), status=answer.status, vids=[f.vid & VID for f in answer.filters])
        self.link.send(frames.Vdp(manager, [answer]).pack(), now)
        if self.faults.take("duplicate-answer"):
            self.link.send(frames.Vdp(manager, [answer]).pack(), now)

    def store(self, vsi, now):
        if vsi.type == frames.DEASSOC:
            self.vsis.pop(vsi.id, None)
        else:
            keep = self.ours.rka if not self.station else max(self.ours.rka, self.station.rka)
            self.vsis[vsi.id] = [vsi, now + KEEP * us(keep)]
        associated = [v for v, _ in self.vsis.values() if v.type == frames.ASSOC]
        vid = associated[-1].filters[0].vid & VID if associated and associated[-1].filters else 0
        if vid != self.vid:
            self.vid = vid
            self.changed(self.port)

    def deassociate(self, now, error=0):
        """Of the bridge's own accord: all VSIs."""
        for vsi, _ in list(self.vsis.values()):
            self.send_deassociate(vsi, now, error)

    def send_deassociate(self, vsi, now, error=0):
        gone = dataclasses.replace(vsi, type=frames.DEASSOC, status=error)
        self.store(gone, now)
        self.event("vdp-out", type="de-associate", id=vsi.id.hex(), status=error, vids=[])
        self.link.send(frames.Vdp(bytes(16), [gone]).pack(), now)

    def lost(self, payload, now):
        self.event("vdp-lost", payload=payload.hex())

    def tick(self, now):
        self.link.tick(now)
        if self.lldp_sent is not None and now - self.lldp_sent >= LLDP_INTERVAL:
            self.send_lldp(now)
        for vsi, deadline in list(self.vsis.values()):
            if now >= deadline:
                self.event("vdp-silent", id=vsi.id.hex())
                self.send_deassociate(vsi, now)

    def status(self):
        return status_of(self)


class Observer:
    """What goes between a station and a bridge that is not ours (lldpad), from the frames: the same events, the same status."""

    def __init__(self, port, event, drop):
        self.port, self.log, self.drop = port, event, drop
        self.reset()

    def reset(self):
        self.vsis, self.vid, self.station = {}, 0, None

    def event(self, what, **fields):
        self.log(what, port=self.port.name, **fields)

    def see(self, frame, from_station):
        """Any frame to the bridges' group, the tags off."""
        try:
            if frame.type == frames.ETH_LLDP and from_station:
                lldp = frames.Lldp.parse(frame.payload)
                if lldp.evb and lldp.evb != self.station:
                    self.station = lldp.evb
                    self.event("evb-station", ttl=lldp.ttl, evb=str(lldp.evb))
            elif frame.type == frames.ETH_ECP:
                pdu = frames.Ecp.parse(frame.payload)
                if pdu.op == frames.ECP_REQUEST and pdu.subtype == frames.ECP_VDP:
                    for vsi in frames.Vdp.parse(pdu.payload).vsis:
                        self.see_vsi(vsi, from_station)
        except frames.Malformed as e:
            self.drop(self.port, "malformed-vdp", str(e))

    def see_vsi(self, vsi, from_station):
        fields = {"type": frames.VDP_NAMES[vsi.type], "id": vsi.id.hex(), "status": vsi.status}
        if from_station:
            self.event("vdp-in", filters=[[f.vid, f.mac.hex(":"), f.group] for f in vsi.filters], **fields)
            return
        self.event("vdp-out", vids=[f.vid & VID for f in vsi.filters], **fields)
        if vsi.type == frames.DEASSOC:
            self.vsis.pop(vsi.id, None)
        elif vsi.status & frames.VDP_ACK and not vsi.status & 0x0F:
            self.vsis[vsi.id] = [vsi, None]
        associated = [v for v, _ in self.vsis.values() if v.type == frames.ASSOC and v.filters]
        self.vid = associated[-1].filters[0].vid & VID if associated else 0

    def status(self):
        return status_of(self)
