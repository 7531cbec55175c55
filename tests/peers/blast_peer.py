#!/usr/bin/env python3
"""The host's end of the guest's blast workload: numbered UDP datagrams both ways, every one checked, no repetition.

Usage: blast_peer.py [--ip ADDRESS] [--port N] [--count N] [--window N] [--size N] [--timeout SECONDS] [--broadcast ADDRESS|none]
                     [--group ADDRESS]

Waits for a guest's HELLO at ADDRESS:port, takes count, window and size from it (or insists on those that are given), runs,
and prints one line of JSON. Exit status: 0 only if both ends have counted every packet, in order and intact; 1 if not; 2 if
nobody came or what came was no HELLO that fits. A guest that has a stream of broadcasts, too, gets one: to ADDRESS, which is the guest's
with 255 at its end if not given, or "none" for unicast in its place (where there is no broadcast); one that has a stream of multicasts
gets one to the group ADDRESS (239.192.0.1). The protocol is described in guest/work/blast.h.
"""
import argparse
import json
import select
import socket
import struct
import sys
import time

MAGIC, VERSION = 0x4E424C31, 3
HELLO, DATA, ACK, PROBE, SUMMARY, BYE = range(1, 7)
STREAM_SHIFT = 6    # in type: above it the stream's number
UNICAST, BROADCAST, MULTICAST = range(3)
NAMES = {BROADCAST: "group", MULTICAST: "multicast"}    # in the result
SEEN = 256    # numbers before `expect` of which we know whether they came
HEADER = struct.Struct("!IBBHIII")  # magic, version, type, len, run, seq, ack
HELLO_BODY = struct.Struct("!III")
SUMMARY_BODY = struct.Struct("!IIIIII")
COUNTS = ("tx_data", "rx_data", "lost", "disorder", "bad", "dup")
SIZE_MAX, WINDOW_MAX = 1472, 192
PATTERN = bytes(7 * i & 255 for i in range(256 + SIZE_MAX))
GUEST, PEER = 0, 1  # sides
PROBE_AFTER = 1.0   # seconds without movement
LINGER = 5.0        # for a guest that has not heard our SUMMARY
BURST = 32          # packets sent between two looks at what came


def content(seq, side, length):
    start = (seq + 128 * side) & 255
    return PATTERN[start:start + length]


class Stream:
    """
    One stream with one guest. Numbers as in struct blast: next, acked (ours), expect, told (theirs). send_to(packet, is_data) sends.
    """

    def __init__(self, send_to, number, run, count, window, size):
        self.send_to, self.number, self.run, self.count, self.window, self.size = send_to, number, run, count, window, size
        self.seen = [False] * SEEN
        self.next = self.acked = self.expect = self.told = 0
        self.mine = dict.fromkeys(COUNTS, 0)
        self.theirs = None
        self.started = self.probed = self.bye = False
        self.control = {"tx": 0, "rx": 0, "stale": 0}
        self.body = size - HEADER.size

    def send(self, kind, body=b""):
        packet = HEADER.pack(MAGIC, VERSION, kind | self.number << STREAM_SHIFT, len(body), self.run, self.next, self.expect) + body
        self.told, self.probed = self.expect, False
        if kind == DATA:
            self.next += 1
            self.mine["tx_data"] += 1
        else:
            self.control["tx"] += 1
        try:
            self.send_to(packet, kind == DATA)
        except (ConnectionRefusedError, BlockingIOError):
            pass  # lost like any other: it will be missed

    def send_data(self):
        self.send(DATA, content(self.next, PEER, self.body))

    def send_hello(self):
        self.send(HELLO, HELLO_BODY.pack(self.count, self.window, self.size))

    def may_send(self):
        return self.started and self.next < self.count and self.next - self.acked < self.window

    def must_ack(self):
        unsaid = self.expect - self.told
        return self.probed or unsaid and (unsaid >= (self.window + 3) // 4 or self.expect == self.count)

    def pass_over(self, seq):
        while seq > self.expect:
            self.mine["lost"] += 1
            self.seen[self.expect % SEEN] = False
            self.expect += 1

    def take_late(self, seq):
        known = self.expect - seq <= SEEN
        self.mine["dup" if known and self.seen[seq % SEEN] else "disorder"] += 1
        if known:
            self.seen[seq % SEEN] = True

    def take_data(self, seq, body):
        if seq >= self.count or len(body) != self.body:
            self.mine["bad"] += 1
        elif seq < self.expect:
            self.take_late(seq)
        else:
            self.pass_over(seq)
            self.seen[seq % SEEN] = True
            self.expect += 1
            self.mine["rx_data" if body == content(seq, GUEST, self.body) else "bad"] += 1

    def take_control(self, kind, seq, body):
        self.control["rx"] += 1
        if kind == HELLO:
            self.send_hello()
        elif kind == PROBE:
            self.pass_over(min(seq, self.count))
            self.probed = True
        elif kind == SUMMARY and len(body) == SUMMARY_BODY.size:
            self.theirs = dict(zip(COUNTS, SUMMARY_BODY.unpack(body)))
            self.send(SUMMARY, SUMMARY_BODY.pack(*(self.mine[c] for c in COUNTS)))
        elif kind == BYE:
            self.bye = True
        elif kind != ACK:
            self.mine["bad"] += 1

    def take(self, packet):
        """A packet with a whole header of ours (Peer.take)."""
        _, _, kind, _, run, seq, ack = HEADER.unpack_from(packet)
        if run != self.run:
            self.control["stale"] += 1
        elif ack > self.next:
            self.mine["bad"] += 1
        else:
            kind &= (1 << STREAM_SHIFT) - 1
            self.acked = max(self.acked, ack)
            self.started |= kind != HELLO
            if kind == DATA:
                self.take_data(seq, packet[HEADER.size:])
            else:
                self.take_control(kind, seq, packet[HEADER.size:])

    def burst(self):
        """What the window allows, and what must be acknowledged."""
        sent = 0
        while sent < BURST and self.may_send():
            self.send_data()
            sent += 1
        if self.must_ack():
            self.send(ACK)

    def state(self):
        return self.next, self.acked, self.expect

    def perfect(self):
        good = {"tx_data": self.count, "rx_data": self.count, "lost": 0, "disorder": 0, "bad": 0, "dup": 0}
        return self.mine == good and self.theirs == good

    def result(self):
        return {"ok": self.perfect(), "count": self.count, "window": self.window, "size": self.size, "peer": self.mine,
                "guest": self.theirs, "control": self.control}


class Peer:
    """One run with one guest: sockets, the unicast stream, and those to many if the guest says HELLO for them."""

    def __init__(self, sock, guest, broadcast, group, first_hello):
        self.sock, self.guest = sock, guest
        self.address = {} if broadcast == "none" else {BROADCAST: broadcast or guest[0].rsplit(".", 1)[0] + ".255", MULTICAST: group}
        self.many = {}          # sockets of the streams to many
        self.streams, self.malformed = {}, 0
        self.take(first_hello)

    def open_many(self, number):
        s = self.many[number] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if number == BROADCAST:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        else:
            ours = socket.inet_aton(self.sock.getsockname()[0])
            s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, ours)
            s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
            s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(self.address[number]) + ours)
        s.bind((self.address[number], self.guest[1]))

    def sender(self, number):
        """Only DATA goes to many."""
        def send(packet, is_data):
            if is_data and number in self.many:
                self.many[number].sendto(packet, (self.address[number], self.guest[1]))
            else:
                self.sock.send(packet)
        return send

    def take(self, packet):
        good = len(packet) >= HEADER.size
        if good:
            magic, version, kind, length, run, _, _ = HEADER.unpack_from(packet)
            good = magic == MAGIC and version == VERSION and length == len(packet) - HEADER.size
        if not good:
            self.malformed += 1
            return
        number = kind >> STREAM_SHIFT
        if kind & ((1 << STREAM_SHIFT) - 1) == HELLO and number not in self.streams and number <= MULTICAST and length == HELLO_BODY.size:
            if number in self.address:
                self.open_many(number)
            self.streams[number] = Stream(self.sender(number), number, run, *HELLO_BODY.unpack_from(packet, HEADER.size))
        if number in self.streams:
            self.streams[number].take(packet)

    def sockets(self):
        return [self.sock, *self.many.values()]

    def receive(self, wait):
        """Take all that is there; wait so long for the first. True if something came."""
        ready = select.select(self.sockets(), [], [], wait)[0]
        for sock in ready:
            for _ in range(4 * BURST):
                try:
                    packet, sender = sock.recvfrom(2048, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
                except ConnectionRefusedError:
                    continue
                if sender == self.guest:    # our own broadcasts come back
                    self.take(packet)
        return bool(ready)

    def play(self, timeout):
        """Until BYE, or a while after a SUMMARY, or timeout without any packet."""
        heard = moved = time.monotonic()
        state = None
        while not all(s.bye for s in self.streams.values()):
            streams = list(self.streams.values())
            for s in streams:
                s.burst()
            now = time.monotonic()
            if self.receive(0 if any(s.may_send() for s in streams) else 0.05):
                heard = now
            if state != (state := [s.state() for s in streams]):
                moved = now
            elif now - moved > PROBE_AFTER:
                for s in streams:
                    if s.started:
                        s.send(PROBE)
                moved = now
            if now - heard > (LINGER if all(s.theirs for s in streams) else timeout):
                break

    def perfect(self):
        return not self.malformed and all(s.perfect() for s in self.streams.values())

    def result(self):
        """The unicast stream's, and under their names those of broadcasts and multicasts."""
        result = self.streams[UNICAST].result() if UNICAST in self.streams else {}
        result.update({name: self.streams[n].result() for n, name in NAMES.items() if n in self.streams})
        return dict(result, ok=self.perfect(), malformed=self.malformed)


def wait_for_guest(sock, wanted, timeout, broadcast, group):
    """The Peer of the first HELLO that fits, with the socket connected to the guest; or a sentence why not."""
    end, reason = time.monotonic() + timeout, "no HELLO came"
    while (left := end - time.monotonic()) > 0:
        if not select.select([sock], [], [], left)[0]:
            break
        packet, guest = sock.recvfrom(2048)
        if len(packet) != HEADER.size + HELLO_BODY.size:
            continue
        magic, version, kind, _, _, _, _ = HEADER.unpack_from(packet)
        offer = dict(zip(("count", "window", "size"), HELLO_BODY.unpack_from(packet, HEADER.size)))
        if (magic, version, kind & ((1 << STREAM_SHIFT) - 1)) != (MAGIC, VERSION, HELLO):
            continue
        if any(w is not None and w != offer[k] for k, w in wanted.items()):
            reason = f"the guest offers {offer}, wanted {wanted}"
        elif not (HEADER.size <= offer["size"] <= SIZE_MAX and 1 <= offer["window"] <= WINDOW_MAX):
            reason = f"the guest offers {offer}, out of range"
        else:
            sock.connect(guest)
            return Peer(sock, guest, broadcast, group, packet)
    return reason


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--ip", default="0.0.0.0", help="address to bind to")
    arguments.add_argument("--port", type=int, default=7001)
    arguments.add_argument("--count", type=int)
    arguments.add_argument("--window", type=int)
    arguments.add_argument("--size", type=int)
    arguments.add_argument("--timeout", type=float, default=120, help="seconds without a packet")
    arguments.add_argument("--broadcast", help='address for broadcasts, or "none"')
    arguments.add_argument("--group", default="239.192.0.1", help="group for multicasts")
    a = arguments.parse_args()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((a.ip, a.port))
    peer = wait_for_guest(sock, {"count": a.count, "window": a.window, "size": a.size}, a.timeout, a.broadcast, a.group)
    if isinstance(peer, str):
        print(json.dumps({"ok": False, "error": peer}), flush=True)
        return 2
    peer.play(a.timeout)
    print(json.dumps(peer.result()), flush=True)
    return 0 if peer.perfect() else 1


if __name__ == "__main__":
    sys.exit(main())
