"""Writes the initial RAM disk of the Linux guest: busybox, network modules, tests/linux/init.

usage: initrd.py FILES INIT OUTPUT   (FILES: the folder with busybox and the modules)
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "machine"))
import cpio   # noqa: E402

DIRECTORY, PROGRAM = 0o40755, 0o100755
FOLDERS = ("bin", "dev", "proc", "sys", "tmp", "modules")


def members(files, init):
    yield from ((name, b"", DIRECTORY) for name in FOLDERS)
    yield "init", init.read_bytes(), PROGRAM
    yield "bin/busybox", (files / "busybox").read_bytes(), PROGRAM
    for module in sorted(files.glob("*.ko")):
        yield f"modules/{module.name}", module.read_bytes(), cpio.FILE_MODE


def main(files, init, output):
    parts = [cpio.entry(name, content, i + 1, mode) for i, (name, content, mode) in enumerate(members(files, init))]
    Path(output).write_bytes(b"".join(parts) + cpio.entry("TRAILER!!!", b"", 0))


main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
