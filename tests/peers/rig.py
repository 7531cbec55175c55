"""Guests without a machine: station.py on a tap with a bridge at the other end, for the tests of the peers."""
import json
import shutil
import subprocess
import sys

import outside
import paths
import processes
from outside import HERE, Bench, Outside, Space
from program import Program

MACS = ["52:54:00:00:00:02", "52:54:00:00:00:03"]
FAST = 14       # RKA: a keep-alive every 0.16 s
UP = "import sys; sys.path.insert(0, sys.argv[1]); import rawsock; rawsock.checksums_by_kernel(sys.argv[2])"


class Station(Program):
    """Two chains, gu0 and gu1, each with a guest of the name in a namespace of its own: 10.0.0.2, 10.0.0.3."""

    def __init__(self, bench, chains):
        super().__init__()
        self.spaces = []
        try:
            for chain in chains:
                self.spaces.append(Space(bench.namespace))
                chain["namespace"] = self.spaces[-1].pid
            argv = bench.namespace.enter([sys.executable, str(HERE / "station.py"), json.dumps({"tap": "tap0", "chains": chains})])
            self.start_program(lambda: processes.Child("station", argv, cwd=bench.dir, log=bench.dir / "station.log", stdin=subprocess.PIPE,
                                                       stdout=subprocess.PIPE), bench.dir / "station.jsonl")
            for number, (chain, space) in enumerate(zip(chains, self.spaces)):
                space.run([sys.executable, "-c", UP, HERE, chain["name"]])
                space.run(["ip", "addr", "add", f"10.0.0.{2 + number}/24", "dev", chain["name"]])
                space.run(["ip", "link", "set", chain["name"], "up"])
        except BaseException:
            self.close()
            raise

    def close(self):
        self.stop_program()
        for space in self.spaces:
            space.close()
        self.spaces = []


class Rig:
    """
    kind: "s" (S-channels 100, 101) or "e" (E-TAG ports). Further words: Outside's. Its files, logs and captures, stay in build/run/peers
    below `name`.
    """
    name = "rig"

    def __init__(self, kind="s", depth=1, guests=2, vdp="own", station_vdp=True, rka=FAST, **words):
        self.directory = paths.BUILD / "run" / "peers" / self.name
        self.svids = [100 + i for i in range(guests)] if kind == "s" else []
        macs = MACS[:guests]
        words.setdefault("evb", {"rka": rka})
        self.bench = self.o = self.s = None
        self.depth = depth
        self.chains = [{"name": f"gu{i}", "svid": self.svids[i] if self.svids else None, "mac": macs[i], "depth": depth, "rka": rka,
                        "vdp": station_vdp, "lldp": 1.0} for i in range(guests)]
        self.words = dict(words, svids=self.svids, eports=[] if self.svids else macs, vdp=vdp)

    def __enter__(self):
        try:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.bench = Bench(self.directory)
            self.o = Outside(self.bench, **self.words)
            self.o.__enter__()
            self.s = Station(self.bench, self.chains)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        if self.s:
            self.s.close()
        if self.o:
            self.o.stop()
        if self.bench:
            self.bench.__exit__()

    def wait_up(self, limit=20, since=0):
        """All extenders have an E-CID, all speakers are associated."""
        for chain in self.chains:
            for depth in range(self.depth):
                self.s.wait_event("own", limit, since, chain=chain["name"], depth=depth)
            if chain["vdp"]:
                self.s.wait_event("associated", limit, since, chain=chain["name"])

    def ping(self, source, address, count=2, *words):
        """Answers that a guest gets; source None: the host behind the bridge."""
        space = self.o.space if source is None else self.s.spaces[source]
        done = space.run(["ping", "-n", "-c", count, "-i", "0.05", "-W", "5", *words, address], check=False, capture_output=True, text=True)
        return done.stdout.count("bytes from")


__all__ = ["Rig", "Station", "outside"]
