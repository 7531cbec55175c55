"""What goes wrong on purpose: a list of rules, each by name, for all ports or one, for one extender of a chain or all, so many times or always."""


class Faults:
    def __init__(self, event):
        self.event = event
        self.rules = []

    def add(self, name, count=None, port=None, depth=None, value=True):
        """value: what a fault needs to know (an error code, a VID)."""
        self.rules.append({"name": name, "count": count, "port": port, "depth": depth, "value": value})

    def clear(self, name=None):
        self.rules = [r for r in self.rules if name is not None and r["name"] != name]

    def take(self, name, port, depth=None):
        """The value of the first rule that fits, which has one time less to go; else None."""
        for rule in self.rules:
            if rule["name"] == name and rule["port"] in (None, port) and rule["depth"] in (None, depth):
                if rule["count"] is not None:
                    rule["count"] -= 1
                    if not rule["count"]:
                        self.rules.remove(rule)
                self.event("fault", fault=name, port=port, depth=depth)
                return rule["value"]
        return None

    def at(self, port, depth=None):
        return View(self, port, depth)


class View:
    """The same for one port, or one extender."""

    def __init__(self, faults, port, depth):
        self.faults, self.port, self.depth = faults, port, depth

    def take(self, name):
        return self.faults.take(name, self.port, self.depth)
