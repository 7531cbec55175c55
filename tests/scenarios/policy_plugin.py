"""
Plugins that the guest must refuse: the outermost level's own image is damaged in the machine's memory, and the damage travels up the chain.
Each time the guest says what is wrong, and the port stays in emulation with traffic flowing; the whole image is taken again afterwards.
"""
import re
import struct
import subprocess
import zlib

import paths
import spine
from scenarios import die

EINVAL = -22
IMAGE_VIRT = 0xffffffff80000000
CRC_AT, IMAGE_LEN_AT, FAMILY_AT, LICENCE_AT = 20, 16, 24, 32     # in struct nic_plugin_image (core/plugin.h)
IMAGE_MAX = 65536


def symbol(name):
    names = subprocess.run(["nm", paths.built("nestling.debug", "Nestling")], check=True, capture_output=True, text=True).stdout
    return int(re.search(rf"^([0-9a-f]+) [A-Za-z] {name}$", names, re.M)[1], 16) - IMAGE_VIRT


def put(image, at, data):
    return image[:at] + data + image[at + len(data):]


def seal(image):
    image = put(image, CRC_AT, bytes(4))
    return put(image, CRC_AT, struct.pack("<I", zlib.crc32(image)))


def u32(image, at):
    return struct.unpack_from("<I", image, at)[0]


# name: (what becomes of the image, what of its length as handed out, what the guest says)
CASES = {
    "a byte of the code": (lambda i: put(i, len(i) // 2, bytes([i[len(i) // 2] ^ 0x10])), 0, "plugin refused: checksum"),
    "ABI version": (lambda i: seal(put(i, 8, struct.pack("<I", u32(i, 8) + 1))), 0, "plugin refused: version of the contract"),
    "licence": (lambda i: seal(put(i, LICENCE_AT, b"Proprietary\0")), 0, "plugin refused: licence"),
    "family": (lambda i: seal(put(i, FAMILY_AT, struct.pack("<I", 99))), 0, "plugin refused: another family of devices"),
    "another file": (lambda i: put(i, 0, b"\x7fELF"), 0, "plugin refused: no plugin"),
    "length in the header": (lambda i: put(i, IMAGE_LEN_AT, struct.pack("<I", len(i) - 16)), 0, "plugin refused: length differs from what arrived"),
    "truncated": (lambda i: i, -100, "plugin refused: length differs from what arrived"),
    "cut to nothing": (lambda i: i, None, "plugin: error -2"),
    "too long": (lambda i: i, IMAGE_MAX, f"plugin: error {EINVAL}"),
}


def damage(m, at, length_at, image, case):
    change, more, _ = case
    m.write_memory(at, change(image))
    m.write_memory(length_at, struct.pack("<I", 0 if more is None else len(image) + more))


def check(m):
    base = int(m.expect(r"^\[L0\] memory: .* image \d+ KiB at ([0-9a-f]+);", 60)[1], 16)
    at, length_at = base + symbol("igbvf_plugin_image"), base + symbol("igbvf_plugin_len")
    m.expect(r"\[guest\] guest: die: ready", 300)
    image = m.read_memory(at, struct.unpack("<I", m.read_memory(length_at, 4))[0])
    assert image.startswith(b"NESTPLUG") and seal(image) == image, "expected the plugin's image in memory, saw something else"
    for name, case in CASES.items():
        damage(m, at, length_at, image, case)
        die.order(m, spine.GUEST_IP, "switch")
        m.expect(rf"\[guest\] guest: nic: {case[2]}$", 30)
        m.expect(r"\[guest\] guest: die: switch: result -\d+$", 30)
        m.expect(r"\[guest\] PASS die-asked-works$", 60)
        spine.ping(m, 2)
        print(f"    {m.scenario.label}: {name}: {case[2]}")
    m.write_memory(at, image)
    m.write_memory(length_at, struct.pack("<I", len(image)))
    die.order(m, spine.GUEST_IP, "steps")
    m.expect(r"guest: die: that were all steps$", 60)
    die.order(m, spine.GUEST_IP, "stop")
    spine.good_end(m, 60)
