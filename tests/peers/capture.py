"""Captures of the wire: read, checked by tshark and by our own codecs; who spoke VDP, and what else a port's control planes said.

A channel is a port's S-VID, or the E-CIDs that it has had: what is its own on the wire. Times are seconds since 1970.
"""
import collections
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import csp
import frames
import paths

BRIDGES = (frames.mac_bytes("02:00:00:00:0c:b0"), frames.mac_bytes("02:00:00:00:0c:d0"), frames.mac_bytes("02:00:00:00:02:00"))
ERROR = 0x800000        # tshark's severity
KNOWN = {frames.ETH_LLDP: "lldp", frames.ETH_ECP: "ecp"}     # type: what the name of tshark's protocol contains
KEEP = 15.7             # seconds without a VDP request until a bridge with RKA 20 lets go
AFTER_ACK = 5.0         # seconds in which a request may be seen again though its acknowledgement is on the way (the machine is slow)


class CaptureError(AssertionError):
    pass


@dataclass
class Seen:
    number: int             # as tshark counts
    time: float
    frame: frames.Frame

    @property
    def from_bridge(self):
        return self.frame.src in BRIDGES or self.frame.src[:5] == BRIDGES[2][:5]


def read(path):
    """All frames; those that are not even Ethernet with whole tags are an error."""
    data = path.read_bytes()
    magic, linktype = struct.unpack_from("=I", data)[0], struct.unpack_from("=I", data, 20)[0]
    unit = {0xA1B23C4D: 1e-9, 0xA1B2C3D4: 1e-6}.get(magic)
    if unit is None or linktype != 1:
        raise CaptureError(f"{path}: no pcap file of Ethernet")
    at, number = 24, 0
    while at + 16 <= len(data):
        seconds, parts, length, _ = struct.unpack_from("=IIII", data, at)
        content = data[at + 16:at + 16 + length]
        if len(content) < length:
            return      # being written
        at, number = at + 16 + length, number + 1
        try:
            yield Seen(number, seconds + parts * unit, frames.Frame.parse(content))
        except frames.Malformed as e:
            raise CaptureError(f"{path}: frame {number}: {e}") from None


# --- decoding --------------------------------------------------------------------------------------------------------

def decode(frame):
    """What a control frame says, by our codecs; "" for others. Raises frames.Malformed."""
    if frame.type == frames.ETH_LLDP:
        lldp = frames.Lldp.parse(frame.payload)
        return "lldp " + "+".join(n for n, v in (("evb", lldp.evb), ("pe", lldp.pe)) if v)
    if frame.type != frames.ETH_ECP:
        return ""
    pdu = frames.Ecp.parse(frame.payload)
    if pdu.op == frames.ECP_ACK:
        return f"ecp/{pdu.subtype} ack"
    if pdu.subtype == frames.ECP_VDP:
        return "vdp " + " ".join(frames.VDP_NAMES[v.type] for v in frames.Vdp.parse(pdu.payload).vsis)
    if pdu.subtype == frames.ECP_CSP:
        m = csp.Csp.parse(pdu.payload)
        return f"pe-csp {csp.NAMES[m.command]} " + ("request" if m.op == csp.REQUEST else "response")
    return f"ecp/{pdu.subtype}"


def tshark(path):
    """{frame number: (protocols, malformed, highest severity, messages)}."""
    fields = ("frame.number", "frame.protocols", "_ws.malformed", "_ws.expert.severity", "_ws.expert.message")
    argv = [paths.tool("tshark", "tshark"), "-n", "-r", str(path), "-T", "fields", "-E", "separator=/t"]
    for field in fields:
        argv += ["-e", field]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600)
    if done.returncode and "cut short" not in done.stderr:     # the last frame is being written
        raise CaptureError(f"tshark: status {done.returncode}: {done.stderr.strip()}")
    result = {}
    for line in done.stdout.splitlines():
        number, protocols, malformed, severity, *message = line.split("\t") + [""] * 4
        result[int(number)] = protocols, malformed, max((int(s) for s in severity.split(",") if s), default=0), message[0]
    return result


def check(path, malformed=0):
    """
    Every frame is decoded by tshark as what it is, control frames whole by tshark and by us; `malformed`: so many of ours may not be (they
    were made so). The capture may still grow: it is taken as it is now. Returns {what: count}.
    """
    with tempfile.NamedTemporaryFile(suffix=".pcap", dir=path.parent) as copy:
        shutil.copyfile(path, copy.name)
        return check_copy(Path(copy.name), path, malformed)


def check_copy(copy, path, malformed):
    counts, wrong, ours = collections.Counter(), [], 0
    verdicts = tshark(copy)
    for seen in read(copy):
        protocols, bad, severity, message = verdicts.pop(seen.number)
        names = protocols.split(":")
        expected = KNOWN.get(seen.frame.type)
        if seen.frame.etag and "etag" not in names or seen.frame.svid is not None and "ieee8021ad" not in names:
            wrong.append(f"frame {seen.number}: tshark sees {protocols}, not the tags")
        if not expected:
            continue
        if not any(expected in n for n in names) or bad or severity >= ERROR:
            wrong.append(f"frame {seen.number}: tshark: {protocols} {'malformed' if bad else ''} {message}")
        try:
            counts[decode(seen.frame)] += 1
        except frames.Malformed as e:
            ours += 1
            if ours > malformed:
                wrong.append(f"frame {seen.number}: {e}")
    if verdicts:
        wrong.append(f"tshark sees {len(verdicts)} frames more")
    if wrong:
        raise CaptureError(f"{path}: {len(wrong)} frames are not right: " + "; ".join(wrong[:5]))
    return dict(counts)


# --- the speaker of VDP ----------------------------------------------------------------------------------------------

def channel(path, svid=None, ecids=(), mac=None):
    """The frames of a channel, both ways; with `mac` also the control frames of the outermost extender of an E-TAG port, which have no tag."""
    for seen in read(path):
        frame = seen.frame
        if svid is not None:
            own = frame.svid == svid
        elif frame.etag:
            own = frame.etag.ecid in ecids
        else:
            own = mac and mac in (frame.src, frame.dst)
        if own:
            yield seen


class Speaker:
    """Reads a channel's VDP frames in order and notes whatever one station alone would not have sent."""

    def __init__(self, restarts, keep):
        self.restarts, self.keep = restarts, keep
        self.wrong = []
        self.requests = self.again = self.restarted = self.lldps = 0
        self.identity = None        # (source, chassis, port), until when
        self.seq = self.payload = self.last = self.acked = None
        self.earlier = set()        # numbers that speakers before a restart would use next
        self.associated = None      # VSI ID
        self.unacknowledged = collections.Counter()     # the bridge's requests: transmissions less acknowledgements

    def note(self, seen, text):
        self.wrong.append(f"frame {seen.number}: {text}")

    def take(self, seen):
        if seen.frame.type == frames.ETH_LLDP:
            lldp = frames.Lldp.parse(seen.frame.payload)
            if lldp.evb and not seen.from_bridge:
                self.take_lldp(seen, lldp)
        elif seen.frame.type == frames.ETH_ECP:
            pdu = frames.Ecp.parse(seen.frame.payload)
            if pdu.subtype == frames.ECP_VDP:
                (self.take_bridge if seen.from_bridge else self.take_station)(seen, pdu)

    def take_lldp(self, seen, lldp):
        self.lldps += 1
        if lldp.evb.mode != frames.EVB_STATION:
            self.note(seen, f"an EVB TLV of mode {lldp.evb.mode} from the station's side")
        who = seen.frame.src, lldp.chassis, lldp.port
        if self.identity and who != self.identity[0] and seen.time < self.identity[1]:
            self.note(seen, f"a second station: {who}, while {self.identity[0]} is valid")
        self.identity = who, seen.time + lldp.ttl

    def take_bridge(self, seen, pdu):
        if pdu.op == frames.ECP_ACK:
            if pdu.seq == self.seq and self.acked is None:
                self.acked = seen.time
        else:
            self.unacknowledged[pdu.seq] += 1
            if any(v.type == frames.DEASSOC for v in frames.Vdp.parse(pdu.payload).vsis):
                self.associated = None

    def take_station(self, seen, pdu):
        if pdu.op == frames.ECP_ACK:
            self.unacknowledged[pdu.seq] -= 1
            if self.unacknowledged[pdu.seq] < 0:
                self.note(seen, f"the bridge's request {pdu.seq} is acknowledged once too often")
            return
        self.requests += 1
        if self.associated and seen.time - self.last > self.keep:
            self.note(seen, f"nobody spoke for {seen.time - self.last:.1f} s before")
        self.last = seen.time
        self.take_sequence(seen, pdu)
        for vsi in frames.Vdp.parse(pdu.payload).vsis:
            if self.associated not in (None, vsi.id):
                self.note(seen, f"VSI {vsi.id.hex()}, while {self.associated.hex()} is associated")
            if vsi.type == frames.ASSOC:
                self.associated = vsi.id
            elif vsi.type == frames.DEASSOC:
                self.associated = None

    def take_sequence(self, seen, pdu):
        if pdu.seq == self.seq:
            self.again += 1
            if pdu.payload != self.payload:
                self.note(seen, f"request {pdu.seq} a second time with other contents")
            elif self.acked is not None and seen.time - self.acked > AFTER_ACK:
                self.note(seen, f"request {pdu.seq} again, {seen.time - self.acked:.1f} s after its acknowledgement")
            return
        if self.seq is not None and pdu.seq != (self.seq + 1) & 0xFFFF:
            self.restarted += 1
            if self.restarted > self.restarts:
                self.note(seen, f"request {pdu.seq} after {self.seq}: another speaker, or it began anew")
            elif pdu.seq in self.earlier:
                self.note(seen, f"request {pdu.seq} goes on where one before the last restart had stopped")
            self.earlier |= {self.seq, (self.seq + 1) & 0xFFFF} - {0, 1, 2}
        self.seq, self.payload, self.acked = pdu.seq, pdu.payload, None


def one_speaker(path, svid=None, ecids=(), mac=None, restarts=0, keep=KEEP):
    """
    Proves that at each instant from its first word on exactly one station spoke VDP in a channel: one identity in LLDP, one sequence of ECP
    requests without a jump (but for so many restarts), no acknowledgement too many, no VSI beside the associated one, and no silence longer
    than `keep` while associated. Returns counts.
    """
    speaker, end = Speaker(restarts, keep), 0
    for seen in channel(path, svid, ecids, mac):
        end = seen.time
        if seen.frame.dst == frames.BRIDGE_GROUP:
            try:
                speaker.take(seen)
            except frames.Malformed as e:
                speaker.note(seen, str(e))
    if not speaker.requests:
        speaker.wrong.append("nobody spoke at all")
    elif speaker.associated and end - speaker.last > keep:
        speaker.wrong.append(f"nobody spoke in the last {end - speaker.last:.1f} s")
    if speaker.wrong:
        raise CaptureError(f"{path}: expected one speaker, saw: " + "; ".join(speaker.wrong[:5]))
    return {"lldps": speaker.lldps, "requests": speaker.requests, "again": speaker.again, "restarts": speaker.restarted}


# --- quiet control planes --------------------------------------------------------------------------------------------

PERIODS = {"lldp evb": 20.0, "lldp pe": 20.0, "pe-csp create request": 20.0, "vdp associate": 5.0}      # at least so many seconds between two of an extender's


def not_periodic(path, since, until, svid=None, ecids=(), mac=None, periods=None):
    """
    Of what a port's control planes sent between two times: (all frames, what is not of the kind that they send in any case). That kind: LLDPs,
    Creates repeated and keep-alives not closer together than `periods`, and acknowledgements.
    """
    periods = dict(PERIODS, **(periods or {}))
    last, wrong, count = {}, [], 0
    for seen in channel(path, svid, ecids, mac):
        if seen.from_bridge or seen.frame.type not in KNOWN or not since <= seen.time <= until:
            continue
        what = decode(seen.frame)
        count += 1
        if what.endswith(" ack"):
            continue
        key = what, seen.frame.etag
        if what not in periods:
            wrong.append(f"frame {seen.number}: {what}")
        elif key in last and seen.time - last[key] < periods[what]:
            wrong.append(f"frame {seen.number}: {what} {seen.time - last[key]:.2f} s after the last")
        last[key] = seen.time
    return count, wrong


def only_periodic(path, since, until, **of):
    """Nothing else that happened between two times has caused a control frame (not_periodic). Returns how many there were."""
    count, wrong = not_periodic(path, since, until, **of)
    if wrong:
        raise CaptureError(f"{path}: expected periodic control frames alone, saw: " + "; ".join(wrong[:5]))
    return count
