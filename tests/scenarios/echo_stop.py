"""A guest that echoes: ping, UDP echo, its end."""
import spine
from machine import Ended


def check(m):
    m.expect(r"guest: echo: ready", 300)
    spine.ping(m, 3)
    spine.udp_echo(m, 100)
    try:
        code = m.wait(300)
    except Ended as e:
        raise AssertionError(f"expected exit code 0, saw: {e}") from None
    assert code == 0, f"expected exit code 0, saw {code}"
