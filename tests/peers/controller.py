"""The control plane of a controlling bridge (802.1BR): finds port extenders by LLDP, gives their ports E-CIDs, registers E-channels.

Pure: time (seconds) comes in as an argument, frames go out by `transmit(port, frame)` without the port's S-TAG. A port is a chain of
extenders, one to one: `Pe` by `Pe`, from the wire (depth 0) towards the guest. One is reached through its outer neighbour's E-CID.

Invariant: what is registered at a Pe is what `wanted` says as soon as it has answered; an E-CID is one Pe's.
"""
import csp
import ecp
import frames

MAC = frames.mac_bytes("02:00:00:00:0c:b0")
LLDP_INTERVAL, LLDP_TTL = 30.0, 120
ANSWER_TIME, ANSWER_TRIES = 3.0, 3      # seconds for a PE-CSP response
GROUPS = {"broadcast": (1, 0x2B0), "multicast": (2, 0x3C1F0)}      # (GRP, E-CID) of all E-TAG ports


class Pe:
    def __init__(self, controller, port, parent, mac):
        self.controller, self.port, self.parent, self.mac = controller, port, parent, mac
        self.depth = parent.depth + 1 if parent else 0
        self.child = None
        self.open = False
        self.ecid = self.last_ecid = None
        self.number = None              # of the port it has created: (number, kind)
        self.registered = {}            # (GRP, E-CID): action
        self.pending = {}               # transaction: [request, deadline, tries]
        self.held = None                # an answer that waits until the outer ones have registered
        self.expires = self.lldp_sent = None
        self.faults = controller.faults.at(port.name, self.depth)
        self.link = ecp.Link(frames.ECP_CSP, lambda pdu: self.transmit(frames.ETH_ECP, pdu), self.deliver, self.ecp_lost,
                             self.event, self.faults)

    def event(self, what, **fields):
        self.controller.event(what, port=self.port.name, depth=self.depth, **fields)

    def transmit(self, ethertype, payload):
        """In an S-channel or E-channel to the group; on a wire that several extenders share to the one."""
        shared = self.parent is None and self.port.svid is None
        frame = frames.control(self.mac if shared else frames.EXTENDER_GROUP, MAC, ethertype, payload)
        if self.parent:
            if self.parent.ecid is None:
                self.event("unreachable")
                return
            frame.etag = frames.Etag(self.parent.ecid)
        self.controller.transmit(self.port, frame)

    def send_lldp(self, now):
        if self.faults.take("no-lldp"):
            return
        self.lldp_sent = now
        tlvs = frames.Pe(0, MAC, MAC)
        port = (frames.PORT_LOCAL, self.port.name.encode())
        self.transmit(frames.ETH_LLDP, frames.Lldp((frames.CHASSIS_MAC, MAC), port, LLDP_TTL, pe=tlvs).pack())

    def chain(self):
        """This one and those further in."""
        pe = self
        while pe:
            yield pe
            pe = pe.child

    # --- requests of ours --------------------------------------------------------------------------------------------

    def request(self, command, now, ecids=()):
        transaction = self.controller.next_transaction()
        message = csp.Csp(command, csp.REQUEST, transaction, port=self.number if command != csp.OPEN else None, ecids=list(ecids))
        self.pending[transaction] = [message, now + ANSWER_TIME, 1]
        self.put(message, now)

    def put(self, message, now):
        self.event("csp-out", text=message.text(), transaction=message.transaction)
        self.link.send(message.pack(), now)

    def wanted(self):
        """{(GRP, E-CID): action}, the innermost E-CID of its own kind last: that is the data's."""
        inner = [p.ecid for p in self.chain() if p is not self and p.ecid is not None]
        entries = {(0, ecid): csp.TAGGED for ecid in inner}
        if self.port.svid is None:
            entries.update({group: csp.TAGGED if inner else csp.UNTAGGED for group in GROUPS.values()})
        return entries

    def synchronise(self, now):
        if self.ecid is None:
            return
        wanted = self.wanted()
        gone = [k for k in self.registered if k not in wanted]
        new = {k: a for k, a in wanted.items() if self.registered.get(k) != a}
        unicast = [k for k in wanted if not k[0]]
        if gone and unicast:
            new[unicast[-1]] = csp.TAGGED
        self.registered = wanted
        entries = [csp.Entry(e, csp.REMOVE, g) for g, e in gone] + [csp.Entry(e, a, g) for (g, e), a in new.items()]
        if entries:
            self.request(csp.REGISTER, now, entries)

    def ecp_lost(self, payload, now):
        self.event("csp-lost", payload=payload.hex())

    def tick(self, now):
        self.link.tick(now)
        for transaction, waiting in list(self.pending.items()):
            message, deadline, tries = waiting
            if now >= deadline and tries >= ANSWER_TRIES:
                del self.pending[transaction]
                self.event("csp-no-answer", text=message.text())
            elif now >= deadline:
                waiting[1:] = now + ANSWER_TIME, tries + 1
                self.put(message, now)
        self.release_held(now)
        if self.lldp_sent is not None and now - self.lldp_sent >= LLDP_INTERVAL:
            self.send_lldp(now)

    # --- what it says ------------------------------------------------------------------------------------------------

    def deliver(self, payload, now):
        try:
            message = csp.Csp.parse(payload)
        except frames.Malformed as e:
            self.controller.drop(self.port, "malformed-csp", str(e))
            return
        self.event("csp-in", text=message.text(), transaction=message.transaction)
        if message.op == csp.RESPONSE:
            self.take_response(message, now)
        else:
            self.take_request(message, now)

    def take_response(self, message, now):
        waiting = self.pending.get(message.transaction)
        if not waiting or waiting[0].command != message.command:
            self.controller.drop(self.port, "stray-response", message.text())
            return
        del self.pending[message.transaction]
        if message.result != csp.SUCCESS:
            self.event("csp-refused", text=waiting[0].text(), result=message.result)
        elif message.command == csp.OPEN:
            self.open = True

    def take_request(self, message, now):
        handler = {csp.OPEN: self.take_open, csp.CREATE: self.take_create, csp.DELETE: self.take_delete}.get(message.command)
        if self.faults.take("no-response"):
            return
        if self.faults.take("refuse"):
            answer = message.answer(csp.RESULTS["REFUSED"])
        elif handler is None:
            answer = message.answer(csp.RESULTS["REFUSED"])
        elif message.command != csp.OPEN and not self.open:
            answer = message.answer(csp.RESULTS["NOT_OPEN"])
        else:
            answer = handler(message, now)
        if self.faults.take("wrong-transaction"):
            answer.transaction = (answer.transaction + 0x100) & 0xFFFF
        if self.faults.take("malformed"):
            self.event("csp-out", text="malformed")
            self.link.send(answer.pack()[:5], now)
        elif self.controller.register_first and answer.ecids and self.parent:
            self.held = answer
        else:
            self.put(answer, now)
        for pe in self.port.root.chain():
            pe.synchronise(now)
        self.release_held(now)

    def release_held(self, now):
        if self.held and not any(pe.pending for pe in self.port.root.chain() if pe.depth < self.depth):
            self.put(self.held, now)
            self.held = None

    def take_open(self, message, now):
        self.release()
        self.open = True
        return message.answer()

    def take_create(self, message, now):
        if self.ecid is None:
            if self.last_ecid is None or self.faults.take("new-ecid"):
                self.last_ecid = self.controller.next_ecid()
            self.ecid, self.number, self.registered = self.last_ecid, message.port, {}
            self.event("ecid", ecid=self.ecid, mac=frames.mac_text(self.mac))
            self.controller.ports_changed(self.port)
        elif message.port != self.number:
            return message.answer(csp.RESULTS["NO_RESOURCES"])
        return message.answer(ecids=[csp.Entry(self.ecid, csp.UNTAGGED)])

    def take_delete(self, message, now):
        if self.ecid is None or message.port != self.number:
            return message.answer(csp.RESULTS["NO_PORT"])
        self.release()
        return message.answer()

    def release(self):
        """Its port is gone: the E-CID is nobody's, and nothing is registered there."""
        if self.ecid is not None:
            self.event("ecid-gone", ecid=self.ecid)
        self.ecid, self.number, self.registered, self.pending, self.held = None, None, {}, {}, None
        self.controller.ports_changed(self.port)


class Controller:
    """
    event(what, **fields), drop(port, reason, text), transmit(port, frame), ports_changed(port): the bridge's. register_first: an
    extender hears its E-CID after the outer ones have answered that they know it, else before they are asked.
    """

    def __init__(self, ports, faults, event, drop, transmit, ports_changed, first_ecid, register_first):
        self.ports, self.faults, self.event, self.drop = ports, faults, event, drop
        self.transmit, self.ports_changed = transmit, ports_changed
        self.ecid, self.transaction = first_ecid, 0
        self.register_first, self.restarted = register_first, False

    def next_ecid(self):
        self.ecid += 1
        return self.ecid - 1

    def next_transaction(self):
        self.transaction = (self.transaction + 1) & 0xFFFF
        return self.transaction

    def all(self):
        return [pe for port in self.ports if port.root for pe in port.root.chain()]

    def find(self, port, etag, src):
        """(the extender that the frame is from, its outer neighbour); it is None if we do not know it yet."""
        if etag is None:
            return port.root, None
        for pe in port.root.chain() if port.root else []:
            if pe.ecid == etag.ecid:
                return pe.child, pe
        raise frames.Malformed(f"control frame from E-CID {etag.ecid:#x}, which is nobody's here")

    def receive(self, port, frame, now):
        """A frame to the extenders' group, or to our MAC, that came from a port, its S-TAG off."""
        try:
            pe, parent = self.find(port, frame.etag, frame.src)
            if frame.type == frames.ETH_LLDP:
                self.take_lldp(port, pe, parent, frame, now)
            elif frame.type == frames.ETH_ECP:
                self.take_ecp(port, pe, frame, now)
            else:
                self.drop(port, "unknown-control", f"{frame.type:#06x}")
        except frames.Malformed as e:
            self.drop(port, "malformed-control", str(e))

    def take_lldp(self, port, pe, parent, frame, now):
        lldp = frames.Lldp.parse(frame.payload)
        if lldp.pe is None:
            self.drop(port, "lldp-without-pe", "")
            return
        if pe and (lldp.ttl == 0 or pe.mac != frame.src):
            self.forget(pe, "left" if lldp.ttl == 0 else "another", now)
            pe = None
        if lldp.ttl == 0:
            return
        new = pe is None
        if new:
            pe = Pe(self, port, parent, frame.src)
            if parent:
                parent.child = pe
            else:
                port.root = pe
            pe.event("extender", mac=frames.mac_text(frame.src), chassis=lldp.chassis[1].hex(":"), id=lldp.port[1].decode("latin-1"))
        pe.expires = now + lldp.ttl
        if new or now - (pe.lldp_sent or 0) >= 1:
            pe.send_lldp(now)
        if new and self.restarted:
            pe.request(csp.OPEN, now)

    def take_ecp(self, port, pe, frame, now):
        pdu = frames.Ecp.parse(frame.payload)
        if pdu.subtype != frames.ECP_CSP:
            self.drop(port, "ecp-subtype", str(pdu.subtype))
        elif pe is None:
            self.drop(port, "ecp-before-lldp", f"sequence {pdu.seq}")
        else:
            pe.link.receive(pdu, now)

    def forget(self, pe, why, now):
        for p in list(pe.chain()):
            p.event("extender-gone", why=why)
            p.release()
        if pe.parent:
            pe.parent.child = None
        else:
            pe.port.root = None
        for p in pe.port.root.chain() if pe.port.root else []:
            p.synchronise(now)

    def restart(self):
        """Everything is forgotten, as after a power cut: E-CIDs are given anew. Nobody is told."""
        for port in self.ports:
            if port.root:
                port.root = None
                self.ports_changed(port)
        self.ecid += 0x10
        self.restarted = True
        self.event("restart")

    def change_ecid(self, port, depth, how, now):
        """
        That extender's port gets another E-CID. how: "open": we say that we have forgotten it; "register": we tell it the new one; "remove":
        we take the old one back, so that it asks; "silent": we have forgotten it and say nothing.
        """
        pe = next((p for p in (port.root.chain() if port.root else []) if p.depth == depth and p.ecid is not None), None)
        if pe is None:
            raise ValueError(f"port {port.name} has no extender of depth {depth} with an E-CID")
        old, number, registered = pe.ecid, pe.number, pe.registered
        pe.release()
        pe.last_ecid = None
        if how == "open":
            pe.request(csp.OPEN, now)
        elif how == "silent":
            pass
        elif how == "remove":
            pe.number = number
            pe.request(csp.REGISTER, now, [csp.Entry(old, csp.REMOVE)])
        elif how == "register":
            pe.ecid, pe.number, pe.registered = self.next_ecid(), number, registered
            pe.last_ecid = pe.ecid
            pe.event("ecid", ecid=pe.ecid, mac=frames.mac_text(pe.mac))
            pe.request(csp.REGISTER, now, [csp.Entry(pe.ecid, csp.UNTAGGED)])
        else:
            raise ValueError(f"no way {how}")
        for p in port.root.chain():
            p.synchronise(now)

    def tick(self, now):
        for pe in self.all():
            pe.tick(now)
            if pe.expires is not None and now >= pe.expires:
                self.forget(pe, "expired", now)
                break
