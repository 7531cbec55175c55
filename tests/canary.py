"""Known bytes in the machine's RAM: a module of a guest, found again wherever it was copied to, and watched.

Invariant: no two pages of the canary are equal, and none occurs by chance, so what is found is a copy and nothing else.
"""
import hashlib

FILE, PAGES, PAGE = "canary.bin", 4, 4096


def page(n):
    return b"".join(hashlib.sha256(b"canary %d %d" % (n, i)).digest() for i in range(PAGE // 32))


def content():
    return b"".join(page(n) for n in range(PAGES))


def find(m, pattern, step=64 << 20):
    """Physical addresses at which `pattern` lies in the machine's RAM."""
    found, size = [], m.options.memory << 20
    for start in range(0, size, step):
        block = m.read_memory(start, min(step + len(pattern) - 1, size - start))
        at = block.find(pattern)
        while at >= 0:
            found.append(start + at)
            at = block.find(pattern, at + 1)
    return found
