"""Several inner Nestlings on one CPU of the same level, each with a guest that is interrupted at any moment: none disturbs another."""
import re

import cpio
import paths
import spine

NAMES, INNER_MIB, GUEST_MIB = "abcde", 32, 8    # one more than an engine keeps chains for


def bundle(stanza):
    """L0 -> inner -> a, b, c ... on one CPU, each with a guest."""
    stanza = stanza["siblings"]
    head, vmx = f"[nestling]\n{spine.HEAD}\n", stanza["vmx"]
    guest = spine.section("guest", "guest.elf", GUEST_MIB, (0,), stanza["cmdline"])
    nestling, elf = paths.built("nestling.elf", "Nestling").read_bytes(), paths.built("guest.elf", "the guest").read_bytes()
    own = cpio.archive({"nestling.cfg": (head + guest).encode(), "guest.elf": elf})
    some = head + "".join(spine.section(name, "nestling.elf", INNER_MIB, (0,), "", ["own.cpio"], vmx=vmx) for name in NAMES)
    files = {"nestling.cfg": some.encode(), "nestling.elf": nestling, "own.cpio": own}
    inner = spine.section("inner", "nestling.elf", spine.LEVEL_MIB + INNER_MIB * len(NAMES), (0,), "", ["inner.cpio"], vmx=vmx)
    return {"nestling.cfg": (head + inner).encode(), "nestling.elf": nestling, "inner.cpio": cpio.archive(files)}


def check(m):
    spine.good_end(m)
    for name in NAMES:
        line = next((s for s in m.lines if re.search(rf"\[inner\] \[{name}\] \[L2\] .*guest.*code", s)), None)
        assert line and "with code 0:" in line, f"expected the guest of {name} to end with code 0, saw {line!r}"
