#!/usr/bin/env python3
"""Lets tshark, which shares no code with us, read one frame of every class that the extender's codecs make.

Usage: test_frames.py PROGRAM FILE    (PROGRAM: frames.c; FILE: the capture that it makes, kept)

What tshark cannot tell (4.0, 4.4): it names EVB and Port Extension TLVs but does not decode them; in VDP it leaves out the number of
filter entries, so that what it shows of these is shifted, and looks into Associate and DeAssociate only; PE-CSP is data to it.
"""
import subprocess
import sys
import unittest

MALFORMED = "_ws.malformed"
FIELDS = ("frame.protocols", "eth.dst", "eth.type", "etag.pcp", "etag.dei", "etag.iecid_base", "etag.iecid_ext", "etag.group", "etag.ecid_base",
          "etag.ecid_ext", "etag.etype", "arp.dst.proto_ipv4", "lldp.tlv.type", "lldp.tlv.len", "lldp.chassis.id.mac", "lldp.port.id",
          "lldp.time_to_live", "lldp.ieee.802_1.subtype", "ecp.ver", "ecp.op", "ecp.subtype", "ecp.seqno", "vdp21.tlvtype", "vdp21.tlvlen",
          "vdp21.manager_id", "vdp21.vsitypeid", "vdp21.vsiversion", "vdp21.vsiidformat", "vdp21.VSIID", "vdp21.filterformat",
          "vdp21.assoc.flags.req_rsp", "vdp21.assoc.flags.keep", "vdp21.assoc.error", "data.data", MALFORMED)
STATION, CUSTOMER, NON_TPMR, NEAREST = ("02:00:00:00:00:07", "01:80:c2:00:00:00", "01:80:c2:00:00:03", "01:80:c2:00:00:0e")
EVB, PORT_EXTENSION = 13, 15


def run(*command):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True).stdout


def decode(program, capture):
    """{name: {field: value}} in the order of the capture; a field that comes more than once is joined by commas."""
    names = run(program, capture).split()
    lines = run("tshark", "-r", capture, "-T", "fields", "-E", "separator=|", *(a for f in FIELDS for a in ("-e", f))).splitlines()
    assert len(lines) == len(names) == len(set(names)), (len(lines), names)
    return {name: dict(zip(FIELDS, line.split("|"), strict=True)) for name, line in zip(names, lines)}


class Frames(unittest.TestCase):
    capture = program = None

    @classmethod
    def setUpClass(cls):
        cls.frames = decode(cls.program, cls.capture)

    def numbers(self, name, *fields):
        """Values of fields; a field that comes more than once is a list, one that does not come an empty one."""
        def number(text):
            values = [int(v, 0) for v in text.split(",") if v]
            return values[0] if len(values) == 1 else values
        return tuple(number(self.frames[name][f]) for f in fields)

    def ecids(self, name):
        """(Ingress_E-CID, GRP, E-CID) from tshark's pieces."""
        base_in, ext_in, group, base, ext = self.numbers(name, "etag.iecid_base", "etag.iecid_ext", "etag.group", "etag.ecid_base",
                                                         "etag.ecid_ext")
        return ext_in << 12 | base_in, group, ext << 12 | base

    def test_nothing_malformed(self):
        for name, frame in self.frames.items():
            self.assertEqual(frame[MALFORMED], "", name)
            self.assertTrue(frame["frame.protocols"].startswith("eth:ethertype:"), name)

    def test_etag(self):
        self.assertEqual(self.ecids("etag-up"), (0, 0, 0x12345))
        self.assertEqual(self.ecids("etag-down"), (0xfffff, 0, 0x12346))
        self.assertEqual(self.ecids("etag-group"), (0x12345, 2, 1))
        self.assertEqual(self.numbers("etag-up", "etag.pcp", "etag.dei"), (5, 0))
        self.assertEqual(self.numbers("etag-down", "etag.pcp", "etag.dei"), (0, 1))
        for name in ("etag-up", "etag-down", "etag-group"):
            self.assertEqual(self.frames[name]["frame.protocols"], "eth:ethertype:etag:ethertype:arp")
            self.assertEqual(self.frames[name]["arp.dst.proto_ipv4"], "10.0.0.9")

    def test_lldp(self):
        lengths = {EVB: 9, PORT_EXTENSION: 17}
        for name, to, ttl, specific in (("lldp", NEAREST, 120, []), ("lldp-goodbye", NEAREST, 0, []), ("lldp-evb", CUSTOMER, 120, [EVB]),
                                        ("lldp-pe", NON_TPMR, 120, [PORT_EXTENSION]),
                                        ("lldp-both", CUSTOMER, 120, [EVB, PORT_EXTENSION])):
            frame = self.frames[name]
            self.assertEqual((frame["eth.dst"], frame["lldp.chassis.id.mac"], frame["lldp.port.id"]), (to, STATION, "port0"), name)
            self.assertEqual(int(frame["lldp.time_to_live"]), ttl, name)
            types, sizes = ([int(v, 0) for v in frame[f].split(",")] for f in ("lldp.tlv.type", "lldp.tlv.len"))
            self.assertEqual(types, [1, 2, 3] + [127] * len(specific) + [0], name)
            self.assertEqual(sizes, [7, 6, 2] + [lengths[s] for s in specific] + [0], name)
            self.assertEqual([int(v, 0) for v in frame["lldp.ieee.802_1.subtype"].split(",") if v], specific, name)

    def test_ecp(self):
        carried = [n for n in self.frames if n.startswith(("vdp-", "ecp-", "pe-csp-"))]
        for number, name in enumerate(carried):
            ack, csp = name.endswith("-ack"), name.startswith("pe-csp-")
            self.assertEqual(self.numbers(name, "ecp.ver", "ecp.op", "ecp.subtype", "ecp.seqno"), (1, ack, 1 + csp, 0x1234 + number), name)
            self.assertEqual(self.frames[name]["eth.dst"], NON_TPMR if csp else CUSTOMER, name)

    def test_vdp(self):
        for name, kind, size in (("preassoc", 1, 33), ("preassoc-rr", 2, 33), ("assoc-vid", 3, 27), ("assoc-mac-vid", 3, 33),
                                 ("assoc-group-vid", 3, 31), ("assoc-group-mac-vid", 3, 37), ("assoc-many", 3, 25 + 16 * 8),
                                 ("answer", 3, 33), ("refused", 3, 33), ("deassoc", 4, 33)):
            self.assertEqual(self.numbers("vdp-" + name, "vdp21.tlvtype", "vdp21.tlvlen"), ([5, kind], [16, size]), name)
            self.assertEqual(self.frames["vdp-" + name]["vdp21.manager_id"], "::1", name)

    def test_vdp_associate(self):
        for number, name in enumerate(("vid", "mac-vid", "group-vid", "group-mac-vid"), 1):
            name = "vdp-assoc-" + name
            self.assertEqual(self.numbers(name, "vdp21.vsitypeid", "vdp21.vsiversion", "vdp21.vsiidformat", "vdp21.filterformat"),
                             (5, 1, 3, number), name)
            self.assertEqual(self.frames[name]["vdp21.VSIID"], "00:" * 10 + STATION, name)

    def test_vdp_status(self):
        fields = "vdp21.assoc.flags.req_rsp", "vdp21.assoc.flags.keep", "vdp21.assoc.error"
        self.assertEqual(self.numbers("vdp-assoc-vid", fields[0]), (0,))
        self.assertEqual(self.numbers("vdp-deassoc", fields[0]), (0,))
        self.assertEqual(self.numbers("vdp-answer", *fields), (1, 0, 0))
        self.assertEqual(self.numbers("vdp-refused", *fields), (1, 1, 2))

    def test_pe_csp(self):
        for name, size in (("open", 8), ("open-answer", 8), ("create", 16), ("create-answer", 22), ("delete", 16), ("register", 22)):
            data = bytes.fromhex(self.frames["pe-csp-" + name]["data.data"])
            self.assertTrue(len(data.rstrip(b"\0")) <= size <= len(data), name)


def main(program, capture):
    Frames.program, Frames.capture = program, capture
    result = unittest.TextTestRunner(verbosity=0).run(unittest.defaultTestLoader.loadTestsFromTestCase(Frames))
    bad = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - bad if result.testsRun else 0} passed, {max(bad, not result.testsRun):d} failed")
    return 1 if bad or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
