"""A program of the tests in another namespace: events and answers on its standard output, commands on its input, one JSON object a line.

`Voice` is the program's side, `Program` the runner's. The program ends when its input ends.
"""
import json
import os
import subprocess
import threading
import time

LIMIT = 60.0


class OutsideError(AssertionError):
    """The program has failed, or what was waited for did not come."""


class Voice:
    def __init__(self):
        self.started = time.monotonic()
        self.input = b""
        self.stopping = False

    def say(self, **fields):
        data = (json.dumps(fields) + "\n").encode()
        while data:
            data = data[os.write(1, data):]

    def event(self, what, **fields):
        self.say(t=round(time.monotonic() - self.started, 6), event=what, **fields)

    def read_commands(self):
        """Standard input has something: every command goes to self.do(**its fields), which returns its answer's value."""
        data = os.read(0, 65536)
        if not data:
            self.stopping = True
        self.input += data
        *lines, self.input = self.input.split(b"\n")
        for line in lines:
            fields = json.loads(line)
            number = fields.pop("id")
            try:
                self.say(answer=number, ok=True, value=self.do(**fields))
            except (ValueError, KeyError, TypeError, AttributeError) as e:
                self.say(answer=number, ok=False, value=f"{type(e).__name__}: {e}")


class Program:
    """start(spawn, log): spawn() gives the processes.Child with pipes; log: a file of all that it says."""

    def __init__(self):
        self.child = self.reader = self.log = None
        self.events, self.answers, self.next_id = [], {}, 0
        self.changed = threading.Condition()
        self.ended = False

    def start_program(self, spawn, log):
        self.log = open(log, "w", encoding="utf-8")
        self.child = spawn()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.wait_event("ready")

    def stop_program(self):
        if self.child:
            self.child.process.stdin.close()      # it writes the rest of its capture and ends
            try:
                self.child.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
            self.child.stop()
            if self.reader:
                self.reader.join()
            self.child.process.stdout.close()
            self.child = None
        if self.log:
            self.log.close()
            self.log = None

    def read(self):
        """The thread that takes what the program says."""
        for line in self.child.process.stdout:
            self.log.write(line.decode())
            said = json.loads(line)
            with self.changed:
                if "answer" in said:
                    self.answers[said["answer"]] = said
                else:
                    self.events.append(said)
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait_for(self, what, look, limit=LIMIT):
        """look() until it gives something true; that. Called again whenever the program has said something."""
        deadline = time.monotonic() + limit
        with self.changed:
            while not (result := look()):
                if self.ended:
                    raise OutsideError(f"expected {what}, saw the program end: {self.child.describe()}")
                if not self.changed.wait(deadline - time.monotonic()):
                    raise OutsideError(f"expected {what} within {limit:.0f} s, saw last: {self.events[-3:]}")
        return result

    def mark(self):
        """The number of events so far, for since=."""
        return len(self.events)

    def find(self, event, since=0, **fields):
        """All events of that kind with those fields."""
        return [e for e in self.events[since:] if e["event"] == event and all(e.get(k) == v for k, v in fields.items())]

    def wait_event(self, event, limit=LIMIT, since=0, count=1, **fields):
        """The count-th event of that kind with those fields."""
        found = self.wait_for(f"event {event} {fields or ''}", lambda: len(f := self.find(event, since, **fields)) >= count and f, limit)
        return found[count - 1]

    def command(self, do, **fields):
        with self.changed:
            self.next_id += 1
            number = self.next_id
        self.child.process.stdin.write((json.dumps(dict(fields, do=do, id=number)) + "\n").encode())
        self.child.process.stdin.flush()
        answer = self.wait_for(f"an answer to {do}", lambda: self.answers.pop(number, None))
        if not answer["ok"]:
            raise OutsideError(f"{do} {fields}: {answer['value']}")
        return answer["value"]
