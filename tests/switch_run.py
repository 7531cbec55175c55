"""`make run SCENARIO=switch`: a Linux ping runs through twenty switches, asked for at the consoles of the levels in turn.

Invariant: every request of ping is accounted for; a switch counts only when the guest says that it is done, while ping runs.
"""
import re
import subprocess
import sys
import threading

import spine

SWITCHES, BETWEEN = 20, 3          # switches; answers that ping has had since the one before
ROUND, INTERVAL = 25, "0.2"        # requests of one ping; seconds between them
LIMIT = 120
MODES = (("passthrough", "pass-through"), ("emulation", "emulation"))


class Ping(threading.Thread):
    """One ping after the other until `enough`; each ends by itself, so no request is under way when we count."""

    def __init__(self, m, show):
        super().__init__(daemon=True)
        self.m, self.show = m, show
        self.sent = self.answered = self.duplicates = 0
        self.enough = False
        self.news = threading.Condition()

    def run(self):
        while not self.enough:
            ping = self.m.start_in_network(["ping", "-n", "-O", "-c", str(ROUND), "-i", INTERVAL, "-W", "30", spine.GUEST_IP],
                                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for line in ping.stdout:
                self.take(line.rstrip())
            ping.wait()

    def take(self, line):
        with self.news:
            if "(DUP!)" in line:
                self.duplicates += 1
            elif "bytes from" in line:
                self.answered += 1
            elif sent := re.match(r"(\d+) packets transmitted", line):
                self.sent += int(sent[1])
            self.news.notify_all()
        if line:
            self.show(f"ping: {line}")

    def wait_for(self, answers):
        """Until so many more have come."""
        with self.news:
            wanted = self.answered + answers
            if not self.news.wait_for(lambda: self.answered >= wanted, LIMIT):
                raise spine.TrafficError(f"ping: expected answers, saw none for {LIMIT} s")


def commands(depth):
    """(console command, what the guest says then): the consoles of all levels in turn."""
    for i in range(SWITCHES):
        mode, said = MODES[i % 2]
        yield "@inner " * (i // 2 % depth) + f"port 0 mode {mode}", said


def gap_rows(reports):
    for e in (e for entries in reports.levels.values() for e in entries if e.get("guest") == "switch"):
        yield (f"  gap in instructions, to {e['to']}: {e['gap_min']} to {e['gap_max']}, mean {e['gap_sum'] // e['switches']} "
               f"({e['switches']} switches)")


def drive(m, depth, show):
    """The demonstration; returns the rows of its table, and whether nothing was lost."""
    m.expect(r"guest: echo: ready", LIMIT)
    ping, done = Ping(m, show), 0
    ping.start()
    for command, said in commands(depth):
        ping.wait_for(BETWEEN)
        m.send_line(command)
        if m.expect(rf"guest: nic: asked for {said}: (\w+)", LIMIT)[1] != "done":
            raise spine.TrafficError(f"the guest could not follow: {command}")
        done += 1
    ping.wait_for(BETWEEN)
    ping.enough = True
    ping.join(LIMIT)
    spine.udp_echo(m, 1)            # its last datagram ends the guest
    code = m.wait(LIMIT)
    good = code == 0 and ping.sent == ping.answered and not ping.duplicates
    rows = ["", f"ping through {done} switches:",
            f"  sent {ping.sent}, answered {ping.answered}, lost {ping.sent - ping.answered}, duplicates {ping.duplicates}, switches {done}"]
    return rows + list(gap_rows(m.reports)), good


def guest():
    return spine.Guest(cmdline=f"echo ip={spine.GUEST_IP} peer={spine.HOST_IP} port={spine.PORT}", mode="emulation")


def names(scenarios):
    """What SCENARIO= may be, a line each."""
    yield "switch: a Linux ping through twenty switches between emulation and pass-through"
    yield from (f"{s.label}: {s.spec.get('about', '')}" for s in scenarios)


def unknown(name, scenarios):
    print(f"SCENARIO={name}: there is no such scenario; there are", file=sys.stderr)
    print("\n".join("  " + line for line in names(scenarios)), file=sys.stderr)
    return 2
