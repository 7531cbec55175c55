"""A stock Linux kernel as the guest: its virtio_net binds to the emulated device, pings, and moves a file by TCP both ways."""
import hashlib
import subprocess
import sys

SIZE = 300000
SEND = """
import socket, sys, time
data = bytes(i * 7 & 255 for i in range({size}))
for attempt in range(100):
    try:
        s = socket.create_connection(("{ip}", 5001), 60)
        break
    except OSError:
        time.sleep(0.3)
s.sendall(data); s.close()
"""
RECEIVE = """
import hashlib, socket
l = socket.create_server(("{ip}", 5002)); l.settimeout(300)
c, _ = l.accept(); c.settimeout(300)
data = b""
while part := c.recv(65536):
    data += part
print(len(data), hashlib.md5(data).hexdigest())
"""


def check(m):
    md5 = hashlib.md5(bytes(i * 7 & 255 for i in range(SIZE))).hexdigest()
    receiver = m.start_in_network([sys.executable, "-c", RECEIVE.format(ip="10.0.0.1")], stdout=subprocess.PIPE, text=True)
    m.expect(r"linux: interface \S+ driver virtio_net mac 52:54:00:00:00:02 mtu 1500", 900)
    m.expect(r"linux: ping: 3 packets transmitted, 3 packets received", 900)
    m.expect(r"linux: ready", 60)
    m.in_network([sys.executable, "-c", SEND.format(ip="10.0.0.2", size=SIZE)], check=True)
    m.expect(rf"linux: received {SIZE} bytes {md5}", 900)
    m.expect(r"linux: done", 900)
    seen = receiver.communicate(timeout=60)[0].strip()
    assert seen == f"{SIZE} {md5}", f"expected {SIZE} bytes {md5} back, saw {seen}"
    assert not (failed := [line for line in m.lines if "linux: FAIL" in line]), f"expected no failure in Linux, saw {failed}"
    m.expect(r"vm guest ended with code 0", 120)
