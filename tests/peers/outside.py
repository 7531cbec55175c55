"""What a scenario starts on the machine's wire: the controlling bridge (bridge.py), a Linux host and lldpad behind it, its log and its capture.

    with outside.Outside(m, svids=[100, 101]) as o: ...

m: a machine.Machine with a tap, or Bench below, which has a tap and no machine. Files, in the run's directory: bridge.jsonl (events),
bridge.pcap (the wire), lldpad.log, bridge.log.

Invariant: all that is started here ends with the `with`, and with the runner, however that ends; nothing is left in the system.
"""
import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(p) for p in (HERE, HERE.parent / "machine") if str(p) not in sys.path]

import capture      # noqa: E402
import lldpad       # noqa: E402
import network      # noqa: E402
import paths        # noqa: E402
import processes    # noqa: E402
from program import OutsideError, Program      # noqa: E402

SETUP = """
set -e
ip link set lo up
if [ -e /proc/sys/net/ipv6 ]; then
    echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
    echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
fi
mount -t tmpfs tmpfs /dev/shm
echo ready
exec cat
"""
TAGS = 64       # bytes that the wire carries beyond the guests' MTU


class Space:
    """A network namespace beside the tap's, with a /dev/shm of its own; it ends with our pipe, as network.Namespace does."""

    def __init__(self, namespace):
        argv = namespace.enter([paths.tool("unshare", "util-linux"), "--net", "--mount", "--propagation", "private", "sh", "-c", SETUP])
        self.user = "--user" in argv
        self.holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        if self.holder.stdout.readline() != b"ready\n":
            reason = self.holder.stderr.read().decode(errors="replace").strip()
            self.close()
            raise OutsideError(f"no namespace for the switch: {reason}")
        self.pid = self.holder.pid

    def enter(self, argv, mount=False):
        """mount: with its /dev/shm; then paths must be absolute."""
        options = ["--target", str(self.pid), "--net"] + (["--mount"] if mount else [])
        if self.user:
            options += ["--user", "--preserve-credentials"]
        return [paths.tool("nsenter", "util-linux"), *options, "--", *map(str, argv)]

    def run(self, argv, **kwargs):
        kwargs.setdefault("check", True)
        return subprocess.run(self.enter(argv), **kwargs)

    def close(self):
        for stream in (self.holder.stdin, self.holder.stdout, self.holder.stderr):
            stream.close()
        self.holder.wait()


class Bench:
    """A tap in a namespace, without a machine: what Outside needs of one."""

    def __init__(self, directory):
        self.dir = Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.namespace = network.Namespace(tap=True)

    def in_network(self, argv, **kwargs):
        kwargs.setdefault("check", True)
        return subprocess.run(self.namespace.enter([str(a) for a in argv]), **kwargs)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.namespace.close()


class Outside(Program):
    def __init__(self, m, svids=(), eports=(), switch="linux", vdp="lldpad", vlans=None, vids=None, evb=None, faults=(), first_ecid=0xFFE,
                 register_first=False, control_only=False, mtu=1500):
        """
        svids: of the S-channels; eports: MACs of the ports with E-TAG. switch: "linux" or "own". vdp: "lldpad", "own" (vdp.py) or
        "none". vlans: {port: VID of its untagged frames}, vids: {port: VID that VDP answers to VID 0}, both for "own". evb: fields
        of our EVB TLV, e.g. {"rka": 17}. faults: [{"name": ..., "count": ...}] from the start. first_ecid: the third one
        needs an extension field. register_first: controller.Controller. control_only: no data in the capture, for
        long runs.
        """
        super().__init__()
        self.m, self.vdp, self.switch = m, vdp, switch
        self.directory = Path(m.dir).resolve()
        self.names = [f"vp{s}" for s in svids] + [f"ve{i}" for i in range(len(eports))]
        self.pcap = self.directory / "bridge.pcap"
        self.config = {"svids": list(svids), "eports": list(eports), "switch": switch, "vdp": vdp, "vlans": vlans or {}, "vids": vids or {},
                       "evb": evb or {}, "faults": list(faults), "first_ecid": first_ecid, "register_first": register_first, "mtu": mtu + TAGS, "tap": network.TAP,
                       "host_mac": network.HOST_MAC, "capture": str(self.pcap), "control_only": control_only}
        self.space = self.lldpad = None

    # --- start and end -----------------------------------------------------------------------------------------------

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc):
        self.stop()

    def start(self):
        self.m.in_network(["ip", "addr", "flush", "dev", network.TAP])     # nobody but the bridge answers there
        self.space = Space(self.m.namespace)
        self.config["namespace"] = self.space.pid
        (self.directory / "bridge.log").unlink(missing_ok=True)
        argv = self.m.namespace.enter([sys.executable, str(HERE / "bridge.py"), json.dumps(self.config)])
        self.start_program(lambda: processes.Child("bridge", argv, cwd=self.directory, log=self.directory / "bridge.log",
                                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE), self.directory / "bridge.jsonl")
        control = [n + "c" for n in self.names] if self.vdp == "lldpad" else []
        self.space.run([sys.executable, HERE / "links.py", "br0" if self.switch == "linux" else "host0", network.HOST_ADDRESS,
                        network.HOST_MAC, *(self.names if self.switch == "linux" else []), *control])
        if self.vdp == "lldpad":
            self.lldpad = lldpad.Lldpad(lambda argv: self.space.enter(argv, mount=True), control, "bridge", self.directory,
                                         self.config["evb"])
            self.lldpad.start()

    def stop(self):
        if self.lldpad:
            self.lldpad.stop()
            self.lldpad = None
        self.stop_program()
        if self.space:
            self.space.close()
            self.space = None

    # --- what scenarios use ------------------------------------------------------------------------------------------

    def fault(self, name, count=None, port=None, depth=None, value=True):
        """Something goes wrong from now on (bridge.FAULTS), so many times or until clear()."""
        self.command("fault", name=name, count=count, port=port, depth=depth, value=value)

    def clear(self, name=None):
        self.command("clear", name=name)

    def restart(self, what="all"):
        """The bridge forgets all, as by a power cut; lldpad likewise. what: "pe-csp" or "vdp" for one of the two."""
        self.command("restart", what=what)
        if self.lldpad and what != "pe-csp":
            self.lldpad.restart()

    def change_ecid(self, port, depth=0, how="open"):
        """The port of that extender gets another E-CID (controller.Controller.change_ecid)."""
        self.command("change-ecid", port=port, depth=depth, how=how)

    def status(self):
        return self.command("status")

    def wait_status(self, what, look, limit=60.0):
        """Asks for the status until look(status) is true; that status."""
        deadline = time.monotonic() + limit
        while not look(status := self.status()):
            if time.monotonic() > deadline:
                raise OutsideError(f"expected {what} within {limit:.0f} s, saw {status}")
            time.sleep(0.05)
        return status

    def in_network(self, argv, **kwargs):
        """As of a machine: a program on the Linux host behind the bridge."""
        return self.space.run(argv, **kwargs)

    def start_in_network(self, argv, **kwargs):
        return subprocess.Popen(self.space.enter(argv), **kwargs)

    def control_frames(self, since=0, **fields):
        """Events of control frames that came from the machine."""
        return self.find("control-in", since, **fields)

    def check_captures(self, malformed=0):
        """Every frame of the capture is decoded by tshark and by our own codecs. Returns a summary."""
        self.flush()
        return capture.check(self.pcap, malformed)

    def one_speaker(self, port, restarts=0, keep=capture.KEEP):
        """capture.one_speaker for a port."""
        self.flush()
        return capture.one_speaker(self.pcap, **self.channel(port), restarts=restarts, keep=keep)

    def only_periodic(self, port, since, until, periods=None):
        """capture.only_periodic for a port; times as of time.time()."""
        self.flush()
        return capture.only_periodic(self.pcap, since, until, **self.channel(port), periods=periods)

    def not_periodic(self, port, since, until, periods=None):
        """The same, counted."""
        self.flush()
        return capture.not_periodic(self.pcap, since, until, **self.channel(port), periods=periods)

    def channel(self, port):
        """What is a port's own on the wire."""
        if port.startswith("vp"):
            return {"svid": int(port[2:])}
        mac = capture.frames.mac_bytes(self.config["eports"][int(port[2:])])
        return {"ecids": {e["ecid"] for e in self.find("ecid", port=port)}, "mac": mac}

    def flush(self):
        if self.child:
            self.command("flush")
