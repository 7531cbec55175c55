"""The runner's view of mailbox.h: how the machine ended, and Bochs's own counts."""
import mmap
import struct

SIZE = 0x100000
END = 0x80
EXITS = 0x2000
EXIT_REASONS = 80
END_NONE, END_EXIT, END_POWEROFF, END_RESET, END_ERROR = range(5)


class Mailbox:
    def __init__(self, fd):
        self.map = mmap.mmap(fd, SIZE)

    def end(self):
        """(kind, exit code, number of platform resets, text)"""
        kind, code, resets, _ = struct.unpack_from("<4I", self.map, END)
        text = self.map[END + 16:END + 256].split(b"\0")[0].decode("ascii", "replace")
        return kind, code, resets, text

    def hardware_exits(self, cpu):
        """VM exits of one CPU: {basic exit reason: count}, counted by Bochs."""
        counts = struct.unpack_from(f"<{EXIT_REASONS}Q", self.map, EXITS + cpu * EXIT_REASONS * 8)
        return {reason: n for reason, n in enumerate(counts) if n}

    def close(self):
        self.map.close()
