"""Scenarios: what a stanza of tests/scenarios.toml says, how it is run, and what its verdict is.

Invariant: a scenario passes only if everything it expects was seen; an infrastructure error is never a pass, and is told
apart from a failure of what is tested.
"""
import dataclasses
import importlib.util
import os
import re
import subprocess
import tomllib
from pathlib import Path

import commands
import cpio
import image
import network
import options
import paths
import spine
from machine import Ended, Hang, InfrastructureError, Machine

FIELDS = {
    "name": str, "about": str, "machine": (str, list), "cpus": (int, list), "memory": int, "cpu_model": str,
    "program": str, "bundle": str, "files": dict, "iso": str, "firmware": str, "acpi_patch": list, "expect": list,
    "forbid": list, "exit": int, "ends": str, "long": bool, "hang": int, "check": str, "options": dict, "needs": list,
    "spine": dict, "grub": bool, "halts": str, "bad": (str, list), "siblings": dict, "die": dict, "panics": bool,
    "without": dict, "external": dict, "outside": dict,
}
WITHOUT_KEYS = ("sample", "never")
DEFAULT_PROGRAM = "nestling.efi"
ALWAYS_FORBIDDEN = [r"(?i)\bpanic\b"]
HANG = 120
HALTED = "halted"    # how a machine ended that the runner stopped at the line of `halts`


class BadScenario(Exception):
    pass


class Failure(Exception):
    """A check of a scenario that did not hold: raised by the runner and by check files."""


class Skip(Exception):
    """Why a scenario cannot run on this host."""


@dataclasses.dataclass
class Scenario:
    """One stanza on one kind of machine with one number of CPUs; without: a feature (options.FEATURES) that its processor lacks."""
    name: str
    kind: str
    cpus: int
    spec: dict
    without: str = None

    @property
    def label(self):
        return self.name + self.spec["suffix"](self.kind, self.cpus) + (f"-without-{self.without}" if self.without else "")

    @property
    def paced(self):
        return self.spec.get("options", {}).get("paced", False)

    @property
    def long(self):
        if self.without:
            return self.without not in self.spec["without"].get("sample", [])
        return self.spec.get("long", False)


def as_list(value):
    return value if isinstance(value, list) else [value]


def load(path):
    """All scenarios of a file; several kinds or CPU counts in a stanza, and features to be without, make several scenarios."""
    with open(path, "rb") as f:
        stanzas = tomllib.load(f).get("scenario", [])
    result = []
    for spec in stanzas:
        validate(spec, path)
        kinds, cpus = as_list(spec.get("machine", "cosim")), as_list(spec.get("cpus", 1))

        def suffix(kind, n, many_kinds=len(kinds) > 1, many_cpus=len(cpus) > 1):
            return (f"-{kind}" if many_kinds else "") + (f"-smp{n}" if many_cpus else "")
        spec["suffix"] = suffix
        result += [Scenario(spec["name"], kind, n, spec, without)
                   for without in [None, *features_without(spec)] for kind in kinds for n in cpus]
    labels = [s.label for s in result]
    if doubled := {label for label in labels if labels.count(label) > 1}:
        raise BadScenario(f"{path}: defined twice: {', '.join(sorted(doubled))}")
    return result


def features_without(spec):
    """The features without each of which the stanza is run once more."""
    return [f for f in options.FEATURES if f not in spec["without"].get("never", [])] if "without" in spec else []


def validate(spec, path):
    where = f"{path}: scenario {spec.get('name', '(without a name)')}"
    if "name" not in spec:
        raise BadScenario(f"{where}: name is missing")
    for key, value in spec.items():
        if key not in FIELDS:
            raise BadScenario(f"{where}: unknown key {key}")
        if not isinstance(value, FIELDS[key]):
            raise BadScenario(f"{where}: {key} has the wrong type")
    for pattern in spec.get("expect", []) + spec.get("forbid", []) + as_list(spec.get("halts", [])):
        try:
            re.compile(pattern)
        except re.error as e:
            raise BadScenario(f"{where}: {pattern!r}: {e}") from None
    known = {f.name for f in dataclasses.fields(options.Options)}
    for key in spec.get("options", {}):
        if key not in known:
            raise BadScenario(f"{where}: unknown machine option {key}")
    for key, names in spec.get("without", {}).items():
        if key not in WITHOUT_KEYS or not set(names) <= set(options.FEATURES):
            raise BadScenario(f"{where}: without: unknown key {key}, or a feature that is not one of {', '.join(options.FEATURES)}")


# --- what a scenario boots -------------------------------------------------------------------------------------------

def built(name):
    return paths.built(name, name)


def load_module(path):
    module_spec = importlib.util.spec_from_file_location("scenario_" + path.stem, path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module


def bundle_archive(spec, folder):
    """The bundle as it goes onto the disk, or None. That of a Python file may be damaged on purpose: bytes are taken as they are."""
    if (source := spec.get("bundle", "")).endswith(".py"):
        files = load_module(folder / source).bundle(spec)
        return files if isinstance(files, bytes) else cpio.archive(files)
    files = bundle_files(spec, folder)
    return cpio.archive(files) if files else None


def bundle_files(spec, folder):
    """{name in the bundle: content}: the files of `bundle`, and those of `files` ({name: path in build/})."""
    files = {}
    if "spine" in spec:
        files.update(spine.bundle_of(spec["spine"]))
    if "bundle" in spec:
        directory = folder / spec["bundle"]
        if not directory.is_dir():
            raise BadScenario(f"bundle directory {directory} is missing")
        files.update(cpio.read_directory(directory))
    for name, source in spec.get("files", {}).items():
        if isinstance(source, dict):     # a bundle in the bundle: the same two keys again
            files[name] = cpio.archive(bundle_files(source, folder))
        else:
            files[name] = built(source).read_bytes()
    return files


def make_disk(spec, folder, path):
    image.make_nestling(path, built(spec.get("program", DEFAULT_PROGRAM)), bundle_archive(spec, folder),
                        spec.get("acpi_patch"))
    return str(path)


def make_grub_iso(spec, folder, path):
    """The ISO that `make image` writes, with the bundle of this scenario."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "bundle.cpio").write_bytes(bundle_archive(spec, folder))
    done = subprocess.run([paths.REPO / "tests/mkimage.sh", paths.BUILD, path], env=dict(os.environ, BUNDLE=str(path / "bundle.cpio")),
                          check=False, capture_output=True, text=True)
    if done.returncode:
        raise InfrastructureError(f"no ISO: {done.stderr.strip()}")
    return str(path / "nestling.iso")


def machine_options(s, folder, run_dir):
    fields = dict(kind=s.kind, cpus=s.cpus)
    for key in ("memory", "cpu_model", "firmware"):
        if key in s.spec:
            fields[key] = s.spec[key]
    if s.without:
        fields["without"] = [s.without]
    fields.update(s.spec.get("options", {}))
    if s.spec.get("grub"):
        fields["iso"] = make_grub_iso(s.spec, folder, run_dir / "image")
    elif "iso" in s.spec:
        fields["iso"] = str(built(s.spec["iso"]))
    else:
        run_dir.mkdir(parents=True, exist_ok=True)
        fields["disk"] = make_disk(s.spec, folder, run_dir / "disk.img")
    return options.Options(**fields)


def check_needs(s):
    if s.kind == "kvm" and (reason := commands.kvm_missing()):
        raise Skip(reason)
    for need in s.spec.get("needs", []):
        if need == "tap":
            if reason := network.tap_possible():
                raise Skip(reason)
        elif need == "linux":
            if not (paths.BUILD / "linux" / "shim.elf").exists():
                raise Skip("no Linux guest: Debian's kernel could not be fetched (make setup says why)")
        elif need == "foreign":
            if not (paths.BUILD / "foreign" / "xen.elf").exists():
                raise Skip("no foreign kernel: the host's apt sources have no xen-hypervisor package")
        else:
            try:
                paths.tool(need, "?")
            except paths.Missing as e:
                raise Skip(str(e)) from None


# --- the verdict -----------------------------------------------------------------------------------------------------

class Expectations:
    """`expect` in order, `forbid` anywhere; fed line by line."""

    def __init__(self, spec):
        self.expected = [re.compile(p) for p in spec.get("expect", [])]
        self.forbidden = [re.compile(p) for p in ([] if spec.get("panics") else ALWAYS_FORBIDDEN) + spec.get("forbid", [])]
        self.seen = 0

    def feed(self, line):
        for pattern in self.forbidden:
            if pattern.search(line):
                raise Failure(f"expected no line /{pattern.pattern}/, saw {line!r}")
        if self.seen < len(self.expected) and self.expected[self.seen].search(line):
            self.seen += 1

    def finish(self, last):
        if self.seen < len(self.expected):
            raise Failure(f"expected a line /{self.expected[self.seen].pattern}/, saw {last} last")


def load_check(spec, folder):
    name = spec.get("check")
    if not name:
        return None
    return load_module(folder / name).check


def follow_to_end(m, spec):
    """Reads the console to its end; returns (exit code, None), (None, how else it ended), or (None, HALTED)."""
    expectations = Expectations(spec)
    halts = re.compile(spec["halts"]) if "halts" in spec else None
    try:
        for line in m.follow(spec.get("hang", HANG)):
            expectations.feed(line)
            if halts and halts.search(line):
                expectations.finish(m.last_line())
                return None, HALTED
    except Hang as e:
        expectations.finish(m.last_line())
        raise Failure(f"expected the machine to end, saw a hang: {e}") from None
    code, ended = None, None
    try:
        code = m.wait()
    except Ended as e:
        ended = str(e)
    expectations.finish(m.last_line())
    return code, ended


def verify_end(spec, code, ended):
    if "halts" in spec:
        if ended != HALTED:
            raise Failure(f"expected a line /{spec['halts']}/, saw: {ended or f'exit code {code}'}")
    elif "ends" in spec:
        if ended is None or not re.search(spec["ends"], ended):
            raise Failure(f"expected the machine to end by /{spec['ends']}/, saw {ended or f'exit code {code}'}")
    elif ended is not None:
        raise Failure(f"expected exit code {spec.get('exit', 0)}, saw: {ended}")
    elif code != spec.get("exit", 0):
        raise Failure(f"expected exit code {spec.get('exit', 0)}, saw {code}")


LEVEL_LINE = re.compile(r"^((?:\[[^]]+\] )*\[L(\d+)\]) (?:VT-x: (.*))?")


def verify_absence(s, lines):
    """Every Nestling that speaks says that the feature is not there, as it has read from its capability MSRs; there are as many as the stanza asks for."""
    if not s.without:
        return
    said, numbers = {}, set()
    for line in lines:
        if found := LEVEL_LINE.match(line):
            said[found[1]] = found[3] or said.get(found[1], "no line about VT-x")
            numbers.add(int(found[2]))
    depth = next((s.spec[key]["depth"] for key in ("spine", "die") if "depth" in s.spec.get(key, {})), 1)
    if missing := set(range(depth)) - numbers:
        raise Failure(f"expected lines of levels 0 to {depth - 1}, saw none of {sorted(missing)}")
    for level, line in said.items():
        if options.FEATURES[s.without].says not in line:
            raise Failure(f"expected {level} to say {options.FEATURES[s.without].says!r}, saw {line!r}")


def run(s, folder, run_dir, echo=None):
    """Runs one scenario; raises Failure, Skip or InfrastructureError."""
    check_needs(s)
    check = load_check(s.spec, folder)
    with Machine(machine_options(s, folder, run_dir), run_dir, echo) as m:
        m.scenario = s
        if check:
            try:
                check(m)
            except (Hang, Ended, spine.TrafficError) as e:
                raise Failure(str(e)) from None
            except AssertionError as e:
                raise Failure(f"check: {e}") from None
            verify_absence(s, m.lines)
            if not s.spec.get("expect") and "exit" not in s.spec:
                return                  # the check decides alone, also about the end
            m.position = 0              # what it has read is held against `expect` too
        verify_end(s.spec, *follow_to_end(m, s.spec))
        verify_absence(s, m.lines)


__all__ = ["BadScenario", "Failure", "InfrastructureError", "Path", "Skip", "load", "run"]
