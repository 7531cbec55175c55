"""The machine's network: a namespace of its own with the host's end of the NIC's wire.

The namespace belongs to one process that reads from a pipe of the runner's; when the runner goes, by whatever way, the
pipe ends, the process with it, and the namespace with the process: nothing can be left behind.
Inside, tap0 is 10.0.0.1/24; guests are 10.0.0.2 and up. Everything of the machine runs in this namespace.
"""
import os
import subprocess

import paths

HOST_ADDRESS = "10.0.0.1"
HOST_MAC = "02:00:00:00:00:01"
TAP = "tap0"

# IPv6 off: the kernel would send packets of its own accord.
SETUP = f"""
set -e
ip link set lo up
if [ -e /proc/sys/net/ipv6 ]; then
    echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
    echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
fi
if [ "$1" = tap ]; then
    ip tuntap add dev {TAP} mode tap
    ip link set {TAP} address {HOST_MAC} mtu "$2"
    ip addr add {HOST_ADDRESS}/24 dev {TAP}
    ip link set {TAP} up
fi
echo ready
exec cat
"""


class NoNetwork(Exception):
    pass


class Namespace:
    def __init__(self, tap=True, mtu=1500):
        command = [paths.tool("unshare", "util-linux"), "--net"]
        if os.geteuid() != 0:
            command += ["--user", "--map-root-user"]
        self.holder = subprocess.Popen(command + ["sh", "-c", SETUP, "sh", "tap" if tap else "none", str(mtu)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       start_new_session=True)
        if self.holder.stdout.readline() != b"ready\n":
            reason = self.holder.stderr.read().decode(errors="replace").strip()
            self.close()
            raise NoNetwork(reason)

    def enter(self, argv):
        """The command that runs argv inside."""
        options = ["--target", str(self.holder.pid), "--net"]
        if os.geteuid() != 0:
            options += ["--user", "--preserve-credentials"]
        return [paths.tool("nsenter", "util-linux")] + options + ["--"] + argv

    def close(self):
        self.holder.stdin.close()
        self.holder.stdout.close()
        self.holder.stderr.close()
        self.holder.wait()


def tap_possible():
    """Whether this host lets us make a tap device; else the reason."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun cannot be opened"
    return None
