# SPDX-License-Identifier: GPL-2.0
"""Parses a trace of rust_kmemcg, as text of tracefs, into events and lives with their states.

The states and the events between them are those of protocol/stage.rs; the meaning of an event is the comment
in include/rust_kmemcg_events.h.
"""

import re
import subprocess

LINE = re.compile(r"^\s*(?P<comm>\S.*)-(?P<pid>\d+)\s+(?:\([^)]*\)\s+)?\[(?P<cpu>\d+)\]\s+(?:[^\s:]+\s+)?"
                  r"(?P<time>\d+(?:\.\d+)?): (?P<event>\w+): (?P<rest>.*)$")
LOST = re.compile(r"^CPU:\d+ \[LOST (\d+) EVENTS\]")
CONTEXTS = ("task", "worker", "softirq", "hardirq", "nmi")


class Event:
    """A line of the trace."""

    def __init__(self, number, match, fields):
        self.number, self.name, self.fields = number, match["event"], fields
        self.comm, self.cpu = match["comm"].strip() + "-" + match["pid"], int(match["cpu"])
        self.time = float(match["time"])
        self.context = fields["ctx"]
        if self.context == "task" and self.comm.startswith("kworker"):
            self.context = "worker"
        self.kind = self.name.partition("_")[0]
        self.life = self.state = None

    def number_of(self, key):
        return int(self.fields.get(key, 0))


class Life:
    """A root, a group or a child, and its states: [state, event at its begin, event at its end]."""

    def __init__(self, kind, root, number, label):
        self.kind, self.root, self.number, self.label = kind, root, number, label
        self.state, self.states, self.events = "-", [], []

    def enter(self, state, event):
        if state == self.state:
            return
        if self.states and self.states[-1][2] is None:
            self.states[-1][2] = event.number
        self.state = state
        if state != ".":
            self.states.append([state, event.number, None])


def transitions(path):
    """{(kind, event): [(states before, state after)]}, from protocol/stage.rs."""
    rules = {}
    table = subprocess.run(["awk", "-f", path.replace("stage.rs", "transitions.awk"), path],
                           check=True, capture_output=True, text=True)
    for line in table.stdout.splitlines():
        kind, event, before, after = line.split()[:4]
        rules.setdefault((kind, event), []).append((before.split(","), after))
    return rules


def meanings(path):
    """{event: what has happened}"""
    with open(path, encoding="utf-8") as file:
        found = re.findall(r"/\*((?:(?!\*/).)*)\*/\nKMEMCG_\w+_EVENT\((\w+)\)", file.read(), re.S)
    return {event: " ".join(text.replace("\n *", " ").split()) for text, event in found}


class Trace:
    """All events, in the order of the file, and the lives that they belong to."""

    def __init__(self, path, rules, limit):
        self.rules, self.events, self.lives = rules, [], {}
        self.lost = self.left_out = 0
        self.grace_periods, begun = [], None
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                lost, match = LOST.match(line), LINE.match(line)
                if lost:
                    self.lost += int(lost[1])
                if not match:
                    continue
                # "rcu_preempt 1234 start", from kernels with CONFIG_RCU_TRACE.
                if match["event"] == "rcu_grace_period":
                    word = match["rest"].split()[-1]
                    if word == "start":
                        begun = float(match["time"])
                    elif word == "end" and begun is not None:
                        self.grace_periods.append((begun, float(match["time"])))
                        begun = None
                    continue
                fields = dict(re.findall(r"(\w+)=(\S+)", match["rest"]))
                if "ctx" not in fields or match["event"].partition("_")[0] not in ("root", "group", "child"):
                    continue
                if len(self.events) >= limit:
                    self.left_out += 1
                    continue
                self.add(Event(len(self.events), match, fields))
        # A trace clock that counts events prints integers.
        self.counts = all(event.time.is_integer() for event in self.events)
        self.names = {"root": {}, "group": {}}
        for event in self.events:
            if event.kind in self.names and "name" in event.fields:
                self.names[event.kind][event.number_of(event.kind)] = event.fields["name"]
        for life in self.lives.values():
            life.label = self.label(life)

    def life(self, kind, root, number):
        key = (kind, root, number)
        if key not in self.lives:
            self.lives[key] = Life(kind, root, number, "")
        return self.lives[key]

    def add(self, event):
        self.events.append(event)
        root = event.number_of("root")
        if event.name in ("child_request", "child_abort"):
            # The child has no number yet: show the event on the line of its root.
            life = self.life("root", root, root)
        elif event.kind == "child":
            life = self.life("child", root, event.number_of("child"))
        else:
            life = self.life(event.kind, root, event.number_of(event.kind))
        life.events.append(event.number)
        event.life = life
        if event.name == "root_create":
            self.life("child", root, 0).enter("active", event)
        if life.kind == event.kind:
            rules = self.rules.get((event.kind, event.name), [])
            fitting = [after for before, after in rules if life.state in before]
            after = (fitting or [after for _, after in rules] or ["*"])[0]
            if after != "*":
                life.enter(after, event)
        event.state = life.state

    def name(self, kind, number):
        name = self.names[kind].get(number)
        return f"{name} #{number}" if name else f"#{number}"

    def label(self, life):
        if life.kind != "child":
            return f"{life.kind} {self.name(life.kind, life.number)}"
        if life.number == 0:
            return "its own cache"
        group = self.events[life.events[0]].number_of("group")
        return f"child {life.number} of {self.names['group'].get(group, f'group #{group}')}"

    def rows(self):
        """The lives in drawing order: each root, its own cache, its children; then the groups."""
        order = {"root": 0, "child": 1}
        lives = [life for life in self.lives.values() if life.kind != "group"]
        lives.sort(key=lambda life: (life.root, order[life.kind], life.number))
        groups = [life for life in self.lives.values() if life.kind == "group"]
        return lives + sorted(groups, key=lambda life: life.number)
