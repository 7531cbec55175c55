"""A machine: started, watched, talked to, and ended without leaving anything behind.

    with Machine(Options(disk="build/image/nestling.img", cpus=2), "build/run/example") as m:
        m.expect(r"\\[L0\\] ready")
        m.in_network(["ping", "-c", "1", "10.0.0.2"])
        code = m.wait()

Invariant: the console is read all the time by a thread of its own, so a busy test never stops the machine; each way in
which a part of the machine can end is told apart from the guest's own end (InfrastructureError against an exit code).
Time limits exist only to end a hang.
"""
import fcntl
import os
import pty
import re
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import commands
import console
import mailbox
import network
import paths
import processes
import qmp

HANG = 120.0    # seconds without the expected line: the machine hangs


class InfrastructureError(Exception):
    """The machine itself failed, not what runs on it."""


class Hang(Exception):
    """What was waited for did not come."""


class Ended(Exception):
    """The machine ended while a line was waited for."""


class Machine:
    def __init__(self, options, run_dir, echo=None):
        """echo: called with each console line as it comes (not with reports)."""
        options.check()
        self.options = options
        self.dir = Path(run_dir).resolve()
        self.echo = echo
        self.lines = []             # all console lines so far, without reports
        self.position = 0           # of the next line that expect() looks at
        self.reports = console.Reports()
        self.result = None          # exit code of a guest that ended by port F4
        self.failure = None         # else why the machine ended: an exception
        self.ended = False
        self.changed = threading.Condition()
        self.children = []
        self.fds = []
        self.namespace = self.watcher = self.mailbox = None
        self.without_tap = None     # why the network is the small peer's and not Linux's
        self.events = None          # QEMU's own, where QEMU is the whole machine
        self.monitor = qmp.Monitor(self.dir)

    # --- start -------------------------------------------------------------------------------------------------------

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
        if self.options.kind == "kvm" and (reason := commands.kvm_missing()):
            raise InfrastructureError(f"no KVM with nested VMX: {reason}")
        self.prepare_directory()
        self.ram_fd = self.memory_file("ram", self.options.memory << 20)
        self.mailbox_fd = self.memory_file("mailbox", mailbox.SIZE)
        self.mailbox = mailbox.Mailbox(self.mailbox_fd)
        self.start_network()
        self.watcher = processes.Watcher()
        self.open_console()
        self.log = open(self.dir / "console.log", "w", encoding="utf-8")
        if self.options.kind == "cosim":
            self.start_cosim()
        elif self.options.kind == "bochs":
            self.start_bochs({"MAILBOX_FD": self.mailbox_fd, "RESETS": self.options.resets}, [self.mailbox_fd])
        else:
            self.start_qemu()
        for child in self.children:
            self.watcher.add(child.pidfd, lambda c=child: self.child_ended(c))
        self.watcher.start()

    def prepare_directory(self):
        self.dir.mkdir(parents=True, exist_ok=True)
        self.lock = os.open(self.dir, os.O_RDONLY | os.O_DIRECTORY)
        self.fds.append(self.lock)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InfrastructureError(f"another machine is running in {self.dir}") from None
        for name in ("console.log", "qemu.log", "bochs.log", "bochs.out", "cosim.log", "report.json", "packets.pcap",
                     "peer.log", "qmp.sock", "wire.qemu", "wire.peer", "console.fifo", "console.in", "disk.redolog"):
            (self.dir / name).unlink(missing_ok=True)

    def memory_file(self, name, size):
        fd = os.memfd_create(name)
        os.ftruncate(fd, size)
        self.fds.append(fd)
        return fd

    def start_network(self):
        self.without_tap = network.tap_possible()
        wants_tap = self.options.kind != "bochs" and self.options.nic != "none"
        try:
            self.namespace = network.Namespace(tap=wants_tap and not self.without_tap, mtu=self.options.mtu)
        except network.NoNetwork as e:
            self.without_tap = str(e)
        self.tap = wants_tap and not self.without_tap
        if wants_tap and self.without_tap:
            print(f"no tap device ({self.without_tap}): 10.0.0.1 is a small program that answers ARP, ping and UDP "
                  "echo, not Linux", file=sys.stderr)
            self.spawn("peer", [sys.executable, str(Path(__file__).with_name("wire_peer.py"))])

    def open_console(self):
        """A FIFO, read before it is written, and held open by us for writing too so that it never reports an end."""
        path = self.dir / "console.fifo"
        os.mkfifo(path)
        self.console_fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.fds.append(self.console_fd)
        os.mkfifo(self.dir / "console.in")
        self.input_fd = os.open(self.dir / "console.in", os.O_RDWR | os.O_NONBLOCK)
        self.fds.append(self.input_fd)
        self.assembler = console.Lines()
        self.watcher.add(self.console_fd, self.read_console)

    def spawn(self, name, argv, **kwargs):
        if self.namespace:
            argv = self.namespace.enter(argv)
        env = kwargs.pop("env", dict(os.environ, TMPDIR=str(self.dir)))
        child = processes.Child(name, argv, cwd=self.dir, log=self.dir / f"{name}.log", env=env, **kwargs)
        self.children.append(child)
        return child

    def start_cosim(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            self.spawn("qemu", commands.cosim_qemu(self.options, self.ram_fd, self.mailbox_fd, ours.fileno(), self.tap),
                       pass_fds=[self.ram_fd, self.mailbox_fd, ours.fileno()])
            self.start_bochs({"JOINED": 1, "RAM_FD": self.ram_fd, "MAILBOX_FD": self.mailbox_fd,
                              "DOORBELL_FD": theirs.fileno(), "RESETS": self.options.resets,
                              "PACED": int(self.options.paced)},
                             [self.ram_fd, self.mailbox_fd, theirs.fileno()])

    def start_qemu(self):
        self.events = qmp.Events()
        with self.events.qemus as theirs:
            self.spawn("qemu", commands.qemu(self.options, self.ram_fd, self.tap) + self.events.arguments(),
                       pass_fds=[self.ram_fd, theirs.fileno()])
        self.watcher.add(self.events.socket.fileno(), self.read_events)

    def start_bochs(self, settings, fds):
        """Bochs draws its screen on a terminal: it gets one, and what it draws is thrown away."""
        paths.built("machine/libbx_nestling.so", "the Bochs plugin")
        (self.dir / "bochsrc").write_text(commands.bochsrc(self.options))
        screen, terminal = pty.openpty()
        self.fds.append(screen)
        os.set_blocking(screen, False)
        self.watcher.add(screen, lambda: self.read_screen(screen))
        try:
            self.spawn_bochs(settings, fds, terminal)
        finally:
            os.close(terminal)

    def spawn_bochs(self, settings, fds, terminal):
        argv = commands.bochs()
        if self.namespace:
            argv = self.namespace.enter(argv)
        self.children.append(processes.Child("bochs", argv, cwd=self.dir, log=self.dir / "bochs.out",
                                             env=commands.bochs_environment(dict(settings, WITHOUT_VMX=self.options.vmx_without())),
                                             pass_fds=fds, stdin=terminal,
                                             stdout=terminal))

    # --- the watcher's thread ----------------------------------------------------------------------------------------

    def read_screen(self, fd):
        try:
            if os.read(fd, 65536):
                return
        except BlockingIOError:
            return
        except OSError:       # EIO: Bochs has closed its end
            pass
        self.watcher.remove(fd)

    def read_events(self):
        if not self.events.read():
            self.watcher.remove(self.events.socket.fileno())
        resets = sum(e == "RESET" and d.get("guest", False) for e, d in self.events.seen)
        if resets > self.options.resets and not self.ended:
            self.finish(None, Ended(f"the machine reset itself (reset {resets}, allowed {self.options.resets})"))

    def read_console(self):
        try:
            while data := os.read(self.console_fd, 65536):
                self.add_lines(self.assembler.feed(data))
        except BlockingIOError:
            pass

    def add_lines(self, lines):
        with self.changed:
            for line in lines:
                self.log.write(line + "\n")
                if self.reports.take(line):
                    continue
                self.lines.append(line)
                if self.echo:
                    self.echo(line)
            self.log.flush()
            self.changed.notify_all()

    def child_ended(self, child):
        """One part has ended: that is the end of the machine. The verdict comes first, then the others are stopped."""
        self.watcher.remove(child.pidfd)
        child.ended()
        if self.ended:
            return
        self.finish(*self.verdict(child))

    def finish(self, result, failure):
        self.read_console()
        self.add_lines(self.assembler.flush())
        with self.changed:
            self.result, self.failure, self.ended = result, failure, True
            self.changed.notify_all()

    def verdict(self, child):
        """(exit code, exception) for the machine, `child` having ended first."""
        kind, code, resets, text = self.mailbox.end()
        if kind == mailbox.END_EXIT:
            return code, None
        if kind == mailbox.END_RESET:
            return None, Ended(f"the machine reset itself (reset {resets}, allowed {self.options.resets}): {text}")
        if kind == mailbox.END_POWEROFF:
            return None, Ended(text)
        if kind == mailbox.END_ERROR:
            return None, InfrastructureError(f"{text} (log: {self.dir / 'cosim.log'})" + self.dead_others(child))
        status = child.process.poll()
        if self.events and child.name == "qemu":
            self.events.read()
            reason = self.events.reason("SHUTDOWN")
            if reason == "guest-shutdown" and status & 1:
                return status >> 1, None      # isa-debug-exit makes (v << 1) | 1 of a byte v
            if reason and reason.startswith("guest"):
                return None, Ended(f"the machine shut down: {reason}")
        return None, InfrastructureError(child.describe())

    def dead_others(self, child):
        """What is to be said of the other parts, should one of them be the cause."""
        for other in self.children:
            if other is not child and select.select([other.pidfd], [], [], 0.1)[0]:
                return "; " + other.describe()
        return ""

    # --- what tests use ----------------------------------------------------------------------------------------------

    def expect(self, pattern, limit=HANG):
        """Waits for a console line that matches; lines before it are passed over. Returns the match."""
        deadline = time.monotonic() + limit
        with self.changed:
            while True:
                while self.position < len(self.lines):
                    line = self.lines[self.position]
                    self.position += 1
                    if match := re.search(pattern, line):
                        return match
                if self.ended:
                    raise self.failure or Ended(f"the machine ended with code {self.result} before /{pattern}/")
                if not self.changed.wait(deadline - time.monotonic()):
                    raise Hang(f"no line /{pattern}/ within {limit:.0f} s; last: {self.last_line()}")

    def follow(self, limit=HANG):
        """Yields console lines until the machine ends; `limit` is for the time between two lines."""
        while True:
            with self.changed:
                while self.position == len(self.lines) and not self.ended:
                    if not self.changed.wait(limit):
                        raise Hang(f"no line within {limit:.0f} s; last: {self.last_line()}")
                if self.position == len(self.lines):
                    return
                line = self.lines[self.position]
                self.position += 1
            yield line

    def wait(self, limit=HANG):
        """Waits for the machine's end; returns the byte written to port F4."""
        deadline = time.monotonic() + limit
        with self.changed:
            while not self.ended:
                if not self.changed.wait(deadline - time.monotonic()):
                    raise Hang(f"the machine did not end within {limit:.0f} s; last: {self.last_line()}")
        if self.failure:
            raise self.failure
        return self.result

    def send_line(self, text):
        """Types a line at the machine's COM1. What the guest has not read yet waits, up to 64 KiB."""
        data = text.encode() + b"\r"
        try:
            done = os.write(self.input_fd, data)
        except BlockingIOError:
            done = 0
        if done != len(data):
            raise InfrastructureError("the console's input is full: nobody reads it")

    def last_line(self):
        return repr(self.lines[-1]) if self.lines else "nothing at all"

    def read_memory(self, address, size):
        """The machine's RAM at a physical address, as it is now."""
        return os.pread(self.ram_fd, size, address)

    def write_memory(self, address, data):
        os.pwrite(self.ram_fd, data, address)

    def qmp(self, name, /, **arguments):
        return self.monitor.command(name, **arguments)

    def set_link(self, up, nic=0):
        self.qmp("set_link", name=f"nic{nic}", up=up)

    def in_network(self, argv, **kwargs):
        """Runs a program of the host at the other end of the wire; needs the tap."""
        if not self.tap:
            raise InfrastructureError(f"no tap device: {self.without_tap}")
        kwargs.setdefault("check", True)
        return subprocess.run(self.namespace.enter([str(a) for a in argv]), **kwargs)

    def start_in_network(self, argv, **kwargs):
        """The same in the background; the caller waits for it."""
        return subprocess.Popen(self.namespace.enter([str(a) for a in argv]), **kwargs)

    def hardware_exits(self, cpu=0):
        """{basic exit reason: VM exits so far}, counted by Bochs (kinds cosim and bochs)."""
        return self.mailbox.hardware_exits(cpu)

    def all_hardware_exits(self):
        """The same of all CPUs; None where there is no Bochs to count."""
        if self.options.kind not in ("cosim", "bochs"):
            return None
        return [self.mailbox.hardware_exits(c) for c in range(self.options.cpus)]

    # --- the end -----------------------------------------------------------------------------------------------------

    def stop(self):
        """Ends everything. Safe at any point, also when start() failed half-way."""
        self.ended = True
        for child in self.children:
            if not child.ended():
                child.process.kill()
        if self.watcher:
            self.watcher.stop()
            self.watcher = None
        if hasattr(self, "log"):
            self.read_console()
            self.add_lines(self.assembler.flush())
            self.log.close()
            self.reports.write(self.dir / "report.json", hardware_exits=self.all_hardware_exits())
            del self.log
        for child in self.children:
            child.stop()
        self.children = []
        if self.namespace:
            self.namespace.close()
            self.namespace = None
        if self.events:
            self.events.close()
        if self.mailbox:
            self.mailbox.close()
            self.mailbox = None
        for name in ("qmp.sock", "wire.qemu", "wire.peer", "console.fifo", "disk.redolog"):
            (self.dir / name).unlink(missing_ok=True)
        while self.fds:
            os.close(self.fds.pop())

