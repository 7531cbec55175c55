#!/usr/bin/env python3
"""Host unit tests of tests/trace.py: python3 tests/test_trace.py"""
import base64
import sys
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent / "machine")]

import test_machine     # noqa: E402
import trace            # noqa: E402

# What core/trace.c makes of three records: the same text is in tests/unit/test_trace.c.
EXACT = ["[L0] @trace vm 1 inner 0:0 1:fffffffffffffff0",
         "[L0] @trace 0 0 0 AQEAAQrQD4CAgAKAgICACAUBAAADyAEBl7f//w8=",
         "[L0] @trace 0 0 2",
         "[L0] @trace 0 1 0 AQEBALAGtBDg/weAgIDuHw==",
         "[L0] @trace 0 1 1"]


def leb(n):
    data = b""
    while n > 0x7f:
        data += bytes([n & 0x7f | 0x80])
        n >>= 7
    return data + bytes([n])


def line(mark, cpu, first, records, vm=1):
    """Records (kind, tsc, reason, a, b) as a line; small positive numbers only."""
    data, last = b"", 0
    for kind, tsc, reason, a, b in records:
        data += bytes([kind, vm, 0, 0]) + leb(reason) + leb(2 * (tsc - last)) + leb(2 * a) + leb(2 * b)
        last = tsc
    return f"{mark} @trace {mark.count('[') - 1} {cpu} {first} {base64.b64encode(data).decode()}"


EXIT, REFLECT, INJECT, IRQ, CALL, RETURN = range(1, 7)
CPUID, VMCALL, IO, EPT = 10, 18, 30, 48


class Decoder(unittest.TestCase):
    def test_kinds(self):
        self.assertEqual(trace.kind_names(), {EXIT: "EXIT", REFLECT: "REFLECT", INJECT: "INJECT", IRQ: "IRQ", CALL: "CALL",
                                              RETURN: "RETURN"})
        for kind in trace.kind_names().values():
            self.assertTrue(hasattr(trace.Text, kind.lower()), kind)

    def test_exact(self):
        t = trace.Trace(EXACT)
        self.assertEqual([tuple(r) for r in t.records()], [
            (1000, "L0", 0, 0, "EXIT", "inner", 0, 1, 10, 0x200000, 0x40000000),
            (1050, "L0", 1, 0, "EXIT", "inner", 1, 0, 48 | 3 << 8, 0xfff0, 0xfee00000),
            (1100, "L0", 0, 1, "CALL", "inner", 0, 0, 3, 2**64 - 1, 0xffffffff80001234)])
        self.assertEqual(t.lost(), {("L0", 0): 0, ("L0", 1): 0})
        self.assertEqual(t.garbled, 0)
        self.assertEqual([" ".join(text.split()) for text in trace.to_text(t)], [
            "1000 L0 cpu0 inner.0 exit L2 CPUID rip=0x200000 leaf=0x40000000 subleaf=0x0",
            "1050 L0 cpu1 inner.1 exit L1 EPT_VIOLATION rip=0xfff0 gpa=0xfee00000 rw of none",
            "1100 L0 cpu0 inner.0 call REPORT 0xffffffffffffffff 0xffffffff80001234",
            "3 records of 2 rings; lost (overwritten before they were printed): none"])

    def test_merge(self):
        """By TSC; an inner's less its offset; ties: the outer first; a ring's own order stands."""
        t = trace.Trace(["[L0] @trace vm 1 inner 1:64",    # vCPU 0 runs on CPU 1, 100 ahead
                         "[inner] [L1] @trace vm 1 guest 0:0",
                         line("[inner] [L1]", 0, 0, [(EXIT, 120, CPUID, 0, 0), (EXIT, 130, CPUID, 1, 0)]),
                         line("[L0]", 1, 0, [(EXIT, 10, CPUID, 0, 0), (REFLECT, 20, CPUID, 0, 0), (EXIT, 40, VMCALL, 0, 3)])])
        self.assertEqual([(r.tsc, r.level, r.kind, r.vm) for r in t.records()],
                         [(10, 0, "EXIT", "inner"), (20, 0, "REFLECT", "inner"), (20, 1, "EXIT", "guest"),
                          (30, 1, "EXIT", "guest"), (40, 0, "EXIT", "inner")])

    def test_offsets_add_up(self):
        t = trace.Trace(["[L0] @trace vm 2 a 0:0 3:10", "[a] [L1] @trace vm 1 b 1:1", "[a] [b] [L2] @trace vm 1 c 0:0",
                         line("[a] [b] [L2]", 0, 0, [(EXIT, 1000, CPUID, 0, 0)])])
        self.assertEqual([r.tsc for r in t.records()], [1000 - 0x11])

    def test_negative_offset(self):
        t = trace.Trace(["[L0] @trace vm 1 a 0:ffffffffffffffff", line("[a] [L1]", 0, 0, [(EXIT, 5, CPUID, 0, 0)])])
        self.assertEqual([r.tsc for r in t.records()], [6])

    def test_lost(self):
        t = trace.Trace([line("[L0]", 0, 100, [(EXIT, 1, CPUID, 0, 0)] * 3), "[L0] @trace 0 0 110",
                         "[L0] @trace 0 1 0 !!", "[L0] @trace 0 1 0 AgEA", "[L0] @trace 0 1 4"])
        self.assertEqual(t.lost(), {("L0", 0): 107, ("L0", 1): 4})
        self.assertEqual(t.garbled, 2)
        self.assertIn("107 of L0 cpu0, 4 of L0 cpu1; 2 garbled lines", list(trace.to_text(t))[-1])

    def test_a_guest_cannot_forge(self):
        t = trace.Trace(["[guest] @trace 0 0 0 AQEBALAGtBDg/weAgIDuHw==", "@trace 0 0 7", "[L0] said: @trace 0 0 8"])
        self.assertEqual(t.ends, {})
        self.assertEqual(list(t.records()), [])


if __name__ == "__main__":
    sys.exit(test_machine.main())
