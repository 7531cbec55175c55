"""The main scenario: bundles for any depth, traffic with the guest, the table of counts.

Invariant: a run is good only if every check of the traffic held at both ends; the table shows what the levels reported,
nothing computed from expectations.
"""
import json
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS / "machine"))

import canary   # noqa: E402
import cpio     # noqa: E402
import paths    # noqa: E402
from machine import Ended   # noqa: E402

GUEST_IP, HOST_IP, PORT = "10.0.0.2", "10.0.0.1", 5000
GUEST_MIB, LEVEL_MIB = 64, 128
HEAD, TRACE = "on_last_exit = exit", "\ntrace = on"


def section(name, kernel, memory, cpus, cmdline="", modules=(), nics=(), vmx=True):
    lines = [f"[vm {name}]", f"kernel = {kernel}", f"memory = {memory}M", "cpus = " + " ".join(map(str, cpus))]
    if cmdline:
        lines.append(f"cmdline = {cmdline}")
    lines += [f"module = {m}" for m in modules]
    lines += [f"nic = {n}" for n in nics]
    if vmx is not True:
        lines.append(f"vmx = {vmx or 'off'}")
    return "\n".join(lines) + "\n"


class Guest:
    """What runs innermost: ours, or a kernel of the user's."""

    def __init__(self, kernel=None, cmdline="", modules=(), memory=GUEST_MIB, cpus=(0,), mac="52:54:00:00:00:02", vmx=True,
                 name="guest", canary=False, mode="passthrough", emulated=False, level=0, vlan=0, posting=True, vdp=()):
        """
        mac "": no NIC. mode: in which its port starts; emulated: where it stays. level: where it runs, 0 = innermost. vlan: 0 = none.
        posting False: no self-armed posting; "L0", "L1" ...: this instance alone refuses it. vdp: the nic option of instance 0, 1 ... ("": none).
        canary: one more module, of known contents (canary.py).
        """
        self.kernel = Path(kernel) if kernel else paths.built("guest.elf", "the guest")
        self.cmdline, self.memory, self.cpus, self.mac = cmdline, memory, list(cpus), mac
        self.modules = [Path(m) for m in modules]
        self.vmx, self.name, self.canary, self.level = vmx, name, canary, level
        self.nic_words = "mode=emulation passthrough=off" if emulated else f"mode={mode}"
        if vlan:
            self.nic_words += f" vlan={vlan}"
        self.posting, self.vdp = posting, list(vdp)

    def files(self):
        return dict({p.name: p.read_bytes() for p in [self.kernel, *self.modules]},
                    **({canary.FILE: canary.content()} if self.canary else {}))

    def nic(self, instance):
        """What instance n (0: the outermost) says about the port, behind its name."""
        refuses = self.posting is False or self.posting == f"L{instance}"
        vdp = self.vdp[instance] if instance < len(self.vdp) else ""
        return f"{self.nic_words}{' posting=off' if refuses else ''}{f' vdp={vdp}' if vdp else ''} mac={self.mac}"

    def section(self, port, instance=0):
        modules = [m.name for m in self.modules] + ([canary.FILE] if self.canary else [])
        nics = [f"port{port} {self.nic(instance)}"] if self.mac else []
        return section(self.name, self.kernel.name, self.memory, self.cpus, self.cmdline, modules, nics, self.vmx)


def bundle(depth, guests, cpus=1, head=HEAD, inner_vmx=True):
    """
    The bundle of L0 as {name: bytes}: depth 1 is the guest (or a list of guests) alone, each further level one Nestling around it.
    A guest with a level of its own runs there, beside the inner Nestling. Guests with a MAC get port0, port1 ... of their level in turn,
    after those that the inner has for its guests. head: lines of section [nestling], at every level. inner_vmx: the
    inner Nestlings' key vmx: "pages", "plain".
    """
    guests = guests if isinstance(guests, list) else [guests]
    files, nics, memory = {}, [], 0     # of the inner at the level below: its bundle, the guests whose ports it needs
    for level in range(depth, 0, -1):
        here = [g for g in guests if (g.level or depth) == level]
        text = f"[nestling]\n{head}\n"
        ports = list(nics)
        if level < depth:
            memory = (memory + LEVEL_MIB + 1) // 2 * 2
            text += section("inner", "nestling.elf", memory, range(cpus), "", ["inner.cpio"],
                            [f"port{i} {g.nic(level - 1)}" for i, g in enumerate(nics)], inner_vmx)
            files = {"inner.cpio": cpio.archive(files), "nestling.elf": paths.built("nestling.elf", "Nestling").read_bytes()}
        for g in here:
            text += g.section(len(ports) if g.mac else None, level - 1)
            ports += [g] if g.mac else []
            files.update(g.files())
        nics = ports
        memory += sum(g.memory for g in here) + sum(map(len, files.values())) // (1 << 20)
        files["nestling.cfg"] = text.encode()
    return files


GUEST_KEYS = {"kernel", "cmdline", "modules", "memory", "cpus", "mac", "vmx", "name", "canary", "mode", "emulated", "level", "vlan", "posting", "vdp"}


def guest_of(stanza):
    if unknown := set(stanza) - GUEST_KEYS:
        raise ValueError(f"spine: unknown key {', '.join(sorted(unknown))}")
    fields = dict(stanza)
    if "kernel" in fields:
        fields["kernel"] = paths.BUILD / fields["kernel"]
    fields["modules"] = [paths.BUILD / m for m in fields.get("modules", [])]
    return Guest(**fields)


def bundle_of(stanza):
    """
    The bundle for the key `spine` of a scenario: depth; levels_cpus: CPUs of the levels between; inner_vmx; fault_injection, trace: on
    at every level; svid: an external switch, and the S-VIDs of its ports ("-": none); and the guest's keys, or guests: a list of tables
    of them.
    """
    own = {k: v for k, v in stanza.items() if k not in ("depth", "levels_cpus", "guests", "fault_injection", "inner_vmx", "trace", "svid")}
    guests = [guest_of(dict(own, **g)) for g in stanza.get("guests", [{}])]
    head = HEAD + ("\nfault_injection = on" if stanza.get("fault_injection") else "") + (TRACE if stanza.get("trace") else "")
    files = bundle(stanza.get("depth", 1), guests, stanza.get("levels_cpus", 1), head, stanza.get("inner_vmx", True))
    if "svid" in stanza:
        files["nestling.cfg"] += f"[nic 0]\nswitch = external\nsvid = {' '.join(map(str, stanza['svid']))}\n".encode()
    return files


def good_end(m, limit=300):
    """The machine ends by itself, with code 0."""
    try:
        code = m.wait(limit)
    except Ended as e:
        raise AssertionError(f"expected exit code 0, saw: {e}") from None
    assert code == 0, f"expected exit code 0, saw {code}"


# --- traffic ---------------------------------------------------------------------------------------------------------

class TrafficError(Exception):
    """What was expected of the traffic, and what was seen."""


def ping(m, count=5, ip=GUEST_IP):
    """One at a time: of several, ping gives up the last after twice the time that the first took, however long it may wait."""
    good = 0
    for _ in range(count):
        done = m.in_network(["ping", "-n", "-c", 1, "-W", "60", ip], check=False, capture_output=True, text=True)
        good += done.returncode == 0 and "1 received" in done.stdout
    if good != count:
        raise TrafficError(f"ping {ip}: expected {count} answers, saw {good}")
    return f"{count} pings sent, {good} answered"


def udp_echo(m, datagrams=200, ip=GUEST_IP):
    """Numbered datagrams out and back by the host's own UDP stack; then the word that ends the echo workload."""
    code = f"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(60)
good = 0
for i in range({datagrams}):
    data = (b"%06d" % i) * (1 + i % 200)
    s.sendto(data, ("{ip}", {PORT}))
    good += s.recvfrom(2048)[0] == data
s.sendto(b"stop", ("{ip}", {PORT}))
s.recvfrom(2048)  # its echo: a closed socket would answer it with ICMP, one more frame
print(good)
"""
    done = m.in_network([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    if done.stdout.strip() != str(datagrams):
        reason = (done.stdout.strip() or done.stderr.strip().splitlines()[-1:] or ["nothing"])
        raise TrafficError(f"UDP echo: expected {datagrams} equal datagrams back, saw {reason}")
    return datagrams


def start_blast(m, run_dir):
    out = open(Path(run_dir) / "blast.json", "w", encoding="utf-8")
    peer = m.start_in_network([sys.executable, str(TESTS / "peers" / "blast_peer.py"), "--ip", HOST_IP, "--port", PORT],
                              stdout=out, stderr=subprocess.STDOUT)
    return peer


def finish_blast(peer, run_dir, limit=300):
    try:
        status = peer.wait(limit)
    except subprocess.TimeoutExpired:
        peer.kill()
        peer.wait()
        raise TrafficError(f"blast: expected the peer to finish, saw it wait for {limit} s") from None
    text = (Path(run_dir) / "blast.json").read_text()
    if status:
        raise TrafficError(f"blast: expected every packet once and in order, saw (status {status}): {text.strip()[-600:]}")
    return json.loads(text.strip().splitlines()[-1])


# --- what the levels reported ------------------------------------------------------------------------------------------

def level_names(reports):
    """Outermost first, guests last."""
    return sorted(reports.levels, key=lambda n: (not n.split("/")[-1].startswith("L"), n.count("/")))


def counted(entry):
    return {k: v for k, v in entry.items() if isinstance(v, int) and k != "level"}


def by_phase(entries, kind):
    """{phase: {name: count}} in order of appearance."""
    phases = {}
    for e in entries:
        if e.get("kind") == kind and "phase" in e:
            sums = phases.setdefault(e["phase"], {})
            for name, n in counted(e).items():
                sums[name] = sums.get(name, 0) + n
    return phases
