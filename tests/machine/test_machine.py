#!/usr/bin/env python3
"""Host unit tests of the runner's pure parts: python3 tests/machine/test_machine.py"""
import signal
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import console      # noqa: E402
import cpio         # noqa: E402
import image        # noqa: E402
import jobs         # noqa: E402
import options      # noqa: E402
import scenario     # noqa: E402
import wire_peer    # noqa: E402


class Console(unittest.TestCase):
    def test_origin(self):
        self.assertEqual(console.origin("[L0] text"), ("L0", "text"))
        self.assertEqual(console.origin("[inner] [L1] a [b] c"), ("inner/L1", "a [b] c"))
        self.assertEqual(console.origin("BdsDxe: [x] y"), ("", "BdsDxe: [x] y"))

    def test_lines(self):
        lines = console.Lines()
        self.assertEqual(lines.feed(b"one\r\ntw"), ["one"])
        self.assertEqual(lines.feed(b"o\x1b[0m\n\nthr"), ["two", ""])
        self.assertEqual(lines.flush(), ["thr"])
        self.assertEqual(lines.flush(), [])

    def test_reports(self):
        reports = console.Reports()
        self.assertTrue(reports.take('[inner] [L1] @report {"a": 1}'))
        self.assertTrue(reports.take("[L0] @report {broken"))
        self.assertFalse(reports.take("[L0] no @report"))
        self.assertEqual(reports.levels, {"inner/L1": [{"a": 1}]})
        self.assertEqual(len(reports.malformed), 1)


class Images(unittest.TestCase):
    def test_cpio(self):
        archive = cpio.archive({"b": b"12345", "a/c": b""})
        self.assertEqual(len(archive) % 4, 0)
        self.assertEqual(archive[:6], b"070701")
        self.assertLess(archive.index(b"a/c\0"), archive.index(b"b\0"))
        self.assertIn(b"TRAILER!!!\0", archive)

    def test_disk(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "disk.img"
            image.make_nestling(path, b"MZ program", b"bundle")
            sector = path.read_bytes()[:512]
            self.assertEqual(sector[510:], b"\x55\xaa")
            first, count = struct.unpack("<II", sector[454:462])
            self.assertEqual((first + count) * 512, path.stat().st_size)
            out = subprocess.run(["mcopy", "-i", f"{path}@@{first * 512}", "::nestling/bundle.cpio", "-"],
                                 check=True, capture_output=True).stdout
            self.assertEqual(out, b"bundle")


class Scenarios(unittest.TestCase):
    def load(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as f:
            f.write(text)
            f.flush()
            return scenario.load(f.name)

    def test_expansion(self):
        found = self.load('[[scenario]]\nname = "x"\nmachine = ["cosim", "qemu"]\ncpus = [1, 2]\n')
        self.assertEqual([s.label for s in found], ["x-cosim-smp1", "x-cosim-smp2", "x-qemu-smp1", "x-qemu-smp2"])

    def test_without(self):
        found = self.load('[[scenario]]\nname = "x"\nwithout = { sample = ["vpid"], never = ["apicv"] }\n')
        self.assertEqual({s.label for s in found}, {"x"} | {f"x-without-{f}" for f in options.FEATURES if f != "apicv"})
        self.assertEqual({s.label for s in found if not s.long}, {"x", "x-without-vpid"})
        one = next(s for s in found if s.without == "vpid")
        scenario.verify_absence(one, ["[L0] VT-x: unrestricted guest yes, VPID no (flush at switch), more"])
        for lines in ([], ["[L0] VT-x: unrestricted guest yes, VPID yes"], ["[inner] [L1] VT-x: VPID no"]):
            with self.assertRaises(scenario.Failure):
                scenario.verify_absence(one, lines)

    def test_absence_at_every_level(self):
        """Whatever the levels are called, and wherever the stanza has the depth."""
        text = '[[scenario]]\nname = "x"\nwithout = {}\n'
        no, yes = "VT-x: VPID no", "VT-x: VPID yes"
        for keys, good, bad in (('die = { depth = 2 }', [f"[L0] {no}", f"[inner] [L1] {no}"], [f"[L0] {no}"]),
                                ('bundle = "siblings.py"', [f"[L0] {no}", f"[inner] [a] [L2] {no}", "[inner] [a] [L2] processors: 1"],
                                 [f"[L0] {no}", f"[inner] [a] [L2] {yes}"]),
                                ('bundle = "die_inner.py"', [f"[L0] {no}", "[guest] guest: up"], [f"[L0] {no}", "[inner0] [L1] processors: 1"])):
            one = next(s for s in self.load(text + keys) if s.without == "vpid")
            scenario.verify_absence(one, good)
            with self.assertRaises(scenario.Failure, msg=keys):
                scenario.verify_absence(one, bad)

    def test_mistakes(self):
        for text in ('name = "x"\nexpct = []', 'cpus = 1', 'name = "x"\nexit = "0"', 'name = "x"\nexpect = ["("]',
                     'name = "x"\noptions = { nick = 1 }', 'name = "x"\nwithout = { often = ["vpid"] }',
                     'name = "x"\nwithout = { sample = ["vpidd"] }'):
            with self.assertRaises(scenario.BadScenario, msg=text):
                self.load("[[scenario]]\n" + text)

    def test_expectations(self):
        e = scenario.Expectations({"expect": ["^a", "^b"], "forbid": ["bad"]})
        e.feed("b too early")
        e.feed("a")
        with self.assertRaises(scenario.Failure):
            e.finish("a")
        e.feed("b")
        e.finish("b")
        for line in ("very bad", "panic: x", "PANIC: y"):
            with self.assertRaises(scenario.Failure):
                e.feed(line)

    def test_options(self):
        options.Options(disk="x").check()
        for wrong in (dict(cpus=9), dict(memory=2048), dict(nic="rtl"), dict(kind="xen"), dict(disk=None),
                      dict(without=["smm"]), dict(without=["vpid"], kind="qemu"), dict(without=["vpid"], cpu_model="p4"), dict(paced=True, kind="qemu")):
            with self.assertRaises(options.BadOption, msg=wrong):
                options.Options(**{"disk": "x", **wrong}).check()


class Jobs(unittest.TestCase):
    def run_some(self, texts, at_a_time):
        """Shell programs; (what happened in order, most that ran at a time)."""
        events, most = [], 0

        def begun(name):
            nonlocal most
            events.append(("begun", name))
            most = max(most, sum(1 if e[0] == "begun" else -1 for e in events))

        lane = jobs.Lane([(n, ["sh", "-c", text]) for n, text in enumerate(texts)], at_a_time)
        jobs.run([lane], begun, lambda *end: events.append(("ended", *end)))
        return events, most

    def test_one_by_one(self):
        events, most = self.run_some(["echo a", "echo b >&2; exit 3"], 1)
        self.assertEqual(events, [("begun", 0), ("ended", 0, 0, "a\n"), ("begun", 1), ("ended", 1, 3, "b\n")])
        self.assertEqual(most, 1)

    def test_beside(self):
        """The first waits for what the second makes: they do run beside each other; its words are not torn by the other's."""
        with tempfile.TemporaryDirectory() as folder:
            first = f"echo a; while ! [ -e {folder}/made ]; do sleep 0.01; done; echo b"
            events, most = self.run_some([first, f"echo c; : > {folder}/made", "kill -9 $$"], 2)
        self.assertEqual(most, 2)
        self.assertEqual([e[1] for e in events if e[0] == "begun"], [0, 1, 2])
        self.assertEqual(sorted(e[1:] for e in events if e[0] == "ended"), [(0, 0, "a\nb\n"), (1, 0, "c\n"), (2, -signal.SIGKILL, "")])

    def test_lanes(self):
        """One that takes long holds up only its own lane."""
        with tempfile.TemporaryDirectory() as folder:
            ended = []
            slow = jobs.Lane([("slow", ["sh", "-c", f"while ! [ -e {folder}/made ]; do sleep 0.01; done"]), ("last", ["true"])], 1)
            quick = jobs.Lane([("first", ["true"]), ("second", ["sh", "-c", f": > {folder}/made"])], 1)
            jobs.run([slow, quick, jobs.Lane([], 1)], lambda name: None, lambda name, *_: ended.append(name))
        self.assertEqual(ended[0], "first")
        self.assertEqual(sorted(ended), ["first", "last", "second", "slow"])

    def test_none_is_left(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(KeyboardInterrupt):
                def interrupted(*_):
                    raise KeyboardInterrupt
                long = [("long", ["sh", "-c", f"trap 'echo cleaned > {folder}/said; exit' TERM; while :; do sleep 0.01; done"])]
                jobs.run([jobs.Lane(long, 1), jobs.Lane([("short", ["sleep", "0.3"])], 1)], lambda name: None, interrupted)
            self.assertEqual((Path(folder) / "said").read_text(), "cleaned\n")


class WirePeer(unittest.TestCase):
    guest = b"\x52\x54\0\xc0\x51\x01"

    def test_arp(self):
        request = (b"\xff" * 6 + self.guest + b"\x08\x06\0\1\x08\0\6\4\0\1" + self.guest + bytes([10, 0, 0, 2]) +
                   b"\0" * 6 + bytes([10, 0, 0, 1]))
        reply = wire_peer.answer(request)
        self.assertEqual(reply[:12], self.guest + wire_peer.MAC)
        self.assertEqual(reply[20:42], b"\0\2" + wire_peer.MAC + bytes([10, 0, 0, 1]) + self.guest + bytes([10, 0, 0, 2]))

    def test_ping(self):
        icmp = b"\x08\0\0\0\x12\x34\0\1payload!"
        icmp = icmp[:2] + wire_peer.checksum(icmp) + icmp[4:]
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), 1, 0, 64, 1, 0, bytes([10, 0, 0, 2]),
                           bytes([10, 0, 0, 1]))
        reply = wire_peer.answer(wire_peer.MAC + self.guest + b"\x08\x00" + head + icmp)
        packet = reply[14:14 + 20 + len(icmp)]
        self.assertEqual(packet[12:20], bytes([10, 0, 0, 1, 10, 0, 0, 2]))
        self.assertEqual(wire_peer.checksum(packet[:20]), b"\0\0")
        self.assertEqual(wire_peer.checksum(packet[20:]), b"\0\0")
        self.assertEqual(packet[20], 0)

    def test_malformed(self):
        self.assertIsNone(wire_peer.answer(b"\xff" * 14))
        self.assertIsNone(wire_peer.answer(wire_peer.MAC + self.guest + b"\x08\x06"))


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
