#!/usr/bin/env python3
"""The host's end of the guest's blast workload: numbered UDP datagrams both ways, every one checked, no repetition.

Usage: blast_peer.py [--ip ADDRESS] [--port N] [--count N] [--window N] [--size N] [--timeout SECONDS]

Waits for a guest's HELLO at ADDRESS:port, takes count, window and size from it (or insists on those that are given), runs,
and prints one line of JSON. Exit status: 0 only if both ends have counted every packet, in order and intact; 1 if not; 2 if
nobody came or what came was no HELLO that fits. The protocol is described in guest/work/blast.h.
"""
import argparse
import json
import select
import socket
import struct
import sys
import time

MAGIC, VERSION = 0x4E424C31, 1
HELLO, DATA, ACK, PROBE, SUMMARY, BYE = range(1, 7)
HEADER = struct.Struct("!IBBHIII")  # magic, version, type, len, run, seq, ack
HELLO_BODY = struct.Struct("!III")
SUMMARY_BODY = struct.Struct("!IIIII")
COUNTS = ("tx_data", "rx_data", "lost", "disorder", "bad")
SIZE_MAX, WINDOW_MAX = 1472, 192
PATTERN = bytes(7 * i & 255 for i in range(256 + SIZE_MAX))
GUEST, PEER = 0, 1  # sides
PROBE_AFTER = 1.0   # seconds without movement
LINGER = 5.0        # for a guest that has not heard our SUMMARY
BURST = 32          # packets sent between two looks at what came


def content(seq, side, length):
    start = (seq + 128 * side) & 255
    return PATTERN[start:start + length]


class Peer:
    """One run with one guest. Numbers as in struct blast: next, acked (ours), expect, told (theirs)."""

    def __init__(self, sock, run, count, window, size):
        self.sock, self.run, self.count, self.window, self.size = sock, run, count, window, size
        self.next = self.acked = self.expect = self.told = 0
        self.mine = dict.fromkeys(COUNTS, 0)
        self.theirs = None
        self.started = self.probed = self.bye = False
        self.control = {"tx": 0, "rx": 0, "stale": 0}
        self.body = size - HEADER.size

    def send(self, kind, body=b""):
        packet = HEADER.pack(MAGIC, VERSION, kind, len(body), self.run, self.next, self.expect) + body
        self.told, self.probed = self.expect, False
        if kind == DATA:
            self.next += 1
            self.mine["tx_data"] += 1
        else:
            self.control["tx"] += 1
        try:
            self.sock.send(packet)
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
        if seq > self.expect:
            self.mine["lost"] += seq - self.expect
            self.expect = seq

    def take_data(self, seq, body):
        if seq >= self.count or len(body) != self.body:
            self.mine["bad"] += 1
        elif seq < self.expect:
            self.mine["disorder"] += 1
        else:
            self.pass_over(seq)
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
        if len(packet) < HEADER.size:
            self.mine["bad"] += 1
            return
        magic, version, kind, length, run, seq, ack = HEADER.unpack_from(packet)
        if magic != MAGIC or version != VERSION or length != len(packet) - HEADER.size:
            self.mine["bad"] += 1
        elif run != self.run:
            self.control["stale"] += 1
        elif ack > self.next:
            self.mine["bad"] += 1
        else:
            self.acked = max(self.acked, ack)
            self.started |= kind != HELLO
            if kind == DATA:
                self.take_data(seq, packet[HEADER.size:])
            else:
                self.take_control(kind, seq, packet[HEADER.size:])

    def receive(self, wait):
        """Take all that is there; wait so long for the first. True if something came."""
        if not select.select([self.sock], [], [], wait)[0]:
            return False
        for _ in range(4 * BURST):
            try:
                self.take(self.sock.recv(2048, socket.MSG_DONTWAIT))
            except BlockingIOError:
                break
            except ConnectionRefusedError:
                continue
        return True

    def play(self, timeout):
        """Until BYE, or a while after a SUMMARY, or timeout without any packet. True if the guest's SUMMARY came."""
        heard = moved = time.monotonic()
        state = None
        while not self.bye:
            sent = 0
            while sent < BURST and self.may_send():
                self.send_data()
                sent += 1
            if self.must_ack():
                self.send(ACK)
            now = time.monotonic()
            if self.receive(0 if self.may_send() else 0.05):
                heard = now
            if state != (state := (self.next, self.acked, self.expect)):
                moved = now
            elif self.started and now - moved > PROBE_AFTER:
                self.send(PROBE)
                moved = now
            if now - heard > (LINGER if self.theirs else timeout):
                break
        return self.theirs is not None

    def perfect(self):
        good = {"tx_data": self.count, "rx_data": self.count, "lost": 0, "disorder": 0, "bad": 0}
        return self.mine == good and self.theirs == good

    def result(self):
        return {"ok": self.perfect(), "count": self.count, "window": self.window, "size": self.size, "peer": self.mine,
                "guest": self.theirs, "control": self.control}


def wait_for_guest(sock, wanted, timeout):
    """The Peer of the first HELLO that fits, with the socket connected to the guest; or a sentence why not."""
    end, reason = time.monotonic() + timeout, "no HELLO came"
    while (left := end - time.monotonic()) > 0:
        if not select.select([sock], [], [], left)[0]:
            break
        packet, guest = sock.recvfrom(2048)
        if len(packet) != HEADER.size + HELLO_BODY.size:
            continue
        magic, version, kind, _, run, _, _ = HEADER.unpack_from(packet)
        offer = dict(zip(("count", "window", "size"), HELLO_BODY.unpack_from(packet, HEADER.size)))
        if (magic, version, kind) != (MAGIC, VERSION, HELLO):
            continue
        if any(w is not None and w != offer[k] for k, w in wanted.items()):
            reason = f"the guest offers {offer}, wanted {wanted}"
        elif not (HEADER.size <= offer["size"] <= SIZE_MAX and 1 <= offer["window"] <= WINDOW_MAX):
            reason = f"the guest offers {offer}, out of range"
        else:
            sock.connect(guest)
            peer = Peer(sock, run, **offer)
            peer.take(packet)
            return peer
    return reason


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--ip", default="0.0.0.0", help="address to bind to")
    arguments.add_argument("--port", type=int, default=7001)
    arguments.add_argument("--count", type=int)
    arguments.add_argument("--window", type=int)
    arguments.add_argument("--size", type=int)
    arguments.add_argument("--timeout", type=float, default=120, help="seconds without a packet")
    a = arguments.parse_args()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((a.ip, a.port))
    peer = wait_for_guest(sock, {"count": a.count, "window": a.window, "size": a.size}, a.timeout)
    if isinstance(peer, str):
        print(json.dumps({"ok": False, "error": peer}), flush=True)
        return 2
    peer.play(a.timeout)
    print(json.dumps(peer.result()), flush=True)
    return 0 if peer.perfect() else 1


if __name__ == "__main__":
    sys.exit(main())
