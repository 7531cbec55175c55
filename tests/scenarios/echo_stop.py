"""A guest that echoes: ping, UDP echo, its end."""
import spine


def check(m):
    m.expect(r"guest: echo: ready", 300)
    spine.ping(m, 3)
    spine.udp_echo(m, 100)
    spine.good_end(m)
