"""Frames between a port and its bridge: tags (S-TAG, E-TAG), LLDP with the EVB and Port Extension TLVs, ECP, VDP.

Written from the standards and from what lldpad sends, not from nic/: a mistake of the product's codecs must not be ours, too. What is read
is checked whole; what does not fit is Malformed, with the reason.
"""
import dataclasses
import struct
from dataclasses import dataclass, field

ETH_CTAG, ETH_STAG, ETH_LLDP, ETH_ETAG, ETH_ECP = 0x8100, 0x88A8, 0x88CC, 0x893F, 0x8940

BRIDGE_GROUP = bytes.fromhex("0180c2000000")        # nearest customer bridge: EVB, VDP
EXTENDER_GROUP = bytes.fromhex("0180c2000003")      # nearest non-TPMR bridge: Port Extension, PE-CSP
BROADCAST = b"\xff" * 6
ECID_MAX = 0xFFFFF
MIN_LENGTH = 60                                     # without FCS


class Malformed(ValueError):
    pass


def need(condition, what):
    if not condition:
        raise Malformed(what)


def mac_bytes(text):
    result = bytes.fromhex(text.replace(":", ""))
    need(len(result) == 6, f"{text} is no MAC address")
    return result


def mac_text(mac):
    return mac.hex(":")


def is_link_local(mac):
    """One of the addresses 01-80-C2-00-00-0x, which no bridge relays."""
    return mac[:5] == BRIDGE_GROUP[:5] and mac[5] < 16


# --- Ethernet and tags -----------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Etag:
    """802.1BR E-TAG; ecid and ingress with 20 bits each, their low 12 in the base fields, the high 8 in the extensions."""
    ecid: int
    grp: int = 0
    ingress: int = 0
    pcp: int = 0
    dei: int = 0

    def pack(self):
        need(0 <= self.ecid <= ECID_MAX and 0 <= self.ingress <= ECID_MAX and 0 <= self.grp <= 3, "E-TAG out of range")
        return struct.pack("!HHHBB", ETH_ETAG, self.pcp << 13 | self.dei << 12 | self.ingress & 0xFFF,
                           self.grp << 12 | self.ecid & 0xFFF, self.ingress >> 12, self.ecid >> 12)

    @classmethod
    def parse(cls, data):
        need(len(data) >= 8, "E-TAG is cut short")
        first, second, high_in, high = struct.unpack_from("!HHBB", data, 2)
        return cls(high << 12 | second & 0xFFF, second >> 12 & 3, high_in << 12 | first & 0xFFF, first >> 13, first >> 12 & 1)

    def text(self):
        return f"{self.grp}/{self.ecid:#x}" + (f" from {self.ingress:#x}" if self.ingress else "")


@dataclass
class Frame:
    """A frame with its outer tags taken off: at most one S-TAG, then at most one E-TAG; body starts with the type that follows."""
    dst: bytes
    src: bytes
    body: bytes
    svid: int = None
    etag: Etag = None
    spcp: int = 0

    @classmethod
    def parse(cls, data):
        need(len(data) >= 14, "shorter than an Ethernet header")
        dst, src, rest = data[:6], data[6:12], data[12:]
        svid = etag = None
        spcp = 0
        if rest[:2] == b"\x88\xa8":
            need(len(rest) >= 6, "S-TAG is cut short")
            tci = struct.unpack_from("!H", rest, 2)[0]
            svid, spcp, rest = tci & 0xFFF, tci >> 13, rest[4:]
        if rest[:2] == b"\x89\x3f":
            etag, rest = Etag.parse(rest), rest[8:]
        need(len(rest) >= 2, "no type behind the tags")
        return cls(dst, src, rest, svid, etag, spcp)

    def wire(self):
        tags = struct.pack("!HH", ETH_STAG, self.spcp << 13 | self.svid) if self.svid is not None else b""
        if self.etag:
            tags += self.etag.pack()
        data = self.dst + self.src + tags + self.body
        return data + bytes(max(0, MIN_LENGTH - len(data)))

    @property
    def type(self):
        return int.from_bytes(self.body[:2], "big")

    @property
    def payload(self):
        return self.body[2:]

    @property
    def cvid(self):
        """The VID of a C-TAG in front, else 0."""
        return int.from_bytes(self.body[2:4], "big") & 0xFFF if self.type == ETH_CTAG and len(self.body) >= 6 else 0

    def without_ctag(self):
        return dataclasses.replace(self, body=self.body[4:])

    def with_ctag(self, vid):
        return dataclasses.replace(self, body=struct.pack("!HH", ETH_CTAG, vid) + self.body)


def control(dst, src, ethertype, payload):
    return Frame(dst, src, ethertype.to_bytes(2, "big") + payload)


# --- TLVs (LLDP and VDP: 7 bits of type, 9 of length) -----------------------------------------------------------------

def tlv(kind, value):
    need(len(value) < 512, "TLV is too long")
    return struct.pack("!H", kind << 9 | len(value)) + value


def tlvs(data, what):
    """[(type, value)] up to End or the end of data."""
    result, at = [], 0
    while at < len(data):
        need(at + 2 <= len(data), f"{what}: half a TLV header")
        head = struct.unpack_from("!H", data, at)[0]
        kind, length = head >> 9, head & 511
        if kind == 0:
            need(length == 0, f"{what}: End with a length")
            break
        need(at + 2 + length <= len(data), f"{what}: TLV {kind} is cut short")
        result.append((kind, data[at + 2:at + 2 + length]))
        at += 2 + length
    return result


# --- LLDP ------------------------------------------------------------------------------------------------------------

OUI_8021 = b"\x00\x80\xc2"
LLDP_CHASSIS, LLDP_PORT, LLDP_TTL, LLDP_ORG = 1, 2, 3, 127
CHASSIS_MAC, PORT_MAC, PORT_LOCAL = 4, 3, 7
SUBTYPE_EVB, SUBTYPE_PE = 0x0D, 0x0F
EVB_BRIDGE, EVB_STATION = 1, 2


@dataclass(frozen=True)
class Evb:
    """EVB TLV of 802.1Qbg. Times are 10 * 2^x microseconds. ROL: the value beside it is the other side's, repeated."""
    bridge: int = 0         # 4 BGID, 2 RRCAP, 1 RRCTR
    station: int = 0        # 8 SGID, 4 RRREQ, 3 RRSTAT
    retries: int = 3
    rte: int = 14
    mode: int = EVB_BRIDGE
    rol_rwd: int = 0
    rwd: int = 20
    rol_rka: int = 0
    rka: int = 20

    def pack(self):
        return bytes([self.bridge, self.station, self.retries << 5 | self.rte, self.mode << 6 | self.rol_rwd << 5 | self.rwd,
                      self.rol_rka << 5 | self.rka])

    @classmethod
    def parse(cls, v):
        need(len(v) == 5, f"EVB TLV has {len(v)} bytes")
        return cls(v[0], v[1], v[2] >> 5, v[2] & 31, v[3] >> 6, v[3] >> 5 & 1, v[3] & 31, v[4] >> 5 & 1, v[4] & 31)


@dataclass(frozen=True)
class Pe:
    """Port Extension TLV of 802.1BR, by LLDP-EXT-DOT1-PE-MIB: the order of its fields is unverified (nic/lldp.h)."""
    priority: int
    pe: bytes
    csp: bytes

    def pack(self):
        return bytes([self.priority]) + self.pe + self.csp

    @classmethod
    def parse(cls, v):
        need(len(v) == 13, f"Port Extension TLV has {len(v)} bytes")
        return cls(v[0], v[1:7], v[7:13])


@dataclass
class Lldp:
    chassis: tuple          # (subtype, bytes)
    port: tuple
    ttl: int
    evb: Evb = None
    pe: Pe = None

    def pack(self):
        data = tlv(LLDP_CHASSIS, bytes([self.chassis[0]]) + self.chassis[1]) + tlv(LLDP_PORT, bytes([self.port[0]]) + self.port[1])
        data += tlv(LLDP_TTL, struct.pack("!H", self.ttl))
        for subtype, value in ((SUBTYPE_EVB, self.evb), (SUBTYPE_PE, self.pe)):
            if value:
                data += tlv(LLDP_ORG, OUI_8021 + bytes([subtype]) + value.pack())
        return data + b"\0\0"

    @classmethod
    def parse(cls, data):
        all_tlvs = tlvs(data, "LLDP")
        need([k for k, _ in all_tlvs[:3]] == [1, 2, 3], "LLDP does not begin with chassis, port, TTL")
        chassis, port, ttl = (v for _, v in all_tlvs[:3])
        need(2 <= len(chassis) <= 256 and 2 <= len(port) <= 256 and len(ttl) >= 2, "LLDP: identifier or TTL of a wrong length")
        result = cls((chassis[0], chassis[1:]), (port[0], port[1:]), int.from_bytes(ttl[:2], "big"))
        for kind, value in all_tlvs[3:]:
            need(kind > 3, f"LLDP: TLV {kind} twice")
            if kind == LLDP_ORG and value[:4] == OUI_8021 + bytes([SUBTYPE_EVB]):
                need(result.evb is None, "EVB TLV twice")
                result.evb = Evb.parse(value[4:])
            elif kind == LLDP_ORG and value[:4] == OUI_8021 + bytes([SUBTYPE_PE]):
                need(result.pe is None, "Port Extension TLV twice")
                result.pe = Pe.parse(value[4:])
        return result


# --- ECP -------------------------------------------------------------------------------------------------------------

ECP_VERSION, ECP_REQUEST, ECP_ACK, ECP_VDP, ECP_CSP = 1, 0, 1, 1, 2


@dataclass
class Ecp:
    op: int
    subtype: int
    seq: int
    payload: bytes = b""

    def pack(self):
        return struct.pack("!HH", ECP_VERSION << 12 | self.op << 10 | self.subtype, self.seq) + self.payload

    @classmethod
    def parse(cls, data):
        need(len(data) >= 4, "ECP is cut short")
        head, seq = struct.unpack_from("!HH", data)
        need(head >> 12 == ECP_VERSION, f"ECP version {head >> 12}")
        need(head >> 10 & 3 <= ECP_ACK, f"ECP operation {head >> 10 & 3}")
        return cls(head >> 10 & 3, head & 0x3FF, seq, data[4:])


# --- VDP -------------------------------------------------------------------------------------------------------------

PREASSOC, PREASSOC_RR, ASSOC, DEASSOC, MANAGER = 1, 2, 3, 4, 5
VDP_NAMES = {PREASSOC: "pre-associate", PREASSOC_RR: "pre-associate-rr", ASSOC: "associate", DEASSOC: "de-associate"}
VDP_ACK, VDP_KEEP, VDP_HARD = 0x40, 0x20, 0x10      # of a response
VDP_S, VDP_M = 0x20, 0x10                           # of a request
UUID = 5
ENTRY = {1: 2, 2: 8, 3: 6, 4: 12}                   # filter format: bytes of an entry
MAC_OFFSET = {2: 0, 4: 4}


@dataclass(frozen=True)
class Filter:
    vid: int                # with PS and PCP in the high bits, as on the wire
    mac: bytes = b""
    group: int = 0


@dataclass
class Vsi:
    type: int
    status: int
    vsi_type: int
    version: int
    id_format: int
    id: bytes
    filter_format: int
    filters: list = field(default_factory=list)

    def pack(self):
        value = bytes([self.status]) + self.vsi_type.to_bytes(3, "big") + bytes([self.version, self.id_format]) + self.id
        value += bytes([self.filter_format]) + struct.pack("!H", len(self.filters))
        for f in self.filters:
            value += f.group.to_bytes(4, "big") if self.filter_format in (3, 4) else b""
            value += f.mac if self.filter_format in (2, 4) else b""
            value += struct.pack("!H", f.vid)
        return tlv(self.type, value)

    @classmethod
    def parse(cls, kind, v):
        need(len(v) >= 25, f"VDP: association TLV has {len(v)} bytes")
        form, count = v[22], int.from_bytes(v[23:25], "big")
        need(form in ENTRY, f"VDP: filter format {form}")
        need(len(v) == 25 + count * ENTRY[form], f"VDP: {count} entries of format {form} in {len(v) - 25} bytes")
        filters = []
        for at in range(25, len(v), ENTRY[form]):
            e = v[at:at + ENTRY[form]]
            mac = e[MAC_OFFSET[form]:MAC_OFFSET[form] + 6] if form in MAC_OFFSET else b""
            filters.append(Filter(int.from_bytes(e[-2:], "big"), mac, int.from_bytes(e[:4], "big") if form in (3, 4) else 0))
        need(v[5] in range(1, 6), f"VDP: VSIID format {v[5]}")
        return cls(kind, v[0], int.from_bytes(v[1:4], "big"), v[4], v[5], v[6:22], form, filters)


@dataclass
class Vdp:
    manager: bytes
    vsis: list

    def pack(self):
        return tlv(MANAGER, self.manager) + b"".join(v.pack() for v in self.vsis) + b"\0\0"

    @classmethod
    def parse(cls, data):
        all_tlvs = tlvs(data, "VDP")
        need(all_tlvs and all_tlvs[0][0] == MANAGER and len(all_tlvs[0][1]) == 16, "VDP does not begin with a manager ID")
        vsis = [Vsi.parse(k, v) for k, v in all_tlvs[1:] if k in VDP_NAMES]
        need(all(k != MANAGER for k, _ in all_tlvs[1:]), "VDP: manager ID twice")
        need(vsis, "VDP without an association")
        return cls(all_tlvs[0][1], vsis)
