# SPDX-License-Identifier: GPL-2.0
"""Draws the lives, their events by CPU and context, and the figures of the benchmark, as SVG."""

import re
from html import escape

LABELS, RIGHT, ROW, TOP = 190, 40, 22, 26

# {state: class in style.css}. States of different lives that mean the same share a colour.
COLOURS = {
    "active": "live", "live": "live", "online": "live",
    "offline_deferred": "idle", "offline": "idle",
    "deactivating": "waits", "quiescent": "quiescent", "killed": "killed",
    "active_marked": "marked", "offline_deferred_marked": "marked",
    "release_deferred": "deferred", "release_deferred_marked": "deferred",
    "released": "released", "shutdown": "shutdown",
    "closing": "closing", "dying": "marked", "closing_dying": "marked",
    "drained": "drained", "closing_drained": "drained",
}
# In these states a grace period or RCU callbacks are waited for.
RCU = ("deactivating", "dying", "closing_dying", "released")

LEGEND = [
    ("live", "live: serves allocations"), ("waits", "deactivating: a grace period"),
    ("quiescent", "quiescent: work is queued"), ("killed", "killed: objects live"),
    ("released", "released: callback, then work"), ("shutdown", "kmem_cache_destroy()"),
    ("marked", "dying; marked by a destroy"), ("drained", "drained: nothing is pending"),
    ("deferred", "release deferred: the root is dying"), ("closing", "closing: no new objects"),
    ("idle", "offline; offline deferred"),
]
MARKS = {
    "task": '<circle r="4.2"/>',
    "worker": '<rect x="-4" y="-4" width="8" height="8"/>',
    "softirq": '<path d="M0-5.2 5 4H-5Z"/>',
    "hardirq": '<path d="M0-6.4 5.4 0 0 6.4-5.4 0Z"/>',
    "nmi": '<path d="M-5-5 5 5M5-5-5 5"/>',
}
CONTEXT_NAMES = {"task": "task", "worker": "worker", "softirq": "softirq", "hardirq": "hard irq", "nmi": "NMI"}


def definitions(prefix):
    """The marks and the hatching of one SVG."""
    marks = "".join(f'<g id="{prefix}{name}" class="mark {name}">{shape}</g>' for name, shape in MARKS.items())
    return (f'<defs>{marks}<pattern id="{prefix}rcu" width="6" height="6" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><path class="hatch" d="M0 0V6"/></pattern></defs>')


def nice(span, pieces):
    """A round step that divides span into at most so many pieces."""
    step = 10 ** -9
    while True:
        for factor in (1, 2, 5):
            if span <= step * factor * pieces:
                return step * factor
        step *= 10


class Scale:
    """Maps an event or a time to an x coordinate: by time, or events at equal distances."""

    def __init__(self, trace, width, by_time):
        self.times = [event.time for event in trace.events]
        self.by_time, self.left, self.width = by_time, LABELS, width - LABELS - RIGHT
        self.begin = self.times[0] if self.times else 0
        self.span = (self.times[-1] - self.begin if self.times else 0) or 1

    def event(self, number):
        """The x coordinate of an event; None is the end of the trace."""
        last = len(self.times) - 1
        if number is None:
            return self.left + self.width
        share = (self.times[number] - self.begin) / self.span if self.by_time else (number + 0.5) / (last + 1)
        return self.left + self.width * share

    def moment(self, time):
        if self.by_time:
            return self.left + self.width * min(max((time - self.begin) / self.span, 0), 1)
        after = next((i for i, t in enumerate(self.times) if t >= time), None)
        return self.event(after)


def lanes(trace):
    """(cpu, context) of each pair that has an event."""
    contexts = list(MARKS)
    return sorted({(e.cpu, e.context) for e in trace.events}, key=lambda lane: (lane[0], contexts.index(lane[1])))


def grace_periods(trace, y, scale):
    """The grace periods that the trace has; without any, the states that wait for one."""
    parts = []
    if trace.grace_periods:
        for begin, end in trace.grace_periods:
            a, b = scale.moment(begin), scale.moment(end)
            parts.append(f'<rect class="grace" data-from="{begin}" data-to="{end}" x="{a:.1f}" y="{y + 4}" '
                         f'width="{max(b - a, 1):.1f}" height="{ROW - 8}"/>')
        return parts
    for life in trace.lives.values():
        for state, first, last in life.states:
            if state in RCU:
                a, b = scale.event(first), scale.event(last)
                parts.append(f'<rect class="grace" data-a="{first}" data-b="{"" if last is None else last}" '
                             f'x="{a:.1f}" y="{y + 4}" width="{max(b - a, 1):.1f}" height="{ROW - 8}"/>')
    return parts


class Drawing:
    """Builds the timeline, row by row."""

    def __init__(self, trace, width, by_time, prefix):
        self.trace, self.prefix, self.right = trace, prefix, width - RIGHT
        self.scale, self.parts, self.y = Scale(trace, width, by_time), [], TOP

    def rule(self, cls=""):
        self.parts.append(f'<path class="rule {cls}" d="M0 {self.y + 0.5}H{self.right}"/>')

    def row(self, label, cls, content):
        """Adds a row: a label, and content in the part that zooms."""
        text = label if len(label) < 27 else label[:25] + "…"
        self.parts.append(f'<text class="label {cls}" x="{LABELS - 12}" y="{self.y + 15}">{escape(text)}</text>')
        self.parts += ['<g class="plot">'] + content + ["</g>"]
        self.y += ROW

    def mark(self, event, where):
        return (f'<use class="{where} i{event.number}" href="#{self.prefix}{event.context}" data-i="{event.number}" '
                f'x="{self.scale.event(event.number):.1f}" y="{self.y + ROW // 2}"/>')

    def bars(self, life):
        for state, first, last in life.states:
            a, b = self.scale.event(first), self.scale.event(last)
            high = ROW - 8 if life.kind == "child" else ROW - 12
            place = (f'data-a="{first}" data-b="{"" if last is None else last}" x="{a:.1f}" width="{max(b - a, 1):.1f}" '
                     f'y="{self.y + (ROW - high) // 2}" height="{high}" rx="2"')
            yield (f'<rect class="state {COLOURS.get(state, "idle")}" data-state="{state}" '
                   f'data-life="{escape(life.label)}" {place}/>')
            if state in RCU:
                yield f'<rect class="over" fill="url(#{self.prefix}rcu)" {place}/>'

    def lives(self):
        for life in self.trace.rows():
            if life.kind != "child":
                self.rule()
            marks = [self.mark(self.trace.events[number], "life") for number in life.events]
            self.row(life.label, life.kind, list(self.bars(life)) + marks)

    def processors(self):
        self.row("grace periods" if self.trace.grace_periods else "waits for RCU", "",
                 grace_periods(self.trace, self.y, self.scale))
        cpu = None
        for place in lanes(self.trace):
            if place[0] != cpu:
                self.rule()
            cpu = place[0]
            self.parts.append(f'<path class="lane" d="M{LABELS} {self.y + ROW // 2}H{self.right}"/>')
            self.row(f"CPU {cpu}, {CONTEXT_NAMES[place[1]]}", "",
                     [self.mark(event, "place") for event in self.trace.events if (event.cpu, event.context) == place])


def timeline(trace, width, by_time, prefix=""):
    """(markup, height) of the lives and of the CPUs. The page zooms by these attributes: data-a and data-b are the
    events at which a bar begins and ends, data-i is the event of a mark."""
    drawing = Drawing(trace, width, by_time, prefix)
    # With many lives the CPUs come first, where they are seen.
    blocks = [drawing.lives, drawing.processors]
    for number, block in enumerate(reversed(blocks) if len(trace.lives) > 40 else blocks):
        if number:
            drawing.y += 5
            drawing.rule("strong")
            drawing.y += 5
        block()
    height = drawing.y
    clip = (f'<clipPath id="{prefix}clip"><rect x="{LABELS - 8}" y="0" width="{width - LABELS + 8}" '
            f'height="{height + 20}"/></clipPath>')
    return f'{clip}<g class="axis">{axis(trace, drawing.scale, height)}</g>' + "".join(drawing.parts), height + 24


def moment_text(trace, event):
    if trace.counts:
        return f"{event.time - trace.events[0].time:.0f}"
    return f"{(event.time - trace.events[0].time) * 1000:.3f} ms"


def axis(trace, scale, height):
    """Ticks at round times, or with the times of some events."""
    ticks = []
    if not trace.events:
        return ""
    if scale.by_time:
        step = nice(scale.span, 8)
        for i in range(int(scale.span / step) + 1):
            ticks.append((scale.moment(scale.begin + i * step), f"{i * step * 1000:g} ms" if not trace.counts else f"{i * step:g}"))
    else:
        for number in range(0, len(trace.events), max(len(trace.events) // 8, 1)):
            ticks.append((scale.event(number), moment_text(trace, trace.events[number])))
    return "".join(f'<path class="tick" d="M{x:.1f} {TOP - 6}V{height}"/><text x="{x:.1f}" y="14">{text}</text>'
                   for x, text in ticks)


def legend(width, y, prefix=""):
    """(markup, height)"""
    parts, x, begin = [], 12, y
    items = [(f'<use href="#{prefix}{name}" x="7" y="0"/>', CONTEXT_NAMES[name]) for name in MARKS if name != "nmi"]
    items += [(f'<rect class="state {cls}" x="0" y="-5" width="16" height="10" rx="2"/>', text) for cls, text in LEGEND]
    items.append((f'<rect class="state waits" x="0" y="-5" width="16" height="10" rx="2"/><rect class="over" fill="url(#{prefix}rcu)" x="0" y="-5" width="16" height="10"/>', "waits for RCU"))
    for shape, text in items:
        wide = 42 + 6.6 * len(text)
        if x + wide > width:
            x, y = 12, y + 20
        parts.append(f'<g transform="translate({x:.0f} {y})">{shape}<text x="22" y="4">{escape(text)}</text></g>')
        x += wide
    return f'<g class="legend">{"".join(parts)}</g>', y - begin + 22


# ---- the benchmark --------------------------------------------------------------------------------------

FIGURE = re.compile(r"^(.*\S)\s+([<>]=) ([\d.]+)\s+([\d.]+)\s+(ok|MISSED)\s*(.*)$")


def figures(path):
    """Parses the output of bench-table: (what, sign, target, result, kept, detail)."""
    with open(path, encoding="utf-8") as file:
        found = [FIGURE.match(line) for line in file]
    return [(m[1], m[2], float(m[3]), float(m[4]), m[5] == "ok", m[6]) for m in found if m]


def bench_chart(rows, width):
    """A bar for each figure, as a share of its target, so that all targets are on one line."""
    left, most = 360, 2.0
    unit, parts, y = (width - left - 150) / most, [], 30
    for what, sign, target, result, kept, detail in rows:
        share = (result / target if sign == "<=" else target / result) if target and result else 0
        x = left + unit * min(share, most)
        parts.append(f'<g class="figure {"kept" if kept else "missed"}"><title>{escape(detail)}</title>'
                     f'<text class="label" x="{left - 12}" y="{y + 13}">{escape(what)}</text>'
                     f'<rect x="{left}" y="{y + 3}" width="{x - left:.1f}" height="13" rx="2"/>'
                     f'<text x="{max(x, left + unit) + 10:.1f}" y="{y + 13}">{result:g} ({"at most" if sign == "<=" else "at least"} {target:g})'
                     f'{" ⟶" if share > most else ""}</text></g>')
        y += 20
    line = left + unit
    parts.append(f'<path class="target" d="M{line:.1f} 22V{y + 4}"/><text x="{line:.1f}" y="15" class="middle">target</text>')
    return f'<svg class="bench" viewBox="0 0 {width} {y + 8}" width="{width}" height="{y + 8}" role="img">{"".join(parts)}</svg>'
