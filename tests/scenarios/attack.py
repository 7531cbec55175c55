"""
A guest points its VF at memory of every level, of another guest and at nothing: no byte changes there, each attempt is a fault
that the console and the report lay at the attacker's door, and the other guest goes on.
"""
import re
import struct

import canary
import spine

MAGIC = struct.pack("<4Q", *(0x9e9e8d928d9e8b + i for i in range(4)))     # guest/work/attack.c
SENTENCE = b"Nestling at depth %u, loaded by %s"    # in the read-only data of every level's image
VICTIM = "10.0.0.3"
PAGE = 4096


def whole_page(address):
    """The first page that begins at or after an address."""
    return (address + PAGE - 1) // PAGE * PAGE


def places(m, depth):
    """{page: what it is}: copies of the victim's module (in its memory, in the bundles), images of all levels (and in bundles)."""
    copies = canary.find(m, canary.content())
    aligned = [a for a in copies if a % PAGE == 0]
    assert aligned and len(copies) > depth, f"expected the canary in the victim and in {depth} bundles, saw it at {[hex(a) for a in copies]}"
    pages = {whole_page(a): "canary" for a in copies}
    images = {a // PAGE * PAGE for a in canary.find(m, SENTENCE)}
    size, start = next(re.search(r"image (\d+) KiB at ([0-9a-f]+)", line).groups() for line in m.lines if "[L0] memory:" in line)
    start = int(start, 16)
    assert any(start <= a < start + int(size) * 1024 for a in images), f"expected the image of L0 at {start:x}, saw {images}"
    assert len(images) >= depth, f"expected {depth} images, saw {images}"
    pages.update((a, "image") for a in images)
    return pages


def aim(m, addresses):
    """Writes the list of addresses into the attacker's memory."""
    at = [a for a in canary.find(m, MAGIC) if a % PAGE == 0]
    assert len(at) == 1, f"expected the attacker's list once in memory, saw it at {at}"
    m.write_memory(at[0] + len(MAGIC) + 8, struct.pack(f"<{len(addresses)}Q", *addresses))
    m.write_memory(at[0] + len(MAGIC), struct.pack("<Q", len(addresses)))


def check_faults(m, targets, depth):
    """Each attempt on a foreign address faulted, and the device, the address and the VM are named."""
    attempts = [re.search(r"attack: (\S+) at iova ([0-9a-f]+): (\d+) faults", line) for line in m.lines]
    faults = {(a[1], int(a[2], 16)): int(a[3]) for a in attempts if a}
    for address in targets:
        for kind in ("tx-buffer", "rx-buffer", "tx-ring", "rx-ring"):
            assert faults.get((kind, address)), f"expected a fault for {kind} at {address:x}, saw {faults}"
    charged = "attacker" if depth == 1 else "inner"
    line = next((s for s in m.lines if re.search(rf"\[L0\] VT-d fault: 01:10\.0 (read|write) at iova 0x[0-9a-f]+ .*, {charged}", s)), None)
    assert line, f"expected a fault of 01:10.0, of VM {charged}, on the console"
    vms = [e for e in m.reports.levels["L0"] if e.get("section") == "vm"]
    most = {e["vm"]: e["faults"] for e in vms}
    assert most[charged] >= sum(faults.values()), f"expected {sum(faults.values())} faults charged to {charged}, saw {most}"
    assert not most.get("victim"), f"expected no fault charged to the victim, saw {most}"


def check(m):
    depth = m.scenario.spec["spine"]["depth"]
    m.expect(r"\[victim\] guest: echo: ready", 300)
    m.position = 0
    m.expect(r"guest: attack: waiting for addresses", 300)
    spine.ping(m, 2, VICTIM)
    pages = places(m, depth)
    before = {a: m.read_memory(a, PAGE) for a in pages}
    nothing = (m.options.memory << 20) * 16
    aim(m, [*pages, nothing])
    spine.ping(m, 5, VICTIM)
    m.expect(r"vm attacker ended with code", 600)
    changed = [f"{what} at {a:x}" for a, what in pages.items() if m.read_memory(a, PAGE) != before[a]]
    assert not changed, f"expected no byte to change, saw {changed} changed"
    failed = [line for line in m.lines if "] FAIL " in line]
    assert not failed, f"expected no failed check, saw {failed}"
    spine.ping(m, 2, VICTIM)
    spine.udp_echo(m, 50, VICTIM)
    assert m.wait(300) == 0, f"expected exit code 0, saw {m.result}"
    check_faults(m, [*pages, nothing], depth)
    print(f"    {m.scenario.label}: {len(pages)} pages of others attacked: " + ", ".join(f"{w} {a:x}" for a, w in pages.items()))
