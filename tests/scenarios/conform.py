"""conform.elf as a guest at some depth, compared line by line with the same program on the bare machine.

The bare run boots by GRUB on Bochs alone with the same processor model; its lines are kept in build/conform/ under a hash of
program, command line and model, so that one bare run serves every depth.

A line that differs, and a FAIL on either side, is a failure, unless CAUSES lists it: a departure of the emulated processor
from the SDM, or a capability that the nesting engine does not offer.

Run by itself: conform.py [--model M] [--without FEATURE] [WORDS...] prints the lines of a bare run.
"""
import argparse
import fcntl
import fnmatch
import hashlib
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "machine"))

import options      # noqa: E402
import paths        # noqa: E402
from machine import Machine     # noqa: E402

LINE = re.compile(r"(?:^|\] )(PASS|FAIL|SKIP|RESULT) ([a-z]+/\S+?):? ?((?<=[: ]).*)?$")
END = re.compile(r"(?:^|\] )conform: (\d+) passed, (\d+) failed$")

BARE, NESTED, BOTH = "bare", "nested", "both"
# (pattern of names, where, why). BARE: the bare machine fails it, the guest passes. NESTED: the guest's line differs. BOTH: fails
# on both.
# A cause of a PASS/FAIL/SKIP line covers the RESULT line of that name.
CAUSES = [
    # Departures of the emulated processor (Bochs 3.0) from the SDM.
    ("insn/invept/type-high-bits", BARE, "Bochs looks at bits 31:0 of the type operand of INVEPT only"),
    ("insn/inv*/bad-type-before-operand", BARE, "Bochs reads the descriptor before it looks at the type"),
    ("entry/ctl.posted.low", BARE, "Bochs wants the posted-interrupt descriptor 4 KiB-aligned"),
    ("entry/ctl.entry.smm", BARE, "Bochs takes entry to SMM outside SMM for a failure of guest state"),
    ("entry/guest.ia32e.pg", BARE, "Bochs does not check CR0.PG of an unrestricted guest in IA-32e mode"),
    ("entry/guest.debugctl", BARE, "Bochs does not check IA32_DEBUGCTL"),
    ("entry/guest.rip.high", BARE, "Bochs enters with a RIP that is not canonical and raises #GP"),
    ("entry/guest.rflags.vm", BARE, "Bochs allows RFLAGS.VM with CR0.PE = 0"),
    ("entry/guest.activity.hlt-event", BARE, "Bochs injects any event into HLT"),
    ("entry/guest.blocking.virtual-nmi", BARE, "Bochs injects a virtual NMI that is blocked"),
    ("entry/guest.pending.reserved", BARE, "Bochs does not look at bits 63:32 of the pending debug exceptions"),
    ("entry/guest.pending.bs-*", BARE, "Bochs does not check BS of the pending debug exceptions against TF"),
    ("entry/msr.smm", BARE, "Bochs is told to ignore unknown MSRs"),
    ("random/block-*", BARE, "the departures at VM entry named above"),
    ("events/window-ends-hlt", BOTH, "HLT of Bochs does not see interrupt-window exiting"),
    ("events/interrupt-guest-if-0", BARE, "Bochs makes no exit by an interrupt if the entry loads RFLAGS.IF = 0"),
    ("events/interrupt-before-sti", BARE, "the same, until the guest executes STI"),
    # Capabilities that the nesting engine does not offer: a row is left out, or its other side is tested.
    ("fields/encodings-0000=", NESTED, "EPTP index: #VE is not offered"),
    ("fields/encodings-2000=", NESTED, "fields of #VE: not offered"),
    ("fields/encodings-2[8c]00=", NESTED, "loading IA32_PERF_GLOBAL_CTRL is not offered"),
    ("exits/ept-*=", NESTED, "advanced information on EPT violations is not offered"),
    ("entry/ctl.ve-info.*", NESTED, "#VE is not offered"),
    ("entry/guest.activity=", NESTED, "shutdown is not offered: a vector more"),
    ("entry/guest.activity.shutdown-event", NESTED, "the shutdown activity state is not offered"),
]
# Causes on a processor without a feature.
CAUSES_WITHOUT = {
    "vpid": [("insn/invvpid/*", BARE, "Bochs executes INVVPID on a processor without VPID")],
}
# Causes with more than one CPU, which group sipi needs.
CAUSES_SMP = [
    ("sipi/state-kept", BARE, "Bochs saves the wait-for-SIPI state as active"),
    ("sipi/nmi-after-exit", BARE, "Bochs leaves NMIs blocked behind the exit by a SIPI, until an IRET"),
]
# Faults found and not mended yet, as above. They are printed at every run.
OPEN = []

GRUB = """serial --unit=0 --speed=115200
terminal_output serial
set timeout=0
menuentry conform {{
    {loader} /boot/conform.elf {words}
}}
"""


class Result:
    """The lines of a run: {name: (word, text)}; the name of a RESULT ends with "="."""

    def __init__(self, lines):
        self.lines, self.total, doubled = {}, None, []
        for line in lines:
            if found := LINE.search(line):
                word, name, text = found.groups()
                name += "=" if word == "RESULT" else ""
                if name in self.lines:
                    doubled.append(name)
                self.lines[name] = (word, text or "")
            elif found := END.search(line):
                self.total = tuple(map(int, found.groups()))
        assert not doubled, f"expected every name once, saw twice: {', '.join(doubled[:5])}"

    def complete(self):
        count = [sum(word == w for word, _ in self.lines.values()) for w in ("PASS", "FAIL")]
        return self.total == tuple(count)


def make_iso(folder, words, loader):
    root = folder / "root/boot"
    (root / "grub").mkdir(parents=True, exist_ok=True)
    (root / "conform.elf").write_bytes(paths.built("conform.elf", "the conformance tests").read_bytes())
    (root / "grub/grub.cfg").write_text(GRUB.format(loader=loader, words=words))
    iso = folder / "conform.iso"
    done = subprocess.run(["grub-mkrescue", "-o", iso, folder / "root"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"expected an ISO, saw {done.stderr.strip()}"
    return iso


def bare_lines(words, model, loader="multiboot2", echo=None, without=(), cpus=1):
    """Console lines of a run on the bare machine; from the cache if nothing has changed."""
    elf = paths.built("conform.elf", "the conformance tests").read_bytes()
    key = hashlib.sha256(b"\0".join([elf, words.encode(), model.encode(), loader.encode(), *map(str.encode, without), *([b"cpus"] * (cpus - 1))])).hexdigest()[:16]
    folder = paths.BUILD / "conform"
    kept = folder / f"{key}.txt"
    (folder / key).mkdir(parents=True, exist_ok=True)
    with open(folder / key / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)        # another scenario beside us may want the same
        if not kept.exists():
            iso = make_iso(folder / key, words, loader)
            bare = options.Options(kind="bochs", iso=str(iso), firmware="bios", cpu_model=model, without=list(without), memory=512,
                                   cpus=cpus)
            kept.write_text("\n".join(bare_run(bare, folder / key / "run", echo)) + "\n")
    return kept.read_text().splitlines()


def bare_run(machine, folder, echo):
    with Machine(machine, folder, echo) as m:
        code = m.wait(300)
        assert code in (0, 1), f"expected exit code 0 or 1 of the bare run, saw {code}: {m.lines[-1:]}"
        return list(m.lines)


def causes_without(features):
    return [c for f in features for c in CAUSES_WITHOUT.get(f, [])]


def cause(name, where, more):
    """The entry of either table, or of `more`, that names this line; None if none does."""
    return next((c for c in CAUSES + OPEN + more if c[1] == where and fnmatch.fnmatch(name, c[0])), None)


NO_X2APIC = "no x2APIC"     # of a bare machine; a guest always has one


def untested(bare, b, n):
    """A pair of lines of which one is missing because the bare machine's processor has no x2APIC: only the guest can be asked."""
    skip = ("SKIP", NO_X2APIC)
    if skip not in bare.lines.values():
        return False
    return b == skip if n is None else n[0] != "FAIL" and b in (None, skip)


def explain(name, bare, nested, more):
    """The entry that allows this pair of lines, True if none is needed, None if nothing explains it."""
    if bare == nested:
        return True if bare[0] != "FAIL" else cause(name, BOTH, more)
    if bare and nested and bare[0] == "FAIL" and nested[0] == "PASS":
        return cause(name, BARE, more)
    return cause(name, NESTED, more)


def compare(bare, nested, more):
    """What cannot be explained, by `more` entries neither, as text lines; and the entries used."""
    wrong, used = [], set()
    for name in {**bare.lines, **nested.lines}:
        b, n = bare.lines.get(name), nested.lines.get(name)
        why = explain(name, b, n, more)
        if why is None and untested(bare, b, n):
            why = True
        if why is None and name.endswith("="):      # covered by its verdict
            verdict = name[:-1]
            pair = bare.lines.get(verdict), nested.lines.get(verdict)
            why = explain(verdict, *pair, more) if None not in pair and pair != (b, n) else None
            why = None if why is True else why
        if why is None:
            wrong.append(f"{name}: bare {' '.join(b) if b else 'absent'} | nested {' '.join(n) if n else 'absent'}")
        elif why is not True:
            used.add(why)
    return wrong, used


def check(m):
    spec = m.scenario.spec["spine"]
    code = m.wait(600)
    nested = Result(m.lines)
    assert nested.total, f"expected the guest's last line, saw exit code {code} after {m.last_line()}"
    assert nested.complete(), f"expected {nested.total} lines, saw {len(nested.lines)}"
    bare = Result(bare_lines(spec.get("cmdline", ""), m.options.cpu_model, without=m.options.without, cpus=m.options.cpus))
    assert bare.complete(), f"expected {bare.total} lines on the bare machine, saw {len(bare.lines)}"
    wrong, used = compare(bare, nested, causes_without(m.options.without) + (CAUSES_SMP if m.options.cpus > 1 else []))
    words = [word for word, _ in nested.lines.values()]
    print(f"     conform: {len(words)} lines, {words.count('PASS')} PASS, {words.count('FAIL')} FAIL, {words.count('SKIP')} SKIP, "
          f"{len(used)} causes", flush=True)
    for entry in OPEN:
        if entry in used:
            print(f"     open: {entry[0]}: {entry[2]}", flush=True)
    if "cmdline" not in spec:           # everything ran
        for entry in OPEN + CAUSES:
            if entry not in used:
                print(f"     not needed any more: {entry[0]}: {entry[2]}", flush=True)
    for line in wrong:
        print("     " + line, flush=True)
    assert not wrong, f"expected the bare machine's lines, saw {len(wrong)} that differ or fail without a cause: {wrong[0]}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="corei7_skylake_x")
    parser.add_argument("--loader", default="multiboot2")
    parser.add_argument("--without", action="append", default=[], choices=options.FEATURES)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("words", nargs="*")
    arguments = parser.parse_args()
    for shown in bare_lines(" ".join(arguments.words), arguments.model, arguments.loader, lambda text: print(text, flush=True),
                            arguments.without, arguments.cpus):
        pass
