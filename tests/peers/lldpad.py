"""lldpad, Debian's EVB bridge or station, as a real VDP peer at interfaces of one namespace; unpacked by tests/setup.sh, not installed.

What it needs (measured): its role in the configuration before it starts; the interfaces there before it starts; a network
namespace and a /dev/shm of its own. It does not choose VIDs, and refuses nothing but a UUID that begins with eight zero bytes (as a lack of
resources).
"""
import os
import re
import subprocess
import time
from pathlib import Path

import paths
import processes

ROOT = paths.BUILD / "lldpad"
START = 10.0    # seconds until it answers its tool


def binary(name):
    found = next((ROOT / d / name for d in ("usr/sbin", "sbin", "usr/bin") if (ROOT / d / name).exists()), None)
    if not found:
        raise paths.Missing(f"{name} is not unpacked in {ROOT}: run tests/setup.sh")
    return str(found)


def environment():
    libraries = [str(ROOT / d) for d in (paths.LIB, paths.LIB.removeprefix("usr/"))]
    return dict(os.environ, LD_LIBRARY_PATH=":".join(libraries))


NAMES = {"rka": "vdprka", "rwd": "vdprwd", "rte": "ecprte", "retries": "ecpretries"}     # frames.Evb's fields: lldpad's


def configuration(interfaces, role, evb):
    own = "".join(f" {NAMES[k]} = {v};" for k, v in evb.items())
    ports = "".join(f'  {i} : {{ adminStatus = 3;\n    tlvid0080c20d : {{ enableTx = true; evbmode = "{role}"; evbrrcap = true;{own} }}; }};\n'
                    for i in interfaces)
    return f"nearest_customer_bridge :\n{{\n{ports}}};\n"


class Lldpad:
    """
    enter(argv): the command that runs argv in the namespaces. role: "bridge" or "station". directory: for its files. evb: its times, by the
    names of NAMES.
    """

    def __init__(self, enter, interfaces, role, directory, evb=None, name="lldpad"):
        self.enter, self.interfaces, self.role, self.name, self.evb_settings = enter, interfaces, role, name, evb or {}
        self.directory = Path(directory)
        self.child = None
        self.log = self.directory / f"{name}.log"
        self.log.unlink(missing_ok=True)

    def start(self):
        config = self.directory / f"{self.name}.conf"
        config.write_text(configuration(self.interfaces, self.role, self.evb_settings))     # it writes into its file: a fresh one each time
        argv = self.enter([binary("lldpad"), "-p", "-t", "-V", "7", "-f", str(config)])
        self.child = processes.Child(self.name, argv, cwd=self.directory, log=self.log, env=environment())
        deadline = time.monotonic() + START
        while self.tool("lldptool", "-ping", check=False).returncode:
            if self.child.ended() or time.monotonic() > deadline:
                raise RuntimeError(self.child.describe())
            time.sleep(0.05)

    def stop(self, hard=False):
        """hard: as by a power cut; else it says good-bye."""
        if self.child:
            if not hard and not self.child.ended():
                self.child.process.terminate()
                try:
                    self.child.process.wait(5)
                except subprocess.TimeoutExpired:
                    pass
            self.child.stop()
            self.child = None

    def restart(self, hard=True):
        self.stop(hard)
        subprocess.run(self.enter([binary("lldpad"), "-s"]), env=environment(), check=False, capture_output=True)
        self.start()

    def tool(self, name, *words, check=True):
        """lldptool or vdptool; its words and output are in the log."""
        done = subprocess.run(self.enter([binary(name), *words]), env=environment(), capture_output=True, text=True, timeout=30)
        if check and done.returncode:
            raise RuntimeError(f"{name} {' '.join(words)}: status {done.returncode}: {done.stdout} {done.stderr}")
        return done

    def bridge_state(self, interface):
        """The last state of its bridge state machine at the interface, from its log: "WAITCMD" holds an association; None: never had one."""
        found = re.findall(rf"^vdp22br_change_state:{interface} state change \S+ -> VDP22_BR_(\w+)", self.log.read_text(errors="replace"), re.M)
        return found[-1] if found else None

    def wait_bridge_state(self, interface, state, limit=30.0):
        """Until it is in that state, which a message of its log says: a moment after the frame that belongs to it."""
        deadline = time.monotonic() + limit
        while (last := self.bridge_state(interface)) != state:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: expected state {state} at {interface} within {limit:.0f} s, saw {last} last")
            time.sleep(0.05)

    def neighbour(self, interface):
        """The last LLDPDU that it has of the other side, as text."""
        return self.tool("lldptool", "-t", "-n", "-i", interface, "-g", "ncb", check=False).stdout

    def evb(self, interface):
        """What lldptool says of the EVB TLV at the interface."""
        return self.tool("lldptool", "-t", "-i", interface, "-g", "ncb", "-V", "evb", check=False).stdout

    def set_vsi(self, interface, mode, uuid, mac, vid):
        """As a station: a VSI's new mode ("assoc", "deassoc", "preassoc"). Returns what vdptool printed."""
        return self.tool("vdptool", "-T", "-i", interface, "-W", "-V", "assoc", "-c", f"mode={mode}", "-c", "mgrid2=blabla", "-c", "typeid=5",
                         "-c", "typeidver=1", "-c", f"uuid={uuid}", "-c", "hints=none", "-c", f"filter={vid}-{mac}", check=False)
