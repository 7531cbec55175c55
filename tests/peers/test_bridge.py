#!/usr/bin/env python3
"""Tests of bridge.py with real Linux stacks behind it, without a machine: python3 tests/peers/test_bridge.py [unittest's words]

A station in Python (station.py) or lldpad stands where the machine would, in network namespaces; each fault is tried by itself. Needs a
tap device, lldpad (tests/setup.sh) and tshark; without a tap device all is skipped and says so.
"""
import os
import re
import signal
import subprocess
import sys
import time
import unittest
import uuid
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "machine")]

import bridge       # noqa: E402
import controller   # noqa: E402
import frames       # noqa: E402
import lldpad       # noqa: E402
import network      # noqa: E402
import outside      # noqa: E402
from rig import MACS, Rig   # noqa: E402

NO_TAP = network.tap_possible()
LLDPAD_RKA = 17     # a keep-alive every 1.3 s
AT_ONCE = 5
needs_tap = unittest.skipIf(NO_TAP, NO_TAP or "")


class Bench(unittest.TestCase):
    def setUp(self):
        Rig.name = self.id().removeprefix("__main__.")


@needs_tap
class Traffic(Bench):
    """Two guests and the host, by both kinds of port, both switches and both VDP bridges, at depth 1 to 3."""

    def try_traffic(self, kind, depth, switch, vdp):
        with Rig(kind, depth, switch=switch, vdp=vdp, rka=LLDPAD_RKA) as rig:
            rig.wait_up()
            self.assertEqual(rig.ping(0, "10.0.0.1"), 2)
            self.assertEqual(rig.ping(1, "10.0.0.1"), 2)
            self.assertEqual(rig.ping(0, "10.0.0.3"), 2)
            self.assertEqual(rig.ping(None, "10.0.0.2", 2, "-s", "1472"), 2)
            self.check_bridge(rig)
            self.check_station(rig)
            counts = rig.o.check_captures()
            self.assertGreaterEqual(counts["pe-csp create response"], 2 * depth)
            for port in rig.o.names:
                rig.o.one_speaker(port)

    def check_bridge(self, rig):
        status = rig.o.status()
        self.assertEqual((status["drops"], status["lost"], status["unfinished"]), ({}, 0, 0))
        ecids = [pe["ecid"] for port in status["ports"].values() for pe in port["extenders"]]
        self.assertEqual(len(set(ecids)), 2 * rig.depth)
        for port in status["ports"].values():
            if rig.o.lldpad and not rig.svids:
                port["drops"].pop("no-ecid", 0)     # lldpad speaks before the extender is there
            self.assertEqual(port["drops"], {})
            self.assertEqual([pe["depth"] for pe in port["extenders"]], list(range(rig.depth)))
            self.assertEqual(set(port["vdp"]["vsis"].values()), {"associate"})

    def check_station(self, rig):
        """On a wire with E-TAGs everybody gets everybody's frames; in an S-channel nobody does."""
        for extenders in rig.s.command("status").values():
            reflected = sum(e["drops"].pop("reflection", 0) for e in extenders)
            self.assertEqual(bool(reflected), rig.words["switch"] == "own" and not rig.svids)
            if rig.svids:
                extenders[0]["drops"].pop("not-ours", 0)


for _kind, _depth, _switch, _vdp in (("s", 1, "linux", "lldpad"), ("s", 2, "linux", "own"), ("s", 3, "own", "own"), ("e", 1, "own", "lldpad"),
                                     ("e", 2, "linux", "own"), ("e", 3, "own", "own"), ("s", 2, "own", "lldpad"), ("e", 2, "own", "lldpad")):
    def _test(self, args=(_kind, _depth, _switch, _vdp)):
        self.try_traffic(*args)
    setattr(Traffic, f"test_{_kind}_depth{_depth}_{_switch}_{_vdp}", _test)


@needs_tap
class Groups(Bench):
    def test_broadcast_and_multicast_by_group_ecids(self):
        with Rig("e", 2, switch="own") as rig:
            rig.wait_up()
            self.assertEqual(rig.ping(0, "10.0.0.3"), 2)
            broadcast, multicast = (frames.Frame(dst, b"\x52\x54\0\0\0\2", b"\x88\xb5" + bytes(46)) for dst in
                                    (frames.BROADCAST, b"\1\0\x5e\0\0\5"))
            before = rig.o.status()["ports"]["ve1"]["counts"]["rx_groups"]
            inner = rig.o.status()["ports"]["ve0"]["ecid"]
            for frame in (broadcast, multicast):
                frame.etag = frames.Etag(inner)
                rig.s.command("raw", value=frame.wire().hex())
            rig.o.wait_status("two group frames", lambda s: s["ports"]["ve1"]["counts"]["rx_groups"] == before + 2)
            rig.o.flush()
            groups = [s.frame.etag for s in outside.capture.read(rig.o.pcap) if s.frame.etag and s.frame.type == 0x88B5 and s.frame.etag.grp]
            self.assertEqual([(t.grp, t.ecid, t.ingress) for t in groups], [(*g, inner) for g in controller.GROUPS.values()])

    def test_bad_frames_are_counted(self):
        with Rig("s", 1, guests=1) as rig:
            rig.wait_up()
            mine, body = b"\x52\x54\0\0\0\2", b"\x88\xb5" + bytes(46)
            bad = [frames.Frame(frames.BROADCAST, mine, body, svid=999), frames.Frame(frames.BROADCAST, mine, body),
                   frames.Frame(frames.BROADCAST, mine, body, etag=frames.Etag(0x777)),
                   frames.Frame(frames.BROADCAST, mine, body, svid=100, etag=frames.Etag(0xFFE)),
                   frames.control(frames.EXTENDER_GROUP, mine, frames.ETH_LLDP, b"\2\7"),
                   frames.control(frames.EXTENDER_GROUP, mine, frames.ETH_ECP, b"\x20\0\0\1")]
            for frame in bad[4:]:
                frame.svid = 100
            for frame in bad:
                rig.s.command("raw", value=frame.wire().hex())
            rig.s.command("raw", value="00" * 13)
            rig.o.wait_event("drop", reason="malformed-control", count=2)
            status = rig.o.status()
            self.assertEqual(status["drops"].get("unknown-svid"), 1)
            self.assertEqual(status["drops"].get("untagged"), 1)
            self.assertEqual(status["drops"].get("unknown-ecid"), 1)
            self.assertEqual(status["ports"]["vp100"]["drops"], {"etag-in-s-channel": 1, "malformed-control": 2})


@needs_tap
class Faults(Bench):
    """After each fault the chain is there again by itself, one speaker, traffic."""

    def try_fault(self, name, count, kind="s", depth=2, value=True, at=None, clear=False):
        rule = {"name": name, "count": count, "value": value, "depth": at}
        with Rig(kind, depth, guests=1, faults=[rule]) as rig:
            if clear:
                time.sleep(1.5)
                self.assertEqual(rig.s.find("own"), [])
                rig.o.clear(name)
            rig.wait_up()
            self.assertEqual(rig.ping(0, "10.0.0.1"), 2)
            self.assertTrue(rig.o.find("fault", fault=name), "the fault never happened")
            rig.o.check_captures(malformed=count if name == "malformed" else 0)

    def test_deaf_is_late_join(self):
        self.try_fault("deaf", None, clear=True)

    def test_no_lldp(self):
        self.try_fault("no-lldp", 2)

    def test_no_response(self):
        self.try_fault("no-response", 1, at=1)

    def test_refuse(self):
        self.try_fault("refuse", 2)

    def test_wrong_transaction(self):
        self.try_fault("wrong-transaction", 1, at=0)

    def test_malformed(self):
        self.try_fault("malformed", 1, kind="e")

    def test_no_ack(self):
        self.try_fault("no-ack", 2)

    def test_no_ack_for_long(self):
        self.try_fault("no-ack", 6, depth=1)

    def test_wrong_sequence(self):
        self.try_fault("wrong-sequence", 3, kind="e")

    def test_duplicate(self):
        self.try_fault("duplicate", 4)

    def test_duplicate_ack(self):
        self.try_fault("duplicate-ack", 4)

    def test_lose_in(self):
        self.try_fault("lose-in", 5)

    def test_lose_out(self):
        self.try_fault("lose-out", 5, kind="e")

    def test_no_evb(self):
        self.try_fault("no-evb", 2, depth=1)

    def test_vdp_no_answer(self):
        self.try_fault("no-answer", 1, depth=1)

    def test_vdp_error(self):
        self.try_fault("vdp-error", 2, depth=1, value=0x12)

    def test_vdp_duplicate_answer(self):
        self.try_fault("duplicate-answer", 3, depth=1)

    def test_every_fault_is_tried(self):
        source = Path(__file__).read_text()
        self.assertEqual([name for name in bridge.FAULTS if f'"{name}"' not in source], [])


@needs_tap
class Changes(Bench):
    def try_ecid_change(self, kind, depth, how):
        with Rig(kind, 2, guests=1) as rig:
            rig.wait_up()
            port = rig.o.names[0]
            before = [pe["ecid"] for pe in rig.o.status()["ports"][port]["extenders"]]
            mark = rig.s.mark()
            rig.o.change_ecid(port, depth, how)
            rig.s.wait_event("own", since=mark, depth=depth)
            if depth:
                rig.s.wait_event("registered", since=mark, depth=0)
            after = [pe["ecid"] for pe in rig.o.status()["ports"][port]["extenders"]]
            self.assertNotEqual(before[depth], after[depth])
            self.assertEqual(before[1 - depth], after[1 - depth])
            self.assertEqual(rig.ping(0, "10.0.0.1"), 2)
            rig.o.one_speaker(port)

    def test_ecid_changes_s(self):
        for depth, how in ((0, "open"), (1, "register")):
            with self.subTest(depth=depth, how=how):
                self.try_ecid_change("s", depth, how)

    def test_ecid_changes_e(self):
        for depth, how in ((1, "open"), (1, "remove"), (0, "remove")):
            with self.subTest(depth=depth, how=how):
                self.try_ecid_change("e", depth, how)

    def test_new_ecid_for_a_port_created_again(self):
        with Rig("s", 1, guests=1, faults=[{"name": "new-ecid"}]) as rig:
            rig.wait_up()
            rig.s.command("reset", chain="gu0", depth=0)
            rig.o.wait_event("ecid", count=2)
            self.assertEqual(len({e["ecid"] for e in rig.o.find("ecid")}), 2)

    def test_registered_first(self):
        with Rig("e", 3, guests=1, register_first=True) as rig:
            rig.wait_up()
            drops = [level["drops"] for level in rig.s.command("status")["gu0"]]
            self.assertEqual([d.get("not-registered", 0) for d in drops], [0, 0, 0])
            self.assertEqual(rig.ping(0, "10.0.0.1"), 2)

    def test_bridge_restarts(self):
        with Rig("s", 2, guests=1) as rig:
            rig.wait_up()
            mark, events = rig.s.mark(), rig.o.mark()
            rig.o.restart()
            for depth in (0, 1):
                rig.o.wait_event("ecid", since=events, depth=depth)
            rig.s.wait_event("own", since=mark, depth=1)
            rig.o.wait_event("vdp-in", since=events, type="associate")
            self.assertEqual(rig.ping(0, "10.0.0.1"), 2)

    def test_level_restarts(self):
        for depth in (0, 1):
            with self.subTest(depth=depth), Rig("e", 2, guests=1) as rig:
                rig.wait_up()
                mark = rig.s.mark()
                rig.s.command("reset", chain="gu0", depth=depth)
                rig.s.wait_event("own", since=mark, depth=depth)
                rig.s.wait_for("registered again", lambda: depth or rig.s.find("registered", mark, depth=0))
                self.assertEqual(rig.ping(0, "10.0.0.1"), 2)

    def test_port_deleted(self):
        with Rig("e", 2, guests=1) as rig:
            rig.wait_up()
            outer, inner = rig.o.status()["ports"]["ve0"]["extenders"]
            self.assertIn([0, inner["ecid"], outside.capture.csp.TAGGED], outer["registered"])
            rig.s.command("leave", chain="gu0", depth=1)
            rig.o.wait_event("ecid-gone", ecid=inner["ecid"])
            rig.o.wait_for("removed", lambda: any("remove" in e["text"] for e in rig.o.find("csp-out", depth=0)))
            self.assertEqual({a for g, _, a in rig.o.status()["ports"]["ve0"]["extenders"][0]["registered"] if g}, {outside.capture.csp.UNTAGGED})


@needs_tap
class OwnVdp(Bench):
    def test_vid_is_chosen_and_keeps_apart(self):
        with Rig("s", 1, switch="own", vids={"vp100": 5, "vp101": 6}) as rig:
            rig.wait_up()
            self.assertEqual([e["vid"] for e in rig.s.find("associated")], [e for e in ([5, 6], [6, 5]) if e[0] == rig.s.find("associated")[0]["vid"]][0])
            self.assertEqual(rig.ping(0, "10.0.0.3", 1, "-W", "1"), 0)
            self.assertEqual({p: v["vlan"] for p, v in rig.o.status()["ports"].items()}, {"vp100": 5, "vp101": 6})

    def test_same_vid_together(self):
        with Rig("e", 1, switch="own", vids={"ve0": 5, "ve1": 5}) as rig:
            rig.wait_up()
            self.assertEqual(rig.ping(0, "10.0.0.3"), 2)
            self.assertEqual(rig.ping(0, "10.0.0.1", 1, "-W", "1"), 0)     # the host has no VLAN 5

    def test_vid_faults(self):
        with Rig("s", 1, guests=1, faults=[{"name": "vdp-vid", "count": 1, "value": 9}, {"name": "vdp-other-vid", "value": 77}]) as rig:
            rig.wait_up()
            self.assertEqual(rig.s.wait_event("associated")["vid"], 77)

    def test_deassociated_by_the_bridge(self):
        with Rig("s", 1, guests=1) as rig:
            rig.wait_up()
            mark = rig.s.mark()
            rig.o.command("deassociate", port="vp100", error=2)
            self.assertEqual(rig.s.wait_event("deassociated", since=mark)["status"], 2)
            rig.s.wait_event("associated", since=mark)

    def test_silent_station(self):
        with Rig("s", 1, guests=1) as rig:
            rig.wait_up()
            os.kill(rig.s.child.process.pid, signal.SIGSTOP)
            try:
                rig.o.wait_event("vdp-silent")
                self.assertEqual(rig.o.status()["ports"]["vp100"]["vdp"]["vsis"], {})
            finally:
                os.kill(rig.s.child.process.pid, signal.SIGCONT)

    def test_keep_alives(self):
        with Rig("s", 1, guests=1, control_only=True) as rig:
            rig.wait_up()
            self.assertEqual(rig.ping(0, "10.0.0.1"), 2)
            rig.o.wait_event("vdp-in", type="associate", count=8)
            self.assertEqual(rig.o.find("vdp-silent"), [])
            rig.o.one_speaker("vp100", keep=1)
            self.assertNotIn("", rig.o.check_captures())
            self.assertEqual([s.frame.type for s in outside.capture.read(rig.o.pcap) if s.frame.type in (0x0800, 0x0806)], [])

    def test_station_deassociates(self):
        with Rig("s", 1, guests=1) as rig:
            rig.wait_up()
            rig.s.command("deassociate", chain="gu0")
            rig.o.wait_event("vdp-out", type="de-associate")

    def test_lldpad_is_the_station(self):
        """Our bridge understands a real speaker, and is understood."""
        with Rig("s", 1, guests=1, station_vdp=False, vids={"vp100": 7}) as rig:
            rig.wait_up()
            peer = lldpad.Lldpad(lambda argv: rig.s.spaces[0].enter(argv, mount=True), ["gu0"], "station", rig.directory, name="station-lldpad")
            peer.start()
            try:
                rig.o.wait_event("evb-station")
                name = str(uuid.uuid4())
                for mode, vid in (("preassoc", 7), ("assoc", 7)):
                    said = peer.set_vsi("gu0", mode, name, MACS[0], vid)
                    self.assertEqual(said.returncode, 0, said)
                rig.o.wait_event("vdp-in", type="associate")
                rig.o.wait_event("vlan", vlan=7)
                rig.o.one_speaker("vp100")
                peer.set_vsi("gu0", "deassoc", name, MACS[0], 7)
                rig.o.wait_event("vdp-out", type="de-associate")
            finally:
                peer.stop()
            rig.o.check_captures()


@needs_tap
class RealVdp(Bench):
    """lldpad as the bridge."""

    def test_keep_alives_and_restart(self):
        with Rig("s", 2, guests=1, vdp="lldpad", rka=LLDPAD_RKA) as rig:
            rig.wait_up()
            since = time.time()
            rig.o.wait_event("vdp-in", type="associate", count=4)
            rig.o.lldpad.wait_bridge_state("vp100c", "WAITCMD")
            self.assertIn("mode:station", rig.o.lldpad.neighbour("vp100c"))
            self.assertIn("mode:bridge", rig.o.lldpad.evb("vp100c"))
            self.assertEqual(rig.s.find("deassociated"), [])
            rig.o.one_speaker("vp100")
            rig.o.only_periodic("vp100", since + 0.5, time.time(), {"vdp associate": 1.0, "lldp pe": 0.9})
            mark = rig.s.mark()
            rig.o.restart("vdp")
            rig.s.wait_event("associated", since=mark)
            rig.o.lldpad.wait_bridge_state("vp100c", "WAITCMD")
            rig.o.check_captures()


@needs_tap
class Leftovers(Bench):
    """However the runner ends, its processes do."""

    # Whoever starts the tests may have told them to ignore SIGINT, as a shell does with what it runs in the background.
    CODE = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path[:0] = sys.argv[1:3]
from rig import Rig
Rig.name = sys.argv[3]
with Rig("s", 1, guests=1, vdp="lldpad") as rig:
    rig.wait_up()
    spaces = [rig.bench.namespace.holder.pid, rig.o.space.pid, rig.s.spaces[0].pid]
    print(*spaces, rig.o.child.process.pid, rig.s.child.process.pid, rig.o.lldpad.child.process.pid, flush=True)
    time.sleep(60)
"""

    def try_end(self, number):
        with subprocess.Popen([sys.executable, "-c", self.CODE, *sys.path[:2], Rig.name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              start_new_session=True) as runner:
            pids = [int(p) for p in runner.stdout.readline().split()]
            self.assertEqual(len(pids), 6)
            runner.send_signal(number)
            runner.wait(20)
        deadline = time.monotonic() + 10
        while left := [p for p in pids if os.path.exists(f"/proc/{p}")]:
            self.assertLess(time.monotonic(), deadline, f"left: {left}")
            time.sleep(0.05)

    def test_interrupt(self):
        self.try_end(signal.SIGINT)

    def test_kill(self):
        self.try_end(signal.SIGKILL)


def names(suite):
    """The names of all tests, as unittest's command line takes them."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from names(test)
        else:
            yield test.id().removeprefix("__main__.")


def start(group):
    return subprocess.Popen([sys.executable, __file__, *group], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_all():
    """All tests, several at a time: they wait most of the time. [passed, failed, skipped]."""
    tests = list(names(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])))
    total = [0, 0, 0]
    running = [start(tests[i::AT_ONCE]) for i in range(AT_ONCE)]
    try:
        for process in running:
            text = process.communicate()[0]
            found = re.search(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", text, re.M)
            counts = [int(n or 0) for n in found.groups()] if found else [0, 1, 0]
            total = [a + b for a, b in zip(total, counts)]
            if counts[1]:
                print(text)
    finally:
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait()
    return total


def main(words):
    """Ends with the line that tests/total.py adds up."""
    if NO_TAP:
        print(f"the bridge is not tested: {NO_TAP}")
    if words:
        result = unittest.main(exit=False, verbosity=0).result
        failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
        counts = [result.testsRun - failed - len(result.skipped), failed, len(result.skipped)]
    else:
        counts = run_all()
    print(f"{counts[0]} passed, {counts[1]} failed" + (f", {counts[2]} skipped" if counts[2] else ""))
    return 1 if counts[1] or not sum(counts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
