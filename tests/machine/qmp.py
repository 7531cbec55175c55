"""QEMU's monitor: commands over the socket in the run directory, one per connection (so that a person may connect in
between), and QEMU's events over a monitor of the runner's own."""
import json
import os
import socket


class QmpError(Exception):
    pass


class Monitor:
    def __init__(self, directory):
        self.directory = directory

    def command(self, name, /, **arguments):
        # By way of /proc, because the path of a Unix socket is limited to 107 characters.
        folder = os.open(self.directory, os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(60)
                s.connect(f"/proc/self/fd/{folder}/qmp.sock")
                with s.makefile("rwb") as stream:
                    json.loads(stream.readline())      # the greeting
                    self.ask(stream, "qmp_capabilities", {})
                    return self.ask(stream, name, arguments)
        finally:
            os.close(folder)

    @staticmethod
    def ask(stream, name, arguments):
        stream.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        stream.flush()
        for line in stream:
            reply = json.loads(line)
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                raise QmpError(f"{name}: {reply['error']['desc']}")
        raise QmpError(f"{name}: QEMU closed the connection")


class Events:
    """What QEMU says of its own accord: [(event, data)]. Its end of the socket pair is given to QEMU."""

    def __init__(self):
        self.socket, self.qemus = socket.socketpair()
        self.partial = b""
        self.seen = []
        self.socket.sendall(b'{"execute": "qmp_capabilities"}\n')
        self.socket.setblocking(False)

    def arguments(self):
        return ["-chardev", f"socket,id=events,fd={self.qemus.fileno()}", "-mon", "chardev=events,mode=control"]

    def read(self):
        """Takes in what has come; False at the end."""
        try:
            while data := self.socket.recv(65536):
                *lines, self.partial = (self.partial + data).split(b"\n")
                for message in map(json.loads, lines):
                    if "event" in message:
                        self.seen.append((message["event"], message.get("data", {})))
            return False
        except BlockingIOError:
            return True
        except OSError:
            return False

    def reason(self, event):
        """The last reason given for an event, or None."""
        return next((d.get("reason") for e, d in reversed(self.seen) if e == event), None)

    def close(self):
        self.socket.close()
        self.qemus.close()
