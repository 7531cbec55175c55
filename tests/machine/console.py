"""Console lines of a machine: cut into lines, told apart by level, machine-readable reports collected.

L0's own lines begin with "[L0] ". A line of one of its VMs has "[vm name] " in front of what the VM printed, and so on
for each level: "[inner] [L1] text" comes from the Nestling inside the VM "inner".
"""
import json
import re

PREFIX = re.compile(r"\[([^\[\]\s]+)\] ")
REPORT = "@report "


def origin(line):
    """("inner/L1", "text") of "[inner] [L1] text"; ("", line) of a line without a mark."""
    marks = []
    rest = line
    while match := PREFIX.match(rest):
        marks.append(match.group(1))
        rest = rest[match.end():]
    return "/".join(marks), rest


class Lines:
    """Bytes in, whole lines out."""

    def __init__(self):
        self.partial = b""

    def feed(self, data):
        *whole, self.partial = (self.partial + data).split(b"\n")
        return [clean(line) for line in whole]

    def flush(self):
        rest, self.partial = self.partial, b""
        return [clean(rest)] if rest else []


ESCAPE = re.compile(r"\x1b(\[[0-9;=?]*[A-Za-z]|[()][A-Z0-9])")


def clean(raw):
    """Without the firmware's cursor movements."""
    return ESCAPE.sub("", raw.decode("utf-8", "replace")).replace("\r", "").rstrip()


class Reports:
    """{"levels": {"L0": [...], "inner/L1": [...]}}"""

    def __init__(self):
        self.levels = {}
        self.malformed = []

    def take(self, line):
        """True if the line was a report."""
        level, text = origin(line)
        if not text.startswith(REPORT):
            return False
        try:
            report = json.loads(text[len(REPORT):])
        except ValueError:
            self.malformed.append(line)
        else:
            self.levels.setdefault(level, []).append(report)
        return True

    def write(self, path, **more):
        """more: what the machine itself has to say."""
        result = {"levels": self.levels, **more}
        if self.malformed:
            result["malformed"] = self.malformed
        path.write_text(json.dumps(result, indent=1) + "\n")
