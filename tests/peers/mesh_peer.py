#!/usr/bin/env python3
"""The host's end of the guest's mesh workload (guest/work/mesh.c): says "go", answers, sends and counts broadcasts, says "stop".

Usage: mesh_peer.py [--port N] [--count N] ADDRESS[,MAC,VLAN]...

A line on standard input ends it: every member is told to stop, and one line of JSON says what came:
{"heard": {address: broadcasts in order}, "wrong": n, "seen": {MAC: {VLAN: frames on the wire}}}.

Members with a VLAN are reached by tagged frames on tap0 through a packet socket: there need be no VLAN interface in the kernel. There we
answer what the kernel answers without tags: ARP (for the address of a member's network that ends in 1) and ping; and ARP for an
address that ends in 200 + i with the MAC of member i, whatever its VLAN, so that guests send frames to where they must not arrive.
"""
import argparse
import json
import select
import socket
import struct
import sys
import time

TAP, OUR_MAC = "tap0", bytes.fromhex("020000000001")
ALL = b"\xff" * 6
AUXDATA, SOL_PACKET, OUTGOING = 8, 263, 4
AGAIN = 5   # seconds until a word is said again
MAGIC, GROUP_MAGIC, LENGTH = b"MESH", b"MESG", 64
ARP, IP, VLAN = 0x0806, 0x0800, 0x8100
ICMP, UDP = 1, 17


class Member:
    def __init__(self, text):
        self.address, *more = text.split(",")
        self.mac, self.vlan = (bytes.fromhex(more[0].replace(":", "")), int(more[1])) if more else (None, 0)

    def network(self, last):
        return self.address.rsplit(".", 1)[0] + f".{last}"


def checksum(data):
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Plain:
    """Members without VLAN: the kernel's own UDP."""

    def __init__(self, members, port, group=None):
        self.port, self.group = port, group
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.sock.bind(("", port))
        self.seen = {}
        if group:
            ours = socket.inet_aton(members[0].network(1))
            self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, ours)
            self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
            self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + ours)

    def send(self, member, data, everybody=False):
        self.sock.sendto(data, (member.network(255) if everybody else member.address, self.port))

    def send_group(self, data):
        self.sock.sendto(data, (self.group, self.port))

    def receive(self):
        """[(address, data)] of what came."""
        data, (address, _) = self.sock.recvfrom(2048)
        return [(address, data)]


class Tagged:
    """Members with VLANs: whole frames."""

    def __init__(self, members, port):
        self.members, self.port = members, port
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.bind((TAP, 0))
        self.sock.setsockopt(SOL_PACKET, AUXDATA, 1)
        self.seen = {}

    def frame(self, to, vlan, kind, body):
        self.sock.send(to + OUR_MAC + struct.pack("!HHH", VLAN, vlan, kind) + body.ljust(46, b"\0"))

    def packet(self, member, to_mac, to, protocol, body):
        ours = socket.inet_aton(member.network(1))
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + ours + socket.inet_aton(to)
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        self.frame(to_mac, member.vlan, IP, head + body)

    def send(self, member, data, everybody=False):
        body = struct.pack("!HHHH", self.port, self.port, 8 + len(data), 0) + data
        to = (ALL, member.network(255)) if everybody else (member.mac, member.address)
        self.packet(member, *to, UDP, body)

    def stray(self, member, vlan):
        """To a member's MAC in a VLAN that is not its own (0: without a tag); to everybody, if nobody has that."""
        for mac in [member.mac] + ([] if vlan else [ALL]):
            self.sock.send(mac + OUR_MAC + (struct.pack("!HH", VLAN, vlan) if vlan else b"") + struct.pack("!H", IP) + b"\x45".ljust(46, b"\0"))

    def answer_arp(self, member, vlan, body):
        op, sender_mac, sender, target = struct.unpack("!6xH6s4s6x4s", body[:28])
        last = target[3] - 200
        mac = OUR_MAC if target == socket.inet_aton(member.network(1)) else \
            self.members[last].mac if 0 <= last < len(self.members) else None
        if op == 1 and mac:
            self.frame(sender_mac, vlan, ARP, struct.pack("!HHBBH", 1, IP, 6, 4, 2) + mac + target + sender_mac + sender)

    def take_ip(self, member, body):
        length, protocol = struct.unpack("!2xH5xB", body[:10])
        data = body[20:length]
        ours = socket.inet_ntoa(body[16:20]) == member.network(1)
        if protocol == ICMP and ours and data[0] == 8:
            reply = b"\0\0\0\0" + data[4:]
            self.packet(member, member.mac, member.address, ICMP, reply[:2] + struct.pack("!H", checksum(reply)) + reply[4:])
        elif protocol == UDP:
            return [(socket.inet_ntoa(body[12:16]), data[8:])]
        return []

    def receive(self):
        frame, extra, _, (_, _, packet_type, _, _) = self.sock.recvmsg(2048, 256)
        if packet_type == OUTGOING:
            return []
        vlan = 0
        for level, kind, data in extra:
            if (level, kind) == (SOL_PACKET, AUXDATA):
                status, tag = struct.unpack("I12xH", data[:18])
                vlan = tag & 0xfff if status & 0x10 else 0     # TP_STATUS_VLAN_VALID
        source = frame[6:12]
        counts = self.seen.setdefault(source.hex(":"), {})
        counts[vlan] = counts.get(vlan, 0) + 1
        member = next((m for m in self.members if m.mac == source and m.vlan == vlan), None)
        kind, body = struct.unpack("!H", frame[12:14])[0], frame[14:]
        if not member:
            return []
        if kind == ARP:
            self.answer_arp(member, vlan, body)
        return self.take_ip(member, body) if kind == IP else []


class Run:
    def __init__(self, link, members):
        self.link, self.members = link, members
        self.ours = {m.network(1) for m in members}
        self.inputs = [link.sock, sys.stdin]
        self.heard, self.grouped = ({m.address: 0 for m in members} for _ in range(2))
        self.wrong, self.answered = 0, set()

    def take(self, address, data):
        if address in self.ours:
            return              # our own broadcasts come back
        if len(data) == LENGTH and data[:4] in (MAGIC, GROUP_MAGIC):
            heard = self.heard if data[:4] == MAGIC else self.grouped
            good = struct.unpack("!H", data[4:6])[0] == heard.get(address)
            self.wrong += not good
            heard[address] = heard.get(address, 0) + good
        else:
            self.answered.add((address, data))

    def serve(self, seconds):
        """What comes in that time; at once if standard input has a line, too. True then."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            ready = select.select(self.inputs, [], [], left)[0]
            if self.link.sock in ready:
                for address, data in self.link.receive():
                    self.take(address, data)
            elif ready:
                self.inputs.remove(sys.stdin)
                return True
        return False

    def tell(self, word):
        """Until every member has answered the word by its echo."""
        again = 0
        while silent := [m for m in self.members if (m.address, word) not in self.answered]:
            if time.monotonic() >= again:
                again = time.monotonic() + AGAIN
                for m in silent:
                    self.link.send(m, word)
            self.serve(0.05)

    def broadcast(self, count):
        for seq in range(count):
            for m in {m.network(255): m for m in self.members}.values():
                self.link.send(m, (MAGIC + struct.pack("!H", seq)).ljust(LENGTH, b"\0"), True)
            self.serve(0.005)

    def multicast(self, count):
        for seq in range(count):
            self.link.send_group((GROUP_MAGIC + struct.pack("!H", seq)).ljust(LENGTH, b"\0"))
            self.serve(0.005)

    def strays(self):
        if isinstance(self.link, Tagged):
            for m in self.members:
                for vlan in {0, *(o.vlan for o in self.members)} - {m.vlan}:
                    self.link.stray(m, vlan)

    def result(self):
        return {"heard": self.heard, "grouped": self.grouped, "wrong": self.wrong, "seen": self.link.seen}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--port", type=int, default=5000)
    arguments.add_argument("--count", type=int, default=10)
    arguments.add_argument("--group", help="numbered multicasts, too, of members without VLAN")
    arguments.add_argument("members", nargs="+", type=Member)
    a = arguments.parse_args()
    run = Run(Tagged(a.members, a.port) if a.members[0].vlan else Plain(a.members, a.port, a.group), a.members)
    run.tell(b"go")
    run.strays()
    run.broadcast(a.count)
    if a.group:
        run.multicast(a.count)
    while not run.serve(3600):
        pass
    run.tell(b"stop")
    print(json.dumps(run.result()), flush=True)


if __name__ == "__main__":
    main()
