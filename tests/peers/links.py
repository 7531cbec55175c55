#!/usr/bin/env python3
"""Brings up the ports' ends in the namespace "switch" (outside.py runs it there): links.py HOST ADDRESS MAC NAME...

HOST br0: the bridge is made and gets the address; the ends with a NAME become members. Another HOST is there and gets the address.
A NAME that ends in "c" is a port's end for control frames: a member of nothing.
"""
import subprocess
import sys

from rawsock import checksums_by_kernel


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def main(host, address, mac, *names):
    if host == "br0":
        ip("link", "add", "name", host, "address", mac, "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
    else:
        checksums_by_kernel(host)
    for name in names:
        checksums_by_kernel(name)
        ip("link", "set", name, *(["master", host] if host == "br0" and not name.endswith("c") else []), "up")
    ip("addr", "add", f"{address}/24", "dev", host)
    ip("link", "set", host, "up")


if __name__ == "__main__":
    main(*sys.argv[1:])
