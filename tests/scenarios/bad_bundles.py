"""Bundles that are wrong, each in an inner Nestling of its own, beside a guest that must not notice.

Key `bad` of the stanza lists the cases. Each inner says what is wrong and ends; then the guest is still there, answers,
and ends with success. A single word as `bad`: that case is the bundle of the outermost instance itself.
"""
import re

import cpio
import paths
import spine

INNER_MIB = 32
HEAD = "[nestling]\non_last_exit = exit\n"


def vm(name="a", kernel="guest.elf", memory="8M", more=""):
    return f"[vm {name}]\nkernel = {kernel}\nmemory = {memory}\n{more}"


def guest():
    return paths.built("guest.elf", "the guest").read_bytes()


def nestling():
    return paths.built("nestling.elf", "Nestling").read_bytes()


def good():
    return cpio.archive({"nestling.cfg": (HEAD + vm()).encode(), "guest.elf": guest()})


def config(text, **files):
    return cpio.archive({"nestling.cfg": (HEAD + text).encode(), **files})


def only_config(text):
    return lambda: config(text, **{"guest.elf": b"never looked at"})


def with_guest(text):
    return lambda: config(text, **{"guest.elf": guest()})


def with_kernel(change):
    return lambda: config(vm(), **{"guest.elf": change(guest())})


def no_entry(elf):
    """The program headers' number is zero: an ELF that loads nothing."""
    return elf[:56] + b"\0\0" + elf[58:]


# name: (the bundle, None for no module at all; what the console says, a regular expression)
CASES = {
    "none": (None, r"no bundle: give one as a boot module"),
    "truncated": (lambda: good()[:5000], r"bundle: at offset \d+: the data does not fit the archive \(truncated\?\)"),
    "corrupt": (lambda: good().replace(b"070701", b"070799"), r"bundle: at offset 0: not a newc cpio header"),
    "no-config": (lambda: cpio.archive({"guest.elf": b"x"}), r"the bundle has no file nestling\.cfg"),
    "no-vm": (only_config(""), r"nestling\.cfg:2: there is no \[vm NAME\] section"),
    "unknown-key": (only_config(vm(more="colour = red\n")), r"nestling\.cfg:6: unknown key 'colour' \(kernel, module, cmdline, memory, cpus, vmx, nic\)$"),
    "bad-number": (only_config(vm(memory="12Q")), r"nestling\.cfg:5: .*memory '12Q': the suffix is K, M or G"),
    "twice": (only_config(vm() + vm()), r"nestling\.cfg:6: vm a exists already \(line 3\)"),
    "no-kernel": (only_config(vm(kernel="lost.elf")), r"vm a: kernel 'lost\.elf' is not in the bundle"),
    "no-module": (only_config(vm(more="module = lost.bin\n")), r"vm a: module 'lost\.bin' is not in the bundle"),
    "not-multiboot": (only_config(vm()), r"vm a: guest\.elf: not a multiboot kernel"),
    "cut-kernel": (with_kernel(lambda elf: elf[:0x1100]), r"vm a: guest\.elf: a segment lies beyond the end of the file \(truncated\?\)"),
    "empty-kernel": (with_kernel(no_entry), r"vm a: guest\.elf: the ELF program headers are malformed"),
    "memory": (with_guest(vm(memory="3G")), r"vm a: 3072 MiB of memory are asked for, \d+ MiB are free"),
    "nic-key": (only_config("[nic 0]\nvlan = 7\n" + vm()), r"nestling\.cfg:4: unknown key 'vlan' \(switch, svid\)$"),
    "svid-zero": (only_config("[nic 0]\nswitch = external\nsvid = 0\n" + vm()), r"nestling\.cfg:5: svid: '0' is neither a number from 1 to 4094"),
    "svid-4095": (only_config("[nic 0]\nswitch = external\nsvid = 4095\n" + vm()), r"nestling\.cfg:5: svid: '4095' is neither"),
    "svid-twice": (only_config("[nic 0]\nswitch = external\nsvid = 7 - 7\n" + vm()), r"nestling\.cfg:5: svid: 7 is there twice$"),
    "svid-many": (only_config("[nic 0]\nswitch = external\nsvid = 1 2 3 4 5 6 7 8\n" + vm()),
                  r"nestling\.cfg:5: svid: '8' is one too many, a NIC has 7 ports$"),
    "svid-embedded": (only_config("[nic 0]\nsvid = 7\n" + vm()), r"nestling\.cfg:3: nic 0: svid is for switch = external only$"),
    "nic-inner": (with_guest("[nic 0]\nswitch = external\n" + vm()),
                  r"nestling\.cfg:3: there is no nic 0: inside another Nestling NICs are the outermost's$"),
    "nic-missing": (with_guest("[nic 1]\nswitch = embedded\n" + vm()), r"nestling\.cfg:3: there is no nic 1: it would be one more than were found$"),
    "no-cpu": (with_guest(vm(more="cpus = 5\n")), r"vm a: vCPU 0 is to run on CPU 5, but the last one is CPU 0$"),
}


def bundle(stanza):
    if isinstance(stanza["bad"], str):
        return CASES[stanza["bad"]][0]()
    text = HEAD + spine.section("good", "guest.elf", 16, [0], f"echo ip={spine.GUEST_IP} port={spine.PORT} halt=1",
                                nics=["port0 mode=passthrough mac=52:54:00:00:00:02"])
    files = {"guest.elf": guest(), "nestling.elf": nestling()}
    for name in stanza["bad"]:
        make, _ = CASES[name]
        text += spine.section(name, "nestling.elf", INNER_MIB, [0], modules=[f"{name}.cpio"] if make else [])
        if make:
            files[f"{name}.cpio"] = make()
    files["nestling.cfg"] = text.encode()
    return files


def check(m):
    for name in m.scenario.spec["bad"]:
        message = CASES[name][1]
        m.position = 0
        m.expect(rf"^\[{re.escape(name)}\] \[L1\] cannot start: (?:{message})")
        m.expect(rf"^\[L0\] vm {re.escape(name)} ended with code 1")
    m.position = 0
    m.expect(r"^\[good\] guest: echo: ready")
    spine.ping(m, 3)
    spine.udp_echo(m, 20)
    m.expect(r"^\[L0\] vm good ended with code 0")
    assert not any(re.search(r"\[L1\] vm ", line) for line in m.lines), "an inner with a bad bundle made a VM"
