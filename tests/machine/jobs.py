"""Programs side by side: each one's output is shown in one piece when it has ended.

Invariant: of a lane at most so many run at a time, begun in the order given; lanes know nothing of each other; no program outlives this
process, however that ends (parent-death signal).
"""
import os
import selectors
import subprocess
import tempfile

import paths

MACHINE_MIB = 2048      # more than a machine of any scenario takes


class Job:
    def __init__(self, name, argv):
        self.name = name
        self.out = tempfile.TemporaryFile()
        guard = [paths.tool("setpriv", "util-linux"), "--pdeathsig", "TERM", "--"]
        self.process = subprocess.Popen(guard + argv, stdin=subprocess.DEVNULL, stdout=self.out, stderr=subprocess.STDOUT)
        self.pidfd = os.pidfd_open(self.process.pid)

    def output(self):
        self.out.seek(0)
        return self.out.read().decode(errors="replace")

    def close(self):
        """Ends it if it has not; it may take its time to clean up."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        os.close(self.pidfd)
        self.out.close()


class Lane:
    """Programs of which so many run at a time: (name, argv) in order."""

    def __init__(self, programs, at_a_time):
        self.waiting = list(programs)
        self.at_a_time = at_a_time
        self.running = {}

    def fill(self, selector, begun):
        while self.waiting and len(self.running) < self.at_a_time:
            begun(self.waiting[0][0])
            job = Job(*self.waiting.pop(0))
            self.running[job.pidfd] = job
            selector.register(job.pidfd, selectors.EVENT_READ, self)


def run(lanes, begun, ended):
    """Calls begun(name), and ended(name, status, output) as they end, in whatever order that is."""
    with selectors.DefaultSelector() as selector:
        try:
            while any(lane.waiting or lane.running for lane in lanes):
                for lane in lanes:
                    lane.fill(selector, begun)
                for key, _ in selector.select():
                    selector.unregister(key.fd)
                    job = key.data.running[key.fd]
                    job.process.wait()
                    ended(job.name, job.process.returncode, job.output())
                    key.data.running.pop(key.fd).close()
        finally:
            for lane in lanes:
                for job in lane.running.values():
                    job.close()


def machines(wanted):
    """How many machines at a time: as many as wanted, but no more than there is memory for."""
    with open("/proc/meminfo", encoding="ascii") as f:
        free = next(int(line.split()[1]) // 1024 for line in f if line.startswith("MemAvailable:"))
    return max(1, min(wanted, free // MACHINE_MIB))
