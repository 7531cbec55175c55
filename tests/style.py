#!/usr/bin/env python3
"""Checks the rules of style that a program can check, over the files that git knows or would add.

Each rule is one test: its offenders are listed, and the last line says how many rules held.
"""
import re
import subprocess
import sys
from pathlib import Path

TRUSTED = ("boot/", "core/", "vmx/", "iommu/", "nic/")
MAY_USE_ASM = {"core/x86.h", "vmx/vmx_insn.h", "guest/lib/x86.h"}
MAX_LINES = 600
# Not the product: programs of the test machine's own, which run on the host or in place of firmware.
HOST_CODE = ("tests/",)


def files():
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], check=True, text=True,
                           capture_output=True).stdout.splitlines()
    kept = [n for n in names if n.endswith((".c", ".h", ".S", ".py", ".sh", ".awk", ".ld")) or n == "Makefile"]
    return {n: Path(n).read_text() for n in kept if Path(n).is_file()}


def code(text):
    """The text without comments and strings, lines kept."""
    blank = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|//[^\n]*', re.S)
    return blank.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def find(names, pattern, strip=True):
    """file:line: text of every match."""
    for name, text in names.items():
        for number, line in enumerate((code(text) if strip else text).splitlines(), 1):
            if re.search(pattern, line):
                yield f"{name}:{number}: {text.splitlines()[number - 1].strip()}"


def only(tree, suffixes, folders=("",)):
    return {n: t for n, t in tree.items() if n.endswith(suffixes) and n.startswith(folders)}


def product(tree, suffixes):
    return {n: t for n, t in only(tree, suffixes).items() if not n.startswith(HOST_CODE)}


def first_comment(tree):
    starts = {".c": ("/*",), ".h": ("/*",), ".S": ("/*",), ".ld": ("/*",), ".py": ('"""', "#!"), ".sh": ("#",)}
    for name, text in tree.items():
        wanted = starts.get(Path(name).suffix)
        if wanted and not text.startswith(wanted):
            yield f"{name}:1: does not begin with a comment that says what it is for"


def too_long(tree):
    return [f"{n}: {t.count(chr(10))} lines" for n, t in tree.items() if t.count("\n") > MAX_LINES]


def one_way(tree):
    """Includes point one way: boot to core; vmx, iommu to core; nic to iommu, vmx, core; guest to nic, vmx (names of fields and controls), core."""
    allowed = {"boot": {"boot", "core"}, "core": {"core"}, "vmx": {"vmx", "core"}, "iommu": {"iommu", "core"},
               "nic": {"nic", "iommu", "vmx", "core"}, "guest": {"guest", "nic", "vmx", "core"}}
    for name, text in product(tree, (".c", ".h", ".S")).items():
        if name == "core/main.c":  # fills the tables by which core calls upward
            continue
        for folder in re.findall(r'^\s*#\s*include\s+"(\w+)/', text, re.M):
            if folder in allowed and folder not in allowed.get(name.split("/")[0], set()):
                yield f"{name}: includes {folder}/"


def listed(tree):
    makefile = tree["Makefile"]
    return [f"{n}: not in the Makefile" for n in product(tree, (".c", ".S")) if n not in makefile]


def rules(tree):
    c_code = product(tree, (".c", ".h"))
    unfinished = "TO" + "DO|FIX" + "ME|XX" + "X"
    yield "asm only in the instruction headers", find(
        {n: t for n, t in c_code.items() if n not in MAY_USE_ASM}, r"\b(__)?asm(__)?\b")
    yield "no conditional compilation in trusted .c files", find(
        only(tree, (".c",), TRUSTED), r"^\s*#\s*(if|ifdef|ifndef|elif|else)\b")
    yield "nothing marked as unfinished", find(tree, rf"\b({unfinished})\b", strip=False)
    yield f"no file over {MAX_LINES} lines", too_long(tree)
    yield "every file begins with a comment", first_comment(tree)
    yield "includes point one way", one_way(tree)
    yield "no trailing white space", find(tree, r"[ \t]+$", strip=False)
    yield "every source of the product is in the Makefile", listed(tree)


def main():
    held = broken = 0
    for name, offenders in rules(files()):
        offenders = list(offenders)
        print(f"  style: {name}: {'no: ' + str(len(offenders)) if offenders else 'yes'}")
        for line in offenders[:20]:
            print(f"    {line}")
        held, broken = held + (not offenders), broken + bool(offenders)
    print(f"{held} passed, {broken} failed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
