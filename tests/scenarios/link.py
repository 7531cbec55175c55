"""The NIC's link goes down and comes up during traffic: the outermost says so, the guest sees it, and traffic goes on afterwards."""
import subprocess
import sys

import spine

# Sends datagrams all the time, counts the echoes, and at the end of its input prints how many there were.
SENDER = f"""
import select, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.02)
echoed = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    try:
        s.sendto(b"x" * 100, ("{spine.GUEST_IP}", {spine.PORT}))
        echoed += len(s.recv(2048)) == 100
    except OSError:
        pass
print(echoed)
"""


def expect_link(m, state):
    """Both lines, in either order, from here on."""
    start = len(m.lines)
    m.set_link(state == "up")
    for pattern in (rf"\[L0\] nic: igb 01:00\.0: link {state}", rf"guest: echo: link {state}"):
        m.position = start
        m.expect(pattern)


def check(m):
    m.expect(r"guest: echo: link up", 300)
    spine.ping(m, 2)
    sender = m.start_in_network([sys.executable, "-c", SENDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(3):
            expect_link(m, "down")
            expect_link(m, "up")
        echoed = int(sender.communicate("")[0])
    finally:
        sender.kill()
        sender.wait()
    assert echoed, "expected echoes between two losses of the link, saw none"
    spine.ping(m, 2)
    spine.udp_echo(m)
    assert m.wait(300) == 0, f"expected exit code 0, saw {m.result}"
