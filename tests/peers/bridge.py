#!/usr/bin/env python3
"""The controlling bridge of the tests: what the machine's wire is plugged into where its ports are managed from outside (`switch = external`).

Usage: bridge.py CONFIGURATION (JSON); commands on standard input, events and answers on standard output, one JSON object a line. Nobody
starts it by hand. In a scenario:

    import outside      # tests/peers is on the path
    def check(m):
        with outside.Outside(m, svids=[100, 101], eports=["52:54:00:00:00:02"]) as o:    # before the guest's port comes up
            o.wait_event("ecid", port="vp100")              # the extender of S-channel 100 has its E-CID
            spine.ping(o, 5, "10.0.0.2")                    # as m: o.in_network(), o.start_in_network() are the Linux host behind the bridge
            o.fault("no-ack", port="vp100", count=3)        # names: FAULTS below
            o.status()["ports"]["vp100"]                    # counts, drops, extenders with E-CIDs, VDP
        o.check_captures()                                  # tshark and our own codecs over the capture; one VDP speaker (capture.py)
outside.py says the rest.

Ports. `vp100`: the S-channel with S-VID 100. `ve0`, `ve1`, ...: E-TAG ports, in the order of their MACs in the configuration.
`switch = linux`: the untagged data of each goes to one end of a veth pair with the port's name in the namespace "switch", where all
ends are members of Linux' bridge br0, 10.0.0.1. `switch = own`: data goes through a learning bridge here, with VLANs (switch.py); the
Linux host, 10.0.0.1, is the veth end `host0`; E-TAG ports get what is flooded by group E-CIDs. `vdp = lldpad`: one more pair for each port,
`vp100c`, for frames to the bridges' group address: Linux' bridge would relay them, or keep them from lldpad.

On the wire. S-channel: S-TAG; below it, untagged control frames to 01-80-C2-00-00-03 are the outermost extender's, those with an E-TAG are
from the extender behind that E-CID, all else is the port's data. E-TAG ports: control frames of the outermost extenders untagged and told
apart by their MAC, all else by E-CID. Control frames to 01-80-C2-00-00-00 (EVB, VDP) are data for us, for whoever is at the port: `vdp =
"own"`: vdp.Bridge here; else the veth's end, for lldpad.

Invariant: every frame that comes is passed on, answered, or counted as a drop with its reason; nothing is told to the machine but
control frames and what a port's end sends.
"""
import json
import selectors
import subprocess
import sys
import time

import controller
import frames
import vdp
from faults import Faults
from program import Voice
from rawsock import Pcap, Raw
from switch import Switch

# Per port; `depth`: which extender of the chain. Those of an ECP link hold for PE-CSP and, as "vdp", for VDP.
FAULTS = {
    "deaf": "no control frame of the extenders is heard (late join: until it is cleared)",
    "no-lldp": "our Port Extension TLV is not sent", "no-response": "a PE-CSP request is acknowledged and not answered",
    "refuse": "a PE-CSP request is refused", "wrong-transaction": "the answer is to another request", "malformed": "the answer is cut short",
    "new-ecid": "a port that is created again gets another E-CID",
    "no-ack": "an ECP request is not acknowledged", "wrong-sequence": "... with a wrong number", "duplicate": "our ECP requests come twice",
    "duplicate-ack": "our acknowledgements come twice",
    "no-evb": "our EVB TLV is not sent", "no-answer": "a VDP request is acknowledged and not answered", "duplicate-answer": "... answered twice",
    "vdp-error": "refused with this status (error code, 0x10 hard, 0x20 keep)", "vdp-vid": "VID 0 becomes this VID",
    "vdp-other-vid": "the answer has this VID whatever was asked",
    "lose-in": "a control frame of the port is lost before it is seen", "lose-out": "a control frame to the port is lost",
}
BUSY, IDLE = 0.02, 0.25     # seconds between two looks at the clock
BATCH = 64


class Port:
    def __init__(self, name, svid=None, mac=None, vlan=0):
        self.name, self.svid, self.mac, self.vlan = name, svid, mac, vlan
        self.root = self.vdp = self.observer = self.data_end = self.control_end = self.spoken_for = None
        self.counts = dict.fromkeys(("rx", "tx", "control_rx", "control_tx", "late", "rx_groups"), 0)
        self.drops = {}

    def data_ecid(self):
        """The innermost extender's: what data is tagged with on the wire; None before there is one."""
        result = None
        for pe in self.root.chain() if self.root else []:
            if pe.ecid is None:
                break
            result = pe.ecid
        return result

    def has_ecid(self, ecid):
        return any(pe.ecid == ecid for pe in self.root.chain()) if self.root else False


class Host:
    """The Linux host as a member of our own switch: all VLANs, tagged; or one (command host-vlan)."""
    name, vlan, svid = "host0", 0, None


class Bridge(Voice):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.ports = [Port(f"vp{s}", svid=s) for s in config["svids"]]
        self.ports += [Port(f"ve{i}", mac=frames.mac_bytes(m)) for i, m in enumerate(config["eports"])]
        for port in self.ports:
            port.vlan = config["vlans"].get(port.name, 0)
        self.by_svid = {p.svid: p for p in self.ports if p.svid is not None}
        self.etag_ports = [p for p in self.ports if p.svid is None]
        self.strangers = Port("-")      # drops that are no port's
        self.faults = Faults(self.event)
        for rule in config["faults"]:
            self.faults.add(**rule)
        self.controller = controller.Controller(self.ports, self.faults, self.event, self.drop, self.transmit_control,
                                                self.ports_changed, config["first_ecid"], config["register_first"])
        if config["vdp"] == "own":
            for port in self.ports:
                port.vdp = vdp.Bridge(port, self.faults.at(port.name), self.event, self.drop,
                                      lambda frame, p=port: self.transmit_data(p, frame, True), self.vlan_changed,
                                      config["vids"].get(port.name, 0), frames.Evb(bridge=2, **config["evb"]))
        else:
            for port in self.ports:
                port.observer = vdp.Observer(port, self.event, self.drop)
        self.switch = Switch() if config["switch"] == "own" else None
        self.host = None
        self.selector = selectors.DefaultSelector()

    # --- log ---------------------------------------------------------------------------------------------------------

    def drop(self, port, reason, text=""):
        port = port or self.strangers
        port.drops[reason] = port.drops.get(reason, 0) + 1
        if port.drops[reason] <= 5:
            self.event("drop", port=port.name, reason=reason, text=text)

    def log_control(self, port, frame, way):
        """A control frame as the log has it."""
        port.counts["control_" + ("rx" if way == "in" else "tx")] += 1
        kind = {frames.ETH_LLDP: "lldp", frames.ETH_ECP: "ecp"}.get(frame.type, hex(frame.type))
        fields = {"dst": frames.mac_text(frame.dst), "src": frames.mac_text(frame.src), "etag": frame.etag.text() if frame.etag else None}
        if kind == "ecp":
            try:
                pdu = frames.Ecp.parse(frame.payload)
                fields.update(subtype=pdu.subtype, op=("request", "ack")[pdu.op], seq=pdu.seq)
            except frames.Malformed as e:
                fields["malformed"] = str(e)
        self.event("control-" + way, port=port.name, kind=kind, **fields)

    # --- to the wire -------------------------------------------------------------------------------------------------

    def keep(self, data):
        """In the capture: all, or what is to a group that no bridge relays or to us."""
        if not self.control_only or data[:5] == frames.BRIDGE_GROUP[:5] or controller.MAC in (data[:6], data[6:12]):
            self.capture.add(data)

    def transmit(self, port, frame):
        frame.svid = port.svid
        data = frame.wire()
        self.keep(data)
        if not self.tap.send(data):
            self.drop(port, "tap-full")

    def transmit_control(self, port, frame):
        if self.faults.take("lose-out", port.name):
            return
        self.log_control(port, frame, "out")
        self.transmit(port, frame)

    def transmit_data(self, port, frame, is_control=False):
        """Untagged data of a port's; is_control: to the bridges' group."""
        if is_control and self.faults.take("lose-out", port.name):
            return
        if port.svid is None:
            ecid = port.data_ecid()
            if ecid is None:
                self.drop(port, "no-ecid")
                return
            frame = frames.Frame(frame.dst, frame.src, frame.body, etag=frames.Etag(ecid))
        if is_control:
            self.log_control(port, frame, "out")
        else:
            port.counts["tx"] += 1
        self.transmit(port, frame)

    # --- from the wire -----------------------------------------------------------------------------------------------

    def from_wire(self, data):
        self.keep(data)
        try:
            frame = frames.Frame.parse(data)
        except frames.Malformed as e:
            self.drop(None, "malformed", str(e))
            return
        for_us = frame.dst in (frames.EXTENDER_GROUP, controller.MAC)
        port = self.port_of(frame, for_us)
        if port is None:
            return
        if for_us:
            self.take_control(port, frame)
        elif frame.etag and (frame.etag.grp or frame.etag.ingress):
            self.drop(port, "etag-not-upward", frame.etag.text())
        elif frame.etag and port.svid is not None:
            self.drop(port, "etag-in-s-channel", frame.etag.text())
        else:
            if frame.etag and frame.etag.ecid != port.data_ecid():
                port.counts["late"] += 1
            self.take_data(port, frames.Frame(frame.dst, frame.src, frame.body))

    def port_of(self, frame, for_us):
        """The port that a frame belongs to; None: dropped."""
        if frame.svid is not None:
            port, reason = self.by_svid.get(frame.svid), ("unknown-svid", str(frame.svid))
        elif frame.etag:
            port = next((p for p in self.etag_ports if p.has_ecid(frame.etag.ecid)), None)
            reason = "unknown-ecid", frame.etag.text()
        else:
            port = next((p for p in self.etag_ports if p.mac == frame.src), None) if for_us else None
            reason = "untagged", f"{frames.mac_text(frame.src)} to {frames.mac_text(frame.dst)}, type {frame.type:#06x}"
        if port is None:
            self.drop(None, *reason)
        return port

    def take_control(self, port, frame):
        self.log_control(port, frame, "in")
        if self.faults.take("deaf", port.name) or self.faults.take("lose-in", port.name):
            return
        self.controller.receive(port, frame, time.monotonic())

    def take_data(self, port, frame):
        if frames.is_link_local(frame.dst):
            self.log_control(port, frame, "in")
            if frame.dst != frames.BRIDGE_GROUP:
                self.drop(port, "link-local", frames.mac_text(frame.dst))
            elif self.faults.take("lose-in", port.name):
                pass
            elif port.vdp:
                port.vdp.receive(frame, time.monotonic())
            elif port.control_end:
                port.observer.see(frame, True)
                self.to_end(port, port.control_end, frame)
            else:
                self.drop(port, "nobody-for-vdp")
            return
        port.counts["rx"] += 1
        if self.switch:
            self.relay(port, frame)
        else:
            self.to_end(port, port.data_end, frame)

    # --- the ports' ends ---------------------------------------------------------------------------------------------

    def to_end(self, port, end, frame):
        if not end.send(frame.wire()):
            self.drop(port, "end-full")

    def from_data_end(self, port, data):
        frame = frames.Frame(data[:6], data[6:12], data[12:])
        if frames.is_link_local(frame.dst):
            self.drop(port, "relayed-control", frames.mac_text(frame.src))
        else:
            self.transmit_data(port, frame)

    def from_control_end(self, port, data):
        frame = frames.Frame(data[:6], data[6:12], data[12:])
        if frame.dst == frames.BRIDGE_GROUP:
            port.observer.see(frame, False)
            self.transmit_data(port, frame, True)
        else:
            self.drop(port, "not-vdp", frames.mac_text(frame.dst))

    def relay(self, source, frame):
        """Our own switch."""
        result = self.switch.relay(source, frame)
        if result is None:
            self.drop(source, "vlan", str(frame.cvid))
            return
        targets, flooded = result
        live = [p for p in self.etag_ports if p.data_ecid() is not None]
        to_etag = [p for p, f in targets if p in live and f is frame]
        if flooded and len(live) > 1 and set(to_etag) == set(live) - {source}:
            group = controller.GROUPS["multicast" if frame.dst[0] & 1 and frame.dst != frames.BROADCAST else "broadcast"]
            tag = frames.Etag(group[1], group[0], source.data_ecid() if source in live else 0)
            targets = [t for t in targets if t[0] not in live]
            for port in to_etag:
                port.counts["rx_groups"] += 1
                port.counts["tx"] += 1
            self.transmit(to_etag[0], frames.Frame(frame.dst, frame.src, frame.body, etag=tag))
        for member, copy in targets:
            if member is self.host:
                if not self.host.raw.send(copy.wire()):
                    self.drop(None, "end-full")
            else:
                self.transmit_data(member, frames.Frame(copy.dst, copy.src, copy.body))

    def from_host(self, data):
        self.relay(self.host, frames.Frame(data[:6], data[6:12], data[12:]))

    def ports_changed(self, port):
        if self.switch:
            self.switch.forget(port)
        self.end_vdp(port)

    def end_vdp(self, port):
        """Each E-channel is a port of its own for VDP: at another nobody has said a word yet."""
        ecid = port.data_ecid() if port.svid is None else None
        if port.vdp and ecid is not None and ecid != port.spoken_for:
            port.spoken_for = ecid
            port.vdp.reset()

    def vlan_changed(self, port):
        """VDP has associated the port with a VLAN, or with none any more."""
        port.vlan = port.vdp.vid or self.config["vlans"].get(port.name, 0)
        self.event("vlan", port=port.name, vlan=port.vlan)
        self.ports_changed(port)

    # --- commands ----------------------------------------------------------------------------------------------------

    def named(self, name):
        for port in self.ports:
            if port.name == name:
                return port
        raise ValueError(f"no port {name}")

    def do(self, do, **c):
        now = time.monotonic()
        if do == "fault":
            if c["name"] not in FAULTS:
                raise ValueError(f"no fault {c['name']}")
            self.faults.add(**c)
        elif do == "clear":
            self.faults.clear(c.get("name"))
        elif do == "restart":
            if c["what"] != "vdp":
                self.controller.restart()
            for port in self.ports if c["what"] != "pe-csp" else []:
                if port.vdp:
                    port.vdp.restart(now)
                else:
                    port.observer.reset()
        elif do == "change-ecid":
            self.controller.change_ecid(self.named(c["port"]), c["depth"], c["how"], now)
        elif do == "host-vlan":
            self.host.vlan = c["vlan"]
            self.switch.forget(self.host)
        elif do == "deassociate":
            self.named(c["port"]).vdp.deassociate(now, c.get("error", 0))
        elif do == "status":
            return self.status()
        elif do == "stop":
            self.stopping = True
        elif do != "flush":
            raise ValueError(f"no command {do}")
        self.capture.flush()
        return None

    def status(self):
        def extender(pe):
            return {"depth": pe.depth, "mac": frames.mac_text(pe.mac), "open": pe.open, "ecid": pe.ecid,
                    "registered": [[g, e, a] for (g, e), a in pe.registered.items()], "waiting": len(pe.pending)}

        def one(p):
            return {"svid": p.svid, "vlan": p.vlan, "counts": p.counts, "drops": p.drops, "ecid": p.data_ecid(),
                    "extenders": [extender(pe) for pe in p.root.chain()] if p.root else [],
                    "vdp": (p.vdp or p.observer).status()}
        ends = [self.tap, *(e for p in self.ports for e in (p.data_end, p.control_end) if e), *([self.host.raw] if self.host else [])]
        return {"ports": {p.name: one(p) for p in self.ports}, "drops": self.strangers.drops,
                "lost": sum(e.losses() for e in ends), "unfinished": sum(e.unfinished for e in ends)}

    # --- the loop ----------------------------------------------------------------------------------------------------

    def connect(self):
        """The tap and the veth pairs, one end here, the other in the switch's namespace."""
        subprocess.run(["ip", "link", "set", self.config["tap"], "up", "mtu", str(self.config["mtu"])], check=True)
        self.tap = Raw(self.config["tap"])
        self.capture, self.control_only = Pcap(self.config["capture"]), self.config["control_only"]
        self.watch(self.tap, self.from_wire)
        for number, port in enumerate(self.ports):
            if not self.switch:
                port.data_end = self.veth(port.name, bytes([2, 0, 0, 0, 1, number]))
                self.watch(port.data_end, lambda data, p=port: self.from_data_end(p, data))
            if self.config["vdp"] == "lldpad":
                port.control_end = self.veth(port.name + "c", bytes([2, 0, 0, 0, 2, number]))
                self.watch(port.control_end, lambda data, p=port: self.from_control_end(p, data))
        if self.switch:
            self.host = Host()
            self.host.raw = self.veth(self.host.name, frames.mac_bytes(self.config["host_mac"]))
            self.watch(self.host.raw, self.from_host)
            self.switch.members = self.ports + [self.host]

    def veth(self, name, mac):
        ours = "b-" + name
        subprocess.run(["ip", "link", "add", "name", ours, "type", "veth", "peer", "name", name, "address", frames.mac_text(mac), "netns",
                        str(self.config["namespace"])], check=True)
        subprocess.run(["ip", "link", "set", ours, "up"], check=True)
        return Raw(ours)

    def watch(self, source, handler):
        def ready():
            for _ in range(BATCH):
                data = source.receive()
                if data is None:
                    return
                handler(data)
        self.selector.register(source, selectors.EVENT_READ, ready)

    def tick(self):
        now = time.monotonic()
        self.controller.tick(now)
        for port in self.ports:
            if port.vdp:
                port.vdp.tick(now)
        return any(pe.link.busy() or pe.pending or pe.held for pe in self.controller.all()) or any(p.vdp and p.vdp.link.busy() for p in self.ports)

    def run(self):
        self.connect()
        self.selector.register(0, selectors.EVENT_READ, self.read_commands)
        self.event("ready")
        busy = False
        while not self.stopping:
            for key, _ in self.selector.select(BUSY if busy else IDLE):
                key.data()
            busy = self.tick()
        self.capture.close()
        self.event("stopped")


if __name__ == "__main__":
    Bridge(json.loads(sys.argv[1])).run()
