"""
passthrough=off: at the inner's level, at the outermost for a port of the inner's, at the outermost for a guest of its own. The guest gets
-EPERM, the console of the level that refuses says why, wishes are refused as well, and traffic goes on in emulation. A fourth guest, with
the same configuration but for that, passes through.
"""
import cpio
import paths
import spine
from scenarios import die

EPERM = -1
ON, OFF = "mode=emulation", "mode=emulation passthrough=off"
GUESTS = {"a": ("10.0.0.3", ON, OFF), "b": ("10.0.0.4", OFF, ON), "free": ("10.0.0.5", ON, ON)}  # of the inner: address, at L0, at L1
OWN = "c", "10.0.0.6"
CONFIGURATION, OUTSIDE = "its configuration says passthrough=off", "pass-through is not possible or not allowed further out"


def guest(name, ip, words):
    g = die.guest(name, int(ip.rsplit(".", 1)[1]))
    g.nic_words = words
    return g


def bundle(_):
    inner = [guest(name, ip, at_l1) for name, (ip, _, at_l1) in GUESTS.items()]
    own = guest(*OWN, OFF)
    nics = [f"port{i} {at_l0} mac={g.mac}" for i, (g, (_, at_l0, _)) in enumerate(zip(inner, GUESTS.values()))]
    text = "[nestling]\non_last_exit = exit\n" + own.section(len(nics))
    text += spine.section("inner", "nestling.elf", spine.LEVEL_MIB + 64, [0], "", ["inner.cpio"], nics)
    return {"nestling.cfg": text.encode(), "inner.cpio": cpio.archive(spine.bundle(1, inner)),
            "nestling.elf": paths.built("nestling.elf", "Nestling").read_bytes(), **own.files()}


def guest_asks(m, name, ip, reason):
    die.order(m, ip, "switch")
    if reason:
        m.expect(reason, 30)
        m.expect(rf"\[{name}\] guest: nic: allocate: error {EPERM}$", 30)
    m.expect(rf"\[{name}\] guest: die: switch: result {EPERM if reason else 0}$", 30)
    die.order(m, ip, "want")
    m.expect(rf"\[{name}\] guest: die: want: result {EPERM if reason else 0}$", 30)
    spine.ping(m, 2, ip)


def person_asks(m, command, answer):
    m.send_line(command + " mode passthrough")
    m.expect(answer, 30)


def ports(m):
    """What the console of either level says of each port."""
    m.send_line("ports")
    m.send_line("@inner ports")
    return {n: m.expect(rf"\[(L\d)\] port {n}: (\w+), wants (\w+);", 30).groups() for n in ("c 0", "inner 0", "inner 1", "inner 2", "a 0", "b 0", "free 0")}


def check(m):
    for name in [*GUESTS, OWN[0]]:
        m.position = 0
        m.expect(rf"\[{name}\] guest: die: ready", 300)
    refused = r"nic: VM {} gets no virtual function for port {}: " + CONFIGURATION
    guest_asks(m, "a", GUESTS["a"][0], r"^\[inner\] \[L1\] " + refused.format("a", 0))
    guest_asks(m, "b", GUESTS["b"][0], r"^\[L0\] " + refused.format("inner", 1))
    guest_asks(m, *OWN, r"^\[L0\] " + refused.format("c", 0))
    person_asks(m, "port c 0", rf"^\[L0\] port c 0: refused: {CONFIGURATION}$")
    person_asks(m, "port inner 1", rf"^\[L0\] port inner 1: refused: {CONFIGURATION}$")
    person_asks(m, "@inner port a 0", rf"^\[inner\] \[L1\] port a 0: refused: {CONFIGURATION}$")
    person_asks(m, "@inner port b 0", rf"^\[inner\] \[L1\] port b 0: refused: {OUTSIDE}$")
    person_asks(m, "port inner 0", r"^\[L0\] port inner 0: wants passthrough$")
    m.expect(r"^\[inner\] \[L1\] nic: VM a: the outer wishes pass-through for port 0, which says passthrough=off$", 30)
    seen = ports(m)
    assert all(state == "emulation" for _, state, _ in seen.values()), f"expected all ports in emulation, saw {seen}"
    assert [n for n, (_, _, want) in seen.items() if want != "emulation"] == ["inner 0"], f"expected one wish, of L0's administrator, saw {seen}"
    guest_asks(m, "free", GUESTS["free"][0], None)
    for ip in [ip for ip, _, _ in GUESTS.values()] + [OWN[1]]:
        spine.ping(m, 2, ip)
        die.order(m, ip, "stop")
    spine.good_end(m, 60)
