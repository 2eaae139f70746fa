// SPDX-License-Identifier: GPL-2.0
// Zooms and scrolls the timeline, and shows tooltips. Without this script the whole timeline is shown.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const chart = document.querySelector("svg.timeline"), tip = document.getElementById("tip");
const count = data.times.length, first = data.times[0], left = data.labels, wide = data.width - left - data.right;
const span = data.times[count - 1] - first || 1;
let byTime = data.byTime, from = 0, to = 1, kept = null;

// The position in the whole timeline, from 0 to 1.
const momentShare = (time) => byTime ? (time - first) / span
  : (data.times.findIndex((t) => t >= time) + 0.5 || count) / count;
const share = (i) => i === "" ? 1 : byTime ? (data.times[i] - first) / span : (+i + 0.5) / count;
const place = (s) => left + wide * (s - from) / (to - from);
const clamp = (x) => Math.min(Math.max(x, left - 50), left + wide + 50);

const moment = (t) => data.counts ? (t - first).toFixed(0) : ((t - first) * 1000).toFixed(3) + " ms";

function axis() {
  let ticks = "";
  const line = (s, text) => {
    const x = place(s);
    ticks += `<path class="tick" d="M${x} ${data.top - 6}V${data.height}"/><text x="${x}" y="14">${text}</text>`;
  };
  if (byTime) {
    let step = 1e-9, i = 0;
    while (step * 8 < span * (to - from)) step *= [2, 2.5, 2][i++ % 3];
    for (let n = Math.ceil(from * span / step); n * step <= to * span; n++)
      line(n * step / span, data.counts ? n * step : +(n * step * 1000).toPrecision(7) + " ms");
  } else {
    const begin = Math.floor(from * count), end = Math.min(Math.ceil(to * count), count);
    for (let n = begin; n < end; n += Math.max(Math.floor((end - begin) / 8), 1)) {
      const s = share(n);
      if (s >= from && s <= to) line(s, moment(data.times[n]));
    }
  }
  chart.querySelector(".axis").innerHTML = ticks;
}

const marks = [...chart.querySelectorAll("use[data-i]")], bars = [...chart.querySelectorAll("rect[data-a]")];
const grace = [...chart.querySelectorAll("rect[data-from]")];
let asked = false;
function redraw() {
  asked = false;
  for (const mark of marks) mark.setAttribute("x", clamp(place(share(mark.dataset.i))).toFixed(1));
  for (const bar of bars) bound(bar, share(bar.dataset.a), share(bar.dataset.b));
  for (const bar of grace) bound(bar, momentShare(+bar.dataset.from), momentShare(+bar.dataset.to));
  axis();
}
function bound(bar, a, b) {
  const x = clamp(place(a));
  bar.setAttribute("x", x.toFixed(1));
  bar.setAttribute("width", Math.max(clamp(place(b)) - x, 1).toFixed(1));
}
function later() {
  if (!asked) requestAnimationFrame(redraw);
  asked = true;
}

function zoom(factor, middle = (from + to) / 2) {
  const size = Math.min((to - from) * factor, 1);
  if (size < 1e-6) return;
  move(middle - (middle - from) * size / (to - from), size);
}
function move(begin, size = to - from) {
  from = Math.min(Math.max(begin, 0), 1 - size);
  to = from + size;
  later();
}
function mode(time) {
  byTime = time;
  document.getElementById("time").setAttribute("aria-pressed", time);
  document.getElementById("order").setAttribute("aria-pressed", !time);
  move(0, 1);
}
document.getElementById("time").onclick = () => mode(true);
document.getElementById("order").onclick = () => mode(false);
document.getElementById("in").onclick = () => zoom(0.5);
document.getElementById("out").onclick = () => zoom(2);
document.getElementById("all").onclick = () => move(0, 1);

// The browser may scale the drawing.
const at = (event) => {
  const box = chart.getBoundingClientRect();
  const x = (event.clientX - box.left) * data.width / box.width;
  return from + (x - left) / wide * (to - from);
};
chart.addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  zoom(event.deltaY > 0 ? 1.25 : 0.8, at(event));
}, { passive: false });
let dragged = null;
chart.addEventListener("pointerdown", (event) => { dragged = { x: event.clientX, from }; });
window.addEventListener("pointerup", () => { dragged = null; });
window.addEventListener("pointermove", (event) => {
  if (dragged && event.buttons)
    move(dragged.from - (event.clientX - dragged.x) / chart.getBoundingClientRect().width * data.width / wide * (to - from));
});

// ---- tooltips ----

const lifeOf = [];
data.lives.forEach((events, life) => events.forEach((i) => { lifeOf[i] = life; }));

function mark(life) {
  for (const hot of chart.querySelectorAll(".hot")) hot.classList.remove("hot");
  chart.classList.toggle("faded", life !== null);
  if (life === null) return;
  for (const i of data.lives[life]) for (const one of chart.querySelectorAll(".i" + i)) one.classList.add("hot");
}

function lines(texts) {
  tip.textContent = "";
  texts.filter(Boolean).forEach((text, n) => {
    const line = document.createElement(n ? "div" : "b");
    line.textContent = text;
    tip.append(line);
  });
}
function explain(target) {
  if (target.dataset.i) {
    const [name, context, cpu, comm, life, state, fields] = data.events[target.dataset.i];
    lines([name, data.meaning[name], `${life} → ${state === "." ? "gone" : state}`, `${moment(data.times[target.dataset.i])}, CPU ${cpu}, ${context}, ${comm}`, fields]);
  } else {
    const a = data.times[target.dataset.a], b = target.dataset.b === "" ? null : data.times[target.dataset.b];
    lines([target.dataset.state, target.dataset.life, `from ${moment(a)} ` + (b === null ? "on" : `to ${moment(b)}` +
      (data.counts ? "" : `: ${((b - a) * 1000).toFixed(3)} ms`))]);
  }
}
chart.addEventListener("pointermove", (event) => {
  const target = event.target.closest("use[data-i], rect.state[data-a]");
  tip.style.display = target ? "block" : "none";
  if (kept === null) mark(target && target.dataset.i ? lifeOf[target.dataset.i] : null);
  if (!target) return;
  explain(target);
  tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = (event.clientY + 18 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 18) + "px";
});
chart.addEventListener("pointerleave", () => { tip.style.display = "none"; if (kept === null) mark(null); });
chart.addEventListener("click", (event) => {
  const target = event.target.closest("use[data-i]");
  kept = target ? lifeOf[target.dataset.i] : null;
  mark(kept);
});
redraw();
document.body.dataset.state = "done";
