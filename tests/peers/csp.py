"""PE-CSP PDUs, the payload of ECP subtype 2. All numbers come from nic/pe_csp_codes.h and the enums of nic/pe_csp_pdu.h, read when this is
imported: they are unverified, as those files say, and there shall be one list of them.

A PDU: one command TLV, then others. Layouts are as unverified as the numbers (nic/pe_csp_pdu.c); the code here is written for itself.
  command  operation 1, result 1, transaction 2
  port     kind 1, reserved 1, number 4
  E-CIDs   entries of 4 bytes: action 4 bits, reserved 6, GRP 2, E-CID 20
"""
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

import frames
from frames import need

NIC = Path(__file__).resolve().parents[2] / "nic"


def read_codes(text):
    """{name: number} of the #defines and enums of a header; names without PE_CSP_."""
    codes = {name: int(value, 0) for name, value in re.findall(r"^#define\s+PE_CSP_(\w+)\s+(\w+?)u?\b", text, re.M)}
    without_comments = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    for body in re.findall(r"\benum\s+\w+\s*\{(.*?)\}", without_comments, re.S):
        number = 0
        for item in filter(None, (i.strip() for i in body.split(","))):
            name, _, value = (part.strip() for part in item.partition("="))
            number = int(value, 0) if value else number
            codes[name.removeprefix("PE_CSP_")] = number
            number += 1
    return codes


CODES = dict(read_codes((NIC / "pe_csp_pdu.h").read_text()), **read_codes((NIC / "pe_csp_codes.h").read_text()))

OPEN, CREATE, DELETE, REGISTER = (CODES["TLV_" + n] for n in ("OPEN", "PORT_CREATE", "PORT_DELETE", "ECHANNEL_REGISTER"))
TLV_PORT, TLV_ECIDS = CODES["TLV_PORT"], CODES["TLV_ECIDS"]
REQUEST, RESPONSE = CODES["OP_REQUEST"], CODES["OP_RESPONSE"]
EXTENDED, CASCADE = CODES["EXTENDED"], CODES["CASCADE"]
REMOVE, UNTAGGED, TAGGED = CODES["REMOVE"], CODES["UNTAGGED"], CODES["TAGGED"]
RESULTS = {n: CODES[n] for n in ("SUCCESS", "MALFORMED", "NO_RESOURCES", "NO_PORT", "NOT_OPEN", "REFUSED")}
SUCCESS = RESULTS["SUCCESS"]
NAMES = {OPEN: "open", CREATE: "create", DELETE: "delete", REGISTER: "register"}


@dataclass(frozen=True)
class Entry:
    ecid: int
    action: int
    grp: int = 0

    def pack(self):
        return struct.pack("!I", self.action << 28 | self.grp << 20 | self.ecid)

    @classmethod
    def parse(cls, word):
        need(word & 0xFFFFF, "PE-CSP: E-CID 0")
        need(word >> 28 in (REMOVE, UNTAGGED, TAGGED), f"PE-CSP: action {word >> 28}")
        return cls(word & 0xFFFFF, word >> 28, word >> 20 & 3)

    def text(self):
        return f"{self.grp}/{self.ecid:#x} " + {REMOVE: "remove", UNTAGGED: "untagged", TAGGED: "tagged"}[self.action]


@dataclass
class Csp:
    command: int
    op: int
    transaction: int
    result: int = SUCCESS
    port: tuple = None          # (number, kind)
    ecids: list = field(default_factory=list)

    def pack(self):
        data = frames.tlv(self.command, struct.pack("!BBH", self.op, self.result, self.transaction))
        if self.port:
            data += frames.tlv(TLV_PORT, struct.pack("!BBI", self.port[1], 0, self.port[0]))
        if self.ecids:
            data += frames.tlv(TLV_ECIDS, b"".join(e.pack() for e in self.ecids))
        return data + b"\0\0"

    @classmethod
    def parse(cls, data):
        parts = frames.tlvs(data, "PE-CSP")
        need(parts and parts[0][0] in NAMES and len(parts[0][1]) == 4, "PE-CSP does not begin with a known command")
        op, result, transaction = struct.unpack("!BBH", parts[0][1])
        need(op in (REQUEST, RESPONSE) and result in RESULTS.values(), f"PE-CSP: operation {op}, result {result}")
        m = cls(parts[0][0], op, transaction, result)
        for kind, value in parts[1:]:
            need(kind not in NAMES, "PE-CSP: two commands")
            if kind == TLV_PORT:
                need(m.port is None and len(value) == 6 and value[0] in (EXTENDED, CASCADE), "PE-CSP: wrong port TLV")
                m.port = (int.from_bytes(value[2:], "big"), value[0])
            elif kind == TLV_ECIDS:
                need(not m.ecids and value and len(value) % 4 == 0, "PE-CSP: wrong E-CID TLV")
                m.ecids = [Entry.parse(w) for w, in struct.iter_unpack("!I", value)]
        m.check()
        return m

    def check(self):
        need((self.port is None) == (self.command == OPEN), "PE-CSP: port TLV missing, or not to be there")
        need(self.op == RESPONSE or self.result == SUCCESS, "PE-CSP: a request with a result")
        wants = self.command == REGISTER and self.op == REQUEST or self.command == CREATE and self.op == RESPONSE and self.result == SUCCESS
        need(bool(self.ecids) == wants, "PE-CSP: E-CIDs missing, or not to be there")
        need(self.command != CREATE or not wants or len(self.ecids) == 1 and not self.ecids[0].grp, "PE-CSP: one port has one E-CID")

    def text(self):
        words = [NAMES[self.command], "request" if self.op == REQUEST else "response"]
        if self.op == RESPONSE:
            words.append(next(n for n, v in RESULTS.items() if v == self.result).lower())
        return " ".join(words + [e.text() for e in self.ecids])

    def answer(self, result=SUCCESS, ecids=()):
        return Csp(self.command, RESPONSE, self.transaction, result, self.port, list(ecids))
