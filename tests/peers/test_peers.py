#!/usr/bin/env python3
"""Tests of the pure parts of the outside world, and of what checks captures: python3 tests/peers/test_peers.py [unittest's words]"""
import os
import random
import struct
import sys
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "machine")]

import capture      # noqa: E402
import csp          # noqa: E402
import ecp          # noqa: E402
import frames       # noqa: E402
import outside      # noqa: E402
import rawsock      # noqa: E402
import switch       # noqa: E402

MAC_A, MAC_B = (frames.mac_bytes("52:54:00:00:00:0" + d) for d in "23")


def vsi(kind, status=0, vid=0, mac=MAC_A, number=1):
    return frames.Vsi(kind, status, 5, 1, frames.UUID, bytes([number] * 16), 2, [frames.Filter(vid, mac)])


class Codecs(unittest.TestCase):
    def test_etag_bytes(self):
        tag = frames.Etag(ecid=0x12345, grp=2, ingress=0xABCDE, pcp=5, dei=1)
        self.assertEqual(tag.pack(), bytes.fromhex("893f bcde 2345 ab 12"))
        self.assertEqual(frames.Etag.parse(tag.pack()), tag)

    def test_tags(self):
        inner = frames.Frame(MAC_A, MAC_B, b"\x08\x00" + bytes(60), svid=100, etag=frames.Etag(7), spcp=3)
        self.assertEqual(inner.wire()[12:26], bytes.fromhex("88a8 6064 893f 0000 0007 0000 0800".replace(" ", "")))
        self.assertEqual(frames.Frame.parse(inner.wire()), inner)

    def test_evb_sample(self):
        evb = frames.Evb.parse(bytes.fromhex("030568b434"))     # a station of lldpad's
        self.assertEqual((evb.retries, evb.rte, evb.mode, evb.rol_rwd, evb.rwd, evb.rol_rka, evb.rka), (3, 8, 2, 1, 20, 1, 20))

    def samples(self):
        evb = frames.Lldp((4, MAC_A), (7, b"x"), 120, evb=frames.Evb(), pe=frames.Pe(1, MAC_A, MAC_B))
        vdp = frames.Vdp(bytes(16), [vsi(frames.ASSOC), vsi(frames.PREASSOC, 0x10, 7)])
        register = csp.Csp(csp.REGISTER, csp.REQUEST, 9, port=(1, csp.CASCADE), ecids=[csp.Entry(0x1001, csp.TAGGED), csp.Entry(5, csp.REMOVE, 1)])
        return [(frames.Lldp, evb), (frames.Vdp, vdp), (csp.Csp, register), (frames.Ecp, frames.Ecp(0, 1, 65535, b"abc"))]

    def test_round_trips(self):
        for kind, sample in self.samples():
            self.assertEqual(kind.parse(sample.pack()), sample)

    def test_damage_is_malformed_or_parsed(self):
        chance = random.Random(1)
        for kind, sample in self.samples():
            good = sample.pack()
            for _ in range(3000):
                data = bytearray(good[:chance.randrange(len(good) + 1)] if chance.random() < 0.5 else good)
                for _ in range(chance.randrange(3)):
                    if data:
                        data[chance.randrange(len(data))] = chance.randrange(256)
                try:
                    kind.parse(bytes(data))
                except frames.Malformed:
                    pass

    def test_codes_of_the_header(self):
        codes = csp.read_codes("#define PE_CSP_A 7u /* x */\n#define PE_CSP_B 0x10\nenum e { PE_CSP_C, /* no */\n PE_CSP_D = 5, PE_CSP_E };")
        self.assertEqual(codes, {"A": 7, "B": 16, "C": 0, "D": 5, "E": 6})


class Links(unittest.TestCase):
    """Two ECP links and what lies between them."""

    def setUp(self):
        self.heard, self.lost, self.events, self.wire = [], [], [], []
        self.a = ecp.Link(1, lambda d: self.wire.append(("b", d)), lambda p, now: None, lambda p, now: self.lost.append(p), self.event)
        self.b = ecp.Link(1, lambda d: self.wire.append(("a", d)), lambda p, now: self.heard.append(p), lambda p, now: None, self.event)

    def event(self, what, **fields):
        self.events.append(what)

    def carry(self, now, lose=0):
        while self.wire:
            to, data = self.wire.pop(0)
            if lose:
                lose -= 1
                continue
            (self.b if to == "b" else self.a).receive(frames.Ecp.parse(data), now)

    def test_in_order(self):
        for payload in (b"1", b"2", b"3"):
            self.a.send(payload, 0)
        self.carry(0)
        self.assertEqual((self.heard, self.a.seq, self.a.busy()), ([b"1", b"2", b"3"], 3, False))

    def test_lost_request_and_lost_ack(self):
        self.a.send(b"1", 0)
        self.carry(0, lose=1)
        self.a.tick(0.1)
        self.assertFalse(self.wire)         # not before its time
        self.a.tick(0.17)
        self.b.receive(frames.Ecp.parse(self.wire.pop(0)[1]), 0.17)
        self.wire.clear()                   # the acknowledgement
        self.a.tick(0.4)
        self.carry(0.4)
        self.assertEqual((self.heard, self.a.busy()), ([b"1"], False))
        self.assertIn("ecp-duplicate", self.events)

    def test_given_up(self):
        self.a.send(b"1", 0)
        for step in range(1, 10):
            self.a.tick(step * 0.17)
        self.assertEqual((len(self.wire), self.lost), (4, [b"1"]))

    def test_wrong_sequence_is_no_acknowledgement(self):
        self.a.send(b"1", 0)
        self.a.receive(frames.Ecp(frames.ECP_ACK, 1, 99), 0)
        self.assertTrue(self.a.busy())


class Switching(unittest.TestCase):
    class Member:
        def __init__(self, vlan):
            self.vlan = vlan

    def setUp(self):
        self.trunk, self.five, self.other_five, self.six = (self.Member(v) for v in (0, 5, 5, 6))
        self.switch = switch.Switch()
        self.switch.members = [self.trunk, self.five, self.other_five, self.six]

    def relay(self, source, dst, src, vid=None):
        frame = frames.Frame(dst, src, b"\x08\x00" + bytes(46))
        return self.switch.relay(source, frame if vid is None else frame.with_ctag(vid))

    def test_vlans(self):
        targets, flooded = self.relay(self.five, frames.BROADCAST, MAC_A)
        self.assertTrue(flooded)
        self.assertEqual([(m, f.cvid) for m, f in targets], [(self.trunk, 5), (self.other_five, 0)])
        targets, flooded = self.relay(self.trunk, MAC_A, MAC_B, 5)
        self.assertEqual([(m, f.cvid) for m, f in targets], [(self.five, 0)])
        self.assertIsNone(self.relay(self.five, MAC_A, MAC_B, 5))
        targets, _ = self.relay(self.trunk, frames.BROADCAST, MAC_B)
        self.assertEqual(targets, [])       # nobody else has untagged frames outside a VLAN

    def test_forget(self):
        self.relay(self.five, frames.BROADCAST, MAC_A)
        self.switch.forget(self.five)
        self.assertTrue(self.relay(self.trunk, MAC_A, MAC_B, 5)[1])


class Captures(unittest.TestCase):
    """The checker of captures sees what is wrong, and only that."""

    def setUp(self):
        self.path = Path(outside.HERE / f".capture-{os.getpid()}.pcap")
        self.addCleanup(self.path.unlink)
        self.now, self.frames = 1000.0, []

    def add(self, src, ethertype, payload, after=0.01):
        self.now += after
        frame = frames.control(frames.BRIDGE_GROUP, src, ethertype, payload)
        frame.svid = 100
        self.frames.append((self.now, frame.wire()))

    def lldp(self, port=b"a", ttl=120, **words):
        evb = frames.Evb(mode=frames.EVB_STATION)
        self.add(MAC_A, frames.ETH_LLDP, frames.Lldp((4, MAC_A), (7, port), ttl, evb=evb).pack(), **words)

    def request(self, seq, kind=frames.ASSOC, ack=True, number=1, **words):
        self.add(MAC_A, frames.ETH_ECP, frames.Ecp(0, 1, seq, frames.Vdp(bytes(16), [vsi(kind, number=number)]).pack()).pack(), **words)
        if ack:
            self.add(capture.BRIDGES[0], frames.ETH_ECP, frames.Ecp(1, 1, seq).pack())

    def answer(self, seq, acks=1, status=0x40):
        answer = frames.Vdp(bytes(16), [vsi(frames.ASSOC, status)])
        self.add(capture.BRIDGES[0], frames.ETH_ECP, frames.Ecp(0, 1, seq, answer.pack()).pack())
        for _ in range(acks):
            self.add(MAC_A, frames.ETH_ECP, frames.Ecp(1, 1, seq).pack())

    def good(self):
        self.lldp()
        self.request(1, frames.PREASSOC)
        self.answer(1)
        self.request(2)
        self.answer(2)
        self.request(3, after=10)
        self.answer(3)

    def verdict(self, **words):
        pcap = rawsock.Pcap(self.path)
        for at, data in self.frames:
            pcap.file.write(struct.pack("=IIII", int(at), int(at % 1 * 1e9), len(data), len(data)) + data)
        pcap.close()
        return capture.one_speaker(self.path, svid=100, **words)

    def refuse(self, what, **words):
        with self.assertRaisesRegex(capture.CaptureError, what):
            self.verdict(**words)

    def test_good(self):
        self.good()
        self.request(4, ack=False, after=10)
        self.request(4, after=0.2)
        self.assertEqual(self.verdict(), {"lldps": 1, "requests": 5, "again": 1, "restarts": 0})
        self.assertEqual(capture.check(self.path)["vdp associate"], 7)

    def test_two_stations(self):
        self.good()
        self.lldp(b"b")
        self.refuse("a second station")

    def test_a_station_left(self):
        self.good()
        self.lldp(ttl=0)
        self.lldp(b"b")
        self.verdict()

    def test_jump(self):
        self.good()
        self.request(9, after=10)
        self.refuse("another speaker")
        self.verdict(restarts=1)

    def test_two_take_turns(self):
        self.good()
        self.request(100, after=5)
        self.request(4, after=5)
        self.refuse("goes on where", restarts=2)

    def test_two_in_step(self):
        self.good()
        self.answer(4, acks=2)
        self.refuse("acknowledged once too often")

    def test_repeated_after_its_acknowledgement(self):
        self.good()
        self.request(3, after=6)
        self.refuse("after its acknowledgement")

    def test_other_contents(self):
        self.good()
        self.request(3, frames.DEASSOC)
        self.refuse("other contents")

    def test_other_vsi(self):
        self.good()
        self.request(4, number=2)
        self.refuse("is associated")

    def test_silence(self):
        self.good()
        self.request(4, after=20)
        self.refuse("nobody spoke for 20")

    def test_silence_at_the_end(self):
        self.good()
        self.answer(9, acks=0)
        self.frames[-1] = (self.now + 30, self.frames[-1][1])
        self.refuse("nobody spoke in the last")

    def test_nobody(self):
        self.lldp()
        self.refuse("nobody spoke at all")

    def test_only_periodic(self):
        self.good()
        self.verdict()
        self.assertEqual(capture.only_periodic(self.path, 1001, 1100, svid=100), 2)
        with self.assertRaisesRegex(capture.CaptureError, "pre-associate"):
            capture.only_periodic(self.path, 0, 2000, svid=100)

    def test_malformed(self):
        self.good()
        self.add(MAC_A, frames.ETH_ECP, frames.Ecp(0, 1, 4, b"\x0a\x10\0\0").pack())
        self.refuse("VDP")          # has written the file
        with self.assertRaisesRegex(capture.CaptureError, "not right"):
            capture.check(self.path)


def main():
    """Ends with the line that tests/total.py adds up."""
    result = unittest.main(exit=False, verbosity=0).result
    skipped = len(result.skipped)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    text = f"{result.testsRun - failed - skipped} passed, {failed} failed"
    print(text + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
