#!/usr/bin/env python3
"""Sends numbered UDP datagrams to an echo server and accounts for every one of them, in both directions; or is the server.

    udp_peer.py client ADDRESS [--port 7] [--count 100000] [--window 32] [--size 64]
    udp_peer.py server [--port 7]

A datagram: u32 magic, u32 run, u32 number (big-endian), then bytes of a content that depends on run, number and place.
At most `window` are on their way. The client prints one JSON object: sent, received (intact, each number once),
duplicates, disorder (a number after a higher one), corrupt, lost. Status 0 only if all came back intact and in order.
`--idle` ends the wait for what does not come: it is a limit on silence, no measurement.
"""
import argparse
import json
import os
import socket
import struct
import sys

MAGIC = 0x4E555031      # "NUP1"
HEAD = struct.Struct("!III")
PERIOD = bytes(range(256)) * 8


def content(run, number, size):
    start = (run + number * 7) & 0xFF
    return PERIOD[start:start + size - HEAD.size]


class Client:
    def __init__(self, args):
        self.args = args
        self.run = int.from_bytes(os.urandom(4), "big")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.connect((args.address, args.port))
        self.socket.settimeout(args.idle)
        self.seen = bytearray(args.count)
        self.sent = self.received = self.duplicates = self.disorder = self.corrupt = self.refused = 0
        self.highest = -1

    def send(self):
        self.socket.send(HEAD.pack(MAGIC, self.run, self.sent) + content(self.run, self.sent, self.args.size))
        self.sent += 1

    def take(self, data):
        if len(data) != self.args.size:
            self.corrupt += 1
            return
        magic, run, number = HEAD.unpack_from(data)
        if magic != MAGIC or number >= self.sent or run != self.run:
            self.corrupt += 1
        elif data[HEAD.size:] != content(run, number, self.args.size):
            self.corrupt += 1
        elif self.seen[number]:
            self.duplicates += 1
        else:
            self.seen[number] = 1
            self.received += 1
            self.disorder += number < self.highest
            self.highest = max(self.highest, number)

    def exchange(self):
        answered = 0            # datagrams that came, of whatever kind: they open the window
        while answered < self.args.count:
            try:
                while self.sent < self.args.count and self.sent - answered < self.args.window:
                    self.send()
                self.take(self.socket.recv(65536))
            except ConnectionRefusedError:
                self.refused += 1
                return
            except TimeoutError:
                return
            answered += 1

    def result(self):
        return {"sent": self.sent, "received": self.received, "lost": self.sent - self.received,
                "duplicates": self.duplicates, "disorder": self.disorder, "corrupt": self.corrupt,
                "refused": self.refused}


def client(args):
    c = Client(args)
    c.exchange()
    result = c.result()
    print(json.dumps(result))
    return 0 if result["received"] == args.count and not (c.duplicates or c.disorder or c.corrupt) else 1


def server(args):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    s.bind(("", args.port))
    print("ready", flush=True)
    while True:
        data, sender = s.recvfrom(65536)
        s.sendto(data, sender)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="role", required=True)
    c = sub.add_parser("client")
    c.add_argument("address")
    c.add_argument("--count", type=int, default=100000)
    c.add_argument("--window", type=int, default=32)
    c.add_argument("--size", type=int, default=64, help="bytes of payload, 12 to 1472")
    c.add_argument("--idle", type=float, default=20, help="seconds of silence after which the rest counts as lost")
    s = sub.add_parser("server")
    for parser in (c, s):
        parser.add_argument("--port", type=int, default=7)
    args = p.parse_args()
    return client(args) if args.role == "client" else server(args)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
