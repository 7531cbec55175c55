"""
Our own stack overflows: the console command "vms" becomes a call of itself, in the machine's memory, and is then typed.
"""
import re
import subprocess

import paths

CALL_SELF = b"\xe8\xfb\xff\xff\xff"
FUNCTION = "cmd_vms"
IMAGE_VIRT = 0xffffffff80000000


def offset_of(function):
    names = subprocess.run(["nm", paths.built("nestling.debug", "Nestling")], check=True, capture_output=True, text=True).stdout
    return int(re.search(rf"^([0-9a-f]+) [tT] {function}$", names, re.M)[1], 16) - IMAGE_VIRT


def check(m):
    image = int(m.expect(r"memory: .* image \d+ KiB at ([0-9a-f]+);")[1], 16)
    m.expect(r"guest: up")
    m.write_memory(image + offset_of(FUNCTION), CALL_SELF)
    m.send_line("vms")
    m.expect(r"PANIC: stack overflow on CPU 0")
    m.expect(r"PANIC: exception 8 #DF double fault")
    m.expect(rf"#0 [0-9a-f]+ {FUNCTION}\+")
