"""Where things are: the repository, what is built, and the emulators of Debian trixie.

On a host older than trixie the emulators live in build/trixie and run through that root's own dynamic loader, with
explicit library and data paths: no chroot, no mounts, nothing to undo.
"""
import os
import shutil
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BUILD = REPO / "build"
MACHINE = BUILD / "machine"
TRIXIE = BUILD / "trixie"
LIB = "usr/lib/x86_64-linux-gnu"


class Missing(Exception):
    """Something that must be installed or built first."""


def root():
    """The root that holds the emulators: build/trixie where it exists, else the host itself."""
    return TRIXIE if (TRIXIE / "usr/bin/qemu-system-x86_64").exists() else Path("/")


def emulator(name, preload=None):
    """Command prefix that runs an emulator ("bochs-bin", "qemu-system-x86_64"), with a library of ours loaded first."""
    base = root()
    binary = base / "usr/bin" / name
    if not binary.exists():
        raise Missing(f"{name} is not installed: run tests/setup.sh")
    loader = [str(base / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", str(base / LIB)]
    if preload:
        return loader + ["--preload", str(preload), str(binary)]
    return [str(binary)] if base == Path("/") else loader + [str(binary)]


def data(path):
    """A data file of the emulators' packages, e.g. "usr/share/ovmf/OVMF.fd"."""
    found = root() / path
    if not found.exists():
        raise Missing(f"{found} is missing: run tests/setup.sh")
    return found


def built(path, what):
    """A product of the Makefile."""
    found = BUILD / path
    if not found.exists():
        raise Missing(f"{what} ({found}) is not built: run make")
    return found


def tool(name, package):
    """A program of the host."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise Missing(f"{name} is not installed (Debian package {package})")
    return found
