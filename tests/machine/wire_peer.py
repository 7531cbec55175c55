#!/usr/bin/env python3
"""The other end of the wire where no tap device can be had: 10.0.0.1, which answers ARP, ping and UDP echo (port 7).

It speaks Ethernet frames over the datagram sockets wire.qemu and wire.peer in the current directory. It is no Linux:
tests of stock tools need the tap.
"""
import os
import socket
import struct

MAC = b"\x02\0\0\0\0\x01"
ADDRESS = bytes([10, 0, 0, 1])
ARP, IPV4 = b"\x08\x06", b"\x08\x00"
ICMP, UDP = 1, 17
ECHO_REQUEST, ECHO_PORT = 8, 7


def checksum(data):
    data += b"\0" * (len(data) & 1)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def answer_arp(f):
    if f[20:22] != b"\0\1" or f[38:42] != ADDRESS:
        return None
    return f[6:12] + MAC + ARP + f[14:20] + b"\0\2" + MAC + ADDRESS + f[22:32]


def answer_ipv4(f):
    packet = f[14:14 + struct.unpack("!H", f[16:18])[0]]
    head = (packet[0] & 15) * 4
    body = packet[head:]
    if packet[16:20] != ADDRESS:
        return None
    if packet[9] == ICMP and body[0] == ECHO_REQUEST:
        body = b"\0\0" + checksum(b"\0\0\0\0" + body[4:]) + body[4:]
    elif packet[9] == UDP and body[2:4] == struct.pack("!H", ECHO_PORT):
        body = body[2:4] + body[0:2] + body[4:6] + b"\0\0" + body[8:]
    else:
        return None
    fixed = packet[:10] + b"\0\0" + ADDRESS + packet[12:16] + packet[20:head]
    return f[6:12] + MAC + IPV4 + fixed[:10] + checksum(fixed) + fixed[12:] + body


def answer(frame):
    """The frame to send back, or None."""
    kinds = {ARP: answer_arp, IPV4: answer_ipv4}
    try:
        reply = kinds.get(frame[12:14], lambda f: None)(frame)
    except (IndexError, struct.error):      # a malformed frame
        return None
    return reply.ljust(60, b"\0") if reply else None


def main():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if os.path.exists("wire.peer"):
        os.unlink("wire.peer")
    s.bind("wire.peer")
    while True:
        if reply := answer(s.recv(65536)):
            s.sendto(reply, "wire.qemu")


if __name__ == "__main__":
    main()
