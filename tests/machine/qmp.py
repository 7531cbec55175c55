"""QEMU's monitor, one command per connection (so that a person may connect in between)."""
import json
import os
import socket


class QmpError(Exception):
    pass


class Monitor:
    def __init__(self, directory):
        self.directory = directory

    def command(self, name, **arguments):
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
