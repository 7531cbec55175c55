"""A person's wish at the console of either level: the guest follows in the midst of pings and echoes; nothing is lost."""
import spine
from machine import Ended


def wish(m, command, mode):
    m.send_line(command)
    # polled or not, the guest hears of it by the interrupt of its emulated device
    m.expect(rf"guest: nic: asked for {mode}: done$", 60)


def check(m):
    m.expect(r"guest: echo: ready", 300)
    for prefix in ("", "@inner "):
        for mode, said in (("passthrough", "pass-through"), ("emulation", "emulation")):
            spine.ping(m, 2)
            wish(m, f"{prefix}port 0 mode {mode}", said)
            spine.ping(m, 2)
    spine.udp_echo(m)
    try:
        code = m.wait(300)
    except Ended as e:
        raise AssertionError(f"expected exit code 0, saw: {e}") from None
    assert code == 0, f"expected exit code 0, saw {code}"
