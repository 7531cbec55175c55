#!/usr/bin/env python3
"""S-channels on the machine's wire as network devices: what the S-VLAN component at the station's end of a link does (IEEE 802.1Q).

Usage: s_channels.py SVID=NAME...

Each NAME becomes a tap device: what the kernel sends there goes to tap0 with an S-tag (88A8h) of that SVID, and frames from tap0 with that
tag come out of it without. The kernel needs no VLAN devices for it. Says "ready"; then a line on standard input is a frame in hexadecimal
that goes to tap0 as it is; the end of the input is ours. The last line is JSON: {"channels": {SVID: frames in from the machine}, "other":
frames of the machine that had no S-tag, or one of nobody}.
"""
import fcntl
import json
import os
import selectors
import socket
import struct
import sys

WIRE, STAG = "tap0", 0x88A8
AUXDATA, SOL_PACKET, OUTGOING, RCVBUFFORCE = 8, 263, 4, 33
TUNSETIFF, TAP_NO_PI = 0x400454CA, 0x1002
AUX = struct.Struct("=IIIHHHH")         # struct tpacket_auxdata
TAG_VALID = 1 << 4 | 1 << 6
BUFFER, QUEUE = 65536, 64 << 20


def open_wire():
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.bind((WIRE, 0))
    wire.setsockopt(SOL_PACKET, AUXDATA, 1)
    wire.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE if os.geteuid() == 0 else socket.SO_RCVBUF, QUEUE)
    wire.setblocking(False)
    return wire


def open_device(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), TAP_NO_PI))
    return fd


class Channels:
    def __init__(self, names):
        """names: {svid: name}"""
        self.wire = open_wire()
        self.devices = {svid: open_device(name) for svid, name in names.items()}
        self.counts = {svid: 0 for svid in names}
        self.other = 0

    def take(self):
        """What came on the wire: the kernel keeps the tag beside the frame."""
        while True:
            try:
                frame, beside, _, address = self.wire.recvmsg(BUFFER, socket.CMSG_SPACE(AUX.size))
            except BlockingIOError:
                return
            if address[2] == OUTGOING:
                continue
            status, _, _, _, _, tci, kind = AUX.unpack_from(beside[0][2])
            svid = tci & 0xFFF if status & TAG_VALID == TAG_VALID and kind == STAG else None
            if svid not in self.devices:
                self.other += 1
                continue
            self.counts[svid] += 1
            try:
                os.write(self.devices[svid], frame)
            except OSError:
                pass        # the device is not up

    def give(self, svid):
        while True:
            try:
                frame = os.read(self.devices[svid], BUFFER)
            except BlockingIOError:
                return
            self.wire.send(frame[:12] + struct.pack("!HH", STAG, svid) + frame[12:])

    def serve(self, commands):
        s = selectors.DefaultSelector()
        s.register(self.wire, selectors.EVENT_READ, self.take)
        s.register(commands, selectors.EVENT_READ)
        for svid, fd in self.devices.items():
            s.register(fd, selectors.EVENT_READ, lambda svid=svid: self.give(svid))
        while True:
            for key, _ in s.select():
                if key.data:
                    key.data()
                elif line := commands.readline():
                    self.wire.send(bytes.fromhex(line.decode()))
                else:
                    return


def main(words):
    channels = Channels({int(svid): name for svid, name in (w.split("=") for w in words)})
    print("ready", flush=True)
    channels.serve(open(0, "rb", buffering=0))
    channels.take()
    print(json.dumps({"channels": channels.counts, "other": channels.other}))


if __name__ == "__main__":
    main(sys.argv[1:])
