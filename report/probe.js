// SPDX-License-Identifier: GPL-2.0
// For report-test, appended to a copy of the page: operates the page, and stores the results in data attributes.
"use strict";
{
  const told = document.body.dataset, marks = [...chart.querySelectorAll("use.life")];
  const press = (id) => { document.getElementById(id).click(); redraw(); };
  const places = () => marks.map((mark) => +mark.getAttribute("x"));
  const ascends = (xs) => xs.every((x, i) => !i || x >= xs[i - 1]);
  const ordered = () => ascends(marks.slice().sort((a, b) => a.dataset.i - b.dataset.i).map((mark) => +mark.getAttribute("x")));
  const point = (target, kind) => target.dispatchEvent(new PointerEvent(kind, { bubbles: true, clientX: 400, clientY: 300 }));

  press("order");
  const before = places();
  press("in");
  told.zoomed = places().some((x, i) => x !== before[i]) && ordered();
  press("all");
  told.back = places().every((x, i) => x === before[i]);
  press("time");
  told.moved = places().some((x, i) => x !== before[i]) && ordered();
  // Every mark and every bar has a tooltip with its event or state.
  told.explained = marks.filter((mark) => {
    point(mark, "pointermove");
    return tip.style.display === "block" && tip.textContent.startsWith(data.events[mark.dataset.i][0]);
  }).length;
  told.bars = bars.filter((bar) => bar.classList.contains("state")).every((bar) => {
    point(bar, "pointermove");
    return tip.textContent.startsWith(bar.dataset.state);
  });
  // A click highlights one life: each of its events, on its line and on its CPU.
  point(marks[0], "click");
  told.kept = chart.querySelectorAll("use.hot").length === 2 * data.lives[lifeOf[marks[0].dataset.i]].length;
}
