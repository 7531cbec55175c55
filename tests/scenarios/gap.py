"""An inner whose first port is bound to what the machine lacks: its second keeps its number and works."""
import cpio
import paths
import spine

MAC = "52:54:00:00:00:02"


def bundle(stanza):
    head = "[nestling]\non_last_exit = exit\n"
    port = f"port1 mode=passthrough mac={MAC}"
    guest = spine.section("guest", "guest.elf", spine.GUEST_MIB, [0], "cycle count=2", nics=[port])
    inner = {"nestling.cfg": (head + guest).encode(), "guest.elf": paths.built("guest.elf", "the guest").read_bytes()}
    nics = ["port9 mode=passthrough", port]
    outer = spine.section("inner", "nestling.elf", spine.GUEST_MIB + spine.LEVEL_MIB, [0], "", ["inner.cpio"], nics)
    return {"nestling.cfg": (head + outer).encode(), "inner.cpio": cpio.archive(inner),
            "nestling.elf": paths.built("nestling.elf", "Nestling").read_bytes()}


def check(m):
    m.expect(r"^\[L0\] nic: VM inner wants port9, but there are 7 ports: it runs without$")
    m.expect(r"^\[inner\] \[L1\] nic: port0 is missing: the outer has nothing behind it$")
    m.expect(r"^\[inner\] \[L1\] nic: 1 port from the outer$")
    m.expect(r"^\[inner\] \[guest\] guest: cycle: 2 of 2 good")
    m.expect(r"^\[L0\] vm inner ended with code 0")
