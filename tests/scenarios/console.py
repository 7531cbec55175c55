"""The console: commands of a person at each level, and what a guest that does not read its input makes of 10,000 characters."""
import re

LINE = 125   # characters; a command has at most 128


def ask(m, command, *answers):
    m.send_line(command)
    return [m.expect(a, 30) for a in answers]


def flood(m):
    """The guest "quiet" never reads: what it does not take is refused at each level, and said."""
    before = len(m.lines)
    text = "@inner @quiet "
    for _ in range(10000 // LINE):
        m.send_line(text + "x" * (LINE - len(text)))
    ask(m, "@inner vms", r"^\[inner\] \[L1\] vm quiet: running")
    refused = [line for line in m.lines[before:] if "vm quiet does not read its console: the line is dropped" in line]
    assert refused, "expected lines for a guest that does not read to be refused, saw none"
    heard = {line.split("@quiet ")[1] for line in m.lines[before:] if re.match(r"\[inner\] \[L1\] > @quiet", line)}
    assert heard == {"x" * (LINE - len(text))}, f"expected whole lines at L1, saw {heard}"


def check(m):
    m.expect(r"\[guest\] guest: echo: ready", 300)
    ask(m, "help", r"^\[L0\] > help$", r"^\[L0\] vms: ", r"^\[L0\] kill VM: ", r"^\[L0\] ports: ", r"^\[L0\] @VM text: ")
    ask(m, "vms", r"^\[L0\] vm inner: running, \d+ MiB, 1 vCPU\(s\) on CPU 0, 1 port")
    ask(m, "ports", r"^\[L0\] port inner 0: \w+, wants \w+; below igb 0; MAC 52:54:00:00:00:02, link up; function open")
    ask(m, "@inner vms", r"^\[inner\] \[L1\] > vms$", r"^\[inner\] \[L1\] vm guest: running", r"^\[inner\] \[L1\] vm quiet: running")
    ask(m, "@inner ports", r"^\[inner\] \[L1\] port guest 0: \w+, wants \w+; below upstream 0; MAC 52:54:00:00:00:02, link up; function open")
    ask(m, "stats", r"^\[L0\] stats inner 0: rx \d+ packets")
    ask(m, "@inner stats", r"^\[inner\] \[L1\] stats guest 0: rx \d+ packets")
    ask(m, "exits", r"^\[L0\] exits of inner:.* CPUID \d+", r"^\[L0\] exits of inner's guests:")
    ask(m, "@inner exits guest", r"^\[inner\] \[L1\] exits of guest:.* VMCALL \d+")
    ask(m, "frobnicate", r"^\[L0\] there is no command frobnicate: try help$")
    ask(m, "kill", r"^\[L0\] usage: kill VM$")
    ask(m, "@nobody vms", r"^\[L0\] there is no VM nobody$")
    ask(m, "x" * 200, r"^\[L0\] console: line ignored: it is longer than 128 characters$")
    ask(m, "vmss\b", r"^\[L0\] > vms$")
    ask(m, "port inner 0 mode sideways", r"^\[L0\] usage: port \[VM\] N mode")
    ask(m, "@inner port guest 0 mode passthrough", r"^\[inner\] \[L1\] port guest 0: wants passthrough$")
    flood(m)
    ask(m, "@inner kill quiet", r"^\[inner\] \[L1\] vm quiet ended with code 254: killed at the console$")
    ask(m, "@inner vms", r"^\[inner\] \[L1\] vm guest: running")
    ask(m, "kill inner", r"^\[L0\] vm inner ended with code 254: killed at the console$", r"^\[L0\] no VM left$")
    code = m.wait(60)
    assert code == 254, f"expected exit code 254, saw {code}"
