"""Writes newc cpio archives: the bundles that configure a Nestling.

Invariant: the same files give the same bytes: names sorted, no times, no owners.
"""
import sys
from pathlib import Path

FILE_MODE = 0o100644


def entry(name, content, inode, mode=FILE_MODE):
    """One member; header and content are padded to four bytes."""
    fields = [inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
    return pad(head) + pad(content)


def pad(data):
    return data + b"\0" * (-len(data) % 4)


def archive(files):
    """files: {name: bytes}."""
    members = [entry(name, files[name], i + 1) for i, name in enumerate(sorted(files))]
    return b"".join(members) + entry("TRAILER!!!", b"", 0)


def read_directory(directory):
    """{relative name: content} of all files below a directory."""
    directory = Path(directory)
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: cpio.py DIRECTORY ARCHIVE")
    Path(sys.argv[2]).write_bytes(archive(read_directory(sys.argv[1])))
