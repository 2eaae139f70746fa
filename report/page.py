# SPDX-License-Identifier: GPL-2.0
"""A trace of rust_kmemcg as one HTML page, as an SVG, or as JSON for Perfetto. See scripts/doc/report --help."""

import argparse
import json
import os
import sys
from html import escape

import draw
from trace import CONTEXTS, Trace, meanings, transitions

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(HERE)
WIDTH = 1340


def text_of(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()


def svg(trace, width, title):
    """A complete SVG file."""
    lives, height = draw.timeline(trace, width, False)
    legend, more = draw.legend(width, height + 16)
    more += 8
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + more}" width="{width}" '
            f'height="{height + more}" role="img">\n<!-- SPDX-License-Identifier: GPL-2.0 -->\n'
            f'<title>{escape(title)}</title><style>{text_of("style.css")}'
            f'.paper {{ fill: var(--paper); }}</style>{draw.definitions("")}'
            f'<rect class="paper" width="100%" height="100%" rx="6"/>\n'
            + (lives + legend).replace("><", ">\n<") + "\n</svg>\n")


def perfetto(trace):
    """Trace-event JSON for Perfetto and chrome://tracing: states as slices, events as instants by CPU."""
    scale = 1 if trace.counts else 1e6
    out, numbers, last = [], {}, trace.events[-1].time if trace.events else 0

    # Unique numbers above 0: Perfetto merges threads of one number, and treats 0 as the idle thread.
    def track(process, thread):
        for kind, key in ("process_name", process), ("thread_name", (process, thread)):
            if key not in numbers:
                numbers[key] = len(numbers) + 1
                out.append({"ph": "M", "name": kind, "pid": numbers[process], "tid": numbers[key],
                            "args": {"name": process if key == process else thread}})
        return {"pid": numbers[process], "tid": numbers[process, thread]}

    def at(time):
        return round(time * scale)

    for life in trace.rows():
        place = track(f"root {trace.name('root', life.root)}" if life.kind != "group" else "groups", life.label)
        for state, first, end in life.states:
            begin = at(trace.events[first].time)
            until = at(last if end is None else trace.events[end].time)
            out.append({"ph": "X", "name": state, "cat": life.kind, "ts": begin, "dur": until - begin, **place})
    # Perfetto orders tracks by number.
    for cpu, context in sorted({(event.cpu, CONTEXTS.index(event.context)) for event in trace.events}):
        track(f"CPU {cpu}", CONTEXTS[context])
    for event in trace.events:
        out.append({"ph": "i", "s": "t", "name": event.name, "cat": event.context, "ts": at(event.time),
                    **track(f"CPU {event.cpu}", event.context), "args": {"life": event.life.label, **event.fields}})
    return json.dumps({"traceEvents": out, "displayTimeUnit": "ns"})


def counts(trace):
    """How often each event occurs, by context."""
    contexts = [c for c in CONTEXTS if any(e.context == c for e in trace.events)]
    table = {}
    for event in trace.events:
        line = table.setdefault(event.name, dict.fromkeys(contexts, 0))
        line[event.context] += 1
    return contexts, table


def table_of(trace, meaning):
    contexts, table = counts(trace)
    rows = []
    for name in [name for name in meaning if name in table] + [name for name in table if name not in meaning]:
        cells = "".join(f'<td{"" if n else " class=zero"}>{n}</td>' for n in table[name].values())
        rows.append(f'<tr data-event="{name}" data-count="{sum(table[name].values())}"><td><code>{name}</code></td>'
                    f'<td>{sum(table[name].values())}</td>{cells}<td class="soft">{escape(meaning.get(name, ""))}</td></tr>')
    head = "".join(f"<th>{draw.CONTEXT_NAMES[c]}</th>" for c in contexts)
    return f"<table><tr><th>event</th><th>all</th>{head}<th>meaning</th></tr>{''.join(rows)}</table>"


def card(number, text):
    return f"<li><b>{number}</b>{escape(text)}</li>"


def cards(trace):
    kinds = {kind: sum(life.kind == kind for life in trace.lives.values()) for kind in ("root", "group")}
    children = [life for life in trace.lives.values() if life.kind == "child" and life.number]
    releases = [e for e in trace.events if e.name == "child_release"]
    cpus = {e.cpu for e in trace.events}
    out = [card(len(trace.events), f"events on {len(cpus)} CPUs"), card(kinds["root"], "roots"),
           card(kinds["group"], "groups"), card(len(children), "children"),
           card(sum(life.state == "." for life in children), "children that were freed"),
           card(sum(e.context == "hardirq" for e in releases), f"of {len(releases)} releases in a hard interrupt")]
    if trace.events and not trace.counts:
        out.append(card(f"{trace.events[-1].time - trace.events[0].time:.3f} s", "from the first event to the last"))
    return f'<ul class="cards">{"".join(out)}</ul>'


def page(trace, meaning, bench, title):
    by_time = len(trace.events) > 400 and not trace.counts
    lives, height = draw.timeline(trace, WIDTH, by_time)
    legend, more = draw.legend(WIDTH, 14, "l-")
    data = {"labels": draw.LABELS, "right": draw.RIGHT, "width": WIDTH, "top": draw.TOP, "height": height - 24,
            "byTime": by_time, "counts": trace.counts, "meaning": meaning,
            "times": [e.time for e in trace.events],
            "events": [[e.name, e.context, e.cpu, e.comm, e.life.label, e.state,
                        " ".join(f"{k}={v}" for k, v in e.fields.items() if k != "ctx")] for e in trace.events],
            "lives": [life.events for life in trace.rows()]}
    notes = ""
    if trace.left_out:
        notes += f"<p>The trace has {trace.left_out} later events that are not shown, see <code>--events</code>.</p>"
    if trace.lost:
        notes += f"<p>The kernel lost {trace.lost} events, so that some lives have gaps.</p>"
    chart = ""
    if bench:
        chart = (f'<h2>What it costs</h2><p class="soft">Each figure as a share of its target: a bar that ends left of '
                 f'the line meets it. Costs in instructions, from <code>make bench</code>; '
                 f'<code>scripts/test/bench --help</code> says what is compared.</p>'
                 f'<div class="box">{draw.bench_chart(bench, WIDTH)}</div>')
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>
{text_of("style.css")}{text_of("page.css")}</style></head>
<body><h1>{escape(title)}</h1>
<p class="soft">Each of the lines below is the life of a cache, a root or a group: bars are states, marks are the events
between them, by context. The other lines show the same events by CPU and context.</p>
{cards(trace)}{notes}
<h2>Lives</h2>
<div class="tools"><button id="time" aria-pressed="{str(by_time).lower()}">by time</button>
<button id="order" aria-pressed="{str(not by_time).lower()}">in order</button>
<button id="in">+</button><button id="out">−</button><button id="all">all</button>
<span class="soft">ctrl and wheel zoom, drag scrolls, a click highlights one life</span></div>
<svg class="key" width="{WIDTH}" height="{more + 4}" viewBox="0 0 {WIDTH} {more + 4}">{draw.definitions("l-")}{legend}</svg>
<div class="box"><svg class="timeline" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">
{draw.definitions("")}{lives}</svg></div>
{chart}
<h2>Events</h2>
{table_of(trace, meaning)}
<div id="tip"></div>
<script type="application/json" id="data">{json.dumps(data).replace("</", "<" + chr(92) + "/")}</script>
<script>
{text_of("page.js")}</script></body></html>
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trace", required=True)
    parser.add_argument("--title", default="rust_kmemcg: the life of caches")
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--bench")
    parser.add_argument("--html")
    parser.add_argument("--svg")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    rules = transitions(os.path.join(REPO, "protocol", "stage.rs"))
    meaning = meanings(os.path.join(REPO, "include", "rust_kmemcg_events.h"))
    trace = Trace(arguments.trace, rules, arguments.events)
    if not trace.events:
        sys.exit(f"{arguments.trace} has no event of rust_kmemcg.")
    bench = draw.figures(arguments.bench) if arguments.bench else []
    for path, content in ((arguments.html, lambda: page(trace, meaning, bench, arguments.title)),
                          (arguments.svg, lambda: svg(trace, 1000, arguments.title)),
                          (arguments.json, lambda: perfetto(trace))):
        if path:
            with open(path, "w", encoding="utf-8") as file:
                file.write(content())


main()
