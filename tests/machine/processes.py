"""Child processes of a machine, and the thread that watches them.

Invariant: every child dies with the runner, however the runner dies (parent-death signal, and for the namespace holder
the end of its input). A child's end is noticed at once (pidfd), never by asking from time to time.
"""
import os
import selectors
import signal
import subprocess
import threading

import paths


class Child:
    """One process; `log` receives its standard error (and output, unless that goes elsewhere)."""

    def __init__(self, name, argv, *, cwd, log, env=None, pass_fds=(), stdin=subprocess.DEVNULL, stdout=None):
        self.name = name
        self.log = log
        guard = [paths.tool("setpriv", "util-linux"), "--pdeathsig", "KILL", "--"]
        with open(log, "ab") as out:
            self.process = subprocess.Popen(guard + argv, cwd=cwd, env=env, pass_fds=pass_fds, stdin=stdin,
                                            stdout=stdout if stdout is not None else out, stderr=out,
                                            start_new_session=True)
        self.pidfd = os.pidfd_open(self.process.pid)

    def ended(self):
        return self.process.poll() is not None

    def describe(self):
        """How it ended, with the last words of its log."""
        status = self.process.poll()
        how = "is running" if status is None else f"ended with status {status}"
        if status is not None and status < 0:
            how = f"was ended by {signal.Signals(-status).name}"
        try:
            tail = self.log.read_text(errors="replace").strip().splitlines()[-3:]
        except OSError:
            tail = []
        return f"{self.name} {how}" + (": " + " | ".join(tail) if tail else "") + f" (log: {self.log})"

    def stop(self):
        if not self.ended():
            self.process.kill()
        self.process.wait()
        os.close(self.pidfd)


class Watcher(threading.Thread):
    """Calls handlers when file descriptors become readable."""

    def __init__(self):
        super().__init__(daemon=True)
        self.selector = selectors.DefaultSelector()
        self.wake_r, self.wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.selector.register(self.wake_r, selectors.EVENT_READ, None)
        self.failure = None

    def add(self, fd, handler):
        """To be called before start(), or by a handler."""
        self.selector.register(fd, selectors.EVENT_READ, handler)

    def remove(self, fd):
        self.selector.unregister(fd)

    def run(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    return
                key.data()

    def stop(self):
        os.write(self.wake_w, b"x")
        if self.is_alive():
            self.join()
        self.selector.close()
        os.close(self.wake_r)
        os.close(self.wake_w)
