"""Disk images: an MBR disk with one FAT32 EFI system partition, written by mtools alone (no mounts, no loop devices)."""
import struct
import subprocess
import sys
from pathlib import Path

import cpio
import paths

SECTOR = 512
FIRST_SECTOR = 2048
MIN_SECTORS = 68000          # FAT32 needs 65525 clusters (of one sector here), and room for its two tables
EFI_SYSTEM = 0xEF


def partition_table(sectors):
    """An MBR with one active partition, so that a BIOS takes it for a disk as well."""
    chs = b"\xfe\xff\xff"    # "use the LBA"
    part = b"\x80" + chs + bytes([EFI_SYSTEM]) + chs + struct.pack("<II", FIRST_SECTOR, sectors)
    return b"\0" * 440 + b"NEST" + b"\0\0" + part + b"\0" * 48 + b"\x55\xaa"


def run(*argv, data=None):
    subprocess.run(argv, input=data, check=True, stdout=subprocess.DEVNULL)


def make(path, files):
    """files: {path on the partition: bytes or Path of the content}."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {name: f if isinstance(f, bytes) else Path(f).read_bytes() for name, f in files.items()}
    used = sum(len(c) for c in content.values()) // SECTOR
    sectors = max(MIN_SECTORS, used + used // 8 + 8192)
    with open(path, "wb") as image:
        image.write(partition_table(sectors))
        image.truncate((FIRST_SECTOR + sectors) * SECTOR)
    partition = f"{path}@@{FIRST_SECTOR * SECTOR}"
    run(paths.tool("mformat", "mtools"), "-i", partition, "-F", "-c", "1", "-T", str(sectors), "-v", "NESTLING")
    for folder in sorted({str(p) for name in content for p in Path(name).parents if str(p) != "."}):
        run(paths.tool("mmd", "mtools"), "-i", partition, f"::{folder}")
    for name, data in content.items():
        run(paths.tool("mcopy", "mtools"), "-i", partition, "-", f"::{name}", data=data)


def make_nestling(path, efi, bundle=None, patches=None):
    """A disk that boots a Nestling: its EFI program, its bundle (bytes), and for tests of bad machines a list of
    changes to the ACPI tables, which a small program in front of it makes (see selftest/acpi_patch.c)."""
    files = {"EFI/BOOT/BOOTX64.EFI": efi}
    if patches:
        files = {"EFI/BOOT/BOOTX64.EFI": paths.built("machine/acpi_patch.efi", "the ACPI patcher"),
                 "nestling/NEXT.EFI": efi,
                 "nestling/acpi.patch": "".join(p + "\n" for p in patches).encode()}
    if bundle is not None:
        files["nestling/bundle.cpio"] = bundle
    make(path, files)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: image.py IMAGE PROGRAM.EFI [BUNDLE-DIRECTORY]")
    make_nestling(sys.argv[1], Path(sys.argv[2]),
                  cpio.archive(cpio.read_directory(sys.argv[3])) if len(sys.argv) == 4 else None)
