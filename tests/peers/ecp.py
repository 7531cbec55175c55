"""ECP with one peer for one upper protocol: one request on its way, acknowledged or sent again (802.1Q, Edge Control Protocol).

Pure: time comes in as an argument (seconds), PDUs go out by `transmit(bytes)`. `faults.take(name)` decides what goes wrong.
"""
import frames

RETRIES, RTE = 3, 14


class NoFaults:
    def take(self, name):
        return False


class Link:
    """
    deliver(payload, now): a request's payload, once each; lost(payload, now): it was sent 1 + retries times and nobody acknowledged.
    event(what, **fields): for the log.
    """

    def __init__(self, subtype, transmit, deliver, lost, event, faults=None, rte=RTE, retries=RETRIES, first=1):
        self.subtype, self.transmit, self.deliver, self.lost, self.event = subtype, transmit, deliver, lost, event
        self.faults = faults or NoFaults()
        self.wait, self.retries = 10e-6 * 2 ** rte, retries
        self.seq, self.queue, self.current = first - 1, [], None
        self.deadline, self.tries = None, 0
        self.heard = None       # sequence number of the last request that was delivered

    def send(self, payload, now):
        self.queue.append(payload)
        if self.current is None:
            self.next(now)

    def next(self, now):
        self.current = self.deadline = None
        if self.queue:
            self.seq = (self.seq + 1) & 0xFFFF
            self.current, self.tries = frames.Ecp(frames.ECP_REQUEST, self.subtype, self.seq, self.queue.pop(0)), 0
            self.put(now)

    def put(self, now):
        self.tries += 1
        self.deadline = now + self.wait
        self.transmit(self.current.pack())
        if self.faults.take("duplicate"):
            self.transmit(self.current.pack())

    def tick(self, now):
        if self.deadline is None or now < self.deadline:
            return
        if self.tries <= self.retries:
            self.event("ecp-again", seq=self.seq, tries=self.tries)
            self.put(now)
            return
        payload = self.current.payload
        self.event("ecp-lost", seq=self.seq, tries=self.tries)
        self.next(now)
        self.lost(payload, now)

    def receive(self, pdu, now):
        """A PDU of our subtype."""
        if pdu.op == frames.ECP_ACK:
            if self.current is None or pdu.seq != self.seq:
                self.event("ecp-stray-ack", seq=pdu.seq, ours=self.seq)
                return
            self.next(now)
        elif not self.faults.take("no-ack"):
            self.acknowledge(pdu)
            if pdu.seq == self.heard:
                self.event("ecp-duplicate", seq=pdu.seq)
                return
            self.heard = pdu.seq
            self.deliver(pdu.payload, now)

    def acknowledge(self, pdu):
        seq = pdu.seq
        if self.faults.take("wrong-sequence"):
            seq = (seq + 7) & 0xFFFF
        for _ in range(2 if self.faults.take("duplicate-ack") else 1):
            self.transmit(frames.Ecp(frames.ECP_ACK, self.subtype, seq).pack())

    def busy(self):
        return self.current is not None
