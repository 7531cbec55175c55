"""Programs side by side: each one's output is shown in one piece when it has ended.

Invariant: at most `jobs` run at a time, begun in the order given; none outlives this process, however that ends (parent-death signal).
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


def run(programs, jobs, begun, ended):
    """programs: (name, argv) in order. Calls begun(name), and ended(name, status, output) as they end, in whatever order that is."""
    waiting, running = list(programs), {}
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    begun(waiting[0][0])
                    job = Job(*waiting.pop(0))
                    running[job.pidfd] = job
                    selector.register(job.pidfd, selectors.EVENT_READ)
                for key, _ in selector.select():
                    selector.unregister(key.fd)
                    job = running[key.fd]
                    job.process.wait()
                    ended(job.name, job.process.returncode, job.output())
                    running.pop(key.fd).close()
        finally:
            for job in running.values():
                job.close()


def machines(wanted):
    """How many machines at a time: as many as wanted, but no more than there is memory for."""
    with open("/proc/meminfo", encoding="ascii") as f:
        free = next(int(line.split()[1]) // 1024 for line in f if line.startswith("MemAvailable:"))
    return max(1, min(wanted, free // MACHINE_MIB))
