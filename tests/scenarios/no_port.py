"""The machine has no port: the guest that wants one runs without, and is told so by an error; the other completes."""


def check(m):
    m.expect(r"^\[L0\] nic: VM wired wants port0, but there are 0 ports: it runs without$")
    m.expect(r"^\[L0\] hand-off to first VM")
    m.expect(r"^\[wired\] FAIL echo-open")
    m.expect(r"^\[L0\] vm wired ended with code 1: exit port")
    m.position = 0
    m.expect(r"^\[plain\] guest: tscloop: 0 failed")
    m.expect(r"^\[L0\] vm plain ended with code 0: exit port")
